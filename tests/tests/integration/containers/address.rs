//! Where an API is asked: at the published port, at the container's address, or by its name.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::{Engine, Spec, reach};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::watcher::Watcher;
use uuid::Uuid;

use super::harbour::{Harbour, ROOT, without_backoff};
use crate::scene::eventually;

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_container_s_own_address_needs_no_published_port() -> Result<()> {
    let by_address = [("AUTH_RECONCILER_PROBE_URL", "http://{container_ip}:{port}")];
    let harbour = Harbour::shared(&without_backoff(&by_address)).await?;
    let mut spec = harbour.spec()?.at_once();
    spec.published = false;
    let id = harbour.insert_with_key(&spec).await?;
    let container = harbour.engine.run(spec).await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    assert!(
        container.counts().await.is_err(),
        "nothing answers on this machine's port"
    );
    // Its address may be another one after a start.
    container.stop(GRACE).await?;
    harbour.watcher.wait_status(id, "failed").await?;
    container.start().await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_in_a_container_asks_instances_by_their_names() -> Result<()> {
    let engine = Engine::shared().await?;
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    let way = reach(database.url()).await;
    let mut daemon = way.clone().apply(Spec::new(), ROOT);
    let url = daemon.settings.database.clone().context("a way")?;
    let folder = engine.socket().parent().context("a folder")?.to_owned();
    let socket = engine.socket().file_name().context("a socket")?;
    let docker = format!("unix:///engine/{}", socket.to_string_lossy());
    daemon.mounts.push((folder, "/engine".to_owned()));
    daemon.named = Some(format!("auth-reconciler-{}", Uuid::new_v4()));
    daemon.published = false;
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("AUTH_RECONCILER_DOCKER", &docker),
        ("AUTH_RECONCILER_PROBE_URL", "http://wweb-{id}-api:{port}"),
        ("AUTH_RECONCILER_BACKOFF_MIN", "10m"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "10m"),
    ];
    daemon.daemon = Some(
        settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    );
    let daemon = engine.run(daemon).await?;
    let seen = "select to_regclass('auth_reconciler.reconciler_details') is not null";
    eventually(&client, seen).await?;
    let seen =
        "select coalesce(bool_or(engine = 'seen'), false) from auth_reconciler.reconciler_details";
    eventually(&client, seen).await?;

    let watcher = Watcher::start(database.url(), &table).await?;
    let mut spec = way.apply(Spec::new(), ROOT).at_once().port(Engine::port()?);
    spec.published = false;
    let id = spec.settings.id;
    table
        .insert(&client, id, Some(spec.settings.port), None)
        .await?;
    let container = engine.run(spec).await?;
    watcher.wait_status(id, "client_ready").await?;
    container.kill("KILL").await?;
    watcher.wait_status(id, "failed").await?;
    daemon.stop(GRACE).await?;
    assert_eq!(daemon.exited().await?, 0, "as process 1, too");
    Ok(())
}
