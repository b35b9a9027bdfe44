//! The daemon's loop: the only place where everything meets, and where nothing is decided.
//!
//! The [`controller`] of the core says what is to be done. The loop carries that out and
//! waits: for what the listener and the engine tell, for the end of a task, for the controller's deadline, or for the
//! end of the process.

use std::time::{Duration, Instant};

use auth_reconciler_core::controller::{self, Ending, Failure};
use auth_reconciler_core::follow;
use auth_reconciler_core::queue::Limits;
use deadpool_postgres::Pool;
use postgres_url::Database;
use thiserror::Error;
use tokio::task::JoinError;

use crate::postgres::schema::SchemaError;
use crate::postgres::table_name::TableName;
use crate::supervisor::Supervisor;

pub(crate) mod context;
mod daemon;
mod failure;
mod follower;
mod lead;
mod notice;
mod owed;
mod patience;
mod scan;
mod standby;
mod steps;
mod work;

use context::Context;
pub(crate) use controller::RECONNECT;
use daemon::Daemon;

/// Everything that the loop is started with.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where the ear connects.
    pub(crate) ear: Database,
    /// The way that commands take, where it is another.
    pub(crate) other_way: Option<Pool>,
    /// Tables that must be watched, as the operator named them; the daemon serves every watched one.
    pub(crate) expected_tables: Vec<TableName>,
    /// What every look is done with.
    pub(crate) context: Context,
    /// Bounds of the queue.
    pub(crate) limits: Limits,
    /// Batches of records at once.
    pub(crate) record_lanes: usize,
    /// Bounds of following output.
    pub(crate) follow: follow::Limits,
    /// Time between echoes.
    pub(crate) echo_interval: Duration,
    /// Limit for hearing one.
    pub(crate) echo_limit: Duration,
    /// Limit for finishing what is in flight.
    pub(crate) shutdown_limit: Duration,
}

/// Why the daemon ended by itself.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("could not start: {error}")]
    Start {
        error: String,
        advice: Option<&'static str>,
    },
    #[error("cannot go on: {advice}: {error}")]
    End { advice: &'static str, error: String },
    #[error("cannot go on: {0}")]
    Renamed(SchemaError),
    #[error("a task of the daemon ended unexpectedly")]
    Task(#[source] JoinError),
}

impl From<Ending> for RunError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::NotStarted(Failure { error, advice, .. }) => Self::Start { error, advice },
            Ending::CannotGoOn { advice, failure } => Self::End {
                advice,
                error: failure.error,
            },
        }
    }
}

impl RunError {
    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Start { advice, .. } => *advice,
            Self::Renamed(error) => error.advice(),
            // It is in the text already.
            Self::End { .. } | Self::Task(_) => None,
        }
    }
}

/// Serves until `shutdown` resolves, and tells `supervisor` how it goes.
///
/// # Errors
/// It could not start, or cannot go on; the error carries the remedy.
pub(crate) async fn serve(
    options: Options,
    supervisor: Supervisor,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut daemon = Daemon::new(options, supervisor);
    tokio::pin!(shutdown);
    loop {
        if let Err(error) = daemon.dispatch() {
            return Err(daemon.explained(error).await);
        }
        let deadline = daemon.deadline();
        tokio::select! {
            () = &mut shutdown => break,
            news = daemon.link.news() => daemon.on_news(news),
            Some(done) = daemon.jobs.join_next() => daemon.on_done(done)?,
            () = daemon.supervisor.beat() => {}
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
        }
    }
    daemon.finish().await;
    Ok(())
}
