//! Replays the recorded incident at its real pace against the real daemon, and measures how the story ends now.
//!
//! The manager is played in this process; its writes go to a table of the manager's layout in a schema of its own
//! (`auth_reconciler_demo`), so nobody's real table is touched. The instance is a real container where there is an engine
//! (`--docker`), else it is played here, too. The daemon is the real binary as a child process; it gets the database by environment, never by argument.
//!
//! `DATABASE_URL` names the database; `AUTH_RECONCILER_BIN` the daemon if it is not beside this program. With `--once`
//! the program ends after the report, else it keeps the daemon running until SIGINT or SIGTERM. Exit code 0 means that
//! the daemon did better than the manager with its fix.

mod actor;
mod incident;
mod play;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use auth_reconciler_tests::daemon::{
    DOCKER, Daemon, SERVING, Setting, run_command, without_secrets,
};
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::manager::ManagerTable;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use crate::actor::Actor;

const SCHEMA: &str = "auth_reconciler_demo";
const TABLE: &str = "auth_reconciler_demo.message_instances";

const SETTINGS: [Setting<'static>; 2] = [
    ("AUTH_RECONCILER_TABLE", TABLE),
    (
        "RUST_LOG",
        "info,auth_reconciler=debug,auth_reconciler_core=debug",
    ),
];

const USAGE: &str = "usage: replay [--once] [--psql LINE] [--docker URL]

  --once        end after the report: exit code 0 if all went well, else 1
  --psql LINE   what to print as the command for looking around, instead of psql with the connection of DATABASE_URL
  --docker URL  the instance is a real container on this engine (unix://...), instead of being played here

environment: DATABASE_URL (required), AUTH_RECONCILER_BIN";

#[derive(Default)]
struct Arguments {
    once: bool,
    psql: Option<String>,
    docker: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<ExitCode> {
    let mut arguments = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--once" => arguments.once = true,
            "--psql" => arguments.psql = Some(given.next().context(USAGE)?),
            "--docker" => arguments.docker = Some(given.next().context(USAGE)?),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            _ => bail!("`{argument}` is not understood\n{USAGE}"),
        }
    }
    // From the beginning, so that no signal can end this program without its ending the daemon.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let Replayed {
        daemon,
        actor,
        code,
    } = tokio::select! {
        replayed = replay(&arguments) => replayed?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    };
    if !arguments.once {
        println!("\nThe daemon keeps running; Ctrl-C ends it.");
        tokio::select! {
            // Ctrl-C in a terminal reaches both; only then does the daemon end well by itself.
            exit = daemon.exit() => if !exit.success() {
                bail!("the daemon ended by itself ({exit})");
            },
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    daemon.sigterm()?;
    daemon.ended().await?;
    drop(actor);
    Ok(code)
}

/// How the replay went, and what is still at work.
struct Replayed {
    daemon: Daemon,
    actor: Actor,
    code: ExitCode,
}

async fn replay(arguments: &Arguments) -> Result<Replayed> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let look_around = match &arguments.psql {
        Some(line) => line.clone(),
        None => psql_line(&url)?,
    };
    let table = ManagerTable::message_instances_named(TABLE);
    let client = connect(&url).await?;
    unpublished(&client).await?;
    client
        .batch_execute(&format!("create schema if not exists {SCHEMA}"))
        .await?;
    table.create(&client).await?;
    // What an earlier replay left.
    client
        .batch_execute(&format!("delete from {TABLE}"))
        .await?;

    let actor = Actor::prepare(arguments.docker.as_deref(), &url, TABLE).await?;

    let migrated = run_command(&url, &["migrate"], &SETTINGS).await?;
    if migrated.code != Some(0) {
        bail!(
            "auth-reconciler migrate failed:\n{}",
            without_secrets(&migrated.stderr, &url, &SETTINGS)
        );
    }
    let mut settings = SETTINGS.to_vec();
    settings.push((DOCKER, arguments.docker.as_deref().unwrap_or("off")));
    let daemon = Daemon::spawn(&url, &["run"], &settings)?;
    daemon
        .wait_message(SERVING)
        .await
        .context("the daemon does not serve; does another one already serve this database?")?;

    println!("Replaying the incident of 24 July 2025 at its real pace (12 s)");
    println!("{}\n", actor.introduction());
    let (measured, actor) = play::play(&url, &client, &table, &daemon, actor).await?;
    println!("\n{}\n", measured.table());
    let failures = measured.failures();
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    if failures.is_empty() {
        println!("auth_status was true again each time, by itself.");
    }
    println!("\nLook around:\n  {look_around}");

    let code = if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    Ok(Replayed {
        daemon,
        actor,
        code,
    })
}

/// Checks that no publication would take in the table of the replay, which stops a subscriber that lacks it.
async fn unpublished(client: &Client) -> Result<()> {
    let publications = "select string_agg(p.pubname, ', ') from pg_catalog.pg_publication as p where p.puballtables";
    let found: Option<String> = client.query_one(publications, &[]).await?.try_get(0)?;
    if let Some(found) = found {
        bail!(
            "this database publishes all tables ({found}), and a subscriber without {TABLE} would stop replicating: \
             unset DATABASE_URL for a private server, or name another database"
        );
    }
    Ok(())
}

/// The command for looking around; it never holds a password.
fn psql_line(url: &str) -> Result<String> {
    let config: Config = url.parse().context("DATABASE_URL cannot be read")?;
    let mut line = "psql".to_owned();
    let mut add = |option: &str, value: &str| line.push_str(&format!(" {option} {value}"));
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => add("-h", host),
        Some(Host::Unix(path)) => add("-h", &path.display().to_string()),
        None => {}
    }
    if let Some(port) = config.get_ports().first() {
        add("-p", &port.to_string());
    }
    if let Some(user) = config.get_user() {
        add("-U", user);
    }
    if let Some(database) = config.get_dbname() {
        add("-d", database);
    }
    line.push_str(" -c 'select * from auth_reconciler.status'");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_psql_line_holds_no_password() -> Result<()> {
        let line = psql_line("postgres://me:secret@db.example:5433/prod?application_name=x")?;
        assert_eq!(
            line,
            "psql -h db.example -p 5433 -U me -d prod -c 'select * from auth_reconciler.status'"
        );
        Ok(())
    }
}
