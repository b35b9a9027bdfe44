//! The protocol, and the parts of it that can be left out.

/// One part of the protocol left out, or done the way that looks good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The record does not compare the epoch.
    NoEpochFence,
    /// The record does not compare the version of the instance row.
    NoVersionFence,
    /// The record does not look for changes beside those that were read.
    NoChangeFence,
    /// The record does not ask whether the row is still there (or still gone).
    NoPresenceFence,
    /// A take-over does not wait for records that have compared the epoch.
    EpochUnlocked,
    /// The epoch is compared first, and the gate is entered after it.
    EpochBeforeGate,
    /// What passed the fence in a batch that failed is not fenced again in the smaller one.
    SplitKeepsFence,
    /// A batch that failed because of another key is not tried again.
    FailuresForgotten,
    /// Two records of one key may be between fence and commit at once.
    KeyUnlocked,
    /// A record locks the instance row instead of the key: there is none before the first record.
    /// (A first record that then meets another one is refused, not merged into it.)
    FirstRecordUnlocked,
    /// The fence comes first, the lock of the watched row after it.
    FenceBeforeLock,
    /// Whether to write the status is decided again after the fence.
    StatusComparedAgain,
    /// A version is one more than the last, and one for a new row.
    VersionCounts,
    /// An epoch is one more than the last, committed asynchronously.
    EpochCounts,
    /// The epoch is still there after a server crash: an ordinary, logged table.
    EpochSurvivesCrash,
    /// Taking over leaves the epoch as it was.
    EpochKept,
    /// A record carries the epoch that its process holds by then, not the one of its read.
    EpochOfRecord,
    /// The row is read for the fence only after the probe.
    FactsAfterProbe,
    /// A record removes every change of the key.
    DeletesAllChanges,
    /// The record looks for changes beyond the greatest id that was read.
    FenceByGreatestId,
    /// A log read begins after the last id that the one before it knew.
    AfterLastId,
    /// The horizon knows nothing of open transactions.
    OpenIgnored,
    /// The last id is taken after the snapshot that it is used with.
    LastIdAfterSnapshot,
    /// A transaction that is met for the first time is bounded by the floor of that very read.
    BoundAtNewFloor,
    /// No read is owed when a transaction has ended whose bound is below where the read began.
    LateCommitsNotOwed,
    /// Such a read waits for the next ring.
    OwedUntilTheNextRing,
    /// A change gets its id before its transaction has one.
    IdBeforeTransactionId,
    /// Transactions with ids beyond all that have ended are not seen: the list of a snapshot
    /// stops there.
    NewestLeftOut,
    /// A read that cannot tell who is in progress counts as if nobody were.
    UnlistedAreNone,
    /// It counts as if all were that had been, and leads to no other read.
    UnlistedAreOpen,
    /// The floor passes unread changes of a key that is under way.
    UnderWayUncounted,
    /// The horizon of one term is the beginning of the next.
    HorizonKept,
    /// The answer to a read moves the horizon although its term has ended since.
    AnswersOutliveTheTerm,
    /// Nothing is owed for the log reads that passed a key over.
    NothingOwedAfterEnd,
    /// Nor for those that passed it over until it was put off.
    NothingOwedAfterPutOff,
    /// A ring that comes before the answer to a read counts as answered by it.
    RingsDroppedDuringRead,
    /// A read that failed is not owed any more.
    FailedReadsForgotten,
    /// It is owed as one that nobody rang for.
    FailedReadsForgetRings,
    /// Where the statement of one table failed, what the others say moves the horizon.
    FailedTablesPassed,
    /// A new table is read from where the others are.
    HorizonOfOtherTables,
    /// No log read is owed when a new table is served.
    NothingOwedToNewTables,
    /// Tables are listed at the beginning of a term only.
    ListedOnceATerm,
    /// Changes are put off whatever the epoch is by then.
    PutOffInAnyEpoch,
    /// A take-over does not wait for who has compared the epoch and puts off.
    PutOffOutsideGate,
    /// Changes are put off in the epoch that the process holds, not in that of the run.
    PutOffInEpochOfProcess,
    /// All changes of the key are put off, read or not.
    PutsOffAllChanges,
    /// A process does not come back to what it has put off.
    PutOffForgotten,
    /// The scans come first and LISTEN last.
    ScanBeforeListen,
    /// The resync owes no log read.
    NoLogReadAtTerm,
    /// The resync does not queue the keys with changes that are put off.
    NoScanOfPutOff,
    /// The resync does not queue the instances that are not settled.
    NoScanOfUnsettled,
    /// A process resyncs when it starts, not after each new ear session.
    ResyncOnlyAtStart,
    /// A wake that comes during a run is dropped.
    WakesDroppedDuringRun,
    /// A run whose record is refused, though its process leads, is not run again.
    RefusalsForgotten,
    /// A wake starts a run although one is out.
    RunsOverlap,
}

/// What an ear session does, in order, before it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionStep {
    /// LISTEN, committed: from here on each commit of a change wakes this process.
    Listen,
    /// The advisory lock, then a new epoch; with it the term begins, and a log read is owed.
    TakeOver,
    /// Queue every key that has changes which are put off. (The others are for the log read that
    /// is owed from the take-over on.)
    ScanPutOff,
    /// Queue every instance that is not recorded as settled.
    ScanUnsettled,
}

/// The protocol without some of its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol(pub(crate) &'static [Flaw]);

impl Protocol {
    /// The whole protocol.
    pub(crate) const WHOLE: Self = Self(&[]);

    /// Whether this part was left out.
    pub(crate) fn has(self, flaw: Flaw) -> bool {
        self.0.contains(&flaw)
    }

    /// The steps of an ear session.
    pub(crate) fn session(self) -> &'static [SessionStep] {
        use SessionStep::{Listen, ScanPutOff, ScanUnsettled, TakeOver};
        if self.has(Flaw::ScanBeforeListen) {
            &[TakeOver, ScanPutOff, ScanUnsettled, Listen]
        } else if self.has(Flaw::NoScanOfPutOff) {
            &[Listen, TakeOver, ScanUnsettled]
        } else if self.has(Flaw::NoScanOfUnsettled) {
            &[Listen, TakeOver, ScanPutOff]
        } else {
            &[Listen, TakeOver, ScanPutOff, ScanUnsettled]
        }
    }
}
