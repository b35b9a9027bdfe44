//! What keeps this process from knowing: said once in the log when it begins and when it ends, and kept in the database
//! while it lasts. None of it is a fact about an instance, and no status follows from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use auth_reconciler_core::answer::Shortage;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::look::Context;
use crate::postgres::error::StoreError;
use crate::postgres::store;
use crate::postgres::tables::Key;
use crate::problem::{DOUBT, NOT_ASKED};

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

/// What is the matter with this process in this term.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Who could not be asked.
    waiting: HashSet<Key>,
    /// What was short since `waiting` was last empty.
    short: HashSet<Shortage>,
    /// When each was last said.
    said: HashMap<Shortage, Instant>,
    /// When each way in which looks fail was last met.
    failures: HashMap<String, Instant>,
    /// When all of them were last tried at once.
    tried_all: Option<Instant>,
    /// What the database does not know yet: by problem, in words; `None` where it has ended.
    unnoted: BTreeMap<&'static str, Option<String>>,
    /// One of them is on its way there; of two at once the older might come last.
    noting: bool,
}

/// What the database is to be told.
#[derive(Clone, Debug)]
pub(super) struct Note {
    problem: &'static str,
    detail: Option<String>,
}

impl Troubles {
    /// An instance could not be asked. Returns after what time to try again; `chance` is from `[0, 1)`.
    pub(super) fn not_asked(
        &mut self,
        key: Key,
        shortage: Shortage,
        now: Instant,
        chance: f64,
    ) -> Duration {
        self.waiting.insert(key);
        if self.short.insert(shortage) {
            let known = self.said.insert(shortage, now);
            if known.is_none_or(|known| now.duration_since(known) > SAME) {
                warn!(
                    shortage = shortage.as_str(),
                    "instances cannot be asked; nothing is believed of them meanwhile, and they are tried again (said once)"
                );
            } else {
                debug!(shortage = shortage.as_str(), "instances cannot be asked");
            }
            let words: Vec<_> = self.short.iter().map(|short| short.as_str()).collect();
            self.tell(
                NOT_ASKED,
                Some(format!("instances cannot be asked: {}", words.join("; "))),
            );
        }
        // A larger crowd comes less often, so that the rate is about the same.
        let crowd = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let spread = Duration::from_secs_f64(f64::from(crowd) / TRIES_A_SECOND * chance);
        (STEP + spread).min(LONGEST)
    }

    /// A look failed in this way. Returns whether that is news: the same one meets look after look.
    pub(super) fn failed(&mut self, error: &str, now: Instant) -> bool {
        if self.failures.len() >= REMEMBERED {
            self.failures
                .retain(|_, met| now.duration_since(*met) <= SAME);
        }
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(error) {
            return false;
        }
        let met = self.failures.insert(error.to_owned(), now);
        met.is_none_or(|met| now.duration_since(met) > SAME)
    }

    /// An instance was looked at. Returns who is to be tried now as well, because what was short may be there again.
    pub(super) fn looked(&mut self, key: &Key, now: Instant) -> Vec<Key> {
        let waited = self.waiting.remove(key);
        if self.waiting.is_empty() {
            if waited {
                for shortage in self.short.drain() {
                    self.said.insert(shortage, now);
                }
                info!("every instance that could not be asked was asked");
                self.tell(NOT_ASKED, None);
            }
            return Vec::new();
        }
        if !waited
            || self
                .tried_all
                .is_some_and(|last| now.duration_since(last) < STEP)
        {
            return Vec::new();
        }
        self.tried_all = Some(now);
        self.waiting.iter().copied().collect()
    }

    /// Nobody answers who could be a witness; in words, or `None` once somebody does.
    pub(super) fn doubt(&mut self, detail: Option<String>) {
        self.tell(DOUBT, detail);
    }

    /// The term has ended: the next one finds out anew.
    pub(super) fn clear(&mut self) {
        let said = std::mem::take(&mut self.said);
        let failures = std::mem::take(&mut self.failures);
        *self = Self {
            said,
            failures,
            ..Self::default()
        };
    }

    /// What the database does not know yet; the caller tells it.
    pub(super) fn take_note(&mut self) -> Option<Note> {
        if self.noting {
            return None;
        }
        let (problem, detail) = self.unnoted.pop_first()?;
        self.noting = true;
        Some(Note { problem, detail })
    }

    /// It was told.
    pub(super) const fn noted(&mut self) {
        self.noting = false;
    }

    /// It could not be told. What fails now would fail again at once: with the next echo, unless there is something newer.
    pub(super) fn note_again(&mut self, note: Note) {
        self.unnoted.entry(note.problem).or_insert(note.detail);
    }

    /// An echo was heard.
    pub(super) const fn may_note_again(&mut self) {
        self.noting = false;
    }

    fn tell(&mut self, problem: &'static str, detail: Option<String>) {
        self.unnoted.insert(problem, detail);
    }
}

impl Note {
    pub(super) async fn write(&self, context: &Context, epoch: Uuid) -> Result<(), StoreError> {
        // False: another process leads, and tells its own.
        store::note_trouble(&context.pool, epoch, self.problem, self.detail.as_deref()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
