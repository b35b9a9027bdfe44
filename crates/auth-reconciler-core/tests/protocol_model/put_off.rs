//! What a run read and could not answer for is put off: the log shows it to no log read any more,
//! and the process comes back to it by its own means. A later process finds it at its beginning.
//!
//! The server puts off as it records: through the gate, in the epoch of the run, exactly what was
//! read; and some time after the run has ended, even after its process has died.

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
        let epoch = match process.epoch {
            Some(epoch) if self.protocol.has(Flaw::PutOffInEpochOfProcess) => epoch,
            Some(_) | None => run.epoch,
        };
        state.put_off = (run.seen != 0).then(|| PutOff {
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
        state.put_off = ours.then_some(PutOff {
            entered: true,
            ..put_off
        });
        true
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
        after.put_off = None;
        after.db.put_off |= hidden;
        Some(Ok(after))
    }
}
