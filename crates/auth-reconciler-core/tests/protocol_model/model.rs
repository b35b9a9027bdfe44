//! The steps of the world, of the server and of the daemons.

use crate::protocol::{Flaw, Protocol, SessionStep};
use crate::record::{Owner, recording};
use crate::state::{
    Api, Budget, CHANGES, Db, Key, Process, Row, Run, Stage, State, Status, answer,
};

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
#[derive(Clone, Debug)]
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
    Begin(Owner),
    Commit(Owner),
}

type Outcome = Option<Result<State, Promise>>;

impl Daemons {
    /// What `step` makes of a state; `None` if it is not possible there.
    pub(crate) fn take(&self, before: &State, step: Step) -> Outcome {
        let mut after = *before;
        let left = &mut after.left;
        let done = match step {
            Step::Write(write) => spend(&mut left.writes) && self.write(&mut after, write),
            Step::ApiReady => replace(&mut after.api, Api::Starting, Api::Ready),
            Step::HiccupBegins => {
                spend(&mut left.hiccups) && replace(&mut after.api, Api::Ready, Api::Hiccup)
            }
            Step::HiccupEnds => replace(&mut after.api, Api::Hiccup, Api::Ready),
            Step::Doom => {
                let possible = left.crashes > 0 && before.doomed.is_none();
                after.doomed = Some(self.without_epoch(&before.db));
                possible
            }
            Step::Crash => spend(&mut left.crashes) && self.crash(&mut after),
            Step::Kill(process) => spend(&mut left.kills) && kill(&mut after, process),
            Step::Start(process) => {
                let dead = !before.processes[process].alive;
                after.processes[process].alive = true;
                dead
            }
            Step::LoseEar(process) => {
                spend(&mut left.ear_losses) && lose_ear(&mut after.processes[process])
            }
            Step::GiveUp(process) => spend(&mut left.given_up) && give_up(&mut after, process),
            Step::Session(process, next) => self.session_step(&mut after, process, next),
            Step::Ring(process) => {
                let heard = before.processes[process].ringing
                    && self.did(before, process, SessionStep::TakeOver);
                after.processes[process].ringing = false;
                self.wake(&mut after.processes[process]);
                heard
            }
            Step::Timer(process) => {
                let armed = before.processes[process].armed;
                after.processes[process].armed = false;
                self.wake(&mut after.processes[process]);
                armed
            }
            Step::Read(process) => return self.read(before, process),
            Step::Probe(process) => self.probe(&mut after, process),
            Step::Begin(owner) => return self.begin(before, owner).map(Ok),
            Step::Commit(owner) => return self.commit(before, owner),
        };
        done.then_some(Ok(after))
    }

    /// A foreign commit: its row write, its change and its NOTIFY.
    fn write(&self, state: &mut State, write: Write) -> bool {
        let wrong = |status| {
            if status == Status::Pending {
                Status::ClientReady
            } else {
                Status::Pending
            }
        };
        let other = |key| {
            if key == Key::Right {
                Key::Wrong
            } else {
                Key::Right
            }
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
    fn flush(&self, state: &mut State) {
        if !self.standby_lags {
            state.doomed = None;
        }
    }

    fn crash(&self, state: &mut State) -> bool {
        if let Some(kept) = state.doomed.take() {
            state.db = kept;
        }
        state.db = self.without_epoch(&state.db);
        state.late = None;
        for process in &mut state.processes {
            lose_ear(process);
            if matches!(
                process.run,
                Some(Run {
                    stage: Stage::Recording { .. },
                    ..
                })
            ) {
                process.run = None;
                process.queued = true;
            }
        }
        true
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

    /// Whether the ear session of this process has got past `step`.
    fn did(&self, state: &State, process: usize, step: SessionStep) -> bool {
        let done = state.processes[process].ear.map_or(0, usize::from);
        self.protocol.session()[..done].contains(&step)
    }

    fn wake(&self, process: &mut Process) {
        let dropped = self.protocol.has(Flaw::WakesDroppedDuringRun) && process.run.is_some();
        process.queued |= !dropped;
    }

    /// The next step of an ear session, the first of which is to connect as well.
    fn session_step(&self, state: &mut State, index: usize, next: SessionStep) -> bool {
        let done = state.processes[index].ear.unwrap_or(0);
        if !state.processes[index].alive
            || self.protocol.session().get(usize::from(done)) != Some(&next)
        {
            return false;
        }
        let again = self.protocol.has(Flaw::ResyncOnlyAtStart) && state.processes[index].resynced;
        match next {
            SessionStep::Listen => {}
            SessionStep::TakeOver => {
                if !self.take_over(state, index) {
                    return false;
                }
            }
            SessionStep::ScanChanges => {
                if state.db.changes != 0 && !again {
                    self.wake(&mut state.processes[index]);
                }
            }
            SessionStep::ScanUnsettled => {
                if state.db.instance.is_some_and(|instance| !instance.settled) && !again {
                    self.wake(&mut state.processes[index]);
                }
                // Only the flaw reads it: otherwise it would double the states for nothing.
                state.processes[index].resynced = self.protocol.has(Flaw::ResyncOnlyAtStart);
            }
        }
        state.processes[index].ear = Some(done + 1);
        true
    }

    fn take_over(&self, state: &mut State, index: usize) -> bool {
        let led =
            (0..self.processes).any(|process| self.did(state, process, SessionStep::TakeOver));
        if led || (recording(state) && !self.protocol.has(Flaw::EpochUnlocked)) {
            return false;
        }
        let fresh = state.fresh_epoch();
        let epoch = match state.db.epoch {
            Some(last) if self.protocol.has(Flaw::EpochKept) => last,
            Some(last) if self.protocol.has(Flaw::EpochCounts) => last + 1,
            None if self.protocol.has(Flaw::EpochCounts) => 0,
            Some(_) | None => fresh,
        };
        state.db.epoch = Some(epoch);
        state.processes[index].epoch = Some(epoch);
        if self.protocol.has(Flaw::EpochSurvivesCrash) {
            self.flush(state);
        }
        true
    }

    fn read(&self, before: &State, index: usize) -> Outcome {
        let process = &before.processes[index];
        let epoch = process.epoch.filter(|_| process.queued)?;
        if process.run.is_some() {
            return self
                .protocol
                .has(Flaw::RunsOverlap)
                .then_some(Err(Promise::OneRun));
        }
        let mut after = *before;
        let instance = before.db.instance;
        after.processes[index].queued = false;
        after.processes[index].armed = false;
        after.processes[index].run = Some(Run {
            key: before.db.row.map(|row| row.key),
            seen: before.db.changes,
            version: instance.map(|instance| instance.version),
            epoch,
            stage: Stage::Reading,
            writes: before.db.writes,
            record: instance.map(|instance| instance.record),
        });
        Some(Ok(after))
    }

    fn probe(&self, state: &mut State, index: usize) -> bool {
        let (api, instance, changes) = (state.api, state.db.instance, state.db.changes);
        let Some(run) = state.processes[index]
            .run
            .as_mut()
            .filter(|run| run.stage == Stage::Reading)
        else {
            return false;
        };
        run.stage = Stage::Decided(run.key.map(|key| answer(key, api)));
        if self.protocol.has(Flaw::FactsAfterProbe) {
            run.seen = changes;
            run.version = instance.map(|instance| instance.version);
        }
        true
    }
}

fn spend(left: &mut u8) -> bool {
    let possible = *left > 0;
    *left = left.saturating_sub(1);
    possible
}

fn replace(api: &mut Api, from: Api, to: Api) -> bool {
    let possible = *api == from;
    *api = to;
    possible
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

fn lose_ear(process: &mut Process) -> bool {
    process.ringing = false;
    process.ear.take().is_some()
}

/// Ends a process at once; the server still executes what it was executing for it.
fn kill(state: &mut State, process: usize) -> bool {
    let died = std::mem::take(&mut state.processes[process]);
    if died
        .run
        .is_some_and(|run| matches!(run.stage, Stage::Recording { .. }))
        && state.late.is_none()
    {
        state.late = died.run;
    }
    died.alive
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
