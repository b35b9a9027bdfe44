//! What a record pays for those who watch: nothing while nobody does. And what was decided before one came does not
//! slip past it.

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use super::{WATCHERS, Watching};
use crate::scene::{ALL_TRUE, Eavesdropper, Scene, insert_many};

const WATCH: &str = "select auth_reconciler.begin_watching()";

#[tokio::test]
async fn records_ring_only_while_somebody_watches() -> Result<()> {
    let scene = Scene::shared().await?;
    // One look at a time: two that ask at once may ring for nobody.
    let daemon = Daemon::start(
        &scene.database,
        &[("AUTH_RECONCILER_PROBE_CONCURRENCY", "1")],
    )
    .await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let heard = Eavesdropper::on(&scene, "auth_reconciler_watch").await?;
    let ids = insert_many(&scene, &stub, 1).await?;
    scene.eventually(ALL_TRUE).await?;
    let watching = Watching::start(scene.url(), &[]).await?;
    scene
        .table
        .write_status(&scene.manager, ids[0], Some("failed"))
        .await?;
    scene.eventually(ALL_TRUE).await?;
    drop(watching);
    scene
        .eventually(&format!("select not exists (select {WATCHERS})"))
        .await?;
    scene
        .table
        .write_status(&scene.manager, ids[0], Some("failed"))
        .await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute("notify auth_reconciler_watch, 'the end'")
        .await?;
    heard.hears("the end").await?;
    let numbers: Vec<String> = heard
        .payloads()
        .into_iter()
        .filter(|payload| payload.parse::<i64>().is_ok())
        .collect();
    let second: Vec<i64> = scene
        .value("select array_agg(id order by id) from auth_reconciler.transitions")
        .await?;
    assert_eq!(second.len(), 3);
    assert_eq!(numbers, [second[1].to_string()]);
    drop(daemon);
    Ok(())
}

#[tokio::test]
async fn what_was_silent_before_it_came_is_waited_for() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    // A record that has found nobody watching, and is not committed yet.
    let mut record = scene.database.client().await?;
    let transaction = record.transaction().await?;
    let row = transaction
        .query_one(
            "insert into auth_reconciler.transition
                (watched_id, instance_id, at, reason, message, cause, reaction_ms)
             values (1, $1, now(), 'Ready', '', 'insert', 1) returning id",
            &[&Uuid::new_v4()],
        )
        .await?;
    let id: i64 = row.get(0);
    transaction
        .execute(
            "select auth_reconciler.tell_watchers($1)",
            &[&[id].as_slice()],
        )
        .await?;
    let heard = Eavesdropper::on(&scene, "auth_reconciler_watch").await?;

    let watching = Daemon::spawn(scene.url(), &["watch", "--json"], &[])?;
    scene
        .eventually(&format!("select count(*) = 1 {WATCHERS} and not granted"))
        .await?;
    // Others do not wait for it in turn: they ring.
    let other = scene.database.client().await?;
    other
        .batch_execute(
            "set statement_timeout = '10s'; select auth_reconciler.tell_watchers(array[77])",
        )
        .await?;
    heard.hears("77").await?;
    transaction.commit().await?;
    let watching = Watching(watching);
    watching.shows(id).await?;
    assert!(!heard.payloads().contains(&id.to_string()), "it was silent");
    Ok(())
}

/// Any role may take any advisory lock, or wait for one. None may keep from a watcher what is recorded.
#[tokio::test]
async fn nobody_else_can_have_records_keep_silent_while_somebody_watches() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let heard = Eavesdropper::on(&scene, "auth_reconciler_watch").await?;
    let watcher = scene.database.client().await?;
    watcher.batch_execute(WATCH).await?;
    let record = scene.database.client().await?;
    for (number, (take, lock, waits)) in [
        ("pg_advisory_lock_shared", "watch_lock", false),
        // The watcher shares it: this one waits.
        ("pg_advisory_lock", "watch_lock", true),
        ("pg_advisory_lock", "silent_record_lock", false),
        ("pg_advisory_lock_shared", "silent_record_lock", false),
    ]
    .into_iter()
    .enumerate()
    {
        let stranger = scene.database.client().await?;
        let mut waiting = tokio::spawn(async move {
            let lock =
                format!("select {take}(auth_reconciler.bell_class(), auth_reconciler.{lock}())");
            stranger.batch_execute(&lock).await?;
            anyhow::Ok(stranger)
        });
        let mut held = None;
        if waits {
            scene
                .eventually(&format!("select count(*) = 1 {WATCHERS} and not granted"))
                .await?;
        } else {
            held = Some((&mut waiting).await??);
        }
        let tell = format!("select auth_reconciler.tell_watchers(array[{number}])");
        record.batch_execute(&tell).await?;
        heard.hears(&number.to_string()).await?;
        waiting.abort();
        drop(held);
    }
    Ok(())
}

/// It would be told of nothing once the lock is given back that kept it from watching.
#[tokio::test]
async fn who_cannot_watch_is_refused() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let watcher = scene.database.client().await?;
    watcher.batch_execute("set lock_timeout = '50ms'").await?;
    for lock in ["watch_lock", "silent_record_lock"] {
        let stranger = scene.database.client().await?;
        let take = format!(
            "select pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.{lock}())"
        );
        stranger.batch_execute(&take).await?;
        assert!(watcher.batch_execute(WATCH).await.is_err(), "{lock}");
        stranger
            .batch_execute("select pg_advisory_unlock_all()")
            .await?;
    }
    watcher.batch_execute(WATCH).await?;
    Ok(())
}
