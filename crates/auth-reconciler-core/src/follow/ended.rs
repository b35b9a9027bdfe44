//! Following that ended though nobody asked for it: the stream of one container, or the way to all.
//!
//! What one that is ready said meanwhile is missed for good if nobody looks: no other event of it is to come. So its end
//! is a hint, and the look that this leads to has it followed again. One that converges is looked at anyway.

use std::hash::Hash;

use super::places::Place;
use super::{Followers, Moment};

impl<K: Clone + Ord + Hash> Followers<K> {
    /// Following it has ended by itself: its output is over for now. It is followed again when it is
    /// wanted again; what it said last is a hint all the same, and what it has spent stays spent, else one
    /// whose output ends each time at once would lead to looks without end.
    pub fn over(&mut self, key: &K, now: Moment) {
        if self.unplace(key, Place::Over)
            && let Some(entry) = self.entries.get_mut(key)
        {
            entry.noise.over(now);
            self.index(key, now);
        }
    }

    /// Its output cannot be read at all; the same container is not tried again until it is released.
    pub fn unreadable(&mut self, key: &K) {
        self.unplace(key, Place::Never);
    }

    /// The engine is out of sight, and all streams end with it: nobody is followed until it is [back](Self::back).
    pub fn lost(&mut self) {
        for (key, entry) in &mut self.entries {
            match entry.place {
                Place::Never | Place::Idle | Place::Lost => continue,
                Place::Placed(_) | Place::Lent(_) => self.leaving.push(key.clone()),
                Place::Waiting(_) | Place::Spare(_) | Place::Over => {}
            }
            entry.noise.lost();
            self.places
                .leave(std::mem::replace(&mut entry.place, Place::Lost));
        }
    }

    /// The engine is in sight: who was to be followed is so again, those that were told to stop meanwhile excepted.
    pub fn back(&mut self, now: Moment) {
        let lost = self.entries.iter_mut();
        // In an order of their own, so that the same events lead to the same commands.
        let mut lost: Vec<_> = lost
            .filter(|(_, entry)| entry.place == Place::Lost)
            .collect();
        lost.sort_unstable_by_key(|(key, _)| *key);
        for (key, entry) in lost {
            entry.place = if entry.noise.rests {
                self.places.rests(key, entry.place)
            } else {
                self.places.converges(key, entry.place, now)
            };
        }
    }

    /// Takes its place from one that is followed; whether it had one.
    fn unplace(&mut self, key: &K, place: Place) -> bool {
        let followed = self.entries.get_mut(key);
        let Some(entry) = followed.filter(|entry| entry.place.is_followed()) else {
            return false;
        };
        entry.noise.unheard();
        self.places
            .leave(std::mem::replace(&mut entry.place, place));
        true
    }
}
