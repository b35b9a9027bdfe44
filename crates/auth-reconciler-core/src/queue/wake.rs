//! Why and since when a key waits.

use std::hash::Hash;

use super::entry::Lane;
use super::{Moment, Queue};
use crate::Cause;

/// Why and since when a key waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The greatest of the merged causes.
    pub cause: Cause,
    /// When the first of them came.
    pub since: Moment,
}

impl Wake {
    pub(super) const fn new(cause: Cause, since: Moment) -> Self {
        Self { cause, since }
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            cause: self.cause.max(other.cause),
            since: self.since.min(other.since),
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Has `key`, of which something new was read, run at once, whoever waits: call it for no more keys than there are
    /// [free](Queue::free) slots. Returns why it runs; `None` if it runs already, or is to wait: for the end of a hold
    /// of foreign writes, or for its pace. Its deadline is armed then.
    pub fn begin(&mut self, key: &K, cause: Cause, now: Moment) -> Option<Wake> {
        let limits = self.limits;
        let entry = self.entry(key, now);
        if entry.running.is_some() || (cause == Cause::Drift && entry.holds_drift(now)) {
            return None;
        }
        entry.keep(Wake::new(cause, now));
        let allowed = entry.pace.allowed_at(&limits);
        if allowed > now {
            self.arm(key, allowed, cause);
            return None;
        }
        let wake = entry.take_wake()?;
        match entry.waiting.take() {
            Some((Lane::First, place)) => drop(self.first.remove(&place)),
            Some((Lane::Retry, place)) => drop(self.retry.remove(&place)),
            None => {}
        }
        self.run(key, wake, (Lane::First, true), now);
        Some(wake)
    }

    pub(super) fn want(&mut self, key: K, wake: Wake, now: Moment) {
        let entry = self.entry(&key, now);
        if wake.cause == Cause::Drift && entry.holds_drift(now) && entry.running.is_none() {
            // The deadline at the end of the hold is armed. Not so during a run: it took the deadline with it, and may
            // have read before this change.
            return;
        }
        entry.keep(wake);
        if entry.running.is_none() {
            self.line_up(&key, now);
        }
    }
}
