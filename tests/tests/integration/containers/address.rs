//! Where an API is asked: at the published port, at the container's address, or by its name.

use std::time::Duration;

use anyhow::Result;

use super::harbour::{Harbour, without_backoff};

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
    container.stop(Duration::from_secs(10)).await?;
    harbour.watcher.wait_status(id, "failed").await?;
    container.start().await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    Ok(())
}
