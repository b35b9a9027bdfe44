//! Which steps there are, which of them go on when all is quiet, and how they read.

use std::fmt;

use crate::model::{Beginning, Daemons, Promise, Step};
use crate::outside::Outside;
use crate::protocol::Flaw;
use crate::record::Owner;
use crate::search::{Model, Possible, Quiet};
use crate::state::{Api, CHANGES, Db, Instance, Key, Process, Row, State, Status, WRITERS, answer};
use crate::writers::{NOBODY_WRITES, log_first_change};

impl Model for Daemons {
    type State = State;
    type Step = Step;
    type Promise = Promise;

    fn initial(&self) -> State {
        let (api, status) = match self.start {
            Beginning::New => (Api::Starting, Status::Pending),
            Beginning::Unwatched => (Api::Ready, Status::Pending),
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
                watched: self.start != Beginning::Unwatched,
                instance: (self.start == Beginning::Ready).then_some(instance),
                changes: 0,
                put_off: 0,
                next_id: 1,
                epoch: None,
                writes: 0,
            },
            doomed: None,
            processes: [Process::default(), Process::default()],
            late: None,
            put_off: None,
            open: NOBODY_WRITES,
            ended: 0,
            ids: [0; CHANGES],
            written: 0,
            left: self.budget,
        };
        for process in &mut state.processes[..self.processes] {
            process.alive = true;
        }
        match self.start {
            Beginning::New => log_first_change(&mut state),
            Beginning::Ready | Beginning::Unwatched => self.lead(&mut state),
        }
        state
    }

    fn steps(&self, state: &State, possible: &mut Vec<Possible<Self>>) {
        let mut visit = |step| {
            if let Some(mut result) = self.take(state, step) {
                if let Ok(after) = result.as_mut() {
                    self.simplify(after);
                }
                possible.push(Possible { step, result });
            }
        };
        let mut outside = |event| visit(Step::Outside(event));
        self.writes
            .iter()
            .copied()
            .map(Outside::Write)
            .for_each(&mut outside);
        [
            Outside::ApiReady,
            Outside::HiccupBegins,
            Outside::Doom,
            Outside::Crash,
        ]
        .into_iter()
        .for_each(&mut outside);
        for slot in 0..WRITERS {
            outside(Outside::RollBack(slot));
        }
        for index in 0..self.processes {
            [
                Outside::Kill(index),
                Outside::LoseEar(index),
                Outside::GiveUp(index),
                Outside::FailRead(index),
                Outside::Unlist(index),
                Outside::Defer(index),
            ]
            .into_iter()
            .for_each(&mut outside);
        }
        for owner in self.owners() {
            outside(Outside::Fail(owner));
        }
        self.inner_steps(&mut visit);
    }

    /// The API is what it was, somebody is alive, everybody does what they can; only then, and
    /// only while the row is wrong, a timer fires.
    fn quiet(&self, state: &State, possible: &[Possible<Self>]) -> Quiet<Promise> {
        let nobody = state.processes.iter().all(|process| !process.alive);
        let goes_on = |step| match step {
            Step::Start(_) => nobody,
            Step::Outside(_) | Step::Timer(_) => false,
            Step::HiccupEnds
            | Step::Session(..)
            | Step::Ring(_)
            | Step::List(_)
            | Step::Read(_)
            | Step::Answer(_)
            | Step::Probe(_)
            | Step::Identify(_)
            | Step::CommitWrite(_)
            | Step::EnterPutOff
            | Step::CommitPutOff
            | Step::Enter(_)
            | Step::Begin(_)
            | Step::Commit(_) => true,
        };
        let right = state.db.changes == 0
            && match state.db.row {
                Some(_) if !state.db.watched => true,
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
    /// Whose records there may be.
    fn owners(&self) -> impl Iterator<Item = Owner> + use<> {
        (0..self.processes).map(Some).chain([None])
    }

    /// What goes on without anything from outside.
    fn inner_steps(&self, visit: &mut impl FnMut(Step)) {
        visit(Step::HiccupEnds);
        for slot in 0..WRITERS {
            visit(Step::Identify(slot));
            visit(Step::CommitWrite(slot));
        }
        visit(Step::EnterPutOff);
        visit(Step::CommitPutOff);
        for owner in self.owners() {
            visit(Step::Commit(owner));
            visit(Step::Begin(owner));
            visit(Step::Enter(owner));
        }
        for index in 0..self.processes {
            for step in self.protocol.session() {
                visit(Step::Session(index, *step));
            }
            [
                Step::Ring(index),
                Step::Answer(index),
                Step::Probe(index),
                Step::List(index),
                Step::Read(index),
                Step::Timer(index),
                Step::Start(index),
            ]
            .into_iter()
            .for_each(&mut *visit);
        }
    }

    /// The first process has gone through its session before the history starts.
    fn lead(&self, state: &mut State) {
        state.db.epoch = Some(0);
        state.processes[0].epoch = Some(0);
        state.processes[0].serves = state.db.watched;
        state.processes[0].ear = u8::try_from(self.protocol.session().len()).ok();
        state.processes[0].resynced = self.protocol.has(Flaw::ResyncOnlyAtStart);
    }
}

/// A process in a history.
fn name(index: usize) -> &'static str {
    if index == 0 { "A" } else { "B" }
}

fn whose(owner: Owner) -> &'static str {
    owner.map_or("late record", name)
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Outside(event) => write!(out, "{event}"),
            Self::HiccupEnds => write!(out, "api: hiccup ends"),
            Self::Identify(slot) => write!(out, "writer {slot}: gets its transaction id"),
            Self::CommitWrite(slot) => write!(out, "writer {slot}: commits"),
            Self::Start(index) => write!(out, "{}: started", name(index)),
            Self::Session(index, step) => write!(out, "{}: ear session: {step:?}", name(index)),
            Self::Ring(index) => write!(out, "{}: hears", name(index)),
            Self::Timer(index) => write!(out, "{}: backoff timer", name(index)),
            Self::List(index) => write!(out, "{}: lists the tables", name(index)),
            Self::Read(index) => write!(out, "{}: reads", name(index)),
            Self::Answer(index) => write!(out, "{}: has the answer to its read", name(index)),
            Self::Probe(index) => write!(out, "{}: probes", name(index)),
            Self::EnterPutOff => write!(out, "what is put off: the gate, the epoch"),
            Self::CommitPutOff => write!(out, "what is put off: commit"),
            Self::Enter(owner) => write!(out, "{}: the gate, the epoch", whose(owner)),
            Self::Begin(owner) => write!(out, "{}: locks, fence", whose(owner)),
            Self::Commit(owner) => write!(out, "{}: commits the record", whose(owner)),
        }
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Write(write) => write!(out, "a writer: {write:?}"),
            Self::RollBack(slot) => write!(out, "writer {slot}: rolls back"),
            Self::ApiReady => write!(out, "api: becomes ready, silently"),
            Self::HiccupBegins => write!(out, "api: hiccup begins"),
            Self::Doom => write!(out, "server: what is not flushed from here on will be lost"),
            Self::Crash => write!(out, "server: crash"),
            Self::Kill(index) => write!(out, "{}: killed", name(index)),
            Self::LoseEar(index) => write!(out, "{}: ear lost", name(index)),
            Self::GiveUp(index) => write!(out, "{}: no longer waits for its record", name(index)),
            Self::Unlist(index) => write!(
                out,
                "{}: its read cannot tell who is in progress",
                name(index)
            ),
            Self::FailRead(index) => write!(out, "{}: its read fails", name(index)),
            Self::Defer(index) => write!(out, "{}: has no verdict, puts off", name(index)),
            Self::Fail(owner) => write!(out, "{}: its batch fails", whose(owner)),
        }
    }
}
