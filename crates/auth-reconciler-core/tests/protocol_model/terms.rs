//! Terms, scans and wakes: their parts, left out one by one.

use crate::model::{Daemons, Promise};
use crate::protocol::{Flaw, Protocol};
use crate::scenarios::{converging, late_commits, late_record, lost_writes, put_off, takeover};
use crate::{breaks, holds};

// The resync.

/// A commit between scan and LISTEN is neither found nor heard.
#[test]
fn listen_comes_before_the_scan() {
    breaks(takeover(), &[Flaw::ScanBeforeListen], Promise::Converges);
}

/// What was committed while nobody listened.
#[test]
fn the_resync_reads_the_log() {
    breaks(takeover(), &[Flaw::NoLogReadAtTerm], Promise::Converges);
}

/// A killed process takes its timers with it; a crash takes a final verdict back.
#[test]
fn the_resync_scans_what_is_not_settled() {
    breaks(converging(), &[Flaw::NoScanOfUnsettled], Promise::Converges);
    breaks(
        lost_writes(),
        &[Flaw::NoScanOfUnsettled],
        Promise::Converges,
    );
}

/// A lost ear is a gap in knowing, even though the process lives.
#[test]
fn every_ear_session_resyncs() {
    breaks(converging(), &[Flaw::ResyncOnlyAtStart], Promise::Converges);
    breaks(
        lost_writes(),
        &[Flaw::ResyncOnlyAtStart],
        Promise::Converges,
    );
}

// The queue.

/// A scan asks for the key while a run of the term before is under way, which will be refused.
#[test]
fn a_wake_during_a_run_is_kept() {
    breaks(
        converging(),
        &[Flaw::WakesDroppedDuringRun],
        Promise::Converges,
    );
    breaks(
        put_off(),
        &[Flaw::WakesDroppedDuringRun],
        Promise::Converges,
    );
}

/// Whether a scan, a timer or the log brings the other one.
#[test]
fn a_key_never_runs_twice_at_once() {
    breaks(converging(), &[Flaw::RunsOverlap], Promise::OneRun);
    breaks(late_commits(), &[Flaw::RunsOverlap], Promise::OneRun);
}

/// A late record overtakes the run that replaced it and says "not yet"; the run, refused, is the
/// only one that would look again. (Refused because of a change, a run need not: the change's own
/// wake or the next resync brings another.)
#[test]
fn a_refused_run_runs_again() {
    let protocol = Protocol(&[Flaw::RefusalsForgotten]);
    holds(
        Daemons {
            protocol,
            ..lost_writes()
        },
        80_000,
    );
    breaks(
        late_record(),
        &[Flaw::RefusalsForgotten],
        Promise::Converges,
    );
}
