//! A database that is not there, goes away, or takes no writes: what passes is waited for, a mistake ends the daemon.

use anyhow::{Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, Stop};
use auth_reconciler_tests::proxy::{Link, Proxy};

use super::expect;
use crate::scene::Scene;

const NO_EAR: &str = "no ear: changes are kept in the log until there is one";

const STILL_NO_EAR: &str = "still no ear";

const STANDS_BY: &str = "standing by: another process leads";

#[tokio::test]
async fn a_database_that_is_not_there_at_the_start_is_waited_for() -> Result<()> {
    let scene = Scene::shared().await?;
    let proxy = Proxy::to(scene.url()).await?;
    let url = proxy.url(scene.url())?;
    for (words, waits) in [
        (
            &["run", "--migrate"][..],
            "the database cannot be migrated yet: waiting for it",
        ),
        (&["run"], NO_EAR),
    ] {
        proxy.set(Link::Refuse).await?;
        let daemon = Daemon::spawn(&url, words, &[])?;
        let told = daemon.wait_message(waits).await?;
        ensure!(told.text.contains("nothing listens there"), "{}", told.text);
        proxy.set(Link::Pass).await?;
        daemon.wait_message(SERVING).await?;
        daemon.sigterm()?;
        ensure!(daemon.ended().await?.success());
    }
    Ok(())
}

/// A session that migrates waits for a lock, or pauses between two tries to get it.
const MIGRATION_WAITS: &str =
    "select exists (select from pg_stat_activity where datname = current_database()
    and application_name = 'auth-reconciler migrate' and wait_event in ('relation', 'PgSleep'))";

#[tokio::test]
async fn asked_to_stop_before_it_serves_it_ends_at_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let proxy = Proxy::to(scene.url()).await?;
    let away = proxy.url(scene.url())?;
    proxy.set(Link::Refuse).await?;
    let mut holder = scene.database.client().await?;
    let held = holder.transaction().await?;
    held.batch_execute("lock table public.message_instances in access exclusive mode")
        .await?;
    let waits = "the database cannot be migrated yet: waiting for it";
    for (url, words, told, signal) in [
        (
            away.as_str(),
            &["run", "--migrate"][..],
            Some(waits),
            "TERM",
        ),
        (&away, &["run", "--migrate"], Some(waits), "INT"),
        (&away, &["run"], Some(NO_EAR), "TERM"),
        (scene.url(), &["run", "--migrate"], None, "INT"),
    ] {
        let daemon = Daemon::spawn(url, words, &[])?;
        match told {
            Some(told) => drop(daemon.wait_message(told).await?),
            None => scene.eventually(MIGRATION_WAITS).await?,
        }
        daemon.signal("HUP")?;
        let passed_over = daemon.wait_line(0, "SIGHUP", |line| line.has("signal", "SIGHUP"));
        passed_over.await?;
        daemon.signal(signal)?;
        let exit = daemon.ended().await?;
        ensure!(exit.code() == Some(0), "{words:?} SIG{signal}: {exit}");
        let log = daemon.log();
        let last = log.iter().rev().take(2).rev();
        let last: Vec<_> = last.filter_map(|line| line.message()).collect();
        ensure!(last.ends_with(&["stopped"]), "{words:?}: {last:?}");
    }
    // Nor does the server go on for it.
    let gone = "select not exists (select from pg_stat_activity where datname = current_database()
        and application_name = 'auth-reconciler migrate')";
    scene.eventually(gone).await?;
    held.rollback().await?;
    scene.migrate().await
}

#[tokio::test]
async fn while_there_is_no_database_that_is_said_once_and_its_end_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let proxy = Proxy::to(scene.url()).await?;
    let url = proxy.url(scene.url())?;
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    scene.migrate().await?;
    let daemon = Daemon::spawn(&url, &["run"], &debug)?;
    daemon.wait_message(SERVING).await?;
    proxy.set(Link::Refuse).await?;
    proxy.cut_all().await?;
    let mut tries = 0;
    let again = daemon.wait_line(0, "a third vain try", |line| {
        tries += usize::from(line.is(STILL_NO_EAR));
        tries >= 3
    });
    again.await?;
    proxy.set(Link::Pass).await?;
    let over = daemon.wait_message("an ear again").await?;
    ensure!(over.level() == Some("INFO"), "{}", over.text);
    ensure!(
        over.field("failed_tries").as_u64() >= Some(3),
        "{}",
        over.text
    );
    let log = daemon.log();
    let told = log.iter().filter(|line| line.is(NO_EAR));
    let mut causes: Vec<_> = told.map(|line| line.field("error").to_string()).collect();
    let all = causes.len();
    causes.sort();
    causes.dedup();
    ensure!(
        all > 0 && causes.len() == all,
        "each cause once: {causes:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_mistake_in_the_settings_is_not_waited_out() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let no_database = connection_url::with_database(scene.url(), "no_such_database")?;
    let no_role = connection_url::with_user(scene.url(), "no_such_role", None)?;
    for (url, advice) in [
        (no_database, "check the name after the host"),
        (no_role, "the role does not exist"),
    ] {
        for words in [&["run"][..], &["run", "--migrate"]] {
            expect(&run_command(&url, words, &[]).await?, 1, &[advice])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn signals_that_mean_nothing_here_are_passed_over() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    for name in ["HUP", "USR1", "USR2"] {
        let mark = daemon.mark();
        daemon.signal(name)?;
        let told = daemon.wait_line(mark, name, |line| {
            line.text.contains("signal ignored") && line.has("signal", &format!("SIG{name}"))
        });
        told.await?;
    }
    let id = scene.instance(1).await?;
    scene.looked_at(&daemon, id).await
}

/// Ends every session of this kind of every daemon on the scene's database.
async fn end_sessions(scene: &Scene, kind: &str) -> Result<()> {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like $1";
    let pattern = format!("auth-reconciler {kind} %");
    scene.manager.execute(end, &[&pattern]).await?;
    Ok(())
}

/// Whether it is seen before the next statement is sent is a matter of luck, so there are many tries.
#[tokio::test]
async fn a_session_that_the_server_ends_is_told_with_its_cause_or_not_at_all() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(1).await?;
    scene.looked_at(&daemon, id).await?;
    let mark = daemon.mark();
    for _ in 0..30 {
        end_sessions(&scene, "pool").await?;
        scene.looked_at(&daemon, id).await?;
    }
    let lost = daemon.complaints();
    ensure!(
        lost.is_empty(),
        "the listening session was there all the time: {lost:?}"
    );
    end_sessions(&scene, "ear").await?;
    let lost = daemon.wait_message_after(mark, "lost the ear, making another");
    let lost = lost.await?;
    ensure!(lost.text.contains("administrator command"), "{}", lost.text);
    daemon.wait_message_after(mark, SERVING).await?;
    let bare = daemon.count(|line| line.text.contains("onnection error"));
    ensure!(bare == 0, "{bare} lines without a cause");
    Ok(())
}

#[tokio::test]
async fn a_standby_whose_session_the_server_ends_waits_on() -> Result<()> {
    let scene = Scene::shared().await?;
    let active = Daemon::start(&scene.database, &[]).await?;
    let standby = Daemon::spawn(scene.url(), &["run"], &[])?;
    standby.wait_message(STANDS_BY).await?;
    let waiting = "select count(*) = 1 from pg_stat_activity where datname = current_database()
        and application_name like 'auth-reconciler ear %' and wait_event = 'advisory'";
    scene.eventually(waiting).await?;
    let mark = standby.mark();
    scene
        .manager
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
             and application_name like 'auth-reconciler ear %' and wait_event = 'advisory'",
            &[],
        )
        .await?;
    standby
        .wait_message_after(
            mark,
            "cannot stand by: another process led when it was last seen",
        )
        .await?;
    standby.wait_message_after(mark, STANDS_BY).await?;
    let untrue = standby.count(|line| line.is(NO_EAR));
    ensure!(untrue == 0, "the other process hears all the time");
    active.sigkill()?;
    standby.wait_message_after(mark, SERVING).await?;
    Ok(())
}

#[tokio::test]
async fn where_sessions_are_read_only_reads_go_on_and_the_daemon_says_why_it_cannot() -> Result<()>
{
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = scene.instance(1).await?;
    let name: String = scene.value("select current_database()::text").await?;
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    scene.manager.batch_execute(&read_only).await?;
    let status = run_command(scene.url(), &["status"], &[]).await?;
    ensure!(
        status.stdout.contains(&id.to_string()),
        "{}{}",
        status.stdout,
        status.stderr
    );
    let daemon = Daemon::spawn(scene.url(), &["run"], &[])?;
    let told = daemon.wait_message(NO_EAR).await?;
    ensure!(
        told.text.contains("default_transaction_read_only"),
        "{}",
        told.text
    );
    let writable = format!("alter database {name} reset default_transaction_read_only");
    scene.manager.batch_execute(&writable).await?;
    daemon.wait_message(SERVING).await?;
    Ok(())
}

/// The settings are right as soon as it is promoted, so the daemon need not be started again.
#[tokio::test]
async fn a_standby_is_named_and_waited_for_until_it_is_promoted() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let scene = Scene::on(&cluster.url("postgres")).await?;
    scene.migrate().await?;
    cluster.stop(Stop::Fast).await?;
    cluster.start_as_standby().await?;
    let doctor = run_command(scene.url(), &["doctor"], &[]).await?;
    expect(
        &doctor,
        3,
        &["FAIL  connection", "standby, name the primary"],
    )?;
    let daemon = Daemon::spawn(scene.url(), &["run"], &[])?;
    let told = daemon.wait_message(NO_EAR).await?;
    ensure!(told.text.contains("standby"), "{}", told.text);
    let promote = "select pg_promote()";
    let operator = scene.database.client().await?;
    ensure!(operator.query_one(promote, &[]).await?.get::<_, bool>(0));
    daemon.wait_message(SERVING).await?;
    Ok(())
}

/// With the settings that everybody has: a link that swallows everything is open to the kernel, so only an echo that is
/// not heard tells.
#[tokio::test]
async fn an_ear_behind_a_link_that_swallows_everything_is_noticed_within_half_a_minute()
-> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let proxy = Proxy::for_sessions(scene.url(), "auth-reconciler ear").await?;
    let ear = proxy.url(scene.url())?;
    let settings = [("AUTH_RECONCILER_LISTEN_URL", ear.as_str())];
    let daemon = Daemon::spawn(scene.url(), &["run"], &settings)?;
    daemon.wait_message(SERVING).await?;
    let mark = daemon.mark();
    let swallowed = std::time::Instant::now();
    proxy.set(Link::BlackHole).await?;
    daemon
        .wait_message_after(mark, "lost the ear, making another")
        .await?;
    let took = swallowed.elapsed();
    // 25 s by the settings; without the echo it was a minute and more. The rest is patience with a busy machine.
    ensure!(took.as_secs() < 40, "noticed after {took:?}");
    proxy.cut_all().await?;
    proxy.set(Link::Pass).await?;
    daemon.wait_message_after(mark, SERVING).await?;
    Ok(())
}

/// Somebody keeps it closed for a while, to restore it or to rename it: no mistake in the settings.
#[tokio::test]
async fn a_database_that_takes_no_connections_is_waited_for_and_the_remedy_told() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let server = auth_reconciler_tests::database::connect(scene.database.server_url()).await?;
    let allow = |allowed: bool| {
        format!(
            "alter database {} allow_connections {allowed}",
            scene.database.name()
        )
    };
    for words in [&["run"][..], &["run", "--migrate"]] {
        server.batch_execute(&allow(false)).await?;
        let daemon = Daemon::spawn(scene.url(), words, &[])?;
        daemon
            .wait_line(0, "the remedy", |line| {
                line.text.contains("allow_connections true")
            })
            .await?;
        server.batch_execute(&allow(true)).await?;
        daemon.wait_message(SERVING).await?;
        daemon.sigterm()?;
        ensure!(daemon.ended().await?.success());
    }
    Ok(())
}
