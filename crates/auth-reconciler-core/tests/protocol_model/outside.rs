//! What comes from outside and need not come at all: each scenario bounds how often it does.

use crate::model::Daemons;
use crate::protocol::Flaw;
use crate::put_off::forget_put_off;
use crate::record::{Owner, run_of};
use crate::state::{Api, Db, Process, Run, Stage, State};
use crate::writers::{NOBODY_WRITES, Write};

/// One thing that comes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    Write(Write),
    RollBack(usize),
    ApiReady,
    HiccupBegins,
    Doom,
    Crash,
    Kill(usize),
    LoseEar(usize),
    GiveUp(usize),
    FailRead(usize),
    Unlist(usize),
    Defer(usize),
    Fail(Owner),
}

impl Outside {
    /// What can be told at a glance.
    pub(crate) fn may_happen(self, state: &State) -> bool {
        let left = &state.left;
        let at = |index: usize| &state.processes[index];
        match self {
            Self::Write(_) => left.writes > 0,
            Self::RollBack(slot) => left.roll_backs > 0 && state.open[slot].is_some(),
            Self::ApiReady => state.api == Api::Starting,
            Self::HiccupBegins => left.hiccups > 0 && state.api == Api::Ready,
            Self::Doom => left.crashes > 0 && state.doomed.is_none(),
            Self::Crash => left.crashes > 0,
            Self::Kill(index) => left.kills > 0 && at(index).alive,
            Self::LoseEar(index) => left.ear_losses > 0 && at(index).ear.is_some(),
            Self::GiveUp(index) => left.given_up > 0 && at(index).run.is_some(),
            Self::Unlist(index) => left.unlisted > 0 && at(index).reading.is_some(),
            Self::FailRead(index) => left.failed_reads > 0 && at(index).reading.is_some(),
            Self::Defer(index) => {
                let decided = |run: Run| matches!(run.stage, Stage::Decided(_));
                left.deferred > 0 && at(index).run.is_some_and(decided)
            }
            Self::Fail(owner) => left.failures > 0 && run_of(state, owner).is_some(),
        }
    }
}

impl Daemons {
    /// Lets it happen; `false` if it cannot.
    pub(crate) fn happen(&self, state: &mut State, event: Outside) -> bool {
        let left = &mut state.left;
        match event {
            Outside::Write(write) => {
                left.writes -= 1;
                self.write(state, write)
            }
            Outside::RollBack(slot) => {
                left.roll_backs -= 1;
                self.roll_back(state, slot)
            }
            Outside::ApiReady => {
                state.api = Api::Ready;
                true
            }
            Outside::HiccupBegins => {
                left.hiccups -= 1;
                state.api = Api::Hiccup;
                true
            }
            Outside::Doom => {
                state.doomed = Some(self.without_epoch(&state.db));
                true
            }
            Outside::Crash => {
                left.crashes -= 1;
                self.crash(state);
                true
            }
            Outside::Kill(process) => {
                left.kills -= 1;
                kill(state, process)
            }
            Outside::LoseEar(process) => {
                left.ear_losses -= 1;
                lose_ear(&mut state.processes[process]);
                true
            }
            Outside::GiveUp(process) => {
                left.given_up -= 1;
                self.give_up(state, process)
            }
            Outside::Unlist(process) => {
                left.unlisted -= 1;
                Self::unlist(state, process)
            }
            Outside::FailRead(process) => {
                left.failed_reads -= 1;
                self.fail_read(state, process)
            }
            Outside::Defer(process) => {
                left.deferred -= 1;
                self.defer(state, process)
            }
            Outside::Fail(owner) => {
                left.failures -= 1;
                self.fail(state, owner)
            }
        }
    }

    fn crash(&self, state: &mut State) {
        let last_id = state.last_id();
        if let Some(kept) = state.doomed.take() {
            state.db = kept;
        }
        state.db = self.without_epoch(&state.db);
        state.late = None;
        state.open = NOBODY_WRITES;
        if state.put_off.is_some_and(|put_off| put_off.entered) {
            self.end_put_off(state);
        }
        for index in 0..self.processes {
            let process = &mut state.processes[index];
            lose_ear(process);
            if let Some(reading) = process.reading.as_mut() {
                // Its answer was on its way.
                reading.last_id = reading.last_id.or(Some(last_id));
            }
            if process.run.is_some_and(|run| run.is_in_transaction()) {
                process.queued = true;
                self.end(state, Some(index));
            }
        }
    }

    /// The process no longer waits for its record, which the server may execute all the same.
    fn give_up(&self, state: &mut State, index: usize) -> bool {
        let sent = state.processes[index]
            .run
            .filter(|run| run.stage != Stage::Reading);
        if sent.is_none() || state.late.is_some() {
            return false;
        }
        state.late = sent.map(|run| Run {
            passed_over: false,
            ..run
        });
        state.processes[index].queued = true;
        self.end(state, Some(index));
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
}

fn lose_ear(process: &mut Process) {
    process.ringing = false;
    process.ringing_to_list = false;
    process.ear = None;
}

/// Ends a process at once; the server still executes what it was executing for it.
fn kill(state: &mut State, process: usize) -> bool {
    forget_put_off(state, process);
    let died = std::mem::take(&mut state.processes[process]);
    let executing = died.run.filter(Run::is_in_transaction);
    state.late = state.late.or(executing);
    true
}
