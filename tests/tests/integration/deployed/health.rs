//! `health`: one line and an exit code for whoever restarts what is not well.

use std::panic::Location;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Output, SERVING, Setting, run_command};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::proxy::{Link, Proxy};

use crate::cli::expect;
use crate::operator::grants::Granted;
use crate::scene::{EARS, Scene};

const STANDS_BY: &str = "standing by: another process leads";

/// Of the daemon with this process number.
async fn health(url: &str, daemon: &Daemon, settings: &[Setting<'_>]) -> Result<Output> {
    let number = daemon.pid().to_string();
    run_command(url, &["health", "--process", &number], settings).await
}

/// Waits until the check exits with this code, and gives what it says then. The server learns of the end of a process a
/// moment after it.
#[track_caller]
fn becomes<'a>(
    url: &'a str,
    daemon: &'a Daemon,
    settings: &'a [Setting<'a>],
    code: i32,
) -> impl Future<Output = Result<Output>> + 'a {
    let caller = Location::caller();
    let reached = async move {
        loop {
            let output = health(url, daemon, settings).await?;
            if output.code == Some(code) {
                return Ok(output);
            }
        }
    };
    async move {
        within(
            PATIENCE,
            caller,
            &format!("health to exit with {code}"),
            reached,
        )
        .await?
    }
}

#[tokio::test]
async fn who_leads_and_who_stands_by_are_well_and_who_has_ended_is_not() -> Result<()> {
    let scene = Scene::shared().await?;
    let url = scene.url();
    expect(
        &run_command(url, &["health"], &[]).await?,
        1,
        &["no daemon has a session"],
    )?;
    let first = Daemon::start(&scene.database, &[]).await?;
    let second = Daemon::spawn(url, &["run"], &[])?;
    second.wait_message(STANDS_BY).await?;
    let (one, other) = (first.pid().to_string(), second.pid().to_string());
    expect(
        &health(url, &first, &[]).await?,
        0,
        &["leads (last statement", &format!("process {one},")],
    )?;
    expect(
        &health(url, &second, &[]).await?,
        0,
        &["stands by (last statement", &format!("process {other},")],
    )?;
    // Of this host, whichever counts most.
    let any = run_command(url, &["health"], &[]).await?;
    expect(&any, 0, &["leads"])?;
    ensure!(any.stdout.lines().count() == 1 && any.stderr.is_empty());

    first.sigkill()?;
    let gone = becomes(url, &first, &[], 1).await?;
    expect(&gone, 1, &["no daemon has a session"])?;
    second.wait_message(SERVING).await?;
    expect(&health(url, &second, &[]).await?, 0, &["leads"])
}

#[tokio::test]
async fn who_does_not_hear_or_does_not_move_is_not_well() -> Result<()> {
    let scene = Scene::shared().await?;
    let often = [
        ("AUTH_RECONCILER_ECHO_INTERVAL", "200ms"),
        ("AUTH_RECONCILER_ECHO_TIMEOUT", "2s"),
    ];
    let daemon = Daemon::start(&scene.database, &often).await?;
    let url = scene.url();
    becomes(url, &daemon, &often, 0).await?;
    daemon.signal("STOP")?;
    let frozen = becomes(url, &daemon, &often, 1).await?;
    expect(&frozen, 1, &["does not move"])?;
    // By its own settings it is early to say so.
    expect(&health(url, &daemon, &[]).await?, 0, &["leads"])?;
    let ear: i32 = scene.value(EARS).await?;
    scene
        .manager
        .execute("select pg_terminate_backend($1, 5000)", &[&ear])
        .await?;
    expect(&health(url, &daemon, &[]).await?, 1, &["hears nothing"])?;
    daemon.signal("CONT")?;
    becomes(url, &daemon, &often, 0).await?;
    Ok(())
}

#[tokio::test]
async fn that_postgres_cannot_be_asked_has_a_code_of_its_own_and_tells_no_password() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let proxy = Proxy::to(database.url()).await?;
    proxy.set(Link::Refuse).await?;
    let url = proxy.url(database.url())?;
    let secret = [("DATABASE_PASSWORD", "hunter2")];
    let output = run_command(&url, &["health"], &secret).await?;
    expect(&output, 3, &["PostgreSQL could not be asked"])?;
    ensure!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    let wrong = [("AUTH_RECONCILER_ECHO_INTERVAL", "soon")];
    expect(&run_command(&url, &["health"], &wrong).await?, 2, &["soon"])?;
    database.close().await
}

/// Also where the owner of the schema may not see the sessions of other roles.
#[tokio::test]
async fn the_daemon_s_own_role_may_ask() -> Result<()> {
    let granted = Granted::start().await?;
    let daemon = Daemon::spawn(&granted.daemon_url, &["run"], &[])?;
    daemon.wait_message(SERVING).await?;
    expect(
        &health(&granted.daemon_url, &daemon, &[]).await?,
        0,
        &["leads (last statement 0 s ago)"],
    )
}
