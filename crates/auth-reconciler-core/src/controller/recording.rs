//! From a proposal to the end of its reconciliation.

use super::run::{Proposed, Run, Seen, Step};
use super::{Controller, Failure, Notice, Outcome, Output, Said, Stop};
use crate::instance::Key;
use crate::queue::Moment;
use crate::record::{Proposal, Recorded, Recording, Transaction};
use crate::verdict::Verdict;

impl Controller {
    /// Has it recorded; without a verdict the row is gone. `instead` is how it ends then, where what is recorded is not
    /// of this instance's making.
    pub(super) fn propose(
        &mut self,
        key: Key,
        seen: Seen,
        verdict: Option<Box<Verdict>>,
        instead: Option<Outcome>,
        now: Moment,
    ) {
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        if run.stop == Some(Stop::Overtaken) {
            self.say(Notice::Dropped(key));
            return self.end_run(key, Outcome::Overtaken, now);
        }
        let Seen {
            snapshot,
            cause,
            unanswered,
        } = seen;
        let verdict_said = verdict.as_ref();
        run.step = Step::Record(Box::new(Proposed {
            then: verdict_said.map_or(Outcome::Final, |verdict| {
                after_record(verdict, Output::of(&snapshot.facts), unanswered)
            }),
            instead,
            said: Said {
                key,
                status: verdict_said.and_then(|verdict| verdict.status),
                reason: verdict_said.map(|verdict| verdict.reason),
                cause,
                contested: verdict_said
                    .is_some_and(|verdict| verdict.memory.corrections.is_contested()),
            },
            unwritable_retry: snapshot.unwritable_retry(),
        }));
        let since = run.wake.since;
        let proposal = Proposal {
            epoch: run.epoch,
            key,
            snapshot,
            verdict,
            cause,
            waited: now.saturating_sub(since),
        };
        self.records.want(proposal, since);
    }

    /// The next batch of those that wait to be recorded. What happened to a container while its verdict waited is in no
    /// fence, so such a verdict is dropped here.
    pub(super) fn begin_record(&mut self, now: Moment) -> Option<Vec<Proposal>> {
        if !self.records.may_begin(now) {
            return None;
        }
        let running = &self.running;
        let overtaken = self.records.take_out(|proposal| {
            running
                .get(&proposal.key)
                .is_some_and(|run| run.stop == Some(Stop::Overtaken))
        });
        for Proposal { key, .. } in overtaken {
            self.say(Notice::Dropped(key));
            self.end_run(key, Outcome::Overtaken, now);
        }
        self.records.begin(now)
    }

    /// A batch was recorded.
    pub(super) fn recorded(
        &mut self,
        recordings: Vec<(Key, Result<Recording, Failure>)>,
        transactions: &[Transaction],
        now: Moment,
    ) {
        let first = recordings.first().map(|(key, _)| key);
        self.records.ended(first, transactions);
        self.read_on();
        for (key, recording) in recordings {
            self.one_recorded(key, recording, now);
        }
    }

    /// A first look waits for a slot, and this one has held its own for long: it gives way. One that is being recorded
    /// cannot; then one does whose record waits for a slow one.
    pub(super) fn give_way(&mut self, key: Key, now: Moment) {
        let is_recorded = |run: &Run| matches!(run.step, Step::Record(_));
        if !self.running.get(&key).is_some_and(is_recorded) {
            return self.ask_to_end(key, Stop::GiveWay);
        }
        if let Some(instead) = self.records.give_up_one(now) {
            self.queue.spare(&key);
            self.end_run(instead, Outcome::Transient, now);
        }
    }

    fn one_recorded(&mut self, key: Key, recording: Result<Recording, Failure>, now: Moment) {
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        let step = std::mem::replace(&mut run.step, Step::Between);
        let Step::Record(proposed) = step else {
            run.step = step;
            return;
        };
        run.answered = recording.as_ref().is_ok_and(Recording::answers);
        let outcome = match recording {
            Ok(recording) => self.outcome_of(*proposed, recording),
            Err(failure) => Outcome::Failed(failure),
        };
        self.end_run(key, outcome, now);
    }

    fn outcome_of(&mut self, proposed: Proposed, recording: Recording) -> Outcome {
        let Proposed {
            then,
            instead,
            said,
            unwritable_retry,
        } = proposed;
        let again = |after| Outcome::Again {
            after,
            hold_drift: false,
            follow: None,
            wants_witness: false,
            unsure: false,
        };
        let overridden_retry = self.settings.policy.backoff.max;
        let forgets = said.reason.is_none();
        let outcome = match recording.outcome {
            Recorded::EpochEnded => Outcome::EpochEnded,
            Recorded::Overtaken(_) => Outcome::Overtaken,
            Recorded::Gone
            | Recorded::Unwatched
            | Recorded::Written
            | Recorded::Right
            | Recorded::Overridden
            | Recorded::Unwritable
                if forgets =>
            {
                Outcome::Final
            }
            Recorded::Written | Recorded::Right => then,
            Recorded::Overridden => Outcome::Again {
                after: if let Outcome::Again { after, .. } = then {
                    after.min(overridden_retry)
                } else {
                    overridden_retry
                },
                hold_drift: true,
                follow: None,
                wants_witness: false,
                unsure: false,
            },
            Recorded::Unwritable => again(unwritable_retry),
            Recorded::Busy => Outcome::Transient,
            Recorded::Gone => Outcome::Overtaken,
            Recorded::Unwatched => Outcome::UnknownTable,
        };
        let news = self.troubles.recorded(&said, &recording);
        self.say(Notice::Recorded {
            said,
            recording,
            news,
            retry_in: unwritable_retry,
        });
        match (outcome, instead) {
            (Outcome::Again { .. }, Some(instead)) => instead,
            (outcome, _) => outcome,
        }
    }
}

/// What follows once this is recorded. `output` is that of its container, if it runs; `unanswered`: that was concluded
/// without knowing whether it does.
fn after_record(verdict: &Verdict, output: Option<Output>, unanswered: bool) -> Outcome {
    let ready = verdict.reason.is_ready();
    let contested = verdict.memory.corrections.is_contested();
    match (verdict.retry, output) {
        (None, Some(output)) if ready => Outcome::Ready(output),
        (None, _) if unanswered => Outcome::Unsure,
        (None, _) => Outcome::Final,
        (Some(after), output) => Outcome::Again {
            after,
            hold_drift: contested,
            // One that is final but for the end of a hold converges no longer.
            follow: output.filter(|_| !ready),
            wants_witness: verdict.wants_witness,
            unsure: unanswered && !contested,
        },
    }
}
