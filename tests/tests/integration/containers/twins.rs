//! Two containers of one instance: one after the other, and both at once.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::docker::{Container, Spec};

use super::harbour::{Harbour, NO_BACKOFF};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_container_made_anew_under_the_same_name_takes_the_place_of_the_old_one() -> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let spec = harbour.spec()?.at_once();
    let id = harbour.insert(&spec).await?;
    for _ in 0..3 {
        let mark = harbour.watcher.mark();
        let container = harbour.engine.run(spec.clone()).await?;
        harbour
            .watcher
            .wait_status_after(mark, id, "client_ready")
            .await?;
        let counts = container.counts().await?;
        assert!((1..=3).contains(&counts.ready()), "{counts:?}");
        container.remove().await?;
        harbour.watcher.wait_status(id, "failed").await?;
    }
    // Between the two it may be pending, or ready before anybody could look.
    let mut statuses = harbour.watcher.statuses(id).await?;
    statuses.retain(|status| status != "pending");
    assert_eq!(statuses, ["client_ready", "failed"].repeat(3));
    Ok(())
}

#[tokio::test]
async fn of_two_containers_the_newest_running_one_counts() -> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let (records, watcher) = (&harbour.scene.records, &harbour.watcher);
    let other = harbour.ready().await?;
    let spec: Spec = harbour.spec()?.at_once();
    let id = harbour.insert(&spec).await?;
    let old: Container = harbour.engine.run(spec.clone()).await?;
    watcher.wait_status(id, "client_ready").await?;
    old.stop(GRACE).await?;
    watcher.wait_status(id, "failed").await?;
    old.rename(&format!("{}-old", old.name())).await?;

    let mark = records.mark();
    let new = harbour.engine.run(spec).await?;
    watcher.wait_status(id, "client_ready").await?;
    let ready = records.reason(mark, id, "Ready").await?;
    assert_eq!(ready.text("container_id"), Some(new.id()));
    // Whatever happens to the old one now concerns nobody.
    let mark = watcher.mark();
    old.rename(&format!("{}-older", old.name())).await?;
    harbour.caught_up(&other).await?;
    harbour.scene.reconcile(id).await?;
    assert_eq!(watcher.status(id).await?.as_deref(), Some("client_ready"));

    let recorded = records.mark();
    new.kill("KILL").await?;
    let stopped = records.reason(recorded, id, "ContainerStopped").await?;
    assert!(stopped.text("message").is_some());
    watcher.wait_status(id, "failed").await?;
    // The old one can go on, and counts for as long as it alone runs.
    let recorded = records.mark();
    old.start().await?;
    watcher.wait_status(id, "client_ready").await?;
    let back = records.reason(recorded, id, "Ready").await?;
    assert_eq!(back.text("container_id"), Some(old.id()));
    let recorded = records.mark();
    new.remove().await?;
    harbour.caught_up(&other).await?;
    harbour.scene.reconcile(id).await?;
    let since = records.all(recorded, id);
    assert!(since.iter().all(|record| record.reason() == "Ready"));
    let mut since: Vec<_> = watcher
        .observations(mark)
        .into_iter()
        .filter(|seen| seen.id == id)
        .filter_map(|seen| seen.status)
        .collect();
    since.retain(|status| status != "pending");
    since.dedup();
    assert_eq!(since, ["failed", "client_ready"]);
    Ok(())
}
