//! Our own tables, changed by somebody else: told at the next echo with the statement that mends it, for whoever asks.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};

use crate::arena::Scene;
use crate::operator::grants::Granted;
use crate::scene::eventually;

const OFTEN: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

const WELL: &str =
    "select not exists (select from auth_reconciler.problem_details where id is null)";

/// What is done to them, what is said of it, and the statement that is said to mend it and does.
const ALTERED: &[(&str, &str, &str)] = &[
    (
        "alter table auth_reconciler.instance enable row level security, force row level security",
        "table instance (row level security hides rows)",
        "alter table auth_reconciler.instance disable row level security, no force row level security",
    ),
    (
        "create rule mine as on insert to auth_reconciler.change do instead nothing",
        "rule mine on table change (none of ours)",
        "drop rule mine on auth_reconciler.change",
    ),
    (
        "create trigger mine before insert on auth_reconciler.change
            for each row execute function suppress_redundant_updates_trigger()",
        "trigger mine on table change (none of ours)",
        "drop trigger mine on auth_reconciler.change",
    ),
    (
        "alter table auth_reconciler.pause set unlogged",
        "table pause (unlogged: a crash of the server empties it)",
        "alter table auth_reconciler.pause set logged",
    ),
    (
        "alter table auth_reconciler.own_trouble set logged",
        "table own_trouble (logged:",
        "alter table auth_reconciler.own_trouble set unlogged",
    ),
    (
        "drop index auth_reconciler.change_instance_idx",
        "index change_instance_idx (missing)",
        "create index change_instance_idx on auth_reconciler.change (watched_id, instance_id)",
    ),
    (
        "alter table auth_reconciler.owed drop constraint owed_work_check",
        "constraint owed_work_check of table owed (missing)",
        "alter table auth_reconciler.owed add constraint owed_work_check check (work in ('watch', 'truncate', 'unwatch', 'resync'))",
    ),
    (
        "alter table auth_reconciler.change add constraint mine check (cause <> 'drift') not valid",
        "constraint mine of table change (none of ours)",
        "alter table auth_reconciler.change drop constraint mine",
    ),
    (
        "alter table auth_reconciler.change add column mine integer not null",
        "column mine of table change (none of ours)",
        "alter table auth_reconciler.change drop column mine",
    ),
];

#[tokio::test]
async fn what_somebody_does_to_our_tables_is_told_with_what_mends_it() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    for (alter, what, remedy) in ALTERED {
        let mark = scene.daemon.mark();
        scene.client.batch_execute(alter).await?;
        scene
            .daemon
            .wait_line(mark, what, |line| {
                line.is("the schema auth_reconciler is not as it was made")
                    && line.has("problem", "SchemaAltered")
                    && line.text.contains(what)
                    && line.text.contains(remedy)
            })
            .await?;
        for command in ["status", "doctor"] {
            let told = run_command(scene.database.url(), &[command], &[]).await?;
            ensure!(
                told.code == Some(1) && told.stdout.contains(what) && told.stdout.contains(remedy),
                "{command}: {told:?}"
            );
        }
        scene.client.batch_execute(remedy).await?;
        eventually(&scene.client, WELL).await?;
        scene
            .daemon
            .wait_line(mark, "its end", |line| {
                line.is("no longer so of the schema auth_reconciler")
            })
            .await?;
    }
    let doctor = run_command(scene.database.url(), &["doctor"], &[]).await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    Ok(())
}

/// Rows that are hidden from a reader are no sign that all is well.
#[tokio::test]
async fn a_reader_is_told_that_rows_of_ours_are_hidden() -> Result<()> {
    let granted = Granted::start().await?;
    let daemon = Daemon::spawn(&granted.daemon_url, &["run"], &[])?;
    daemon.wait_message(SERVING).await?;
    let (alter, what, _) = ALTERED[0];
    granted.scene.manager.batch_execute(alter).await?;
    for (url, command) in [
        (&granted.reader_url, "status"),
        (&granted.daemon_url, "doctor"),
    ] {
        let told = run_command(url, &[command], &[]).await?;
        ensure!(
            told.code == Some(1) && format!("{told:?}").contains(what),
            "{command}: {told:?}"
        );
    }
    Ok(())
}

/// What is compared is what the migrations make, all of it.
#[tokio::test]
async fn every_table_column_constraint_and_index_of_ours_is_compared() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let compared = include_str!("../../../../sql/queries/altered_tables.sql");
    let made = "
        select c.relname || ''', ''' || c.relpersistence::text || ''''
        from pg_class as c
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'r'
        union all
        select a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'r'
        union all
        select '''' || o.conname || ''''
        from pg_constraint as o
        where o.connamespace = 'auth_reconciler'::regnamespace and o.contype in ('c', 'f', 'p', 'u', 'x')
        union all
        select 'index ' || c.relname
        from pg_class as c
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'i'
            and not exists (select from pg_constraint as o where o.conindid = c.oid)
        order by 1";
    let made: Vec<String> = scene
        .client
        .query(made, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    ensure!(made.len() > 100, "{made:?}");
    let left_out: Vec<_> = made
        .iter()
        .filter(|made| !compared.contains(made.as_str()))
        .collect();
    ensure!(left_out.is_empty(), "not compared: {left_out:?}");
    let altered = scene
        .client
        .query("select why from auth_reconciler.altered_tables()", &[])
        .await?;
    ensure!(altered.is_empty(), "{altered:?}");
    Ok(())
}

/// Whoever makes a second schema beside a renamed one has triggers of both.
#[tokio::test]
async fn a_renamed_schema_is_named_by_whoever_misses_it() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    scene
        .client
        .batch_execute(r#"alter schema auth_reconciler rename to "Put aside""#)
        .await?;
    let remedy = r#"alter schema "Put aside" rename to auth_reconciler"#;
    let ended = scene.daemon.ended().await?;
    ensure!(
        !ended.success() && scene.daemon.count(|line| line.text.contains("Put aside")) == 1,
        "{ended:?}"
    );
    let (failed, unanswered) = (1, 3);
    for (command, code) in [
        ("migrate", failed),
        ("run", failed),
        ("status", unanswered),
        ("doctor", failed),
        ("watch", unanswered),
        ("uninstall", failed),
    ] {
        let told = run_command(scene.database.url(), &[command], &[]).await?;
        ensure!(
            told.code == Some(code) && format!("{}{}", told.stdout, told.stderr).contains(remedy),
            "{command}: {told:?}"
        );
    }
    scene.client.batch_execute(remedy).await?;
    let doctor = run_command(scene.database.url(), &["doctor"], &[]).await?;
    ensure!(!doctor.stdout.contains("FAIL  schema"), "{doctor:?}");
    Ok(())
}
