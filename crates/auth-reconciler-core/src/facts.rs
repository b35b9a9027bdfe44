//! What a decision may look at: one row, one moment, all read after the event that asked for it.

use chrono::{DateTime, Utc};

use crate::corrections::Corrections;
use crate::key::{ApiKey, KeyFault};
use crate::{AuthStatus, Cause, Reason};

/// Everything that one decision is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The database's time when the rest was read. Ages are computed against it alone, so the
    /// daemon's clock does not matter.
    pub now: DateTime<Utc>,
    /// The watched row; `None` when there is none.
    pub row: Option<Row>,
    /// The changes of this instance in the change log that this run will answer for.
    pub changes: Vec<Change>,
    /// What the last accepted record says, if there is one.
    pub recorded: Option<Recorded>,
    /// The instance's container.
    pub container: Container,
    /// An operator told us to leave the instance alone: who, and why.
    pub paused: Option<String>,
}

/// One row of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changed.
    pub cause: Cause,
    /// When the statement that changed it ran, by the database's clock.
    pub at: DateTime<Utc>,
}

/// The watched row.
#[derive(Clone, Debug)]
pub struct Row {
    /// `provider`.
    pub provider: Option<String>,
    /// Whether `type_instance` is absent, null or holds `api`.
    pub serves_api: bool,
    /// `api_key`: absent, unusable or usable.
    pub api_key: Result<Option<ApiKey>, KeyFault>,
    /// `port_api`.
    pub port: Option<i64>,
    /// `auth_status` as it stands now, whoever wrote it.
    pub auth_status: Option<String>,
}

impl Row {
    /// Whether the row has a key, usable or not. This, never the key, may be logged.
    #[must_use]
    pub const fn has_api_key(&self) -> bool {
        !matches!(self.api_key, Ok(None))
    }
}

/// The part of our own `instance` row that decisions build on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The verdict; `None` when hands are off the instance.
    pub status: Option<AuthStatus>,
    /// Its reason; `None` when a newer version wrote one that this version does not know.
    pub reason: Option<Reason>,
    /// Last READY of the API since the instance began anew.
    pub ready_at: Option<DateTime<Utc>>,
    /// Last time the instance began anew, or its account was written.
    pub started_at: Option<DateTime<Utc>>,
    /// Last write of `account`.
    pub account_at: Option<DateTime<Utc>>,
    /// Looks since the last final state or beginning; the exponent of the backoff.
    pub attempts: u32,
    /// Answers of the same kind in a row that were no READY.
    pub misses: u32,
    /// When that streak began.
    pub first_miss_at: Option<DateTime<Utc>>,
    /// The correction budget.
    pub corrections: Corrections,
}

/// The state of an instance's container. Without an engine it is [`Container::Unknown`], which never
/// makes a good status bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// No engine, or out of its reach.
    Unknown,
    /// The engine is in reach and has never shown a container of this instance.
    NeverSeen,
    /// It runs.
    Running {
        /// Since when, by the engine's clock.
        since: DateTime<Utc>,
    },
    /// It is paused.
    Paused,
    /// It exited or is dead.
    Stopped {
        /// The exit code.
        exit_code: i64,
        /// Killed by the kernel for its memory.
        out_of_memory: bool,
    },
    /// It was there and is gone.
    Removed,
}

impl Facts {
    /// Whether somebody else wrote `auth_status` since the last look.
    #[must_use]
    pub fn foreign(&self) -> bool {
        self.changes
            .iter()
            .any(|change| change.cause == Cause::Drift)
    }

    /// Whether foreign writes are all that happened.
    #[must_use]
    pub fn only_foreign(&self) -> bool {
        !self.changes.is_empty()
            && self
                .changes
                .iter()
                .all(|change| change.cause == Cause::Drift)
    }

    /// Whether an operator asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.changes
            .iter()
            .any(|change| change.cause == Cause::Operator)
    }

    /// The last moment at which the instance began anew, known from the changes of this run alone.
    #[must_use]
    pub fn began_anew(&self) -> Option<DateTime<Utc>> {
        self.last_change(Cause::begins_anew)
    }

    /// The last write of `account` among the changes of this run.
    #[must_use]
    pub fn account_written(&self) -> Option<DateTime<Utc>> {
        self.last_change(|cause| cause == Cause::Account)
    }

    fn last_change(&self, wanted: impl Fn(Cause) -> bool) -> Option<DateTime<Utc>> {
        self.changes
            .iter()
            .filter(|change| wanted(change.cause))
            .map(|change| change.at)
            .max()
    }
}
