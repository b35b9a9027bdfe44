//! What answers and silence of all instances say about our own way to them; see [`crate::witness`].

use super::phase::Phase;
use super::{Controller, Notice, Outcome, Reconciled, Trouble};
use crate::Cause;
use crate::instance::Key;
use crate::queue::Moment;
use crate::witness::{Heard, Word};

impl Controller {
    /// Draws from the end of a reconciliation what it says of our own way. Returns whether it is to be repeated at
    /// once, because what it was concluded from is no longer so.
    pub(super) fn weigh(&mut self, reconciled: &Reconciled, now: Moment) -> bool {
        let (key, outcome) = (&reconciled.key, &reconciled.outcome);
        self.witnesses.looked(key);
        if let Some(clocks) = reconciled.clocks {
            self.witnesses.read(clocks);
        }
        match reconciled.word {
            Some((Word::Own, at)) => self.answered(key, at, now),
            Some((Word::Refusal, at)) => self.witnesses.refused(key, at),
            None => {}
        }
        match outcome {
            Outcome::Doubted(tried) => {
                let (before, known) = (reconciled.known, self.witnesses.known(key));
                if (known.witness_at, known.void_until) != (before.witness_at, before.void_until) {
                    return true;
                }
                if self.witnesses.silent(key, now) {
                    self.say(Notice::Doubt(tried.clone()));
                    let tried = tried.clone();
                    self.troubles.doubt(Some(Trouble::Doubt { tried }));
                }
            }
            // Of a table that is served no longer nothing is asked for.
            Outcome::Final | Outcome::Ready(_) | Outcome::Unsure | Outcome::UnknownTable => {
                self.has_verdict(key, now);
            }
            Outcome::Again { wants_witness, .. } => {
                self.has_verdict(key, now);
                if *wants_witness {
                    self.seek_witnesses(now);
                }
            }
            Outcome::Overtaken
            | Outcome::Transient
            | Outcome::Failed(_)
            | Outcome::NotAsked(_)
            | Outcome::EpochEnded => {}
        }
        false
    }

    /// It was answered in its own words: if that ends a doubt, all who were silent are looked at.
    fn answered(&mut self, key: &Key, at: Moment, now: Moment) {
        if let Heard::DoubtEnded(silent) = self.witnesses.heard(key, at) {
            self.say(Notice::DoubtOver(silent.len()));
            self.troubles.doubt(None);
            for key in silent {
                self.queue.wake(key, Cause::Witness, now);
            }
        }
    }

    fn has_verdict(&mut self, key: &Key, now: Moment) {
        if self.witnesses.settled(key, now) {
            self.say(Notice::NobodySilent);
            self.troubles.doubt(None);
        }
    }

    /// Some of the silent are asked by the clock while it is doubted that our own way works; all of them when that
    /// has lasted as long as the settings let it.
    pub(super) fn ask_canaries(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Leading(_)) {
            return;
        }
        let limit = self.witnesses.limit_is_due(now);
        let silent = self.witnesses.believe(now);
        if limit {
            self.say(Notice::Believed(silent.len()));
            self.troubles.doubt(Some(Trouble::Believed));
        }
        for key in silent {
            self.queue.wake(key, Cause::Witness, now);
        }
        for key in self.witnesses.canaries(now) {
            // By the clock: of whom something is new goes before them.
            self.queue.wake(key, Cause::Backoff, now);
        }
    }

    fn seek_witnesses(&mut self, now: Moment) {
        if let Phase::Leading(term) = &mut self.phase
            && self.witnesses.want(now)
        {
            term.ready_wanted = true;
        }
    }

    pub(super) fn found_ready(&mut self, found: Option<Vec<Key>>, now: Moment) {
        match found {
            Some(keys) => {
                for key in self.witnesses.ask(keys) {
                    self.wake(key, Cause::Witness, now);
                }
            }
            None => self.witnesses.give_up(),
        }
    }
}
