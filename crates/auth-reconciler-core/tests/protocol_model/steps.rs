//! Which steps there are, which of them go on when all is quiet, and how they read.

use std::fmt;

use crate::model::{Beginning, Daemons, Promise, Step, log_change};
use crate::protocol::Flaw;
use crate::search::{Model, Settle};
use crate::state::{
    Api, CHANGES, Db, Instance, Key, PROCESSES, Process, Row, State, Status, answer,
};

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

    fn steps(&self, state: &State, visit: &mut dyn FnMut(Step, Result<State, Promise>)) {
        let outside = self.writes.iter().copied().map(Step::Write).chain([
            Step::ApiReady,
            Step::HiccupBegins,
            Step::HiccupEnds,
            Step::Doom,
            Step::Crash,
        ]);
        let to_processes = (0..self.processes).flat_map(|index| {
            [
                Step::Kill(index),
                Step::Start(index),
                Step::LoseEar(index),
                Step::GiveUp(index),
            ]
        });
        let timers = (0..self.processes).map(Step::Timer);
        for step in outside
            .chain(to_processes)
            .chain(self.own_steps())
            .chain(timers)
        {
            if let Some(result) = self.take(state, step) {
                visit(step, result);
            }
        }
    }

    /// Somebody is alive, the API is what it was, everybody does what they can; only then, and
    /// only while the row is wrong, a timer fires.
    fn settle(&self, state: &State) -> Settle<Self> {
        let nobody = state.processes.iter().all(|process| !process.alive);
        let restart = [Step::HiccupEnds]
            .into_iter()
            .chain(nobody.then_some(Step::Start(0)));
        let next = self.first(state, restart.chain(self.own_steps()));
        let right = state.db.changes == 0
            && match state.db.row {
                Some(row) => row.status == answer(row.key, state.api),
                None => state.db.instance.is_none(),
            };
        next.or_else(|| right.then_some(Settle::Right))
            .or_else(|| self.first(state, (0..PROCESSES).map(Step::Timer)))
            .unwrap_or(Settle::Broken(Promise::Converges))
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

    /// The steps of the daemons and of the server that need nobody else.
    fn own_steps(&self) -> impl Iterator<Item = Step> + use<> {
        let records = (0..self.processes).map(Some).chain([None]);
        let finish = records
            .clone()
            .map(Step::Commit)
            .chain(records.map(Step::Begin));
        let session = self.protocol.session();
        let run = (0..self.processes).flat_map(|index| {
            let hear = session.iter().map(move |step| Step::Session(index, *step));
            hear.chain([Step::Ring(index), Step::Probe(index), Step::Read(index)])
        });
        finish.chain(run)
    }

    fn first(&self, state: &State, mut steps: impl Iterator<Item = Step>) -> Option<Settle<Self>> {
        steps.find_map(|step| {
            self.take(state, step).map(|result| match result {
                Ok(state) => Settle::Next(step, state),
                Err(promise) => Settle::Broken(promise),
            })
        })
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
            Self::Begin(owner) => write!(out, "{}: locks, fence", whose(owner)),
            Self::Commit(owner) => write!(out, "{}: commits the record", whose(owner)),
        }
    }
}
