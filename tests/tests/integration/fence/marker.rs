//! Our write is marked, so that it is no drift to ourselves. The mark silences exactly one row and value, and what a
//! trigger of the table makes of our value is no success.

use anyhow::{Context, Result};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::arena::Scene;

#[tokio::test]
async fn our_own_write_is_no_event() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let other = scene.idle_instance().await?;
    // The first record writes client_ready.
    let id = scene.instance(&stub).await?;
    let record = scene.barrier(id, other).await?;
    assert_eq!(record.looks(), 2, "the insert's and the barrier's");
    assert_eq!(record.get("corrections_spent"), 0);
    Ok(())
}

#[tokio::test]
async fn a_mark_silences_no_other_value_no_other_row_and_no_other_table() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let other = scene.instance(&stub).await?;
    let manager = scene.database.client().await?;
    let leftovers = [
        // What a record itself sets, but for the transaction that it is of; and what an earlier version set.
        "1".to_owned(),
        format!("1/{id}/pending"),
        String::new(),
        format!("1/{id}/client_ready"),
        format!("1/{other}/pending"),
        format!("2/{id}/pending"),
        format!("1/{id}/"),
        format!("1/{id}/pending "),
    ];
    for leftover in leftovers {
        mark(&manager, &leftover, false).await?;
        let record = stale_write(&scene, &manager, id).await?;
        assert_eq!(record.as_deref(), Some("drift"), "with {leftover:?}");
    }
    // What a transaction leaves behind is an empty string where there was nothing.
    manager
        .batch_execute("reset auth_reconciler.writing; begin")
        .await?;
    mark(&manager, &format!("1/{id}/pending"), true).await?;
    manager.batch_execute("commit").await?;
    let record = stale_write(&scene, &manager, id).await?;
    assert_eq!(record.as_deref(), Some("drift"));
    // The very setting of a record, in a transaction that is none.
    let before = scene.records.mark();
    manager
        .batch_execute(
            "begin; select set_config('auth_reconciler.writing', pg_current_xact_id()::text, true)",
        )
        .await?;
    scene
        .table
        .write_status(&manager, id, Some("pending"))
        .await?;
    manager.batch_execute("commit").await?;
    let record = scene.records.of(before, id).await?;
    assert_eq!(record.text("cause"), Some("drift"));
    // A null is a value, too.
    let before = scene.records.mark();
    scene.table.write_status(&manager, id, None).await?;
    let record = scene.records.of(before, id).await?;
    assert_eq!(record.text("cause"), Some("drift"));
    Ok(())
}

/// What could not be logged leaves out who wrote it, and a guard keeps nothing then. Only our triggers may say so.
#[tokio::test]
async fn nobody_else_can_say_that_a_write_could_not_be_logged() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let manager = scene.database.client().await?;
    for name in ["logged", "noted", "noted_", "noted_0"] {
        let claim = format!(
            "select set_config('auth_reconciler.{name}', pg_current_xact_id() || ' cannot', true)"
        );
        manager.batch_execute(&format!("begin; {claim}")).await?;
        scene
            .table
            .write_status(&manager, id, Some("pending"))
            .await?;
        let logged: i64 = manager
            .query_one(
                "select count(*) from auth_reconciler.change where instance_id = $1 and cause = 'drift'",
                &[&id],
            )
            .await?
            .get(0);
        manager.batch_execute("rollback").await?;
        assert_eq!(logged, 1, "with {name}");
    }
    Ok(())
}

async fn mark(session: &Client, value: &str, local: bool) -> Result<()> {
    session
        .execute(
            "select set_config('auth_reconciler.writing', $1, $2)",
            &[&value, &local],
        )
        .await?;
    Ok(())
}

/// The manager writes `pending`, and it is corrected; returns the cause of the look.
async fn stale_write(scene: &Scene, manager: &Client, id: Uuid) -> Result<Option<String>> {
    let before = scene.records.mark();
    scene
        .table
        .write_status(manager, id, Some("pending"))
        .await?;
    let record = scene.records.of(before, id).await?;
    let status = scene.table.status(&scene.client, id).await?;
    assert_eq!(status.as_deref(), Some("client_ready"));
    Ok(record.text("cause").map(str::to_owned))
}

/// A trigger of the table's owner that does this to whatever we write.
async fn meddle(scene: &Scene, does: &str) -> Result<()> {
    scene
        .client
        .batch_execute(&format!(
            "create function meddle() returns trigger language plpgsql as $$ begin {does} end $$;
             create trigger meddle before update of auth_status on {} for each row execute function meddle()",
            scene.table.name()
        ))
        .await?;
    Ok(())
}

/// Shown as trouble, not as success; and it ends true when the trigger is gone.
async fn contested_until_the_trigger_is_gone(does: &str, stays: &str, said: &str) -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_BACKOFF_MAX", "300ms")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.idle_instance().await?;
    meddle(&scene, does).await?;
    let before = scene.records.mark();
    let port = Some(i32::from(stub.port()));
    scene.table.set_port(&scene.client, id, port).await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some(crate::arena::KEY))
        .await?;
    scene.records.reason(before, id, "Ready").await?;
    let status = scene.status(id).await?;
    assert_eq!(status["auth_status"], stays);
    assert_eq!(status["contested"], true);
    assert_eq!(status["trouble"], true);
    let message = status["message"].as_str().context("a message")?;
    assert!(message.contains(said), "{message}");
    assert!(scene.history(id).await?.is_empty(), "no status moved");

    // Tried again, but never faster than the longest backoff: the mark does not hide what the trigger did, and that
    // alone does not make us spin.
    let retried = scene.records.mark();
    for _ in 0..2 {
        let mark = scene.records.mark();
        scene.records.of(mark, id).await?;
    }
    for pair in scene.records.all(retried, id).windows(2) {
        let at = |place: usize| -> Result<chrono::DateTime<chrono::Utc>> {
            Ok(pair[place].text("recorded_at").context("a time")?.parse()?)
        };
        assert!((at(1)? - at(0)?).num_milliseconds() >= 290);
    }

    scene
        .client
        .batch_execute(&format!("drop trigger meddle on {}", scene.table.name()))
        .await?;
    let watcher = scene.watch().await?;
    watcher.wait_status(id, "client_ready").await?;
    scene
        .records
        .wait(0, "peace", |record| {
            record.id == id
                && record.text("auth_status") == Some("client_ready")
                && record.get("contested") == 0
                && record.get("next_attempt_at").is_null()
        })
        .await?;
    let last = scene.history(id).await?.pop().context("a move")?;
    assert_eq!(last[1..3], ["client_ready", "Ready"]);
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_replaces_our_value_is_no_success() -> Result<()> {
    let does = "new.auth_status := 'theirs'; return new;";
    contested_until_the_trigger_is_gone(does, "theirs", "made it theirs").await
}

#[tokio::test]
async fn a_trigger_that_keeps_the_old_value_is_no_success() -> Result<()> {
    let does = "new.auth_status := old.auth_status; return new;";
    contested_until_the_trigger_is_gone(does, "pending", "made it pending").await
}

#[tokio::test]
async fn a_trigger_that_drops_our_write_is_no_success() -> Result<()> {
    contested_until_the_trigger_is_gone("return null;", "pending", "made it stay pending").await
}
