//! Whatever ends or holds a container is in the row at once, with its reason, and without asking an API that is gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::docker::Container;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::harbour::{Harbour, LATE, without_backoff};
use crate::scene::eventually;

const GRACE: Duration = Duration::from_secs(10);

/// Waits until the container is recorded as stopped in these words, and checks everything else.
async fn failed(harbour: &Harbour, id: Uuid, words: &str) -> Result<()> {
    let records = &harbour.scene.records;
    let told = records.wait(0, words, |record| {
        record.id == id
            && record
                .text("message")
                .is_some_and(|message| message.contains(words))
    });
    let record = told.await?;
    ensure!(record.reason() == "ContainerStopped", "{record:?}");
    ensure!(record.get("settled") == true, "no clock runs: {record:?}");
    // Two sessions tell of the record and of the status.
    harbour.watcher.wait_status(id, "failed").await?;
    let statuses = harbour.watcher.statuses(id).await?;
    ensure!(
        statuses == ["pending", "client_ready", "failed"],
        "{words}: {statuses:?}"
    );
    let [_, reason, cause] = harbour.last_move(id).await?;
    ensure!(reason == "ContainerStopped", "{words}: {reason}");
    // The look at the signal may find it dead already; and where a busy engine was out of sight, a list tells.
    let causes = ["kill", "die", "oom", "stop", "destroy", "change"];
    let causes = causes.map(|what| format!("container {what}"));
    ensure!(causes.contains(&cause), "{words}: {cause}");
    ensure!(
        !harbour.was_asked(id, "failed").await?,
        "{words}: a dead container's API was asked"
    );
    Ok(())
}

#[tokio::test]
async fn every_end_of_a_container_is_failed_and_says_how_it_ended() -> Result<()> {
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let harbour = Harbour::shared(&without_backoff(&debug)).await?;
    // After a write of the account looks follow each other by the clock for a moment; none of those is meant here.
    let spec = || {
        let spec = harbour.spec()?;
        anyhow::Ok(spec.with(|settings| settings.writes_account = false))
    };
    let mut small = spec()?;
    small.memory = Some(64 << 20);
    let (killed, revoked, stopped, removed, greedy) = tokio::try_join!(
        harbour.ready_as(spec()?),
        harbour.ready_as(spec()?),
        harbour.ready_as(spec()?),
        harbour.ready_as(spec()?),
        harbour.ready_as(small),
    )?;
    let gone = removed.instance();
    // What the engine tells late of a start would give its name to a look at the end.
    harbour.caught_up(&harbour.ready().await?).await?;
    killed.kill("KILL").await?;
    revoked.control("revoke").await?;
    greedy.control("eat?mib=256").await?;
    stopped.stop(GRACE).await?;
    removed.remove().await?;
    failed(&harbour, killed.instance(), "exit code 137").await?;
    failed(&harbour, revoked.instance(), "exit code 1;").await?;
    failed(&harbour, stopped.instance(), "exit code 0;").await?;
    failed(
        &harbour,
        greedy.instance(),
        "too much memory (exit code 137)",
    )
    .await?;
    failed(&harbour, gone, "was removed").await?;

    // Each of them goes on when it is started again, and what it was failed for is forgotten.
    for container in [killed, stopped] {
        let mark = harbour.watcher.mark();
        container.start().await?;
        let id = container.instance();
        harbour
            .watcher
            .wait_status_after(mark, id, "client_ready")
            .await?;
        assert_eq!(harbour.told(id, "reason").await?, "Ready");
    }
    Ok(())
}

#[tokio::test]
async fn one_that_is_removed_at_its_end_is_told_with_its_exit_code() -> Result<()> {
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let harbour = Harbour::shared(&without_backoff(&debug)).await?;
    let mut spec = harbour.spec()?;
    spec.auto_remove = true;
    spec.settings.writes_account = false;
    let container = harbour.ready_as(spec).await?;
    let id = container.instance();
    container.control("revoke").await?;
    failed(&harbour, id, "exit code 1 and was removed").await?;
    // Who did not hear of it has it from the record.
    let gone = format!(
        "select container_state like 'removed%' from auth_reconciler.instance where instance_id = '{id}'"
    );
    eventually(&harbour.scene.client, &gone).await?;
    harbour.scene.daemon.sigkill()?;
    harbour.scene.daemon.ended().await?;
    let mark = harbour.scene.records.mark();
    let url = harbour.engine.url();
    let mut settings = without_backoff(&debug);
    settings.push(("AUTH_RECONCILER_DOCKER", &url));
    let _later = Daemon::start(&harbour.scene.database, &settings).await?;
    let seen =
        "select coalesce(bool_or(engine = 'seen'), false) from auth_reconciler.reconciler_details
        where role = 'active'";
    eventually(&harbour.scene.client, seen).await?;
    let ask = "select auth_reconciler.reconcile($1)";
    harbour.scene.client.execute(ask, &[&id]).await?;
    let words = "exit code 1 and was removed";
    let told = harbour.scene.records.wait(mark, words, |record| {
        let message = record.text("message");
        record.id == id && message.is_some_and(|message| message.contains(words))
    });
    told.await?;
    Ok(())
}

#[tokio::test]
async fn a_paused_container_is_failed_until_it_goes_on() -> Result<()> {
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let harbour = Harbour::shared(&without_backoff(&debug)).await?;
    let container = harbour.ready().await?;
    let id = container.instance();
    harbour.caught_up(&harbour.ready().await?).await?;
    let before = container.counts().await?.ready();
    container.pause().await?;
    harbour.watcher.wait_status(id, "failed").await?;
    let paused = ["failed", "ContainerPaused", "container pause"];
    assert_eq!(harbour.last_move(id).await?, paused);
    assert!(!harbour.was_asked(id, "failed").await?, "it cannot answer");
    container.unpause().await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    let ready = ["client_ready", "Ready", "container unpause"];
    assert_eq!(harbour.last_move(id).await?, ready);
    let asked = container.counts().await?.ready() - before;
    assert!((1..=1 + LATE).contains(&asked), "{asked} requests");
    Ok(())
}

#[tokio::test]
async fn a_container_that_does_not_start_is_awaited_and_says_so() -> Result<()> {
    // With a backoff: where a busy engine is out of sight when the row comes, nothing else tells that it shows none.
    let harbour = Harbour::shared(&[]).await?;
    // An engine that runs none of ours would prove nothing by showing none.
    let _ours = harbour.ready().await?;
    let records = &harbour.scene.records;
    let spec = harbour.spec()?.at_once();
    let id = harbour.insert_with_key(&spec).await?;
    let unseen = records.reason(0, id, "AwaitingContainer").await?;
    assert!(
        unseen
            .text("message")
            .is_some_and(|text| text.contains("no container was seen"))
    );
    let blocker = TcpListener::bind(("127.0.0.1", spec.settings.port)).await?;
    let mark = records.mark();
    let container: Container = harbour.engine.create(spec).await?;
    let created = records.of(mark, id).await?;
    assert_eq!(created.reason(), "AwaitingContainer");
    assert_eq!(created.text("cause"), Some("container create"));
    assert!(
        created
            .text("message")
            .is_some_and(|text| text.contains("not started yet"))
    );
    assert_eq!(created.get("settled"), true);

    // The engine tells nobody of it: it is found when somebody asks.
    assert!(container.start().await.is_err(), "its port is taken");
    let mark = records.mark();
    harbour.scene.reconcile(id).await?;
    let refused = records.reason(mark, id, "ContainerStopped").await?;
    assert_eq!(
        refused.text("message"),
        Some("its container could not be started (exit code 128); see why and start it")
    );
    assert_eq!(refused.text("auth_status"), Some("failed"));
    drop(blocker);
    container.start().await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_health_check_that_changes_its_mind_leads_to_a_look() -> Result<()> {
    let harbour = Harbour::shared(&without_backoff(&[])).await?;
    let mut spec = harbour.spec()?;
    spec.health = Some(Duration::from_millis(100));
    let container = harbour.ready_as(spec).await?;
    let id = container.instance();
    harbour.caught_up(&harbour.ready().await?).await?;
    // Nothing but the health check tells of it.
    container.control("refuse").await?;
    let records = &harbour.scene.records;
    let look = records.wait(0, "a look by the health check", |record| {
        record.id == id
            && record.text("cause") == Some("container health")
            && record.reason() == "ApiUnresponsive"
    });
    assert_eq!(
        look.await?.text("auth_status"),
        Some("client_ready"),
        "one miss"
    );
    Ok(())
}
