//! A read: the row, its changes and our version, if the key is asked for or if the log has unread
//! changes of it; and what the next log read needs to know.
//!
//! One statement, one snapshot. The answer comes later, with the last id that the sequence had
//! given out by then. A key that is under way is passed over; for that a log read is owed at its end.

use crate::model::{Daemons, Outcome, Promise};
use crate::protocol::Flaw;
use crate::record::Owner;
use crate::state::{LogPart, Reading, Run, Stage, State};

impl Daemons {
    /// The snapshot of a read, with the epoch that its process held before it.
    pub(crate) fn read(&self, before: &State, index: usize) -> Outcome {
        let process = &before.processes[index];
        let epoch = process.epoch.filter(|_| process.reading.is_none())?;
        let idle = process.run.is_none();
        let log = process.owes_log.then(|| self.read_log(before, index));
        let unread = log.is_some_and(|log| log.first_unread.is_some());
        if (process.queued || unread) && !idle && self.protocol.has(Flaw::RunsOverlap) {
            return Some(Err(Promise::OneRun));
        }
        let asked = process.queued && idle && process.serves;
        if !asked && log.is_none() {
            return None;
        }
        let put_off = before.put_off.and_then(|put_off| put_off.owner) == Some(index);
        let found = (asked || (unread && idle && !put_off)).then(|| look(before, epoch));
        let mut after = *before;
        let process = &mut after.processes[index];
        if asked {
            process.queued = false;
            process.armed = false;
        }
        if log.is_some() {
            process.owes_log = false;
            process.rang = false;
            if let Some(run) = process.run.as_mut() {
                run.passed_over = true;
            }
        }
        process.reading = Some(Reading {
            asked,
            found,
            log,
            epoch,
            last_id: None,
        });
        if !self.answers_take_time {
            self.answer(&mut after, index);
        }
        Some(Ok(after))
    }

    fn read_log(&self, state: &State, index: usize) -> LogPart {
        let process = &state.processes[index];
        let after = self
            .near
            .map_or(0, |near| process.horizon.begins_after(near));
        let passed_over = self.protocol.has(Flaw::UnderWayUncounted) && process.run.is_some();
        let first_unread = state.least_id(state.unread(after));
        LogPart {
            after,
            first_unread: first_unread.filter(|_| process.serves && !passed_over),
            in_progress: Some(self.in_progress(state)),
            rang: process.rang,
        }
    }

    /// The answer to a read: the run begins, and the horizon moves.
    pub(crate) fn answer(&self, state: &mut State, index: usize) -> bool {
        let last_id = state.last_id();
        let process = &mut state.processes[index];
        let Some(reading) = process.reading.take() else {
            return false;
        };
        if reading.found.is_some() {
            process.run = reading.found;
            process.armed = false;
        }
        let of_this_term = process.epoch == Some(reading.epoch);
        let Some(read) = reading
            .log
            .filter(|_| of_this_term || self.protocol.has(Flaw::AnswersOutliveTheTerm))
        else {
            return true;
        };
        let last_id = reading.last_id.unwrap_or(last_id);
        if self.near.is_some() {
            process.horizon.absorb(self.protocol, &read, last_id);
        }
        let at_once = read.rang && !self.protocol.has(Flaw::OwedUntilTheNextRing);
        process.owes_log |= at_once && process.horizon.owed.is_some();
        true
    }

    /// A read comes to nothing: it is still wanted, by whoever rang as well.
    pub(crate) fn fail_read(&self, state: &mut State, index: usize) -> bool {
        let last_id = state.last_id();
        let process = &mut state.processes[index];
        let Some(reading) = process.reading.take() else {
            return false;
        };
        if self.protocol.has(Flaw::FailedReadsForgotten) {
            return true;
        }
        process.queued |= reading.asked;
        if let Some(log) = reading.log {
            process.owes_log = true;
            process.rang |= log.rang && !self.protocol.has(Flaw::FailedReadsForgetRings);
            if self.protocol.has(Flaw::FailedTablesPassed) {
                let of_the_others = LogPart {
                    first_unread: None,
                    ..log
                };
                process
                    .horizon
                    .absorb(self.protocol, &of_the_others, last_id);
            }
        }
        true
    }

    /// Too many transactions are in progress for a read to tell which.
    pub(crate) fn unlist(state: &mut State, index: usize) -> bool {
        let reading = state.processes[index].reading.as_mut();
        let Some(log) = reading.and_then(|reading| reading.log.as_mut()) else {
            return false;
        };
        log.in_progress = None;
        true
    }

    /// Somebody has rung, for whichever key.
    pub(crate) fn hear(&self, state: &mut State, index: usize) {
        let process = &mut state.processes[index];
        process.ringing = false;
        process.lists |= process.ringing_to_list && !self.protocol.has(Flaw::ListedOnceATerm);
        process.ringing_to_list = false;
        let dropped = self.protocol.has(Flaw::RingsDroppedDuringRead) && process.reading.is_some();
        if !dropped {
            process.owes_log = true;
            process.rang = self.near.is_some();
        }
    }

    /// A run is over, however it ended.
    pub(crate) fn end(&self, state: &mut State, owner: Owner) {
        let Some(index) = owner else {
            state.late = None;
            return;
        };
        let process = &mut state.processes[index];
        let passed_over = process.run.take().is_some_and(|run| run.passed_over);
        process.owes_log |= passed_over && !self.protocol.has(Flaw::NothingOwedAfterEnd);
    }
}

/// All that a run knows of the key.
fn look(state: &State, epoch: u8) -> Run {
    let instance = state.db.instance;
    Run {
        key: state.db.row.map(|row| row.key),
        seen: state.db.changes,
        version: instance.map(|instance| instance.version),
        epoch,
        stage: Stage::Reading,
        passed_over: false,
        writes: state.db.writes,
        record: instance.map(|instance| instance.record),
    }
}
