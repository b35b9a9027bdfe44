//! What answers and silence of all instances say about our own way to them; see [`auth_reconciler_core::witness`].

use std::sync::Arc;

use auth_reconciler_core::Cause;
use auth_reconciler_core::witness::{Heard, Moment, Word};
use tracing::{debug, info, warn};

use super::Daemon;
use super::runs::Run;
use crate::postgres::error::StoreError;
use crate::postgres::ready::ready_instances;
use crate::postgres::tables::Key;
use crate::run::look::End;
use crate::run::{Done, Phase};
use crate::telemetry::chain;
use crate::witness::REMEDY;

const DOUBT: &str = "instances that were ready are silent and nobody else answers, so our own way to them is doubted: \
     nothing is written until one answers";

const BELIEVED: &str = "instances that were ready are silent and nobody else answers, for longer than \
     AUTH_RECONCILER_BELIEVE_SILENCE_AFTER: their silence is believed until one answers";

impl Daemon {
    /// Draws from the end of a look what it says of our own way. Returns whether it is to be repeated at once,
    /// because what it was concluded from is no longer so.
    pub(super) fn weigh(&mut self, key: &Key, run: Option<&Run>, end: &End) -> bool {
        let now = self.now();
        if *end == End::NothingNew {
            return false;
        }
        self.witnesses.looked(key);
        if let Some(reading) = run.and_then(Run::clocks) {
            self.witnesses.read(reading);
        }
        if let Some((word, at)) = run.and_then(Run::word) {
            let at = at.saturating_duration_since(self.origin);
            match word {
                Word::Own => self.heard(key, at),
                Word::Refusal => self.witnesses.refused(key, at),
            }
        }
        match end {
            End::Doubted(tried) => {
                let before = run.map(Run::known).unwrap_or_default();
                let known = self.witnesses.known(key);
                if (known.witness_at, known.void_until) != (before.witness_at, before.void_until) {
                    return true;
                }
                if self.witnesses.silent(key, now) {
                    let url = &self.context.prober.url;
                    warn!(%url, tried, advice = REMEDY, "{DOUBT}");
                    let told = format!("{DOUBT}; asked at {url}, the last at {tried}; {REMEDY}");
                    self.troubles.doubt(Some(told));
                }
            }
            End::Settled | End::Ready(_) | End::Unsure | End::Again { .. } => {
                if self.witnesses.settled(key, now) {
                    info!("nobody is silent without a reason any more: the doubt is over");
                    self.troubles.doubt(None);
                }
                if matches!(
                    end,
                    End::Again {
                        wants_witness: true,
                        ..
                    }
                ) {
                    self.seek_witnesses();
                }
            }
            End::Overtaken
            | End::NothingNew
            | End::Stumbled
            | End::NotAsked(_)
            | End::UnknownTable
            | End::EpochEnded => {}
        }
        false
    }

    /// It was answered in its own words: if that ends a doubt, all who were silent are looked at.
    fn heard(&mut self, key: &Key, at: Moment) {
        let now = self.now();
        if let Heard::DoubtEnded(silent) = self.witnesses.heard(key, at) {
            info!(
                looked_at = silent.len(),
                "somebody answers: the doubt is over"
            );
            self.troubles.doubt(None);
            for key in silent {
                self.queue.wake(key, Cause::Witness, now);
            }
        }
    }

    /// Some of the silent are asked by the clock while it is doubted that our own way works; all of them when that
    /// has lasted as long as the settings let it.
    pub(super) fn send_canaries(&mut self) {
        let now = self.now();
        if !matches!(self.phase, Phase::Leading(_)) {
            return;
        }
        let limit = self.witnesses.limit_is_due(now);
        let silent = self.witnesses.believe(now);
        if limit {
            let url = &self.context.prober.url;
            warn!(%url, silent = silent.len(), advice = REMEDY, "{BELIEVED}");
            let told = format!("{BELIEVED}; asked at {url}; {REMEDY}");
            self.troubles.doubt(Some(told));
        }
        for key in silent {
            self.queue.wake(key, Cause::Witness, now);
        }
        for key in self.witnesses.canaries(now) {
            // By the clock: of whom something is new goes before them.
            self.queue.wake(key, Cause::Backoff, now);
        }
    }

    pub(super) fn on_ready_ones(&mut self, result: Result<Vec<Key>, StoreError>) {
        let now = self.now();
        match result {
            Ok(keys) => {
                for key in self.witnesses.ask(keys) {
                    self.wake(key, Cause::Witness, now);
                }
            }
            Err(failure) => {
                debug!(error = chain(&failure), "could not find out whom to ask");
                self.witnesses.give_up();
            }
        }
    }

    fn seek_witnesses(&mut self) {
        let now = self.now();
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        if !self.witnesses.want(now) {
            return;
        }
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        self.jobs.spawn(async move {
            Done::Ready {
                epoch,
                result: ready_instances(&context.pool).await,
            }
        });
    }
}
