//! The record: one transaction, seen as three steps so that others can commit between them.
//!
//! `enter` goes through the gate and compares the epoch, once for a whole batch. `begin` takes the
//! locks of this key and asks its fence, `commit` is all that is written. From `enter` on the
//! transaction holds the gate, which a take-over must have for itself; from `begin` on it holds
//! the watched row if the status is going to change, and the key among records.
//!
//! Others of the batch come between the steps as well. One of them may make the batch `fail` as a
//! whole: then nothing of it was done and nothing is held, and it is tried again in smaller ones.

use crate::model::{Daemons, Promise};
use crate::protocol::Flaw;
use crate::state::{Instance, Run, Stage, State, Status};
use crate::writers::row_busy;

/// Whose record it is: a process's, or (`None`) one that a process gave up waiting for.
pub(crate) type Owner = Option<usize>;

/// What the fence of a key says.
enum Fence {
    Passed,
    /// What was read is no longer so: run again.
    Outdated,
}

impl Daemons {
    /// The gate and the epoch of a decided run. The gate is closed for no longer than a take-over takes.
    pub(crate) fn enter(&self, before: &State, owner: Owner) -> Option<State> {
        let run = *run_of(before, owner)?;
        let Stage::Decided(verdict) = run.stage else {
            return None;
        };
        let now = match owner {
            Some(process) if self.protocol.has(Flaw::EpochOfRecord) => {
                before.processes[process].epoch
            }
            Some(_) | None => Some(run.epoch),
        };
        let mut after = *before;
        if !self.protocol.has(Flaw::NoEpochFence) && now != before.db.epoch {
            // Another leads: the run is dropped, the resync of whoever leads does what is left.
            self.end(&mut after, owner);
        } else {
            let stage = Stage::Entered {
                verdict,
                fenced: false,
            };
            put_run(&mut after, owner, Run { stage, ..run });
        }
        Some(after)
    }

    /// The batch failed because of another key in it.
    pub(crate) fn fail(&self, state: &mut State, owner: Owner) -> bool {
        let Some(run) = run_of(state, owner).copied() else {
            return false;
        };
        let Stage::Recording { verdict, .. } = run.stage else {
            return false;
        };
        if self.protocol.has(Flaw::FailuresForgotten) {
            self.end(state, owner);
            return true;
        }
        let stage = if self.protocol.has(Flaw::SplitKeepsFence) {
            Stage::Entered {
                verdict,
                fenced: true,
            }
        } else {
            Stage::Decided(verdict)
        };
        put_run(state, owner, Run { stage, ..run });
        true
    }

    /// The locks and the fence of a run that is through the gate; `None` while it would have to wait.
    pub(crate) fn begin(&self, before: &State, owner: Owner) -> Option<State> {
        let run = *run_of(before, owner)?;
        let Stage::Entered { verdict, fenced } = run.stage else {
            return None;
        };
        let writes = matches!((verdict, before.db.row), (Some(to), Some(row)) if to != row.status);
        let row_is_busy = writes && self.row_locked(before);
        let rows_only =
            self.protocol.has(Flaw::FirstRecordUnlocked) && before.db.instance.is_none();
        let key_is_busy = recording(before) && !rows_only && !self.protocol.has(Flaw::KeyUnlocked);
        if row_is_busy || key_is_busy {
            return None;
        }
        let mut after = *before;
        if writes && row_busy(before) {
            return self.busy(&mut after, owner).then_some(after);
        }
        match self.fence(before, &run) {
            Fence::Outdated if !fenced => self.run_again(&mut after, owner),
            Fence::Passed | Fence::Outdated => {
                let stage = Stage::Recording {
                    verdict,
                    writes,
                    stale: !stands(before, &run),
                };
                put_run(&mut after, owner, Run { stage, ..run });
            }
        }
        Some(after)
    }

    /// A foreign transaction holds the watched row: the record is skipped.
    fn busy(&self, state: &mut State, owner: Owner) -> bool {
        match owner {
            Some(process) => self.defer(state, process),
            None => {
                self.end(state, owner);
                true
            }
        }
    }

    fn fence(&self, state: &State, run: &Run) -> Fence {
        let protocol = self.protocol;
        let version = state.db.instance.map(|instance| instance.version);
        let seen = state.ids_of(run.seen);
        let unseen = if protocol.has(Flaw::FenceByGreatestId) {
            // As numbers: there is an id beyond all that were read.
            u8::from(state.ids_of(state.db.changes).leading_zeros() < seen.leading_zeros())
        } else {
            state.ids_of(state.db.changes) & !seen
        };
        let outdated = (!protocol.has(Flaw::NoVersionFence) && version != run.version)
            || (!protocol.has(Flaw::NoChangeFence) && unseen != 0)
            || (!protocol.has(Flaw::NoPresenceFence)
                && run.key.is_some() != state.db.row.is_some());
        if outdated {
            Fence::Outdated
        } else {
            Fence::Passed
        }
    }

    /// What a record that passed the fence writes, in one commit.
    pub(crate) fn commit(&self, before: &State, owner: Owner) -> Option<Result<State, Promise>> {
        let run = *run_of(before, owner)?;
        let Stage::Recording {
            verdict,
            writes,
            stale,
        } = run.stage
        else {
            return None;
        };
        let mut after = *before;
        let conflict = run.version.is_none() && before.db.instance.is_some();
        if conflict && self.protocol.has(Flaw::FirstRecordUnlocked) {
            self.run_again(&mut after, owner);
            return Some(Ok(after));
        }
        let mut unfenced = stale || (verdict.is_some() && superseded(before, &run));
        if let (Some(status), Some(row)) = (verdict, after.db.row.as_mut()) {
            let again = self.protocol.has(Flaw::StatusComparedAgain) && row.status != status;
            if writes || again {
                unfenced |= before.db.writes != run.writes;
                row.status = status;
            }
        }
        if unfenced && !self.only_the_end {
            return Some(Err(Promise::Fenced));
        }
        let ids = before.ids_of(run.seen);
        let all = self.protocol.has(Flaw::DeletesAllChanges);
        let removed = if all {
            before.db.changes
        } else {
            before.changes_with(ids)
        };
        if removed & !run.seen != 0 {
            return Some(Err(Promise::NothingLost));
        }
        after.db.changes &= !removed;
        after.db.put_off &= !removed;
        self.end(&mut after, owner);
        after.db.instance = verdict.map(|status| self.next_instance(&after, status));
        if self.protocol.has(Flaw::NewestLeftOut) {
            // It has a transaction id as well, beyond all those before it.
            after.ended = after.written;
        }
        if let Some(process) = owner {
            after.processes[process].armed = verdict == Some(Status::Pending);
        }
        Some(Ok(after))
    }

    fn next_instance(&self, state: &State, status: Status) -> Instance {
        let record = state.fresh_record();
        let version = match state.db.instance {
            Some(last) if self.protocol.has(Flaw::VersionCounts) => last.version + 1,
            None if self.protocol.has(Flaw::VersionCounts) => 1,
            Some(_) | None => record,
        };
        Instance {
            version,
            record,
            settled: status != Status::Pending,
        }
    }

    /// The run is over without a record; its process keeps the key in its queue.
    fn run_again(&self, state: &mut State, owner: Owner) {
        self.end(state, owner);
        if let Some(process) = owner {
            state.processes[process].queued |= !self.protocol.has(Flaw::RefusalsForgotten);
        }
    }

    /// Whether a record holds the lock of the watched row.
    pub(crate) fn row_locked(&self, state: &State) -> bool {
        !self.protocol.has(Flaw::FenceBeforeLock)
            && state
                .runs()
                .any(|run| matches!(run.stage, Stage::Recording { writes: true, .. }))
    }
}

/// Whether a record is between its fence and its commit.
pub(crate) fn recording(state: &State) -> bool {
    state.runs().any(Run::is_recording)
}

/// Ghost: whether all that the verdict was computed from is as it was.
fn stands(state: &State, run: &Run) -> bool {
    match (run.key, state.db.row) {
        (Some(_), Some(_)) => state.db.writes == run.writes && !superseded(state, run),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Ghost: whether another verdict was recorded since the run read.
fn superseded(state: &State, run: &Run) -> bool {
    state.db.instance.map(|instance| instance.record) != run.record
}

/// The run whose record it is.
pub(crate) fn run_of(state: &State, owner: Owner) -> Option<&Run> {
    match owner {
        Some(process) => state.processes[process].run.as_ref(),
        None => state.late.as_ref(),
    }
}

fn put_run(state: &mut State, owner: Owner, run: Run) {
    match owner {
        Some(process) => state.processes[process].run = Some(run),
        None => state.late = Some(run),
    }
}
