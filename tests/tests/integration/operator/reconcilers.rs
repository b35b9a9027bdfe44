//! Who runs, who leads, who hears: from the server's own sessions and locks, so the dead show as dead.

use anyhow::{Context, Result};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, Stop};
use auth_reconciler_tests::stub::{Behaviour, Stub};

use super::value;
use crate::arena::Scene;
use crate::scene::{EARS, eventually};

#[tokio::test]
async fn a_half_dead_process_and_a_dead_one_show_as_such() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    scene.instance(&stub).await?;
    let shown = |role: &str, hears: &str, process: u32| {
        format!(
            "select count(*) = 1 and bool_and(role = '{role}' and hears is {hears} and process = {process}
                 and version = '{}' and host <> '' and since is not null and remark <> '')
             from auth_reconciler.reconciler_details",
            env!("CARGO_PKG_VERSION")
        )
    };
    let process = scene.daemon.pid();
    assert!(value::<bool>(&scene.client, &shown("active", "true", process)).await?);
    let signs = "select engine = 'unknown' or engine = 'off', last_sign > active_since, term = 1 from auth_reconciler.reconciler_details";
    let row = scene.client.query_one(signs, &[]).await?;
    assert_eq!(
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
        (true, true, true)
    );

    // Its ear ends, and it cannot notice.
    scene.daemon.signal("STOP")?;
    let ear: i32 = value(&scene.client, EARS).await?;
    scene
        .client
        .execute("select pg_terminate_backend($1, 5000)", &[&ear])
        .await?;
    assert!(value::<bool>(&scene.client, &shown("half-dead", "false", process)).await?);
    scene.daemon.signal("CONT")?;
    eventually(&scene.client, &shown("active", "true", process)).await?;

    scene.daemon.sigkill()?;
    scene.daemon.ended().await?;
    eventually(&scene.client, &shown("dead", "false", process)).await?;
    let next = scene.restart().await?;
    assert!(value::<bool>(&scene.client, &shown("active", "true", next.pid())).await?);
    // A command is no reconciler.
    let others = "select count(*) from auth_reconciler.reconciler_details where role <> 'active'";
    assert_eq!(value::<i64>(&scene.client, others).await?, 0);
    // One that was stopped in good order shows no other way.
    next.sigterm()?;
    next.ended().await?;
    eventually(&scene.client, &shown("dead", "false", next.pid())).await
}

/// The epoch lies in an unlogged table, which a standby cannot read.
#[tokio::test]
async fn every_view_can_be_read_on_a_hot_standby() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let scene = crate::scene::Scene::on(&cluster.url("postgres")).await?;
    scene.migrate().await?;
    let id = scene.instance(1).await?;
    cluster.stop(Stop::Fast).await?;
    cluster.start_as_standby().await?;
    let client = scene.database.client().await?;
    for view in [
        "help",
        "overview",
        "days",
        "last_day",
        "status",
        "problems",
        "instances",
        "backlog",
        "drift",
        "latency",
        "history",
        "transitions",
    ] {
        let read = format!("select count(*) from auth_reconciler.{view}");
        value::<i64>(&client, &read).await.context(view)?;
    }
    let story = format!("select string_agg(act, ' ') from auth_reconciler.explain('{id}')");
    assert_eq!(value::<String>(&client, &story).await?, "waits now");
    let who = "select role || ': ' || remark from auth_reconciler.reconciler_details";
    assert_eq!(
        value::<String>(&client, who).await?,
        "unknown: this server is a standby: ask the primary, where the sessions are"
    );
    drop(client);
    cluster.stop(Stop::Immediate).await
}
