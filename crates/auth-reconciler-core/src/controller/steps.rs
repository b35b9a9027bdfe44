//! From a snapshot to a proposal: inspect, plan, probe, conclude.

use chrono::TimeDelta;

use super::log::MANY;
use super::run::{Run, Seen, Step};
use super::{
    Command, Controller, Failure, Inspected, Notice, Outcome, Probe, Probed, ReadBatch, Stop,
};
use crate::Cause;
use crate::instance::Key;
use crate::queue::Moment;
use crate::snapshot::Snapshot;
use crate::verdict::{self, Conclusion, Plan};
use crate::witness::Word;

impl Controller {
    /// A batch was read.
    pub(super) fn read(&mut self, read: ReadBatch, now: Moment) {
        self.reads.ended();
        for (key, snapshot) in read.snapshots {
            match self.running.get(&key).map(|run| &run.step) {
                Some(Step::Read { batch }) if *batch <= read.batch => {
                    self.first_read(key, snapshot, (read.batch, read.at), now);
                }
                Some(Step::Probe { .. }) => self.read_again(key, snapshot),
                // It was read for a reconciliation that has ended.
                Some(_) | None => {}
            }
        }
        if let Some(taken) = read.log {
            self.log_read(read.batch, read.at, taken, now);
        }
    }

    /// What is to be reconciled was read, with this batch and at this moment.
    pub(super) fn first_read(
        &mut self,
        key: Key,
        snapshot: Result<Box<Snapshot>, Failure>,
        (batch, at): (u64, Moment),
        now: Moment,
    ) {
        if let Some(run) = self.running.get_mut(&key) {
            run.read_in = batch;
        }
        let mut snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(failure) => return self.end_run(key, Outcome::Failed(failure), now),
        };
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        run.changes = Some(snapshot.change_set());
        run.unread = std::mem::take(&mut snapshot.unread);
        let wake = run.wake;
        let cause = snapshot.cause(wake.cause);
        if snapshot.is_of_nothing() {
            // A container without a row, or with its row in another of the watched tables.
            return self.end_run(key, Outcome::Final, now);
        }
        let many = run.unread.len() > MANY;
        if wake.cause > Cause::Drift {
            snapshot.facts.lift_hold();
        }
        let clocks = (at, snapshot.facts.now);
        run.clocks = Some(clocks);
        snapshot.facts.way = run.known.by_database(clocks);
        let inspects = self.settings.has_engine && verdict::concerns_container(&snapshot.facts);
        let recorded = snapshot.facts.sighting.clone();
        let facts = &snapshot.facts;
        // Before it is asked: else an answer may be told before the read that led to it.
        self.out.push_back(Command::Say(Notice::ReadFresh {
            key,
            generation: snapshot.generation,
            has_api_key: facts.row.as_ref().is_some_and(|row| row.has_api_key()),
            cause,
        }));
        let seen = Box::new(Seen {
            snapshot,
            cause,
            unanswered: false,
        });
        if inspects {
            run.step = Step::Inspect(seen);
            self.out.push_back(Command::Inspect { key, recorded });
        } else {
            self.plan(key, seen, None, now);
        }
        if many {
            self.put_off_what_is_under_way(key);
        }
    }

    /// Somebody rang for a foreign write: there is one if there is a change that was not read before. Any batch may show it,
    /// also one before the last that is wanted: else whoever goes on ringing would put it off.
    fn read_again(&mut self, key: Key, snapshot: Result<Box<Snapshot>, Failure>) {
        let Some(Run { changes, .. }) = self.running.get(&key) else {
            return;
        };
        // One that cannot be read is found after the probe.
        if snapshot.is_ok_and(|snapshot| *changes != Some(snapshot.change_set())) {
            self.ask_to_end(key, Stop::Overwritten);
        }
    }

    /// The engine was asked.
    pub(super) fn inspected(&mut self, inspected: Inspected, now: Moment) {
        let key = inspected.key;
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        let step = std::mem::replace(&mut run.step, Step::Between);
        let Step::Inspect(mut seen) = step else {
            run.step = step;
            return;
        };
        let facts = &mut seen.snapshot.facts;
        facts.container = inspected.container;
        facts.engine_has_shown_ours = inspected.has_shown_ours;
        facts.sighting = inspected.sighting;
        facts.followed = run.followed.is_some()
            && run.followed.as_deref() == facts.sighting.as_ref().map(|seen| seen.id.as_str());
        seen.unanswered = inspected.unanswered;
        self.plan(key, seen, inspected.address, now);
    }

    fn plan(&mut self, key: Key, seen: Box<Seen>, address: Option<std::net::IpAddr>, now: Moment) {
        let facts = &seen.snapshot.facts;
        match verdict::plan(&self.settings.policy, facts, self.chance.draw()) {
            Plan::Forget => self.propose(key, *seen, None, None, now),
            Plan::Defer { until } => {
                let after = (until - facts.now).to_std().unwrap_or_default();
                self.say(Notice::Deferred(key, after));
                let outcome = Outcome::Again {
                    after,
                    hold_drift: true,
                    follow: None,
                    wants_witness: false,
                    unsure: false,
                };
                self.end_run(key, outcome, now);
            }
            Plan::Settle(verdict) => self.propose(key, *seen, Some(verdict), None, now),
            Plan::Probe { port, profile } => {
                let Some(Ok(Some(api_key))) = facts.row.as_ref().map(|row| row.api_key.clone())
                else {
                    return self.end_run(key, Outcome::Transient, now);
                };
                let Some(run) = self.running.get_mut(&key) else {
                    return;
                };
                self.out.push_back(Command::Probe(Box::new(Probe {
                    key,
                    port,
                    profile,
                    api_key,
                    address,
                    container: facts.container,
                    stop: run.stop,
                })));
                let reread = (run.write_rung && verdict::is_ours_to_restore(facts))
                    .then(|| self.reads.want(key));
                run.step = Step::Probe {
                    seen,
                    profile,
                    reread,
                };
            }
        }
    }

    /// The API was asked, or is not to be asked any longer.
    pub(super) fn probed(&mut self, probed: Probed, now: Moment) {
        let key = probed.key;
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        let step = std::mem::replace(&mut run.step, Step::Between);
        let Step::Probe { seen, profile, .. } = step else {
            run.step = step;
            return;
        };
        let Some(answer) = probed.answer else {
            let outcome = match run.stop {
                Some(Stop::Overtaken | Stop::Overwritten) => Outcome::Overtaken,
                Some(Stop::GiveUp | Stop::GiveWay) | None => Outcome::Transient,
            };
            return self.end_run(key, outcome, now);
        };
        run.word = Word::of(&answer).map(|word| (word, probed.at));
        let facts = &seen.snapshot.facts;
        let read_at = run.clocks.map_or(probed.at, |(at, _)| at);
        let passed = TimeDelta::from_std(probed.at.saturating_sub(read_at)).unwrap_or_default();
        let (policy, time) = (&self.settings.policy, facts.now + passed);
        let chance = self.chance.draw();
        let outcome = match verdict::conclude(policy, facts, profile, &answer, time, chance) {
            Conclusion::Record(verdict) => {
                return self.propose(key, *seen, Some(verdict), None, now);
            }
            Conclusion::NotAsked(shortage) => Outcome::NotAsked(shortage),
            Conclusion::Doubted => Outcome::Doubted(probed.tried),
        };
        match verdict::given_back(policy, facts, self.chance.draw()) {
            Some(verdict) => {
                self.propose(key, *seen, Some(Box::new(verdict)), Some(outcome), now);
            }
            None => self.end_run(key, outcome, now),
        }
    }
}
