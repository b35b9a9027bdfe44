//! The pieces of the world that are searched, each small enough to be searched to the end.
//!
//! The whole protocol is shown to hold in every one of them, so that what a flaw breaks there is
//! broken by the flaw and not by the scenario.

use crate::model::{Beginning, Daemons};
use crate::protocol::Protocol;
use crate::state::Budget;
use crate::writers::Write;

const QUIET: Budget = Budget {
    writes: 0,
    crashes: 0,
    kills: 0,
    ear_losses: 0,
    given_up: 0,
    hiccups: 0,
    failures: 0,
    deferred: 0,
    failed_reads: 0,
    unlisted: 0,
    roll_backs: 0,
};

/// One process, a row that has just been inserted, writers who wait for their commits, and
/// nothing else.
const CALM: Daemons = Daemons {
    protocol: Protocol::WHOLE,
    processes: 1,
    start: Beginning::New,
    writes: &[],
    async_writers: false,
    writers_stay_open: false,
    answers_take_time: false,
    near: None,
    standby_lags: false,
    budget: QUIET,
    only_the_end: false,
};

/// A leader and a standby; the leader may lose its ear, its life, or both.
pub(crate) fn takeover() -> Daemons {
    Daemons {
        processes: 2,
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Account, Write::Drift],
        budget: Budget {
            writes: 1,
            ear_losses: 1,
            kills: 1,
            hiccups: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// One process whose ear and life are cut while an instance converges, or is restarted.
pub(crate) fn converging() -> Daemons {
    Daemons {
        writes: &[Write::Account, Write::Drift, Write::Restart],
        budget: Budget {
            writes: 2,
            kills: 1,
            ear_losses: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// A process gives up waiting for a record that the server still executes, while the row is
/// changed, deleted and inserted again.
pub(crate) fn late_record() -> Daemons {
    Daemons {
        writes: &[Write::Key, Write::Drift, Write::Delete, Write::Insert],
        budget: Budget {
            writes: 2,
            given_up: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// The batch that a record is in fails because of another key, while the row is changed and the ear is lost.
pub(crate) fn failed_batch() -> Daemons {
    Daemons {
        processes: 2,
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Drift],
        budget: Budget {
            writes: 2,
            ear_losses: 1,
            failures: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// A server crash takes back what foreign writers committed asynchronously, after a run read it;
/// the ids of those changes are given out again.
pub(crate) fn lost_writes() -> Daemons {
    Daemons {
        writes: &[Write::Key, Write::Drift],
        async_writers: true,
        budget: Budget {
            writes: 2,
            crashes: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// A fail-over to a standby that lags: even what was committed synchronously may be lost.
pub(crate) fn failover() -> Daemons {
    Daemons {
        processes: 2,
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Account, Write::Drift],
        standby_lags: true,
        budget: Budget {
            writes: 1,
            crashes: 1,
            hiccups: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// Two processes and a server crash that takes back records, and a writer who waits.
pub(crate) fn lost_records() -> Daemons {
    Daemons {
        processes: 2,
        writes: &[Write::Key],
        budget: Budget {
            writes: 1,
            crashes: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// Two processes that take over from each other across a server crash, one of which dies.
pub(crate) fn lost_leadership() -> Daemons {
    Daemons {
        processes: 2,
        budget: Budget {
            crashes: 1,
            kills: 1,
            hiccups: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// Foreign transactions whose ids commit in any order, while reads take their time. None of them
/// counts as near, so that each that was open costs one more read.
pub(crate) fn late_commits() -> Daemons {
    Daemons {
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Ask],
        writers_stay_open: true,
        answers_take_time: true,
        near: Some(0),
        budget: Budget { writes: 3, ..QUIET },
        ..CALM
    }
}

/// The same without locks of the row, with one that is rolled back, and with a read that fails; reads
/// begin early for who is open.
pub(crate) fn failed_read() -> Daemons {
    Daemons {
        writes: &[Write::Ask],
        near: Some(1),
        budget: Budget {
            writes: 4,
            failed_reads: 1,
            roll_backs: 1,
            ..QUIET
        },
        ..late_commits()
    }
}

/// The same with a read that cannot tell who is in progress, and none that begins early.
pub(crate) fn unlisted() -> Daemons {
    Daemons {
        near: Some(0),
        budget: Budget {
            writes: 4,
            unlisted: 1,
            roll_backs: 1,
            ..QUIET
        },
        ..failed_read()
    }
}

/// A look ends without a verdict, and the process that puts its changes off loses its ear or its life.
pub(crate) fn put_off() -> Daemons {
    Daemons {
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Drift],
        budget: Budget {
            writes: 2,
            ear_losses: 1,
            kills: 1,
            deferred: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// A server crash gives ids out again, while answers to reads are on their way and changes are put off.
pub(crate) fn lost_ids() -> Daemons {
    Daemons {
        start: Beginning::Ready,
        writes: &[Write::Key, Write::Drift],
        async_writers: true,
        answers_take_time: true,
        near: Some(1),
        budget: Budget {
            writes: 2,
            crashes: 1,
            deferred: 1,
            ..QUIET
        },
        ..CALM
    }
}

/// A table is watched while another one, which is written to as well, is served already.
pub(crate) fn new_table() -> Daemons {
    Daemons {
        start: Beginning::Unwatched,
        writes: &[Write::Watch, Write::Other],
        budget: Budget {
            writes: 3,
            ear_losses: 1,
            ..QUIET
        },
        ..late_commits()
    }
}
