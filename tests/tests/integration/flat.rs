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

/// So many instances that were recorded, each like this, and a change of each that no look has answered for.
async fn recorded(scene: &Scene, status: &str, settled: bool, due: &str) -> Result<()> {
    scene
        .manager
        .batch_execute(&format!(
            "insert into auth_reconciler.instance
                (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
                 reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested, final, next_attempt_at)
             select 1, gen_random_uuid(), gen_random_uuid(), 1, '{status}', 'Ready', '', now(), {settled}, 'insert',
                1, now(), 1, 0, 0, 0, 0, {settled}, {due}
             from generate_series(1, 20000);
             insert into auth_reconciler.change (watched_id, instance_id, cause)
             select watched_id, instance_id, 'api_key' from auth_reconciler.instance;
             analyze auth_reconciler.instance; analyze auth_reconciler.change",
        ))
        .await?;
    Ok(())
}

#[tokio::test]
async fn witnesses_are_found_without_reading_all_instances() -> Result<()> {
    for status in ["client_ready", "pending"] {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        recorded(&scene, status, true, "null").await?;
        let asked = include_str!("../../../sql/queries/ready_instances.sql");
        let pages = pages(&scene, asked).await?;
        ensure!(pages < 100, "{pages} pages where all are {status}");
    }
    Ok(())
}

/// Asked every few seconds, by each process that stands by.
#[tokio::test]
async fn a_process_that_stands_by_sees_what_waits_without_reading_all_of_it() -> Result<()> {
    for due in ["now() - interval '1 hour'", "now() + interval '1 hour'"] {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        recorded(&scene, "pending", false, due).await?;
        let leader = scene.database.client().await?;
        leader
            .batch_execute("select pg_advisory_lock(auth_reconciler.leadership_lock())")
            .await?;
        let asked = include_str!("../../../sql/queries/leader_progress.sql");
        let pages = pages(&scene, asked).await?;
        ensure!(pages < 200, "{pages} pages where all are due at {due}");
        let seen = scene.manager.query_one(asked, &[]).await?;
        ensure!(
            seen.try_get::<_, Option<i64>>("oldest_change")? == Some(1),
            "the oldest change"
        );
        let overdue = seen.try_get::<_, Option<std::time::SystemTime>>("oldest_due")?;
        ensure!(
            overdue.is_some() == due.contains('-'),
            "{overdue:?} at {due}"
        );
    }
    Ok(())
}

/// What is held back stands before it, and there is much of that.
#[tokio::test]
async fn what_waits_is_seen_behind_any_number_of_changes_that_are_held_back() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let leader = scene.database.client().await?;
    leader
        .batch_execute("select pg_advisory_lock(auth_reconciler.leadership_lock())")
        .await?;
    let asked = include_str!("../../../sql/queries/leader_progress.sql");
    for (held_back, waits) in [(10, 11), (10_000, 2_000)] {
        scene
            .manager
            .batch_execute(&format!(
                "truncate auth_reconciler.change restart identity;
                 insert into auth_reconciler.pause (watched_id, instance_id, reason, paused_by, paused_at)
                 values (1, '00000000-0000-0000-0000-000000000001', '', '', now()) on conflict do nothing;
                 insert into auth_reconciler.change (watched_id, instance_id, cause)
                 select 1, '00000000-0000-0000-0000-000000000001', 'drift' from generate_series(1, {held_back});
                 insert into auth_reconciler.change (watched_id, instance_id, cause)
                 values (1, gen_random_uuid(), 'drift')",
            ))
            .await?;
        let seen = scene.manager.query_one(asked, &[]).await?;
        let oldest: Option<i64> = seen.try_get("oldest_change")?;
        ensure!(oldest == Some(waits), "{oldest:?} behind {held_back}");
    }
    Ok(())
}
