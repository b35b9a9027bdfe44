//! The fence and the record: their parts, left out one by one.

use crate::model::{Daemons, Promise};
use crate::protocol::{Flaw, Protocol};
use crate::scenarios::{
    converging, failed_batch, failover, late_commits, late_record, lost_leadership, lost_records,
    lost_writes, takeover,
};
use crate::{breaks, breaks_for_good, holds};

// Its parts.

/// A deposed leader records what nobody follows up, and dies: the new leader had seen the
/// instance settled. The other two parts let it pass, for it read after all they compare.
#[test]
fn without_the_epoch_a_deposed_leader_records() {
    breaks(takeover(), &[Flaw::NoEpochFence], Promise::Converges);
}

/// A record that its process gave up on overtakes the run that replaced it.
#[test]
fn without_the_version_an_older_answer_replaces_a_newer_one() {
    breaks_for_good(late_record(), &[Flaw::NoVersionFence], Promise::Fenced);
}

/// Not for good: what was not seen is still in the log and leads to another run. Until then the
/// row tells an answer about the past.
#[test]
fn without_the_changes_a_verdict_outlives_its_row() {
    breaks(lost_writes(), &[Flaw::NoChangeFence], Promise::Fenced);
    breaks(converging(), &[Flaw::NoChangeFence], Promise::Fenced);
}

/// A late record of the time before the first one meets a row that was deleted and recorded as
/// gone: again there is no version, and no change.
#[test]
fn without_presence_a_deleted_instance_comes_back() {
    breaks_for_good(late_record(), &[Flaw::NoPresenceFence], Promise::Fenced);
}

// The fence: its names.

/// Deleting and inserting a row starts the count again.
#[test]
fn versions_that_count_repeat_after_delete_and_insert() {
    breaks_for_good(late_record(), &[Flaw::VersionCounts], Promise::Fenced);
}

/// A crash takes a count back. As a rule the epoch refuses such a run first, so that the version
/// is tried alone here: random ones hold, counted ones do not.
#[test]
fn versions_that_count_repeat_after_a_crash() {
    let alone = Daemons {
        protocol: Protocol(&[Flaw::NoEpochFence]),
        ..lost_records()
    };
    holds(alone, 140_000);
    breaks_for_good(
        lost_records(),
        &[Flaw::NoEpochFence, Flaw::VersionCounts],
        Promise::Fenced,
    );
}

/// A take-over that a crash took back is followed by another one with the same number. (A random
/// epoch holds here although it survives the crash.)
#[test]
fn epochs_that_count_repeat_after_a_crash() {
    let random = Daemons {
        protocol: Protocol(&[Flaw::EpochSurvivesCrash]),
        ..lost_leadership()
    };
    holds(random, 160_000);
    breaks(lost_leadership(), &[Flaw::EpochCounts], Promise::Converges);
}

/// A run reads what a crash takes back, then records through the pool before any ear is back:
/// epoch and version are what they were, and its changes are gone. With no new change at all the
/// row stays wrong, so that change ids which never repeat would not help. Where ids do repeat, it
/// removes a change that nobody has read.
#[test]
fn an_epoch_that_survives_a_crash_lets_a_lost_row_speak() {
    breaks_for_good(failover(), &[Flaw::EpochSurvivesCrash], Promise::Fenced);
    breaks(lost_writes(), &[Flaw::EpochSurvivesCrash], Promise::Fenced);
    let to_the_end = Daemons {
        only_the_end: true,
        ..lost_writes()
    };
    breaks(
        to_the_end,
        &[Flaw::EpochSurvivesCrash],
        Promise::NothingLost,
    );
}

/// The same, with the ear back and a new epoch that the old run must not have.
#[test]
fn a_run_carries_the_epoch_of_its_read() {
    breaks_for_good(failover(), &[Flaw::EpochOfRecord], Promise::Fenced);
    breaks(lost_writes(), &[Flaw::EpochOfRecord], Promise::Fenced);
}

/// The old leader's epoch stays good.
#[test]
fn a_takeover_makes_a_new_epoch() {
    breaks(takeover(), &[Flaw::EpochKept], Promise::Converges);
}

// The fence: its place and its locks.

/// The fence passes for what the probe never saw.
#[test]
fn the_read_comes_before_the_probe() {
    breaks_for_good(lost_writes(), &[Flaw::FactsAfterProbe], Promise::Fenced);
}

/// A take-over and its scans fit between an old leader's fence and its commit.
#[test]
fn the_gate_is_held_until_the_commit() {
    breaks(takeover(), &[Flaw::EpochUnlocked], Promise::Converges);
}

/// They fit between its look at the epoch and the gate just the same.
#[test]
fn the_gate_comes_before_the_epoch() {
    breaks(takeover(), &[Flaw::EpochBeforeGate], Promise::Converges);
}

// Batches.

/// Nothing was held while the batch was split: whatever passed its fence may have changed.
#[test]
fn a_smaller_batch_is_fenced_anew() {
    breaks_for_good(failed_batch(), &[Flaw::SplitKeepsFence], Promise::Fenced);
}

/// Its changes stay in the log, and nobody looks.
#[test]
fn a_batch_that_failed_is_tried_again() {
    breaks(
        failed_batch(),
        &[Flaw::FailuresForgotten],
        Promise::Converges,
    );
}

/// A late record and the run that replaced it both pass the fence before either commits.
#[test]
fn records_of_a_key_exclude_each_other() {
    breaks_for_good(late_record(), &[Flaw::KeyUnlocked], Promise::Fenced);
}

/// The record of a deleted row has nothing to lock and nothing to conflict with, and a first
/// record that passed the fence before it inserts an instance that is no more.
#[test]
fn records_of_a_key_exclude_each_other_before_the_first_one() {
    breaks(
        late_record(),
        &[Flaw::FirstRecordUnlocked],
        Promise::Converges,
    );
}

/// Not for good, as without the changes.
#[test]
fn the_row_is_locked_before_the_fence() {
    breaks(converging(), &[Flaw::FenceBeforeLock], Promise::Fenced);
}

/// Not for good, as without the changes.
#[test]
fn the_status_is_compared_once() {
    breaks(converging(), &[Flaw::StatusComparedAgain], Promise::Fenced);
}

/// What has a lower id may commit later.
#[test]
fn changes_are_compared_one_by_one() {
    breaks(late_commits(), &[Flaw::FenceByGreatestId], Promise::Fenced);
}

/// A change that is committed between the fence and the deletion goes unread.
#[test]
fn a_record_removes_the_changes_that_were_read() {
    breaks(
        converging(),
        &[Flaw::DeletesAllChanges],
        Promise::NothingLost,
    );
}
