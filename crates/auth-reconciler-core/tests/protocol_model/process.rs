//! What a process does: its ear session, its term, its queue, and the probes of its runs.

use crate::horizon::Horizon;
use crate::model::Daemons;
use crate::protocol::{Flaw, SessionStep};
use crate::put_off::forget_put_off;
use crate::record::recording;
use crate::state::{Process, Run, Stage, State, answer};

impl Daemons {
    /// Whether the ear session of this process has got past `step`.
    pub(crate) fn did(&self, state: &State, process: usize, step: SessionStep) -> bool {
        let done = state.processes[process].ear.map_or(0, usize::from);
        self.protocol.session()[..done].contains(&step)
    }

    /// Queues the key; a wake during a run is kept for after it.
    pub(crate) fn wake(&self, process: &mut Process) {
        let dropped = self.protocol.has(Flaw::WakesDroppedDuringRun) && process.run.is_some();
        process.queued |= !dropped;
    }

    /// The next step of an ear session, the first of which is to connect as well.
    pub(crate) fn session_step(&self, state: &mut State, index: usize, next: SessionStep) -> bool {
        let done = state.processes[index].ear.unwrap_or(0);
        let again = self.protocol.has(Flaw::ResyncOnlyAtStart) && state.processes[index].resynced;
        match next {
            SessionStep::Listen => {}
            SessionStep::TakeOver => {
                if !self.take_over(state, index) {
                    return false;
                }
                if !again {
                    self.begin_term(state, index);
                }
            }
            SessionStep::ScanPutOff => {
                if state.db.put_off != 0 && !again {
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

    /// Tables are listed; nothing is known of the log, and all of it is to be read.
    fn begin_term(&self, state: &mut State, index: usize) {
        forget_put_off(state, index);
        let process = &mut state.processes[index];
        process.serves = state.db.watched;
        process.lists = false;
        if !self.protocol.has(Flaw::HorizonKept) {
            process.horizon = Horizon::default();
        }
        process.owes_log |= !self.protocol.has(Flaw::NoLogReadAtTerm);
    }

    /// Tables are listed again: of the changes of a new one the horizon knows nothing.
    pub(crate) fn list(&self, state: &mut State, index: usize) {
        let process = &mut state.processes[index];
        process.lists = false;
        if state.db.watched && !process.serves {
            process.serves = true;
            if !self.protocol.has(Flaw::HorizonOfOtherTables) {
                process.horizon = Horizon::default();
            }
            process.owes_log |= !self.protocol.has(Flaw::NothingOwedToNewTables);
        }
    }

    /// The advisory lock, and a new epoch. It waits for whoever is through the gate.
    fn take_over(&self, state: &mut State, index: usize) -> bool {
        let led =
            (0..self.processes).any(|process| self.did(state, process, SessionStep::TakeOver));
        let records = if self.protocol.has(Flaw::EpochUnlocked) {
            false
        } else if self.protocol.has(Flaw::EpochBeforeGate) {
            recording(state)
        } else {
            state.runs().any(Run::is_in_transaction)
        };
        let puts_off = state.put_off.is_some_and(|put_off| put_off.entered)
            && !self.protocol.has(Flaw::PutOffOutsideGate);
        if led || records || puts_off {
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

    /// Asks the API, with the key that was read.
    pub(crate) fn probe(&self, state: &mut State, index: usize) -> bool {
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
