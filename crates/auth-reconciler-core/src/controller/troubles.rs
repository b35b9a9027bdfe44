//! What keeps this process from knowing: told once when it begins and when it ends, and kept in the database
//! while it lasts. None of it is a fact about an instance, and no status follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::{Note, Said, Trouble};
use crate::AuthStatus;
use crate::answer::Shortage;
use crate::instance::Key;
use crate::problem::{DOUBT, LOG_REFUSES, NOT_ASKED};
use crate::queue::Moment;
use crate::record::{Recorded as Outcome, Recording};

/// Shortest time between two tries to ask one instance.
const STEP: Duration = Duration::from_secs(1);

/// How many tries a second all instances together make, about: what is short is not to be fought for.
const TRIES_A_SECOND: f64 = 8.0;

/// Longest time between two tries.
const LONGEST: Duration = Duration::from_secs(60);

/// For how long after its end the same shortage is not news.
const SAME: Duration = Duration::from_secs(60);

/// So many different failures are remembered.
const REMEMBERED: usize = 64;

/// A table refuses a status, or one of its triggers replaces it.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    watched_id: i32,
    status: Option<AuthStatus>,
    /// Why it refuses it.
    why: Option<String>,
}

/// What is the matter with this process in this term.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Who could not be asked.
    waiting: BTreeSet<Key>,
    /// What was short since `waiting` was last empty.
    short: HashSet<Shortage>,
    /// When each was last said.
    said: HashMap<Shortage, Moment>,
    /// When each way in which reconciliations fail was last met.
    failures: HashMap<String, Moment>,
    /// What tables did not take.
    refused: Vec<Refused>,
    /// When all of them were last tried at once.
    tried_all: Option<Moment>,
    /// The change log takes no changes.
    log_refuses: bool,
    /// What the database does not know yet, by problem; `None` where it has ended.
    unnoted: BTreeMap<&'static str, Option<Trouble>>,
    /// One of them is on its way there; of two at once the older might come last.
    noting: Option<Note>,
    /// One could not be told. What fails now would fail again at once: the next echo is waited for.
    failed_to_note: bool,
}

impl Troubles {
    /// An instance could not be asked. Returns after what time to try again, and whether that is to be said: as news,
    /// or not; `chance` is from `[0, 1)`.
    pub(super) fn not_asked(
        &mut self,
        key: Key,
        shortage: Shortage,
        now: Moment,
        chance: f64,
    ) -> (Duration, Option<bool>) {
        self.waiting.insert(key);
        let news = self.short.insert(shortage).then(|| {
            let said = self.said.insert(shortage, now);
            let mut short: Vec<Shortage> = self.short.iter().copied().collect();
            short.sort_unstable_by_key(|shortage| shortage.as_str());
            self.tell(NOT_ASKED, Some(Trouble::NotAsked(short)));
            said.is_none_or(|said| now.saturating_sub(said) > SAME)
        });
        // A larger crowd comes less often, so that the rate is about the same.
        let crowd = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let spread = Duration::from_secs_f64(f64::from(crowd) / TRIES_A_SECOND * chance);
        ((STEP + spread).min(LONGEST), news)
    }

    /// A reconciliation failed in this way. Returns whether that is news: the same one meets look after look.
    pub(super) fn failed(&mut self, error: &str, now: Moment) -> bool {
        let recent = |met: &Moment| now.saturating_sub(*met) <= SAME;
        if self.failures.len() >= REMEMBERED {
            self.failures.retain(|_, met| recent(met));
        }
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(error) {
            return false;
        }
        let met = self.failures.insert(error.to_owned(), now);
        met.is_none_or(|met| !recent(&met))
    }

    /// A verdict was recorded. Returns whether what the table made of its status is news: the same one meets look after
    /// look, of every row, until the table takes that status.
    pub(super) fn recorded(&mut self, said: &Said, recording: &Recording) -> bool {
        let refused = Refused {
            watched_id: said.key.watched_id,
            status: said.status,
            why: recording.refusal.clone(),
        };
        match recording.outcome {
            Outcome::Overridden | Outcome::Unwritable => {
                if self.refused.contains(&refused) || self.refused.len() >= REMEMBERED {
                    return false;
                }
                self.refused.push(refused);
            }
            Outcome::Written => self.refused.retain(|known| {
                known.watched_id != refused.watched_id || known.status != refused.status
            }),
            Outcome::Right
            | Outcome::Busy
            | Outcome::Gone
            | Outcome::Unwatched
            | Outcome::EpochEnded
            | Outcome::Overtaken(_) => {}
        }
        true
    }

    /// An instance was looked at. Returns who is to be tried now as well, because what was short may be there again;
    /// and whether it was the last that could not be asked.
    pub(super) fn looked(&mut self, key: &Key, now: Moment) -> (Vec<Key>, bool) {
        let waited = self.waiting.remove(key);
        if self.waiting.is_empty() {
            if waited {
                for shortage in self.short.drain() {
                    self.said.insert(shortage, now);
                }
                self.tell(NOT_ASKED, None);
            }
            return (Vec::new(), waited);
        }
        let lately = |last: Moment| now.saturating_sub(last) < STEP;
        if !waited || self.tried_all.is_some_and(lately) {
            return (Vec::new(), false);
        }
        self.tried_all = Some(now);
        (self.waiting.iter().copied().collect(), false)
    }

    /// Nobody answers who could be a witness; `None` once somebody does.
    pub(super) fn doubt(&mut self, trouble: Option<Trouble>) {
        self.tell(DOUBT, trouble);
    }

    /// The change log takes no changes; `None` once it does. Returns whether that is news.
    pub(super) fn log_refuses(&mut self, why: Option<&str>) -> bool {
        let news = std::mem::replace(&mut self.log_refuses, why.is_some()) != why.is_some();
        if news {
            self.tell(
                LOG_REFUSES,
                why.map(|why| Trouble::LogRefuses(why.to_owned())),
            );
        }
        news
    }

    /// The term has ended: the next one finds out anew.
    pub(super) fn clear(&mut self) {
        let said = std::mem::take(&mut self.said);
        let failures = std::mem::take(&mut self.failures);
        let refused = std::mem::take(&mut self.refused);
        *self = Self {
            said,
            failures,
            refused,
            ..Self::default()
        };
    }

    /// What the database does not know yet; it is on its way then.
    pub(super) fn begin_note(&mut self) -> Option<Note> {
        if self.noting.is_some() || self.failed_to_note {
            return None;
        }
        let (problem, trouble) = self.unnoted.pop_first()?;
        let note = Note { problem, trouble };
        self.noting = Some(note.clone());
        Some(note)
    }

    /// It was told, or could not be: then it is told with the next echo, unless there is something newer.
    pub(super) fn noted(&mut self, done: bool) {
        if let Some(note) = self.noting.take()
            && !done
        {
            self.failed_to_note = true;
            self.unnoted.entry(note.problem).or_insert(note.trouble);
        }
    }

    /// An echo was heard.
    pub(super) const fn may_note_again(&mut self) {
        self.failed_to_note = false;
    }

    fn tell(&mut self, problem: &'static str, trouble: Option<Trouble>) {
        self.unnoted.insert(problem, trouble);
    }
}

#[cfg(test)]
mod tests;
