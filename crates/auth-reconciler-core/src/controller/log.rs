//! The change log: who rang, when it is read, and what a reading brings.

use super::phase::Phase;
use super::{Backlog, ChangeSet, Controller, Done, Failure, Notice, Notified, Outcome, Wanted};
use crate::Cause;
use crate::instance::Key;
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
        for (key, cause) in notified.keys {
            self.ring(key, cause, now);
        }
        if notified.scan {
            self.rings.log();
        }
    }

    /// Somebody rang for this key, who may be anybody.
    fn ring(&mut self, key: Key, cause: Cause, now: Moment) {
        if !self.serves(&key) {
            // A table that is watched since the last scan. One that is under way may have read the log
            // before this change was in it.
            self.rings.log();
        } else if self.rings.key(now) {
            self.heed(key, cause, now);
        }
    }

    /// There may be something to read of this key.
    fn heed(&mut self, key: Key, cause: Cause, now: Moment) {
        if cause == Cause::Drift {
            self.overwritten(key);
        }
        self.queue.ring(key, cause, now);
    }

    /// What rang is heeded at its pace.
    pub(super) fn heed_rings(&mut self, now: Moment) {
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        let due = self.rings.due(now);
        self.every_row |= due.everything;
        term.scan_wanted |= due.log || due.everything;
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

    pub(super) fn scanned(
        &mut self,
        wanted: Wanted,
        result: Result<Backlog, Failure>,
        now: Moment,
    ) {
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
        // Such a change is found when its transaction has ended.
        self.unread |= backlog.waits;
        for (key, cause) in backlog.keys {
            // What a dropped table has left behind stays until it is unwatched.
            if !self.serves(&key) {
                continue;
            }
            // Anybody may have this read any number of times: what a look could not answer for is not looked at
            // anew each time.
            if wanted.unsettled || wanted.every_row {
                self.queue.wake(key, cause, now);
            } else {
                self.heed(key, cause, now);
            }
        }
    }

    /// Which changes were read and left in the log, so that the next look knows them again.
    pub(super) fn remember(&mut self, key: Key, read: Option<ChangeSet>, outcome: &Outcome) {
        match outcome {
            // It has read those that are remembered, or none.
            Outcome::NothingNew => {}
            Outcome::Final
            | Outcome::Ready(_)
            | Outcome::Overtaken
            | Outcome::UnknownTable
            | Outcome::EpochEnded => {
                self.left.remove(&key);
            }
            Outcome::Again { .. }
            | Outcome::Transient
            | Outcome::Failed(_)
            | Outcome::Unsure
            | Outcome::NotAsked(_)
            | Outcome::Doubted(_) => {
                if let Some(read) = read {
                    self.left.insert(key, read);
                }
            }
        }
    }
}
