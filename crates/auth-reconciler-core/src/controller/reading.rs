//! Reads: what they are to bring, and what they have brought.

use super::Failure;
use crate::instance::Key;
use crate::queue::Moment;
use crate::snapshot::Snapshot;

/// What a read takes out of the change log beside the instances that are asked for: instances with unread changes, none of
/// them under way or asked for. A change is unread until a look has answered for it, or has put it off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// Changes with greater ids only: all others were answered for or put off.
    pub after: i64,
    /// So many instances at most, those with the oldest changes.
    pub oldest: usize,
    /// And so many with the newest.
    pub newest: usize,
    /// Instances that are under way.
    pub under_way: Vec<Key>,
}

/// A batch that was read.
#[derive(Debug)]
pub struct ReadBatch {
    /// Number of the batch, as in the command.
    pub batch: u64,
    /// The moment of the process's clock at which it was read.
    pub at: Moment,
    /// What was read of each that was asked for. One that cannot be read takes no other with it.
    pub snapshots: Vec<(Key, Result<Box<Snapshot>, Failure>)>,
    /// What the change log brought, if that was asked for.
    pub log: Option<Result<Taken, Failure>>,
}

/// What a read has taken out of the change log.
#[derive(Debug)]
pub struct Taken {
    /// Instances with unread changes.
    pub instances: Vec<TakenInstance>,
    /// There are more of them.
    pub more: bool,
    /// What of the log was seen.
    pub seen: LogSeen,
}

/// An instance that the change log brought.
#[derive(Debug)]
pub struct TakenInstance {
    /// Table and id of the instance.
    pub key: Key,
    /// Ids of its unread changes that were seen.
    pub unread: Vec<i64>,
    /// What was read of it.
    pub snapshot: Result<Box<Snapshot>, Failure>,
}

/// What a read saw of the change log, from which follows where the next one may begin. Ids are drawn before their changes
/// are committed, so none of them is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSeen {
    /// The least id of an unread change, of those in the range that was read; also of instances that are under way.
    pub first_unread: Option<i64>,
    /// The last id that was drawn, by whomever; of the statements of several tables the least one.
    pub last_id: i64,
    /// Transactions that were in progress at the snapshots of the statements: those that a snapshot lists and, as it lists
    /// none that began after the last one that has ended, all from there to the next id that is given out. `None` where that
    /// are too many to be told.
    pub in_progress: Option<Vec<u64>>,
}
