//! Whether writers have to ring. A ring costs all who commit at the same time, so while the change log is read over and
//! over nobody rings: the log is read again after each read that has brought something and each write of ours, until a read
//! brings nothing while nothing of ours is under way in the database. Then writers are to ring again.
//!
//! ```text
//!             one ring after
//!   ┌───────┐   the other   ┌─────────┐   had  ┌────────┐
//!   │ rings │──────────────▶│ hushing │───────▶│ silent │ reads by itself
//!   └───────┘◀──────────────└─────────┘        └────────┘
//!     ▲            not had                          │ nothing to read, nothing under way
//!     │ one more read                               ▼
//!   ┌──────────┐  the locks are changed back    ┌──────────┐
//!   │ awaiting │◀───────────────────────────────│ resuming │
//!   └──────────┘ wait for who was silent         └──────────┘
//!     ▲ a term begins here: a leader before it may have had writers be silent
//! ```
//!
//! Everybody rings for this process by a lock of its session. Any role may keep that lock from it for a while, in which
//! everybody rings as well. So where it could not be had it is asked for again with each echo, as one resumes.
//!
//! To let writers ring is always right, so that is done where there is doubt. What must not be left out: the lock is
//! given back before those who were silent are waited for, and the log is read after that.

use super::phase::Phase;
use super::{Controller, Failure, Work};
use crate::queue::Moment;

/// Where a term is with its doorbell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Everybody rings.
    Rings,
    /// They do while somebody else has the lock by which they ring for us, and it is asked for again.
    Unsure,
    /// There is one ring after the other: it pays to have nobody ring.
    Wanted,
    /// That was asked for.
    Hushing,
    /// Nobody rings.
    Silent,
    /// Writers are told to ring again.
    Resuming,
    /// They do; those who were silent before are to be waited for.
    #[default]
    Owed,
    /// They are.
    Awaiting,
}

/// The doorbell of a term.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: State,
    /// Somebody else had the lock by which everybody rings for us when it was asked for last.
    lacks_lock: bool,
}

impl Bell {
    pub(super) fn begin(has_sleeper_lock: bool) -> Self {
        Self {
            lacks_lock: !has_sleeper_lock,
            ..Self::default()
        }
    }

    /// An echo was heard.
    pub(super) fn try_again(&mut self) {
        if self.lacks_lock && self.state == State::Rings {
            self.state = State::Unsure;
        }
    }

    /// Whether changes may be committed that nobody rings for.
    const fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent)
    }
}

impl Controller {
    /// A read that somebody rang for has brought something. If there was another ring meanwhile, or what was read before
    /// is not answered for yet, more are to be expected. (A ring alone says nothing: any role may send one.)
    pub(super) fn rung_for_changes(&mut self, now: Moment) {
        let more = self.log.rang || self.rings.owes_log() || self.is_busy(now);
        if let Phase::Leading(term) = &mut self.phase
            && term.bell.state == State::Rings
            && more
        {
            term.bell.state = State::Wanted;
        }
    }

    /// Something of ours has ended in the database: what was committed in silence meanwhile is to be read.
    pub(super) fn read_on(&mut self) {
        if let Phase::Leading(term) = &self.phase
            && term.bell.is_silent()
        {
            self.log.unheard();
        }
    }

    /// What is to be done about the doorbell now.
    pub(super) fn begin_bell(&mut self, now: Moment) -> Option<Work> {
        let reads_on = self.is_busy(now) || self.may_read_log(now);
        let Phase::Leading(term) = &mut self.phase else {
            return None;
        };
        let (next, work) = match term.bell.state {
            State::Wanted => (State::Hushing, Work::Hush),
            State::Silent if !reads_on => (State::Resuming, Work::Resound),
            State::Unsure => (State::Resuming, Work::Resound),
            // Not before the first scan of a term: what it finds would be found twice.
            State::Owed if term.announced => (State::Awaiting, Work::AwaitSilent),
            State::Owed
            | State::Rings
            | State::Hushing
            | State::Silent
            | State::Resuming
            | State::Awaiting => {
                return None;
            }
        };
        term.bell.state = next;
        Some(work)
    }

    /// Nobody rings from now on; false: that could not be had.
    pub(super) fn hushed(&mut self, hushed: Result<bool, Failure>, now: Moment) {
        match hushed {
            Ok(true) => self.bell_is(State::Silent),
            Ok(false) => self.bell_is(State::Rings),
            Err(failure) => self.missed(failure, now),
        }
    }

    /// Whoever commits from now on rings; false: the lock that has them ring could not be had.
    pub(super) fn resounds(&mut self, done: Result<bool, Failure>, now: Moment) {
        match done {
            Ok(has_lock) => {
                self.bell_is(State::Owed);
                if let Phase::Leading(term) = &mut self.phase {
                    term.bell.lacks_lock = !has_lock;
                }
            }
            Err(failure) => self.missed(failure, now),
        }
    }

    /// All who were silent have committed; false: not all of them, and they are waited for again.
    pub(super) fn awaited(&mut self, done: Result<bool, Failure>, now: Moment) {
        match done {
            Ok(all) => {
                self.log.unheard();
                self.bell_is(if all { State::Rings } else { State::Owed });
            }
            Err(failure) => self.missed(failure, now),
        }
    }

    fn bell_is(&mut self, state: State) {
        if let Phase::Leading(term) = &mut self.phase {
            term.bell.state = state;
        }
    }

    /// When silence is to be given up though nothing happens until then: a record takes long, and nobody rings.
    pub(super) fn bell_deadline(&self, now: Moment) -> Option<Moment> {
        let Phase::Leading(term) = &self.phase else {
            return None;
        };
        let until = self.records.end_is_near_until(now);
        until.filter(|_| term.bell.is_silent())
    }

    /// Whether something of ours is under way in the database, or about to be, at whose end the log is read soon.
    fn is_busy(&self, now: Moment) -> bool {
        self.reads.is_busy() || self.records.is_busy(now) || self.log.is_putting_off()
    }
}
