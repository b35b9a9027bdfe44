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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{row, with};

    fn read(there: bool, recorded: bool, changes: &[i64]) -> Snapshot {
        let mut facts = with(&[]);
        facts.row = there.then(|| row(None));
        Snapshot {
            facts,
            changes: changes.to_vec(),
            unread: changes.to_vec(),
            version: recorded.then(|| Uuid::from_u128(1)),
            generation: 0,
            unwritable_for: None,
        }
    }

    /// Without a row, a record and a change there is nothing that anybody could answer for.
    #[test]
    fn only_where_there_is_nothing_at_all_it_is_of_nothing() {
        assert!(read(false, false, &[]).is_of_nothing());
        assert!(!read(true, false, &[]).is_of_nothing());
        assert!(!read(false, true, &[]).is_of_nothing());
        assert!(!read(false, false, &[1]).is_of_nothing());
    }

    #[test]
    fn changes_are_told_from_any_other_set_of_them() {
        let set = |changes: &[i64]| read(true, true, changes).change_set();
        assert_eq!(set(&[1, 2]), set(&[1, 2]));
        for other in [&[][..], &[1], &[2], &[1, 2, 3], &[1, 3]] {
            assert_ne!(set(&[1, 2]), set(other), "{other:?}");
        }
    }

    #[test]
    fn a_status_that_the_table_refused_is_tried_again_later_each_time() {
        let mut snapshot = read(true, true, &[]);
        assert_eq!(snapshot.unwritable_retry(), Duration::from_secs(60));
        snapshot.unwritable_for = Some(Duration::from_secs(60));
        assert_eq!(snapshot.unwritable_retry(), Duration::from_secs(120));
    }

    #[test]
    fn the_greatest_cause_is_told_and_without_changes_the_one_that_woke_it() {
        let mut snapshot = read(true, true, &[]);
        assert_eq!(snapshot.cause(Cause::Backoff), Cause::Backoff);
        snapshot.facts = with(&[Cause::Drift, Cause::Account, Cause::Port]);
        assert_eq!(snapshot.cause(Cause::Backoff), Cause::Account);
    }
}
