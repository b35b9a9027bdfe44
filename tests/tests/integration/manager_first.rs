//! The manager comes first (I6): whatever is wrong with us, its statements go through as if we were not there.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, KEY, Scene, insert_many};

mod bulk;
mod locks;
mod prepared;
mod size;
mod slow;

/// Transactions of many writers at once, each reading before it writes, each on a table of its own, so that they could
/// meet in nothing but what is ours: in one table even writers of different rows meet on a page of its index, with us or
/// without. Returns how many failed to serialise.
async fn write_apart(scene: &Scene, tables: &[ManagerTable], level: &str) -> Result<usize> {
    let mut writers = JoinSet::new();
    for table in tables {
        let client = scene.database.client().await?;
        let begin = format!("begin isolation level {level}");
        let name = table.name().to_owned();
        writers.spawn(async move {
            let rows = client.query(&format!("select id from {name}"), &[]).await?;
            let mut failed = 0;
            for turn in 0..60 {
                let id: Uuid = rows[turn % rows.len()].get(0);
                match transaction(&client, &begin, &name, id, &format!("turn {turn}")).await {
                    Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => {
                        failed += 1;
                        client.batch_execute("rollback").await?;
                    }
                    other => other?,
                }
            }
            anyhow::Ok(failed)
        });
    }
    let mut failed = 0;
    while let Some(writer) = writers.join_next().await {
        failed += writer??;
    }
    Ok(failed)
}

async fn transaction(
    client: &Client,
    begin: &str,
    table: &str,
    id: Uuid,
    account: &str,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(begin).await?;
    let read = format!("select auth_status from {table} where id = $1");
    client.query_one(&read, &[&id]).await?;
    let write =
        format!("update {table} set account = $2, updated_at = localtimestamp where id = $1");
    client.execute(&write, &[&id, &account]).await?;
    client.batch_execute("commit").await
}

/// The daemon looks at every one of these rows again and again and writes none, because their status is right.
#[tokio::test]
async fn no_transaction_of_the_manager_fails_to_serialise_because_of_us() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mut tables = vec![scene.table.clone()];
    for number in 1..8 {
        let name = format!("public.message_instances_{number}");
        tables.push(ManagerTable::message_instances_named(&name));
    }
    for table in &tables {
        table.create(&scene.manager).await?;
        for _ in 0..3 {
            let id = Uuid::new_v4();
            table
                .insert(&scene.manager, id, Some(stub.port()), Some(KEY))
                .await?;
        }
    }
    let levels = ["repeatable read", "serializable"];
    for level in levels {
        let without_us = write_apart(&scene, &tables, level).await?;
        assert_eq!(without_us, 0, "the writers meet each other ({level})");
    }
    let names: Vec<_> = tables.iter().map(ManagerTable::name).collect();
    let names = names.join(",");
    let settings = [
        ("AUTH_RECONCILER_TABLE", names.as_str()),
        ("AUTH_RECONCILER_LOOK_BURST", "10000"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let all_seen = "select count(*) = 24 and every(settled) and not exists (select from auth_reconciler.change)
        from auth_reconciler.instance where auth_status = 'client_ready'";
    scene.eventually(all_seen).await?;
    let mark = daemon.mark();
    for level in levels {
        let with_us = write_apart(&scene, &tables, level).await?;
        assert_eq!(with_us, 0, "{level}, with triggers and daemon");
    }
    scene.eventually(all_seen).await?;
    let looks = daemon.log()[mark..]
        .iter()
        .filter(|line| line.is("row read fresh"))
        .count();
    ensure!(looks >= 48, "the daemon looked meanwhile: {looks} times");
    Ok(())
}

#[tokio::test]
async fn one_row_written_in_turn_never_fails_to_serialise() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let generous = [("AUTH_RECONCILER_LOOK_BURST", "10000")];
    let _daemon = Daemon::start(&scene.database, &generous).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    for level in ["repeatable read", "serializable"] {
        for turn in 0..60 {
            let begin = format!("begin isolation level {level}");
            transaction(
                &scene.manager,
                &begin,
                scene.table.name(),
                id,
                &format!("turn {turn}"),
            )
            .await?;
        }
    }
    scene.eventually(ALL_TRUE).await
}

/// The one exception, as any concurrent writer of the row would cause it: we wrote between its snapshot and its write.
#[tokio::test]
async fn a_row_that_we_wrote_after_the_snapshot_is_an_ordinary_conflict() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(stub.port()).await?;
    let slow = scene.database.client().await?;
    slow.batch_execute(
        "begin isolation level repeatable read; select count(*) from public.message_instances",
    )
    .await?;
    stub.set(Behaviour::Ready).await?;
    scene.eventually(ALL_TRUE).await?;
    let refused = scene
        .table
        .save_account(&slow, id, Some("too late"))
        .await
        .err();
    let code = refused
        .and_then(|error| error.downcast::<tokio_postgres::Error>().ok())
        .and_then(|error| error.code().cloned());
    assert_eq!(code, Some(SqlState::T_R_SERIALIZATION_FAILURE));
    slow.batch_execute("rollback").await?;
    transaction(
        &slow,
        "begin isolation level repeatable read",
        scene.table.name(),
        id,
        "once more",
    )
    .await?;
    scene.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn a_role_that_knows_only_its_table_writes_as_before() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    let role = format!("writer_{}", Uuid::new_v4().simple());
    scene
        .manager
        .batch_execute(&format!(
            "create role {role};
             grant select, insert, update on public.message_instances to {role}"
        ))
        .await?;
    let client = scene.database.client().await?;
    client.batch_execute(&format!("set role {role}")).await?;
    let id = Uuid::new_v4();
    let table = &scene.table;
    table.insert(&client, id, Some(stub.port()), None).await?;
    table.save_api_key(&client, id, Some(KEY)).await?;
    scene.eventually(ALL_TRUE).await?;
    // Its changes are in the log, rather than found by the look at everything that follows a failure to log.
    let cause = "select cause from auth_reconciler.instance";
    assert_eq!(scene.value::<String>(cause).await?, "api_key");
    table.write_status(&client, id, Some("failed")).await?;
    scene.eventually(ALL_TRUE).await?;
    assert_eq!(scene.value::<String>(cause).await?, "drift");
    let denied = client
        .execute("select count(*) from auth_reconciler.change", &[])
        .await;
    let code = denied.err().and_then(|error| error.code().cloned());
    assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE));
    scene
        .manager
        .batch_execute(&format!("drop owned by {role}; drop role {role}"))
        .await?;
    Ok(())
}

/// One pool connection: a look that held it while it waited for the row would keep every other row waiting.
#[tokio::test]
async fn a_row_that_the_manager_holds_delays_no_other() -> Result<()> {
    let mut scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    let settings = [
        ("AUTH_RECONCILER_POOL_SIZE", "1"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "200ms"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let held = scene.instance(stub.port()).await?;
    scene
        .eventually("select exists (select from auth_reconciler.instance)")
        .await?;
    let mut session = scene.database.client().await?;
    let transaction = session.transaction().await?;
    scene
        .table
        .set(&transaction, held, "port_mcp", &Some(4711))
        .await?;
    let mark = daemon.mark();
    stub.set(Behaviour::Ready).await?;
    for _ in 0..3 {
        daemon
            .wait_message_after(mark, "somebody holds the row")
            .await?;
        let others = insert_many(&scene, &stub, 3).await?;
        scene
            .eventually(&format!(
                "select count(*) = {} from public.message_instances where auth_status = 'client_ready' and id in ('{}')",
                others.len(),
                others.iter().map(Uuid::to_string).collect::<Vec<_>>().join("', '")
            ))
            .await?;
        let waiting: i64 = scene
            .value(
                "select count(*) from pg_stat_activity where datname = current_database()
                     and application_name like 'auth-reconciler pool%'
                     and (wait_event_type = 'Lock' or state like 'idle in transaction%')",
            )
            .await?;
        assert_eq!(waiting, 0, "no lock of ours waits, none is kept");
    }
    let mut busy = 0;
    daemon
        .wait_line(mark, "ten tries at the row", |line| {
            busy += usize::from(line.is("somebody holds the row"));
            busy >= 10
        })
        .await?;
    let failed = daemon.count(|line| line.is("look failed, will be repeated"));
    assert_eq!(failed, 0, "a row that is held is no failure");
    transaction.commit().await?;
    scene.manager = session;
    scene.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn a_change_that_cannot_be_logged_fails_nobody_and_is_found() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    let ids = insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute(
            "alter table auth_reconciler.change add constraint full_disk check (false) not valid",
        )
        .await?;
    scene
        .table
        .save_api_key(&scene.manager, ids[0], None)
        .await?;
    scene.instance(stub.port()).await?;
    scene
        .manager
        .batch_execute("alter table auth_reconciler.change drop constraint full_disk")
        .await?;
    scene.eventually(ALL_TRUE).await
}

/// The ring is heard by one process only, so what it asked for must not die with that process.
#[tokio::test]
async fn a_change_that_could_not_be_logged_outlives_the_daemon_that_heard_of_it() -> Result<()> {
    let scene = Scene::shared().await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let often = [("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")];
    let first = Daemon::start(&scene.database, &often).await?;
    let (id, table) = (Uuid::new_v4(), &scene.table);
    table
        .insert(&scene.manager, id, Some(stub.port()), None)
        .await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute(
            "alter table auth_reconciler.change add constraint full_disk check (false) not valid",
        )
        .await?;
    table.save_api_key(&scene.manager, id, Some(KEY)).await?;
    stub.request(1).await?;
    scene
        .manager
        .batch_execute("alter table auth_reconciler.change drop constraint full_disk")
        .await?;
    scene
        .eventually("select exists (select from auth_reconciler.change)")
        .await?;
    first.sigkill()?;
    first.ended().await?;
    gate.open();
    let _second = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await
}

/// The change log itself is gone for a while: nothing can be read or recorded, and the daemon may not spin.
#[tokio::test]
async fn a_change_log_that_is_gone_for_a_while_is_made_up_for() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let daemon = Daemon::start(&scene.database, &debug).await?;
    let ids = insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute("alter table auth_reconciler.change rename to gone")
        .await?;
    let mark = daemon.mark();
    scene
        .table
        .save_api_key(&scene.manager, ids[0], None)
        .await?;
    scene.instance(stub.port()).await?;
    let mut tries = 0;
    let third = daemon
        .wait_line(mark, "three vain tries", |line| {
            tries += usize::from(line.is("lost the ear as before, making another"));
            tries >= 3
        })
        .await?;
    ensure!(
        !third.has("retry_in", "0ns") && !third.field("retry_in").is_null(),
        "it tries again with backoff: {}",
        third.text
    );
    let warned = daemon.count(|line| line.is("lost the ear, making another"));
    ensure!(warned <= 2, "not with each try: {warned} times");
    scene
        .manager
        .batch_execute("alter table auth_reconciler.gone rename to change")
        .await?;
    let mark = daemon.mark();
    daemon.wait_message_after(mark, SERVING).await?;
    scene.eventually(ALL_TRUE).await
}
