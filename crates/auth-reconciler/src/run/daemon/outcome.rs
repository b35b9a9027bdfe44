//! What the loop does with what its jobs bring back: a scan, an echo, a look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::queue::Next;
use tokio_postgres::error::SqlState;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::runs::Run;
use super::{Daemon, STUMBLE};
use crate::postgres::ear::EarError;
use crate::postgres::error::StoreError;
use crate::postgres::store;
use crate::postgres::tables::{Fault, Key};
use crate::problem::{COLUMN_ADDED, SCHEMA_ALTERED};
use crate::run::look::End;
use crate::run::{Phase, RunError};
use crate::telemetry::chain;

/// Keys of which nobody knows a change and whose read failed, that are tried again one by one.
const MAX_STUMBLES: usize = 1_024;

/// First step after a failure that the server would meet again at once, as a right that was lost; each further one is
/// twice as long.
const REFUSED: Duration = Duration::from_secs(1);

impl Daemon {
    pub(super) fn on_echoed(
        &mut self,
        result: Result<Vec<Fault>, EarError>,
    ) -> Result<(), RunError> {
        let Phase::Leading(leader) = &mut self.phase else {
            return Ok(());
        };
        match result {
            Ok(faults) => {
                debug!("echo heard");
                if std::mem::take(&mut leader.note_with_echo) {
                    leader.containers.note_again();
                }
                leader.owed.try_again();
                self.troubles.may_note_again();
                leader.echo_due = Some(Instant::now() + self.recipe.echo_interval);
                // One that stays, of whatever table, keeps no other from being looked at when it is mended.
                let ended = self.faults.iter().any(|told| !faults.contains(told));
                let begun = |fault: &&Fault| !self.faults.contains(fault);
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
                if std::mem::take(&mut self.unread) {
                    self.rings.log();
                }
            }
            Err(failure) => {
                let former = leader.identity;
                let context = Arc::clone(&self.context);
                self.reconnect(&chain(&failure));
                // Its session may live on at the server and hold the lock that the next ear needs.
                tokio::spawn(async move {
                    if let Err(failure) = store::end_former_ear(&context.pool, former).await {
                        debug!(error = chain(&failure), "could not end the former ear");
                    }
                });
            }
        }
        Ok(())
    }

    /// What is the matter with the watched tables now.
    fn take_in(&mut self, faults: Vec<Fault>) {
        self.faults.retain(|told| {
            let stands = faults.contains(told);
            if !stands {
                let Fault { problem, why } = told;
                if problem == SCHEMA_ALTERED {
                    info!(problem, why, "no longer so of the schema auth_reconciler");
                } else {
                    info!(problem, why, "no longer so of a watched table");
                }
            }
            stands
        });
        for fault in faults {
            tell(&mut self.faults, fault);
        }
    }

    pub(super) fn on_looked(
        &mut self,
        key: Key,
        epoch: Uuid,
        result: Option<Result<End, StoreError>>,
    ) -> Result<(), RunError> {
        self.hear_up_to_now();
        let now = self.now();
        let run = self.runs.remove(&key);
        self.followers.finished(&key, now);
        let for_nothing = run.as_ref().is_some_and(Run::was_for_nothing);
        let refused = matches!(&result, Some(Err(failure)) if failure.is_refusal());
        let end = match result {
            Some(Ok(end)) => end,
            Some(Err(failure)) => self.failed(&key, failure)?,
            None => End::Stumbled,
        };
        if end == End::Stumbled && for_nothing && self.stumbles.len() >= MAX_STUMBLES {
            // Anybody may ring for any number of keys; what really changed is in the log.
            self.unread = true;
            self.queue.finish(&key, Next::AsBefore, now);
            return Ok(());
        }
        self.remember(key, run.as_ref(), &end);
        if !matches!(
            end,
            End::Stumbled
                | End::Unsure
                | End::Again { unsure: true, .. }
                | End::NotAsked(_)
                | End::NothingNew
        ) {
            self.stumbles.remove(&key);
        }
        if matches!(
            end,
            End::Settled | End::Ready(_) | End::Again { .. } | End::Unsure
        ) {
            for waiting in self.troubles.looked(&key, Instant::now()) {
                self.wake(waiting, Cause::Backoff, now);
            }
        }
        let again = self.weigh(&key, run.as_ref(), &end);
        let next = match end {
            End::Settled => {
                self.followers.release(&key);
                Next::Settled
            }
            End::Ready(follow) => {
                self.rest(&key, follow, epoch, now);
                Next::Settled
            }
            End::Again {
                after,
                hold_drift,
                follow,
                wants_witness: _,
                unsure,
            } => {
                self.follow_next(&key, follow.filter(|_| self.leads(epoch)), now);
                let sooner = unsure.then(|| self.stumble(key, false));
                Next::At {
                    due: now + sooner.map_or(after, |sooner| after.min(sooner)),
                    hold_drift,
                }
            }
            End::Overtaken => Next::At {
                due: now,
                hold_drift: false,
            },
            End::Stumbled | End::Unsure => Next::At {
                due: now + self.stumble(key, refused),
                hold_drift: false,
            },
            End::Doubted(_) if again => Next::At {
                due: now,
                hold_drift: false,
            },
            // Woken by the first answer, as a canary, or by an event of its own.
            End::Doubted(_) => {
                self.followers.release(&key);
                Next::Settled
            }
            End::NotAsked(shortage) => {
                let wait = self
                    .troubles
                    .not_asked(key, shortage, Instant::now(), fastrand::f64());
                Next::At {
                    due: now + wait,
                    hold_drift: true,
                }
            }
            End::UnknownTable => {
                self.rings.log();
                Next::Settled
            }
            End::NothingNew => Next::AsBefore,
            End::EpochEnded => {
                self.queue.finish(&key, Next::Settled, now);
                // A look that began in an earlier term of this process is refused, too: the scan of
                // the present one has found its key again, and nobody has taken over.
                if self.leads(epoch) {
                    self.reconnect("another process has taken over");
                }
                return Ok(());
            }
        };
        self.queue.finish(&key, next, now);
        Ok(())
    }

    /// After what time a look that came to nothing is repeated.
    fn stumble(&mut self, key: Key, refused: bool) -> Duration {
        let stumbles = self.stumbles.entry(key).or_default();
        if refused {
            *stumbles = STUMBLE.attempt_of(REFUSED).max(*stumbles);
        }
        let wait = STUMBLE.delay(*stumbles, fastrand::f64());
        *stumbles = Backoff::after(*stumbles, refused);
        wait
    }

    /// What follows from a look that failed.
    fn failed(&mut self, key: &Key, failure: StoreError) -> Result<End, RunError> {
        // Dropped or renamed: the next scan knows.
        if failure.code() == Some(&SqlState::UNDEFINED_TABLE) && !failure.in_their_code() {
            return Ok(End::UnknownTable);
        }
        if failure.is_busy() {
            debug!(
                instance = %key.instance_id,
                error = chain(&failure),
                "somebody holds what this look needs"
            );
            return Ok(End::Stumbled);
        }
        let failure = RunError::unless_passing(failure)?;
        let error = chain(&failure);
        if self.troubles.failed(&error, Instant::now()) {
            warn!(
                instance = %key.instance_id,
                error,
                advice = failure.advice(),
                "look failed, will be repeated"
            );
        } else {
            debug!(instance = %key.instance_id, error, "look failed as before, will be repeated");
        }
        Ok(End::Stumbled)
    }
}

/// Nothing is mended in silence: somebody did it, and what was missed since is unknown. Said once, when it begins.
pub(super) fn tell(told: &mut Vec<Fault>, fault: Fault) {
    if told.contains(&fault) {
        return;
    }
    let Fault { problem, why } = &fault;
    if problem == SCHEMA_ALTERED {
        error!(
            problem,
            why, "the schema auth_reconciler is not as it was made"
        );
    } else {
        error!(problem, why, "a watched table is not as it was");
    }
    told.push(fault);
}
