//! Who has a place, and who waits for one.
//!
//! Those that converge share the places in turns. What is ready has a place only while none of them wants
//! it, and takes no turns: following it is worth something, beginning to follow it costs a request.

use std::collections::BTreeMap;

use super::Limits;
use crate::queue::Moment;

/// Where one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It converges, and waits.
    Waiting(u64),
    /// It converges, and is followed.
    Placed(u64),
    /// It is ready, and waits.
    Spare(u64),
    /// It is ready, and is followed.
    Lent(u64),
    /// Its output was over.
    Over,
    /// It was to be followed when the engine went out of sight.
    Lost,
    /// Its output cannot be read.
    Never,
    /// It is not wanted at the moment.
    Idle,
}

impl Place {
    pub(super) const fn is_followed(self) -> bool {
        matches!(self, Self::Placed(_) | Self::Lent(_))
    }
}

/// Something that changes.
#[derive(Debug)]
pub(super) enum Move<K> {
    /// It is followed from now on.
    Begins(K, Place),
    /// It is followed no longer.
    Ends(K, Place),
}

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Places<K> {
    limits: Limits,
    /// By the order in which they came.
    waiting: BTreeMap<u64, K>,
    spare: BTreeMap<u64, K>,
    /// In the order in which they got it, each with since when.
    placed: BTreeMap<u64, (Moment, K)>,
    lent: BTreeMap<u64, K>,
    ticket: u64,
}

impl<K: Clone> Places<K> {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            spare: BTreeMap::new(),
            placed: BTreeMap::new(),
            lent: BTreeMap::new(),
            ticket: 0,
        }
    }

    pub(super) const fn any(&self) -> bool {
        self.limits.places > 0
    }

    /// It is to be followed in its turn, as it converges.
    pub(super) fn converges(&mut self, key: &K, place: Place, now: Moment) -> Place {
        match place {
            Place::Waiting(_) | Place::Placed(_) | Place::Never => place,
            Place::Lent(ticket) => {
                self.lent.remove(&ticket);
                self.place(key, now)
            }
            Place::Spare(_) | Place::Over | Place::Lost | Place::Idle => {
                self.leave(place);
                self.wait(key)
            }
        }
    }

    /// It is to be followed where a place is free, as it is ready.
    pub(super) fn rests(&mut self, key: &K, place: Place) -> Place {
        match place {
            Place::Spare(_) | Place::Lent(_) | Place::Never => place,
            Place::Placed(ticket) => {
                self.placed.remove(&ticket);
                self.lend(key)
            }
            Place::Waiting(_) | Place::Over | Place::Lost | Place::Idle => {
                self.leave(place);
                let ticket = self.ticket();
                self.spare.insert(ticket, key.clone());
                Place::Spare(ticket)
            }
        }
    }

    /// It is not to be followed.
    pub(super) fn leave(&mut self, place: Place) {
        match place {
            Place::Waiting(ticket) => drop(self.waiting.remove(&ticket)),
            Place::Spare(ticket) => drop(self.spare.remove(&ticket)),
            Place::Placed(ticket) => drop(self.placed.remove(&ticket)),
            Place::Lent(ticket) => drop(self.lent.remove(&ticket)),
            Place::Over | Place::Lost | Place::Never | Place::Idle => {}
        }
    }

    /// What changes at `now`, one after the other.
    pub(super) fn next(&mut self, now: Moment) -> Option<Move<K>> {
        let free = self.following() < self.limits.places;
        if self.waiting.is_empty() {
            let (_, key) = free.then(|| self.spare.pop_first())??;
            let place = self.lend(&key);
            return Some(Move::Begins(key, place));
        }
        if free {
            let (_, key) = self.waiting.pop_first()?;
            let place = self.place(&key, now);
            return Some(Move::Begins(key, place));
        }
        // The one that was ready last may have something to say; the first has been so for long.
        if let Some((_, key)) = self.lent.pop_first() {
            let ticket = self.ticket();
            self.spare.insert(ticket, key.clone());
            return Some(Move::Ends(key, Place::Spare(ticket)));
        }
        let (since, _) = self.placed.first_key_value()?.1;
        if *since + self.limits.turn > now {
            return None;
        }
        // To the end of the line.
        let (_, (_, key)) = self.placed.pop_first()?;
        let place = self.wait(&key);
        Some(Move::Ends(key, place))
    }

    /// When a turn is over.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.placed
            .first_key_value()
            .filter(|_| !self.waiting.is_empty())
            .map(|(_, (since, _))| *since + self.limits.turn)
    }

    /// Those that are followed.
    pub(super) fn following(&self) -> usize {
        self.placed.len() + self.lent.len()
    }

    /// Those that are not, and would be.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.spare.len()
    }

    fn wait(&mut self, key: &K) -> Place {
        let ticket = self.ticket();
        self.waiting.insert(ticket, key.clone());
        Place::Waiting(ticket)
    }

    fn place(&mut self, key: &K, now: Moment) -> Place {
        let ticket = self.ticket();
        self.placed.insert(ticket, (now, key.clone()));
        Place::Placed(ticket)
    }

    fn lend(&mut self, key: &K) -> Place {
        let ticket = self.ticket();
        self.lent.insert(ticket, key.clone());
        Place::Lent(ticket)
    }

    const fn ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }
}
