//! What happened to containers while no daemon ran.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::docker::Container;

use super::harbour::{Harbour, NO_BACKOFF};

const GRACE: Duration = Duration::from_secs(10);

/// The age at which an event is told to no new subscription.
const RETOLD: Duration = Duration::from_secs(3);

async fn asked(containers: &[Container]) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for container in containers {
        all.push(container.counts().await?.total());
    }
    Ok(all)
}

#[tokio::test]
async fn a_new_daemon_finds_what_happened_and_asks_no_instance_that_did_not_change() -> Result<()> {
    let mut harbour = Harbour::shared(&NO_BACKOFF).await?;
    let (stopped, restarted, removed, paused, calm, calmer) = tokio::try_join!(
        harbour.ready(),
        harbour.ready(),
        harbour.ready(),
        harbour.ready(),
        harbour.ready(),
        harbour.ready(),
    )?;
    let gone = removed.instance();
    harbour.caught_up(&restarted).await?;
    harbour.scene.daemon.sigkill()?;
    harbour.scene.daemon.ended().await?;
    let calm = [calm, calmer];
    let before = asked(&calm).await?;
    let mark = harbour.scene.records.mark();
    stopped.stop(GRACE).await?;
    restarted.restart().await?;
    removed.remove().await?;
    paused.pause().await?;

    // What happened just before a subscription is told once more; what is meant here is older than that.
    tokio::time::sleep(RETOLD).await;

    let url = harbour.engine.url();
    let settings = [&NO_BACKOFF[..], &[("AUTH_RECONCILER_DOCKER", &url)]].concat();
    // One that sees all of it and is killed before it is done.
    let daemon = Daemon::spawn(harbour.scene.database.url(), &["run"], &settings)?;
    daemon.wait_message("the engine is in sight").await?;
    daemon.sigkill()?;
    daemon.ended().await?;
    harbour.scene.daemon = Daemon::start(&harbour.scene.database, &settings).await?;
    let records = &harbour.scene.records;
    for (id, reason) in [
        (stopped.instance(), "ContainerStopped"),
        (gone, "ContainerStopped"),
        (paused.instance(), "ContainerPaused"),
    ] {
        harbour.watcher.wait_status(id, "failed").await?;
        let [_, told, _] = harbour.last_move(id).await?;
        assert_eq!(told, reason);
    }
    let again = restarted.instance();
    let looked_at = records.wait(mark, "a look at the restarted one", |record| {
        record.id == again && record.reason() == "Ready"
    });
    looked_at.await?;
    harbour.watcher.wait_status(again, "client_ready").await?;
    // The comparison queues all that differs at once, and each of the four was looked at.
    for container in &calm {
        assert_eq!(harbour.looks(container.instance()), 0, "it did not change");
    }
    assert_eq!(asked(&calm).await?, before);
    Ok(())
}
