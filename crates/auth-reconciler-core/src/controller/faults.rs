//! The echo, and what it brings to light: watched tables or a schema of ours that are not as they were, and who holds
//! locks of ours.

use super::phase::Phase;
use super::{Controller, Echo, Fault, Notice};
use crate::problem::{COLUMN_ADDED, FOREIGN_LOCK};
use crate::queue::Moment;

impl Controller {
    pub(super) fn echoed(&mut self, result: Result<Echo, String>, now: Moment) {
        let Echo { faults, last_id } = match result {
            Ok(echo) => echo,
            // Its session may live on at the server and hold the lock that the next listener needs.
            Err(why) => return self.leave(why, true, now),
        };
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        term.engine.may_note_again();
        term.owed.try_again();
        term.bell.try_again();
        term.echo_due = Some(now + self.settings.echo_interval);
        self.troubles.may_note_again();
        // One that stays, of whatever table, keeps no other from being looked at when it is mended.
        let ended = self
            .faults
            .iter()
            .filter(hides_changes)
            .any(|told| !faults.contains(told));
        let begun = |fault: &&Fault| hides_changes(fault) && !self.faults.contains(fault);
        // A table may be served no longer; only a scan knows which.
        let changed = faults.iter().any(|fault| begun(&fault));
        // What was read without a column that is there now was read wrong.
        let column = faults
            .iter()
            .filter(begun)
            .any(|fault| fault.problem == COLUMN_ADDED);
        self.every_row |= ended || column;
        self.take_in(faults);
        if self.every_row || changed {
            self.want_scan();
        }
        if std::mem::take(&mut self.uncounted) {
            self.rings.scan();
        }
        self.log.echoed(last_id);
    }

    /// What is the matter now.
    fn take_in(&mut self, faults: Vec<Fault>) {
        let told = std::mem::take(&mut self.faults);
        let (stand, over): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|told| faults.contains(told));
        self.faults = stand;
        for fault in over {
            self.say(Notice::FaultOver(fault));
        }
        for fault in faults {
            self.begin_fault(fault);
        }
    }

    /// Nothing is mended in silence: somebody did it, and what was missed since is unknown. Said once, when it begins.
    pub(super) fn begin_fault(&mut self, fault: Fault) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault.clone());
            self.say(Notice::Fault(fault));
        }
    }
}

/// Whether changes may be missed while it lasts. Where somebody holds a lock they stay in the log, and are looked at later.
fn hides_changes(fault: &&Fault) -> bool {
    fault.problem != FOREIGN_LOCK
}
