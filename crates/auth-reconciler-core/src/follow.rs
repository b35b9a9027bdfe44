//! Whose output is followed, and which of it is worth a look.
//!
//! While an instance converges and its container runs, what the container writes is a hint to look again
//! now: it logs that it is ready right after it is. The text itself says nothing to us, but for one thing:
//! a line that holds the path of our own request is nobody's news. The lines that our looks cause
//! otherwise are told from others by their number (`noise.rs`).
//!
//! Guarantees, whatever the order of calls:
//!
//! * at most [`Limits::places`] containers are followed at once; who waits longest is next, and one
//!   that has been followed for [`Limits::turn`] makes room for it;
//! * an instance that is ready is followed where a place is left, and is looked at once a minute at most when
//!   it says more than its being asked makes it say; a silent one is left in peace;
//! * a line leads to a look whose probe is sent after it, while there are tokens: at once if it is told
//!   from our own noise, at the end of the look's window if not; a hint without a token waits for one;
//! * tokens begin anew with each life of the container and each new kind of answer; in a lasting state
//!   output leads to one look per refill of its profile, and the daemon is asked nothing between them;
//! * what nobody heard because following ended by itself, or with the engine, is looked for when it is heard again;
//! * memory is bounded by the instances that converge, or are ready in a container that runs.
//!
//! Nothing is missed between a look and the moment at which following begins: that it begins is a hint
//! itself.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::profile::Profile;
use crate::queue::Moment;

mod ended;
mod noise;
mod own;
mod places;
mod tail;
#[cfg(test)]
mod tests;
mod tokens;
mod window;

use noise::{Act, Noise};
pub use own::Kind;
use places::{Move, Place, Places};

/// The bounds that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Containers followed at once; zero follows none.
    pub places: usize,
    /// How long one keeps its place while another waits.
    pub turn: Duration,
}

impl Limits {
    /// The limits with so many places.
    #[must_use]
    pub const fn with_places(places: usize) -> Self {
        Self {
            places,
            turn: Duration::from_secs(2),
        }
    }
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<K> {
    /// Follow the output of this container, and call [`Followers::began`], then
    /// [`Followers::said`] for what it says.
    Attach {
        /// The instance.
        key: K,
        /// Id of its container.
        container: String,
        /// The path of our own requests, by which lines are told that say nothing else.
        path: &'static str,
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
    /// End the probe of this instance without an answer: something was told that it may never see. A look
    /// is asked for as soon as this one has [finished](Followers::finished).
    GiveUp {
        /// The instance.
        key: K,
    },
}

/// One of the things whose order tells our own noise from news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Following has begun, with what the container said last.
    Began,
    /// So many lines, of which so many hold the status path.
    Said {
        /// All of them.
        lines: u32,
        /// Those with the path.
        with_path: u32,
    },
    /// A probe is being sent.
    Sent,
    /// It met this.
    Answered(Kind),
}

/// One process of a container: the same container that was started again is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The container's id.
    pub container: String,
    /// When it was started, by the engine's clock.
    pub started_at: Option<DateTime<Utc>>,
}

/// Who follows whom.
#[derive(Clone, Debug)]
pub struct Followers<K> {
    entries: HashMap<K, Entry>,
    places: Places<K>,
    /// When something is to be done or counted for whom.
    due: BTreeSet<(Moment, K)>,
    /// Places that were taken back and are still to be told.
    leaving: Vec<K>,
}

#[derive(Clone, Debug)]
struct Entry {
    life: Life,
    path: &'static str,
    place: Place,
    noise: Noise,
    /// Its moment in [`Followers::due`].
    due: Option<Moment>,
}

impl<K: Clone + Ord + Hash> Followers<K> {
    /// Nobody is followed.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            entries: HashMap::new(),
            places: Places::new(limits),
            due: BTreeSet::new(),
            leaving: Vec::new(),
        }
    }

    /// The instance, which is of this profile, converges, and this container of it runs.
    pub fn want(&mut self, key: &K, life: &Life, profile: &'static Profile, now: Moment) {
        self.enter(key, life, profile, now);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.noise.converges(now);
            entry.place = self.places.converges(key, entry.place, now);
            self.index(key, now);
        }
    }

    /// The instance, which is of this profile, is ready, and this container of it runs.
    pub fn rest(&mut self, key: &K, life: &Life, profile: &'static Profile, now: Moment) {
        self.enter(key, life, profile, now);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.noise.rests(now);
            entry.place = self.places.rests(key, entry.place);
            self.index(key, now);
        }
    }

    /// Makes its entry one of this life.
    fn enter(&mut self, key: &K, life: &Life, profile: &'static Profile, now: Moment) {
        if !self.places.any() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            if entry.life == *life {
                return;
            }
            if entry.life.container == life.container {
                // Its output goes on; what is known of it is of a process that has ended.
                entry.life = life.clone();
                entry.noise = Noise::new(now, profile.refill);
                entry.noise.heard_again(now);
                if entry.place == Place::Never {
                    entry.place = Place::Over;
                }
                return;
            }
            self.release(key);
        }
        let entry = Entry {
            life: life.clone(),
            path: profile.path,
            place: Place::Idle,
            noise: Noise::new(now, profile.refill),
            due: None,
        };
        self.entries.insert(key.clone(), entry);
    }

    /// Its output is not to be followed for now. What it has spent stays spent.
    pub fn unwant(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.place != Place::Never
        {
            entry.noise.unheard();
            let place = std::mem::replace(&mut entry.place, Place::Idle);
            self.leave(key, place);
        }
    }

    /// It is to be left alone, or its container does not run.
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
            .filter(|entry| entry.place.is_followed())
            .map(|entry| entry.life.container.as_str())
    }

    /// Something was heard of it at `at`.
    pub fn heard(&mut self, key: &K, sound: Sound, at: Moment) {
        match sound {
            Sound::Began => self.began(key, at),
            Sound::Said { lines, with_path } => self.said(key, lines, with_path, at),
            Sound::Sent => self.sent(key, at),
            Sound::Answered(kind) => self.answered(key, kind, at),
        }
    }

    /// Following its output has begun, with what it said last.
    pub fn began(&mut self, key: &K, now: Moment) {
        self.hear(key, now, |noise, _| noise.heard_again(now));
    }

    /// The container wrote so many lines, of which so many hold the status path of its profile.
    pub fn said(&mut self, key: &K, lines: u32, with_path: u32, now: Moment) {
        self.hear(key, now, |noise, _| {
            noise.said(lines.saturating_sub(with_path), with_path, now);
        });
    }

    /// A look at the instance has begun.
    pub fn begun(&mut self, key: &K, now: Moment) {
        self.hear(key, now, |noise, _| noise.begun(now));
    }

    /// Its probe is being sent.
    pub fn sent(&mut self, key: &K, now: Moment) {
        self.hear(key, now, |noise, heard| noise.sent(now, heard));
    }

    /// Its probe has ended, and how.
    pub fn answered(&mut self, key: &K, kind: Kind, now: Moment) {
        self.hear(key, now, |noise, _| noise.answered(kind, now));
    }

    /// The look has ended, whether or not it sent a probe.
    pub fn finished(&mut self, key: &K, now: Moment) {
        self.hear(key, now, |noise, _| noise.finished(now));
    }

    /// Tells an instance's noise something, with whether its output is heard.
    fn hear(&mut self, key: &K, now: Moment, tell: impl FnOnce(&mut Noise, bool)) {
        if let Some(entry) = self.entries.get_mut(key) {
            tell(&mut entry.noise, entry.place.is_followed());
            self.index(key, now);
        }
    }

    /// Notes when there is something to do for it.
    fn index(&mut self, key: &K, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let due = entry.noise.deadline(now);
        if due == entry.due {
            return;
        }
        if let Some(due) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(due, key.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, key.clone()));
        }
    }

    /// The next thing to do at `now`, if there is one. Call it until it returns `None`.
    pub fn next(&mut self, now: Moment) -> Option<Command<K>> {
        if let Some(key) = self.leaving.pop() {
            return Some(Command::Detach { key });
        }
        while let Some((due, key)) = self.due.first().cloned()
            && due <= now
        {
            let act = self.entries.get_mut(&key)?.noise.next(now);
            self.index(&key, now);
            match act {
                Some(Act::Look) => return Some(Command::Look { key }),
                Some(Act::GiveUp) => return Some(Command::GiveUp { key }),
                // It has counted what there was.
                None => {}
            }
        }
        match self.places.next(now)? {
            Move::Begins(key, place) => {
                let entry = self.entries.get_mut(&key)?;
                entry.place = place;
                Some(Command::Attach {
                    container: entry.life.container.clone(),
                    path: entry.path,
                    key,
                })
            }
            Move::Ends(key, place) => {
                let entry = self.entries.get_mut(&key)?;
                entry.place = place;
                entry.noise.unheard();
                Some(Command::Detach { key })
            }
        }
    }

    /// When [`Followers::next`] has something to do though nothing happens until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let hint = self.due.first().map(|(due, _)| *due);
        hint.into_iter().chain(self.places.deadline()).min()
    }

    /// Containers that are followed.
    #[must_use]
    pub fn following(&self) -> usize {
        self.places.following()
    }

    /// Containers that would be followed if there were more places.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.waiting()
    }

    /// Forgets everybody; those that are followed are to be let go of.
    pub fn clear(&mut self) {
        let keys: Vec<K> = self.entries.keys().cloned().collect();
        for key in keys {
            self.release(&key);
        }
    }

    fn leave(&mut self, key: &K, place: Place) {
        if place.is_followed() {
            self.leaving.push(key.clone());
        }
        self.places.leave(place);
    }
}
