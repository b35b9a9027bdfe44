//! The doorbell: whoever commits a change rings only if nobody reads on by himself (`sql/routines/12_doorbell.sql`). A model
//! of its own, with writers, daemons that take over from each other, and a server that may crash; what is read and
//! recorded is the other model's.
//!
//! A writer inserts its change, takes the lock of the silent ones (or is refused it), looks at the sleeper's lock, then at the
//! reader's, and commits at any later time, or rolls back. A daemon that leads has the sleeper's lock, and exchanges it for
//! the reader's and back whenever it likes: how often it reads meanwhile, and when it thinks that it pays, is nothing that
//! anybody relies on. Somebody else may have the reader's lock, or wait for it, at any time; of the other two that does no
//! more than to make a writer ring. But a daemon that asks for the sleeper's lock just then does not get it, and asks again.

use std::fmt;

use crate::search::{Explored, Model, Possible, Quiet, explore};

mod steps;

const WRITERS: usize = 2;
const DAEMONS: usize = 2;

/// One part left out, or done the way that looks good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A writer looks at the other locks first, and takes that of the silent ones after it.
    SilentLockLast,
    /// Writers do not look at the sleeper's lock, so whoever holds the reader's has them keep silent.
    SleeperNotAsked,
    /// Writers take no lock when they keep silent.
    SilentWithoutLock,
    /// A writer gives the lock of the silent ones back before its commit.
    LockEndsEarly,
    /// The silent ones are not waited for.
    NobodyAwaited,
    /// They are waited for while the reader's lock is still had alone.
    AwaitedBeforeResounding,
    /// The reader's lock is never given back.
    NeverResounds,
    /// Nothing is read after the wait.
    NoLastRead,
    /// The last read comes before the wait.
    LastReadBeforeWait,
    /// A take-over trusts the leader before it to have waited.
    TakeOverWaitsForNobody,
    /// The sleeper's lock is not asked for again where somebody else had it.
    NotAskedAgain,
}

/// A transaction that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Writer {
    #[default]
    NotBegun,
    /// The change is inserted.
    Inserted,
    /// It has asked for the lock of the silent ones.
    Asking {
        has_lock: bool,
    },
    /// And has looked at the sleeper's: it is free.
    Looked {
        has_lock: bool,
        nobody_sleeps: bool,
    },
    /// It has decided.
    Decided {
        rings: bool,
        has_lock: bool,
    },
    Ended,
}

/// Where a daemon that leads is with its doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Bell {
    /// Everybody rings.
    #[default]
    Rings,
    /// Nobody does.
    Silent,
    /// Everybody does again, and the silent ones are to be waited for.
    Owed,
    /// They are: nobody else gets their lock.
    Awaiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Daemon {
    alive: bool,
    /// Its session listens.
    listens: bool,
    leads: bool,
    bell: Bell,
    /// It has the reader's lock alone.
    alone: bool,
    /// Somebody else had the sleeper's lock when it asked for it, and has given it back.
    robbed: bool,
    /// A ring on its way.
    ringing: bool,
    owes_read: bool,
    /// What a read under way has in its snapshot, one bit for each writer.
    reading: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Situation {
    writers: [Writer; WRITERS],
    daemons: [Daemon; DAEMONS],
    /// Committed and not read, one bit for each writer.
    unread: u8,
    /// How often a session, a process or the server may still end.
    failures: u8,
    /// How often a daemon may still have the reader's lock alone.
    hushes: u8,
    /// How often somebody else may still have the sleeper's lock when it is asked for.
    robberies: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Insert(usize),
    Ask(usize),
    Look(usize),
    Decide(usize),
    /// Somebody else has the reader's lock just then.
    DecideDeceived(usize),
    Commit(usize),
    RollBack(usize),
    Start(usize),
    Listen(usize),
    TakeOver(usize),
    /// The sleeper's lock could not be had, just now or with the last echo.
    Rob(usize),
    /// An echo.
    AskAgain(usize),
    Hear(usize),
    Read(usize),
    Answer(usize),
    Hush(usize),
    Resound(usize),
    Await(usize),
    Granted(usize),
    Fail(Failure),
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// A daemon.
    Kill(usize),
    /// Its session that listens.
    LoseEar(usize),
    /// The server, with all sessions and transactions.
    Crash,
}

/// A change that was committed stays unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost;

struct Doorbell(&'static [Flaw]);

impl Model for Doorbell {
    type State = Situation;
    type Step = Step;
    type Promise = Lost;

    fn initial(&self) -> Situation {
        let daemon = Daemon {
            alive: true,
            ..Daemon::default()
        };
        let leader = Daemon {
            listens: true,
            leads: true,
            ..daemon
        };
        Situation {
            writers: [Writer::NotBegun; WRITERS],
            daemons: [leader, daemon],
            unread: 0,
            failures: 1,
            hushes: 2,
            robberies: 1,
        }
    }

    fn steps(&self, state: &Situation, possible: &mut Vec<Possible<Self>>) {
        let writers = (0..WRITERS).flat_map(|index| {
            [
                Step::Insert(index),
                Step::Ask(index),
                Step::Look(index),
                Step::Decide(index),
                Step::DecideDeceived(index),
                Step::Commit(index),
                Step::RollBack(index),
            ]
        });
        let daemons = (0..DAEMONS).flat_map(|index| {
            [
                Step::Start(index),
                Step::Listen(index),
                Step::TakeOver(index),
                Step::Rob(index),
                Step::AskAgain(index),
                Step::Hear(index),
                Step::Answer(index),
                Step::Read(index),
                Step::Hush(index),
                Step::Await(index),
                Step::Granted(index),
                Step::Resound(index),
                Step::Fail(Failure::Kill(index)),
                Step::Fail(Failure::LoseEar(index)),
            ]
        });
        for step in writers.chain(daemons).chain([Step::Fail(Failure::Crash)]) {
            if let Some(after) = self.take(state, step) {
                possible.push(Possible {
                    step,
                    result: Ok(after),
                });
            }
        }
    }

    /// Whoever has begun goes on, and nobody begins; a daemon that leads has everybody ring when it has nothing to read.
    fn quiet(&self, state: &Situation, possible: &[Possible<Self>]) -> Quiet<Lost> {
        let nobody = state.daemons.iter().all(|daemon| !daemon.alive);
        let goes_on = |step| match step {
            Step::Start(_) => nobody,
            Step::Ask(_)
            | Step::Look(_)
            | Step::Decide(_)
            | Step::Commit(_)
            | Step::Listen(_)
            | Step::TakeOver(_)
            | Step::AskAgain(_)
            | Step::Hear(_)
            | Step::Read(_)
            | Step::Answer(_)
            | Step::Resound(_)
            | Step::Await(_)
            | Step::Granted(_) => true,
            Step::Insert(_)
            | Step::DecideDeceived(_)
            | Step::RollBack(_)
            | Step::Rob(_)
            | Step::Hush(_)
            | Step::Fail(_) => false,
        };
        match possible.iter().position(|next| goes_on(next.step)) {
            Some(next) => Quiet::Next(next),
            None if state.unread == 0 => Quiet::Right,
            None => Quiet::Broken(Lost),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

/// Whatever the interleaving, a change that was committed is read in the end.
#[test]
fn no_change_is_lost_in_silence() {
    let Explored { states, broken } = explore(&Doorbell(&[]));
    println!("doorbell: {states} states");
    assert_eq!(broken.map(|(_, trace)| trace), None);
    assert!(states > 20_000, "only {states} states");
}

/// Each part of the protocol is needed: without it a change is lost.
#[test]
fn without_any_part_of_it_a_change_is_lost() {
    for flaw in [
        &[Flaw::SilentLockLast],
        &[Flaw::SleeperNotAsked],
        &[Flaw::SilentWithoutLock],
        &[Flaw::LockEndsEarly],
        &[Flaw::NobodyAwaited],
        &[Flaw::AwaitedBeforeResounding],
        &[Flaw::NeverResounds],
        &[Flaw::NoLastRead],
        &[Flaw::LastReadBeforeWait],
        &[Flaw::TakeOverWaitsForNobody],
        &[Flaw::NotAskedAgain],
    ] {
        let Explored { states, broken } = explore(&Doorbell(flaw));
        let trace = broken.map(|(_, trace)| trace).unwrap_or_default();
        println!("with {flaw:?}: {states} states, then a change is lost:\n{trace}");
        assert!(!trace.is_empty(), "nothing is lost with {flaw:?}");
    }
}
