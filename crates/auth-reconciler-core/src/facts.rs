//! What a decision may look at: one row, one moment, all read after the event that asked for it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::container::{Container, Sighting};
use crate::corrections::Corrections;
use crate::key::{ApiKey, KeyFault};
use crate::{AuthStatus, Cause, Reason};

pub(crate) mod columns;

/// Everything that one decision is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What is to be recorded of it.
    pub sighting: Option<Sighting>,
    /// Whether the engine has ever shown a container of an instance of ours. One that has not may be the
    /// wrong one: its silence about a container says nothing.
    pub engine_has_shown_ours: bool,
    /// What is known of our own way to the APIs.
    pub way: Way,
    /// Whether output of this very container leads to looks at the moment, so that readiness needs no
    /// clock to be found.
    pub followed: bool,
    /// An operator told us to leave the instance alone: who, and why.
    pub paused: Option<String>,
}

/// What the other instances' answers say of our own way to the APIs. All by the database's clock; times are
/// of the process that asks, so that nothing of it survives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// When another instance was last answered in the words of its profile.
    pub witness_at: Option<DateTime<Utc>>,
    /// When the last round of asking others for their word began that has ended.
    pub asked_at: Option<DateTime<Utc>>,
    /// Fewer than three instances count as ready, so there may be no witness, and this process was answered
    /// through the same way before.
    pub few: bool,
    /// Since when nobody answers who could be a witness: until then we are as if we were not there.
    pub doubt_since: Option<DateTime<Utc>>,
    /// Streaks of silence and errors that began before prove nothing: the way was at fault, or may have been.
    pub void_until: Option<DateTime<Utc>>,
    /// When another instance was last answered that its key is refused.
    pub refused_at: Option<DateTime<Utc>>,
    /// When the last doubt ended.
    pub doubt_ended: Option<DateTime<Utc>>,
}

/// One row of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the change was, by the word in the log.
    pub cause: Cause,
    /// When the statement that changed it ran, by the database's clock.
    pub at: DateTime<Utc>,
}

/// The watched row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `provider` as it stands in the row.
    pub provider: Option<String>,
    /// Whether `type_instance` is absent, null or holds `api`.
    pub serves_api: bool,
    /// `api_key`: absent, unusable or usable.
    pub api_key: Result<Option<ApiKey>, KeyFault>,
    /// `port_api` as it stands in the row, in range or not.
    pub port: Option<i64>,
    /// `auth_status` as it was written last, whoever wrote it.
    pub auth_status: Option<String>,
    /// The database has put that write aside, so that the column does not show it: somebody else's, over a
    /// verdict of ours.
    pub put_aside: bool,
}

impl Row {
    /// Whether the row has a key, usable or not. This, never the key, may be logged.
    #[must_use]
    pub const fn has_api_key(&self) -> bool {
        !matches!(self.api_key, Ok(None))
    }
}

/// The part of our own `instance` row that decisions build on and verdicts fill. Its fields are written and read under
/// the names of the columns, so a fact that is to be remembered is a field here and a column there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recorded {
    /// The verdict; `None` when hands are off the instance, or when a newer version wrote a word that this one does not
    /// know.
    #[serde(rename = "auth_status", deserialize_with = "columns::status")]
    pub status: Option<AuthStatus>,
    /// Its reason; `None` when a newer version wrote one that this version does not know.
    #[serde(
        serialize_with = "columns::write_reason",
        deserialize_with = "columns::reason"
    )]
    pub reason: Option<Reason>,
    /// Last READY of the API since the instance began anew.
    pub ready_at: Option<DateTime<Utc>>,
    /// Last time the instance began anew, or its account was written.
    pub started_at: Option<DateTime<Utc>>,
    /// Last write of `account`.
    pub account_at: Option<DateTime<Utc>>,
    /// Looks since the last final state or beginning; the exponent of the backoff.
    #[serde(deserialize_with = "columns::count")]
    pub attempts: u32,
    /// Answers of the same kind in a row that were no READY.
    #[serde(deserialize_with = "columns::count")]
    pub misses: u32,
    /// When that streak began.
    pub first_miss_at: Option<DateTime<Utc>>,
    /// When the API said for the first time in this life of the instance that it is not connected or that its provider
    /// has an error. Silence since leaves it; only a good answer or another life ends it.
    pub not_ready_since: Option<DateTime<Utc>>,
    /// Whether an answer or the engine's word stands behind the status. One that merely repeats what
    /// somebody else wrote is not established.
    #[serde(deserialize_with = "columns::or_default")]
    pub established: bool,
    /// The correction budget.
    #[serde(flatten)]
    pub corrections: Corrections,
    /// When it is looked at again without an event; `None` when it was final.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The container that it was computed from.
    #[serde(flatten, deserialize_with = "columns::sighting")]
    pub sighting: Option<Sighting>,
}

impl Facts {
    /// Whether somebody else wrote `auth_status` since the last look.
    #[must_use]
    pub fn foreign(&self) -> bool {
        self.changes
            .iter()
            .any(|change| change.cause == Cause::Drift)
    }

    /// How often somebody else wrote `auth_status` since the last look.
    #[must_use]
    pub fn foreign_writes(&self) -> usize {
        let foreign = |change: &&Change| change.cause == Cause::Drift;
        self.changes.iter().filter(foreign).count()
    }

    /// What `auth_status` says, where that is a word of its vocabulary.
    #[must_use]
    pub fn said(&self) -> Option<AuthStatus> {
        let text = self.row.as_ref()?.auth_status.as_deref()?;
        AuthStatus::parse(text)
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

    /// Something else than foreign writes asked for this look, its container for one: a hold does not put it off.
    pub fn lift_hold(&mut self) {
        if self.only_foreign()
            && let Some(recorded) = &mut self.recorded
        {
            recorded.corrections.hold_until = None;
        }
    }

    /// Whether an operator asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.changes
            .iter()
            .any(|change| change.cause == Cause::Operator)
    }

    /// Whether the container that is seen has never run: where it is not merely made, its start has failed.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        self.sighting
            .as_ref()
            .is_some_and(|seen| seen.started_at.is_none())
    }

    /// Whether the container runs and its start is news: another one than the recorded one, or the first.
    #[must_use]
    pub fn started(&self) -> bool {
        let known = self
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.sighting.as_ref());
        match (self.container, &self.sighting) {
            (Container::Running, Some(now)) => known.is_none_or(|known| !known.same_life(now)),
            (
                Container::Running
                | Container::Unknown
                | Container::NeverSeen
                | Container::Created
                | Container::Paused
                | Container::Stopped { .. }
                | Container::Removed,
                _,
            ) => false,
        }
    }

    /// Whether the process that the recorded verdict was about has ended: the container runs, and was
    /// started again or made anew since.
    #[must_use]
    pub fn restarted(&self) -> bool {
        let known = self
            .recorded
            .as_ref()
            .is_some_and(|recorded| recorded.sighting.is_some());
        known && self.started()
    }

    /// Whether something is new of the instance itself: its row, its container, or an operator's wish.
    #[must_use]
    pub fn news(&self) -> bool {
        self.began_anew().is_some()
            || self.account_written().is_some()
            || self.asked()
            || self.started()
    }

    /// Whether the look came before the recorded deadline and nothing is new: somebody wrote the
    /// column, or the container said something. Such a look brings news if the answer does, and
    /// otherwise leaves patience and deadline as they are; else a talkative container would use up
    /// in a second what is meant to last for minutes.
    #[must_use]
    pub fn early(&self) -> bool {
        let due = self
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.next_attempt_at);
        due.is_some_and(|due| due > self.now) && !self.news()
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

#[cfg(test)]
pub(crate) mod tests;
