//! Which steps there are, which of them go on when all is quiet, and how they read.

use std::fmt;

use crate::model::{Beginning, Daemons, Promise, Step, log_change};
use crate::protocol::Flaw;
use crate::search::{Model, Possible, Quiet};
use crate::state::{Api, CHANGES, Db, Instance, Key, Process, Row, State, Status, answer};

impl Model for Daemons {
    type State = State;
    type Step = Step;
    type Promise = Promise;

    fn initial(&self) -> State {
        let (api, status) = match self.start {
            Beginning::New => (Api::Starting, Status::Pending),
            Beginning::Ready => (Api::Ready, Status::ClientReady),
        };
        let instance = Instance {
            version: 0,
            record: 0,
            settled: true,
        };
        let mut state = State {
            api,
            db: Db {
                row: Some(Row {
                    key: Key::Right,
                    status,
                }),
                instance: (self.start == Beginning::Ready).then_some(instance),
                changes: 0,
                next_id: 0,
                epoch: None,
                writes: 0,
            },
            doomed: None,
            processes: [Process::default(), Process::default()],
            late: None,
            ids: [0; CHANGES],
            written: 0,
            left: self.budget,
        };
        for process in &mut state.processes[..self.processes] {
            process.alive = true;
        }
        match self.start {
            Beginning::New => log_change(&mut state),
            Beginning::Ready => self.lead(&mut state),
        }
        state
    }

    fn steps(&self, state: &State, possible: &mut Vec<Possible<Self>>) {
        let mut visit = |step| {
            if let Some(result) = self.take(state, step) {
                possible.push(Possible { step, result });
            }
        };
        self.writes
            .iter()
            .copied()
            .map(Step::Write)
            .for_each(&mut visit);
        let outside = [
            Step::ApiReady,
            Step::HiccupBegins,
            Step::HiccupEnds,
            Step::Doom,
            Step::Crash,
        ];
        outside.into_iter().for_each(&mut visit);
        for owner in (0..self.processes).map(Some).chain([None]) {
            [
                Step::Commit(owner),
                Step::Begin(owner),
                Step::Enter(owner),
                Step::Fail(owner),
            ]
            .into_iter()
            .for_each(&mut visit);
        }
        for index in 0..self.processes {
            for step in self.protocol.session() {
                visit(Step::Session(index, *step));
            }
            let own = [
                Step::Ring(index),
                Step::Probe(index),
                Step::Read(index),
                Step::Timer(index),
            ];
            let suffered = [
                Step::Kill(index),
                Step::Start(index),
                Step::LoseEar(index),
                Step::GiveUp(index),
            ];
            own.into_iter().chain(suffered).for_each(&mut visit);
        }
    }

    /// The API is what it was, somebody is alive, everybody does what they can; only then, and
    /// only while the row is wrong, a timer fires.
    fn quiet(&self, state: &State, possible: &[Possible<Self>]) -> Quiet<Promise> {
        let nobody = state.processes.iter().all(|process| !process.alive);
        let goes_on = |step| match step {
            Step::HiccupEnds
            | Step::Session(..)
            | Step::Ring(_)
            | Step::Read(_)
            | Step::Probe(_)
            | Step::Enter(_)
            | Step::Begin(_)
            | Step::Commit(_) => true,
            Step::Start(_) => nobody,
            Step::Write(_)
            | Step::ApiReady
            | Step::HiccupBegins
            | Step::Doom
            | Step::Crash
            | Step::Kill(_)
            | Step::LoseEar(_)
            | Step::GiveUp(_)
            | Step::Fail(_)
            | Step::Timer(_) => false,
        };
        let right = state.db.changes == 0
            && match state.db.row {
                Some(row) => row.status == answer(row.key, state.api),
                None => state.db.instance.is_none(),
            };
        let timer = |step| matches!(step, Step::Timer(_));
        match possible.iter().position(|next| goes_on(next.step)) {
            Some(next) => Quiet::Next(next),
            None if right => Quiet::Right,
            None => possible
                .iter()
                .position(|next| timer(next.step))
                .map_or(Quiet::Broken(Promise::Converges), Quiet::Next),
        }
    }
}

impl Daemons {
    /// The first process has gone through its session before the history starts.
    fn lead(&self, state: &mut State) {
        state.db.epoch = Some(0);
        state.processes[0].epoch = Some(0);
        state.processes[0].ear = u8::try_from(self.protocol.session().len()).ok();
        state.processes[0].resynced = self.protocol.has(Flaw::ResyncOnlyAtStart);
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |index: usize| if index == 0 { "A" } else { "B" };
        let whose = |owner: Option<usize>| owner.map_or("late record", name);
        match *self {
            Self::Write(write) => write!(out, "writer: {write:?}"),
            Self::ApiReady => write!(out, "api: becomes ready, silently"),
            Self::HiccupBegins => write!(out, "api: hiccup begins"),
            Self::HiccupEnds => write!(out, "api: hiccup ends"),
            Self::Doom => write!(out, "server: what is not flushed from here on will be lost"),
            Self::Crash => write!(out, "server: crash"),
            Self::Kill(index) => write!(out, "{}: killed", name(index)),
            Self::Start(index) => write!(out, "{}: started", name(index)),
            Self::LoseEar(index) => write!(out, "{}: ear lost", name(index)),
            Self::GiveUp(index) => write!(out, "{}: no longer waits for its record", name(index)),
            Self::Session(index, step) => write!(out, "{}: ear session: {step:?}", name(index)),
            Self::Ring(index) => write!(out, "{}: hears", name(index)),
            Self::Timer(index) => write!(out, "{}: backoff timer", name(index)),
            Self::Read(index) => write!(out, "{}: reads", name(index)),
            Self::Probe(index) => write!(out, "{}: probes", name(index)),
            Self::Enter(owner) => write!(out, "{}: the gate, the epoch", whose(owner)),
            Self::Begin(owner) => write!(out, "{}: locks, fence", whose(owner)),
            Self::Fail(owner) => write!(out, "{}: its batch fails", whose(owner)),
            Self::Commit(owner) => write!(out, "{}: commits the record", whose(owner)),
        }
    }
}
