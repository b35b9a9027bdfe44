//! History is bounded by count and by age, and costs nothing while nothing happens.

use anyhow::Result;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio::task::JoinSet;

use super::value;
use crate::arena::Scene;
use crate::scene::eventually;

const MOST: &str = "
    select greatest(
        (select max(n) from (select count(*) as n from auth_reconciler.journal group by instance_id) as j),
        (select max(n) from (select count(*) as n from auth_reconciler.transition group by instance_id) as t))";

/// All that was written has been looked at.
const ANSWERED: &str = "select not exists (select from auth_reconciler.change)";

/// History that is older than it may become.
const OLD: &str = "
    insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
    select 1, gen_random_uuid(), now() - interval '2 days', 'change', 'account', 1, now()
    from generate_series(1, 500);
    insert into auth_reconciler.transition
        (watched_id, instance_id, at, reason, message, cause, reaction_ms)
    select 1, gen_random_uuid(), now() - interval '2 days', 'Ready', '', 'account', 1
    from generate_series(1, 200)";

const OLD_LEFT: &str = "
    select (select count(*) from auth_reconciler.journal where at < now() - interval '1 day')
        + (select count(*) from auth_reconciler.transition where at < now() - interval '1 day')";

#[tokio::test]
async fn under_load_history_keeps_its_bounds_at_every_moment() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_HISTORY_PER_INSTANCE", "4"),
        ("AUTH_RECONCILER_HISTORY_MAX_AGE", "1d"),
        ("AUTH_RECONCILER_LOOK_BURST", "10000"),
        ("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "600"),
    ];
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(scene.instance(&stub).await?);
    }
    scene.client.batch_execute(OLD).await?;
    let first = ids[0];
    let mut writers = JoinSet::new();
    for id in ids {
        let (table, client) = (scene.table.clone(), scene.database.client().await?);
        writers.spawn(async move {
            for turn in 0..60 {
                let status = ["pending", "failed"][turn % 2];
                table.write_status(&client, id, Some(status)).await?;
                let account = format!("Name {turn}");
                table.save_account(&client, id, Some(&account)).await?;
            }
            anyhow::Ok(())
        });
    }
    let mut seen = 0;
    while !writers.is_empty() {
        if let Some(writer) = writers.try_join_next() {
            writer??;
        }
        seen = seen.max(value::<i64>(&scene.client, MOST).await?);
    }
    eventually(&scene.client, ANSWERED).await?;
    // A verdict that a write overtook is not told, so those writes may have led to few; each of these leads to one.
    let manager = scene.database.client().await?;
    for _ in 0..6 {
        let wrong = Some("failed");
        scene.table.write_status(&manager, first, wrong).await?;
        eventually(&scene.client, ANSWERED).await?;
        seen = seen.max(value::<i64>(&scene.client, MOST).await?);
    }
    assert_eq!(seen, 4, "as many as are kept, and never more");
    assert_eq!(value::<i64>(&scene.client, MOST).await?, 4);
    // Each record takes some of it along: ten transitions and thirty entries, so twenty have taken all.
    for _ in 0..20 {
        scene.reconcile(first).await?;
    }
    let left: i64 = value(&scene.client, OLD_LEFT).await?;
    assert_eq!(left, 0, "what was too old is gone");
    Ok(())
}

/// As an operator's session may hold some of it for hours.
#[tokio::test]
async fn what_somebody_holds_of_the_history_is_passed_over_by_records() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_HISTORY_PER_INSTANCE", "4"),
        ("AUTH_RECONCILER_HISTORY_MAX_AGE", "1d"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    for _ in 0..4 {
        scene.reconcile(id).await?;
    }
    scene.client.batch_execute(OLD).await?;
    let holder = scene.database.client().await?;
    holder.batch_execute("begin").await?;
    for table in ["journal", "transition"] {
        holder
            .batch_execute(&format!(
                "select from auth_reconciler.{table} where at < now() - interval '1 day' order by at limit 1 for update;
                 select from auth_reconciler.{table} where instance_id = '{id}' for update"
            ))
            .await?;
    }
    // Each of them prunes, as few are kept.
    for _ in 0..20 {
        scene.reconcile(id).await?;
    }
    let left: i64 = value(&scene.client, OLD_LEFT).await?;
    assert_eq!(left, 2, "what is held");
    let busy = scene
        .daemon
        .count(|line| line.is("somebody holds what this look needs"));
    // Not each of them, as it was; one may meet another lock, on a busy machine.
    assert!(busy < 10, "{busy} of 20 records waited for it");
    holder.batch_execute("commit").await?;
    for _ in 0..2 {
        scene.reconcile(id).await?;
    }
    let left: i64 = value(&scene.client, OLD_LEFT).await?;
    assert_eq!(left, 0);
    assert_eq!(value::<i64>(&scene.client, MOST).await?, 4);
    Ok(())
}

/// A batch locks watched rows while it prunes: however large it is and however much is too old, it takes little of it.
#[tokio::test]
async fn a_large_batch_takes_no_more_of_what_is_old_than_takes_a_moment() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let much = "
        insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
        select 1, gen_random_uuid(), now() - interval '2 days', 'change', 'account', 1, now()
        from generate_series(1, 5000)";
    scene.client.batch_execute(much).await?;
    let before: i64 = value(&scene.client, OLD_LEFT).await?;
    scene
        .client
        .batch_execute(
            "select auth_reconciler.prune(1, array(select gen_random_uuid() from generate_series(1, 64)), 200, '1 day', 16)",
        )
        .await?;
    let taken = before - value::<i64>(&scene.client, OLD_LEFT).await?;
    assert!((64..=1000).contains(&taken), "{taken} were taken");
    Ok(())
}

#[tokio::test]
async fn looks_that_find_the_same_again_leave_no_trace_but_their_number() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_BACKOFF_MIN", "10ms"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "10ms"),
    ];
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    let id = scene.instance(&stub).await?;
    let kept = "select count(*) from auth_reconciler.journal";
    let before: i64 = value(&scene.client, kept).await?;
    let mark = scene.records.mark();
    scene
        .records
        .wait(mark, "twenty looks", |record| {
            record.id == id && record.looks() > 20
        })
        .await?;
    assert_eq!(value::<i64>(&scene.client, kept).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_row_that_comes_and_goes_between_two_looks_fills_no_history() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let id = uuid::Uuid::new_v4();
    let mut manager = scene.database.client().await?;
    for _ in 0..20 {
        let transaction = manager.transaction().await?;
        scene.table.insert(&transaction, id, None, None).await?;
        let delete = "delete from public.message_instances where id = $1";
        transaction.execute(delete, &[&id]).await?;
        transaction.commit().await?;
        while scene.unobserved().await? > 0 {
            tokio::task::yield_now().await;
        }
    }
    let told: i64 = value(
        &scene.client,
        "select count(*) from auth_reconciler.journal",
    )
    .await?;
    assert_eq!(told, 0);
    Ok(())
}
