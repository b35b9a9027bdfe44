//! Tables that come and go while the daemon runs.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::daemon::LogLine;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::postgres::shared_cluster;
use auth_reconciler_tests::proxy::Proxy;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use uuid::Uuid;

use crate::arena::{KEY, Scene};
use crate::scene::eventually;

#[tokio::test]
async fn a_table_watched_while_the_daemon_runs_is_served_from_its_first_row_on() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for id in ids {
        let key = (id != ids[2]).then_some(KEY);
        table
            .insert(&scene.client, id, Some(stub.port()), key)
            .await?;
    }

    let mark = scene.records.mark();
    let watch = "select auth_reconciler.watch('public.telegram_instances')";
    let said: String = scene.client.query_one(watch, &[]).await?.try_get(0)?;
    assert_eq!(
        said,
        "public.telegram_instances is watched, its rows will be looked at"
    );
    for id in ids {
        let record = scene.records.of(mark, id).await?;
        assert_eq!(record.text("cause"), Some("watch"));
    }
    // The default of this layout is a status that nobody has proved.
    let status = async |id| table.status(&scene.client, id).await;
    assert_eq!(status(ids[0]).await?.as_deref(), Some("client_ready"));
    assert_eq!(status(ids[2]).await?.as_deref(), Some("pending"));

    let mark = scene.records.mark();
    table.save_api_key(&scene.client, ids[2], Some(KEY)).await?;
    let record = scene.records.reason(mark, ids[2], "Ready").await?;
    assert_eq!(record.text("cause"), Some("api_key"));
    let said: String = scene.client.query_one(watch, &[]).await?.try_get(0)?;
    assert_eq!(said, "public.telegram_instances is watched already");
    Ok(())
}

#[tokio::test]
async fn a_repeated_value_counts_where_that_was_asked_for() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let mark = scene.records.mark();
    let name = scene.table.name();
    let watch = async |assigned: bool| -> Result<String> {
        let watch = format!("select auth_reconciler.watch('{name}', assigned => {assigned})");
        Ok(scene.client.query_one(&watch, &[]).await?.try_get(0)?)
    };
    watch(true).await?;
    scene.records.of(mark, id).await?;

    // A container that starts again saves the key that is there, and is not ready yet.
    stub.set(Behaviour::Disconnected).await?;
    let mark = scene.records.mark();
    scene
        .table
        .save_api_key(&scene.client, id, Some(KEY))
        .await?;
    let record = scene.records.of(mark, id).await?;
    assert_eq!(record.text("cause"), Some("assigned"));
    stub.set(Behaviour::Ready).await?;
    scene.records.reason(mark, id, "Ready").await?;
    let mark = scene.records.mark();
    scene.table.save_account(&scene.client, id, None).await?;
    let record = scene.records.of(mark, id).await?;
    assert_eq!(record.text("cause"), Some("assigned"));

    // And no longer where it was taken back.
    let mark = scene.records.mark();
    watch(false).await?;
    let before = scene.records.of(mark, id).await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some(KEY))
        .await?;
    let other = scene.idle_instance().await?;
    let after = scene.barrier(id, other).await?;
    assert_eq!(after.looks(), before.looks() + 1, "the barrier's alone");
    Ok(())
}

#[tokio::test]
async fn a_table_given_up_while_it_is_probed_does_not_disturb_the_others() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    let gate = Gate::new();
    let slow = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let left = Uuid::new_v4();
    let say = async |statement: &str| -> Result<String> {
        Ok(scene.client.query_one(statement, &[]).await?.try_get(0)?)
    };
    say("select auth_reconciler.watch('public.telegram_instances')").await?;
    table
        .insert(&scene.client, left, Some(slow.port()), Some(KEY))
        .await?;
    slow.request(1).await?;

    let said = say("select auth_reconciler.unwatch('public.telegram_instances')").await?;
    assert!(said.starts_with("public.telegram_instances is no longer watched"));
    gate.open();
    table
        .write_status(&scene.client, left, Some("theirs"))
        .await?;

    stub.set(Behaviour::Status(401)).await?;
    let mark = scene.records.mark();
    scene
        .table
        .save_api_key(&scene.client, id, Some("another"))
        .await?;
    scene.records.reason(mark, id, "ApiKeyRejected").await?;
    scene.barrier(id, id).await?;
    // Its looks in flight end before the daemon does.
    scene.daemon.sigterm()?;
    assert!(scene.daemon.ended().await?.success());
    let status = table.status(&scene.client, left).await?;
    assert_eq!(status.as_deref(), Some("theirs"), "hands off");
    assert!(scene.records.all(0, left).is_empty());
    let triggers = "select count(*) from pg_trigger where not tgisinternal
                    and tgrelid = 'public.telegram_instances'::regclass";
    let row = scene.client.query_one(triggers, &[]).await?;
    assert_eq!(row.try_get::<_, i64>(0)?, 0);
    Ok(())
}

#[tokio::test]
async fn rows_that_come_while_a_new_table_is_being_found_are_not_lost() -> Result<()> {
    // The ear hears at once, and what the pool reads arrives late: so there are rows that are committed after the scan
    // read the log and heard before the daemon knows their table.
    let link = Proxy::for_sessions(&shared_cluster()?, "auth-reconciler pool").await?;
    let scene = Scene::start_with(|url| {
        Ok(vec![
            ("DATABASE_URL", link.url(url)?),
            ("RUST_LOG", "auth_reconciler=debug".to_owned()),
        ])
    })
    .await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    link.delay(Duration::ZERO, Duration::from_millis(50));
    let mark = scene.daemon.mark();
    let watch = "select auth_reconciler.watch('public.telegram_instances')";
    scene.client.execute(watch, &[]).await?;
    let mut rows = 0;
    let scanned = |line: &LogLine| line.is("change log scanned");
    while !scene.daemon.log()[mark..].iter().any(scanned) {
        table
            .insert(&scene.client, Uuid::new_v4(), None, None)
            .await?;
        rows += 1;
        anyhow::ensure!(rows < 5_000, "the scan does not end");
    }
    link.delay(Duration::ZERO, Duration::ZERO);
    // By their own change or by that of every row.
    let seen = format!(
        "select count(*) = {rows} and every(reason = 'AwaitingApiKey') and not exists (select from auth_reconciler.change)
         from auth_reconciler.instance"
    );
    eventually(&scene.client, &seen).await
}

#[tokio::test]
async fn a_watched_table_that_was_dropped_does_not_make_the_daemon_spin() -> Result<()> {
    let scene = Scene::start(&[
        ("RUST_LOG", "auth_reconciler=debug"),
        ("AUTH_RECONCILER_BACKOFF_MIN", "10m"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "10m"),
    ])
    .await?;
    let id = scene.idle_instance().await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    let watch = "select auth_reconciler.watch('public.telegram_instances')";
    scene.client.execute(watch, &[]).await?;
    let stub = Stub::start(Behaviour::Disconnected).await?;
    let left = Uuid::new_v4();
    let mark = scene.records.mark();
    table
        .insert(&scene.client, left, Some(stub.port()), Some(KEY))
        .await?;
    scene.records.of(mark, left).await?;
    // Not final, so every scan finds it; and nobody said unwatch.
    scene
        .client
        .batch_execute("drop table public.telegram_instances")
        .await?;

    let scans = || scene.daemon.count(|line| line.is("change log scanned"));
    let (before, mark, looks) = (scans(), scene.daemon.mark(), scene.records.mark());
    let all = "select auth_reconciler.reconcile_all()";
    let said: String = scene.client.query_one(all, &[]).await?.try_get(0)?;
    assert_eq!(said, "1 instances will be looked at");
    scene
        .daemon
        .wait_message_after(mark, "change log scanned")
        .await?;
    scene.records.of(looks, id).await?;
    for _ in 0..20 {
        scene.reconcile(id).await?;
    }
    // One that was asked for. The row that came while its table was being found may have led to another, and that one to
    // a look at what is gone, which asks for a third. One that spins scans after each of the looks.
    let more = scans() - before;
    assert!(more < 10, "{more} scans");

    // By its number, which is all that is left of it.
    let left = "select auth_reconciler.unwatch(relation) from auth_reconciler.watched_table as w
        where not exists (select from pg_class as c where c.oid = w.relation)";
    let said: String = scene.client.query_one(left, &[]).await?.try_get(0)?;
    assert!(said.contains("is no longer watched"), "{said}");
    assert!(scene.client.query_opt(left, &[]).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_disabled_triggers_have_missed_is_found_when_they_are_back() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.idle_instance().await?;
    let watcher = scene.watch().await?;
    let triggers = async |what: &str| {
        let table = scene.table.name();
        let statement = format!("alter table {table} {what} trigger auth_reconciler_update");
        scene.client.batch_execute(&statement).await
    };
    triggers("disable").await?;
    let port = i32::from(stub.port());
    scene.table.set_port(&scene.client, id, Some(port)).await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some(KEY))
        .await?;
    assert_eq!(scene.unobserved().await?, 0, "nobody has logged it");
    scene
        .daemon
        .wait_line(0, "a complaint about the triggers", |line| {
            line.message()
                .is_some_and(|message| message == "a watched table is not as it was")
        })
        .await?;
    triggers("enable").await?;
    watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_type_column_of_another_kind_is_no_concern_of_ours() -> Result<()> {
    let table = ManagerTable::message_instances();
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    table.create(&client).await?;
    client
        .batch_execute(
            "alter table public.message_instances alter type_instance drop default,
             alter type_instance type varchar using 'api'",
        )
        .await?;
    let scene = Scene::serve(database, client, table, &[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mark = scene.records.mark();
    let id = scene.instance(&stub).await?;
    scene.records.reason(mark, id, "Ready").await?;
    Ok(())
}
