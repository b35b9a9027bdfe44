//! One look of the simulated daemon, step by step as `run/look.rs` of the real one takes them.

use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::Facts;
use auth_reconciler_core::follow::{Kind, Life};
use auth_reconciler_core::queue::Command;
use auth_reconciler_core::verdict::{self, Conclusion, Plan, Verdict};
use auth_reconciler_core::witness::Word;
use auth_reconciler_core::{Answer, Cause};

use chrono::TimeDelta;

use crate::daemon::{BURST, Daemon, End, INTERVAL, Run, Stage, changes, row_facts, telegram};
use crate::database::Instance;
use crate::ledger::Judged;
use crate::sim::{Event, Sim};

impl Sim {
    pub(crate) fn start_daemon(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.daemon = Some(Daemon::new(self.slots));
        self.started.clear();
        self.ledger.process_started();
        if let Some(dock) = &mut self.dock {
            dock.forget();
        }
        self.take_over();
    }

    /// A new term and its resync.
    pub(crate) fn take_over(&mut self) {
        let now = self.moment();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        self.db.epoch = self.db.number();
        daemon.epoch = self.db.epoch;
        daemon.queue.clear();
        daemon.stumbles.clear();
        daemon.unasked.clear();
        daemon.witnesses.began_term(now);
        self.ledger.void(self.now);
        for (i, entries) in self.db.log.iter().enumerate() {
            for entry in entries {
                daemon.queue.wake(i, entry.change.cause, now);
            }
        }
        for (i, known) in self.db.instances.iter().enumerate() {
            if known.as_ref().is_some_and(|known| !known.settled) {
                daemon.queue.wake(i, Cause::Resync, now);
            }
        }
        self.unfollow_all();
        self.compare();
    }

    pub(crate) fn dispatch(&mut self) {
        self.follow();
        let now = self.moment();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        for i in daemon.witnesses.canaries(now) {
            daemon.queue.wake(i, Cause::Backoff, now);
        }
        for (i, cause) in std::mem::take(&mut daemon.rings) {
            daemon.queue.wake(i, cause, now);
            if cause.goes_on() {
                self.started.remove(&i);
            }
        }
        while let Some(command) = self.daemon.as_mut().and_then(|d| d.queue.next(now)) {
            match command {
                Command::Start { key, wake } => self.start(key, wake.cause),
                Command::GiveWay { key } => self.give_up(key),
            }
        }
    }

    fn start(&mut self, i: usize, cause: Cause) {
        let (now, time, serial) = (self.moment(), self.time(), self.db.number());
        let facts = self.facts(i, cause);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let known = daemon.witnesses.known(&i);
        let followed = daemon.followers.followed(&i).map(str::to_owned);
        let mut facts = Facts {
            way: known.by_database((now, time)),
            ..facts
        };
        facts.followed =
            followed.is_some() && followed == facts.sighting.as_ref().map(|seen| seen.id.clone());
        daemon.followers.begun(&i, now);
        let run = |stage| Run {
            serial,
            known,
            read: self.db.read(i, daemon.epoch),
            sent: self.now,
            stage,
            heard: None,
            life: None,
            unseen: self.dock.as_ref().is_some_and(|dock| dock.seen.is_none()),
            overtaken: false,
            answer: None,
            facts: facts.clone(),
        };
        let (run, end) = match verdict::plan(&self.policy, &facts, self.rng.chance()) {
            Plan::Settle(verdict) => (run(Stage::Decided(verdict)), None),
            Plan::Forget => (run(Stage::Forget), None),
            Plan::Defer { until } => {
                let after = (until - facts.now).to_std().unwrap_or_default();
                let end = End::Again {
                    after,
                    hold_drift: true,
                    wants_witness: false,
                    follow: None,
                };
                (run(Stage::Forget), Some(end))
            }
            Plan::Probe { .. } => (run(Stage::Out), None),
        };
        let doubled = daemon.runs.insert(i, run);
        assert!(doubled.is_none(), "instance {i} runs twice at once");
        assert!(daemon.runs.len() <= self.slots, "more runs than slots");
        self.started.entry(i).or_default().push(self.now);
        self.check_pace(i);
        match end {
            Some(end) => self.looked(i, end),
            None => self.begin(i),
        }
    }

    /// Everything but what is known of our own way.
    fn facts(&mut self, i: usize, cause: Cause) -> Facts {
        let row = self.db.rows[i].as_ref();
        let known = self.db.memory(i).and_then(|known| known.sighting.clone());
        let (container, sighting) = match &mut self.dock {
            Some(dock) => dock.sight(i, known.as_ref()),
            None => (Container::Unknown, None),
        };
        let mut facts = Facts {
            now: self.time(),
            row: row.map(|row| row_facts(row.key, row.status.clone())),
            changes: changes(&self.db.log[i]),
            recorded: self.db.memory(i).cloned(),
            engine_has_shown_ours: self.dock.as_ref().is_some_and(|dock| dock.has_shown_ours()),
            way: auth_reconciler_core::facts::Way::default(),
            followed: false,
            container,
            sighting,
            paused: None,
        };
        if cause > Cause::Drift {
            facts.lift_hold();
        }
        facts
    }

    /// Sends its probe; by the clock, lets the rest come in its time.
    fn begin(&mut self, i: usize) {
        let now = self.moment();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.get_mut(&i) else {
            return;
        };
        let serial = run.serial;
        if !matches!(run.stage, Stage::Out) {
            if self.timed {
                self.after(1, Event::Recorded(i, serial));
            }
            return;
        }
        self.probes[i] += 1;
        daemon.followers.sent(&i, now);
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
        let (now, moment, chance) = (self.now, self.moment(), self.rng.chance());
        let life = self.life(i);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.get_mut(&i) else {
            return;
        };
        daemon.followers.answered(&i, Kind::of(&answer), moment);
        self.ledger.answered(i, &answer, run.sent, now);
        run.heard = Word::of(&answer).map(|word| (word, now));
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
            Conclusion::NotAsked(_) => self.looked(i, End::NotAsked),
            Conclusion::Doubted => self.looked(i, End::Doubted),
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
        if overtaken || !self.db.fenced(i, &run.read) {
            self.looked(i, End::Overtaken);
            return;
        }
        self.db.answer(i, &run.read);
        let end = match stage {
            Stage::Decided(verdict) => self.accept(i, &verdict),
            Stage::Forget | Stage::Out => {
                self.db.instances[i] = None;
                self.ledger.forget(i);
                End::Settled
            }
        };
        let unseen = self.run(i).is_some_and(|run| run.unseen);
        let unsure = unseen && matches!(end, End::Settled);
        self.looked(i, if unsure { End::Unsure } else { end });
    }

    /// The fence has let it through.
    fn accept(&mut self, i: usize, verdict: &Verdict) -> End {
        let (version, now) = (self.db.number(), self.now);
        let truly_ready = self.truly_ready(i);
        let life = self.life(i);
        let Some(run) = self.daemon.as_ref().and_then(|daemon| daemon.runs.get(&i)) else {
            return End::Settled;
        };
        let row = self.db.rows[i].as_mut().expect("a deletion is a change");
        assert_eq!(
            row.key, run.read.key,
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
        let facts = &run.facts;
        let life = facts.sighting.as_ref().map(|seen| Life {
            container: seen.id.clone(),
            started_at: seen.started_at,
        });
        verdict.retry.map_or(End::Settled, |after| End::Again {
            after,
            hold_drift: verdict.memory.corrections.is_contested(),
            wants_witness: verdict.wants_witness,
            follow: life
                .filter(|_| facts.container == Container::Running && !verdict.reason.is_ready()),
        })
    }

    /// Its probe is ended without an answer.
    pub(crate) fn give_up(&mut self, i: usize) {
        let Some(run) = self.run(i) else { return };
        if matches!(run.stage, Stage::Out) {
            let end = if run.overtaken {
                End::Overtaken
            } else {
                End::Stumbled
            };
            self.looked(i, end);
        }
    }

    /// Over any stretch of looks at one key: no more than the burst plus what the time refills.
    fn check_pace(&self, i: usize) {
        let burst = usize::try_from(BURST).expect("fits");
        let looks = &self.started[&i];
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
