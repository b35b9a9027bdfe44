//! The way of a container to READY, found without a clock.

use anyhow::{Context, Result};

use super::Harbour;

#[tokio::test]
async fn a_normal_start_needs_no_clock_and_few_requests() -> Result<()> {
    let harbour = Harbour::shared(&[]).await?;
    let spec = harbour.spec()?;
    let id = harbour.insert(&spec).await?;
    let container = harbour.engine.run(spec).await?;
    let seen = harbour.watcher.wait_status(id, "client_ready").await?;
    let counts = container.counts().await?;
    let ready = counts.ready_at().context("it is ready")?;
    println!("late {:?} counts {counts:?}", seen);
    println!("{ready:?} {:?}", harbour.scene.history(id).await?);
    for record in harbour.scene.records.all(0, id) {
        println!(
            "{:?} {:?} {:?} {:?}",
            record.text("recorded_at"),
            record.text("cause"),
            record.text("reason"),
            record.get("reaction_ms")
        );
    }
    assert_eq!(harbour.watcher.statuses(id), ["pending", "client_ready"]);
    assert!(counts.ready() <= 3, "{counts:?}");
    Ok(())
}
