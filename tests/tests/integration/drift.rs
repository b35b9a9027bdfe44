//! Two writers of one column: ours is true and keeps within its budget, and of the manager's table we touch nothing
//! but the status (I8, I9).

use anyhow::{Context, Result, bail, ensure};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use auth_reconciler_tests::watcher::Watcher;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::arena::{KEY, Record, Scene};

/// Writes wrong statuses one after the other, as fast as the database takes them.
async fn rage(table: &ManagerTable, client: &Client, id: Uuid, writes: usize) -> Result<()> {
    for write in 0..writes {
        let status = ["pending", "failed"][write % 2];
        table.write_status(client, id, Some(status)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mad_second_writer_cannot_make_us_spin() -> Result<()> {
    const BUDGET: u64 = 10;
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let calm = scene.instance(&stub).await?;
    let other = Stub::start(Behaviour::Ready).await?;
    let fresh = Uuid::new_v4();
    let before = stub.counts().total();

    // Until the budget is spent. Looks merge, so it takes more writes than the budget has.
    let began = std::time::Instant::now();
    let mut writes = 0;
    while scene.status(id).await?["contested"] != true {
        ensure!(writes < 5_000, "never contested");
        rage(&scene.table, &scene.client, id, 10).await?;
        writes += 10;
    }
    let status = scene.status(id).await?;
    assert_eq!(status["trouble"], true);
    assert!(stub.counts().total() - before >= BUDGET);

    // And on, with the hold in force: hundreds of writes, next to no probe.
    rage(&scene.table, &scene.client, id, 300).await?;
    // Holds of a second and more, each ended by one look.
    let holds = began.elapsed().as_secs() + 2;
    let probes = stub.counts().total() - before;
    assert!(
        probes <= BUDGET + holds,
        "{probes} probes for {writes} and 300 writes within {:?}",
        began.elapsed()
    );
    // It stands in nobody's way.
    let mark = scene.records.mark();
    scene
        .table
        .insert(&scene.client, fresh, Some(other.port()), Some(KEY))
        .await?;
    scene.records.reason(mark, fresh, "Ready").await?;
    assert_eq!(scene.status(calm).await?["contested"], false);

    // The writer stops: the row is right again when the hold ends, and soon nobody speaks of it any more.
    let stopped = std::time::Instant::now();
    let mark = scene.records.mark();
    let peace = scene
        .records
        .wait(mark, "peace", |record| {
            record.id == id && record.get("contested") == 0
        })
        .await?;
    assert!(stopped.elapsed().as_secs() < 20, "{:?}", stopped.elapsed());
    assert!(peace.get("next_attempt_at").is_null(), "nothing is armed");
    let status = scene.status(id).await?;
    assert_eq!(status["auth_status"], "client_ready");
    assert_eq!(status["trouble"], false);
    assert_eq!(scene.unobserved().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_contested_instance_is_looked_at_at_once() -> Result<()> {
    // The hold, of a second and more, is for foreign writes only; it begins with the first correction here.
    let scene = Scene::start(&[("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "1")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let time = |record: &Record, column| -> Result<DateTime<Utc>> {
        Ok(record.text(column).context("a time")?.parse()?)
    };
    // A machine that stalls for a whole hold shows nothing; the next one is longer.
    for attempt in 0..4 {
        let mark = scene.records.mark();
        scene
            .table
            .write_status(&scene.client, id, Some("pending"))
            .await?;
        let held = scene.records.of(mark, id).await?;
        assert!(held.get("contested").as_i64() > Some(0));
        assert_eq!(scene.status(id).await?["contested"], true);

        let mark = scene.records.mark();
        let key = format!("key {attempt}");
        scene
            .table
            .save_api_key(&scene.client, id, Some(&key))
            .await?;
        let changed = scene.records.of(mark, id).await?;
        assert_eq!(changed.text("cause"), Some("api_key"));
        if time(&changed, "recorded_at")? < time(&held, "hold_until")? {
            return Ok(());
        }
    }
    bail!("each time it was looked at only when the hold was over")
}

#[tokio::test]
async fn a_row_that_is_held_for_long_is_no_fight() -> Result<()> {
    let settings = [("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "3")];
    let mut scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let watcher = scene.watch().await?;
    let gate = Gate::new();
    stub.set(Behaviour::Ready.held(&gate)).await?;
    let manager = scene.database.client().await?;
    scene
        .table
        .write_status(&manager, id, Some("pending"))
        .await?;
    stub.request(2).await?;

    // One stale write, and then a long transaction: the look at the one is tried again and again because of the other.
    let transaction = scene.client.transaction().await?;
    let lock = format!("select from {} for update", scene.table.name());
    transaction.execute(&lock, &[]).await?;
    gate.open();
    stub.request(8).await?;
    transaction.rollback().await?;
    watcher.wait_status(id, "client_ready").await?;
    let status = scene.status(id).await?;
    assert_eq!(
        (&status["contested"], &status["trouble"]),
        (&false.into(), &false.into())
    );
    Ok(())
}

#[tokio::test]
async fn two_tables_with_the_same_id_are_two_instances() -> Result<()> {
    let both = "public.message_instances, public.telegram_instances";
    let one = ManagerTable::message_instances();
    let two = ManagerTable::telegram_instances();
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    one.create(&client).await?;
    two.create(&client).await?;
    let settings = [("AUTH_RECONCILER_TABLE", both)];
    let scene = Scene::serve(database, client, one, &settings).await?;
    let one = &scene.table;
    let (seen_one, seen_two) = (
        scene.watch().await?,
        Watcher::start(scene.database.url(), &two).await?,
    );
    let ready = Stub::start(Behaviour::Ready).await?;
    let refused = Stub::start(Behaviour::Status(401)).await?;
    let id = Uuid::new_v4();
    one.insert(&scene.client, id, Some(ready.port()), Some(KEY))
        .await?;
    two.insert(&scene.client, id, Some(refused.port()), Some(KEY))
        .await?;
    seen_one.wait_status(id, "client_ready").await?;
    seen_two.wait_status(id, "failed").await?;

    for (number, reason) in [(1, "Ready"), (2, "ApiKeyRejected")] {
        scene
            .records
            .wait(0, "the first record of each", |record| {
                record.watched_id == number && record.reason() == reason
            })
            .await?;
    }

    // What happens to the one says nothing about the other.
    let mark = scene.records.mark();
    refused.set(Behaviour::Ready).await?;
    two.write_status(&scene.client, id, Some("pending")).await?;
    seen_two.wait_status(id, "client_ready").await?;
    scene
        .records
        .wait(mark, "its own look", |record| record.reason() == "Ready")
        .await?;
    for record in scene.records.all(mark, id) {
        assert_eq!(record.watched_id, 2, "of that table alone");
    }
    let mark = scene.records.mark();
    two.delete(&scene.client, id).await?;
    let forgotten = scene.records.forgotten(mark, id).await?;
    assert_eq!(forgotten.watched_id, 2);
    assert_eq!(scene.reconcile(id).await?.reason(), "Ready");
    assert_eq!(seen_one.statuses(id).await?, ["pending", "client_ready"]);
    // What was failed on evidence is put back before the probe that finds it ready.
    assert_eq!(
        seen_two.statuses(id).await?,
        ["ready", "failed", "pending", "failed", "client_ready"]
    );
    let row = scene.status(id).await?;
    assert_eq!(row["watched_table"], "message_instances");
    Ok(())
}

/// Fills every column, so that each could be seen to change.
const FILL: &str = "
    update public.message_instances
    set company_id = 'a company', port_mcp = 1, api_key_generated_at = '2025-01-02', last_qr_generated_at = '2025-01-03',
        created_at = '2025-01-04', updated_at = '2025-01-05', api_webhook_schema = '{\"a\": 1}', mcp_schema = '{\"b\": 2}',
        agno_config = '{\"c\": 3}', account = 'Name (@username)', whatsapp_state = 'a state', token = 'a token'
    where id = $1";

#[tokio::test]
async fn of_the_watched_table_only_status_and_updated_at_are_written_and_only_when_wrong()
-> Result<()> {
    let table = ManagerTable::message_instances();
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    table.create(&client).await?;
    // 14:15 behind and 5:45 ahead of each other; neither is what the server or this machine has.
    let (zone, here) = ("Pacific/Marquesas", "Asia/Kathmandu");
    client
        .batch_execute(&format!(
            "alter database {} set timezone = '{zone}'; set timezone = '{here}'",
            database.name()
        ))
        .await?;
    let scene = Scene::serve(database, client, table, &[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let mark = scene.records.mark();
    scene.client.execute(FILL, &[&id]).await?;
    scene.records.of(mark, id).await?;

    // Right already: not even a lock is left on the row.
    let version = async || -> Result<String> {
        let statement =
            "select concat_ws(' ', xmin, xmax, ctid) from public.message_instances where id = $1";
        Ok(scene
            .client
            .query_one(statement, &[&id])
            .await?
            .try_get(0)?)
    };
    let (before, row) = (version().await?, scene.row(id).await?);
    scene.reconcile(id).await?;
    let right = scene.reconcile(id).await?;
    assert_eq!(right.reason(), "Ready");
    assert_eq!(version().await?, before);
    assert_eq!(scene.row(id).await?, row);
    for (column, value) in row.as_object().context("a row")? {
        assert!(!value.is_null(), "{column} would not show a change");
    }

    // Wrong: the status, and the time as the containers would write it. The stale write leaves the old time.
    let stale = "update public.message_instances set auth_status = 'pending' where id = $1";
    let mark = scene.records.mark();
    scene.client.execute(stale, &[&id]).await?;
    scene.records.of(mark, id).await?;
    let now = scene.row(id).await?;
    let mut expected = row.clone();
    expected["updated_at"] = now["updated_at"].clone();
    assert_eq!(now, expected, "nothing but updated_at differs");
    let age = format!(
        "select extract(epoch from clock_timestamp() - updated_at at time zone '{zone}')::float8
         from public.message_instances where id = $1"
    );
    let age: f64 = scene.client.query_one(&age, &[&id]).await?.try_get(0)?;
    assert!((0.0..60.0).contains(&age), "written {age} s ago in {zone}");
    assert_ne!(now["updated_at"], Value::Null);
    Ok(())
}
