//! The log as the queue: where reads begin, what they pass over, what is put off; each part left
//! out.

use crate::model::{Daemons, Promise};
use crate::protocol::{Flaw, Protocol};
use crate::scenarios::{
    converging, failed_read, late_commits, lost_ids, new_table, put_off, takeover, unlisted,
};
use crate::{breaks, breaks_for_good, holds};

// Ids commit out of order.

/// Whatever drew its id before that one and commits after it.
#[test]
fn a_read_does_not_begin_after_the_last_id() {
    breaks(late_commits(), &[Flaw::AfterLastId], Promise::Converges);
}

/// The transaction was in progress when the last id was taken, and still is when the floor moves there.
#[test]
fn the_horizon_knows_which_transactions_are_open() {
    breaks(late_commits(), &[Flaw::OpenIgnored], Promise::Converges);
}

/// A transaction that begins between the two is in no list, and its id is below the last one.
#[test]
fn the_last_id_is_taken_before_the_snapshot() {
    breaks(
        late_commits(),
        &[Flaw::LastIdAfterSnapshot],
        Promise::Converges,
    );
}

/// It may have drawn its id since the read before, which knew a smaller last id.
#[test]
fn an_open_transaction_is_bounded_by_the_floor_before_it() {
    breaks(late_commits(), &[Flaw::BoundAtNewFloor], Promise::Converges);
}

/// Reads begin beyond its bound by then. (Where they never do, nothing is ever owed.)
#[test]
fn a_late_commit_is_owed_a_read() {
    breaks(
        late_commits(),
        &[Flaw::LateCommitsNotOwed],
        Promise::Converges,
    );
    let never_beyond = Daemons {
        protocol: Protocol(&[Flaw::LateCommitsNotOwed]),
        near: Some(9),
        ..late_commits()
    };
    holds(never_beyond, 80_000);
}

/// The ring of the late commit led to the read that found it owed; no other ring may come.
#[test]
fn what_a_ring_finds_owed_is_read_at_once() {
    breaks(
        late_commits(),
        &[Flaw::OwedUntilTheNextRing],
        Promise::Converges,
    );
}

/// No list of transactions shows it while its id is passed.
#[test]
fn a_transaction_has_its_own_id_before_that_of_its_change() {
    breaks(
        late_commits(),
        &[Flaw::IdBeforeTransactionId],
        Promise::Converges,
    );
}

/// The transactions in progress that PostgreSQL lists in a snapshot (`pg_snapshot_xip`) are those below the
/// greatest id that has ended. The others are in progress as well: they are those from `pg_snapshot_xmax` up to
/// the next id that will be given out.
#[test]
fn the_newest_transactions_are_in_progress_too() {
    breaks(late_commits(), &[Flaw::NewestLeftOut], Promise::Converges);
}

/// Any of those that were open may have ended, and the ring that told so is spent.
#[test]
fn a_read_that_cannot_tell_who_is_in_progress_is_followed_by_another() {
    breaks(unlisted(), &[Flaw::UnlistedAreNone], Promise::Converges);
    breaks(unlisted(), &[Flaw::UnlistedAreOpen], Promise::Converges);
}

/// A change that is committed after the fence of a run is passed over while the run is under way, and is
/// below the floor at its end.
#[test]
fn the_floor_stays_below_what_is_under_way() {
    breaks(
        late_commits(),
        &[Flaw::UnderWayUncounted],
        Promise::Converges,
    );
}

/// A crash takes the sequence back below the horizon, and new changes get the ids that lie there.
#[test]
fn a_term_begins_with_an_empty_horizon() {
    breaks(lost_ids(), &[Flaw::HorizonKept], Promise::Converges);
}

/// The same, with an answer that came before the crash and is looked at after the take-over.
#[test]
fn an_answer_of_an_earlier_term_moves_no_horizon() {
    breaks(
        lost_ids(),
        &[Flaw::AnswersOutliveTheTerm],
        Promise::Converges,
    );
}

// When a log read is owed.

/// It was passed over, and its ring is spent.
#[test]
fn a_read_is_owed_after_a_run_that_was_passed_over() {
    breaks(
        converging(),
        &[Flaw::NothingOwedAfterEnd],
        Promise::Converges,
    );
    breaks(takeover(), &[Flaw::NothingOwedAfterEnd], Promise::Converges);
    breaks(
        late_commits(),
        &[Flaw::NothingOwedAfterEnd],
        Promise::Converges,
    );
}

/// So was what was committed until then.
#[test]
fn a_read_is_owed_when_changes_are_put_off() {
    breaks(
        put_off(),
        &[Flaw::NothingOwedAfterPutOff],
        Promise::Converges,
    );
}

/// The snapshot is older than the ring.
#[test]
fn a_ring_during_a_read_leads_to_another() {
    breaks(
        late_commits(),
        &[Flaw::RingsDroppedDuringRead],
        Promise::Converges,
    );
}

/// With the ring that led to it, for the sake of what it may find owed.
#[test]
fn a_read_that_failed_is_still_owed() {
    breaks(
        failed_read(),
        &[Flaw::FailedReadsForgotten],
        Promise::Converges,
    );
    breaks(
        failed_read(),
        &[Flaw::FailedReadsForgetRings],
        Promise::Converges,
    );
}

// Tables.

/// Reads that did not ask for its changes have passed them.
#[test]
fn a_new_table_is_read_from_the_beginning() {
    breaks(
        new_table(),
        &[Flaw::HorizonOfOtherTables],
        Promise::Converges,
    );
    breaks(
        new_table(),
        &[Flaw::NothingOwedToNewTables],
        Promise::Converges,
    );
}

/// The ring says so.
#[test]
fn tables_are_listed_when_one_is_watched() {
    breaks(new_table(), &[Flaw::ListedOnceATerm], Promise::Converges);
}

/// What the others say is true of them alone.
#[test]
fn a_read_that_failed_for_one_table_moves_no_horizon() {
    breaks(
        failed_read(),
        &[Flaw::FailedTablesPassed],
        Promise::Converges,
    );
}

// What is put off.

/// A process that has been deposed, or killed, hides a change from the one that leads. After a crash it
/// hides even one that it never read, for ids are given out again.
#[test]
fn a_change_is_put_off_only_in_the_epoch_of_its_run() {
    breaks(put_off(), &[Flaw::PutOffInAnyEpoch], Promise::Converges);
    breaks_for_good(lost_ids(), &[Flaw::PutOffInAnyEpoch], Promise::NothingLost);
    breaks_for_good(
        lost_ids(),
        &[Flaw::PutOffInEpochOfProcess],
        Promise::NothingLost,
    );
}

/// The scan of what is put off comes between the look at the epoch and the commit.
#[test]
fn what_is_put_off_goes_through_the_gate() {
    breaks(put_off(), &[Flaw::PutOffOutsideGate], Promise::Converges);
}

/// What was not read is hidden after the timer has brought a verdict on all the rest.
#[test]
fn only_what_was_read_is_put_off() {
    breaks_for_good(put_off(), &[Flaw::PutsOffAllChanges], Promise::NothingLost);
}

/// No log read finds it.
#[test]
fn a_process_comes_back_to_what_it_put_off() {
    breaks(put_off(), &[Flaw::PutOffForgotten], Promise::Converges);
}

/// Its timer died with the process.
#[test]
fn a_new_term_scans_what_is_put_off() {
    breaks(put_off(), &[Flaw::NoScanOfPutOff], Promise::Converges);
}
