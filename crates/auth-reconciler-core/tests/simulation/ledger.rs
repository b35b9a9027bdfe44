//! What is evidence, kept by the world itself: no verdict of the core is asked what it was made from.
//!
//! Each accepted status is judged against what really was answered and shown: a good one needs the answer that says
//! so, `pending` an answer or the engine's word, and `failed` the engine's word, an answer that tells it, or silence
//! that was established: three misses over ten seconds since the last doubt, and another instance that answered in
//! its own words after the first of them and before the last was sent.
//!
//! And all of it is of the life of the container that the verdict was made for, as the engine showed it: what was answered
//! before the container began anew is no evidence of what it is since.

use std::collections::BTreeMap;

use auth_reconciler_core::container::Container;
use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::{Answer, AuthStatus};

use crate::daemon::Run;

/// One look that found no good and no "not connected".
#[derive(Clone, Debug)]
struct Miss {
    sent: u64,
    at: u64,
    error: bool,
    life: u64,
}

/// When a probe was sent and when it ended, and the life of the container then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) sent: u64,
    pub(crate) at: u64,
    pub(crate) life: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    misses: Vec<Miss>,
    /// When it said for the first time since that it is not connected or has an error, by the life of its container.
    not_ready_since: BTreeMap<u64, u64>,
    /// The life of its container that was last heard to be ready.
    ready_life: Option<u64>,
    /// We failed it, on evidence of this life, and nothing was answered since that says otherwise.
    failed: Option<u64>,
    last: Option<Answer>,
}

impl Known {
    /// Misses of this life and of later ones.
    fn misses_since(&self, life: u64) -> Vec<&Miss> {
        self.misses
            .iter()
            .filter(|miss| miss.life >= life)
            .collect()
    }

    fn has_failed_since(&self, life: u64) -> bool {
        self.failed.is_some_and(|failed| failed >= life)
    }
}

/// The life of the container that is running as the verdict was told; of another container none is asked for.
fn shown_life(run: &Run) -> u64 {
    if run.facts.container == Container::Running {
        life_of_sighting(run)
    } else {
        0
    }
}

fn life_of_sighting(run: &Run) -> u64 {
    let sighting = run.facts.sighting.as_ref();
    sighting
        .and_then(|shown| shown.network.parse().ok())
        .unwrap_or(0)
}

#[derive(Debug)]
pub(crate) struct Ledger {
    known: Vec<Known>,
    /// Who answered in its own words, and when.
    words: Vec<(usize, u64)>,
    /// This process was answered.
    heard: bool,
    /// Nothing can be said of spans in which the database's clock jumped.
    jumped: bool,
    /// When it last did: what was read before goes by the clock of then.
    jumped_at: Option<u64>,
    /// Ready instances that were failed.
    pub(crate) false_failed: usize,
    pub(crate) judged: usize,
}

/// An accepted verdict.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) i: usize,
    pub(crate) now: u64,
    pub(crate) run: &'a Run,
    pub(crate) verdict: &'a Verdict,
    pub(crate) truly_ready: bool,
    /// The life of its container.
    pub(crate) life: Option<u64>,
}

impl Ledger {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            known: vec![Known::default(); instances],
            words: Vec::new(),
            heard: false,
            jumped: false,
            jumped_at: None,
            false_failed: 0,
            judged: 0,
        }
    }

    pub(crate) const fn process_started(&mut self) {
        self.heard = false;
    }

    /// What was counted before says nothing of what comes after.
    pub(crate) fn clock_jumped(&mut self, now: u64) {
        self.jumped = true;
        self.jumped_at = Some(now);
        self.void(now);
    }

    pub(crate) fn forget(&mut self, i: usize) {
        self.known[i] = Known::default();
    }

    /// Probes sent in the fault prove nothing after it.
    pub(crate) fn void(&mut self, at: u64) {
        for known in &mut self.known {
            known.misses.retain(|miss| miss.at > at);
        }
    }

    pub(crate) fn answered(&mut self, i: usize, answer: &Answer, asked: Asked) {
        let Asked { sent, at, life } = asked;
        if answer.in_own_words() {
            self.words.push((i, at));
            self.heard = true;
        }
        let known = &mut self.known[i];
        known.last = Some(answer.clone());
        match answer {
            Answer::NotConnected => {
                known.not_ready_since.entry(life).or_insert(at);
            }
            // It counts once its look is accepted: of one that the fence refused nothing stays.
            Answer::Ready | Answer::Authenticated | Answer::QrReady | Answer::NotAsked(_) => {}
            Answer::ProviderError
            | Answer::Rejected { .. }
            | Answer::Http { .. }
            | Answer::Malformed { .. }
            | Answer::TooLarge { .. }
            | Answer::Silent(_) => {
                let error = *answer == Answer::ProviderError;
                known.misses.push(Miss {
                    sent,
                    at,
                    error,
                    life,
                });
                // Of silence nobody knows whose it is.
                if error {
                    known.not_ready_since.entry(life).or_insert(at);
                }
            }
        }
    }

    /// Panics where there is no evidence for it.
    pub(crate) fn judge(&mut self, judged: &Judged<'_>) {
        let Judged {
            i, run, verdict, ..
        } = *judged;
        self.judged += 1;
        let before = run.facts.said();
        let moved = verdict.status.is_some() && verdict.status != before;
        let claims = verdict.memory.established && verdict.status == Some(AuthStatus::Failed);
        let sound = match verdict.status {
            Some(AuthStatus::Failed) if moved || claims => self.is_failed(judged),
            Some(AuthStatus::Pending) if moved => self.is_pending(judged),
            Some(good) if moved => Self::is_good(run, good),
            Some(_) | None => true,
        };
        assert!(
            sound,
            "no evidence at {} ms for {:?} ({}) of instance {i}, which said {before:?}: \
             container {:?}, way {:?}, last answer {:?}, {:?}",
            judged.now,
            verdict.status,
            verdict.reason,
            run.facts.container,
            run.facts.way,
            run.answer,
            self.known[i],
        );
        if moved && verdict.status == Some(AuthStatus::Failed) && judged.truly_ready {
            self.false_failed += 1;
        }
        let known = &mut self.known[i];
        known.failed = claims.then(|| match (&run.answer, known.failed) {
            (_, Some(before)) if before >= shown_life(run) => before,
            (Some(_), _) => run.asked_in,
            (None, _) => life_of_sighting(run),
        });
        match &run.answer {
            Some(Answer::Ready | Answer::Authenticated | Answer::QrReady) => {
                known.misses.clear();
                known.not_ready_since.clear();
            }
            Some(Answer::NotConnected) => known.misses.clear(),
            _ => {}
        }
        if verdict.status == Some(AuthStatus::ClientReady) && run.answer == Some(Answer::Ready) {
            known.ready_life = run.life;
        }
    }

    fn is_good(run: &Run, good: AuthStatus) -> bool {
        let said = match &run.answer {
            Some(Answer::Ready) => Some(AuthStatus::ClientReady),
            Some(Answer::Authenticated) => Some(AuthStatus::Authenticated),
            Some(Answer::QrReady) => Some(AuthStatus::QrReady),
            _ => None,
        };
        said == Some(good) && run.asked_in >= shown_life(run)
    }

    fn is_pending(&self, judged: &Judged<'_>) -> bool {
        let facts = &judged.run.facts;
        let no_key = facts.row.as_ref().is_some_and(|row| !row.has_api_key());
        let told = judged.run.answer == Some(Answer::NotConnected)
            && judged.run.asked_in >= shown_life(judged.run);
        no_key || told || facts.container == Container::Created || self.is_new_life(judged)
    }

    /// The engine says that it began anew, or goes on, and it was not ready since.
    fn is_new_life(&self, judged: &Judged<'_>) -> bool {
        let facts = &judged.run.facts;
        let reason = facts.recorded.as_ref().and_then(|known| known.reason);
        let was_down = reason.is_some_and(|reason| {
            reason.of_container() || reason == auth_reconciler_core::Reason::ApiStarting
        });
        facts.container == Container::Running
            && facts.sighting.is_some()
            && (judged.life != self.known[judged.i].ready_life || was_down)
    }

    fn is_failed(&self, judged: &Judged<'_>) -> bool {
        let (run, known) = (judged.run, &self.known[judged.i]);
        let facts = &run.facts;
        if self.jumped_at.is_some_and(|jumped| run.sent <= jumped) {
            return true;
        }
        let down = matches!(
            facts.container,
            Container::Stopped { .. } | Container::Paused | Container::Removed
        );
        if down {
            return true;
        }
        let good = facts.said().is_some_and(AuthStatus::is_good);
        let doubted = facts.way.doubt_since.is_some();
        let failed = known.has_failed_since(shown_life(run));
        let Some(answer) = &run.answer else {
            // Put back without a probe.
            return failed && !good && !doubted;
        };
        // Our own, established before, and no answer unsays it.
        let stands = failed && !answer.in_own_words() && !doubted;
        let error_stands = failed && *answer == Answer::ProviderError;
        let kept = failed && *answer == Answer::NotConnected;
        stands || error_stands || kept || self.is_told(judged, answer) || self.is_silent(judged)
    }

    /// It says itself that it will not recover.
    fn is_told(&self, judged: &Judged<'_>, answer: &Answer) -> bool {
        let (known, life) = (&self.known[judged.i], shown_life(judged.run));
        let now = judged.now;
        if judged.run.asked_in < life {
            return false;
        }
        match answer {
            Answer::NotConnected => {
                let since = known.not_ready_since.range(life..).map(|(_, at)| *at);
                since
                    .min()
                    .is_some_and(|since| self.jumped || now - since >= 29_000)
            }
            Answer::ProviderError => {
                let misses = known.misses_since(life);
                let errors = misses.iter().filter(|miss| miss.error).count();
                let since = misses.first().map_or(now, |miss| miss.at);
                errors >= 2 && (self.jumped || now - since >= 1_000)
            }
            Answer::Rejected { .. } => {
                let ready = judged.run.facts.said() == Some(AuthStatus::ClientReady);
                !ready || self.is_new_life(judged) || self.witnessed(judged)
            }
            Answer::Ready
            | Answer::Authenticated
            | Answer::QrReady
            | Answer::Http { .. }
            | Answer::Malformed { .. }
            | Answer::TooLarge { .. }
            | Answer::Silent(_)
            | Answer::NotAsked(_) => false,
        }
    }

    /// Established silence.
    fn is_silent(&self, judged: &Judged<'_>) -> bool {
        let misses = self.known[judged.i].misses_since(shown_life(judged.run));
        let (Some(first), Some(last)) = (misses.first(), misses.last()) else {
            return false;
        };
        let enough = misses.len() >= 3 && last.at - first.at >= 9_990;
        let speaks = judged.run.answer.as_ref().is_some_and(Answer::speaks);
        let few = judged.run.facts.way.few && self.heard && speaks;
        enough && (self.witnessed(judged) || few)
    }

    /// Another one answered in its own words after the first miss and before the last was sent.
    fn witnessed(&self, judged: &Judged<'_>) -> bool {
        let i = judged.i;
        let misses = self.known[i].misses_since(shown_life(judged.run));
        let (Some(first), Some(last)) = (misses.first(), misses.last()) else {
            return false;
        };
        self.words
            .iter()
            .rev()
            .any(|(who, at)| *who != i && *at >= first.sent && *at <= last.sent)
    }
}
