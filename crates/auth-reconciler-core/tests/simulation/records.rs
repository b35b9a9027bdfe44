//! Records in the simulated world: each proposal of a batch behind its own fence.

use std::time::Duration;

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::Input;
use auth_reconciler_core::record::{Proposal, Recorded, Recording, Transaction};
use auth_reconciler_core::verdict::Verdict;

use crate::daemon::{Act, Run, index};
use crate::database::{Instance, uuid};
use crate::ledger::Judged;
use crate::sim::Sim;

impl Sim {
    pub(crate) fn begin_record(&mut self, proposals: Vec<Proposal>) {
        // Now and then the database is slow.
        let slow = self.timed && self.rng.below(50) == 0;
        self.begin(Act::Record(proposals), if slow { 4_000 } else { 0 });
    }

    /// The batch of records under way is made, if there is one.
    pub(crate) fn finish_record(&mut self) {
        let jobs = self.daemon.as_ref().map(|daemon| daemon.jobs.iter());
        let record =
            jobs.and_then(|mut jobs| jobs.position(|job| matches!(job.act, Act::Record(_))));
        if let Some(number) = record {
            self.finish_job(number);
        }
    }

    pub(crate) fn record(&mut self, proposals: Vec<Proposal>) {
        let keys: Vec<Key> = proposals.iter().map(|proposal| proposal.key).collect();
        // Now and then a trigger of the table sleeps.
        let writes = proposals.iter().any(Proposal::writes);
        let sleeps = writes && self.timed && self.rng.below(50) == 0;
        let transactions = vec![Transaction {
            rows: if writes { keys.len() } else { 0 },
            held: Duration::from_millis(if sleeps { 4_000 } else { 1 }),
            alone: (writes && keys.len() == 1).then(|| keys[0]),
        }];
        let recordings = proposals.into_iter().map(|proposal| {
            let recording = Recording {
                outcome: self.accept(&proposal),
                from: None,
                reaction_ms: None,
                refusal: None,
            };
            (proposal.key, Ok(recording))
        });
        let recordings = recordings.collect();
        let input = Input::Recorded {
            recordings,
            transactions,
        };
        if !self.timed && self.rng.below(4) == 0 {
            self.begin(Act::Recorded { keys, input }, 0);
        } else {
            self.tell_end(&keys, input);
        }
    }

    /// One of a batch, behind its own fence.
    fn accept(&mut self, proposal: &Proposal) -> Recorded {
        let i = index(&proposal.key);
        if proposal.epoch != uuid(self.db.epoch) {
            return Recorded::EpochEnded;
        }
        if !self.db.fenced(i, proposal) {
            return Recorded::Overtaken("change");
        }
        // Somebody holds the row.
        if self.rng.below(20) == 0 {
            return Recorded::Busy;
        }
        let Some(verdict) = &proposal.verdict else {
            self.db.answer(i, proposal);
            self.db.instances[i] = None;
            self.ledger.forget(i);
            return Recorded::Gone;
        };
        let unlogged = self.db.unlogged || self.db.owed;
        let Some(row) = &self.db.rows[i] else {
            assert!(unlogged, "a deletion is a change");
            return Recorded::Gone;
        };
        let read = self.daemon.as_ref().and_then(|daemon| daemon.looks[&i].key);
        assert!(
            row.key == read || unlogged,
            "a verdict about another key was accepted"
        );
        self.db.answer(i, proposal);
        self.written(i, proposal, verdict)
    }

    /// The fence has let it through.
    fn written(&mut self, i: usize, proposal: &Proposal, verdict: &Verdict) -> Recorded {
        let (version, now) = (self.db.number(), self.now);
        let truly_ready = self.truly_ready(i);
        let life = self.life(i);
        let look = self.look(i).cloned().unwrap_or_default();
        let run = Run {
            facts: proposal.snapshot.facts.clone(),
            sent: look.read_at,
            answer: look.answer,
            life: look.heard.and_then(|(_, life)| life),
            asked_in: look.asked_in,
        };
        self.ledger.judge(&Judged {
            i,
            now,
            run: &run,
            verdict,
            truly_ready,
            life,
        });
        self.db.instances[i] = Some(Instance {
            version,
            memory: verdict.memory.clone(),
            settled: verdict.retry.is_none(),
        });
        let Some(row) = &mut self.db.rows[i] else {
            return Recorded::Gone;
        };
        if let Some(status) = verdict.status
            && row.status.as_deref() != Some(status.as_str())
        {
            row.status = Some(status.as_str().to_owned());
            row.updated = now;
            return Recorded::Written;
        }
        Recorded::Right
    }
}
