//! What the loop does with what rings, and with what a scan of the log brings back.

use std::sync::Arc;

use auth_reconciler_core::Cause;
use auth_reconciler_core::queue::Moment;
use tracing::{debug, info};

use super::outcome::tell;
use super::runs::Run;
use super::{Daemon, RunError};
use crate::postgres::error::StoreError;
use crate::postgres::inbox::Heard;
use crate::postgres::tables::Key;
use crate::run::look::End;
use crate::run::scan::{self, Backlog, Wanted};
use crate::run::{Done, Phase};

impl Daemon {
    pub(super) fn on_heard(&mut self, heard: Heard) {
        // First of all: what could not be logged is found by no resync after the loss of the ear.
        if heard.resync {
            self.rings.everything();
        }
        if let Some(why) = heard.lost {
            self.reconnect(&why);
            return;
        }
        let now = self.now();
        for (key, cause) in heard.keys {
            self.ring(key, cause, now);
        }
        if heard.scan {
            self.rings.log();
        }
    }

    /// Somebody rang for this key, who may be anybody.
    fn ring(&mut self, key: Key, cause: Cause, now: Moment) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        if !leader.tables.contains_key(&key.watched_id) {
            // A table that is watched since the last scan. One that is under way may have read the log
            // before this change was in it.
            self.rings.log();
        } else if self.rings.key(now) {
            self.heed(key, cause, now);
        }
    }

    /// There may be something to read of this key.
    fn heed(&mut self, key: Key, cause: Cause, now: Moment) {
        if cause == Cause::Drift
            && let Some(run) = self.runs.get(&key)
        {
            run.drifted().notify_one();
        }
        self.queue.ring(key, cause, now);
    }

    pub(super) fn want_scan(&mut self) {
        if let Phase::Leading(leader) = &mut self.phase {
            leader.scan_wanted = true;
        }
    }

    /// Begins a scan, if one is wanted and none is under way.
    pub(super) fn scan(&mut self) {
        let now = self.now();
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        let due = self.rings.due(now);
        self.every_row |= due.everything;
        leader.scan_wanted |= due.log || due.everything;
        if leader.scanning || !leader.scan_wanted {
            return;
        }
        leader.scan_wanted = false;
        leader.scanning = true;
        let wanted = Wanted {
            unsettled: std::mem::take(&mut leader.unsettled),
            every_row: std::mem::take(&mut self.every_row),
        };
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        self.jobs.spawn(async move {
            let result = scan::scan(&context, epoch, wanted).await;
            let owed = result.as_ref().is_ok_and(|backlog| backlog.owed);
            Done::Scanned {
                epoch,
                every_row: wanted.every_row && !owed,
                result,
            }
        });
    }

    pub(super) fn on_scanned(
        &mut self,
        result: Result<Backlog, StoreError>,
    ) -> Result<(), RunError> {
        let Phase::Leading(leader) = &mut self.phase else {
            return Ok(());
        };
        leader.scanning = false;
        match result {
            Ok(backlog) => {
                self.failures = 0;
                // What has ended meanwhile the next echo finds, and then every row is looked at.
                for fault in backlog.faults.unwrap_or_default() {
                    tell(&mut self.faults, fault);
                }
                leader.owed.want();
                leader.tables = backlog.tables;
                leader.expected = backlog.expected.into();
                let found = backlog.keys.len();
                if !leader.announced {
                    leader.announced = true;
                    info!(instances = found, "serving");
                } else {
                    debug!(instances = found, "change log scanned");
                }
                let known = |key: &Key| leader.tables.contains_key(&key.watched_id);
                // What a dropped table has left behind stays until it is unwatched.
                let keys: Vec<_> = backlog
                    .keys
                    .into_iter()
                    .filter(|(key, _)| known(key))
                    .collect();
                if backlog.unlogged {
                    self.rings.counted();
                }
                // Such a change is found when its transaction has ended.
                self.unread |= backlog.waits;
                let now = self.now();
                for (key, cause) in keys {
                    // Anybody may have this read any number of times: what a look could not answer for is not looked at
                    // anew each time.
                    if backlog.wanted.unsettled || backlog.wanted.every_row {
                        self.queue.wake(key, cause, now);
                    } else {
                        self.heed(key, cause, now);
                    }
                }
                Ok(())
            }
            Err(failure) => self.missed(failure),
        }
    }

    /// Which changes the look has read and left in the log, so that the next one knows them again.
    pub(super) fn remember(&mut self, key: Key, run: Option<&Run>, end: &End) {
        match end {
            // It has read those that are remembered, or none.
            End::NothingNew => {}
            End::Settled | End::Ready(_) | End::Overtaken | End::UnknownTable | End::EpochEnded => {
                self.left.remove(&key);
            }
            End::Again { .. }
            | End::Stumbled
            | End::Unsure
            | End::NotAsked(_)
            | End::Doubted(_) => {
                if let Some(marks) = run.and_then(Run::left) {
                    self.left.insert(key, marks);
                }
            }
        }
    }
}
