//! What is asked of our tables beside a look costs the same however many instances there are.

use anyhow::{Context, Result, ensure};

use crate::scene::Scene;

/// Pages that a statement reads.
async fn pages(scene: &Scene, statement: &str) -> Result<i64> {
    let explained = format!("explain (analyze, buffers, format json) {statement}");
    let row = scene.manager.query_one(&explained, &[]).await?;
    let plan: serde_json::Value = row.try_get(0)?;
    let read = |name: &str| plan[0]["Plan"][name].as_i64().context("pages");
    Ok(read("Shared Hit Blocks")? + read("Shared Read Blocks")?)
}

#[tokio::test]
async fn witnesses_are_found_without_reading_all_instances() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "insert into auth_reconciler.instance
                (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
                 reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested, final)
             select 1, gen_random_uuid(), gen_random_uuid(), 1, 'client_ready', 'Ready', '', now(), true, 'insert',
                1, now(), 1, 0, 0, 0, 0, true
             from generate_series(1, 20000);
             analyze auth_reconciler.instance",
        )
        .await?;
    let asked = include_str!("../../../sql/queries/ready_instances.sql");
    let pages = pages(&scene, asked).await?;
    ensure!(pages < 100, "{pages} pages for four instances");
    Ok(())
}
