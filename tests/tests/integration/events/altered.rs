//! Our own functions and views, dropped or replaced by hand or by half a restore: told by name at the next echo, and mended
//! by `migrate` though the version is the same.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Output, SERVING, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::arena::{KEY, Scene};
use crate::scene::eventually;

const OFTEN: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

const TOLD: &str = "the schema auth_reconciler is not as it was made";

const REMEDY: &str = "auth-reconciler migrate";

/// Drops every function of a name, whatever its arguments.
fn drop_functions(name: &str) -> String {
    format!(
        "do $do$ declare one regprocedure; begin
            for one in select p.oid from pg_proc as p
                where p.pronamespace = 'auth_reconciler'::regnamespace and p.proname = '{name}'
            loop execute format('drop function %s cascade', one); end loop;
        end $do$"
    )
}

async fn command(scene: &Scene, name: &str) -> Result<Output> {
    run_command(scene.database.url(), &[name], &[]).await
}

/// The log says it once, with the name and the remedy, and so does doctor.
async fn told(scene: &Scene, mark: usize, what: &str) -> Result<()> {
    scene
        .daemon
        .wait_line(mark, what, |line| {
            line.is(TOLD)
                && line.has("problem", "SchemaAltered")
                && line.text.contains("\"level\":\"ERROR\"")
                && line.text.contains(what)
                && line.text.contains(REMEDY)
        })
        .await?;
    let doctor = command(scene, "doctor").await?;
    ensure!(
        doctor.code == Some(1)
            && doctor.stdout.contains("FAIL  schema")
            && doctor.stdout.contains(what)
            && doctor.stdout.contains(REMEDY),
        "{doctor:?}"
    );
    Ok(())
}

/// `migrate` says what it made anew, and nothing is left to be told.
async fn mended(scene: &Scene, what: &str) -> Result<()> {
    let migrated = command(scene, "migrate").await?;
    ensure!(
        migrated.code == Some(0) && migrated.stdout.contains(what),
        "{migrated:?}"
    );
    let well = "select not exists (select from auth_reconciler.problem_details where id is null)";
    eventually(&scene.client, well).await?;
    let doctor = command(scene, "doctor").await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    let again = command(scene, "migrate").await?;
    ensure!(
        again.stdout.contains("already") && !again.stdout.contains("anew"),
        "{again:?}"
    );
    Ok(())
}

/// What came while nobody saw is looked at when it is over.
#[tokio::test]
async fn a_trigger_function_replaced_by_hand_is_told_and_made_anew() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    let (client, name) = (&scene.client, scene.table.name());
    let mark = scene.daemon.mark();
    let replace =
        "create or replace function auth_reconciler.log_change() returns trigger language plpgsql
        as $$ begin return null; end $$";
    client.batch_execute(replace).await?;
    let what = "function log_change() (changed)";
    told(&scene, mark, what).await?;
    let shown = "select count(*) = 1 from auth_reconciler.problem_details where problem = 'SchemaAltered' and id is null";
    eventually(client, shown).await?;
    let status = command(&scene, "status").await?;
    ensure!(
        status.code == Some(1) && status.stdout.contains(what) && status.stdout.contains(REMEDY),
        "{status:?}"
    );

    let stub = Stub::start(Behaviour::Ready).await?;
    let (id, port) = (Uuid::new_v4(), i32::from(stub.port()));
    let records = scene.records.mark();
    let insert = format!(
        "insert into {name} (id, provider, port_api, api_key) values ($1, 'telegram', $2, $3)"
    );
    client.execute(&insert, &[&id, &port, &KEY]).await?;
    mended(&scene, what).await?;
    scene.records.reason(records, id, "Ready").await?;
    let told = scene.daemon.count(|line| line.is(TOLD));
    ensure!(told == 1, "said {told} times");
    Ok(())
}

#[tokio::test]
async fn what_is_dropped_of_our_schema_is_told_and_made_anew() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    for (drop, what) in [
        (
            "drop view auth_reconciler.backlog".to_owned(),
            "view backlog (missing)",
        ),
        // The echo's own check calls it.
        (
            drop_functions("missing_triggers"),
            "function missing_triggers(regclass, boolean) (missing)",
        ),
        (drop_functions("prune"), "function prune(integer, uuid[], integer, interval, integer) (missing)"),
        (
            drop_functions("altered_routines"),
            "function altered_routines(text) (missing)",
        ),
        // And views that are made of it.
        (drop_functions("legible"), "view status (missing)"),
        (
            "alter function auth_reconciler.faults() security invoker".to_owned(),
            "function faults() (changed)",
        ),
        // The server keeps no text of such a body.
        (
            "create or replace function auth_reconciler.differ(one text, other text) returns boolean
                language sql immutable return false"
                .to_owned(),
            "function differ(text, text) (changed)",
        ),
        // With the same columns, so that nothing but what it shows is another.
        (
            "create or replace view auth_reconciler.tables as
                select null::regclass as watched_table, false as guarded where false"
                .to_owned(),
            "view tables (changed)",
        ),
        // With another result, so that it cannot be replaced as it stands.
        (
            "drop function auth_reconciler.unlogged_state();
             create function auth_reconciler.unlogged_state() returns integer language sql return 1"
                .to_owned(),
            "function unlogged_state() (changed)",
        ),
    ] {
        let mark = scene.daemon.mark();
        scene.client.batch_execute(&drop).await?;
        told(&scene, mark, what).await?;
        mended(&scene, what).await?;
    }
    let stub = Stub::start(Behaviour::Ready).await?;
    let mark = scene.records.mark();
    let id = scene.instance(&stub).await?;
    scene.records.reason(mark, id, "Ready").await?;
    Ok(())
}

/// A daemon cannot lead without a function that is not there: it says what to do, and leads once that is done.
#[tokio::test]
async fn a_daemon_that_misses_a_function_names_the_remedy() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    scene.daemon.sigkill()?;
    scene.daemon.ended().await?;
    scene
        .client
        .batch_execute(&drop_functions("take_over"))
        .await?;
    let daemon = Daemon::spawn(scene.database.url(), &["run"], &[])?;
    daemon
        .wait_line(0, "the remedy", |line| line.text.contains(REMEDY))
        .await?;
    let what = "function take_over(uuid) (missing)";
    let migrated = command(&scene, "migrate").await?;
    ensure!(
        migrated.code == Some(0) && migrated.stdout.contains(what),
        "{migrated:?}"
    );
    let daemon = Daemon::spawn(scene.database.url(), &["run"], &[])?;
    daemon.wait_message(SERVING).await?;
    Ok(())
}

/// It would be called where it fits better than ours. Whoever made it drops it; until then it is told.
#[tokio::test]
async fn a_function_with_a_name_of_ours_that_is_none_of_ours_is_told_and_left_alone() -> Result<()>
{
    let scene = Scene::start(&[OFTEN]).await?;
    let mark = scene.daemon.mark();
    scene
        .client
        .batch_execute("create function auth_reconciler.legible(value integer) returns text language sql return 'mine'")
        .await?;
    let what = "drop what is none of ours: function legible(integer) (none of ours)";
    scene
        .daemon
        .wait_line(mark, what, |line| line.is(TOLD) && line.text.contains(what))
        .await?;
    // As if it had been there when ours were made.
    scene
        .client
        .batch_execute("update auth_reconciler.migration set routines = 'others'")
        .await?;
    for _ in 0..2 {
        let migrated = command(&scene, "migrate").await?;
        ensure!(migrated.code == Some(0), "{migrated:?}");
        let doctor = command(&scene, "doctor").await?;
        ensure!(
            doctor.code == Some(1) && doctor.stdout.contains(what),
            "{doctor:?}"
        );
    }
    scene
        .client
        .batch_execute("drop function auth_reconciler.legible(integer)")
        .await?;
    let doctor = command(&scene, "doctor").await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    Ok(())
}

/// What was granted on a function outlives that it had to be dropped to be made anew.
#[tokio::test]
async fn what_was_granted_on_a_function_is_granted_on_the_one_that_is_made_anew() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    let role = format!("caller_{}", Uuid::new_v4().simple());
    scene
        .client
        .batch_execute(&format!(
            "create role {role}; grant execute on function auth_reconciler.work_off(bigint, integer, uuid) to {role};
             drop function auth_reconciler.unlogged_state();
             create function auth_reconciler.unlogged_state() returns integer language sql return 1"
        ))
        .await?;
    let migrated = command(&scene, "migrate").await?;
    let held = format!(
        "select has_function_privilege('{role}', 'auth_reconciler.work_off(bigint, integer, uuid)', 'execute')"
    );
    let held: bool = scene.client.query_one(&held, &[]).await?.try_get(0)?;
    scene
        .client
        .batch_execute(&format!("drop owned by {role}; drop role {role}"))
        .await?;
    ensure!(migrated.code == Some(0) && held, "{migrated:?}");
    Ok(())
}
