//! Time limits that the server, the database or the role sets for every session: they are the manager's, for the
//! manager's statements, and end none of ours. Version 17 knows one more than those before it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;

use super::expect;
use crate::scene::{EARS, Scene};

/// Short enough that all that is made slow below lasts longer than any of them.
const LIMITS: [(&str, &str); 5] = [
    ("statement_timeout", "200ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "200ms"),
    ("idle_session_timeout", "300ms"),
    ("transaction_timeout", "250ms"),
];

/// What this server knows of [`LIMITS`], for every session in the database from now on.
async fn limit(scene: &Scene) -> Result<Vec<&'static str>> {
    let database = scene.database.name();
    let mut known = Vec::new();
    for (name, value) in LIMITS {
        let asked = format!("select exists (select from pg_settings where name = '{name}')");
        if scene.value(&asked).await? {
            let set = format!("alter database {database} set {name} = '{value}'");
            scene.manager.batch_execute(&set).await?;
            known.push(name);
        }
    }
    Ok(known)
}

/// What is done to the catalog in `migrate` and `uninstall`, and each of our writes, lasts longer than the limits.
async fn slow_down(manager: &Client) -> Result<()> {
    let slow = "
        create function public.slow_ddl() returns event_trigger language plpgsql as
            'begin perform pg_catalog.pg_sleep(0.4); end';
        create event trigger slow_ddl on ddl_command_end when tag in ('CREATE SCHEMA', 'CREATE TRIGGER', 'DROP TRIGGER')
            execute function public.slow_ddl();
        create function public.slow_write() returns trigger language plpgsql as
            'begin perform pg_catalog.pg_sleep(0.4); return new; end';
        create trigger slow_write before update on public.message_instances
            for each row execute function public.slow_write()";
    Ok(manager.batch_execute(slow).await?)
}

#[tokio::test]
async fn limits_that_a_database_sets_for_its_sessions_end_none_of_ours() -> Result<()> {
    let scene = Scene::shared().await?;
    slow_down(&scene.manager).await?;
    let known = limit(&scene).await?;
    let version: i32 = scene
        .value("select current_setting('server_version_num')::integer")
        .await?;
    ensure!(known.contains(&"transaction_timeout") == (version >= 170_000));

    let migrate = run_command(scene.url(), &["migrate"], &[]).await?;
    expect(&migrate, 0, &["from version 0"])?;
    let active = Daemon::start(&scene.database, &[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(stub.port()).await?;
    let written = format!(
        "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
    );
    scene.eventually(&written).await?;

    // Longer than all of them, twice: the leader listens, its pool is idle, and the standby waits for the lock.
    let standby = Daemon::spawn(scene.url(), &["run"], &[])?;
    standby
        .wait_message("standing by: another process leads")
        .await?;
    let waits = "select count(*) = 1 from pg_stat_activity where datname = current_database()
        and application_name like 'auth-reconciler ear %' and wait_event = 'advisory'
        and clock_timestamp() > backend_start + interval '1 s' and clock_timestamp() > state_change + interval '1 s'";
    scene.eventually(waits).await?;
    ensure!(scene.manager.query(EARS, &[]).await?.len() == 2);
    for daemon in [&active, &standby] {
        let ended = daemon.count(|line| line.text.contains("timeout"));
        ensure!(ended == 0, "{ended} lines speak of a time-out");
    }
    let lost = active.count(|line| line.is("look failed, will be repeated"));
    ensure!(lost == 0, "{lost} looks failed");
    // The sessions that were idle are gone by now.
    scene.table.save_api_key(&scene.manager, id, None).await?;
    scene
        .eventually(&written.replace("client_ready", "pending"))
        .await?;

    let mark = standby.mark();
    active.sigkill()?;
    standby.wait_message_after(mark, SERVING).await?;
    for command in ["status", "doctor"] {
        let done = run_command(scene.url(), &[command], &[]).await?;
        ensure!(!done.stderr.contains("timeout"), "{}", done.stderr);
    }
    standby.sigterm()?;
    ensure!(standby.ended().await?.success());
    let uninstall = run_command(scene.url(), &["uninstall", "--yes"], &[]).await?;
    expect(&uninstall, 0, &["are removed"])
}
