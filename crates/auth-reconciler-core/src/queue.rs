//! One keyed queue: who is looked at next, and when.
//!
//! Guarantees, whatever the order of calls:
//!
//! * a key never runs twice at once; a wake during a run is kept and runs after it;
//! * doubles merge: a key waits at most once, under the greatest of its causes and since the first;
//! * what asked for a run that came to nothing is told with the one that follows it, whose place is that of a retry
//!   ([`Queue::carry`]);
//! * at most [`Limits::slots`] runs at once, of which retries may hold [`Limits::retry_slots`], so
//!   that a fleet of hanging instances leaves room for those of which something is new;
//! * retries yield to first looks in waiting, too; and a run that has held its slot for
//!   [`Limits::patience`] while a first look waits is asked to give way ([`Command::GiveWay`]);
//! * output of a container matters while its instance converges: what it said during the run that
//!   settles it leads to no other run;
//! * per key, looks beyond [`Limits::burst`] follow each other no faster than [`Limits::interval`]; each
//!   start of its container begins that count anew;
//! * memory is bounded by the keys that wait, run, have a deadline, or ran within the last minutes.
//!
//! Time is an argument: a [`Moment`] is the time since an origin that the caller keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::Cause;

mod entry;
mod run;
#[cfg(test)]
mod tests;
mod wake;

use entry::{Entry, Lane, Pace, Running};
pub use wake::Wake;

/// Monotonic time since an origin of the caller's.
pub type Moment = Duration;

/// How long a run is left in peace while a first look waits for its slot; and its API, from when it was asked.
pub const PATIENCE: Duration = Duration::from_millis(250);

/// The bounds that the queue keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs at once.
    pub slots: usize,
    /// Of these, runs that are retries.
    pub retry_slots: usize,
    /// How long a run may hold its slot while a first look waits for one.
    pub patience: Duration,
    /// Looks at one key that may follow each other at once.
    pub burst: u32,
    /// The time after which one look of the burst may be had again.
    pub interval: Duration,
}

impl Limits {
    /// Limits for so many slots: retries leave a quarter of them, at least one where there are two.
    #[must_use]
    pub fn with_slots(slots: usize, burst: u32, interval: Duration) -> Self {
        let slots = slots.max(1);
        let retry_slots = (slots - slots / 4).min(slots.saturating_sub(1)).max(1);
        Self {
            slots,
            retry_slots,
            patience: PATIENCE,
            burst: burst.max(1),
            interval,
        }
    }
}

/// What is asked of the slots for keys that are not in the queue, but in a log that is read when there is room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Slots that are spoken for, as a read is under way.
    pub reserved: usize,
    /// First looks that wait there, as far as is known.
    pub waiting: usize,
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<K> {
    /// Run this key now, and call [`Queue::finish`] at its end.
    Start {
        /// The key.
        key: K,
        /// Why.
        wake: Wake,
    },
    /// End the probe of this running key without an answer; it is still to be finished.
    GiveWay {
        /// The key.
        key: K,
    },
}

/// What is to happen to a key after its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing but events.
    Settled,
    /// Another look at this moment at the latest.
    At {
        /// When.
        due: Moment,
        /// Until then foreign writes cause no look.
        hold_drift: bool,
    },
}

/// The queue. See the module for what it guarantees.
#[derive(Debug)]
pub struct Queue<K> {
    limits: Limits,
    entries: HashMap<K, Entry>,
    first: BTreeMap<u64, K>,
    retry: BTreeMap<u64, K>,
    due: BTreeSet<(Moment, K)>,
    /// The keys that run; there are never more than slots.
    active: BTreeSet<K>,
    running_retries: usize,
    running_from_log: usize,
    ticket: u64,
    sweep_at: usize,
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            first: BTreeMap::new(),
            retry: BTreeMap::new(),
            due: BTreeSet::new(),
            active: BTreeSet::new(),
            running_retries: 0,
            running_from_log: 0,
            ticket: 0,
            sweep_at: 1024,
        }
    }

    /// Something happened to `key`: look at it as soon as there is a slot.
    pub fn wake(&mut self, key: K, cause: Cause, now: Moment) {
        if cause.goes_on() {
            // What the life before it has spent is not its own.
            self.entry(&key, now).pace = Pace::default();
        }
        self.want(key, Wake::new(cause, now), now);
    }

    /// The next thing to do at `now`, if there is one. Call it until it returns `None`.
    pub fn next(&mut self, claim: Claim, now: Moment) -> Option<Command<K>> {
        self.ring_alarms(now);
        while let Some((key, lane)) = self.take(claim) {
            if let Some(start) = self.start(key, lane, now) {
                return Some(start);
            }
        }
        self.ask_to_give_way(claim, now)
    }

    /// Slots that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.limits.slots.saturating_sub(self.active.len())
    }

    /// When [`Queue::next`] has something to do though nothing happens until then.
    #[must_use]
    pub fn deadline(&self, claim: Claim) -> Option<Moment> {
        let alarm = self.due.first().map(|(moment, _)| *moment);
        let give_way = self
            .may_give_way(claim)
            .map(|(_, run)| run.since + self.limits.patience)
            .min();
        alarm.into_iter().chain(give_way).min()
    }

    /// Keys that wait for a slot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.first.len() + self.retry.len()
    }

    /// Keys that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// Keys that have a deadline armed.
    #[must_use]
    pub fn armed(&self) -> usize {
        self.due.len()
    }

    /// Forgets every key that does not run, and every wake and deadline: after a gap in knowing, a
    /// resync queues anew what must be looked at.
    pub fn clear(&mut self) {
        self.first.clear();
        self.retry.clear();
        self.due.clear();
        self.entries.retain(|_, entry| {
            entry.waiting = None;
            entry.wake = None;
            entry.carried = None;
            entry.due = None;
            entry.drift_held = None;
            entry.running.is_some()
        });
    }

    fn entry(&mut self, key: &K, now: Moment) -> &mut Entry {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| !entry.is_idle(now));
            self.sweep_at = (self.entries.len() * 2).max(1024);
        }
        self.entries.entry(key.clone()).or_default()
    }

    /// Puts a key with a wake and without a run into its lane, or moves it to a better one.
    fn line_up(&mut self, key: &K, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Some(wake) = entry.wake else { return };
        let lane = Lane::of(wake.cause);
        match entry.waiting {
            Some((Lane::First, _)) => return,
            Some((Lane::Retry, _)) if lane == Lane::Retry => return,
            Some((Lane::Retry, place)) => {
                self.retry.remove(&place);
            }
            None => {}
        }
        let allowed = entry.pace.allowed_at(&self.limits);
        if allowed > now {
            entry.waiting = None;
            self.arm(key, allowed, wake.cause);
            return;
        }
        self.ticket += 1;
        entry.waiting = Some((lane, self.ticket));
        match lane {
            Lane::First => self.first.insert(self.ticket, key.clone()),
            Lane::Retry => self.retry.insert(self.ticket, key.clone()),
        };
    }

    /// Arms the deadline of a key; of two the earlier wins.
    fn arm(&mut self, key: &K, due: Moment, cause: Cause) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        match entry.due {
            Some((armed, _)) if armed <= due => return,
            Some((armed, _)) => {
                self.due.remove(&(armed, key.clone()));
            }
            None => {}
        }
        entry.due = Some((due, cause));
        self.due.insert((due, key.clone()));
    }

    fn disarm(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if let Some((armed, _)) = entry.due.take() {
            self.due.remove(&(armed, key.clone()));
        }
    }

    fn ring_alarms(&mut self, now: Moment) {
        while let Some((moment, key)) = self.due.first().cloned() {
            if moment > now {
                return;
            }
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            let cause = entry.due.take().map_or(Cause::Backoff, |(_, cause)| cause);
            entry.keep(Wake::new(cause, moment));
            if entry.running.is_none() {
                self.line_up(&key, now);
            }
        }
    }

    /// Who is next, and in which lane. Whoever waits in the log has a share of the slots, and goes before first looks until he
    /// has it. Of retries there may always be some: they leave that share free, but for as many as it is, so that they do not
    /// wait for the end of a long log.
    fn take(&mut self, claim: Claim) -> Option<(K, Lane)> {
        let free = self.free().saturating_sub(claim.reserved);
        let (slots, waits) = (self.limits.slots, claim.waiting > 0);
        let share = if waits { (slots / 8).max(1) } else { 0 };
        // Where there is but one slot, they take turns with the reads.
        let missing = share.min(slots - 1).saturating_sub(self.running_from_log);
        if free > missing
            && let Some((_, key)) = self.first.pop_first()
        {
            return Some((key, Lane::First));
        }
        let neglected = self.running_from_log >= share && self.running_retries < share;
        let left = if neglected { 0 } else { share };
        if free > left && self.running_retries < self.limits.retry_slots {
            let (_, key) = self.retry.pop_first()?;
            return Some((key, Lane::Retry));
        }
        None
    }

    fn ask_to_give_way(&mut self, claim: Claim, now: Moment) -> Option<Command<K>> {
        let patience = self.limits.patience;
        let (key, _) = self
            .may_give_way(claim)
            .filter(|(_, run)| run.since + patience <= now)
            .min_by_key(|(_, run)| (run.lane == Lane::First, run.since))?;
        let key = key.clone();
        let run = self.entries.get_mut(&key)?.running.as_mut()?;
        run.asked_to_give_way = true;
        Some(Command::GiveWay { key })
    }

    /// The runs of which one could be asked to give way: none while there are free slots, or while as
    /// many have been asked as first looks wait.
    fn may_give_way(&self, claim: Claim) -> impl Iterator<Item = (&K, Running)> {
        let runs = || {
            let entries = self.active.iter().map(|key| (key, self.entries.get(key)));
            entries.filter_map(|(key, entry)| Some((key, entry?.running?)))
        };
        let asked = runs().filter(|(_, run)| run.asked_to_give_way).count();
        let wanted = self.free() == 0 && asked < self.first.len() + claim.waiting;
        runs().filter(move |(_, run)| wanted && !run.asked_to_give_way)
    }
}
