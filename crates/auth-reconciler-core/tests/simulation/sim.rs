//! A database, a world and a daemon, each as small as the protocol allows.

use std::collections::HashMap;
use std::time::Duration;

use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::Change;
use auth_reconciler_core::queue::{Command, Limits, Next, Queue};
use auth_reconciler_core::verdict::{self, Plan, Policy};
use auth_reconciler_core::{Answer, Cause};
use chrono::{DateTime, TimeDelta, Utc};

use crate::dock::Dock;
use crate::parts::{Api, Daemon, DbRow, Instance, LogEntry, Op, Run, answer, conclude, facts};

pub(crate) const INSTANCES: usize = 3;
const SLOTS: usize = 2;
const BURST: u32 = 60;
const INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Sim {
    policy: Policy,
    pub(crate) now: u64,
    numbers: u64,
    epoch: u64,
    rows: Vec<Option<DbRow>>,
    pub(crate) world: Vec<Api>,
    log: Vec<LogEntry>,
    pub(crate) instances: Vec<Option<Instance>>,
    pub(crate) daemon: Option<Daemon>,
    /// Absent in a world without an engine.
    pub(crate) dock: Option<Dock>,
    /// What somebody else wrote last: where nothing is known, it is left alone.
    foreign: Vec<Option<&'static str>>,
    probes: usize,
    started: HashMap<usize, Vec<u64>>,
}

impl Sim {
    pub(crate) fn new() -> Self {
        let row = DbRow {
            key: None,
            status: Some("pending".to_owned()),
        };
        Self {
            policy: Policy::default(),
            now: 0,
            numbers: 0,
            epoch: 0,
            rows: vec![Some(row); INSTANCES],
            world: vec![Api::Silent; INSTANCES],
            log: Vec::new(),
            instances: vec![None; INSTANCES],
            daemon: None,
            dock: None,
            foreign: vec![None; INSTANCES],
            probes: 0,
            started: HashMap::new(),
        }
    }

    /// A world in which instances are containers of an engine.
    pub(crate) fn docked() -> Self {
        Self {
            dock: Some(Dock::new(INSTANCES)),
            ..Self::new()
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        match op {
            Op::NewKey(i) => {
                let key = self.number();
                self.write(i, Cause::ApiKey, |row| row.key = Some(key));
            }
            Op::ClearKey(i) => self.write(i, Cause::ApiKey, |row| row.key = None),
            Op::WriteAccount(i) => self.write(i, Cause::Account, |_| {}),
            Op::ForeignStatus(i, status) => {
                self.foreign[i] = Some(status);
                if self.rows[i]
                    .as_ref()
                    .is_some_and(|row| row.status.as_deref() != Some(status))
                {
                    self.write(i, Cause::Drift, |row| row.status = Some(status.to_owned()));
                }
            }
            Op::Delete(i) => {
                if self.rows[i].take().is_some() {
                    self.log(i, Cause::Delete);
                }
            }
            Op::World(i, api) => self.world[i] = api,
            Op::Container(i, fate) => self.container(i, fate),
            Op::Output(i) => self.output(i),
            Op::EngineLost => {
                if let Some(dock) = &mut self.dock {
                    dock.in_sight = false;
                }
            }
            Op::EngineBack => {
                if let Some(dock) = &mut self.dock {
                    dock.in_sight = true;
                }
                self.compare();
            }
            Op::Dispatch => self.dispatch(),
            Op::Probe(i) => self.probe(i),
            Op::Record(i) => self.record(i),
            Op::Wait(ms) => self.now += ms,
            Op::Kill => self.daemon = None,
            Op::Start => {
                if self.daemon.is_none() {
                    let limits = Limits::with_slots(SLOTS, BURST, INTERVAL);
                    self.daemon = Some(Daemon {
                        queue: Queue::new(limits),
                        runs: HashMap::new(),
                        epoch: 0,
                        rings: Vec::new(),
                    });
                    self.started.clear();
                    self.take_over();
                }
            }
            Op::LoseEar => self.take_over(),
            Op::LoseRings => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.rings.clear();
                    self.take_over();
                }
            }
        }
    }

    /// Everything that can happen without new input or time, happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            self.dispatch();
            let running: Vec<usize> = match &self.daemon {
                Some(daemon) if !daemon.runs.is_empty() => daemon.runs.keys().copied().collect(),
                Some(_) | None => return,
            };
            for i in running {
                self.probe(i);
                self.record(i);
            }
        }
        panic!("the daemon never comes to rest at {} ms", self.now);
    }

    /// No more input; time goes on until a whole hour has passed.
    pub(crate) fn quiet(&mut self) {
        self.apply(Op::Start);
        self.apply(Op::EngineBack);
        let end = self.now + 3_600_000;
        for _ in 0..5_000 {
            self.settle();
            let deadline = self
                .daemon
                .as_ref()
                .and_then(|daemon| daemon.queue.deadline());
            match deadline.map(|due| u64::try_from(due.as_millis()).expect("fits") + 1) {
                Some(due) if due <= end => self.now = self.now.max(due),
                Some(_) | None => return,
            }
        }
        panic!("more than 5,000 looks in a quiet hour");
    }

    pub(crate) fn status(&self, i: usize) -> Option<String> {
        self.rows[i].as_ref().and_then(|row| row.status.clone())
    }

    /// What the column may say, once it is quiet.
    pub(crate) fn truth(&self, i: usize) -> Vec<Option<&'static str>> {
        let Some(row) = &self.rows[i] else {
            return vec![None];
        };
        let touched = self.instances[i].is_some();
        if touched && let Some(status) = self.truth_of_container(i) {
            return vec![Some(status)];
        }
        let was_ready = self.instances[i]
            .as_ref()
            .is_some_and(|instance| instance.memory.ready_at.is_some());
        let api = if self.runs_nowhere(i) {
            Api::Silent
        } else {
            self.world[i]
        };
        vec![match (row.key, api) {
            // Nothing ever happened to it, so nobody was asked to look: it says what it said.
            _ if !touched => Some("pending"),
            (None, _) => Some("pending"),
            (Some(_), Api::Ready) => Some("client_ready"),
            (Some(_), Api::NotConnected | Api::Error) => Some("failed"),
            (Some(_), Api::Silent) if was_ready => Some("failed"),
            (Some(_), Api::Silent) => Some("pending"),
        }]
        .into_iter()
        .chain(self.left_alone(i))
        // A final verdict is not probed by the clock: an API that went bad without a word to
        // anybody is found by the next event.
        .chain(self.final_verdict(i))
        .collect()
    }

    pub(crate) fn unobserved(&self) -> usize {
        self.log.len()
    }

    pub(crate) fn timers_of_final_instances(&self) -> usize {
        let all_final = self
            .instances
            .iter()
            .flatten()
            .all(|instance| instance.settled);
        match &self.daemon {
            Some(daemon) if all_final => daemon.queue.armed(),
            Some(_) | None => 0,
        }
    }

    pub(crate) fn probes(&self) -> usize {
        self.probes
    }

    /// Where nobody answers and nothing is known, what somebody else wrote stands, unless it says ready:
    /// that it is not takes misses, and they have had their time.
    fn left_alone(&self, i: usize) -> Option<Option<&'static str>> {
        let instance = self.instances[i].as_ref()?;
        let silent = self.world[i] == Api::Silent || self.runs_nowhere(i);
        let asked = self.rows[i].as_ref().is_some_and(|row| row.key.is_some());
        let unheard = silent && asked && instance.memory.ready_at.is_none();
        let foreign = self.foreign[i].filter(|status| *status != "client_ready");
        foreign.filter(|_| unheard).map(Some)
    }

    fn runs_nowhere(&self, i: usize) -> bool {
        let state = self.dock.as_ref().map(|dock| dock.state(i));
        state.is_some_and(|state| state.is_none())
    }

    fn final_verdict(&self, i: usize) -> Option<Option<&'static str>> {
        let instance = self.instances[i].as_ref()?;
        let status = instance.memory.status?.as_str();
        (instance.settled && status == "client_ready").then_some(Some(status))
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn time(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(i64::try_from(self.now).expect("fits"))
    }

    fn write(&mut self, i: usize, cause: Cause, change: impl FnOnce(&mut DbRow)) {
        let inserted = self.rows[i].is_none();
        let row = self.rows[i].get_or_insert(DbRow {
            key: None,
            status: Some("pending".to_owned()),
        });
        change(row);
        self.log(i, if inserted { Cause::Insert } else { cause });
    }

    fn log(&mut self, instance: usize, cause: Cause) {
        let id = self.number();
        let change = Change {
            cause,
            at: self.time(),
        };
        self.log.push(LogEntry {
            id,
            instance,
            change,
        });
        if let Some(daemon) = &mut self.daemon {
            daemon.rings.push((instance, cause));
        }
    }

    fn take_over(&mut self) {
        let epoch = self.number();
        let now = Duration::from_millis(self.now);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        self.epoch = epoch;
        daemon.epoch = epoch;
        daemon.queue.clear();
        for entry in &self.log {
            daemon.queue.wake(entry.instance, entry.change.cause, now);
        }
        for (i, instance) in self.instances.iter().enumerate() {
            if instance.as_ref().is_some_and(|instance| !instance.settled) {
                daemon.queue.wake(i, Cause::Resync, now);
            }
        }
        self.compare();
    }

    fn dispatch(&mut self) {
        let (now, time) = (Duration::from_millis(self.now), self.time());
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        for (i, cause) in std::mem::take(&mut daemon.rings) {
            daemon.queue.wake(i, cause, now);
        }
        let mut yielded = Vec::new();
        while let Some(command) = daemon.queue.next(now) {
            match command {
                Command::Start { key: i, .. } => {
                    let changes: Vec<&LogEntry> = self
                        .log
                        .iter()
                        .filter(|entry| entry.instance == i)
                        .collect();
                    let row = self.rows[i].as_ref();
                    let instance = self.instances[i].as_ref();
                    let known = instance.and_then(|known| known.memory.sighting.as_ref());
                    let sight = match &self.dock {
                        Some(dock) => dock.sight(i, known),
                        None => (Container::Unknown, None),
                    };
                    let run = Run {
                        overtaken: false,
                        epoch: daemon.epoch,
                        facts: facts(row, &changes, instance, sight, time),
                        key: row.and_then(|row| row.key),
                        version: instance.map(|instance| instance.version),
                        changes: changes.iter().map(|entry| entry.id).collect(),
                        verdict: None,
                    };
                    let doubled = daemon.runs.insert(i, run);
                    assert!(doubled.is_none(), "instance {i} runs twice at once");
                    assert!(daemon.runs.len() <= SLOTS, "more runs than slots");
                    self.started.entry(i).or_default().push(self.now);
                }
                Command::GiveWay { key } => yielded.push(key),
            }
        }
        for i in yielded {
            if daemon.runs.get(&i).is_some_and(|run| run.verdict.is_none()) {
                daemon.runs.remove(&i);
                let due = now + Duration::from_millis(20);
                let next = Next::At {
                    due,
                    hold_drift: false,
                };
                daemon.queue.finish(&i, next, now);
            }
        }
        self.check_pace();
    }

    /// Over any stretch of looks at one key: no more than the burst plus what the time refills.
    fn check_pace(&self) {
        for looks in self.started.values() {
            let burst = usize::try_from(BURST).expect("fits");
            for window in looks.windows(burst + 2) {
                let took = Duration::from_millis(window[burst + 1] - window[0]);
                assert!(took >= INTERVAL, "{} looks within {took:?}", window.len());
            }
        }
    }

    fn probe(&mut self, i: usize) {
        let (now, time) = (Duration::from_millis(self.now), self.time());
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.get_mut(&i) else {
            return;
        };
        if run.verdict.is_some() {
            return;
        }
        match verdict::plan(&self.policy, &run.facts, 0.5) {
            Plan::Settle(verdict) => run.verdict = Some(*verdict),
            Plan::Forget => {}
            Plan::Defer { until } => {
                let wait = (until - run.facts.now).to_std().unwrap_or_default();
                let next = Next::At {
                    due: now + wait,
                    hold_drift: true,
                };
                daemon.runs.remove(&i);
                daemon.queue.finish(&i, next, now);
            }
            Plan::Probe { profile, .. } => {
                self.probes += 1;
                // An API that runs with another key than the row's refuses it.
                let row_key = self.rows[i].as_ref().and_then(|row| row.key);
                let runs = self
                    .dock
                    .as_ref()
                    .is_none_or(|dock| dock.state(i) == Some("running"));
                let answer = if !runs {
                    answer(Api::Silent)
                } else if run.key == row_key {
                    answer(self.world[i])
                } else {
                    Answer::Rejected { code: 401 }
                };
                run.verdict = Some(conclude(&self.policy, run, profile, &answer, time));
            }
        }
    }

    fn record(&mut self, i: usize) {
        let now = Duration::from_millis(self.now);
        let version = self.number();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(run) = daemon.runs.get(&i) else {
            return;
        };
        let forget = run.facts.row.is_none();
        if run.verdict.is_none() && !forget {
            return;
        }
        let run = daemon.runs.remove(&i).expect("looked up above");
        let unseen = self
            .log
            .iter()
            .any(|entry| entry.instance == i && !run.changes.contains(&entry.id));
        let recorded = self.instances[i].as_ref().map(|instance| instance.version);
        let refused = run.epoch != self.epoch || recorded != run.version || unseen || run.overtaken;
        if refused {
            let next = Next::At {
                due: now,
                hold_drift: false,
            };
            daemon.queue.finish(&i, next, now);
            return;
        }
        self.log
            .retain(|entry| entry.instance != i || !run.changes.contains(&entry.id));
        let Some(verdict) = run.verdict else {
            self.instances[i] = None;
            daemon.queue.finish(&i, Next::Settled, now);
            return;
        };
        let row = self.rows[i].as_mut().expect("a deletion is a change");
        assert_eq!(row.key, run.key, "a verdict about another key was accepted");
        if let Some(status) = verdict.status {
            row.status = Some(status.as_str().to_owned());
        }
        let next = match verdict.retry {
            None => Next::Settled,
            Some(after) => Next::At {
                due: now + after,
                hold_drift: verdict.memory.corrections.is_contested(),
            },
        };
        self.instances[i] = Some(Instance {
            version,
            memory: verdict.memory,
            settled: verdict.retry.is_none(),
        });
        daemon.queue.finish(&i, next, now);
    }
}
