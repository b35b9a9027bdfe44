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
    let well = "select not exists (select from auth_reconciler.problems where id is null)";
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
    let what = "function log_change (changed)";
    told(&scene, mark, what).await?;
    let shown = "select count(*) = 1 from auth_reconciler.problems where problem = 'SchemaAltered' and id is null";
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
            "function missing_triggers (missing)",
        ),
        (drop_functions("prune"), "function prune (missing)"),
        (
            drop_functions("altered_routines"),
            "function altered_routines (missing)",
        ),
        // And views that are made of it.
        (drop_functions("legible"), "view status (missing)"),
        (
            "alter function auth_reconciler.faults() security invoker".to_owned(),
            "function faults (changed)",
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
    let what = "function take_over (missing)";
    let migrated = command(&scene, "migrate").await?;
    ensure!(
        migrated.code == Some(0) && migrated.stdout.contains(what),
        "{migrated:?}"
    );
    let daemon = Daemon::spawn(scene.database.url(), &["run"], &[])?;
    daemon.wait_message(SERVING).await?;
    Ok(())
}
