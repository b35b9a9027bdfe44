//! Whether silence is theirs or ours: witnesses, and the doubt where there is none.
//!
//! Ready instances are not probed, so that most fall silent at once is never seen: each falls alone, at its
//! own event. So before the silence of one is believed, up to three others that count as ready are asked. One
//! that answers in the words of its profile is a witness that our own way works. Where nobody can be one, we
//! are as if we were not there: *doubt*. Some of the silent ones, the canaries, are asked again and again, in turn,
//! so that each is asked about once a minute, as far as [`CANARIES_OUT`] lets it; the first answer ends the doubt, voids
//! all streaks that began in it, and wakes everybody who was silent.
//!
//! A refused key (401, 403) may be the word of somebody in between. One that refuses everybody and ends that for one
//! instance first makes a witness of that one, while the others are still refused. So it is known, too, who else is
//! refused, and when the last doubt ended.
//!
//! Moments are of the process's own clock: nothing of this outlives it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::Answer;

mod known;
mod line;
#[cfg(test)]
mod tests;

pub use known::Known;
use known::jumped;
use line::Line;

/// How many others are asked for their word, and how many canaries a round at least.
pub const ASKED: usize = 3;

/// How many canaries are asked in a round, and are out at once, at most: half of the places that there are for probes
/// by default, whatever the size of the fleet that is silent.
pub const CANARIES_OUT: u32 = 32;

/// Fewer instances than this that count as ready may have no witness among them.
const ENOUGH: usize = 3;

/// Shortest and longest pause between two rounds of canaries.
const CANARY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The time in which each of the silent is a canary once, if there are not too many of them.
const CANARY_TURN: Duration = Duration::from_secs(60);

/// Shortest time between two rounds of asking others.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// How long a round, or the look at a canary, is waited for.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// A moment of the process's clock.
pub type Moment = Duration;

/// The same moment by both clocks: the process's own and the database's.
pub type Reading = (Moment, DateTime<Utc>);

/// What the answers of all instances say about our own way to them.
#[derive(Debug)]
pub struct Witnesses<K> {
    /// The last two instances that answered in their own words, the latest first: of one at least it is
    /// another one.
    heard: VecDeque<(K, Moment)>,
    /// The same of those whose last answer was that their key is refused.
    refused: VecDeque<(K, Moment)>,
    round: Option<Round<K>>,
    /// When the last round that has ended began, and how many counted as ready then.
    asked: Option<(Moment, usize)>,
    doubt: Option<Doubt>,
    doubt_ended: Option<Moment>,
    void_until: Option<Moment>,
    clock: Option<Reading>,
    /// Who is silent in the doubt; the next canaries first.
    silent: Line<K>,
    /// The canaries that have not been looked at yet, and when they were asked.
    canaries: HashMap<K, Moment>,
    /// How long a doubt lasts before silence is believed without a witness; `None` is for ever.
    believe_after: Option<Duration>,
}

/// Others are being asked.
#[derive(Debug)]
struct Round<K> {
    began: Moment,
    ready: usize,
    /// Who has not been looked at yet; `None` until it is known whom to ask.
    out: Option<HashSet<K>>,
}

#[derive(Debug)]
struct Doubt {
    since: Moment,
    /// When the next canaries are due.
    next: Moment,
    /// It has lasted as long as the settings let it: silence is believed, until somebody answers.
    believed: bool,
}

/// What of an answer is of weight for other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It came in the words of the profile: our own way works.
    Own,
    /// The key is refused, by the instance or by somebody in between.
    Refusal,
}

impl Word {
    /// What this answer says to others, if anything.
    #[must_use]
    pub const fn of(answer: &Answer) -> Option<Self> {
        match answer {
            Answer::Ready
            | Answer::Authenticated
            | Answer::QrReady
            | Answer::NotConnected
            | Answer::ProviderError => Some(Self::Own),
            Answer::Rejected { .. } => Some(Self::Refusal),
            Answer::Http { .. }
            | Answer::Malformed { .. }
            | Answer::TooLarge { .. }
            | Answer::Silent(_)
            | Answer::NotAsked(_) => None,
        }
    }
}

/// What an answer led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<K> {
    /// Nothing beyond itself.
    Noted,
    /// It ended a doubt: look at these again.
    DoubtEnded(Vec<K>),
}

impl<K> Default for Witnesses<K> {
    fn default() -> Self {
        Self {
            heard: VecDeque::new(),
            refused: VecDeque::new(),
            round: None,
            asked: None,
            doubt: None,
            doubt_ended: None,
            void_until: None,
            clock: None,
            silent: Line::default(),
            canaries: HashMap::new(),
            believe_after: None,
        }
    }
}

impl<K: Clone + Eq + Hash> Witnesses<K> {
    /// With a limit after which silence is believed without a witness; see [`crate::verdict::Policy`].
    #[must_use]
    pub fn believing_after(limit: Option<Duration>) -> Self {
        Self {
            believe_after: limit,
            ..Self::default()
        }
    }

    /// What is known for this instance now.
    #[must_use]
    pub fn known(&self, key: &K) -> Known {
        let other = |told: &VecDeque<(K, Moment)>| {
            let other = told.iter().find(|(told, _)| told != key);
            other.map(|(_, at)| *at)
        };
        Known {
            witness_at: other(&self.heard),
            asked_at: self.asked.map(|(began, _)| began),
            few: !self.heard.is_empty() && self.asked.is_some_and(|(_, ready)| ready < ENOUGH),
            doubt_since: self.doubt.as_ref().map(|doubt| doubt.since),
            void_until: self.void_until,
            refused_at: other(&self.refused),
            doubt_ended: self.doubt_ended,
            clock: self.clock,
        }
    }

    /// Whether our own way is doubted.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// An instance was answered in the words of its profile, at `now`.
    pub fn heard(&mut self, key: &K, now: Moment) -> Heard<K> {
        note(&mut self.heard, key, now);
        self.refused.retain(|(refused, _)| refused != key);
        if self.doubt.is_some() {
            Heard::DoubtEnded(self.end_doubt(now))
        } else {
            Heard::Noted
        }
    }

    /// An instance was answered, at `now`, that its key is refused: by itself, or by somebody in between.
    pub fn refused(&mut self, key: &K, now: Moment) {
        note(&mut self.refused, key, now);
    }

    /// A silent instance wants the word of others. Returns whether the caller is to find out who counts as
    /// ready, and to say so with [`Self::ask`].
    pub fn want(&mut self, now: Moment) -> bool {
        let lately = self
            .asked
            .is_some_and(|(began, _)| now.saturating_sub(began) < ROUND_PAUSE);
        // One whose looks got lost on their way is not waited for.
        self.round
            .take_if(|round| now.saturating_sub(round.began) > ROUND_LIMIT);
        if self.round.is_some() || self.doubt.is_some() || lately {
            return false;
        }
        self.round = Some(Round {
            began: now,
            ready: 0,
            out: None,
        });
        true
    }

    /// These count as ready, up to one more than are asked, and there are `ready` of them at least. Returns
    /// whom to look at.
    pub fn ask(&mut self, keys: Vec<K>) -> Vec<K> {
        let Some(round) = &mut self.round else {
            return Vec::new();
        };
        round.ready = keys.len();
        // One of them may be the silent one itself.
        let asked: Vec<K> = keys.into_iter().take(ASKED + 1).collect();
        round.out = Some(asked.iter().cloned().collect());
        self.end_round();
        asked
    }

    /// A term of this process begins: what was counted before, by whomever, may have been counted in a fault that
    /// nobody here knows of.
    pub fn began_term(&mut self, now: Moment) {
        self.round = None;
        self.canaries.clear();
        self.void_until = Some(now);
    }

    /// A look read the database's clock.
    pub fn read(&mut self, reading: Reading) {
        if self.clock.is_some_and(|before| jumped(before, reading)) {
            self.void_until = Some(reading.0);
        }
        self.clock = Some(reading);
    }

    /// It could not be found out who counts as ready.
    pub fn give_up(&mut self) {
        self.round = None;
    }

    /// A look at this instance has ended, whatever it found.
    pub fn looked(&mut self, key: &K) {
        self.canaries.remove(key);
        if let Some(out) = self.round.as_mut().and_then(|round| round.out.as_mut()) {
            out.remove(key);
            self.end_round();
        }
    }

    /// A look found silence that nobody can be a witness of. Returns whether it is the first, so that the doubt
    /// has just begun.
    pub fn silent(&mut self, key: &K, now: Moment) -> bool {
        self.silent.join(key);
        let first = self.doubt.is_none();
        if first {
            self.doubt = Some(Doubt {
                since: now,
                next: now + CANARY_PAUSE.0,
                believed: false,
            });
        }
        first
    }

    /// This instance has a verdict that needs no answer of it. Returns whether it was the last silent one, so
    /// that nothing is left to doubt. Where silence is believed only an answer ends that.
    pub fn settled(&mut self, key: &K, now: Moment) -> bool {
        let Some(doubt) = &self.doubt else {
            return false;
        };
        self.silent.leave(key);
        let last = self.silent.is_empty() && !doubt.believed;
        if last {
            self.end_doubt(now);
        }
        last
    }

    /// How many are silent in the doubt.
    #[must_use]
    pub fn silent_ones(&self) -> usize {
        self.silent.len()
    }

    /// When the next canaries are due, or the limit of the doubt has come.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let doubt = self.doubt.as_ref()?;
        let canaries = Some(doubt.next).filter(|_| !self.silent.is_empty());
        canaries.into_iter().chain(self.limit()).min()
    }

    /// Whom to look at because the doubt has lasted as long as the settings let it: all who are silent, once.
    pub fn believe(&mut self, now: Moment) -> Vec<K> {
        if !self.limit_is_due(now) {
            return Vec::new();
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.believed = true;
        }
        self.silent.take()
    }

    /// Whether the doubt has lasted as long as the settings let it, and [`Self::believe`] was not called since.
    #[must_use]
    pub fn limit_is_due(&self, now: Moment) -> bool {
        self.limit().is_some_and(|limit| limit <= now)
    }

    fn limit(&self) -> Option<Moment> {
        let doubt = self.doubt.as_ref().filter(|doubt| !doubt.believed)?;
        self.believe_after.map(|limit| doubt.since + limit)
    }

    /// Whom to look at now, by the clock. As many as it takes to ask each about once a minute, and in turn: one of
    /// them may really be gone, or be the only one that is back.
    pub fn canaries(&mut self, now: Moment) -> Vec<K> {
        let Some(doubt) = self.doubt.as_mut().filter(|doubt| doubt.next <= now) else {
            return Vec::new();
        };
        let (shortest, longest) = CANARY_PAUSE;
        let silent = u32::try_from(self.silent.len()).unwrap_or(u32::MAX);
        // Many are asked in many rounds rather than in large ones.
        let longest = (CANARY_TURN * ASKED as u32 / silent.max(1)).clamp(shortest, longest);
        let age = now.saturating_sub(doubt.since);
        let pause = (age / 10).clamp(shortest, longest);
        doubt.next = now + pause;
        self.canaries
            .retain(|_, asked| now.saturating_sub(*asked) < ROUND_LIMIT);
        let wanted = (pause * silent)
            .as_millis()
            .div_ceil(CANARY_TURN.as_millis());
        let free = (CANARIES_OUT as usize).saturating_sub(self.canaries.len());
        let wanted = usize::try_from(wanted).unwrap_or(free);
        let asked = self.silent.next(wanted.max(ASKED).min(free));
        self.canaries
            .extend(asked.iter().map(|key| (key.clone(), now)));
        asked
    }

    fn end_doubt(&mut self, now: Moment) -> Vec<K> {
        self.doubt = None;
        self.doubt_ended = Some(now);
        self.void_until = Some(now);
        self.canaries.clear();
        self.silent.take()
    }

    fn end_round(&mut self) {
        let ended = self.round.take_if(|round| {
            let out = round.out.as_ref();
            out.is_some_and(HashSet::is_empty)
        });
        if let Some(round) = ended {
            self.asked = Some((round.began, round.ready));
        }
    }
}

/// Notes who was answered last; two are enough, for of two one at least is another one.
fn note<K: Clone + PartialEq>(told: &mut VecDeque<(K, Moment)>, key: &K, now: Moment) {
    told.retain(|(told, _)| told != key);
    told.push_front((key.clone(), now));
    told.truncate(2);
}
