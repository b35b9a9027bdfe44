//! The two forms of our trigger on updates: by the columns that a statement names, which costs other statements nothing,
//! and by comparing each row, where a trigger of somebody else may change a column that was not named.

use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::arena::Scene;
use crate::scene;

const OFTEN: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

/// A trigger of somebody else that makes the key of what is written to another column.
const MAKE_KEYS: &str = "
    create or replace function public.make_key() returns trigger language plpgsql as $$
    begin new.api_key := 'key of ' || new.whatsapp_state; return new; end $$;
    create trigger make_key before update on public.message_instances for each row execute function public.make_key()";

const DROP_TRIGGER: &str = "drop trigger make_key on public.message_instances";

const ATTACHED: &str = "triggers attached in another form, every row will be looked at";

const LEAN: &str = "select auth_reconciler.is_lean('public.message_instances'::regclass)";

/// How often functions of ours were called in this transaction.
const CALLS: &str = "select coalesce(sum(calls), 0)::bigint from pg_stat_xact_user_functions
    where schemaname = 'auth_reconciler'";

fn write_other(id: Uuid, state: &str) -> String {
    format!("update public.message_instances set whatsapp_state = '{state}' where id = '{id}'")
}

#[tokio::test]
async fn a_key_that_a_trigger_of_somebody_else_makes_is_seen() -> Result<()> {
    let scene = scene::Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    scene.manager.batch_execute(MAKE_KEYS).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(stub.port()).await?;
    scene.looked_at(&daemon, id).await?;
    ensure!(!scene.value::<bool>(LEAN).await?, "each row is compared");
    scene.manager.batch_execute(&write_other(id, "one")).await?;
    scene
        .eventually(&format!(
            "select cause = 'api_key' from auth_reconciler.instance where instance_id = '{id}'"
        ))
        .await
}

#[tokio::test]
async fn the_form_of_our_trigger_follows_the_triggers_of_others() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let lean =
        async || -> Result<bool> { Ok(scene.client.query_one(LEAN, &[]).await?.try_get(0)?) };
    ensure!(lean().await?, "a statement is told by its columns");

    // What it has changed before we know of it is found as well.
    let (mark, looks) = (scene.daemon.mark(), scene.records.mark());
    scene.client.batch_execute(MAKE_KEYS).await?;
    scene.client.batch_execute(&write_other(id, "one")).await?;
    let line = scene.daemon.wait_message_after(mark, ATTACHED).await?;
    ensure!(line.text.contains("make_key"), "{}", line.text);
    ensure!(!lean().await?, "each row is compared");
    let asked = |record: &crate::arena::Record, cause: &str| {
        record.id == id && record.text("cause") == Some(cause)
    };
    scene
        .records
        .wait(looks, "a look at every row", |record| {
            asked(record, "watch")
        })
        .await?;
    let looks = scene.records.mark();
    scene.client.batch_execute(&write_other(id, "two")).await?;
    scene
        .records
        .wait(looks, "the key that was made", |record| {
            asked(record, "api_key")
        })
        .await?;

    let (mark, looks) = (scene.daemon.mark(), scene.records.mark());
    scene.client.batch_execute(DROP_TRIGGER).await?;
    scene.daemon.wait_message_after(mark, ATTACHED).await?;
    ensure!(lean().await?, "a statement is told by its columns again");
    scene
        .records
        .wait(looks, "a look at every row", |record| {
            asked(record, "watch")
        })
        .await?;
    let looks = scene.records.mark();
    scene
        .table
        .save_api_key(&scene.client, id, Some("another"))
        .await?;
    scene
        .records
        .wait(looks, "a key that is saved", |record| {
            asked(record, "api_key")
        })
        .await?;
    Ok(())
}

/// Who may not attach them, or is told while no daemon runs, tells what is to be done.
#[tokio::test]
async fn changes_that_a_later_trigger_hides_are_told_and_mended_by_migrate() -> Result<()> {
    let scene = scene::Scene::shared().await?;
    scene.migrate().await?;
    let problems = "select count(*) filter (where problem = 'ChangesHidden') from auth_reconciler.problem_details";
    for (does, hidden) in [(MAKE_KEYS, 1), (DROP_TRIGGER, 0)] {
        scene.manager.batch_execute(does).await?;
        assert_eq!(scene.value::<i64>(problems).await?, hidden, "{does}");
        let doctor = run_command(scene.url(), &["doctor"], &[]).await?;
        let told =
            doctor.stdout.contains("make_key") && doctor.stdout.contains("auth-reconciler migrate");
        assert_eq!(told, hidden > 0, "{doctor:?}");
        let migrated = run_command(scene.url(), &["migrate"], &[]).await?;
        let anew = "public.message_instances is watched, its rows will be looked at";
        ensure!(migrated.stdout.contains(anew), "{migrated:?}");
        assert_eq!(scene.value::<bool>(LEAN).await?, hidden == 0, "{does}");
        assert_eq!(scene.value::<i64>(problems).await?, 0, "{does}");
        let again = run_command(scene.url(), &["migrate"], &[]).await?;
        ensure!(again.stdout.contains("is watched already"), "{again:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_write_of_other_columns_calls_nothing_of_ours() -> Result<()> {
    let scene = scene::Scene::shared().await?;
    scene.migrate().await?;
    let guard = "select auth_reconciler.guard('public.message_instances', true); set track_functions = 'all'";
    let id = scene.instance(1).await?;
    scene.manager.batch_execute(guard).await?;
    let key = "update public.message_instances set api_key = 'another'";
    for (write, calls) in [(write_other(id, "one").as_str(), 0), (key, 1)] {
        scene
            .manager
            .batch_execute(&format!("begin; {write}"))
            .await?;
        let called: i64 = scene.value(CALLS).await?;
        scene.manager.batch_execute("commit").await?;
        // What log_change() itself calls is part of its expressions.
        assert_eq!(called, calls, "{write}");
    }
    Ok(())
}

/// The server knows what is made from a column that a statement names.
#[tokio::test]
async fn a_generated_key_is_seen_by_the_columns_that_it_is_made_from() -> Result<()> {
    let scene = scene::Scene::shared().await?;
    scene
        .manager
        .batch_execute(
            "alter table public.message_instances drop column api_key,
             add column api_key varchar generated always as ('key of ' || whatsapp_state) stored",
        )
        .await?;
    scene.migrate().await?;
    ensure!(
        scene.value::<bool>(LEAN).await?,
        "a statement is told by its columns"
    );
    scene
        .manager
        .batch_execute(
            "insert into public.message_instances (id) values (gen_random_uuid());
             delete from auth_reconciler.change;
             update public.message_instances set whatsapp_state = 'one'",
        )
        .await?;
    let cause = "select string_agg(cause, ' ') from auth_reconciler.change";
    assert_eq!(scene.value::<String>(cause).await?, "api_key");
    Ok(())
}

/// A partition may have triggers that its parent has not.
#[tokio::test]
async fn triggers_of_a_partition_count_as_well() -> Result<()> {
    let scene = scene::Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create table public.parted (like public.message_instances including defaults) partition by hash (id);
             alter table public.parted add primary key (id);
             create table public.part_0 partition of public.parted for values with (modulus 1, remainder 0);
             select auth_reconciler.watch('public.parted')",
        )
        .await?;
    let lean = "select auth_reconciler.is_lean('public.parted'::regclass)";
    ensure!(scene.value::<bool>(lean).await?);
    scene
        .manager
        .batch_execute(&MAKE_KEYS.replace("on public.message_instances", "on public.part_0"))
        .await?;
    let anew = "select auth_reconciler.attach_anew('public.parted'::regclass)";
    let why: Option<String> = scene.value(anew).await?;
    ensure!(why.is_some_and(|why| why.contains("make_key")));
    ensure!(!scene.value::<bool>(lean).await?, "each row is compared");
    scene
        .manager
        .batch_execute(
            "insert into public.parted (id) values (gen_random_uuid()); delete from auth_reconciler.change;
             update public.parted set whatsapp_state = 'one'",
        )
        .await?;
    let cause = "select string_agg(cause, ' ') from auth_reconciler.change";
    assert_eq!(scene.value::<String>(cause).await?, "api_key");
    Ok(())
}

/// In each form, and whether or not the table has the column that tells its sort of instance.
#[tokio::test]
async fn a_change_of_any_column_that_verdicts_are_made_from_is_logged_in_either_form() -> Result<()>
{
    const FACTS: [(&str, &str); 6] = [
        ("api_key", "'another'"),
        ("account", "'another'"),
        ("port_api", "4711"),
        ("provider", "'another'"),
        ("type_instance", "array['site']"),
        ("id", "gen_random_uuid()"),
    ];
    let scene = scene::Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create table public.untyped (like public.message_instances including all);
             alter table public.untyped drop column type_instance;
             select auth_reconciler.watch('public.untyped')",
        )
        .await?;
    for table in ["public.message_instances", "public.untyped"] {
        for lean in [true, false] {
            if !lean {
                let others =
                    MAKE_KEYS.replace("new.api_key := 'key of ' || new.whatsapp_state;", "");
                let others = others.replace("on public.message_instances", &format!("on {table}"));
                let anew =
                    format!("{others}; select auth_reconciler.attach_anew('{table}'::regclass)");
                scene.manager.batch_execute(&anew).await?;
            }
            let form = format!("select auth_reconciler.is_lean('{table}'::regclass)");
            assert_eq!(scene.value::<bool>(&form).await?, lean, "{table}");
            let typed = table == "public.message_instances";
            for (column, value) in FACTS
                .iter()
                .filter(|(name, _)| typed || *name != "type_instance")
            {
                let write = format!(
                    "delete from {table}; insert into {table} (id) values (gen_random_uuid());
                     delete from auth_reconciler.change; update {table} set {column} = {value}"
                );
                scene.manager.batch_execute(&write).await?;
                let logged = "select count(*) > 0 from auth_reconciler.change";
                let logged: bool = scene.value(logged).await?;
                ensure!(logged, "{column} of {table}, lean: {lean}");
            }
        }
    }
    Ok(())
}

/// How many statements the daemon sends from one echo to the next, of a database with so many tables watched beside the
/// scene's: the least of some, for now and then there is something else to do.
async fn statements_an_echo(cluster: &Cluster, tables: usize) -> Result<usize> {
    let scene = scene::Scene::on(&cluster.url("postgres")).await?;
    scene.migrate().await?;
    for nth in 0..tables {
        scene
            .manager
            .batch_execute(&format!(
                "create table public.more_{nth} (like public.message_instances including all);
                 select auth_reconciler.watch('public.more_{nth}')"
            ))
            .await?;
    }
    let _daemon = Daemon::start(&scene.database, &[OFTEN]).await?;
    let ours = format!("{} auth-reconciler pool", scene.database.name());
    let counted = async {
        loop {
            let log = cluster.log();
            let statements = log.lines().filter(|line| {
                line.starts_with(&ours)
                    && (line.contains(" execute ") || line.contains(" statement: "))
            });
            let statements: Vec<&str> = statements.collect();
            let echoes: Vec<usize> = (0..statements.len())
                .filter(|at| statements[*at].contains("pg_notify($1, $2)"))
                .collect();
            if echoes.len() > 5 {
                return echoes.windows(2).map(|two| two[1] - two[0]).min();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = within(PATIENCE, Location::caller(), "some echoes", counted).await?;
    counted.context("there were echoes")
}

#[tokio::test]
async fn an_echo_costs_as_many_statements_however_many_tables_are_watched() -> Result<()> {
    let options = ClusterOptions::default()
        .set("log_statement", "all")
        .set("log_line_prefix", "%d %a: ");
    let cluster = Cluster::start(options).await?;
    let few = statements_an_echo(&cluster, 0).await?;
    let many = statements_an_echo(&cluster, 12).await?;
    ensure!(few > 1, "the statements are in the log");
    ensure!(many <= few, "{few} with one table, {many} with thirteen");
    Ok(())
}
