//! The engine out of sight and back: what is said, what stays, and what is found.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::docker::recorder::{Recorder, Way};
use auth_reconciler_tests::docker::{Container, Engine, Phase};
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use serde_json::json;
use uuid::Uuid;

use super::faked::{CONTAINER, Faked, KILLED, show};
use super::{DEBUG, LOST, says_of_engine, status};
use crate::arena::{KEY, Scene};
use crate::containers::harbour::NO_BACKOFF;
use crate::containers::{Harbour, LATE};

#[tokio::test]
async fn out_of_sight_nothing_good_turns_bad_and_back_in_sight_all_is_true() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[]).await?;
    let (dies, stays, down) = tokio::try_join!(harbour.ready(), harbour.ready(), harbour.ready())?;
    down.kill("KILL").await?;
    let watcher = &harbour.watcher;
    watcher.wait_status(down.instance(), "failed").await?;
    let url = harbour.scene.database.url();
    let (people, _, stderr) = status(url).await?;
    assert!(!people.contains("the engine at") && stderr.is_empty());
    // Whatever its start led to has been looked at.
    harbour.scene.reconcile(stays.instance()).await?;
    let asked = stays.counts().await?.ready();

    recorder.set(Way::Refuse).await?;
    recorder.cut_all().await?;
    let told = says_of_engine(harbour.client(), "not seen").await?;
    assert!(told.detail.contains("could not connect") || told.detail.contains("broke"));
    status_names_engine_out_of_sight(url, &recorder.url()).await?;

    dies.kill("KILL").await?;
    dies.exited().await?;
    let spec = harbour.spec()?.at_once();
    let starts = harbour.insert(&spec).await?;
    let _started = engine.run(spec).await?;
    // Its API says so itself.
    watcher.wait_status(starts, "client_ready").await?;
    for (id, expected) in [
        (dies.instance(), "client_ready"),
        (stays.instance(), "client_ready"),
        (down.instance(), "failed"),
    ] {
        let record = harbour.scene.reconcile(id).await?;
        assert_eq!(record.text("auth_status"), Some(expected), "{id}");
        assert_eq!(watcher.status(id).await?.as_deref(), Some(expected), "{id}");
    }
    let reason = harbour.told(down.instance(), "reason").await?;
    assert_eq!(reason, "ContainerStopped");
    looked_at_once(&stays, asked, "by the operator").await?;

    recorder.set(Way::Pass).await?;
    let since = told.since;
    let told = says_of_engine(harbour.client(), "seen").await?;
    assert!(told.since != since && told.detail.is_empty());
    watcher.wait_status(dies.instance(), "failed").await?;
    let reason = harbour.told(dies.instance(), "reason").await?;
    assert_eq!(reason, "ContainerStopped");
    // Looked at for the sighting of its container that is not recorded yet.
    let sighted = format!(
        "select container_state is not distinct from 'running' from auth_reconciler.instance where instance_id = '{starts}'"
    );
    crate::scene::eventually(harbour.client(), &sighted).await?;
    harbour
        .scene
        .barrier(dies.instance(), down.instance())
        .await?;
    looked_at_once(&stays, asked, "nothing changed").await?;
    assert!(!status(url).await?.0.contains("the engine at"));
    for id in [stays.instance(), starts] {
        assert_eq!(watcher.statuses(id).await?, ["pending", "client_ready"]);
    }
    Ok(())
}

/// `status` says in its last line, and to whoever reads it as JSON, that and since when the engine is not seen.
async fn status_names_engine_out_of_sight(url: &str, engine: &str) -> Result<()> {
    let (people, array, stderr) = status(url).await?;
    let line = people.lines().last().context("a last line")?;
    let begins = format!("the engine at {engine} is not seen since ");
    assert!(line.starts_with(&begins), "{line}");
    assert!(line.contains("container states are unknown: "), "{line}");
    assert_eq!(array.len(), 3);
    assert!(stderr.starts_with(&begins), "{stderr}");
    Ok(())
}

/// One that is ready was asked once since then, or hardly more often.
async fn looked_at_once(container: &Container, asked: u64, why: &str) -> Result<()> {
    let looked = container.counts().await?.ready() - asked;
    assert!((1..=1 + LATE).contains(&looked), "{looked}, {why}");
    Ok(())
}

#[tokio::test]
async fn a_cut_in_the_middle_of_changes_loses_none() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[]).await?;
    let (dies, restarts) = tokio::try_join!(harbour.ready(), harbour.ready())?;
    let spec = harbour.spec()?.at_once();
    let starts = harbour.insert(&spec).await?;
    let container = engine.create(spec).await?;
    // What is told from now on gets no further than the way, and is lost with it.
    recorder.set(Way::Stall).await?;
    dies.kill("KILL").await?;
    restarts.restart().await?;
    container.start().await?;
    recorder.cut_all().await?;
    recorder.set(Way::Pass).await?;
    harbour
        .watcher
        .wait_status(dies.instance(), "failed")
        .await?;
    harbour.watcher.wait_status(starts, "client_ready").await?;
    restarts.reached(Phase::Ready).await?;
    harbour
        .watcher
        .wait_status(restarts.instance(), "client_ready")
        .await?;
    // The new process was asked, though it looks in a list as the old one did.
    let asked = async {
        loop {
            if restarts.counts().await?.ready() > 0 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await??;
    assert!(harbour.scene.daemon.count(|line| line.is(LOST)) >= 1);
    Ok(())
}

#[tokio::test]
async fn what_was_looked_at_without_the_engine_is_looked_at_again_with_it() -> Result<()> {
    let fake = FakeEngine::start().await?;
    fake.reply("/events", Reply::Json(500, json!({"message": "not yet"})));
    let url = fake.url();
    let settings = [
        ("AUTH_RECONCILER_DOCKER", url.as_str()),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "1m"),
        DEBUG,
    ];
    let scene = Scene::start(&settings).await?;
    says_of_engine(&scene.client, "not seen").await?;
    let watcher = scene.watch().await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let id = Uuid::new_v4();
    show(&fake, id, KILLED);
    let (client, table) = (&scene.client, &scene.table);
    table
        .insert(client, id, Some(stub.port()), Some(KEY))
        .await?;
    stub.request(1).await?;

    // It is seen and compared while the answer is under way, and nothing is recorded yet that it could differ from.
    let mark = scene.daemon.mark();
    fake.reply("/events", Reply::Stream);
    let compared = "containers compared with the record";
    scene.daemon.wait_message_after(mark, compared).await?;
    gate.open();
    watcher.wait_status(id, "failed").await?;
    Ok(())
}

#[tokio::test]
async fn a_stopped_engine_takes_its_containers_along_and_all_is_found_again() -> Result<()> {
    let mut private = Engine::private().await?;
    let url = private.url();
    let harbour = Harbour::open(Engine::clone(&private), &url, &[]).await?;
    let (dies, returns) = tokio::try_join!(harbour.ready(), harbour.ready())?;
    private.stop().await?;
    let told = says_of_engine(harbour.client(), "not seen").await?;
    assert!(
        told.detail.contains("; "),
        "why; what to do: {}",
        told.detail
    );

    let watcher = &harbour.watcher;
    private.start_again().await?;
    returns.start().await?;
    harbour.sees_engine().await?;
    watcher.wait_status(dies.instance(), "failed").await?;
    let reason = "select reason = 'Ready' from auth_reconciler.instance where instance_id =";
    let ready = format!("{reason} '{}'", returns.instance());
    returns.reached(Phase::Ready).await?;
    crate::scene::eventually(harbour.client(), &ready).await?;
    assert_eq!(
        harbour.told(dies.instance(), "reason").await?,
        "ContainerStopped"
    );
    assert_eq!(
        watcher.status(returns.instance()).await?.as_deref(),
        Some("client_ready")
    );

    // Killed, it leaves its socket, and its next start stops the containers.
    private.kill().await?;
    says_of_engine(harbour.client(), "not seen").await?;
    let mark = watcher.mark();
    private.start_again().await?;
    harbour.sees_engine().await?;
    watcher
        .wait_status_after(mark, returns.instance(), "failed")
        .await?;
    Ok(())
}

/// One container that the engine cannot show for a moment, though it tells of all others: what was concluded without it
/// does not stand for as long as the backoff has grown.
#[tokio::test]
async fn a_container_that_the_engine_did_not_show_is_asked_for_again_soon() -> Result<()> {
    let faked = Faked::ready(&NO_BACKOFF).await?;
    let mark = faked.scene.records.mark();
    let inspection = format!("/containers/{CONTAINER}/json");
    let busy = Reply::Json(500, json!({"message": "busy"}));
    faked.fake.reply(&inspection, busy);
    faked.stub.set(Behaviour::NotListening).await?;
    faked.tell(faked.event("die"));
    let records = &faked.scene.records;
    records.reason(mark, faked.id, "ApiUnresponsive").await?;
    faked.show(KILLED);
    faked.becomes("failed").await?;
    records.reason(mark, faked.id, "ContainerStopped").await?;
    Ok(())
}
