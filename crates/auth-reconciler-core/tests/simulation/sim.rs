//! The simulated world as one thing: what may happen to it, and how its time goes on.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use auth_reconciler_core::Cause;
use auth_reconciler_core::verdict::Policy;
use chrono::{DateTime, TimeDelta, Utc};

use crate::daemon::{Act, Daemon};
use crate::database::{Database, DbRow};
use crate::dock::{Dock, Fate};
use crate::ledger::Ledger;
use crate::rng::Rng;
use crate::world::{Api, Chatter, Net, World};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    NewKey(usize),
    ClearKey(usize),
    WriteAccount(usize),
    ForeignStatus(usize, &'static str),
    Delete(usize),
    World(usize, Api),
    Net(Net),
    Chatter(Chatter),
    /// Something happens to a container; nothing in a world without an engine.
    Container(usize, Fate),
    /// The container of an instance writes something by itself.
    Output(usize),
    /// This engine comes into sight, or none is any more.
    Sees(Option<usize>),
    /// The daemon starts whatever its queue lets it start.
    Dispatch,
    /// The probe of a run under way gets its answer.
    Probe(usize),
    /// The batch of records under way is made.
    Record,
    Wait(u64),
    /// The database's clock jumps by so many seconds.
    Clock(i64),
    Kill,
    Start,
    /// The same, but at most so many commands of it.
    Step(usize),
    /// This one of what is under way beside the reconciliations ends.
    Finish(usize),
    /// The listener is lost and made anew: new epoch, resync. Reconciliations under way go on.
    LoseListener,
    /// What was heard and not fetched is lost together with it.
    LoseRings,
    /// It hears nothing any more, and nobody says so until the next echo.
    Deafen,
    /// Another process takes the lock and does nothing, or its session ends.
    OtherLeads(bool),
    /// Changes cannot be logged, or can be again.
    BreakLog(bool),
    /// A transaction draws the id of a change of this row, and is not committed yet.
    Open(usize),
    /// The one that has been open for longest is committed, or not.
    EndOpen(bool),
}

/// What comes by the clock.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Lines {
        i: usize,
        life: u64,
        lines: u32,
    },
    Answered(usize, u64),
    /// The instance's own writing, and after how many ms again.
    Own(usize, u64),
    /// The manager's loop.
    Manager,
    /// What it found out writes it now.
    Writes(usize, &'static str),
    Op(Op),
}

pub(crate) struct Sim {
    pub(crate) policy: Policy,
    pub(crate) now: u64,
    /// How far the database's clock is off, in ms.
    pub(crate) skew: i64,
    pub(crate) rng: Rng,
    /// Probes and records end by the clock; else when they are told to.
    pub(crate) timed: bool,
    /// Instances are read, and their containers asked for, as soon as that is commanded.
    pub(crate) prompt: bool,
    pub(crate) agenda: BTreeMap<(u64, u64), Event>,
    pub(crate) db: Database,
    pub(crate) world: World,
    pub(crate) daemon: Option<Daemon>,
    /// Absent in a world without an engine.
    pub(crate) dock: Option<Dock>,
    pub(crate) ledger: Ledger,
    pub(crate) slots: usize,
    pub(crate) probes: Vec<usize>,
    pub(crate) started: HashMap<usize, Vec<u64>>,
    /// Whether the manager's own way is as bad as ours.
    pub(crate) manager_shares_fault: bool,
}

impl Sim {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            policy: Policy::default(),
            now: 0,
            skew: 0,
            rng: Rng::new(1),
            timed: false,
            prompt: true,
            agenda: BTreeMap::new(),
            db: Database::new(instances),
            world: World::new(instances),
            daemon: None,
            dock: None,
            ledger: Ledger::new(instances),
            slots: 2,
            probes: vec![0; instances],
            started: HashMap::new(),
            manager_shares_fault: false,
        }
    }

    /// A world in which instances are containers.
    pub(crate) fn docked(instances: usize) -> Self {
        Self {
            dock: Some(Dock::new(instances)),
            ..Self::new(instances)
        }
    }

    pub(crate) fn instances(&self) -> usize {
        self.db.rows.len()
    }

    pub(crate) fn apply(&mut self, op: Op) {
        match op {
            Op::NewKey(i) => {
                let key = self.db.number();
                self.write(i, Cause::ApiKey, |row| row.key = Some(key));
            }
            Op::ClearKey(i) => self.write(i, Cause::ApiKey, |row| row.key = None),
            Op::WriteAccount(i) => self.write(i, Cause::Account, |_| {}),
            Op::ForeignStatus(i, status) => self.write_status(i, status),
            Op::Delete(i) => {
                if self.db.rows[i].take().is_some() {
                    self.log(i, Cause::Delete);
                }
            }
            Op::World(i, api) => self.world.apis[i] = api,
            Op::Net(net) => self.world.net = net,
            Op::Chatter(chatter) => self.world.chatter = chatter,
            Op::Container(i, fate) => self.container(i, fate),
            Op::Output(i) => self.says(i, 1),
            Op::Sees(engine) => self.sees(engine),
            Op::Dispatch => self.dispatch(usize::MAX),
            Op::Step(commands) => self.dispatch(commands),
            Op::Finish(number) => self.finish_job(number),
            Op::Probe(i) => self.answered(i),
            Op::Record => self.finish_record(),
            Op::Wait(ms) => self.pass(self.now + ms),
            Op::Clock(seconds) => {
                self.skew += seconds * 1_000;
                self.ledger.clock_jumped(self.now);
            }
            Op::Kill => self.daemon = None,
            Op::Start => self.start_daemon(),
            Op::LoseListener => self.lose_listener(),
            Op::LoseRings => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.heard.rang = false;
                    daemon.heard.hints.clear();
                }
                self.lose_listener();
            }
            Op::Deafen => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.deaf = daemon.leads;
                }
            }
            Op::OtherLeads(leads) => {
                if leads && !self.db.other_leads {
                    self.db.epoch = self.db.number();
                }
                self.db.other_leads = leads;
            }
            Op::BreakLog(broken) => self.db.log_is_broken = broken,
            Op::Open(i) => self.db.open(i),
            Op::EndOpen(commits) => {
                let at = self.time();
                if let Some(i) = self.db.end_open(commits, at) {
                    self.ring(i);
                }
            }
        }
    }

    fn lose_listener(&mut self) {
        if let Some(daemon) = &mut self.daemon
            && daemon.leads
        {
            daemon.heard.lost = Some("it was cut".to_owned());
        }
    }

    /// Time goes by while the daemon's loop does nothing.
    fn pass(&mut self, to: u64) {
        loop {
            let event = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let job = self.next_job();
            let next = event.into_iter().chain(job.map(|(due, _)| due)).min();
            let Some(at) = next.filter(|at| *at <= to) else {
                break;
            };
            self.now = self.now.max(at);
            match job {
                Some((due, number)) if due == at => self.finish_job(number),
                _ => {
                    if let Some((_, event)) = self.agenda.pop_first() {
                        self.happens(event);
                    }
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// What ends next of what is under way beside the reconciliations, and when.
    fn next_job(&self) -> Option<(u64, usize)> {
        let jobs = &self.daemon.as_ref()?.jobs;
        let numbered = jobs.iter().enumerate();
        let ends = numbered.filter(|(_, job)| self.timed || !matches!(job.act, Act::Record(_)));
        ends.map(|(number, job)| (job.due, number)).min()
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        let number = self.db.number();
        self.agenda.insert((self.now + ms, number), event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Lines { i, life, lines } => {
                let goes_on = self
                    .dock
                    .as_ref()
                    .is_some_and(|dock| dock.runs(i) && dock.ship(i).map(|s| s.life) == Some(life));
                if goes_on {
                    self.hear(i, lines);
                }
            }
            Event::Answered(i, serial) if self.is_out(i, serial) => self.answered(i),
            Event::Answered(..) => {}
            Event::Own(i, every) => {
                self.apply(Op::WriteAccount(i));
                self.after(every, Event::Own(i, every));
            }
            Event::Manager => self.manager_looks(),
            Event::Writes(i, status) => self.manager_writes(i, status),
            Event::Op(op) => self.apply(op),
        }
    }

    /// Everything that can happen without new input or time, happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            self.dispatch(usize::MAX);
            let Some(daemon) = &self.daemon else { return };
            let under_way = daemon.jobs.len();
            let out = daemon.looks.iter().filter(|(_, look)| look.out.is_some());
            let out: Vec<usize> = out.map(|(i, _)| *i).collect();
            for number in (0..under_way).rev() {
                self.finish_job(number);
            }
            let left = self.daemon.as_ref().map_or(0, |daemon| daemon.jobs.len());
            if out.is_empty() && left == under_way {
                return;
            }
            for i in out {
                self.answered(i);
            }
        }
        panic!("the daemon never comes to rest at {} ms", self.now);
    }

    /// When something is due though nothing happens until then.
    fn next_due(&self) -> Option<u64> {
        let now = self.moment();
        let daemon = self.daemon.as_ref();
        let due = daemon.and_then(|daemon| daemon.controller.deadline(now));
        let ms = |due: Duration| u64::try_from(due.as_nanos().div_ceil(1_000_000)).expect("fits");
        let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let job = self.next_job().map(|(due, _)| due);
        due.map(ms).into_iter().chain(agenda).chain(job).min()
    }

    /// No more input; all faults end; time goes on until a whole hour has passed.
    pub(crate) fn quiet(&mut self) {
        self.apply(Op::Start);
        self.apply(Op::OtherLeads(false));
        self.apply(Op::BreakLog(false));
        while !self.db.open.is_empty() {
            self.settle();
            self.apply(Op::EndOpen(true));
        }
        self.apply(Op::Net(Net::Fine));
        self.apply(Op::Sees(Some(0)));
        let end = self.now + 3_600_000;
        for _ in 0..8_000 {
            self.settle();
            match self.next_due() {
                Some(due) if due <= end => self.pass(due.max(self.now)),
                Some(_) | None => return,
            }
        }
        panic!("more than 8,000 steps in a quiet hour");
    }

    /// By the clock, until `end`: everything takes its time.
    pub(crate) fn run_until(&mut self, end: u64) {
        let mut idle = 0;
        loop {
            self.dispatch(usize::MAX);
            match self.next_due() {
                Some(due) if due <= end => {
                    idle = if due > self.now { 0 } else { idle + 1 };
                    assert!(idle < 100_000, "time stands still at {} ms", self.now);
                    self.pass(due.max(self.now));
                }
                Some(_) | None => break,
            }
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn time(&self) -> DateTime<Utc> {
        let ms = i64::try_from(self.now).expect("fits") + self.skew;
        DateTime::UNIX_EPOCH + TimeDelta::days(365) + TimeDelta::milliseconds(ms)
    }

    pub(crate) const fn moment(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    fn write(&mut self, i: usize, cause: Cause, change: impl FnOnce(&mut DbRow)) {
        let inserted = self.db.rows[i].is_none();
        let row = self.db.rows[i].get_or_insert(DbRow {
            key: None,
            status: Some("pending".to_owned()),
            updated: 0,
        });
        row.updated = self.now;
        change(row);
        self.log(i, if inserted { Cause::Insert } else { cause });
    }

    /// Somebody else writes the status.
    pub(crate) fn write_status(&mut self, i: usize, status: &'static str) {
        let Some(row) = &mut self.db.rows[i] else {
            return;
        };
        row.updated = self.now;
        if row.status.as_deref() != Some(status) {
            self.write(i, Cause::Drift, |row| row.status = Some(status.to_owned()));
        }
    }

    fn ring(&mut self, i: usize) {
        let of = (self.rng.below(2) == 0).then_some(i);
        if let Some(daemon) = &mut self.daemon {
            daemon.ring(of);
        }
    }

    fn log(&mut self, i: usize, cause: Cause) {
        let at = self.time();
        if self.db.log_is_broken {
            self.db.unlogged = true;
            if let Some(daemon) = &mut self.daemon {
                daemon.notify(|heard| heard.resync = true);
            }
            return;
        }
        self.db.log(i, cause, at);
        self.ring(i);
    }
}
