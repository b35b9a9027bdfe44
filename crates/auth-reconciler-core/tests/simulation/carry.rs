//! Carries out the controller's commands in the simulated world, as the shell does in the real one.

use auth_reconciler_core::container::{self, RecordedContainer};
use auth_reconciler_core::controller::{
    Backlog, Command, Done, Echo, EngineNews, EngineStatus, FollowerEnded, Input, Notice, Notified,
    Round, Sight, Wanted, Work,
};
use auth_reconciler_core::follow::Sound;
use auth_reconciler_core::{Cause, standby};
use uuid::Uuid;

use crate::daemon::{Act, Job, TABLE, index, key};
use crate::sim::Sim;

impl Sim {
    /// What was told is taken in, and then at most so many commands are carried out.
    pub(crate) fn dispatch(&mut self, commands: usize) {
        self.fetch();
        for _ in 0..commands {
            let now = self.moment();
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            let Some(command) = daemon.controller.next(now) else {
                return;
            };
            self.carry_out(command);
        }
    }

    fn fetch(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let heard = std::mem::take(&mut daemon.heard);
        let told = std::mem::take(&mut daemon.told);
        for input in told {
            if let Input::Engine(news) = &input {
                let causes = news.instances.iter();
                let goes_on = causes.filter(|(_, cause)| cause.goes_on());
                for (instance, _) in goes_on {
                    let i = usize::try_from(instance.as_u128()).expect("one of ours");
                    self.started.remove(&i);
                }
            }
            self.tell(input);
        }
        if heard != Notified::default() {
            self.tell(Input::Notified(heard));
        }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let now = self.moment();
        if let Some(daemon) = &mut self.daemon {
            daemon.controller.handle(input, now);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { after } => {
                let after = u64::try_from(after.as_millis()).expect("fits");
                self.begin(Act::Connect, after);
            }
            Command::WaitForLock => self.begin(Act::WaitForLock, 10_000),
            Command::Say(Notice::ReadFresh { key, .. }) => self.note_look(index(&key)),
            Command::RingLeader | Command::Say(_) => {}
            Command::Depose { .. } => self.db.other_leads = false,
            Command::Leave { .. } => self.leave(),
            Command::Read { batch, keys, log } => self.begin_read(batch, keys, log),
            Command::PutOff { epoch, changes } => self.begin(Act::PutOff { epoch, changes }, 0),
            Command::Inspect { key, recorded } => self.begin_inspect(key, recorded),
            Command::Probe(probe) => self.send(&probe),
            Command::Record(proposals) => self.begin_record(proposals),
            Command::EndProbe { key, .. } => self.end_probe(index(&key)),
            Command::Follow { key, serial, .. } => self.follow(index(&key), serial),
            Command::Unfollow { key } => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.following.remove(&index(&key));
                }
            }
            Command::Do { epoch, work } => self.work(epoch, work),
            Command::End(ending) => panic!("nothing here ends a daemon: {ending:?}"),
        }
    }

    pub(crate) fn begin(&mut self, act: Act, pause: u64) {
        let took = if self.timed { 2 } else { self.rng.below(30) };
        let ready = self.now + pause;
        if let Some(daemon) = &mut self.daemon {
            let due = ready + took;
            daemon.jobs.push(Job { ready, due, act });
        }
    }

    fn leave(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.leads = false;
        daemon.silence = false;
        daemon.deaf = false;
        daemon.told.clear();
        let resync = std::mem::take(&mut daemon.heard).resync;
        // With the queue goes what it knew of their pace.
        self.started.clear();
        if resync {
            self.tell(Input::Notified(Notified {
                resync,
                ..Notified::default()
            }));
        }
    }

    fn end_probe(&mut self, i: usize) {
        if let Some(look) = self.look(i)
            && look.out.take().is_some()
        {
            self.probed(i, None);
        }
    }

    fn follow(&mut self, i: usize, serial: u64) {
        let (now, key) = (self.moment(), key(i));
        let heard = self.dock.as_ref().is_some_and(|dock| dock.heard(i));
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.following.insert(i, serial);
        if heard {
            let sounds = [(key, vec![(now, Sound::Began)])].into();
            self.tell(Input::Sounds(sounds));
        } else {
            self.output_is_over(i);
        }
    }

    /// What its container writes is over.
    pub(crate) fn output_is_over(&mut self, i: usize) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if let Some(serial) = daemon.following.get(&i).copied() {
            let ended = vec![FollowerEnded {
                key: key(i),
                serial,
                unreadable: None,
            }];
            daemon.engine_says(EngineNews {
                ended,
                ..EngineNews::default()
            });
        }
    }

    /// Some work reads as soon as it has begun, and is told of late; some reads late.
    fn work(&mut self, epoch: Uuid, work: Work) {
        let act = if self.rng.below(2) == 0 {
            let done = self.done(epoch, work);
            Act::Worked { epoch, done }
        } else {
            Act::Work { epoch, work }
        };
        self.begin(act, 0);
    }

    /// Ends the job, if it may end.
    pub(crate) fn finish_job(&mut self, number: usize) {
        let free = !self.db.other_leads;
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(job) = daemon.jobs.get(number) else {
            return;
        };
        if job.ready > self.now && !(free && matches!(job.act, Act::WaitForLock)) {
            return;
        }
        match daemon.jobs.remove(number).act {
            Act::Connect if free => self.lead(),
            Act::WaitForLock if free => self.lead(),
            Act::Connect => self.tell(Input::StandsBy(Sight {
                foreign: Some(Vec::new()),
                leader: None,
            })),
            Act::WaitForLock => {
                let leader = Some(Some(self.frozen_leader()));
                self.tell(Input::StandsBy(Sight {
                    foreign: None,
                    leader,
                }));
            }
            Act::LookForEngine => self.look_for_engine(),
            Act::Work { epoch, work } => {
                let done = self.done(epoch, work);
                self.tell(Input::Done { epoch, done });
            }
            Act::Worked { epoch, done } => self.tell(Input::Done { epoch, done }),
            Act::Read { batch, keys, log } => self.read(batch, &keys, log),
            Act::PutOff { epoch, changes } => {
                let leads = epoch == Uuid::from_u128(self.db.epoch.into());
                if leads {
                    self.db.put_off(&changes);
                }
                self.tell(Input::PutOff(Ok(leads)));
            }
            Act::Inspect { key, recorded } => self.inspect(key, recorded.as_ref()),
            Act::Record(proposals) => self.record(proposals),
            Act::Recorded { keys, input } => self.tell_end(&keys, input),
        }
    }

    /// The other process, as one that stands by sees it: it does nothing.
    fn frozen_leader(&self) -> standby::Seen {
        let oldest = self.db.log.iter().flatten().map(|entry| entry.id).min();
        standby::Seen {
            leader: (7, chrono::DateTime::UNIX_EPOCH),
            oldest_change: oldest.map(|id| i64::try_from(id).expect("fits")),
            oldest_due: None,
            last_sign: Some(chrono::DateTime::UNIX_EPOCH),
        }
    }

    fn lead(&mut self) {
        self.db.epoch = self.db.number();
        let epoch = Uuid::from_u128(self.db.epoch.into());
        if let Some(daemon) = &mut self.daemon {
            daemon.leads = true;
            daemon.silence = false;
        }
        self.ledger.void(self.now);
        let tables = [TABLE].into();
        self.tell(Input::Led {
            epoch,
            tables,
            has_sleeper_lock: true,
        });
        if self.dock.is_some() {
            self.begin(Act::LookForEngine, 0);
        }
    }

    /// The engine that is in sight, or that none is, is told.
    pub(crate) fn look_for_engine(&mut self) {
        let (Some(dock), Some(daemon)) = (&self.dock, &mut self.daemon) else {
            return;
        };
        let seen = dock.seen.is_some();
        let status = if seen {
            EngineStatus::InSight
        } else {
            EngineStatus::OutOfSight("none is there".to_owned())
        };
        daemon.engine_says(EngineNews {
            status: Some(status),
            list: seen.then(|| dock.list()),
            ..EngineNews::default()
        });
    }

    fn done(&mut self, epoch: Uuid, work: Work) -> Done {
        let notes = self.rng.below(4) > 0;
        match work {
            Work::Scan(wanted) => Done::Scanned {
                wanted,
                result: Ok(self.scan(epoch, wanted)),
            },
            Work::Echo => {
                let deaf = self.daemon.as_ref().is_some_and(|daemon| daemon.deaf);
                Done::Echoed(if deaf {
                    Err("no echo".to_owned())
                } else {
                    Ok(Echo {
                        last_id: self.db.last_id(),
                        faults: Vec::new(),
                    })
                })
            }
            Work::Compare(list) => {
                let recorded = self.recorded_containers();
                let engine = self.dock.as_ref().and_then(|dock| dock.engine());
                let compared = container::compare(engine.unwrap_or_default(), list, recorded);
                Done::Compared(Ok(compared.concerned))
            }
            Work::WorkOff if notes => Done::WorkedOff(self.work_off()),
            Work::WorkOff => Done::WorkedOff(Round {
                later: true,
                ..Round::default()
            }),
            Work::FindReady => {
                let ready = self.db.ready_ones().into_iter().map(key);
                Done::FoundReady(Some(ready.collect()))
            }
            Work::NoteEngine(_) => Done::NotedEngine(notes),
            Work::NoteTrouble(_) => Done::NotedTrouble(notes),
            Work::Hush => {
                // Whoever writes just now may have the lock.
                self.silence(epoch, notes);
                Done::Hushed(Ok(notes))
            }
            Work::Resound => {
                self.silence(epoch, false);
                // Somebody else may have the lock, and then all ring for that.
                Done::Resounds(Ok(notes))
            }
            Work::AwaitSilent => Done::Awaited(Ok(notes)),
        }
    }

    /// In the session of that term, if it has not ended.
    fn silence(&mut self, epoch: Uuid, silence: bool) {
        if let Some(daemon) = &mut self.daemon
            && daemon.leads
            && epoch == Uuid::from_u128(self.db.epoch.into())
        {
            daemon.silence = silence;
        }
    }

    fn recorded_containers(&self) -> Vec<RecordedContainer> {
        let known = self.db.instances.iter().enumerate();
        let recorded = known.filter_map(|(i, known)| {
            let known = known.as_ref()?;
            Some(RecordedContainer {
                key: key(i),
                settled: known.settled,
                sighting: known.memory.sighting.clone(),
            })
        });
        recorded.collect()
    }

    fn scan(&mut self, epoch: Uuid, wanted: Wanted) -> Backlog {
        let unlogged = self.db.unlogged;
        let owed = wanted.every_row && self.rng.below(4) > 0;
        if owed {
            self.db.owed = true;
            // Only whoever leads may note that.
            if epoch == Uuid::from_u128(self.db.epoch.into()) {
                self.db.unlogged = false;
            }
        }
        let mut keys = Vec::new();
        for (i, entries) in self.db.log.iter().enumerate() {
            let put_off = entries
                .iter()
                .filter(|entry| entry.put_off && wanted.put_off);
            keys.extend(put_off.map(|entry| (key(i), entry.change.cause)));
        }
        for (i, known) in self.db.instances.iter().enumerate() {
            if wanted.unsettled && known.as_ref().is_some_and(|known| !known.settled) {
                keys.push((key(i), Cause::Resync));
            }
        }
        Backlog {
            tables: [TABLE].into(),
            faults: Vec::new(),
            keys,
            owed,
            unqueued: None,
            unlogged: unlogged && !wanted.every_row,
            waits: false,
        }
    }

    /// Looks at all rows are logged, or made without that, and owed still.
    fn work_off(&mut self) -> Round {
        if !self.db.owed {
            return Round::default();
        }
        let time = self.time();
        let later = self.db.log_is_broken;
        for i in 0..self.instances() {
            if !later {
                self.db.log(i, Cause::Other, time);
            }
        }
        self.db.owed = later;
        Round {
            keys: (0..self.instances()).map(key).collect(),
            later,
            ..Round::default()
        }
    }
}
