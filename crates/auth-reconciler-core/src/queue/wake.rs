//! Why and since when a key waits, and rings, of which nothing but that is believed.

use std::hash::Hash;

use super::entry::{Pace, Running};
use super::{Moment, Queue};
use crate::Cause;

/// Why and since when a key waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The greatest of the merged causes.
    pub cause: Cause,
    /// When the first of them came.
    pub since: Moment,
    /// Nothing but rings, which anybody may send: the run is to end with [`Next::AsBefore`](super::Next::AsBefore) if it
    /// reads nothing new.
    pub rung: bool,
}

impl Wake {
    pub(super) const fn new(cause: Cause, since: Moment) -> Self {
        Self {
            cause,
            since,
            rung: false,
        }
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            cause: self.cause.max(other.cause),
            since: self.since.min(other.since),
            rung: self.rung && other.rung,
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Somebody rang for `key`: there may be something new to read.
    pub fn ring(&mut self, key: K, cause: Cause, now: Moment) {
        let wake = Wake {
            rung: true,
            ..Wake::new(cause, now)
        };
        self.want(key, wake, now);
    }

    pub(super) fn want(&mut self, key: K, wake: Wake, now: Moment) {
        let entry = self.entry(&key, now);
        let held = entry.drift_held.is_some_and(|until| until > now);
        if wake.cause == Cause::Drift && held && entry.running.is_none() {
            // The deadline at the end of the hold is armed; the change waits in the log until then. Not
            // so during a run: it took the deadline with it, and may have read before this change.
            return;
        }
        entry.wake = Some(entry.wake.map_or(wake, |kept| kept.merge(wake)));
        if entry.running.is_none() {
            self.line_up(&key, now);
        }
    }

    /// A run that found nothing new leaves all as it was before it: deadline, hold, and what may be spent.
    pub(super) fn restore(&mut self, key: &K, run: Running, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.pace.full_at > Moment::ZERO {
            entry.pace = Pace {
                full_at: run.pace_before.full_at,
            };
        }
        if entry.drift_held.is_some_and(|until| until > now) {
            entry.wake = entry.wake.filter(|wake| wake.cause != Cause::Drift);
        }
        if let Some((due, cause)) = run.due_before {
            self.arm(key, due, cause);
        }
    }

    /// A ring waits for the pace. It takes no deadline's place: whatever was to happen then still is.
    pub(super) fn hold_back(&mut self, key: &K, allowed: Moment, cause: Cause) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        match entry.due {
            Some((armed, _)) if armed <= allowed => return,
            Some((armed, _)) => {
                self.due.remove(&(armed, key.clone()));
            }
            None => {}
        }
        let armed = entry.due.replace((allowed, cause));
        entry.behind.get_or_insert(armed);
        self.due.insert((allowed, key.clone()));
    }

    /// The pace allows what was held back.
    pub(super) fn let_go(&mut self, key: &K, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if let Some((due, cause)) = entry.behind.take().flatten() {
            self.arm(key, due, cause);
        }
        if self
            .entries
            .get(key)
            .is_some_and(|entry| entry.running.is_none())
        {
            self.line_up(key, now);
        }
    }
}
