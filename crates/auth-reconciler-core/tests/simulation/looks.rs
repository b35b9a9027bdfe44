//! Reads, inspections and probes in the simulated world, as the controller commands them.

use std::collections::BTreeSet;

use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::controller::{
    Input, Inspected, LogRead, LogSeen, Probe, Probed, ReadBatch, Taken, TakenInstance,
};
use auth_reconciler_core::facts::{Facts, Way};
use auth_reconciler_core::follow::{Kind, Sound};
use auth_reconciler_core::snapshot::Snapshot;
use auth_reconciler_core::{Answer, Key};

use crate::daemon::{Act, BURST, INTERVAL, Look, changes, index, key, row_facts};
use crate::database::uuid;
use crate::ledger::Asked;
use crate::sim::{Event, Sim};

impl Sim {
    pub(crate) fn begin_read(&mut self, batch: u64, keys: Vec<Key>, log: Option<LogRead>) {
        let once: BTreeSet<&Key> = keys.iter().collect();
        assert_eq!(once.len(), keys.len(), "an instance is read twice at once");
        if self.prompt && !self.timed {
            return self.read(batch, &keys, log);
        }
        self.begin(Act::Read { batch, keys, log }, 0);
    }

    pub(crate) fn read(&mut self, batch: u64, keys: &[Key], log: Option<LogRead>) {
        let slots = self.slots;
        let daemon = self.daemon.as_ref();
        let under_way = daemon.map_or(0, |daemon| daemon.controller.in_flight());
        assert!(under_way <= slots, "more reconciliations than slots");
        let snapshots = keys.iter().map(|key| {
            let i = index(key);
            (*key, Ok(Box::new(self.snapshot(i))))
        });
        let snapshots = snapshots.collect();
        let log = log.map(|log| self.take(keys, &log));
        let taken = log.iter().flat_map(|taken| &taken.instances);
        let all: Vec<Key> = keys
            .iter()
            .copied()
            .chain(taken.map(|taken| taken.key))
            .collect();
        self.note_reads(&all);
        self.tell(Input::Read(ReadBatch {
            batch,
            at: self.moment(),
            snapshots,
            log: log.map(Ok),
        }));
    }

    /// What the log adds to those that are asked for.
    fn take(&mut self, asked: &[Key], log: &LogRead) -> Taken {
        let unread = self.db.unread(log.after);
        let mut order: Vec<usize> = Vec::new();
        for (i, _) in &unread {
            let passed_over = asked.contains(&key(*i)) || log.under_way.contains(&key(*i));
            if !order.contains(i) && !passed_over {
                order.push(*i);
            }
        }
        let (oldest, newest) = (log.oldest.min(order.len()), log.newest);
        let newest = order.len().saturating_sub(newest).max(oldest);
        let taken = order.iter().take(oldest).chain(&order[newest..]);
        let instances: Vec<_> = taken
            .map(|i| TakenInstance {
                key: key(*i),
                unread: unread
                    .iter()
                    .filter(|(of, _)| of == i)
                    .map(|(_, id)| *id)
                    .collect(),
                snapshot: Ok(Box::new(self.snapshot(*i))),
            })
            .collect();
        let in_progress = self.db.open.iter().map(|open| open.transaction);
        let told = self.rng.below(8) > 0;
        Taken {
            more: instances.len() < order.len(),
            instances,
            seen: LogSeen {
                first_unread: unread.first().map(|(_, id)| *id),
                last_id: self.db.last_id(),
                in_progress: told.then(|| in_progress.collect()),
            },
        }
    }

    /// These were read now.
    fn note_reads(&mut self, keys: &[Key]) {
        let now = self.now;
        for key in keys {
            let i = index(key);
            let key = self.db.rows[i].as_ref().and_then(|row| row.key);
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            let look = daemon.looks.entry(i).or_default();
            // One that is asked, or has just answered, is read once more, and that is no look of its own.
            if look.out.is_none() && look.answer.is_none() {
                *look = Look {
                    read_at: now,
                    key,
                    ..Look::default()
                };
            }
        }
    }

    fn snapshot(&self, i: usize) -> Snapshot {
        let row = self.db.rows[i].as_ref();
        let known = self.db.instances[i].as_ref();
        Snapshot {
            facts: Facts {
                now: self.time(),
                row: row.map(|row| row_facts(row.key, row.status.clone())),
                changes: changes(&self.db.log[i]),
                recorded: known.map(|known| known.memory.clone()),
                engine_has_shown_ours: false,
                way: Way::default(),
                followed: false,
                container: Container::Unknown,
                sighting: known.and_then(|known| known.memory.sighting.clone()),
                paused: None,
            },
            changes: self.db.log[i].iter().map(|entry| entry.number()).collect(),
            unread: self.db.log[i]
                .iter()
                .filter(|entry| !entry.put_off)
                .map(|entry| entry.number())
                .collect(),
            version: known.map(|known| uuid(known.version)),
            generation: 0,
            unwritable_for: None,
        }
    }

    pub(crate) fn begin_inspect(&mut self, key: Key, recorded: Option<Sighting>) {
        if self.prompt && !self.timed {
            return self.inspect(key, recorded.as_ref());
        }
        self.begin(Act::Inspect { key, recorded }, 0);
    }

    pub(crate) fn inspect(&mut self, key: Key, recorded: Option<&Sighting>) {
        let Some(dock) = &mut self.dock else { return };
        let (container, sighting) = dock.sight(index(&key), recorded);
        let (has_shown_ours, unanswered) = (dock.has_shown_ours(), dock.seen.is_none());
        self.tell(Input::Inspected(Box::new(Inspected {
            key,
            container,
            sighting,
            address: None,
            has_shown_ours,
            unanswered,
        })));
    }

    /// Its probe goes out; by the clock, its answer comes in its time.
    pub(crate) fn send(&mut self, probe: &Probe) {
        let (i, serial) = (index(&probe.key), self.db.number());
        if probe.stop.is_some() {
            return self.probed(i, None);
        }
        self.probes[i] += 1;
        self.sound(i, Sound::Sent);
        let met = self.timed.then(|| self.meet(i));
        if let Some((_, took)) = met {
            self.after(took, Event::Answered(i, serial));
        }
        let answer = met.map(|(answer, _)| answer);
        let look = self.look(i).expect("it was read before");
        assert!(look.out.is_none(), "instance {i} is asked twice at once");
        look.out = Some((serial, answer));
        self.chats(i, 0);
    }

    /// What a probe of the present look meets now.
    fn meet(&mut self, i: usize) -> (Answer, u64) {
        let key = self.db.rows[i].as_ref().and_then(|row| row.key);
        let fits = self.look(i).is_some_and(|look| look.key == key);
        let serves = self.dock.as_ref().is_none_or(|dock| dock.runs(i));
        self.world.meet(i, serves, fits)
    }

    /// Which life of its container this is.
    pub(crate) fn life(&self, i: usize) -> Option<u64> {
        Some(self.dock.as_ref()?.ship(i)?.life)
    }

    pub(crate) fn look(&mut self, i: usize) -> Option<&mut Look> {
        self.daemon.as_mut()?.looks.get_mut(&i)
    }

    pub(crate) fn is_out(&mut self, i: usize, serial: u64) -> bool {
        let look = self.look(i);
        look.is_some_and(|look| look.out.as_ref().is_some_and(|(out, _)| *out == serial))
    }

    /// Its probe has its answer, if it is out.
    pub(crate) fn answered(&mut self, i: usize) {
        let Some((_, met)) = self.look(i).and_then(|look| look.out.take()) else {
            return;
        };
        let answer = met.unwrap_or_else(|| self.meet(i).0);
        self.chats(i, 1);
        self.sound(i, Sound::Answered(Kind::of(&answer)));
        let (now, life) = (self.now, self.life(i));
        let Some(look) = self.look(i) else { return };
        if answer.in_own_words() {
            look.heard = Some((now, life));
        }
        look.answer = Some(answer.clone());
        look.asked_in = life.unwrap_or(u64::MAX);
        let (sent, life) = (look.read_at, look.asked_in);
        self.ledger.answered(
            i,
            &answer,
            Asked {
                sent,
                at: now,
                life,
            },
        );
        self.probed(i, Some(answer));
        self.chats(i, 2);
    }

    pub(crate) fn probed(&mut self, i: usize, answer: Option<Answer>) {
        let at = self.moment();
        let key = key(i);
        let probed = Input::Probed(Box::new(Probed {
            key,
            answer,
            at,
            tried: String::new(),
        }));
        self.tell_end(&[key], probed);
    }

    /// What may end reconciliations, and with one of them a doubt: the answer that did voids what was counted in it.
    pub(crate) fn tell_end(&mut self, keys: &[Key], input: Input) {
        let doubts = |sim: &Self| {
            let daemon = sim.daemon.as_ref();
            daemon.is_some_and(|daemon| daemon.controller.in_doubt())
        };
        let doubted = doubts(self);
        self.tell(input);
        let heard = keys
            .iter()
            .filter_map(|key| Some(self.look(index(key))?.heard?.0));
        if let Some(heard) = heard.collect::<Vec<_>>().into_iter().min()
            && doubted
            && !doubts(self)
        {
            self.ledger.void(heard);
        }
    }

    /// Over any stretch of looks at one key: no more than the burst plus what the time refills.
    pub(crate) fn note_look(&mut self, i: usize) {
        let key = self.db.rows[i].as_ref().and_then(|row| row.key);
        // What the look before it has met is none of its own.
        if let Some(daemon) = &mut self.daemon
            && let Some(look) = daemon.looks.get_mut(&i)
            && look.answer.is_some()
        {
            *look = Look {
                read_at: self.now,
                key,
                ..Look::default()
            };
        }
        let burst = usize::try_from(BURST).expect("fits");
        let looks = self.started.entry(i).or_default();
        looks.push(self.now);
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
