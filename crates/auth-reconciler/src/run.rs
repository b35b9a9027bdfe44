//! The daemon's loop: the only place where everything meets.
//!
//! Phases: *connecting* (an ear is being made, or stands by for the lock) and *leading*. Losing the
//! ear is an event like any other: all that was queued is dropped, a new ear is made, and the resync
//! after it finds everything again in the database. Looks under way end by themselves; what they
//! record is refused if another process has taken over meanwhile.
//!
//! Nothing here waits for anything but events: the one timer is the queue's next deadline or the
//! next echo, whichever comes first.

use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::follow;
use auth_reconciler_core::queue::Limits;
use postgres_url::Database;
use thiserror::Error;
use tokio::task::{JoinError, JoinHandle};
use uuid::Uuid;

use crate::docker::sightings::Seen;
use crate::postgres::ear::EarError;
use crate::postgres::error::StoreError;
use crate::postgres::inbox::Heard;
use crate::postgres::table_name::TableName;
use crate::postgres::tables::{Fault, Key};

mod containers;
mod daemon;
mod lead;
pub(crate) mod look;
mod news;
mod patience;
mod scan;
mod standby;
mod troubles;

use daemon::Daemon;
use daemon::owed::Round;
pub(crate) use lead::LeadError;
use lead::Leader;
use look::{Context, End};
use scan::Backlog;

/// Steps between tries to get a connection.
pub(crate) const RECONNECT: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(15),
};

/// Everything that the loop is started with.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where the ear connects.
    pub(crate) ear: Database,
    /// Tables that must be watched, as the operator named them; the daemon serves every watched one.
    pub(crate) expected_tables: Vec<TableName>,
    /// What every look is done with.
    pub(crate) context: Context,
    /// Bounds of the queue.
    pub(crate) limits: Limits,
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
    #[error("could not start")]
    Start(#[source] Box<LeadError>),
    #[error("cannot go on: {advice}")]
    End {
        advice: &'static str,
        #[source]
        source: Box<LeadError>,
    },
    #[error("a task of the daemon ended unexpectedly")]
    Task(#[source] JoinError),
}

impl RunError {
    /// The failure itself if it may pass, else the end that follows from it.
    fn unless_passing(failure: StoreError) -> Result<StoreError, Self> {
        match failure.end() {
            Some(advice) => Err(Self::End {
                advice,
                source: Box::new(failure.into()),
            }),
            None => Ok(failure),
        }
    }

    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Start(error) => error.advice(),
            // It is in the text already.
            Self::End { .. } | Self::Task(_) => None,
        }
    }
}

/// What a job of the loop brought back.
enum Done {
    Looked {
        key: Key,
        /// The term in which it began; it may have ended since.
        epoch: Uuid,
        result: Option<Result<End, StoreError>>,
    },
    Scanned {
        epoch: Uuid,
        /// Every row was to be looked at, and looks at them are not owed yet.
        every_row: bool,
        result: Result<Backlog, StoreError>,
    },
    Compared {
        epoch: Uuid,
        result: Result<Vec<(Key, Cause)>, StoreError>,
    },
    /// A piece of each work that is owed.
    WorkedOff {
        epoch: Uuid,
        result: Result<Round, StoreError>,
    },
    /// Instances that count as ready.
    Ready {
        epoch: Uuid,
        result: Result<Vec<Key>, StoreError>,
    },
    Noted {
        epoch: Uuid,
        result: Result<(), StoreError>,
    },
    NotedTrouble {
        epoch: Uuid,
        note: troubles::Note,
        result: Result<(), StoreError>,
    },
    Echoed {
        epoch: Uuid,
        result: Result<Vec<Fault>, EarError>,
    },
}

enum Phase {
    /// The handle of the task that makes an ear.
    Connecting(JoinHandle<Result<Leader, LeadError>>),
    /// The ear, and what belongs to this term.
    Leading(Box<Leader>),
}

/// Serves until `shutdown` resolves.
///
/// # Errors
/// It could not start, or cannot go on; the error carries the remedy.
pub(crate) async fn serve(
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut daemon = Daemon::new(options);
    tokio::pin!(shutdown);
    loop {
        daemon.dispatch();
        let deadline = daemon.deadline();
        tokio::select! {
            () = &mut shutdown => break,
            event = next_event(&mut daemon.phase) => daemon.on_event(event)?,
            Some(done) = daemon.jobs.join_next() => daemon.on_done(done)?,
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
        }
    }
    daemon.finish().await;
    Ok(())
}

/// What the current phase waits for.
enum Event {
    Connected(Result<Result<Leader, LeadError>, JoinError>),
    Heard(Heard),
    Seen(Seen),
}

async fn next_event(phase: &mut Phase) -> Event {
    match phase {
        Phase::Connecting(task) => Event::Connected(task.await),
        Phase::Leading(leader) => {
            let Some(watch) = &leader.containers.watch else {
                return Event::Heard(leader.inbox.fetch().await);
            };
            tokio::select! {
                heard = leader.inbox.fetch() => Event::Heard(heard),
                seen = watch.sightings().fetch() => Event::Seen(seen),
            }
        }
    }
}
