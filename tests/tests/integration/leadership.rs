//! One process leads: the next takes over, a standby costs nothing, the end is orderly, and a start that could not
//! serve is refused with the remedy.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};

use crate::scene::{ALL_TRUE, Scene, insert_many};

const STANDS_BY: &str = "standing by: another process leads";

/// The roles in the view, the active one first.
const ROLES: &str = "select coalesce(array_agg(role::text order by role), '{}') from auth_reconciler.reconciler_details";

const LOCK_IS_FREE: &str = "select not exists (
    select from pg_locks where locktype = 'advisory' and granted
        and database = (select oid from pg_database where datname = current_database()))";

#[tokio::test]
async fn the_second_process_takes_over_when_the_first_is_killed() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    let second = Daemon::spawn(scene.url(), &["run"], &[])?;
    second.wait_message(STANDS_BY).await?;
    let roles: Vec<String> = scene.value(ROLES).await?;
    assert_eq!(roles, ["active", "standby"]);
    let terms: Vec<Option<i64>> = scene
        .value("select array_agg(term order by role) from auth_reconciler.reconciler_details")
        .await?;
    assert_eq!(terms, [Some(1), None], "the standby has led no term");

    first.sigkill()?;
    second.wait_message(SERVING).await?;
    scene
        .eventually(
            "select array_agg((role::text, term)::text) = array['(active,2)'] and every(active_since >= since)
             from auth_reconciler.reconciler_details",
        )
        .await?;
    insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;

    second.sigkill()?;
    scene
        .eventually("select array_agg((role, hears, term)::text) = array['(dead,f,2)'] from auth_reconciler.reconciler_details")
        .await
}

/// A server of its own, because the queue of notifications is the server's; as long as one wait of a standby lasts.
#[tokio::test]
async fn a_standby_holds_up_neither_notifications_nor_vacuum() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let scene = Scene::on(&cluster.url("postgres")).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let active = Daemon::start(&scene.database, &[]).await?;
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let standby = Daemon::spawn(scene.url(), &["run"], &debug)?;
    standby.wait_message(STANDS_BY).await?;
    scene
        .eventually(
            "select count(*) = 1 from pg_stat_activity
             where application_name like 'auth-reconciler ear %' and wait_event = 'advisory'",
        )
        .await?;

    // 40,000 of these fill many pages of the queue; all are read when the active ear has heard what came after them.
    scene
        .manager
        .batch_execute(
            "select pg_notify('auth_reconciler', 'echo/' || repeat('x', 100) || n) from generate_series(1, 40000) as n",
        )
        .await?;
    let id = scene.instance(stub.port()).await?;
    scene.looked_at(&active, id).await?;
    let used: f64 = scene.value("select pg_notification_queue_usage()").await?;
    assert_eq!(
        used, 0.0,
        "a session that listens and waits would keep every one of them"
    );

    let mut waits_ended = Err(anyhow::anyhow!("not asked yet"));
    for _ in 0..4 {
        waits_ended = standby.wait_message("still standing by").await;
        if waits_ended.is_ok() {
            break;
        }
    }
    waits_ended?;
    scene
        .eventually(
            "select count(*) = 1 from pg_stat_activity
             where application_name like 'auth-reconciler ear %' and wait_event = 'advisory'
                 and query_start > now() - interval '30 s'",
        )
        .await
}

#[tokio::test]
async fn asked_to_stop_it_finishes_and_records_what_is_in_flight() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let scene = Scene::shared().await?;
        let gate = Gate::new();
        let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
        let daemon = Daemon::start(&scene.database, &[]).await?;
        scene.instance(stub.port()).await?;
        stub.request(1).await?;
        daemon.signal(signal)?;
        daemon.wait_message("stopping").await?;
        gate.open();
        let exit = daemon.ended().await?;
        assert_eq!(exit.code(), Some(0), "SIG{signal}");
        let done: bool = scene.value(ALL_TRUE).await?;
        ensure!(
            done,
            "the answer that was in flight is recorded (SIG{signal})"
        );
        scene.eventually(LOCK_IS_FREE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_does_not_end_in_time_is_left_to_the_next_process() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Hang).await?;
    let settings = [
        ("AUTH_RECONCILER_SHUTDOWN_TIMEOUT", "200ms"),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "5m"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    scene.instance(stub.port()).await?;
    stub.request(1).await?;
    let second = Daemon::spawn(scene.url(), &["run"], &[])?;
    second.wait_message(STANDS_BY).await?;
    stub.set(Behaviour::Ready).await?;
    daemon.sigterm()?;
    let exit = daemon.ended().await?;
    assert_eq!(exit.code(), Some(0));
    scene.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn a_standby_that_is_asked_to_stop_ends_at_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    for signal in ["TERM", "INT"] {
        let standby = Daemon::spawn(scene.url(), &["run"], &[])?;
        standby.wait_message(STANDS_BY).await?;
        standby.signal(signal)?;
        let exit = standby.ended().await?;
        assert_eq!(exit.code(), Some(0), "SIG{signal}");
    }
    ensure!(first.is_running(), "the other one leads on");
    scene
        .eventually(&ROLES.replacen("select", "select array['active'] =", 1))
        .await
}

#[tokio::test]
async fn run_refuses_a_schema_that_it_could_not_serve() -> Result<()> {
    let scene = Scene::shared().await?;
    let refused = async |what: &str, words: &[&str]| {
        let run = run_command(scene.url(), &["run"], &[]).await?;
        ensure!(
            run.code == Some(1),
            "{what}: exit {:?}\n{}",
            run.code,
            run.stderr
        );
        for word in words {
            ensure!(
                run.stderr.contains(word),
                "{what}: {word} is missing in\n{}",
                run.stderr
            );
        }
        anyhow::Ok(())
    };
    refused("no schema", &["is missing", "auth-reconciler migrate"]).await?;

    let migrate = "auth-reconciler migrate";
    let cases: &[(&str, &[&str])] = &[
        (
            "update auth_reconciler.migration set version = version - (select max(version) from auth_reconciler.migration)",
            &["has version 0", "needs", migrate],
        ),
        (
            "insert into auth_reconciler.migration (version, name) values (999, 'of the future')",
            &["version 999", "newer", "run the newer program"],
        ),
        (
            "update auth_reconciler.migration set routines = 'of another build'",
            &["another build", migrate],
        ),
        (
            "drop trigger auth_reconciler_insert on public.message_instances",
            &[
                "public.message_instances",
                "auth_reconciler_insert",
                migrate,
            ],
        ),
        (
            "alter table public.message_instances disable trigger auth_reconciler_update",
            &["disabled", "auth_reconciler_update", migrate],
        ),
        (
            "select auth_reconciler.unwatch('public.message_instances')",
            &["not watched", migrate],
        ),
    ];
    for (tamper, words) in cases {
        run_command(scene.url(), &["uninstall", "--yes"], &[]).await?;
        scene.migrate().await?;
        scene.manager.batch_execute(tamper).await?;
        refused(tamper, words).await?;
    }
    Ok(())
}

/// A transaction pooler takes LISTEN and hears nothing; an ear in another database of the same server does just that.
#[tokio::test]
async fn a_deaf_ear_is_refused_at_the_start() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let elsewhere = Scene::shared().await?;
    elsewhere.migrate().await?;
    let settings = [
        ("AUTH_RECONCILER_LISTEN_URL", elsewhere.url()),
        ("AUTH_RECONCILER_ECHO_TIMEOUT", "500ms"),
    ];
    let run = run_command(scene.url(), &["run"], &settings).await?;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for word in ["transaction pooler", "AUTH_RECONCILER_LISTEN_URL"] {
        assert!(
            run.stderr.contains(word),
            "{word} is missing in {}",
            run.stderr
        );
    }
    let doctor = run_command(scene.url(), &["doctor"], &settings).await?;
    assert_eq!(doctor.code, Some(1));
    assert!(
        doctor.stdout.contains("AUTH_RECONCILER_LISTEN_URL"),
        "{}",
        doctor.stdout
    );
    Ok(())
}

/// Neither the version nor the changes of the row have moved when its late answer comes: only the epoch tells it that
/// somebody else leads.
#[tokio::test]
async fn a_process_that_lost_the_lead_while_it_was_frozen_writes_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    let (late, present) = (Gate::new(), Gate::new());
    let stub = Stub::start(Behaviour::Status(401).held(&late)).await?;
    let patient = [("AUTH_RECONCILER_PROBE_TIMEOUT", "2m")];
    let frozen = Daemon::start(&scene.database, &patient).await?;
    let watcher = scene.watcher().await?;
    let id = scene.instance(stub.port()).await?;
    stub.request(1).await?;
    frozen.signal("STOP")?;
    let second = Daemon::spawn(scene.url(), &["run"], &patient)?;
    second.wait_message(STANDS_BY).await?;
    stub.set(Behaviour::Ready.held(&present)).await?;
    // Its ear is ended from the outside; its pool lives on.
    scene
        .manager
        .batch_execute(
            "select pg_terminate_backend(l.pid) from pg_locks as l
             where l.locktype = 'advisory' and l.granted
                 and l.database = (select oid from pg_database where datname = current_database())",
        )
        .await?;
    stub.request(2).await?;
    frozen.signal("CONT")?;
    late.open();
    frozen.wait_message(STANDS_BY).await?;
    // It ends when its look has ended, the attempt to record included.
    frozen.sigterm()?;
    frozen.ended().await?;
    present.open();
    scene.eventually(ALL_TRUE).await?;
    watcher.wait_status(id, "client_ready").await?;
    assert_eq!(watcher.statuses(id).await?, ["pending", "client_ready"]);
    Ok(())
}
