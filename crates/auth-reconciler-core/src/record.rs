//! What is proposed for the record, and what becomes of it.

use std::time::Duration;

use uuid::Uuid;

use crate::Cause;
use crate::instance::Key;
use crate::snapshot::Snapshot;
use crate::verdict::Verdict;

/// What is to be done behind the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The epoch in which this process led when it read.
    pub epoch: Uuid,
    /// The instance.
    pub key: Key,
    /// What was read of it.
    pub snapshot: Box<Snapshot>,
    /// What is to be recorded; `None` if the row is gone and all that was recorded of it is to go, too.
    pub verdict: Option<Box<Verdict>>,
    /// What led to it.
    pub cause: Cause,
    /// Time since it was woken.
    pub waited: Duration,
}

impl Proposal {
    /// What the row says, unless the database has put aside what somebody wrote.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        let row = self
            .snapshot
            .facts
            .row
            .as_ref()
            .filter(|row| !row.put_aside)?;
        row.auth_status.as_deref()
    }

    /// Whether the watched row will be written, and so locked, as far as is known.
    #[must_use]
    pub fn writes(&self) -> bool {
        let status = self.verdict.as_ref().and_then(|verdict| verdict.status);
        status.is_some_and(|status| self.said() != Some(status.as_str()))
    }
}

/// The answer to a proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// What became of it.
    pub outcome: Recorded,
    /// What the column said before.
    pub from: Option<String>,
    /// Time from the cause to the record.
    pub reaction_ms: Option<f64>,
    /// What of the table refused the write.
    pub refusal: Option<String>,
}

impl Recording {
    /// Whether the changes that were read are answered for: they are out of the log.
    #[must_use]
    pub const fn answers(&self) -> bool {
        match self.outcome {
            Recorded::Written
            | Recorded::Right
            | Recorded::Overridden
            | Recorded::Unwritable
            | Recorded::Gone => true,
            Recorded::Busy
            | Recorded::Unwatched
            | Recorded::EpochEnded
            | Recorded::Overtaken(_) => false,
        }
    }

    /// Whether the row was to be written, whatever came of it.
    #[must_use]
    pub const fn tried_to_write(&self) -> bool {
        match self.outcome {
            Recorded::Written | Recorded::Overridden | Recorded::Unwritable => true,
            Recorded::Right
            | Recorded::Busy
            | Recorded::Gone
            | Recorded::Unwatched
            | Recorded::EpochEnded
            | Recorded::Overtaken(_) => false,
        }
    }
}

/// A transaction of a batch of records, as far as it locked watched rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// How many rows.
    pub rows: usize,
    /// For how long at most, by the server's clock: the way to it and the wait for a session are not in it.
    pub held: Duration,
    /// Whose row it was, if it was one and its write was tried.
    pub alone: Option<Key>,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The column was written.
    Written,
    /// The column was right already.
    Right,
    /// A trigger of the table replaced the value.
    Overridden,
    /// The table refuses the value; that is recorded.
    Unwritable,
    /// Somebody holds the row; nothing was recorded.
    Busy,
    /// The row is gone; of a verdict, nothing was recorded.
    Gone,
    /// The table is no longer watched; nothing was recorded.
    Unwatched,
    /// Refused: another epoch has begun.
    EpochEnded,
    /// Refused: another process or run recorded, or something changed since the read; which of them.
    Overtaken(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuthStatus;
    use crate::facts::tests::{row, with};
    use crate::verdict::{Plan, Policy, plan};

    /// A proposal about a row that says this: that it is pending, that its column is left alone, or that it is gone.
    fn proposal(said: Option<&str>, put_aside: bool, recorded: Option<AuthStatus>) -> Proposal {
        let mut facts = with(&[]);
        facts.row = Some(row(said));
        let Plan::Settle(mut verdict) = plan(&Policy::default(), &facts, 0.0) else {
            panic!("one without a key needs no probe");
        };
        verdict.status = recorded;
        facts.row.as_mut().expect("row").put_aside = put_aside;
        Proposal {
            epoch: Uuid::from_u128(1),
            key: Key {
                watched_id: 1,
                instance_id: Uuid::from_u128(2),
            },
            snapshot: Box::new(Snapshot {
                facts,
                changes: Vec::new(),
                unread: Vec::new(),
                version: None,
                generation: 0,
                unwritable_for: None,
            }),
            verdict: Some(verdict),
            cause: Cause::Insert,
            waited: Duration::ZERO,
        }
    }

    /// What the column says, and whether it is written, and so locked, for this to stand there.
    #[test]
    fn a_row_is_written_only_where_its_column_says_something_else() {
        let pending = Some(AuthStatus::Pending);
        for (said, put_aside, recorded, shows, writes) in [
            (Some("pending"), false, pending, Some("pending"), false),
            (Some("failed"), false, pending, Some("failed"), true),
            (Some("a word"), false, pending, Some("a word"), true),
            (None, false, pending, None, true),
            // The column does not show what was put aside.
            (Some("pending"), true, pending, None, true),
            (Some("failed"), false, None, Some("failed"), false),
            (None, false, None, None, false),
        ] {
            let proposal = proposal(said, put_aside, recorded);
            let found = (proposal.said(), proposal.writes());
            assert_eq!(found, (shows, writes), "{said:?} {put_aside} {recorded:?}");
        }
        let gone = Proposal {
            verdict: None,
            ..proposal(Some("failed"), false, pending)
        };
        assert!(!gone.writes(), "of a row that is gone nothing is written");
    }

    /// What is not answered for stays in the log, and is read again.
    #[test]
    fn only_what_was_recorded_answers_for_its_changes() {
        for (outcome, answers) in [
            (Recorded::Written, true),
            (Recorded::Right, true),
            (Recorded::Overridden, true),
            (Recorded::Unwritable, true),
            (Recorded::Gone, true),
            (Recorded::Busy, false),
            (Recorded::Unwatched, false),
            (Recorded::EpochEnded, false),
            (Recorded::Overtaken("another run recorded"), false),
        ] {
            let recording = Recording {
                outcome,
                from: None,
                reaction_ms: None,
                refusal: None,
            };
            assert_eq!(recording.answers(), answers, "{outcome:?}");
        }
    }
}
