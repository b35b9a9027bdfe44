//! auth-reconciler: keeps the `auth_status` column of a fleet of messaging instances true, by events.
//!
//! The crate is thin: [`settings`] turns what the operator said into values,
//! [`postgres`] and [`probe`] act, [`run`] is the loop in which they meet, and every decision is made
//! in `auth-reconciler-core`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info, warn};

use crate::command::Unwritten;
use crate::docker::Engine;
use crate::exit::Exit;
use crate::postgres::watcher::WatcherError;
use crate::postgres::{direct, pool, schema};
use crate::run::context::Context;
use crate::run::{Options, RunError};
use crate::settings::{
    Command, Misspelt, Pages, RunSettings, Settings, SettingsError, Told, misspelt,
};
use crate::supervisor::Supervisor;

mod clock;
mod command;
mod docker;
mod exit;
mod mailbox;
mod postgres;
mod probe;
#[cfg(test)]
mod problem;
mod run;
mod settings;
mod supervisor;
mod telemetry;
mod witness;

fn main() -> ExitCode {
    let exit = match Told::load() {
        Ok(Told::Work(settings)) => work(&settings),
        Ok(Told::Pages(pages)) => print(&pages),
        Err(error) => refuse(&error),
    };
    exit.into()
}

fn work(settings: &Settings) -> Exit {
    if let Err(error) = telemetry::start(settings.log_format) {
        command::complain(format_args!("error: {error}"));
        return Exit::Settings;
    }
    tell_misspelt();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            command::complain(format_args!("error: could not start the runtime: {error}"));
            return Exit::Trouble;
        }
    };
    let outcome = runtime.block_on(execute(settings));
    // Not waited for: the look-up of a name that no probe waits for any more may take as long
    // as the name servers are slow, and the end of the process ends it.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        // The one place where a chain of errors is printed.
        command::complain(format_args!("error: {}", telemetry::chain(error.as_ref())));
        if let Some(advice) = advice(&error) {
            command::complain(format_args!("  -> {advice}"));
        }
        exit_after(&settings.command, &error)
    })
}

/// What a command that ended with an error leaves unknown or undone.
fn exit_after(command: &Command, error: &anyhow::Error) -> Exit {
    let unanswered = error.chain().any(|cause| {
        cause.is::<Unwritten>()
            || cause
                .downcast_ref::<schema::SchemaError>()
                .is_some_and(schema::SchemaError::is_of_the_way)
    });
    match command {
        // They only ask, so without an answer nothing is known, whatever the reason.
        Command::Status { .. } | Command::Watch(_) | Command::Health(_) | Command::Doctor(_) => {
            Exit::Unanswered
        }
        Command::Migrate { .. } | Command::Uninstall(_) if unanswered => Exit::Unanswered,
        // A daemon that ends has waited for what passes.
        Command::Migrate { .. } | Command::Uninstall(_) | Command::Run(_) => Exit::Trouble,
    }
}

/// Ends as command lines do: help and version on standard output, a mistake on standard error.
fn refuse(error: &SettingsError) -> Exit {
    let SettingsError::CommandLine(error) = error else {
        command::complain(format_args!("error: {}", telemetry::chain(error)));
        return Exit::Settings;
    };
    match error.print() {
        // A mistake stays one, whether or not anybody reads of it.
        _ if error.use_stderr() => Exit::Settings,
        Ok(()) => Exit::Well,
        Err(error) => unwritten(&error),
    }
}

/// A variable that nobody heeds would be found by nobody.
fn tell_misspelt() {
    for Misspelt { name, nearest } in misspelt(std::env::vars_os().map(|(name, _)| name)) {
        warn!(
            name,
            nearest, "no setting has this name, so it is not heeded"
        );
    }
}

fn print(pages: &Pages) -> Exit {
    match pages.write() {
        Ok(()) => Exit::Well,
        Err(error) => unwritten(&error),
    }
}

fn unwritten(error: &std::io::Error) -> Exit {
    command::complain(format_args!("error: could not write: {error}"));
    Exit::Unanswered
}

async fn execute(settings: &Settings) -> anyhow::Result<Exit> {
    let database = &settings.database;
    match &settings.command {
        Command::Migrate {
            into_publication,
            dry_run: true,
        } => {
            let tables = &settings.tables;
            let script = schema::dry_run::script(database, tables, *into_publication).await?;
            command::say(script.trim_end())?;
            Ok(Exit::Well)
        }
        Command::Migrate {
            into_publication,
            dry_run: false,
        } => {
            for line in schema::migrate(database, &settings.tables, *into_publication).await? {
                command::say(line)?;
            }
            Ok(Exit::Well)
        }
        Command::Run(run) => run_daemon(settings, run).await.map(|()| Exit::Well),
        Command::Status { shown, json } => command::status::show(database, *shown, *json).await,
        Command::Watch(watch) => {
            command::watch::follow(database, watch).await?;
            Ok(Exit::Well)
        }
        Command::Doctor(run) => Ok(command::doctor::examine(settings, run).await?),
        Command::Health(health) => Ok(command::health::check(database, health).await?),
        Command::Uninstall(consent) => {
            let done = command::uninstall::uninstall(database, *consent).await?;
            Ok(if done { Exit::Well } else { Exit::Trouble })
        }
    }
}

async fn run_daemon(settings: &Settings, run: &RunSettings) -> anyhow::Result<()> {
    pass_over_signals()?;
    // From the first wait on, so that a daemon that does not serve yet ends as well as one that does.
    let stop = asked_to_stop()?;
    tokio::pin!(stop);
    let mut supervisor = Supervisor::of_environment();
    if run.migrate {
        tokio::select! {
            () = &mut stop => {
                supervisor.stops(run.shutdown_timeout);
                info!("stopped");
                return Ok(());
            }
            done = migrate_when_there(settings, run.into_publication) => {
                for done in done? {
                    info!(done, "migrated");
                }
            }
            () = supervisor.keep_waiting("migrates, or waits until the database can be migrated") => {}
        }
    }
    serve(settings, run, supervisor, stop).await
}

/// Signals that mean something to other programs and would end this one.
fn pass_over_signals() -> anyhow::Result<()> {
    for (kind, name) in [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ] {
        let mut signals = signal(kind).with_context(|| format!("could not wait for {name}"))?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                info!(
                    signal = name,
                    "signal ignored: settings are read at the start; SIGTERM ends the daemon"
                );
            }
        });
    }
    Ok(())
}

/// Resolves, and says so, when an operator or an init system wants the program to end.
fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("could not wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!(signal = "SIGTERM", "asked to stop"),
            _ = interrupt.recv() => info!(signal = "SIGINT", "asked to stop"),
        }
    })
}

/// A database that is not there yet is waited for, as the daemon does later; what no wait mends is an error.
async fn migrate_when_there(
    settings: &Settings,
    into_publication: bool,
) -> Result<Vec<String>, schema::SchemaError> {
    let mut failures = 0;
    let mut told = String::new();
    loop {
        let done = schema::migrate(&settings.database, &settings.tables, into_publication).await;
        let Some(failure) = done.as_ref().err().filter(|failure| failure.may_pass()) else {
            return done;
        };
        let wait = run::RECONNECT.delay(failures, fastrand::f64());
        failures = failures.saturating_add(1);
        let error = telemetry::chain(failure);
        let advice = failure.advice();
        // Each reason once, not with each try; what one advice mends is one, in whatever words.
        let cause = advice.unwrap_or(&error).to_owned();
        if told == cause {
            debug!(error, retry_in = ?wait, "the database still cannot be migrated");
        } else {
            warn!(error, advice, retry_in = ?wait, "the database cannot be migrated yet: waiting for it");
            told = cause;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn serve(
    settings: &Settings,
    run: &RunSettings,
    supervisor: Supervisor,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        database = settings.database.describe(),
        probe_url = %run.prober.url,
        "starting"
    );
    for ignored in settings.database.ignored() {
        info!(
            key = ignored.key,
            reason = ignored.reason,
            "key of the database url not used"
        );
    }
    run::serve(options(settings, run)?, supervisor, stop).await?;
    Ok(())
}

/// The engine to ask, if one is.
fn engine(run: &RunSettings) -> anyhow::Result<Option<Arc<Engine>>> {
    let Some(address) = run.docker.engine.address() else {
        info!(
            "no container engine: statuses follow rows and APIs alone; name one with AUTH_RECONCILER_DOCKER"
        );
        return Ok(None);
    };
    info!(engine = %address, "containers are followed");
    Ok(Some(Engine::new(address, run.docker.labels.clone())?))
}

fn options(settings: &Settings, run: &RunSettings) -> anyhow::Result<Options> {
    // All sessions of the daemon go this way; the other one, where it is another, only has to lead to the same database.
    let database = run.listen.as_ref().unwrap_or(&settings.database);
    let Sessions {
        beside,
        reads,
        records,
    } = Sessions::of(run.pool_size);
    let sessions = direct::open(database, reads + records)?;
    let other_way = run.listen.as_ref().map(|_| &settings.database);
    Ok(Options {
        ear: database.clone(),
        other_way: other_way
            .map(|other| pool::open(other, 1, pool::Session::Command))
            .transpose()?,
        expected_tables: settings.tables.clone(),
        context: Context {
            engine: engine(run)?,
            pool: pool::open(database, beside, pool::Session::Pool)?,
            sessions,
            prober: run.prober.clone(),
            policy: run.policy,
            record: run.record,
        },
        limits: run.limits,
        record_lanes: records,
        follow: run.docker.follow,
        echo_interval: run.echo_interval,
        echo_limit: run.echo_timeout,
        shutdown_limit: run.shutdown_timeout,
    })
}

/// What the connections are for.
#[derive(Debug, PartialEq, Eq)]
struct Sessions {
    /// What is done beside the looks.
    beside: usize,
    /// Reads; with none of their own they take turns with the records.
    reads: usize,
    /// Records: one, and those that take long.
    records: usize,
}

impl Sessions {
    /// Of so many. At least one of two is for what is done beside, as a look is never to wait for it.
    fn of(pool_size: usize) -> Self {
        let records = pool_size.saturating_sub(3).clamp(1, 3);
        let reads = usize::from(pool_size > 2);
        Self {
            beside: pool_size.saturating_sub(reads + records).max(1),
            reads,
            records,
        }
    }
}

/// What the operator is to do about an error that ended the program, if it is known.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<RunError>() {
            return error.advice();
        }
        if let Some(error) = cause.downcast_ref::<WatcherError>() {
            return error.advice();
        }
        if let Some(error) = cause.downcast_ref::<schema::SchemaError>() {
            return error.advice();
        }
        cause
            .downcast_ref::<postgres::error::StoreError>()
            .and_then(postgres::error::StoreError::advice)
    })
}

#[cfg(test)]
mod tests {
    use super::Sessions;

    #[test]
    fn who_is_given_few_connections_records_one_batch_at_a_time_and_nobody_is_left_without() {
        for (pool_size, [beside, reads, records]) in [
            (1, [1, 0, 1]),
            (2, [1, 0, 1]),
            (3, [1, 1, 1]),
            (4, [2, 1, 1]),
            (5, [2, 1, 2]),
            (6, [2, 1, 3]),
            (256, [252, 1, 3]),
        ] {
            let expected = Sessions {
                beside,
                reads,
                records,
            };
            assert_eq!(Sessions::of(pool_size), expected, "{pool_size}");
        }
    }
}
