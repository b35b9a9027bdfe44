//! Containers and rows that have nothing to do with each other.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::{Engine, Kind, Phase, Spec};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::Value;
use uuid::Uuid;

use super::harbour::{Harbour, LATE, NO_BACKOFF};
use super::way::LOST;
use crate::arena::{KEY, Scene};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_companion_and_a_container_without_a_row_mean_nothing() -> Result<()> {
    let harbour = Harbour::shared(&[]).await?;
    let (api, other) = tokio::try_join!(harbour.ready(), harbour.ready())?;
    let id = api.instance();
    harbour.caught_up(&other).await?;
    let (looks, asked) = (harbour.looks(id), api.counts().await?.ready());
    let own_port = Engine::port()?;
    let spec = Spec::new().at_once().id(id).port(own_port).kind(Kind::Mcp);
    let companion = harbour.engine.run(spec).await?;
    companion.reached(Phase::Ready).await?;
    companion
        .control("flood?bytes_per_second=1000&seconds=0&newlines=true")
        .await?;
    companion.pause().await?;
    companion.unpause().await?;
    companion.restart().await?;
    companion.kill("KILL").await?;
    companion.exited().await?;
    companion.remove().await?;
    harbour.caught_up(&other).await?;
    // Its seven events would have led to more.
    let (looks, asked) = (
        harbour.looks(id) - looks,
        api.counts().await?.ready() - asked,
    );
    assert!(
        looks <= 1 && asked <= LATE,
        "the companion led to {looks} looks"
    );

    let stranger = harbour.engine.run(Spec::new().at_once()).await?;
    stranger.reached(Phase::Ready).await?;
    stranger.stop(GRACE).await?;
    let unknown = stranger.instance();
    stranger.remove().await?;
    let odd = Spec::new()
        .at_once()
        .label("wweb.instance.id", Some("no id"));
    harbour.engine.run(odd).await?.kill("KILL").await?;
    harbour.caught_up(&other).await?;
    let known = "select (select count(*) from auth_reconciler.instance where instance_id = $1)
        + (select count(*) from auth_reconciler.transition where instance_id = $1)
        + (select count(*) from auth_reconciler.change where instance_id = $1)";
    let known: i64 = harbour
        .client()
        .query_one(known, &[&unknown])
        .await?
        .try_get(0)?;
    assert_eq!(
        known, 0,
        "something is recorded of an instance that there is not"
    );
    let mut complaints = harbour.scene.daemon.complaints();
    // A machine that is out of breath may let the engine answer late.
    complaints.retain(|line| line.message() != Some(LOST));
    assert!(complaints.is_empty(), "{complaints:?}");
    assert_eq!(
        harbour.watcher.statuses(id).await?,
        ["pending", "client_ready"]
    );
    Ok(())
}

#[tokio::test]
async fn a_row_without_a_container_waits_quietly_and_an_api_elsewhere_is_believed() -> Result<()> {
    let harbour = Harbour::shared(&[]).await?;
    // An engine that runs none of ours would prove nothing by showing none.
    let _ours = harbour.ready().await?;
    let (scene, records) = (&harbour.scene, &harbour.scene.records);
    let silent = Stub::start(Behaviour::NotListening).await?;
    let id = scene.instance(&silent).await?;
    let record = records.reason(0, id, "AwaitingContainer").await?;
    assert_eq!(record.text("auth_status"), Some("pending"));
    assert_eq!(
        (record.get("settled"), record.get("next_attempt_at")),
        (&Value::Bool(true), &Value::Null)
    );
    assert_eq!(record.get("container_state"), &Value::Null);

    let elsewhere = Stub::start(Behaviour::Ready).await?;
    let believed = scene.instance(&elsewhere).await?;
    harbour
        .watcher
        .wait_status(believed, "client_ready")
        .await?;
    assert_eq!(
        harbour.last_move(believed).await?,
        ["client_ready", "Ready", "insert"]
    );
    assert_eq!(elsewhere.counts().total(), 1);
    // A machine that is out of breath may lose sight of the engine, and each time that it is seen again is one look.
    let seen_again = harbour
        .scene
        .daemon
        .count(|line| line.is("the engine is in sight"))
        - 1;
    let looks = harbour.looks(id);
    assert!(
        looks <= 1 + seen_again,
        "{looks} looks, and nothing has happened to it"
    );
    Ok(())
}

#[tokio::test]
async fn a_container_event_finds_its_row_in_whichever_table_it_is() -> Result<()> {
    let engine = Engine::shared().await?;
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let (one, two) = (
        ManagerTable::message_instances(),
        ManagerTable::telegram_instances(),
    );
    one.create(&client).await?;
    two.create(&client).await?;
    let url = engine.url();
    let settings = [
        &NO_BACKOFF[..],
        &[
            ("AUTH_RECONCILER_DOCKER", &url),
            (
                "AUTH_RECONCILER_TABLE",
                "public.message_instances,public.telegram_instances",
            ),
        ],
    ]
    .concat();
    let scene = Scene::serve(database, client, two.clone(), &settings).await?;
    crate::scene::eventually(
        &scene.client,
        "select bool_or(engine = 'seen') from auth_reconciler.reconciler_details",
    )
    .await?;
    let spec = Spec::new().at_once();
    let id: Uuid = spec.settings.id;
    let spec = spec.port(Engine::port()?);
    two.insert(&scene.client, id, Some(spec.settings.port), Some(KEY))
        .await?;
    let container = engine.run(spec).await?;
    let ready = scene.records.reason(0, id, "Ready").await?;
    let mark = scene.records.mark();
    container.kill("KILL").await?;
    let stopped = scene.records.reason(mark, id, "ContainerStopped").await?;
    assert_eq!(stopped.watched_id, ready.watched_id);
    assert_eq!(
        two.status(&scene.client, id).await?.as_deref(),
        Some("failed")
    );
    let journal = "select count(distinct watched_id), bool_and(watched_table::text = 'telegram_instances'), count(*)
        from auth_reconciler.transitions join auth_reconciler.instance using (instance_id) where instance_id = $1";
    let row = scene.client.query_one(journal, &[&id]).await?;
    let (tables, right, moves): (i64, bool, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    assert!(
        tables == 1 && right && moves >= 2,
        "{tables} {right} {moves}"
    );
    Ok(())
}
