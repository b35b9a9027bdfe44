//! The protocol between database and daemons, searched exhaustively.
//!
//! # What is modelled
//!
//! One key, and everything about it that can go wrong between a foreign commit and a true row:
//!
//! - **Foreign writers** change the key, write `account` or a wrong `auth_status`, restart the
//!   container, delete the row and insert it again, only ask for a look, write another table that
//!   is watched, or have this one watched. Each draws an id for
//!   its change from a sequence and commits it then or later, so that ids commit out of order, or
//!   rolls back; each commit rings every ear that listens, and may be asynchronous. Who writes the
//!   row holds its lock meanwhile.
//! - **The container's API** answers for the right key only, becomes ready without telling
//!   anybody, and may have a hiccup that nobody is told of either.
//! - **A process** has an ear session (LISTEN, take over, scan what is put off, scan what is not
//!   settled), a backoff timer, one read, one run, the epoch of its last take-over, and a horizon:
//!   what it knows of the log. It keeps all but the ear when the ear is lost: a deposed leader goes
//!   on reading, probing and recording through its pool. Killed, it loses everything.
//! - **The log is the queue.** A ring says nothing but that there is something to read. A read takes
//!   the key if its own process asks for it (timer, scan), or if a log read is owed and there are
//!   changes of it beyond the horizon that are not put off; never while a run of it is under way.
//!   Its answer comes some time after its snapshot, or not at all, and may be unable to tell which
//!   transactions were in progress.
//! - **A run** knows what was read (row, set of changes, version, and the epoch that its process
//!   held), probes at any later time, and records in a batch with others, in three steps: the gate
//!   and the epoch, which are the batch's; locks and fence, which are this key's; then the commit. A
//!   batch may fail because of another key, and is tried again in smaller ones. A process may
//!   give up waiting for a record that the server executes all the same, later (*late*). A run that
//!   comes to no verdict, or meets a row that is busy, has its changes put off, also later.
//! - **The server** may crash, which ends all sessions and transactions and takes back a suffix
//!   of what was committed after the last synchronous commit: rows, records, changes, and the
//!   numbers that their sequence gave out. With a standby that lags, even synchronous ones.
//!
//! Every interleaving of these steps within the bounds of a scenario is visited. (Wider bounds
//! were searched by hand and broke nothing: up to 22 million states, with the log up to 4 million.)
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
//! - How much a log read takes, from which end, and that it is repeated when there is more.
//! - The check of the triggers and the echo, and everything about a key that cannot be sent.
//! - Other keys. They share the gate, the fate of a batch, the sequence and the crash with this one,
//!   nothing else.
//! - What nobody can mend: a crash that takes back the only sign of a change of the world.
//!
//! # What it found
//!
//! Each flaw in [`protocol::Flaw`] breaks a promise, most of them for good. Some parts of the
//! protocol are there because this search asked for them: the epoch must not survive a server
//! crash ([`Flaw::EpochSurvivesCrash`]), a run carries the epoch of its read
//! ([`Flaw::EpochOfRecord`]), records of one key exclude each other even before there is an
//! instance row ([`Flaw::FirstRecordUnlocked`]), and the fence asks whether the row is still
//! there, because the absence of a version is a version that repeats ([`Flaw::NoPresenceFence`]).
//! Of the log:
//!
//! - A transaction is in progress although no snapshot lists it, if none that is newer has ended
//!   ([`Flaw::NewestLeftOut`]).
//! - What a read of an earlier term knew of the sequence is not true after a crash
//!   ([`Flaw::AnswersOutliveTheTerm`]).
//! - A read that failed is owed with the ring that led to it ([`Flaw::FailedReadsForgetRings`]), and
//!   one that cannot tell which transactions are in progress leads to another
//!   ([`Flaw::UnlistedAreOpen`]): the ring is spent.
//! - What was read of some tables says nothing of one that is served later
//!   ([`Flaw::HorizonOfOtherTables`]), or could not be read ([`Flaw::FailedTablesPassed`]).
//!
//! `cargo test --test protocol_model -- --nocapture` prints a shortest history for each flaw.

mod doorbell;
mod fence;
mod horizon;
mod log;
mod model;
mod outside;
mod process;
mod protocol;
mod put_off;
mod reading;
mod record;
mod scenarios;
mod search;
mod state;
mod steps;
mod terms;
mod whole;
mod writers;

use model::{Daemons, Promise};
use protocol::{Flaw, Protocol};
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

/// With these flaws, a history breaks `promise`, and some end with a row that is wrong for good.
fn breaks_for_good(scenario: Daemons, flaws: &'static [Flaw], promise: Promise) {
    breaks(scenario, flaws, promise);
    breaks(
        Daemons {
            only_the_end: true,
            ..scenario
        },
        flaws,
        Promise::Converges,
    );
}
