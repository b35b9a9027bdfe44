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
