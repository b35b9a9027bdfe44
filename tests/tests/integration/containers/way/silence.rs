//! An engine that accepts and says nothing, from the first moment, later on, or only about what happens.

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use chrono::TimeDelta;
use uuid::Uuid;

use super::faked::{CONTAINER, KILLED, RUNNING, Shown};
use super::{CHECKS, Faked, says_of_engine};
use crate::arena::{KEY, Scene};
use crate::containers::{Harbour, LATE};

/// How long the last move to this status took, in ms, from its cause to its record.
async fn reaction(scene: &Scene, id: Uuid, to: &str) -> Result<f64> {
    let asked = "select reaction_ms::float8 from auth_reconciler.transitions
        where instance_id = $1 and to_status = $2 order by at desc limit 1";
    let row = scene.client.query_one(asked, &[&id, &to]).await?;
    row.try_get::<_, Option<f64>>(0)?.context("a cause")
}

/// Below what the limit on the engine's answers (5 s) would cost, and enough for a busy machine.
const AT_ONCE: f64 = 4_000.0;

#[tokio::test]
async fn a_silent_engine_delays_neither_start_nor_looks_and_is_given_up() -> Result<()> {
    let fake = FakeEngine::start().await?;
    fake.serve(false);
    let scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", &fake.url())]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let watcher = scene.watch().await?;
    let id = Uuid::new_v4();
    let (client, table) = (&scene.client, &scene.table);
    table
        .insert(client, id, Some(stub.port()), Some(KEY))
        .await?;
    watcher.wait_status(id, "client_ready").await?;
    let (serving, written) = (
        scene.daemon.wait_message("serving").await?,
        scene.daemon.wait_message("status written").await?,
    );
    let delay = written.at - serving.at;
    assert!(delay < TimeDelta::milliseconds(4_000), "{delay}");

    let waiting = Uuid::new_v4();
    table
        .insert(client, waiting, Some(stub.port()), None)
        .await?;
    watcher.wait_status(waiting, "pending").await?;
    table.save_api_key(client, waiting, Some(KEY)).await?;
    watcher.wait_status(waiting, "client_ready").await?;
    assert!(reaction(&scene, waiting, "client_ready").await? < AT_ONCE);
    assert_eq!(
        super::told(client).await?.view,
        "unknown",
        "still waiting for it"
    );

    let told = says_of_engine(client, "not seen").await?;
    assert!(
        told.detail.starts_with("no answer within 5 s; "),
        "{}",
        told.detail
    );
    fake.serve(true);
    says_of_engine(client, "seen").await?;
    Ok(())
}

#[tokio::test]
async fn what_a_silent_stream_does_not_tell_a_list_does() -> Result<()> {
    let faked = Faked::ready(&[CHECKS]).await?;
    faked.show(KILLED);
    faked.becomes("failed").await?;
    faked.show(Shown {
        start: 2,
        ..RUNNING
    });
    faked.becomes("client_ready").await?;

    // In a list it runs as before; that it was started once more is seen by its endpoint.
    faked.stub.set(Behaviour::Disconnected).await?;
    faked.show(Shown {
        start: 3,
        ..RUNNING
    });
    faked.becomes("pending").await?;
    faked.stub.set(Behaviour::Ready).await?;
    faked.becomes("client_ready").await
}

#[tokio::test]
async fn while_list_and_events_agree_nothing_is_asked() -> Result<()> {
    let faked = Faked::ready(&[CHECKS]).await?;
    // Events do not name the endpoint that comes with a start.
    faked.show(Shown {
        start: 2,
        ..RUNNING
    });
    let mark = faked.scene.records.mark();
    faked.tell(faked.event("die") + &faked.event("start"));
    faked.scene.records.of(mark, faked.id).await?;
    let records = &faked.scene.records;
    records
        .wait(mark, "the new start", |record| {
            let start = record.text("container_started_at").unwrap_or_default();
            start.contains(":00:02")
        })
        .await?;
    faked.scene.reconcile(faked.id).await?;
    let lists = |count: usize| {
        let before = faked.fake.seen().count("/containers/json");
        let checked = move |seen: &auth_reconciler_tests::docker::fake::Seen| {
            seen.count("/containers/json") >= before + count
        };
        faked.fake.until("checks", checked)
    };
    lists(3).await?;
    let (looks, asked) = (records.all(0, faked.id).len(), faked.stub.counts().total());
    lists(5).await?;
    assert_eq!(records.all(0, faked.id).len(), looks, "no look");
    assert_eq!(faked.stub.counts().total(), asked, "no request");
    assert_eq!(faked.fake.seen().count("/events"), 1, "no doubt");
    Ok(())
}

#[tokio::test]
async fn a_frozen_engine_is_out_of_sight_until_it_thaws() -> Result<()> {
    let private = Engine::private().await?;
    let url = private.url();
    let harbour = Harbour::open(Engine::clone(&private), &url, &[CHECKS]).await?;
    let (exits, stays) = tokio::try_join!(harbour.ready(), harbour.ready())?;
    // Whatever its start led to has been looked at.
    harbour.scene.reconcile(stays.instance()).await?;
    let asked = stays.counts().await?.ready();
    private.freeze()?;
    // Nothing says so yet: this look finds out, and those after it do not wait.
    harbour.scene.reconcile(stays.instance()).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let quick = harbour.scene.instance(&stub).await?;
    harbour.watcher.wait_status(quick, "client_ready").await?;
    let took = reaction(&harbour.scene, quick, "client_ready").await?;
    assert!(took < AT_ONCE, "{took} ms");
    let told = says_of_engine(harbour.client(), "not seen").await?;
    assert!(told.detail.contains("no answer within"), "{}", told.detail);

    exits.control("exit?code=7").await?;
    harbour.scene.reconcile(stays.instance()).await?;
    for id in [exits.instance(), stays.instance()] {
        let status = harbour.watcher.status(id).await?;
        assert_eq!(status.as_deref(), Some("client_ready"));
    }
    private.thaw()?;
    harbour.sees_engine().await?;
    harbour
        .watcher
        .wait_status(exits.instance(), "failed")
        .await?;
    let message = harbour.told(exits.instance(), "message").await?;
    assert!(message.contains('7'), "{message}");
    assert_eq!(harbour.told(stays.instance(), "reason").await?, "Ready");
    assert!(
        stays.counts().await?.ready() <= asked + 2 + LATE,
        "the two that were asked for"
    );
    Ok(())
}

#[tokio::test]
async fn a_way_that_hides_what_it_lists_makes_nothing_of_it_gone() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let nothing = serde_json::json!({"message": "no such route"});
    faked.fake.reply(
        &format!("/containers/{CONTAINER}/json"),
        Reply::Json(404, nothing),
    );
    let record = faked.scene.reconcile(faked.id).await?;
    assert_eq!(record.reason(), "Ready", "its API says so");
    assert_eq!(
        faked
            .watcher
            .statuses(faked.id)
            .await?
            .last()
            .map(String::as_str),
        Some("client_ready")
    );
    // It is asked for again until it is shown, and no event is needed then.
    faked.show(KILLED);
    faked.becomes("failed").await
}

#[tokio::test]
async fn a_hold_of_a_contested_instance_puts_off_no_news_of_its_container() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let (client, id) = (&faked.scene.client, faked.id);
    client
        .execute(
            "update auth_reconciler.instance
             set contested = 20, hold_until = clock_timestamp() + interval '55 s' where instance_id = $1",
            &[&id],
        )
        .await?;
    client
        .execute(
            "update public.message_instances set auth_status = 'pending' where id = $1",
            &[&id],
        )
        .await?;
    faked.show(KILLED);
    faked.tell(faked.event("die"));
    faked.becomes("failed").await?;
    let contested = "select contested from auth_reconciler.instances where id = $1";
    let contested: bool = client.query_one(contested, &[&id]).await?.try_get(0)?;
    assert!(contested, "the hold goes on for others");
    Ok(())
}
