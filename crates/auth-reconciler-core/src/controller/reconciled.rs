//! What follows from the end of a reconciliation: when the next one is, and what it says of others.

use std::time::Duration;

use super::phase::Phase;
use super::{Controller, FailureKind, Notice, Outcome, Reconciled};
use crate::Cause;
use crate::backoff::Backoff;
use crate::instance::Key;
use crate::queue::{Moment, Next};

/// Steps between tries after a transient failure: a busy row, a lost connection.
const TRANSIENT: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(60),
};

/// First step after a failure that the server would meet again at once, as a right that was lost; each further one is
/// twice as long.
const REFUSED: Duration = Duration::from_secs(1);

impl Controller {
    pub(super) fn reconciled(&mut self, mut ended: Reconciled, now: Moment) {
        let key = ended.key;
        self.followers.finished(&key, now);
        let outcome = std::mem::replace(&mut ended.outcome, Outcome::Transient);
        let Some(outcome) = self.unless_failed(&key, outcome, now) else {
            return;
        };
        ended.outcome = outcome;
        self.note_progress(&key, &ended.outcome, now);
        let repeat = self.weigh(&ended, now);
        if ended.outcome == Outcome::EpochEnded {
            self.queue.finish(&key, Next::Settled, now);
            // One that began in an earlier term of this process is refused, too: the scan of the present one has
            // found its key again, and nobody has taken over.
            if self.leads(ended.epoch) {
                self.leave("another process has taken over".to_owned(), false, now);
            }
            return;
        }
        let next = self.next_of(ended, repeat, now);
        self.queue.finish(&key, next, now);
    }

    /// What a failure of the database comes to; `None` if it ends the process.
    fn unless_failed(&mut self, key: &Key, outcome: Outcome, now: Moment) -> Option<Outcome> {
        let Outcome::Failed(failure) = outcome else {
            return Some(outcome);
        };
        Some(match failure.kind {
            // Dropped or renamed: the next scan knows.
            FailureKind::NoTable => Outcome::UnknownTable,
            FailureKind::Busy => {
                self.say(Notice::Busy(*key, failure.clone()));
                Outcome::Failed(failure)
            }
            FailureKind::Refused
            | FailureKind::Passing
            | FailureKind::Unclear
            | FailureKind::Final(_) => {
                let failure = self.unless_final(failure)?;
                let news = self.troubles.failed(&failure.error, now);
                self.say(Notice::ReconcileFailed {
                    key: *key,
                    failure: failure.clone(),
                    news,
                });
                Outcome::Failed(failure)
            }
        })
    }

    /// After what time one that came to nothing is repeated.
    fn after_failure(&mut self, key: Key, refused: bool) -> Duration {
        let failures = self.transient.entry(key).or_default();
        if refused {
            *failures = TRANSIENT.attempt_of(REFUSED).max(*failures);
        }
        let wait = TRANSIENT.delay(*failures, self.chance.draw());
        *failures = Backoff::after(*failures, refused);
        wait
    }

    /// One that was looked at has no transient failures in a row, and what others lack may be there again.
    fn note_progress(&mut self, key: &Key, outcome: &Outcome, now: Moment) {
        let (goes_on, looked) = match outcome {
            Outcome::Final | Outcome::Ready(_) | Outcome::Again { unsure: false, .. } => {
                (true, true)
            }
            Outcome::Again { unsure: true, .. } | Outcome::Unsure => (false, true),
            Outcome::Overtaken
            | Outcome::Doubted(_)
            | Outcome::UnknownTable
            | Outcome::EpochEnded => (true, false),
            Outcome::Transient | Outcome::Failed(_) | Outcome::NotAsked(_) => (false, false),
        };
        if goes_on {
            self.transient.remove(key);
        }
        if looked {
            let (waiting, over) = self.troubles.looked(key, now);
            if over {
                self.say(Notice::AllAsked);
            }
            for waiting in waiting {
                self.wake(waiting, Cause::Backoff, now);
            }
        }
    }

    /// What is to happen to a key now. `repeat`: what a doubt was concluded from is no longer so.
    fn next_of(&mut self, ended: Reconciled, repeat: bool, now: Moment) -> Next {
        let (key, leads) = (ended.key, self.leads(ended.epoch));
        let at = |due, hold_drift| Next::At { due, hold_drift };
        match ended.outcome {
            Outcome::Final | Outcome::EpochEnded => {
                self.followers.release(&key);
                Next::Settled
            }
            Outcome::Ready(output) => {
                // What its container says matters less, and is heard where nobody else is to be.
                if leads {
                    let (life, profile) = (&output.life, output.profile);
                    self.followers.rest(&key, life, profile, now);
                }
                Next::Settled
            }
            Outcome::Again {
                after,
                hold_drift,
                follow,
                wants_witness: _,
                unsure,
            } => {
                self.follow(&key, follow.filter(|_| leads), now);
                let sooner = unsure.then(|| self.after_failure(key, false));
                let after = sooner.map_or(after, |sooner| after.min(sooner));
                at(now + after, hold_drift)
            }
            Outcome::Overtaken => at(now, false),
            Outcome::Failed(failure) => {
                let refused = failure.kind == FailureKind::Refused;
                at(now + self.after_failure(key, refused), false)
            }
            Outcome::Transient | Outcome::Unsure => at(now + self.after_failure(key, false), false),
            Outcome::Doubted(_) if repeat => at(now, false),
            // Woken by the first answer, as a canary, or by an event of its own.
            Outcome::Doubted(_) => {
                self.followers.release(&key);
                Next::Settled
            }
            Outcome::NotAsked(shortage) => {
                let chance = self.chance.draw();
                let (wait, news) = self.troubles.not_asked(key, shortage, now, chance);
                if let Some(news) = news {
                    self.say(Notice::NotAsked { shortage, news });
                }
                at(now + wait, true)
            }
            Outcome::UnknownTable => {
                self.rings.scan();
                if let Phase::Leading(term) = &mut self.phase {
                    term.put_off = true;
                }
                Next::Settled
            }
        }
    }
}
