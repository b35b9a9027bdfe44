//! The protocol between database and daemons, searched exhaustively.
//!
//! # What is modelled
//!
//! One key, and everything about it that can go wrong between a foreign commit and a true row:
//!
//! - **Foreign writers** change the key, write `account` or a wrong `auth_status`, restart the
//!   container, delete the row and insert it again. Each commit logs a change under the next id
//!   of a sequence and rings every ear that listens; it may be asynchronous.
//! - **The container's API** answers for the right key only, becomes ready without telling
//!   anybody, and may have a hiccup that nobody is told of either.
//! - **A process** has an ear session (LISTEN, take over, scan the changes, scan what is not
//!   settled), a queue, a backoff timer, one run, and the epoch of its last take-over. It keeps
//!   all but the ear when the ear is lost: a deposed leader goes on reading, probing and
//!   recording through its pool. Killed, it loses everything.
//! - **A run** reads (row, set of changes, version, and the epoch that its process holds), probes
//!   at any later time, and records in a batch with others, in three steps: the gate and the epoch,
//!   which are the batch's; locks and fence, which are this key's; then the commit. A batch may fail
//!   because of another key, and is tried again in smaller ones. A process may
//!   give up waiting for a record that the server executes all the same, later (*late*).
//! - **The server** may crash, which ends all sessions and transactions and takes back a suffix
//!   of what was committed after the last synchronous commit: rows, records, changes, and the
//!   numbers that their sequence gave out. With a standby that lags, even synchronous ones.
//!
//! Every interleaving of these steps within the bounds of a scenario is visited. (Wider bounds,
//! 22 million states, were searched once by hand and broke nothing.)
//!
//! # What is promised
//!
//! See [`model::Promise`]: verdicts are *fenced* (I2), *nothing is lost* (I3), there is *one run*
//! of a key at a time (I4), and histories *converge*: from every reachable state, once nothing
//! more comes from outside, the row comes to say the truth. What still stands is told by ghost
//! names that never repeat, whatever the protocol itself compares.
//!
//! # What is left out
//!
//! - Time: backoff and timeouts are steps that may happen, and that do happen when all else rests.
//!   The budget of corrections is time only.
//! - The engine: a container that goes down without any row write is not seen here.
//! - Rows that are busy under a foreign transaction: the record waits instead of trying again.
//! - The check of the triggers and the echo, and everything about a key that cannot be sent.
//! - Other keys. They share the gate, the fate of a batch and the crash with this one, nothing else.
//! - What nobody can mend: a crash that takes back the only sign of a change of the world.
//!
//! # What it found
//!
//! Each flaw in [`protocol::Flaw`] breaks a promise, most of them for good. Four parts of the
//! protocol are there because this search asked for them: the epoch must not survive a server
//! crash ([`Flaw::EpochSurvivesCrash`]), a run carries the epoch of its read
//! ([`Flaw::EpochOfRecord`]), records of one key exclude each other even before there is an
//! instance row ([`Flaw::FirstRecordUnlocked`]), and the fence asks whether the row is still
//! there, because the absence of a version is a version that repeats ([`Flaw::NoPresenceFence`]).
//!
//! `cargo test --test protocol_model -- --nocapture` prints a shortest history for each flaw.

mod model;
mod process;
mod protocol;
mod record;
mod scenarios;
mod search;
mod state;
mod steps;

use model::{Daemons, Promise};
use protocol::{Flaw, Protocol};
use scenarios::{
    converging, failed_batch, failover, late_record, lost_leadership, lost_records, lost_writes,
    takeover,
};
use search::{Explored, explore};

/// Every promise is kept in this scenario, and the search was not an empty one.
fn holds(scenario: Daemons, at_least: usize) {
    let Explored { states, broken } = explore(&scenario);
    println!("with {:?}: {states} states", scenario.protocol.0);
    let trace = broken.map(|(promise, trace)| format!("{promise:?} is broken:\n{trace}"));
    assert_eq!(trace, None);
    assert!(states >= at_least, "only {states} states");
}

/// With these flaws, the first promise that a history breaks is `promise`.
fn breaks(scenario: Daemons, flaws: &'static [Flaw], promise: Promise) {
    let scenario = Daemons {
        protocol: Protocol(flaws),
        ..scenario
    };
    let Explored { states, broken } = explore(&scenario);
    let (broken, trace) = broken.unzip();
    let trace = trace.unwrap_or_default();
    println!("with {flaws:?}: {states} states, then {broken:?} is broken:\n{trace}");
    assert_eq!(broken, Some(promise), "with {flaws:?}:\n{trace}");
}

/// With these flaws, a verdict that no longer stood leaves the row wrong for good.
fn breaks_for_good(scenario: Daemons, flaws: &'static [Flaw]) {
    breaks(scenario, flaws, Promise::Fenced);
    breaks(
        Daemons {
            only_the_end: true,
            ..scenario
        },
        flaws,
        Promise::Converges,
    );
}

// The whole protocol. The floors are a little below what is reachable today.

#[test]
fn the_whole_protocol_holds_through_takeovers() {
    holds(takeover(), 90_000);
}

#[test]
fn the_whole_protocol_holds_while_instances_converge() {
    holds(converging(), 50_000);
}

#[test]
fn the_whole_protocol_holds_against_late_records() {
    holds(late_record(), 60_000);
}

#[test]
fn the_whole_protocol_holds_when_writes_are_lost() {
    holds(lost_writes(), 80_000);
}

#[test]
fn the_whole_protocol_holds_through_failovers() {
    holds(failover(), 10_000);
}

#[test]
fn the_whole_protocol_holds_when_records_are_lost() {
    holds(lost_records(), 110_000);
}

#[test]
fn the_whole_protocol_holds_when_leadership_is_lost() {
    holds(lost_leadership(), 160_000);
}

#[test]
fn the_whole_protocol_holds_when_batches_fail() {
    holds(failed_batch(), 10_000);
}

// The fence: its parts.

/// A deposed leader records what nobody follows up, and dies: the new leader had seen the
/// instance settled. The other two parts let it pass, for it read after all they compare.
#[test]
fn without_the_epoch_a_deposed_leader_records() {
    breaks(takeover(), &[Flaw::NoEpochFence], Promise::Converges);
}

/// A record that its process gave up on overtakes the run that replaced it.
#[test]
fn without_the_version_an_older_answer_replaces_a_newer_one() {
    breaks_for_good(late_record(), &[Flaw::NoVersionFence]);
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
    breaks_for_good(late_record(), &[Flaw::NoPresenceFence]);
}

// The fence: its names.

/// Deleting and inserting a row starts the count again.
#[test]
fn versions_that_count_repeat_after_delete_and_insert() {
    breaks_for_good(late_record(), &[Flaw::VersionCounts]);
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
    breaks_for_good(lost_records(), &[Flaw::NoEpochFence, Flaw::VersionCounts]);
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
    breaks_for_good(failover(), &[Flaw::EpochSurvivesCrash]);
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
    breaks_for_good(failover(), &[Flaw::EpochOfRecord]);
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
    breaks_for_good(lost_writes(), &[Flaw::FactsAfterProbe]);
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
    breaks_for_good(failed_batch(), &[Flaw::SplitKeepsFence]);
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
    breaks_for_good(late_record(), &[Flaw::KeyUnlocked]);
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

// The log.

/// A change that is committed between the fence and the deletion goes unread.
#[test]
fn a_record_removes_the_changes_that_were_read() {
    breaks(
        converging(),
        &[Flaw::DeletesAllChanges],
        Promise::NothingLost,
    );
}

// The resync.

/// A commit between scan and LISTEN is neither found nor heard.
#[test]
fn listen_comes_before_the_scan() {
    breaks(takeover(), &[Flaw::ScanBeforeListen], Promise::Converges);
}

/// What was committed while nobody listened.
#[test]
fn the_resync_scans_the_changes() {
    breaks(takeover(), &[Flaw::NoScanOfChanges], Promise::Converges);
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

/// The run in question has read already, and its record is refused or too old.
#[test]
fn a_wake_during_a_run_is_kept() {
    breaks(
        converging(),
        &[Flaw::WakesDroppedDuringRun],
        Promise::Converges,
    );
}

#[test]
fn a_key_never_runs_twice_at_once() {
    breaks(converging(), &[Flaw::RunsOverlap], Promise::OneRun);
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
