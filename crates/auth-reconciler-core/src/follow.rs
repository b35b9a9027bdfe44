//! Whose output is followed, and which of it is worth a look.
//!
//! While an instance converges and its container runs, anything that the container writes is a hint to
//! look again now: it logs that it is ready right after it is. The text itself says nothing to us.
//!
//! Guarantees, whatever the order of calls:
//!
//! * at most [`Limits::places`] containers are followed at once; who waits longest is next, and one
//!   that has been followed for [`Limits::turn`] makes room for it;
//! * the first output after a silence leads to a look at once; what comes within
//!   [`Limits::spacing`] of the last look that it led to is one hint more, at the end of that time;
//! * beyond [`Limits::burst`] hints an instance gets one per [`Limits::refill`]: a container that writes
//!   without end costs a bounded number of looks, and the daemon nothing between them;
//! * memory is bounded by the instances that converge.
//!
//! Nothing is missed between a look and the moment at which following begins: a follower starts with
//! the last thing that the container said before, so its beginning is a hint itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::queue::Moment;

#[cfg(test)]
mod tests;

/// The bounds that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Containers followed at once; zero follows none.
    pub places: usize,
    /// How long one keeps its place while another waits.
    pub turn: Duration,
    /// Shortest time between two looks that output of one container leads to.
    pub spacing: Duration,
    /// Hints of one container that may follow each other in that spacing.
    pub burst: u32,
    /// The time after which one hint of the burst may be had again.
    pub refill: Duration,
}

impl Limits {
    /// The limits with so many places.
    #[must_use]
    pub const fn with_places(places: usize) -> Self {
        Self {
            places,
            turn: Duration::from_secs(2),
            spacing: Duration::from_millis(20),
            burst: 40,
            refill: Duration::from_secs(1),
        }
    }
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<K> {
    /// Follow the output of this container, and call [`Followers::output`] for what it says.
    Attach {
        /// The instance.
        key: K,
        /// Id of its container.
        container: String,
    },
    /// Follow it no longer.
    Detach {
        /// The instance.
        key: K,
    },
    /// Look at this instance now.
    Look {
        /// The instance.
        key: K,
    },
}

/// Who follows whom.
#[derive(Debug)]
pub struct Followers<K> {
    limits: Limits,
    entries: HashMap<K, Entry>,
    /// Those without a place, by the order in which they came.
    waiting: BTreeMap<u64, K>,
    /// Those with a place, in the order in which they got it, each with since when.
    placed: BTreeMap<u64, (Moment, K)>,
    /// Hints that wait for the end of a spacing.
    due: BTreeSet<(Moment, K)>,
    /// Places that were taken back and are still to be told.
    leaving: Vec<K>,
    ticket: u64,
}

#[derive(Debug)]
struct Entry {
    container: String,
    place: Place,
    /// No hint before this moment.
    open_at: Moment,
    /// The moment at which the whole burst could be had again.
    full_at: Moment,
    /// A hint that waits for [`Entry::open_at`].
    due: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting(u64),
    Placed(u64),
    /// Its output was over.
    Over,
    /// Its output cannot be read.
    Never,
}

impl<K: Clone + Ord + Hash> Followers<K> {
    /// Nobody is followed.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            waiting: BTreeMap::new(),
            placed: BTreeMap::new(),
            due: BTreeSet::new(),
            leaving: Vec::new(),
            ticket: 0,
        }
    }

    /// The instance converges, and this container of it runs.
    pub fn want(&mut self, key: &K, container: &str) {
        if self.limits.places == 0 {
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            if entry.container == container {
                if entry.place == Place::Over {
                    self.ticket += 1;
                    self.waiting.insert(self.ticket, key.clone());
                    entry.place = Place::Waiting(self.ticket);
                }
                return;
            }
            self.release(key);
        }
        self.ticket += 1;
        self.waiting.insert(self.ticket, key.clone());
        let entry = Entry {
            container: container.to_owned(),
            place: Place::Waiting(self.ticket),
            open_at: Moment::ZERO,
            full_at: Moment::ZERO,
            due: None,
        };
        self.entries.insert(key.clone(), entry);
    }

    /// The instance converges no longer, or its container does not run.
    pub fn release(&mut self, key: &K) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        if let Some(due) = entry.due {
            self.due.remove(&(due, key.clone()));
        }
        self.leave(key, entry.place);
    }

    /// The container whose output leads to looks at the moment.
    #[must_use]
    pub fn followed(&self, key: &K) -> Option<&str> {
        self.entries
            .get(key)
            .filter(|entry| matches!(entry.place, Place::Placed(_)))
            .map(|entry| entry.container.as_str())
    }

    /// The container wrote something. Until [`Command::Look`] comes for it, more of it says no more.
    pub fn output(&mut self, key: &K, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.due.is_none() {
            let due = entry.open_at.max(now);
            entry.due = Some(due);
            self.due.insert((due, key.clone()));
        }
    }

    /// Following it has ended by itself: its output is over for now. It is followed again when it is
    /// wanted again; what it said last is a hint all the same, and what it has spent stays spent, else one
    /// whose output ends each time at once would lead to looks without end.
    pub fn over(&mut self, key: &K) {
        self.unplace(key, Place::Over);
    }

    /// Its output cannot be read at all; the same container is not tried again until it is released.
    pub fn unreadable(&mut self, key: &K) {
        self.unplace(key, Place::Never);
    }

    fn unplace(&mut self, key: &K, place: Place) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if let Place::Placed(ticket) = entry.place {
            entry.place = place;
            self.placed.remove(&ticket);
        }
    }

    /// The next thing to do at `now`, if there is one. Call it until it returns `None`.
    pub fn next(&mut self, now: Moment) -> Option<Command<K>> {
        if let Some(key) = self.leaving.pop() {
            return Some(Command::Detach { key });
        }
        if let Some((due, key)) = self.due.first().cloned()
            && due <= now
        {
            self.due.pop_first();
            self.spend(&key, now);
            return Some(Command::Look { key });
        }
        if self.waiting.is_empty() {
            return None;
        }
        if self.placed.len() < self.limits.places {
            let (_, key) = self.waiting.pop_first()?;
            self.ticket += 1;
            let entry = self.entries.get_mut(&key)?;
            entry.place = Place::Placed(self.ticket);
            self.placed.insert(self.ticket, (now, key.clone()));
            return Some(Command::Attach {
                container: entry.container.clone(),
                key,
            });
        }
        let (since, key) = self.placed.first_key_value()?.1.clone();
        if since + self.limits.turn > now {
            return None;
        }
        // To the end of the line.
        self.placed.pop_first();
        self.ticket += 1;
        self.waiting.insert(self.ticket, key.clone());
        self.entries.get_mut(&key)?.place = Place::Waiting(self.ticket);
        Some(Command::Detach { key })
    }

    /// When [`Followers::next`] has something to do though nothing happens until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let hint = self.due.first().map(|(due, _)| *due);
        let turn = self
            .placed
            .first_key_value()
            .filter(|_| !self.waiting.is_empty())
            .map(|(_, (since, _))| *since + self.limits.turn);
        hint.into_iter().chain(turn).min()
    }

    /// Containers that are followed.
    #[must_use]
    pub fn following(&self) -> usize {
        self.placed.len()
    }

    /// Forgets everybody; those that are followed are to be let go of.
    pub fn clear(&mut self) {
        let keys: Vec<K> = self.entries.keys().cloned().collect();
        for key in keys {
            self.release(&key);
        }
    }

    fn leave(&mut self, key: &K, place: Place) {
        match place {
            Place::Waiting(ticket) => {
                self.waiting.remove(&ticket);
            }
            Place::Placed(ticket) => {
                self.placed.remove(&ticket);
                self.leaving.push(key.clone());
            }
            Place::Over | Place::Never => {}
        }
    }

    /// A token bucket that holds its debt as a moment, as the queue's pace does.
    fn spend(&mut self, key: &K, now: Moment) {
        let limits = self.limits;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.due = None;
        entry.full_at = entry.full_at.max(now) + limits.refill;
        let allowed = (entry.full_at + limits.refill).saturating_sub(limits.refill * limits.burst);
        entry.open_at = (now + limits.spacing).max(allowed);
    }
}
