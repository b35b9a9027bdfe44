//! Limits that the documents state, each shown to be one: who reads of it there must find it so, and may try the remedy.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::postgres::program;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::operator::grants::Granted;
use crate::scene::{ALL_TRUE, Scene};

/// Takes every change out of the log, and says how many there were.
const EMPTIED: &str =
    "with gone as (delete from auth_reconciler.change returning 1) select count(*) from gone";

#[tokio::test]
async fn what_fires_no_trigger_is_found_by_reconcile_all() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create table public.parted (like public.message_instances including defaults, primary key (id))
                partition by range (id);
             create table public.part partition of public.parted for values from (minvalue) to ('80000000-0000-0000-0000-000000000000');
             create table public.joins (like public.message_instances including all);
             insert into public.part (id) values ('00000000-0000-0000-0000-000000000001');
             insert into public.joins (id) values ('80000000-0000-0000-0000-000000000001');
             create table public.child () inherits (public.message_instances);
             insert into public.message_instances (id) values (gen_random_uuid());
             select auth_reconciler.watch('public.parted')",
        )
        .await?;
    scene.value::<i64>(EMPTIED).await?;
    for unseen in [
        "set session_replication_role = replica; update public.message_instances set api_key = 'a'; reset session_replication_role",
        "alter table public.parted attach partition public.joins
            for values from ('80000000-0000-0000-0000-000000000000') to (maxvalue)",
        "truncate public.part",
        "alter table public.parted detach partition public.part",
        "insert into public.child (id) values (gen_random_uuid())",
    ] {
        scene.manager.batch_execute(unseen).await?;
        let logged: i64 = scene.value(EMPTIED).await?;
        ensure!(logged == 0, "{unseen}: {logged} changes are logged");
    }
    // Two of the table that is watched (one is its child's), and the one that came with its partition.
    let said: String = scene
        .value("select auth_reconciler.reconcile_all()")
        .await?;
    assert_eq!(said, "3 instances will be looked at");
    Ok(())
}

#[tokio::test]
async fn a_column_that_the_triggers_name_is_dropped_or_retyped_after_unwatch_alone() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let columns = [
        "id",
        "api_key",
        "account",
        "port_api",
        "provider",
        "auth_status",
        "type_instance",
    ];
    let drop = |column| format!("alter table public.message_instances drop column {column}");
    for column in columns {
        let retype =
            format!("alter table public.message_instances alter {column} type text using ''");
        for (statement, expected) in [
            (drop(column), SqlState::DEPENDENT_OBJECTS_STILL_EXIST),
            (retype, SqlState::FEATURE_NOT_SUPPORTED),
        ] {
            let refused = scene.manager.batch_execute(&statement).await.err();
            let code = refused.and_then(|error| error.code().cloned());
            assert_eq!(code, Some(expected), "{statement}");
        }
    }
    scene
        .manager
        .batch_execute("select auth_reconciler.unwatch('public.message_instances')")
        .await?;
    for column in columns {
        scene.manager.batch_execute(&drop(column)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_constraint_of_the_same_name_and_another_meaning_is_not_noticed() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let altered = "select count(*) from auth_reconciler.altered_tables()";
    for (work, told) in [
        ("", 1),
        (", add constraint owed_work_check check (true)", 0),
    ] {
        let alter = format!(
            "alter table auth_reconciler.owed drop constraint if exists owed_work_check{work}"
        );
        scene.manager.batch_execute(&alter).await?;
        assert_eq!(scene.value::<i64>(altered).await?, told, "{alter}");
    }
    Ok(())
}

/// What the document says to do about a dump of the watched table alone is done here.
#[tokio::test]
async fn a_dump_without_our_schema_is_restored_without_our_triggers() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.instance(1).await?;
    let folder = std::env::temp_dir().join(format!("dump-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder)?;
    let (dump, list) = (folder.join("dump"), folder.join("list"));
    let dumped = Command::new(program("pg_dump")?)
        .args(["-Fc", "-n", "public", "-f"])
        .arg(&dump)
        .arg(scene.url())
        .status()?;
    ensure!(dumped.success(), "pg_dump: {dumped}");
    let contents = Command::new(program("pg_restore")?)
        .arg("-l")
        .arg(&dump)
        .output()?;
    let contents = String::from_utf8(contents.stdout)?;
    let kept = contents
        .lines()
        .filter(|line| !(line.contains("TRIGGER") && line.contains("auth_reconciler")))
        // The schema itself is there in each new database.
        .filter(|line| !line.contains("SCHEMA"));
    std::fs::write(&list, kept.collect::<Vec<_>>().join("\n"))?;
    for (chosen, succeeds) in [(false, false), (true, true)] {
        let copy = TestDatabase::shared().await?;
        let mut restore = Command::new(program("pg_restore")?);
        if chosen {
            restore.arg("-L").arg(&list);
        }
        let restored = restore.args(["-d", copy.url()]).arg(&dump).output()?;
        let errors = String::from_utf8_lossy(&restored.stderr);
        assert_eq!(restored.status.success(), succeeds, "{errors}");
        assert_eq!(
            errors.contains("auth_reconciler.log_change"),
            !succeeds,
            "{errors}"
        );
        let rows = copy
            .client()
            .await?
            .query_one("select count(*) from public.message_instances", &[])
            .await?;
        assert_eq!(rows.try_get::<_, i64>(0)?, 1, "the rows are there");
        copy.close().await?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// A shell has what it starts in the background ignore SIGINT, and everything that those start.
fn is_ignored(signal: i32) -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap_or("0").trim(), 16)?;
    Ok(mask & (1 << (signal - 1)) != 0)
}

/// And the server does not go on with what it did for it.
#[tokio::test]
async fn a_command_ends_by_the_signal_that_it_gets() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut holder = scene.database.client().await?;
    let held = holder.transaction().await?;
    held.batch_execute("lock table public.message_instances in access exclusive mode")
        .await?;
    let session = "exists (select from pg_stat_activity where datname = current_database()
        and application_name = 'auth-reconciler migrate')";
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        if is_ignored(number)? {
            continue;
        }
        let command = Daemon::spawn(scene.url(), &["migrate"], &[])?;
        scene.eventually(&format!("select {session}")).await?;
        command.signal(name)?;
        assert_eq!(command.ended().await?.signal(), Some(number), "SIG{name}");
        scene.eventually(&format!("select not {session}")).await?;
    }
    held.rollback().await?;
    Ok(())
}

/// The functions of the owner of a watched table run with the rights of whoever writes to it, the daemon included.
#[tokio::test]
async fn a_trigger_of_the_tables_owner_runs_as_the_role_of_the_daemon() -> Result<()> {
    let granted = Granted::start().await?;
    let (scene, stub) = (&granted.scene, Stub::start(Behaviour::Ready).await?);
    scene
        .manager
        .batch_execute(
            "create table public.ran_as (role text);
             grant insert on public.ran_as to public;
             create function public.run_as() returns trigger language plpgsql as
                'begin insert into public.ran_as values (current_user); return new; end';
             create trigger run_as after update of auth_status on public.message_instances
                for each row execute function public.run_as()",
        )
        .await?;
    let _daemon = Daemon::spawn(&granted.daemon_url, &["run"], &[])?;
    scene.instance(stub.port()).await?;
    let ran = "select count(*) > 0 and every(role = 'auth_reconciler') from public.ran_as";
    scene.eventually(ran).await
}

/// What such a trigger writes is drift, and a look puts right what it replaced.
#[tokio::test]
async fn a_trigger_that_runs_after_the_guard_may_replace_what_it_kept() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute(
            "select auth_reconciler.guard('public.message_instances', true);
             create function public.replaced() returns trigger language plpgsql as
                'begin new.auth_status := ''failed''; return new; end';
             create trigger zz_later before update on public.message_instances for each row
                when (current_setting('application_name') = 'the manager') execute function public.replaced();
             set application_name = 'the manager'",
        )
        .await?;
    // The trigger is new, so the daemon has looked at every row before this.
    scene.looked_at(&daemon, id).await?;
    let shown: String = scene
        .value("update public.message_instances set auth_status = 'pending' returning auth_status")
        .await?;
    assert_eq!(shown, "failed", "what guard kept was replaced");
    scene.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn a_table_whose_id_is_not_unique_is_refused() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute("create table public.doubles (like public.message_instances)")
        .await?;
    let watch = "select auth_reconciler.watch('public.doubles')";
    let refused = scene.manager.batch_execute(watch).await.err();
    let told = refused
        .as_ref()
        .and_then(|error| error.as_db_error())
        .map(|error| error.message());
    ensure!(
        told.is_some_and(|told| told.contains("column id has no unique index")),
        "{told:?}"
    );
    Ok(())
}
