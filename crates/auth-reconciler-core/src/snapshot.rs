//! One read of an instance: what a decision is made from, and what its record is fenced with.

use std::time::Duration;

use uuid::Uuid;

use crate::controller::ChangeSet;
use crate::facts::Facts;
use crate::{Cause, backoff};

/// One instance as it was read, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What a decision may look at. The container and what is known of our own way come to it after the read.
    pub facts: Facts,
    /// Ids of the changes that a record of it answers for, in their order.
    pub changes: Vec<i64>,
    /// Those of them that no look has put off.
    pub unread: Vec<i64>,
    /// Version of our row that was read; `None` when there was none.
    pub version: Option<Uuid>,
    /// Number of the last change of this instance, ever.
    pub generation: i64,
    /// The pause that was recorded when the status could not be written last time.
    pub unwritable_for: Option<Duration>,
}

impl Snapshot {
    /// Whether there is no such row, and never was one that anybody noticed.
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        self.facts.row.is_none() && self.version.is_none() && self.changes.is_empty()
    }

    /// Its changes, told from any other set of them.
    #[must_use]
    pub fn change_set(&self) -> ChangeSet {
        ChangeSet::of(&self.changes)
    }

    /// When to try again should the table refuse the status.
    #[must_use]
    pub fn unwritable_retry(&self) -> Duration {
        backoff::after_refusal(self.unwritable_for)
    }

    /// The greatest cause among its changes, else the one that woke it.
    #[must_use]
    pub fn cause(&self, woken: Cause) -> Cause {
        let changes = self.facts.changes.iter();
        changes.map(|change| change.cause).max().unwrap_or(woken)
    }
}
