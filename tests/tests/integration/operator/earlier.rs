//! From each earlier version to the newest while the manager writes with short time-outs and somebody reads our views:
//! nothing is lost, nothing fails, also when nobody listens.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scene::{Scene, eventually};

/// The tables of each version, in order, and its log's columns.
const TABLES: [&str; 3] = [
    include_str!("../../../../sql/migrations/0001_foundation.sql"),
    include_str!("../../../../sql/migrations/0002_containers.sql"),
    concat!(
        include_str!("../../../../sql/migrations/0003_operator.sql"),
        include_str!("../../../../sql/migrations/0003_operator_log.sql")
    ),
];

/// What stands for the routines of an earlier version: the trigger as it was, with its block around every row, and
/// views as far as their locks are concerned. From version 3 on guard reads what was recorded in such a statement.
const ROUTINES: &str = "
    create function auth_reconciler.log_change() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
    begin
        begin
            READ
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            values (tg_argv[0]::integer, new.id, 'account');
            perform pg_notify('auth_reconciler', 'scan');
        exception when others then
            perform pg_notify('auth_reconciler', 'resync');
        end;
        return null;
    end $$;
    create view auth_reconciler.status as
        select i.instance_id as id, (select count(*) from auth_reconciler.change) as waiting from auth_reconciler.instance as i;
    create view auth_reconciler.problems as select * from auth_reconciler.status;
    insert into auth_reconciler.watched_table (relation, has_type_instance, assigned)
    values ('public.message_instances', true, false);
    create trigger auth_reconciler_update after update on public.message_instances
        for each row when (old.account is distinct from new.account)
        execute function auth_reconciler.log_change('1');
    insert into auth_reconciler.leadership (epoch, term, pid, backend_start, taken_at)
    values (gen_random_uuid(), 1, 0, now(), now())";

/// Somebody of ours waits for a lock, or has just given way.
const WE_WAIT: &str = "select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler migrate%')";

async fn install(scene: &Scene, version: usize) -> Result<()> {
    for (number, text) in (1..).zip(&TABLES[..version]) {
        scene.manager.batch_execute(text).await?;
        let note = format!(
            "insert into auth_reconciler.migration (version, name, routines) values ({number}, 'earlier', 'earlier')"
        );
        scene.manager.batch_execute(&note).await?;
    }
    let guard = "perform from auth_reconciler.instance as i where i.instance_id = new.id;";
    let routines = ROUTINES.replace("READ", if version >= 3 { guard } else { "" });
    scene.manager.batch_execute(&routines).await?;
    Ok(())
}

/// Writes, each in its own transaction, until told to stop. Returns how many there were; one that fails ends it.
async fn write(
    client: Client,
    id: Uuid,
    done: watch::Receiver<bool>,
    count: watch::Sender<u32>,
) -> Result<u32> {
    client
        .batch_execute("set lock_timeout = '100ms'; set statement_timeout = '150ms'")
        .await?;
    let mut written = 0;
    while !*done.borrow() {
        client
            .execute(
                "update public.message_instances set account = $2, updated_at = localtimestamp where id = $1",
                &[&id, &format!("account {written}")],
            )
            .await
            .with_context(|| format!("write {written}"))?;
        written += 1;
        count.send_replace(written);
    }
    Ok(written)
}

async fn migrate_from(version: usize) -> Result<()> {
    let scene = Scene::shared().await?;
    let id = scene.instance(1).await?;
    install(&scene, version).await?;
    let reader = scene.database.client().await?;
    reader
        .batch_execute("begin; select * from auth_reconciler.problems")
        .await?;
    let (stop, stopped) = watch::channel(false);
    let (count, mut counted) = watch::channel(0);
    let writer = tokio::spawn(write(scene.database.client().await?, id, stopped, count));
    let migrate = Daemon::spawn(scene.url(), &["migrate"], &[])?;
    eventually(&scene.manager, WE_WAIT).await?;
    // Long enough for it to try many times.
    let until = *counted.borrow() + 400;
    counted.wait_for(|count| *count >= until).await.ok();
    ensure!(migrate.is_running(), "it waits for the reader");
    reader.batch_execute("commit").await?;
    let exit = migrate.ended().await?;
    stop.send_replace(true);
    let written = writer
        .await?
        .with_context(|| format!("from version {version}"))?;
    assert_eq!(exit.code(), Some(0), "{}", migrate.output());
    let logged: i64 = scene
        .value("select count(*) from auth_reconciler.change where cause = 'account'")
        .await?;
    assert_eq!(logged, i64::from(written), "from version {version}");
    let epochs: i64 = scene
        .value("select count(*) from auth_reconciler.leadership")
        .await?;
    assert_eq!(epochs, 0, "an older daemon records nothing more");
    Ok(())
}

#[tokio::test]
async fn no_change_is_lost_and_no_statement_fails_while_the_schema_becomes_the_newest() -> Result<()>
{
    for version in 1..=TABLES.len() {
        migrate_from(version).await?;
    }
    Ok(())
}

/// What an operator built on our views outlives an upgrade that need not drop them, and is named by one that must.
#[tokio::test]
async fn what_somebody_built_on_our_views_is_neither_dropped_nor_in_the_way() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create view public.mine as select id, reason from auth_reconciler.status;
             update auth_reconciler.migration set routines = 'others'",
        )
        .await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute("select * from public.mine")
        .await?;

    let scene = Scene::shared().await?;
    install(&scene, 1).await?;
    scene
        .manager
        .batch_execute("create view public.mine as select waiting from auth_reconciler.status")
        .await?;
    let refused = run_command(scene.url(), &["migrate"], &[]).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("view public.mine"),
        "{}",
        refused.stderr
    );
    scene
        .manager
        .batch_execute("select * from public.mine; drop view public.mine")
        .await?;
    scene.migrate().await
}
