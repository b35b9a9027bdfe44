//! One reconciliation in the simulated world, step by step as `run/look.rs` of the real daemon takes them.

use std::time::Duration;

use auth_reconciler_core::container::Container;
use auth_reconciler_core::controller::{ChangeSet, Input, Outcome, Output, Reconciled, Task};
use auth_reconciler_core::facts::Facts;
use auth_reconciler_core::follow::{Kind, Sound};
use auth_reconciler_core::verdict::{self, Conclusion, Plan, Verdict};
use auth_reconciler_core::witness::Word;
use auth_reconciler_core::{Answer, Cause};
use chrono::TimeDelta;

use crate::daemon::{BURST, INTERVAL, Run, Stage, changes, index, row_facts, telegram};
use crate::database::Instance;
use crate::ledger::Judged;
use crate::sim::{Event, Sim};

impl Sim {
    pub(crate) fn start(&mut self, task: Task) {
        let i = index(&task.key);
        assert!(!self.runs(i), "instance {i} runs twice at once");
        let (facts, changes) = self.facts(i, &task);
        let run = Run {
            serial: self.db.number(),
            read: self.db.read(i, task.epoch),
            sent: self.now,
            stage: Stage::Forget,
            word: None,
            life: None,
            unseen: self.dock.as_ref().is_some_and(|dock| dock.seen.is_none()),
            overtaken: false,
            answer: None,
            facts,
            changes,
            task,
        };
        let end = self.plan(i, run);
        self.started.entry(i).or_default().push(self.now);
        match end {
            Some(end) => self.looked(i, end),
            None => self.send(i),
        }
        self.check_pace(i);
    }

    /// What is to be done of what was read; how it ends where that is nothing.
    fn plan(&mut self, i: usize, mut run: Run) -> Option<Outcome> {
        let known = self.db.instances[i].is_some();
        let nothing = run.facts.row.is_none() && !known;
        let anything = !run.changes.is_empty() || (!known && !nothing);
        let rung = run.task.wake.rung;
        let end = if rung && !(anything && run.task.before != Some(run.changes)) {
            Some(Outcome::NothingNew)
        } else if nothing && run.changes.is_empty() {
            Some(Outcome::Final)
        } else {
            match verdict::plan(&self.policy, &run.facts, self.rng.chance()) {
                Plan::Settle(verdict) => {
                    run.stage = Stage::Decided(verdict);
                    None
                }
                Plan::Forget => None,
                Plan::Defer { until } => Some(Outcome::Again {
                    after: (until - run.facts.now).to_std().unwrap_or_default(),
                    hold_drift: true,
                    wants_witness: false,
                    follow: None,
                    unsure: false,
                }),
                Plan::Probe { .. } => {
                    run.stage = Stage::Out;
                    None
                }
            }
        };
        if let Some(daemon) = &mut self.daemon {
            daemon.runs.insert(i, run);
            assert!(daemon.runs.len() <= self.slots, "more runs than slots");
        }
        end
    }

    fn runs(&self, i: usize) -> bool {
        let daemon = self.daemon.as_ref();
        daemon.is_some_and(|daemon| daemon.runs.contains_key(&i))
    }

    fn facts(&mut self, i: usize, task: &Task) -> (Facts, ChangeSet) {
        let time = self.time();
        let row = self.db.rows[i].as_ref();
        let known = self.db.memory(i).and_then(|known| known.sighting.clone());
        let (container, sighting) = match &mut self.dock {
            Some(dock) => dock.sight(i, known.as_ref()),
            None => (Container::Unknown, None),
        };
        let followed = task.followed.is_some()
            && task.followed == sighting.as_ref().map(|seen| seen.id.clone());
        let mut facts = Facts {
            now: time,
            row: row.map(|row| row_facts(row.key, row.status.clone())),
            changes: changes(&self.db.log[i]),
            recorded: self.db.memory(i).cloned(),
            engine_has_shown_ours: self.dock.as_ref().is_some_and(|dock| dock.has_shown_ours()),
            way: task.known.by_database((self.moment(), time)),
            followed,
            container,
            sighting,
            paused: None,
        };
        let woken = task.wake;
        let told = facts.changes.iter().map(|change| change.cause).max();
        let cause = told.unwrap_or(woken.cause);
        if cause > Cause::Drift || (!woken.rung && woken.cause > Cause::Drift) {
            facts.lift_hold();
        }
        let ids = self.db.log[i].iter();
        let ids: Vec<i64> = ids
            .map(|entry| i64::try_from(entry.id).expect("fits"))
            .collect();
        (facts, ChangeSet::of(&ids))
    }

    /// Sends its probe; by the clock, lets the rest come in its time.
    fn send(&mut self, i: usize) {
        let Some(run) = self.run(i) else { return };
        let serial = run.serial;
        if !matches!(run.stage, Stage::Out) {
            if self.timed {
                self.after(1, Event::Recorded(i, serial));
            }
            return;
        }
        self.probes[i] += 1;
        self.sound(i, Sound::Sent);
        if self.timed {
            let (answer, took) = self.meet(i);
            if let Some(run) = self.run(i) {
                run.answer = Some(answer);
            }
            self.after(took, Event::Answered(i, serial));
        }
        self.chats(i, 0);
    }

    /// What a probe of the present run meets now.
    fn meet(&mut self, i: usize) -> (Answer, u64) {
        let key = self.db.rows[i].as_ref().and_then(|row| row.key);
        let fits = self.run(i).is_some_and(|run| run.read.key == key);
        let serves = self.dock.as_ref().is_none_or(|dock| dock.runs(i));
        self.world.meet(i, serves, fits)
    }

    /// Which life of its container this is.
    fn life(&self, i: usize) -> Option<u64> {
        Some(self.dock.as_ref()?.ship(i)?.life)
    }

    pub(crate) fn run(&mut self, i: usize) -> Option<&mut Run> {
        self.daemon.as_mut()?.runs.get_mut(&i)
    }

    pub(crate) fn runs_as(&self, i: usize, serial: u64) -> bool {
        let run = self.daemon.as_ref().and_then(|daemon| daemon.runs.get(&i));
        run.is_some_and(|run| run.serial == serial)
    }

    /// Its probe has ended.
    pub(crate) fn answered(&mut self, i: usize) {
        if !self
            .run(i)
            .is_some_and(|run| matches!(run.stage, Stage::Out))
        {
            return;
        }
        let met = self.run(i).and_then(|run| run.answer.clone());
        let answer = met.unwrap_or_else(|| self.meet(i).0);
        self.chats(i, 1);
        let (now, chance) = (self.now, self.rng.chance());
        let life = self.life(i);
        self.sound(i, Sound::Answered(Kind::of(&answer)));
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.get_mut(&i) else {
            return;
        };
        self.ledger.answered(i, &answer, run.sent, now);
        run.word = Word::of(&answer).map(|word| (word, now));
        if answer.in_own_words() {
            run.life = life;
        }
        // By the clock that it was read with, wherever that is now.
        let time =
            run.facts.now + TimeDelta::milliseconds(i64::try_from(now - run.sent).expect("fits"));
        let found = verdict::conclude(&self.policy, &run.facts, telegram(), &answer, time, chance);
        run.answer = Some(answer);
        let serial = run.serial;
        match found {
            Conclusion::Record(verdict) => {
                run.stage = Stage::Decided(verdict);
                if self.timed {
                    // Now and then the database is slow.
                    let slow = self.rng.below(50) == 0;
                    let ms = if slow { 4_000 } else { 2 };
                    self.after(ms, Event::Recorded(i, serial));
                }
                self.chats(i, 2);
            }
            Conclusion::NotAsked(shortage) => self.looked(i, Outcome::NotAsked(shortage)),
            Conclusion::Doubted => self.looked(i, Outcome::Doubted(String::new())),
        }
    }

    /// Its verdict reaches the database.
    pub(crate) fn record(&mut self, i: usize) {
        let Some(run) = self.run(i) else { return };
        let stage = std::mem::replace(&mut run.stage, Stage::Forget);
        if matches!(stage, Stage::Out) {
            run.stage = Stage::Out;
            return;
        }
        let overtaken = run.overtaken;
        let Some(run) = self.daemon.as_ref().and_then(|daemon| daemon.runs.get(&i)) else {
            return;
        };
        let epoch_ended = run.read.epoch != self.db.epoch;
        let stands = self.db.fenced(i, &run.read);
        let refused = match (overtaken, epoch_ended) {
            (false, true) => Some(Outcome::EpochEnded),
            (true, _) => Some(Outcome::Overtaken),
            (false, false) if !stands => Some(Outcome::Overtaken),
            (false, false) => None,
        };
        if let Some(refused) = refused {
            self.looked(i, refused);
            return;
        }
        if self.db.rows[i].is_some() || matches!(stage, Stage::Forget) {
            self.db.answer(i, &run.read);
        }
        let end = match stage {
            Stage::Decided(verdict) => self.accept(i, &verdict),
            Stage::Forget | Stage::Out => {
                self.db.instances[i] = None;
                self.ledger.forget(i);
                Outcome::Final
            }
        };
        let unseen = self.run(i).is_some_and(|run| run.unseen);
        let unsure = unseen && end == Outcome::Final;
        self.looked(i, if unsure { Outcome::Unsure } else { end });
    }

    /// The fence has let it through.
    fn accept(&mut self, i: usize, verdict: &Verdict) -> Outcome {
        let (version, now) = (self.db.number(), self.now);
        let truly_ready = self.truly_ready(i);
        let life = self.life(i);
        let Some(run) = self.daemon.as_ref().and_then(|daemon| daemon.runs.get(&i)) else {
            return Outcome::Final;
        };
        let Some(row) = &mut self.db.rows[i] else {
            assert!(self.db.unlogged || self.db.owed, "a deletion is a change");
            return Outcome::Overtaken;
        };
        assert!(
            row.key == run.read.key || self.db.unlogged || self.db.owed,
            "a verdict about another key was accepted"
        );
        self.ledger.judge(&Judged {
            i,
            now,
            run,
            verdict,
            truly_ready,
            life,
        });
        if let Some(status) = verdict.status
            && row.status.as_deref() != Some(status.as_str())
        {
            row.status = Some(status.as_str().to_owned());
            row.updated = now;
        }
        self.db.instances[i] = Some(Instance {
            version,
            memory: verdict.memory.clone(),
            settled: verdict.retry.is_none(),
        });
        let output = Output::of(&run.facts);
        let ready = verdict.reason.is_ready();
        match (verdict.retry, output) {
            (None, Some(output)) if ready => Outcome::Ready(output),
            (None, _) => Outcome::Final,
            (Some(after), output) => Outcome::Again {
                after,
                hold_drift: verdict.memory.corrections.is_contested(),
                wants_witness: verdict.wants_witness,
                follow: output.filter(|_| !ready),
                unsure: run.unseen && !verdict.memory.corrections.is_contested(),
            },
        }
    }

    /// The controller is told how it ended.
    pub(crate) fn looked(&mut self, i: usize, outcome: Outcome) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.remove(&i) else {
            return;
        };
        if outcome == Outcome::NothingNew {
            // It costs nothing of the pace.
            self.started.entry(i).or_default().pop();
        }
        let doubted = daemon.controller.in_doubt();
        let sent = Duration::from_millis(run.sent);
        self.tell(Input::Reconciled(Box::new(Reconciled {
            key: run.task.key,
            epoch: run.task.epoch,
            changes: Some(run.changes),
            clocks: Some((sent, run.facts.now)),
            word: run.word.map(|(word, at)| (word, Duration::from_millis(at))),
            outcome,
        })));
        let doubts = self.daemon.as_ref();
        let doubts = doubts.is_some_and(|daemon| daemon.controller.in_doubt());
        if let Some((Word::Own, heard)) = run.word
            && doubted
            && !doubts
        {
            self.ledger.void(heard);
        }
    }

    /// Over any stretch of looks at one key: no more than the burst plus what the time refills.
    fn check_pace(&self, i: usize) {
        let burst = usize::try_from(BURST).expect("fits");
        let Some(looks) = self
            .started
            .get(&i)
            .filter(|looks| looks.last() == Some(&self.now))
        else {
            return;
        };
        if let Some(first) = looks.len().checked_sub(burst + 2) {
            let took = u128::from(self.now - looks[first]);
            assert!(
                took >= INTERVAL.as_millis(),
                "{} looks within {took} ms",
                burst + 2
            );
        }
    }
}
