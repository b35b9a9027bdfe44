//! Who rang, and what a scan brings: the tables that are served, and what no change log tells.

use super::phase::Phase;
use super::{Backlog, Controller, Done, Failure, Notice, Notified, Wanted};
use crate::queue::Moment;

impl Controller {
    pub(super) fn notified(&mut self, notified: Notified, now: Moment) {
        // First of all: what could not be logged is found by no scan after the loss of the listener.
        if notified.resync {
            self.rings.everything();
        }
        if !matches!(self.phase, Phase::Leading(_)) {
            return;
        }
        if let Some(why) = notified.lost {
            self.leave(why, false, now);
            return;
        }
        if notified.rang {
            self.rings.log();
        }
        if notified.scan {
            self.rings.scan();
        }
        // A table that is watched since the last scan.
        if notified.hints.iter().any(|key| !self.serves(key)) {
            self.rings.scan();
        }
        // It may have written others as well.
        if notified.rang {
            self.log.written.extend(self.running.keys());
        }
    }

    /// What rang is heeded at its pace.
    pub(super) fn heed_rings(&mut self, now: Moment) {
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        let due = self.rings.due(now);
        self.every_row |= due.everything;
        term.scan_wanted |= due.scan || due.everything;
        if due.log {
            self.log.rang();
            for key in std::mem::take(&mut self.log.written) {
                self.overwritten(key);
            }
        }
    }

    pub(super) fn want_scan(&mut self) {
        if let Phase::Leading(term) = &mut self.phase {
            term.scan_wanted = true;
        }
    }

    /// The scan that is wanted, if none is under way; it is then.
    pub(super) fn begin_scan(&mut self) -> Option<Wanted> {
        let Phase::Leading(term) = &mut self.phase else {
            return None;
        };
        if term.scanning || !term.scan_wanted {
            return None;
        }
        term.scan_wanted = false;
        term.scanning = true;
        Some(Wanted {
            unsettled: std::mem::take(&mut term.unsettled),
            put_off: std::mem::take(&mut term.put_off),
            every_row: std::mem::take(&mut self.every_row),
        })
    }

    /// A look at every row is wanted until looks at all rows are owed in the database, whichever term found that out.
    pub(super) fn keep_what_no_scan_finds(&mut self, done: &Done) {
        if let Done::Scanned { wanted, result } = done {
            let owed = result.as_ref().is_ok_and(|backlog| backlog.owed);
            self.every_row |= wanted.every_row && !owed;
        }
    }

    pub(super) fn scanned(&mut self, result: Result<Backlog, Failure>, now: Moment) {
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        term.scanning = false;
        let backlog = match result {
            Ok(backlog) => backlog,
            Err(failure) => return self.missed(failure, now),
        };
        self.failures = 0;
        term.owed.wanted = true;
        if !backlog.tables.is_subset(&term.tables) {
            // The changes of one that was not served were passed unread, and of those that were put off nothing is known.
            self.log.begin_anew();
            term.scan_wanted = true;
            term.put_off = true;
        }
        term.tables = backlog.tables;
        let found = backlog.keys.len();
        let announced = std::mem::replace(&mut term.announced, true);
        // What has ended meanwhile the next echo finds, and then every row is looked at.
        for fault in backlog.faults {
            self.begin_fault(fault);
        }
        self.say(if announced {
            Notice::Scanned(found)
        } else {
            Notice::Serving(found)
        });
        if let Some(failure) = backlog.unqueued {
            let news = self.troubles.failed(&failure.error, now);
            self.say(Notice::NotQueued { failure, news });
        }
        if backlog.unlogged {
            self.rings.counted();
        }
        // Such a change is counted when its transaction has ended.
        self.uncounted |= backlog.waits;
        // What was in the log and is not put off is read from there, whatever this scan has brought into it.
        self.log.owed = true;
        for (key, cause) in backlog.keys {
            self.wake(key, cause, now);
        }
    }
}
