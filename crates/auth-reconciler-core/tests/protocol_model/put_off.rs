//! What a run read and could not answer for is put off: the log shows it to no log read any more,
//! and the process comes back to it by its own means. A later process finds it at its beginning.
//!
//! The server puts off as it records: through the gate, in the epoch of the run, exactly what was
//! read; and some time after the run has ended, even after its process has died. Until then the key
//! counts as under way, or each log read would bring it again at once.

use crate::model::{Daemons, Outcome, Promise};
use crate::protocol::Flaw;
use crate::state::{PutOff, Stage, State};

impl Daemons {
    /// A look ends without a verdict that could be recorded: the row is busy or held, the answer
    /// was none. The timer brings the next look.
    pub(crate) fn defer(&self, state: &mut State, index: usize) -> bool {
        let process = &state.processes[index];
        let Some(run) = process.run.filter(|run| run.stage != Stage::Reading) else {
            return false;
        };
        if run.is_recording() || state.put_off.is_some() {
            return false;
        }
        let of_this_term = process.epoch == Some(run.epoch);
        let epoch = match process.epoch {
            Some(epoch) if self.protocol.has(Flaw::PutOffInEpochOfProcess) => epoch,
            Some(_) | None => run.epoch,
        };
        state.put_off = (run.seen != 0).then(|| PutOff {
            owner: of_this_term.then_some(index),
            ids: state.ids_of(run.seen),
            seen: run.seen,
            epoch,
            entered: false,
        });
        state.processes[index].armed = !self.protocol.has(Flaw::PutOffForgotten);
        self.end(state, Some(index));
        true
    }

    /// The gate and the epoch.
    pub(crate) fn enter_put_off(&self, state: &mut State) -> bool {
        let Some(put_off) = state.put_off.filter(|put_off| !put_off.entered) else {
            return false;
        };
        let ours =
            self.protocol.has(Flaw::PutOffInAnyEpoch) || state.db.epoch == Some(put_off.epoch);
        if ours {
            state.put_off = Some(PutOff {
                entered: true,
                ..put_off
            });
        } else {
            self.end_put_off(state);
        }
        true
    }

    /// Its process waits for it no longer: what is new was passed over meanwhile.
    pub(crate) fn end_put_off(&self, state: &mut State) {
        let owner = state.put_off.take().and_then(|put_off| put_off.owner);
        if let Some(index) = owner {
            state.processes[index].owes_log |= !self.protocol.has(Flaw::NothingOwedAfterPutOff);
        }
    }

    /// The update, and its commit.
    pub(crate) fn commit_put_off(&self, before: &State) -> Outcome {
        let put_off = before.put_off.filter(|put_off| put_off.entered)?;
        let hidden = if self.protocol.has(Flaw::PutsOffAllChanges) {
            before.db.changes
        } else {
            before.changes_with(put_off.ids)
        };
        if hidden & !put_off.seen != 0 && !self.only_the_end {
            return Some(Err(Promise::NothingLost));
        }
        let mut after = *before;
        after.db.put_off |= hidden;
        self.end_put_off(&mut after);
        Some(Ok(after))
    }
}

/// A process forgets what it waits for, with its term or its life.
pub(crate) fn forget_put_off(state: &mut State, index: usize) {
    if let Some(put_off) = state.put_off.as_mut() {
        put_off.owner = put_off.owner.filter(|owner| *owner != index);
    }
}
