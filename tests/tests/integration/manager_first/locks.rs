//! Who waits for whom: a trigger of the manager's that wants what the manager holds, a table that it has locked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, KEY, Scene, insert_many};

const COMPANY: &str = "
    create table public.company (id integer primary key, instances integer not null);
    insert into public.company values (1, 0);
    create function public.count_instances() returns trigger language plpgsql as $$
    begin
        update public.company set instances = instances + 1 where id = 1;
        return null;
    end $$;
    create trigger count_instances after update of auth_status on public.message_instances
        for each row execute function public.count_instances()";

/// Whether a session of ours has waited for a lock for longer than the server lets anybody wait before it looks for
/// a deadlock: from then on whoever comes next is the one that is ended.
const WAITED_TOO_LONG: &str = "select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler pool%' and wait_event_type = 'Lock'
        and clock_timestamp() - query_start > current_setting('deadlock_timeout')::interval * 0.8)";

async fn too_long(client: &Client) -> Result<()> {
    while !client
        .query_one(WAITED_TOO_LONG, &[])
        .await?
        .try_get::<_, bool>(0)?
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The manager takes the company first and the instance second; our write takes them the other way round.
async fn meet(deadlock_timeout: &str) -> Result<()> {
    let mut scene = Scene::shared().await?;
    scene
        .manager
        .batch_execute(&format!(
            "do $$ begin execute format('alter database %I set deadlock_timeout = ''{deadlock_timeout}''',
                current_database()); end $$; {COMPANY}"
        ))
        .await?;
    scene.manager = scene.database.client().await?;
    let observer = scene.database.client().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let settings = [
        ("RUST_LOG", "auth_reconciler=debug"),
        ("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "600"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    for round in 0..5 {
        let mark = daemon.mark();
        let transaction = scene.manager.transaction().await?;
        transaction
            .batch_execute("update public.company set instances = instances + 1 where id = 1")
            .await?;
        // By somebody else, and without the trigger: what we are to correct.
        observer
            .batch_execute(&format!(
                "begin; alter table public.message_instances disable trigger count_instances;
                 update public.message_instances set auth_status = 'pending' where id = '{id}';
                 alter table public.message_instances enable trigger count_instances; commit"
            ))
            .await?;
        tokio::select! {
            gave_way = daemon.wait_message_after(mark, "somebody holds what this look needs") => { gave_way?; }
            waited = too_long(&observer) => waited?,
        }
        let written = scene
            .table
            .set(&transaction, id, "whatsapp_state", &"x")
            .await;
        ensure!(
            written.is_ok(),
            "{deadlock_timeout}, round {round}: {written:?}"
        );
        transaction.commit().await?;
        scene.eventually(ALL_TRUE).await?;
    }
    let failed = daemon.count(|line| line.is("look failed, will be repeated"));
    assert_eq!(failed, 0, "to give way is no failure");
    Ok(())
}

#[tokio::test]
async fn a_deadlock_with_a_trigger_of_the_manager_never_falls_on_it() -> Result<()> {
    for deadlock_timeout in ["10ms", "50ms", "1s"] {
        meet(deadlock_timeout).await?;
    }
    Ok(())
}

/// As many instances as keep a pool of eight busy for long, if each waits for the lock for a second.
#[tokio::test]
async fn a_table_that_the_manager_has_locked_delays_no_other() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let other = ManagerTable::message_instances_named("public.other_instances");
    other.create(&scene.manager).await?;
    for _ in 0..100 {
        let id = Uuid::new_v4();
        other
            .insert(&scene.manager, id, Some(stub.port()), Some(KEY))
            .await?;
    }
    let settings = [
        (
            "AUTH_RECONCILER_TABLE",
            "public.message_instances,public.other_instances",
        ),
        ("AUTH_RECONCILER_LOOK_BURST", "1000"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    scene
        .eventually("select count(*) = 100 and every(settled) from auth_reconciler.instance")
        .await?;
    let mut locker = scene.database.client().await?;
    let transaction = locker.transaction().await?;
    transaction
        .batch_execute("lock table public.other_instances in access exclusive mode")
        .await?;
    let mark = daemon.mark();
    scene
        .manager
        .batch_execute(
            "insert into auth_reconciler.change (watched_id, instance_id, cause)
             select watched_id, instance_id, 'operator' from auth_reconciler.instance;
             notify auth_reconciler, 'scan'",
        )
        .await?;
    daemon
        .wait_message_after(mark, "somebody holds what this look needs")
        .await?;
    let began = Instant::now();
    let ids = insert_many(&scene, &stub, 3).await?;
    let there = format!(
        "select count(*) = 3 from public.message_instances where auth_status = 'client_ready' and id in ('{}')",
        ids.iter()
            .map(Uuid::to_string)
            .collect::<Vec<_>>()
            .join("', '")
    );
    scene.eventually(&there).await?;
    // With every session waiting a second at a time it took five and more.
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(4), "it took {took:?}");
    transaction.commit().await?;
    scene
        .eventually("select not exists (select from auth_reconciler.change)")
        .await?;
    let failed = daemon.count(|line| line.is("look failed, will be repeated"));
    assert_eq!(failed, 0, "a table that is locked is no failure");
    Ok(())
}

/// So many tables beside the scene's, each with one instance on this port.
async fn tables_with_one_row(scene: &Scene, count: usize, port: u16) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for nth in 0..count {
        let table = ManagerTable::message_instances_named(&format!("public.locked_{nth}"));
        table.create(&scene.manager).await?;
        let id = Uuid::new_v4();
        table
            .insert(&scene.manager, id, Some(port), Some(KEY))
            .await?;
        names.push(table.name().to_owned());
    }
    Ok(names)
}

/// However many are locked: each was waited for in turn, in each batch with a row of it.
#[tokio::test]
async fn many_locked_tables_delay_no_other() -> Result<()> {
    const LOCKED: usize = 100;
    let mut scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let locked = tables_with_one_row(&scene, LOCKED, stub.port()).await?;
    let tables = format!("public.message_instances,{}", locked.join(","));
    let settings = [
        ("AUTH_RECONCILER_TABLE", tables.as_str()),
        ("AUTH_RECONCILER_LOOK_BURST", "1000"),
        ("AUTH_RECONCILER_PROBE_CONCURRENCY", "128"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    scene
        .eventually(&format!(
            "select count(*) = {LOCKED} and every(settled) from auth_reconciler.instance"
        ))
        .await?;
    let locker = scene.database.client().await?;
    locker
        .batch_execute(&format!(
            "begin; lock table {} in access exclusive mode",
            locked.join(",")
        ))
        .await?;
    let mut took = Vec::new();
    for _ in 0..3 {
        // One read brings all of them.
        let id = Uuid::new_v4();
        let transaction = scene.manager.transaction().await?;
        transaction
            .batch_execute(
                "insert into auth_reconciler.change (watched_id, instance_id, cause)
                 select watched_id, instance_id, 'operator' from auth_reconciler.instance",
            )
            .await?;
        scene
            .table
            .insert(&transaction, id, Some(stub.port()), Some(KEY))
            .await?;
        let began = Instant::now();
        transaction.commit().await?;
        scene
            .eventually(&format!(
                "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
            ))
            .await?;
        took.push(began.elapsed());
    }
    took.sort();
    // Each of them was waited for, which took two seconds.
    ensure!(took[1] < Duration::from_secs(1), "they took {took:?}");
    locker.batch_execute("commit").await?;
    scene
        .eventually("select not exists (select from auth_reconciler.change)")
        .await?;
    let failed = daemon.count(|line| line.is("look failed, will be repeated"));
    assert_eq!(failed, 0, "a table that is locked is no failure");
    Ok(())
}

/// As where indexes are made: the rows are read, and their records meet the locks, each table in a batch of its own.
#[tokio::test]
async fn many_tables_that_can_be_read_and_not_written_delay_no_other() -> Result<()> {
    const LOCKED: usize = 100;
    const WAITS: &str = "select exists (
        select from pg_locks where locktype = 'relation' and mode = 'ShareLock' and not granted)";
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let locked = tables_with_one_row(&scene, LOCKED, stub.port()).await?;
    let tables = format!("public.message_instances,{}", locked.join(","));
    let settings = [
        ("AUTH_RECONCILER_TABLE", tables.as_str()),
        ("AUTH_RECONCILER_PROBE_CONCURRENCY", "128"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let all_ready = format!(
        "select count(*) >= {LOCKED} and every(settled) and not exists (select from auth_reconciler.change)
         from auth_reconciler.instance"
    );
    let locker = scene.database.client().await?;
    let lock = format!("lock table {} in share mode", locked.join(","));
    let write: Vec<String> = locked
        .iter()
        .map(|table| format!("update {table} set auth_status = 'pending'"))
        .collect();
    let mut took = Vec::new();
    for _ in 0..3 {
        scene.eventually(&all_ready).await?;
        let mark = daemon.mark();
        scene
            .manager
            .batch_execute(&format!("begin; {}", write.join(";")))
            .await?;
        locker.batch_execute("begin").await?;
        // It waits for those writes, and ours wait behind it.
        let commits = async {
            scene.eventually(WAITS).await?;
            anyhow::Ok(scene.manager.batch_execute("commit").await?)
        };
        let (locks, committed) = tokio::join!(locker.batch_execute(&lock), commits);
        locks?;
        committed?;
        daemon
            .wait_message_after(mark, "somebody holds what this look needs")
            .await?;
        let began = Instant::now();
        let id = scene.instance(stub.port()).await?;
        scene
            .eventually(&format!(
                "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
            ))
            .await?;
        took.push(began.elapsed());
        locker.batch_execute("commit").await?;
    }
    took.sort();
    // Each of them was waited for, which took two seconds.
    ensure!(took[1] < Duration::from_secs(1), "they took {took:?}");
    Ok(())
}
