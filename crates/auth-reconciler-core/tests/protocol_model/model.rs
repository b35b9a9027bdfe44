//! The steps of the world, of the server and of the daemons.

use crate::protocol::{Flaw, Protocol, SessionStep};
use crate::record::{Owner, run_of};
use crate::state::{Api, Budget, CHANGES, Db, Key, Process, Row, Run, Stage, State, Status};

/// What must hold; design invariants in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A verdict is recorded only while all that it was computed from still stands (I2).
    Fenced,
    /// A committed change leaves the log only with a run that read it (I3).
    NothingLost,
    /// Never two runs of a key at once in one process (I4).
    OneRun,
    /// Once inputs are quiet the row comes to say the truth, and no change is left over (I3).
    Converges,
}

/// What a foreign writer does, always together with a change in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Replaces the key, the right one by a wrong one or back.
    Key,
    /// Writes `account`: no more than a hint.
    Account,
    /// Writes a wrong `auth_status` from a stale copy.
    Drift,
    /// The container is restarted, and the row says so.
    Restart,
    /// Deletes the row.
    Delete,
    /// Inserts the row again, with a wrong key.
    Insert,
}

/// How a history starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The row is new, its change is in the log, its API is starting, and nobody leads.
    New,
    /// The row is recorded as ready, nothing is in the log, and the first process leads.
    Ready,
}

/// One bounded piece of the world, and the protocol to try in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daemons {
    pub(crate) protocol: Protocol,
    /// How many processes there are, all of them alive at first.
    pub(crate) processes: usize,
    /// How the history starts.
    pub(crate) start: Beginning,
    pub(crate) writes: &'static [Write],
    /// Whether foreign writers commit asynchronously.
    pub(crate) async_writers: bool,
    /// Whether a crash may take back even synchronous commits (fail-over to a lagging standby).
    pub(crate) standby_lags: bool,
    pub(crate) budget: Budget,
    /// Watch only how histories end: a verdict that no longer stands is let pass, to see whether
    /// it does lasting harm.
    pub(crate) only_the_end: bool,
}

/// One atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Write(Write),
    ApiReady,
    HiccupBegins,
    HiccupEnds,
    Doom,
    Crash,
    Kill(usize),
    Start(usize),
    LoseEar(usize),
    GiveUp(usize),
    Session(usize, SessionStep),
    Ring(usize),
    Timer(usize),
    Read(usize),
    Probe(usize),
    Enter(Owner),
    Begin(Owner),
    Fail(Owner),
    Commit(Owner),
}

/// `None`: not possible. A step that breaks a promise has no result.
pub(crate) type Outcome = Option<Result<State, Promise>>;

impl Daemons {
    /// What `step` makes of a state; `None` if it is not possible there.
    pub(crate) fn take(&self, before: &State, step: Step) -> Outcome {
        if !self.conceivable(before, step) {
            return None;
        }
        let mut after = *before;
        let left = &mut after.left;
        let done = match step {
            Step::Write(write) => {
                left.writes -= 1;
                self.write(&mut after, write)
            }
            Step::ApiReady | Step::HiccupEnds => {
                after.api = Api::Ready;
                true
            }
            Step::HiccupBegins => {
                left.hiccups -= 1;
                after.api = Api::Hiccup;
                true
            }
            Step::Doom => {
                after.doomed = Some(self.without_epoch(&before.db));
                true
            }
            Step::Crash => {
                left.crashes -= 1;
                self.crash(&mut after);
                true
            }
            Step::Kill(process) => {
                left.kills -= 1;
                kill(&mut after, process);
                true
            }
            Step::Start(process) => {
                after.processes[process].alive = true;
                true
            }
            Step::LoseEar(process) => {
                left.ear_losses -= 1;
                lose_ear(&mut after.processes[process]);
                true
            }
            Step::GiveUp(process) => {
                left.given_up -= 1;
                give_up(&mut after, process)
            }
            Step::Session(process, next) => self.session_step(&mut after, process, next),
            Step::Ring(process) => {
                after.processes[process].ringing = false;
                self.wake(&mut after.processes[process]);
                true
            }
            Step::Timer(process) => {
                after.processes[process].armed = false;
                self.wake(&mut after.processes[process]);
                true
            }
            Step::Read(process) => return self.read(before, process),
            Step::Probe(process) => self.probe(&mut after, process),
            Step::Enter(owner) => return self.enter(before, owner).map(Ok),
            Step::Begin(owner) => return self.begin(before, owner).map(Ok),
            Step::Fail(owner) => {
                left.failures -= 1;
                self.fail(&mut after, owner)
            }
            Step::Commit(owner) => return self.commit(before, owner),
        };
        done.then_some(Ok(after))
    }

    /// Whether `step` is worth a copy of the state: what can be told at a glance.
    fn conceivable(&self, state: &State, step: Step) -> bool {
        let left = &state.left;
        let at = |index: usize| &state.processes[index];
        match step {
            Step::Write(_) => left.writes > 0,
            Step::ApiReady => state.api == Api::Starting,
            Step::HiccupBegins => left.hiccups > 0 && state.api == Api::Ready,
            Step::HiccupEnds => state.api == Api::Hiccup,
            Step::Doom => left.crashes > 0 && state.doomed.is_none(),
            Step::Crash => left.crashes > 0,
            Step::Kill(index) => left.kills > 0 && at(index).alive,
            Step::Start(index) => !at(index).alive,
            Step::LoseEar(index) => left.ear_losses > 0 && at(index).ear.is_some(),
            Step::GiveUp(index) => left.given_up > 0 && at(index).run.is_some(),
            Step::Session(index, next) => {
                let done = at(index).ear.map_or(0, usize::from);
                at(index).alive && self.protocol.session().get(done) == Some(&next)
            }
            Step::Ring(index) => at(index).ringing && self.did(state, index, SessionStep::TakeOver),
            Step::Timer(index) => at(index).armed,
            Step::Read(index) => at(index).queued,
            Step::Probe(index) => at(index).run.is_some(),
            Step::Fail(owner) => left.failures > 0 && run_of(state, owner).is_some(),
            Step::Enter(owner) | Step::Begin(owner) | Step::Commit(owner) => {
                run_of(state, owner).is_some()
            }
        }
    }

    /// A foreign commit: its row write, its change and its NOTIFY.
    fn write(&self, state: &mut State, write: Write) -> bool {
        let wrong = |status| match status {
            Status::Pending => Status::ClientReady,
            Status::ClientReady | Status::Failed => Status::Pending,
        };
        let other = |key| match key {
            Key::Right => Key::Wrong,
            Key::Wrong => Key::Right,
        };
        if self.row_locked(state) {
            return false;
        }
        state.db.row = match (write, state.db.row) {
            (Write::Insert, None) => Some(Row {
                key: Key::Wrong,
                status: Status::Pending,
            }),
            (Write::Key, Some(row)) => Some(Row {
                key: other(row.key),
                ..row
            }),
            (Write::Account | Write::Restart, Some(row)) => Some(row),
            (Write::Drift, Some(row)) => Some(Row {
                status: wrong(row.status),
                ..row
            }),
            (Write::Delete, Some(_)) => None,
            (Write::Insert, Some(_)) | (_, None) => return false,
        };
        if write == Write::Restart {
            state.api = Api::Starting;
        }
        log_change(state);
        if !self.async_writers {
            self.flush(state);
        }
        for process in 0..self.processes {
            state.processes[process].ringing |= self.did(state, process, SessionStep::Listen);
        }
        true
    }

    /// A synchronous commit makes durable all that came before it.
    pub(crate) fn flush(&self, state: &mut State) {
        if !self.standby_lags {
            state.doomed = None;
        }
    }

    fn crash(&self, state: &mut State) {
        if let Some(kept) = state.doomed.take() {
            state.db = kept;
        }
        state.db = self.without_epoch(&state.db);
        state.late = None;
        for process in &mut state.processes {
            lose_ear(process);
            if process.run.is_some_and(|run| run.is_in_transaction()) {
                process.run = None;
                process.queued = true;
            }
        }
    }

    /// What a crash leaves of a database: an unlogged leadership row is gone.
    fn without_epoch(&self, db: &Db) -> Db {
        let logged =
            self.protocol.has(Flaw::EpochSurvivesCrash) || self.protocol.has(Flaw::EpochCounts);
        Db {
            epoch: db.epoch.filter(|_| logged),
            ..*db
        }
    }
}

/// Puts a change into the log.
pub(crate) fn log_change(state: &mut State) {
    let change = usize::from(state.written);
    assert!(
        change < CHANGES,
        "a scenario with more writes than the model has room for"
    );
    state.ids[change] = state.db.next_id;
    state.db.next_id += 1;
    state.db.changes |= 1 << change;
    state.written += 1;
    state.db.writes = state.written;
}

fn lose_ear(process: &mut Process) {
    process.ringing = false;
    process.ear = None;
}

/// Ends a process at once; the server still executes what it was executing for it.
fn kill(state: &mut State, process: usize) {
    let died = std::mem::take(&mut state.processes[process]);
    let executing = died.run.filter(Run::is_in_transaction);
    state.late = state.late.or(executing);
}

/// The process no longer waits for its record, which the server may execute all the same.
fn give_up(state: &mut State, process: usize) -> bool {
    let sent = state.processes[process]
        .run
        .filter(|run| run.stage != Stage::Reading);
    if sent.is_none() || state.late.is_some() {
        return false;
    }
    state.late = sent;
    state.processes[process].run = None;
    state.processes[process].queued = true;
    true
}
