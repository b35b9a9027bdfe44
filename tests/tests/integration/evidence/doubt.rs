//! Where nobody answers, the silence may be ours: nothing follows from it until somebody does.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Fleet};
use uuid::Uuid;

use super::{insert_ready, prepared, problem};
use crate::arena::{KEY, Scene};
use crate::scene::eventually;

const NOBODY: &str = "instances that were ready are silent and nobody else answers, so our own way to them is doubted: \
     nothing is written until one answers";
const BELIEVED: &str = "instances that were ready are silent and nobody else answers, for longer than \
     AUTH_RECONCILER_BELIEVE_SILENCE_AFTER: their silence is believed until one answers";
const SOMEBODY: &str = "somebody answers: the doubt is over";

/// A streak is soon long enough.
const HASTY: [(&str, &str); 4] = [
    ("AUTH_RECONCILER_MISS_WINDOW", "1s"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "1s"),
    ("AUTH_RECONCILER_PROBE_TIMEOUT", "2s"),
    ("RUST_LOG", "auth_reconciler=debug"),
];

/// So many rows that somebody has called ready, and a daemon that meets them for the first time.
async fn met(fleet: &Fleet, settings: &[(&str, &str)]) -> Result<(Scene, Vec<Uuid>)> {
    let (database, client, table) = prepared().await?;
    let mut ids = Vec::new();
    for port in fleet.ports() {
        let id = Uuid::new_v4();
        insert_ready(&client, &table, id, port).await?;
        ids.push(id);
    }
    let all: Vec<_> = HASTY.iter().chain(settings).copied().collect();
    let scene = Scene::serve_within(&[], (database, client, table), &all).await?;
    Ok((scene, ids))
}

/// No status was ever written.
async fn unchanged(scene: &Scene, ids: &[Uuid]) -> Result<()> {
    for id in ids {
        let status = scene.table.status(&scene.client, *id).await?;
        ensure!(
            status.as_deref() == Some("client_ready"),
            "{id}: {status:?}"
        );
        let history = scene.history(*id).await?;
        ensure!(history.is_empty(), "{id}: {history:?}");
    }
    Ok(())
}

/// Waits until every one of them has fallen silent and is left as it is.
async fn all_held(scene: &Scene, ids: &[Uuid]) -> Result<()> {
    scene.daemon.wait_message(NOBODY).await?;
    eventually(
        &scene.client,
        "select exists (select from auth_reconciler.problem_details where problem = 'Doubt' and id is null)
            and exists (select from auth_reconciler.reconciler_details where remark like '%nobody else answers%')",
    )
    .await?;
    unchanged(scene, ids).await
}

#[tokio::test]
async fn an_address_at_which_nobody_listens_rewrites_nobody() -> Result<()> {
    let fleet = Fleet::start(20, Behaviour::Ready).await?;
    let wrong = [("AUTH_RECONCILER_PROBE_URL", "http://127.0.53.98:{port}")];
    let (scene, ids) = met(&fleet, &wrong).await?;
    all_held(&scene, &ids).await?;
    let line = scene.daemon.wait_message(NOBODY).await?;
    assert_eq!(line.level(), Some("WARN"));
    eventually(
        &scene.client,
        "select exists (select from auth_reconciler.problem_details where problem = 'Doubt')",
    )
    .await?;
    let said = problem(&scene, "Doubt").await?.unwrap_or_default();
    let remark: String = scene
        .client
        .query_one(
            "select replace(string_agg(remark, ' '), E'\\n', ' ') from auth_reconciler.reconciler_details",
            &[],
        )
        .await?
        .try_get(0)?;
    for text in [&line.text, &said, &remark] {
        for words in [
            "http://127.0.53.98:{port}",
            "127.0.53.98:",
            " refuses the connection",
            "set AUTH_RECONCILER_PROBE_URL to where",
            "http://wweb-{id}-api:{port}",
        ] {
            ensure!(text.contains(words), "{words}: {text}");
        }
        ensure!(!text.contains(KEY), "{text}");
    }
    assert_eq!(fleet.total(), 0);
    Ok(())
}

#[tokio::test]
async fn a_fleet_that_falls_silent_at_once_is_held_until_somebody_answers() -> Result<()> {
    for silence in [
        Behaviour::NotListening,
        Behaviour::Hang,
        Behaviour::Status(403),
        Behaviour::Status(404),
    ] {
        let fleet = Fleet::start(12, Behaviour::Ready).await?;
        let (scene, ids) = met(&fleet, &[]).await?;
        scene.all_recorded(12, "Ready", "watch").await?;
        fleet.set(&silence).await?;
        scene
            .client
            .execute("select auth_reconciler.reconcile_all()", &[])
            .await?;
        all_held(&scene, &ids)
            .await
            .with_context(|| format!("{silence:?}"))?;
        let (first, others) = ids.split_first().context("twelve")?;
        let stub = fleet.stubs.first().context("twelve")?;
        for other in &fleet.stubs {
            other.set(Behaviour::Ready).await?;
        }
        stub.set(Behaviour::NotListening).await?;
        scene.daemon.wait_message(SOMEBODY).await?;
        // That one is believed to be silent now: the others are its witnesses.
        scene
            .client
            .execute("select auth_reconciler.reconcile($1)", &[first])
            .await?;
        let failed = format!(
            "select auth_status = 'failed' from public.message_instances where id = '{first}'"
        );
        eventually(&scene.client, &failed).await?;
        unchanged(&scene, others).await?;
        ensure!(problem(&scene, "Doubt").await?.is_none());
    }
    Ok(())
}

/// It refused everybody. The first one that it lets through is a witness, and no word of the others.
#[tokio::test]
async fn a_proxy_that_lets_one_through_first_fails_none_of_the_others() -> Result<()> {
    let fleet = Fleet::start(8, Behaviour::Ready).await?;
    let window = [("AUTH_RECONCILER_MISS_WINDOW", "10m")];
    let (scene, ids) = met(&fleet, &window).await?;
    scene.all_recorded(8, "Ready", "watch").await?;
    fleet.set(&Behaviour::Status(403)).await?;
    let all = "select auth_reconciler.reconcile_all()";
    scene.client.execute(all, &[]).await?;
    // The window is not over: nobody is doubted yet, and all are asked again.
    let refused = |count: usize| {
        format!(
            "select count(*) = {count} from auth_reconciler.instance
             where reason = 'ApiKeyRejected' and misses >= 4 and not final"
        )
    };
    eventually(&scene.client, &refused(8)).await?;
    let first = fleet.stubs.first().context("eight")?;
    first.set(Behaviour::Ready).await?;
    eventually(
        &scene.client,
        "select count(*) = 1 from auth_reconciler.instance where reason = 'Ready'",
    )
    .await?;
    // They are refused on and on, and asked beside one that answers.
    let (first_id, others) = ids.split_first().context("eight")?;
    scene
        .client
        .execute(
            "update auth_reconciler.instance set misses = 1 where instance_id <> $1",
            &[first_id],
        )
        .await?;
    eventually(&scene.client, &refused(7)).await?;
    unchanged(&scene, others).await?;
    fleet.set(&Behaviour::Ready).await?;
    eventually(
        &scene.client,
        "select count(*) = 8 from auth_reconciler.instance where reason = 'Ready' and final",
    )
    .await?;
    unchanged(&scene, &ids).await
}

/// By the clock alone: no event, and no answer.
#[tokio::test]
async fn silence_is_believed_at_the_limit_that_the_settings_name_and_until_somebody_answers()
-> Result<()> {
    let fleet = Fleet::start(6, Behaviour::Ready).await?;
    let limit = [("AUTH_RECONCILER_BELIEVE_SILENCE_AFTER", "3s")];
    let (scene, ids) = met(&fleet, &limit).await?;
    scene.all_recorded(6, "Ready", "watch").await?;
    let watcher = scene.watch().await?;
    fleet.set(&Behaviour::NotListening).await?;
    let all = "select auth_reconciler.reconcile_all()";
    scene.client.execute(all, &[]).await?;
    scene.daemon.wait_message(NOBODY).await?;
    scene.daemon.wait_message(BELIEVED).await?;
    let log = scene.daemon.log();
    let mut before = log.iter().take_while(|line| !line.is(BELIEVED));
    ensure!(
        !before.any(|line| line.is("status written") && line.has("to", "failed")),
        "nothing before the limit"
    );
    for id in &ids {
        watcher.wait_status(*id, "failed").await?;
    }
    eventually(
        &scene.client,
        "select exists (
            select from auth_reconciler.problem_details as p where p.problem = 'Doubt' and p.why like '%BELIEVE_SILENCE_AFTER%'
        )",
    )
    .await?;
    let mark = watcher.mark();
    fleet.set(&Behaviour::Ready).await?;
    for id in &ids {
        watcher.wait_status_after(mark, *id, "client_ready").await?;
    }
    scene.daemon.wait_message(SOMEBODY).await?;
    eventually(
        &scene.client,
        "select not exists (select from auth_reconciler.problem_details)",
    )
    .await
}
