//! A leader that hears and does not move: guard must not hide the truth behind it, and a standby takes its place.

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};

use super::guard::{GUARD, write};
use super::value;
use crate::arena::Scene;
use crate::scene::eventually;

/// Stops the daemon, and waits until the server has run whatever that had sent before.
async fn freeze(scene: &Scene) -> Result<()> {
    scene.daemon.signal("STOP")?;
    let quiet = "select bool_and(state = 'idle' and query_start < clock_timestamp() - interval '0.3 s')
        from pg_stat_activity where datname = current_database() and application_name like 'auth-reconciler pool %'";
    eventually(&scene.client, quiet).await
}

#[tokio::test]
async fn guard_ends_for_a_row_whose_write_nobody_answers_for_until_a_look_has() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (one, other) = (scene.instance(&stub).await?, scene.instance(&stub).await?);
    let client = &scene.client;
    value::<String>(client, GUARD).await?;
    freeze(&scene).await?;
    for _ in 0..2 {
        let returned = write(client, one, "failed").await?;
        assert_eq!(returned.as_deref(), Some("client_ready"), "put aside");
    }
    // As if it had been a while ago: nobody sleeps here.
    let earlier = "update auth_reconciler.change set changed_at = changed_at - interval '6 s'";
    client.batch_execute(earlier).await?;
    for status in ["failed", "pending"] {
        let returned = write(client, one, status).await?;
        assert_eq!(returned.as_deref(), Some(status), "goes through");
    }
    let returned = write(client, other, "failed").await?;
    assert_eq!(returned.as_deref(), Some("client_ready"), "another row");

    let mark = scene.records.mark();
    scene.daemon.signal("CONT")?;
    scene.records.reason(mark, one, "Ready").await?;
    eventually(
        client,
        "select not exists (select from auth_reconciler.change)",
    )
    .await?;
    let returned = write(client, one, "failed").await?;
    assert_eq!(returned.as_deref(), Some("client_ready"), "kept again");
    Ok(())
}

/// Whoever asks is told, though nobody stands by: it leads and hears, and nothing is kept true.
#[tokio::test]
async fn a_leader_that_does_not_move_is_told_by_problems_status_and_doctor() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let client = &scene.client;
    let id = scene.idle_instance().await?;
    freeze(&scene).await?;
    scene.table.write_status(client, id, Some("failed")).await?;
    // That a change was not read for 10 s.
    let told = "select count(*) = 1 from auth_reconciler.problem_details where problem = 'LeaderSilent' and id is null";
    eventually(client, told).await?;
    let url = scene.database.url();
    for command in ["status", "doctor"] {
        let output = run_command(url, &[command], &[]).await?;
        let said = output.stdout.contains("answers for nothing since");
        assert!(output.code == Some(1) && said, "{output:?}");
    }
    scene.daemon.signal("CONT")?;
    let mended = "select not exists (select from auth_reconciler.problem_details where id is null)";
    eventually(client, mended).await
}

/// The server ends its statement for it, after a change that it does not read: that is no sign of it.
#[tokio::test]
async fn a_statement_that_ends_behind_a_leader_that_does_not_move_is_no_sign_of_it() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let client = &scene.client;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.idle_instance().await?;
    // A trigger of the manager's keeps the daemon's write from its end until it may.
    let gate = "create table gate (open boolean);
        create function wait_for_gate() returns trigger language plpgsql as $body$
        begin
            while not exists (select from public.gate) loop perform pg_sleep(0.01); end loop;
            return new;
        end
        $body$;
        create trigger wait_for_gate before update of auth_status on message_instances
            for each row execute function wait_for_gate()";
    client.batch_execute(gate).await?;
    let written = uuid::Uuid::new_v4();
    scene
        .table
        .insert(client, written, Some(stub.port()), Some("a key"))
        .await?;
    let writes = "select count(*) = 1 from pg_stat_activity where datname = current_database()
        and application_name like 'auth-reconciler pool %' and wait_event = 'PgSleep'";
    eventually(client, writes).await?;
    scene.daemon.signal("STOP")?;
    scene
        .table
        .save_api_key(client, id, Some("another"))
        .await?;
    client
        .batch_execute("insert into gate values (true)")
        .await?;
    let ended = "select bool_and(state = 'idle') and max(state_change) > (select max(changed_at) from auth_reconciler.change)
        from pg_stat_activity where datname = current_database() and application_name like 'auth-reconciler pool %'";
    eventually(client, ended).await?;
    let told = "select remark like 'hears, but does not answer since 2%' from auth_reconciler.reconciler_details where role = 'active'";
    eventually(client, told).await?;
    scene.daemon.signal("CONT")?;
    eventually(
        client,
        "select not exists (select from auth_reconciler.change)",
    )
    .await
}

const STANDS_BY: &str = "standing by: another process leads";

/// What a standby waits for takes longer than the usual patience.
async fn patiently(daemon: &Daemon, message: &str) -> Result<()> {
    let mut waited = daemon.wait_message(message).await;
    for _ in 0..2 {
        if waited.is_err() {
            waited = daemon.wait_message(message).await;
        }
    }
    waited.map(|_| ())
}

#[tokio::test]
async fn a_standby_takes_the_place_of_a_leader_that_hears_and_does_not_move() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let (client, table) = (&scene.client, &scene.table);
    value::<String>(client, GUARD).await?;
    let standby = Daemon::spawn(scene.database.url(), &["run"], &[])?;
    standby.wait_message(STANDS_BY).await?;

    // It has an answer in hand that it will record when it thaws.
    let late = Gate::new();
    stub.set(Behaviour::Ready.held(&late)).await?;
    let ask = format!("select auth_reconciler.reconcile('{id}')");
    let asked = stub.counts().total() + 1;
    value::<String>(client, &ask).await?;
    stub.request(asked).await?;
    freeze(&scene).await?;
    table.save_api_key(client, id, None).await?;
    let told = "select remark like 'hears, but does not answer since 2%' from auth_reconciler.reconciler_details where role = 'active'";
    eventually(client, told).await?;
    patiently(&standby, SERVING).await?;
    eventually(
        client,
        "select not exists (select from auth_reconciler.change)",
    )
    .await?;
    let status = table.status(client, id).await?;
    assert_eq!(status.as_deref(), Some("pending"), "what is true by now");

    // Whatever the old one still had in hand is refused.
    let watcher = scene.watch().await?;
    late.open();
    scene.daemon.signal("CONT")?;
    patiently(&scene.daemon, STANDS_BY).await?;
    scene.daemon.sigterm()?;
    scene.daemon.ended().await?;
    assert_eq!(
        watcher.statuses(id).await?,
        ["pending"],
        "nothing was written"
    );
    Ok(())
}

/// So a leader that is only slow is never deposed: it moves when it is rung for.
#[tokio::test]
async fn a_leader_that_waits_for_an_api_shows_a_sign_when_it_is_rung_for() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_PROBE_TIMEOUT", "5m")]).await?;
    let stub = Stub::start(Behaviour::Hang).await?;
    let id = uuid::Uuid::new_v4();
    scene
        .table
        .insert(&scene.client, id, Some(stub.port()), Some("a key"))
        .await?;
    stub.request(1).await?;
    let sign = "select last_sign::text from auth_reconciler.reconciler_details";
    let before: String = value(&scene.client, sign).await?;
    scene
        .client
        .batch_execute("notify auth_reconciler, 'scan'")
        .await?;
    eventually(
        &scene.client,
        &format!("select last_sign > '{before}' from auth_reconciler.reconciler_details"),
    )
    .await
}
