//! guard: the database keeps a verdict that is current, and never one that may not be.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::listener;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::value;
use crate::arena::{KEY, Scene};

pub(super) const GUARD: &str = "select auth_reconciler.guard('public.message_instances', true)";

/// Writes a status as the manager does, and returns what its RETURNING shows.
pub(super) async fn write(client: &Client, id: Uuid, status: &str) -> Result<Option<String>> {
    let statement =
        "update public.message_instances set auth_status = $2, updated_at = localtimestamp
        where id = $1 returning auth_status";
    Ok(client
        .query_one(statement, &[&id, &status])
        .await?
        .try_get(0)?)
}

#[tokio::test]
async fn a_stale_write_is_put_aside_and_the_rest_of_its_statement_goes_through() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let watcher = scene.watch().await?;
    let said: String = value(&scene.client, GUARD).await?;
    assert!(
        said.starts_with("public.message_instances is guarded"),
        "{said}"
    );
    let manager = scene.database.client().await?;
    manager
        .batch_execute("set application_name = 'the manager'")
        .await?;
    let mark = scene.records.mark();
    let row = manager
        .query_one(
            "update public.message_instances
             set auth_status = 'pending', whatsapp_state = 'a state', updated_at = '2025-01-05'
             where id = $1 returning auth_status, whatsapp_state, updated_at::text",
            &[&id],
        )
        .await?;
    let returned: [String; 3] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
    assert_eq!(
        returned,
        ["client_ready", "a state", "2025-01-05 00:00:00"],
        "the time stays the manager's"
    );
    // It is no news, and yet somebody may know better: a look follows.
    let look = scene.records.of(mark, id).await?;
    assert_eq!(look.text("cause"), Some("drift"));
    assert_eq!(
        watcher.statuses(id).await?,
        ["client_ready"],
        "no reader saw another"
    );
    let drift: String = value(
        &scene.client,
        "select concat_ws('|', application, role, from_status, to_status, times, guarded) from auth_reconciler.drift_details",
    )
    .await?;
    assert_eq!(drift, "the manager|postgres|client_ready|pending|1|1");

    let off = "select auth_reconciler.guard('public.message_instances', false)";
    let said: String = value(&scene.client, off).await?;
    assert!(said.contains("is no longer guarded"), "{said}");
    let mark = scene.records.mark();
    assert_eq!(
        write(&manager, id, "pending").await?.as_deref(),
        Some("pending")
    );
    scene.records.reason(mark, id, "Ready").await?;
    let status = scene.table.status(&manager, id).await?;
    assert_eq!(status.as_deref(), Some("client_ready"), "corrected");
    Ok(())
}

#[tokio::test]
async fn under_concurrent_stale_writes_no_reader_ever_sees_one() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let watcher = scene.watch().await?;
    value::<String>(&scene.client, GUARD).await?;
    let before = stub.counts().total();
    let mut writers = JoinSet::new();
    for _ in 0..6 {
        let client = scene.database.client().await?;
        writers.spawn(async move {
            for turn in 0..50 {
                let status = ["pending", "failed"][turn % 2];
                let returned = write(&client, id, status).await?;
                assert_eq!(returned.as_deref(), Some("client_ready"), "turn {turn}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    assert_eq!(watcher.statuses(id).await?, ["client_ready"]);
    let guarded = "select sum(guarded)::bigint from auth_reconciler.drift_details";
    assert_eq!(value::<i64>(&scene.client, guarded).await?, 300);
    // Two writers never spin, guarded or not.
    let probes = stub.counts().total() - before;
    assert!(probes <= 20, "{probes} probes for 300 writes");
    assert_eq!(scene.status(id).await?["contested"], true);
    Ok(())
}

/// The scene with two ready instances, guarded, and a daemon that is frozen: it leads, and answers for nothing.
async fn frozen() -> Result<(Scene, Stub, Uuid, Uuid)> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (one, other) = (scene.instance(&stub).await?, scene.instance(&stub).await?);
    value::<String>(&scene.client, GUARD).await?;
    scene.daemon.signal("STOP")?;
    Ok((scene, stub, one, other))
}

#[tokio::test]
async fn an_unanswered_change_lets_writes_of_that_instance_through() -> Result<()> {
    let (scene, _stub, one, other) = frozen().await?;
    let manager = scene.database.client().await?;
    assert_eq!(
        write(&manager, one, "failed").await?.as_deref(),
        Some("client_ready")
    );
    // What was put aside is no news: it is put aside again.
    assert_eq!(
        write(&manager, one, "failed").await?.as_deref(),
        Some("client_ready")
    );
    scene
        .table
        .save_api_key(&scene.client, one, Some("another"))
        .await?;
    assert_eq!(
        write(&manager, one, "failed").await?.as_deref(),
        Some("failed")
    );
    assert_eq!(
        write(&manager, other, "failed").await?.as_deref(),
        Some("client_ready")
    );
    let ask = format!("select auth_reconciler.reconcile('{other}')");
    value::<String>(&scene.client, &ask).await?;
    assert_eq!(
        write(&manager, other, "failed").await?.as_deref(),
        Some("failed")
    );
    Ok(())
}

#[tokio::test]
async fn a_fact_that_the_same_statement_or_transaction_changes_lets_the_write_through() -> Result<()>
{
    let (scene, _stub, one, other) = frozen().await?;
    let mut manager = scene.database.client().await?;
    let both =
        "update public.message_instances set auth_status = 'failed', account = 'Name' where id = $1
        returning auth_status";
    let returned: String = manager.query_one(both, &[&one]).await?.try_get(0)?;
    assert_eq!(returned, "failed");
    let transaction = manager.transaction().await?;
    scene
        .table
        .save_api_key(&transaction, other, Some("another"))
        .await?;
    scene
        .table
        .write_status(&transaction, other, Some("failed"))
        .await?;
    transaction.commit().await?;
    let status = scene.table.status(&manager, other).await?;
    assert_eq!(status.as_deref(), Some("failed"));
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_changes_a_fact_lets_the_write_through() -> Result<()> {
    let (scene, _stub, one, _) = frozen().await?;
    scene
        .client
        .batch_execute(
            "create function public.port() returns trigger language plpgsql as
             $$ begin new.port_api := new.port_api + 1; return new; end $$;
             create trigger port before update on public.message_instances
             for each row execute function public.port()",
        )
        .await?;
    assert_eq!(
        write(&scene.client, one, "failed").await?.as_deref(),
        Some("failed")
    );
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_is_gone_keeps_nothing_and_its_successor_only_what_it_saw() -> Result<()> {
    let (scene, stub, one, other) = frozen().await?;
    scene.daemon.sigkill()?;
    scene.daemon.ended().await?;
    crate::scene::eventually(&scene.client, "select auth_reconciler.nobody_leads()").await?;
    assert_eq!(
        write(&scene.client, one, "failed").await?.as_deref(),
        Some("failed")
    );

    let mark = scene.records.mark();
    let _second = Daemon::start(&scene.database, &[]).await?;
    scene.records.reason(mark, one, "Ready").await?;
    let mark = scene.records.mark();
    // What was recorded in another epoch may have been overtaken while nobody heard.
    assert_eq!(
        write(&scene.client, other, "failed").await?.as_deref(),
        Some("failed")
    );
    scene.records.reason(mark, other, "Ready").await?;
    assert_eq!(
        write(&scene.client, other, "failed").await?.as_deref(),
        Some("client_ready")
    );
    drop(stub);
    Ok(())
}

#[tokio::test]
async fn verdicts_that_are_not_final_or_hands_off_let_writes_through() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_BACKOFF_MIN", "60s")]).await?;
    value::<String>(&scene.client, GUARD).await?;
    let silent = Stub::start(Behaviour::NotListening).await?;
    let starting = scene.instance(&silent).await?;
    let foreign = Uuid::new_v4();
    let mark = scene.records.mark();
    let (table, client) = (&scene.table, &scene.client);
    table
        .insert_provider(client, foreign, "carrier pigeon", Some(1), Some(KEY))
        .await?;
    scene.records.of(mark, foreign).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let paused = scene.instance(&stub).await?;
    let pause = format!("select auth_reconciler.pause('{paused}', 'by hand')");
    let mark = scene.records.mark();
    value::<String>(client, &pause).await?;
    // At once, and when a look has answered for the pause.
    assert_eq!(
        write(client, paused, "failed").await?.as_deref(),
        Some("failed")
    );
    scene.records.reason(mark, paused, "Paused").await?;
    for (id, status) in [
        (starting, "client_ready"),
        (foreign, "failed"),
        (paused, "pending"),
    ] {
        assert_eq!(write(client, id, status).await?.as_deref(), Some(status));
    }
    Ok(())
}

/// Else a writer that is faster than our looks would keep an outdated verdict alive.
#[tokio::test]
async fn a_write_that_was_put_aside_refuses_no_verdict() -> Result<()> {
    let scene = Scene::start(&[("RUST_LOG", "auth_reconciler=debug")]).await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    value::<String>(&scene.client, GUARD).await?;
    stub.set(Behaviour::Status(401).held(&gate)).await?;
    let mark = scene.records.mark();
    for probe in [2, 2] {
        let returned = write(&scene.client, id, "pending").await?;
        assert_eq!(returned.as_deref(), Some("client_ready"));
        // The second one comes into the look that the first one caused.
        stub.request(probe).await?;
    }
    gate.open();
    scene.records.reason(mark, id, "ApiKeyRejected").await?;
    let refused = scene
        .daemon
        .count(|line| line.is("verdict refused: what it was computed from no longer stands"));
    assert_eq!(refused, 0);
    let status = scene.table.status(&scene.client, id).await?;
    assert_eq!(
        status.as_deref(),
        Some("pending"),
        "a refusal that nobody else's answer stands beside is no evidence, so what was put aside is given back"
    );
    Ok(())
}

#[tokio::test]
async fn a_guarded_table_is_unwatched_and_uninstalled_without_a_trace() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    value::<String>(&scene.client, GUARD).await?;
    scene.daemon.sigterm()?;
    scene.daemon.ended().await?;
    let triggers =
        "select count(*) from pg_trigger where tgrelid = 'public.message_instances'::regclass";
    let unwatch = "select auth_reconciler.unwatch('public.message_instances')";
    value::<String>(&scene.client, unwatch).await?;
    assert_eq!(value::<i64>(&scene.client, triggers).await?, 0);
    let again = "select auth_reconciler.watch('public.message_instances')";
    value::<String>(&scene.client, again).await?;
    assert_eq!(
        value::<i64>(&scene.client, triggers).await?,
        4,
        "watched, not guarded"
    );
    value::<String>(&scene.client, GUARD).await?;
    // A test's own trigger stands on a table of ours.
    let uninstall = ["uninstall", "--yes", "--with-dependents"];
    let done = run_command(scene.database.url(), &uninstall, &[]).await?;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(value::<i64>(&scene.client, triggers).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_bulk_write_rings_a_bounded_number_of_times_and_reads_no_more_of_the_log_than_its_own()
-> Result<()> {
    const ROWS: i64 = 300;
    let scene = Scene::start(&[]).await?;
    let fill = format!(
        "insert into {} (id, provider, type_instance)
         select gen_random_uuid(), 'telegram', array['api'] from generate_series(1, $1::bigint)",
        scene.table.name()
    );
    scene.client.execute(&fill, &[&ROWS]).await?;
    scene.all_recorded(ROWS, "AwaitingApiKey", "insert").await?;
    value::<String>(&scene.client, GUARD).await?;
    // Nothing is told of it before the statement has ended.
    scene.daemon.signal("STOP")?;
    // The log is small and empty, and known to be.
    scene
        .client
        .batch_execute("vacuum analyze auth_reconciler.change")
        .await?;

    let heard = Arc::new(Mutex::new(Vec::new()));
    let filled = Arc::clone(&heard);
    let hear = move |payload: &str| {
        filled.lock().unwrap().push(payload.to_owned());
        Ok(())
    };
    let ear = listener::connect(scene.database.url(), hear, drop).await?;
    ear.batch_execute("listen auth_reconciler").await?;

    let mut manager = scene.database.client().await?;
    let transaction = manager.transaction().await?;
    transaction
        .execute(
            "update public.message_instances set auth_status = 'failed'",
            &[],
        )
        .await?;
    let read: i64 = transaction
        .query_one(
            "select seq_tup_read from pg_stat_xact_user_tables where relid = 'auth_reconciler.change'::regclass",
            &[],
        )
        .await?
        .try_get(0)?;
    transaction.commit().await?;
    assert!(
        read <= ROWS,
        "{read} rows of the log were read for {ROWS} writes"
    );
    let kept = "select count(*) from auth_reconciler.change where kept";
    assert_eq!(value::<i64>(&scene.client, kept).await?, ROWS);

    // What was committed before is told before its answer.
    ear.batch_execute("select").await?;
    let payloads = heard.lock().unwrap().clone();
    assert!(payloads.contains(&"log".to_owned()), "{payloads:?}");
    let rings = payloads
        .iter()
        .filter(|payload| payload.ends_with("/drift"))
        .count();
    assert_eq!(rings, 1, "then one word for all others");

    scene.daemon.signal("CONT")?;
    scene.all_recorded(ROWS, "AwaitingApiKey", "drift").await
}
