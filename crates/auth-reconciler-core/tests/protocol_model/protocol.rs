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
    /// The scans come first and LISTEN last.
    ScanBeforeListen,
    /// The resync does not queue the keys with changes.
    NoScanOfChanges,
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
    /// The advisory lock, then a new epoch.
    TakeOver,
    /// Queue every key that has changes.
    ScanChanges,
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
        use SessionStep::{Listen, ScanChanges, ScanUnsettled, TakeOver};
        if self.has(Flaw::ScanBeforeListen) {
            &[TakeOver, ScanChanges, ScanUnsettled, Listen]
        } else if self.has(Flaw::NoScanOfChanges) {
            &[Listen, TakeOver, ScanUnsettled]
        } else if self.has(Flaw::NoScanOfUnsettled) {
            &[Listen, TakeOver, ScanChanges]
        } else {
            &[Listen, TakeOver, ScanChanges, ScanUnsettled]
        }
    }
}
