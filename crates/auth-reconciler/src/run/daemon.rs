//! The loop's state, and what each event does to it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::queue::{Command, Moment, Next, Queue};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio_postgres::error::SqlState;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use super::lead::{LeadError, Recipe};
use super::look::{self, Context, End, Task};
use super::scan::{self, Backlog};
use super::{Done, Event, MissingTriggers, Options, Phase, RunError};
use crate::postgres::ear::{self, EarError};
use crate::postgres::error::{Policy, StoreError};
use crate::postgres::inbox::Heard;
use crate::postgres::store;
use crate::postgres::tables::Key;

/// Steps between tries after a passing failure of one look: a busy row, a lost connection.
const STUMBLE: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(60),
};

/// Steps between tries to get an ear.
const RECONNECT: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(15),
};

pub(super) struct Daemon {
    context: Arc<Context>,
    recipe: Recipe,
    shutdown_limit: Duration,
    queue: Queue<Key>,
    origin: Instant,
    pub(super) jobs: JoinSet<Done>,
    give_way: HashMap<Key, oneshot::Sender<()>>,
    stumbles: HashMap<Key, u32>,
    pub(super) phase: Phase,
    /// Whether this process has led before; from then on a failure to connect is retried for ever.
    proven: bool,
    /// Terms in a row that ended, or did not begin, before a scan was done.
    failures: u32,
    /// A change could not be logged: every row is owed a look, until changes of all rows are in the log.
    every_row: bool,
}

impl Daemon {
    pub(super) fn new(options: Options) -> Self {
        let context = Arc::new(options.context);
        let recipe = Recipe {
            ear: options.ear,
            expected_tables: options.expected_tables,
            context: Arc::clone(&context),
            echo_interval: options.echo_interval,
            echo_limit: options.echo_limit,
        };
        let phase = Phase::Connecting(tokio::spawn(recipe.clone().lead(Duration::ZERO)));
        Self {
            context,
            recipe,
            shutdown_limit: options.shutdown_limit,
            queue: Queue::new(options.limits),
            origin: Instant::now(),
            jobs: JoinSet::new(),
            give_way: HashMap::new(),
            stumbles: HashMap::new(),
            phase,
            proven: false,
            failures: 0,
            every_row: false,
        }
    }

    /// Starts whatever may be started now.
    pub(super) fn dispatch(&mut self) {
        let now = self.now();
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        if !leader.scanning && leader.scan_wanted {
            leader.scan_wanted = false;
            leader.scanning = true;
            let every_row = std::mem::take(&mut self.every_row);
            let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
            self.jobs.spawn(async move {
                let result = scan::scan(&context, every_row).await;
                let all_logged = result.as_ref().is_ok_and(|backlog| backlog.all_logged);
                Done::Scanned {
                    epoch,
                    every_row: every_row && !all_logged,
                    result,
                }
            });
        }
        if leader.echo_due.is_some_and(|due| due <= Instant::now()) {
            leader.echo_due = None;
            let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
            let (inbox, tables) = (Arc::clone(&leader.inbox), Arc::clone(&leader.tables));
            let limit = self.recipe.echo_limit;
            self.jobs.spawn(async move {
                let result = async {
                    ear::echo(&context.pool, &inbox, limit).await?;
                    Ok(store::missing_triggers(&context.pool, &tables).await?)
                };
                Done::Echoed {
                    epoch,
                    result: result.await,
                }
            });
        }
        while let Some(command) = self.queue.next(now) {
            match command {
                Command::Start { key, wake } => {
                    let (sender, give_way) = oneshot::channel();
                    self.give_way.insert(key, sender);
                    let task = Task {
                        key,
                        wake,
                        woken: self.origin + wake.since,
                        epoch: leader.epoch,
                        tables: Arc::clone(&leader.tables),
                        give_way,
                    };
                    self.jobs
                        .spawn(guarded_look(Arc::clone(&self.context), task));
                }
                Command::GiveWay { key } => {
                    if let Some(sender) = self.give_way.remove(&key) {
                        // The run may have ended meanwhile.
                        let _ = sender.send(());
                    }
                }
            }
        }
    }

    /// When [`Daemon::dispatch`] has something to do though nothing happens until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting(_) => None,
            Phase::Leading(leader) => {
                let queue = self.queue.deadline().map(|moment| self.origin + moment);
                queue.into_iter().chain(leader.echo_due).min()
            }
        }
    }

    pub(super) fn on_event(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Connected(Ok(Ok(leader))) => {
                self.proven = true;
                self.phase = Phase::Leading(Box::new(leader));
                Ok(())
            }
            Event::Connected(Ok(Err(failure))) => self.on_no_ear(failure),
            Event::Connected(Err(failure)) => Err(RunError::Task(failure)),
            Event::Heard(heard) => self.on_heard(heard),
        }
    }

    pub(super) fn on_done(&mut self, done: Result<Done, JoinError>) -> Result<(), RunError> {
        let done = done.map_err(RunError::Task)?;
        // Still owed, whichever term found it out.
        self.every_row |= matches!(
            done,
            Done::Scanned {
                every_row: true,
                ..
            }
        );
        match done {
            Done::Looked { key, epoch, result } => self.on_looked(key, epoch, result),
            Done::Scanned { epoch, result, .. } if self.leads(epoch) => self.on_scanned(result),
            Done::Echoed { epoch, result } if self.leads(epoch) => self.on_echoed(result),
            // Of an earlier term; the resync of this one covers it.
            Done::Scanned { .. } | Done::Echoed { .. } => Ok(()),
        }
    }

    /// Lets what is in flight end, within the limit, and closes the ear.
    pub(super) async fn finish(mut self) {
        if let Phase::Connecting(task) = &self.phase {
            task.abort();
        }
        info!(in_flight = self.queue.running(), "stopping");
        let drained = async { while self.jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shutdown_limit, drained)
            .await
            .is_err()
        {
            warn!(
                limit = ?self.shutdown_limit,
                "stopped with looks in flight; their changes are still in the log and will be looked at"
            );
        }
        info!("stopped");
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    fn leads(&self, epoch: Uuid) -> bool {
        matches!(&self.phase, Phase::Leading(leader) if leader.epoch == epoch)
    }

    fn on_no_ear(&mut self, failure: LeadError) -> Result<(), RunError> {
        if !self.proven {
            return Err(RunError::Start(Box::new(failure)));
        }
        if let Some(advice) = failure.end() {
            return Err(RunError::End {
                advice,
                source: Box::new(failure),
            });
        }
        let wait = self.pause();
        warn!(
            error = crate::telemetry::chain(&failure),
            advice = failure.advice(),
            retry_in = ?wait,
            "no ear: changes are kept in the log until there is one"
        );
        self.phase = Phase::Connecting(tokio::spawn(self.recipe.clone().lead(wait)));
        Ok(())
    }

    /// The ear is gone, or no longer ours: make another. What was queued is found again by its resync.
    fn reconnect(&mut self, why: &str) {
        let wait = self.pause();
        warn!(why, retry_in = ?wait, "lost the ear, making another");
        self.queue.clear();
        self.stumbles.clear();
        // Connections that belong to the same outage would each be found dead one by one.
        self.context.pool.retain(|_, _| false);
        self.phase = Phase::Connecting(tokio::spawn(self.recipe.clone().lead(wait)));
    }

    /// The pause before the next ear: none after a term that served, growing after those that did not.
    fn pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(step) => RECONNECT.delay(step, fastrand::f64()),
        }
    }

    fn on_heard(&mut self, heard: Heard) -> Result<(), RunError> {
        if let Some(why) = heard.lost {
            self.reconnect(&why);
            return Ok(());
        }
        let now = self.now();
        for (key, cause) in heard.keys {
            self.wake(key, cause, now);
        }
        self.every_row |= heard.resync;
        if heard.scan || heard.resync {
            self.want_scan();
        }
        Ok(())
    }

    fn wake(&mut self, key: Key, cause: Cause, now: Moment) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        if leader.tables.contains_key(&key.watched_id) {
            self.queue.wake(key, cause, now);
        } else {
            // A table that is watched since the last scan. One that is under way may have read the log
            // before this change was in it.
            self.want_scan();
        }
    }

    fn want_scan(&mut self) {
        if let Phase::Leading(leader) = &mut self.phase {
            leader.scan_wanted = true;
        }
    }

    fn on_scanned(&mut self, result: Result<Backlog, StoreError>) -> Result<(), RunError> {
        let Phase::Leading(leader) = &mut self.phase else {
            return Ok(());
        };
        leader.scanning = false;
        match result {
            Ok(Backlog { tables, keys, .. }) => {
                self.failures = 0;
                for table in tables
                    .values()
                    .filter(|table| !table.missing_triggers.is_empty())
                {
                    report_missing(&table.relation, &table.missing_triggers);
                }
                leader.tables = tables;
                if !leader.announced {
                    leader.announced = true;
                    info!(instances = keys.len(), "serving");
                } else {
                    debug!(instances = keys.len(), "change log scanned");
                }
                let known = |key: &Key| leader.tables.contains_key(&key.watched_id);
                // What a dropped table has left behind stays until it is unwatched.
                let keys: Vec<_> = keys.into_iter().filter(|(key, _)| known(key)).collect();
                let now = self.now();
                for (key, cause) in keys {
                    self.queue.wake(key, cause, now);
                }
                Ok(())
            }
            Err(failure) => {
                // A gap in knowing: do all of it again.
                if let Policy::End(advice) = failure.policy() {
                    return Err(RunError::End {
                        advice,
                        source: Box::new(failure.into()),
                    });
                }
                self.reconnect(&crate::telemetry::chain(&failure));
                Ok(())
            }
        }
    }

    fn on_echoed(&mut self, result: Result<MissingTriggers, EarError>) -> Result<(), RunError> {
        let Phase::Leading(leader) = &mut self.phase else {
            return Ok(());
        };
        match result {
            Ok(missing) => {
                debug!("echo heard");
                leader.echo_due = Some(Instant::now() + self.recipe.echo_interval);
                missing
                    .iter()
                    .for_each(|(table, triggers)| report_missing(table, triggers));
                if self.every_row {
                    self.want_scan();
                }
            }
            Err(failure) => {
                let former = leader.identity;
                let context = Arc::clone(&self.context);
                self.reconnect(&crate::telemetry::chain(&failure));
                // Its session may live on at the server and hold the lock that the next ear needs.
                tokio::spawn(async move {
                    if let Err(failure) = store::end_former_ear(&context.pool, former).await {
                        debug!(
                            error = crate::telemetry::chain(&failure),
                            "could not end the former ear"
                        );
                    }
                });
            }
        }
        Ok(())
    }

    fn on_looked(
        &mut self,
        key: Key,
        epoch: Uuid,
        result: Option<Result<End, StoreError>>,
    ) -> Result<(), RunError> {
        let now = self.now();
        self.give_way.remove(&key);
        let end = match result {
            Some(Ok(end)) => end,
            // Dropped or renamed: the next scan knows.
            Some(Err(failure)) if failure.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                End::UnknownTable
            }
            Some(Err(failure)) => {
                if let Policy::End(advice) = failure.policy() {
                    return Err(RunError::End {
                        advice,
                        source: Box::new(failure.into()),
                    });
                }
                warn!(
                    instance = %key.instance_id,
                    error = crate::telemetry::chain(&failure),
                    advice = failure.advice(),
                    "look failed, will be repeated"
                );
                End::Stumbled
            }
            None => End::Stumbled,
        };
        if end != End::Stumbled {
            self.stumbles.remove(&key);
        }
        let next = match end {
            End::Settled => Next::Settled,
            End::Again { after, hold_drift } => Next::At {
                due: now + after,
                hold_drift,
            },
            End::Overtaken => Next::At {
                due: now,
                hold_drift: false,
            },
            End::Stumbled => {
                let stumbles = self.stumbles.entry(key).or_default();
                let due = now + STUMBLE.delay(*stumbles, fastrand::f64());
                *stumbles = stumbles.saturating_add(1);
                Next::At {
                    due,
                    hold_drift: false,
                }
            }
            End::UnknownTable => {
                self.want_scan();
                Next::Settled
            }
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
}

/// They are never made again in silence: somebody removed them, and what they missed is unknown.
fn report_missing(table: &str, triggers: &[String]) {
    error!(
        table,
        triggers = triggers.join(", "),
        "triggers are missing or disabled: changes of this table are not seen; run `auth-reconciler migrate`"
    );
}

/// One look, within its span; `None` if it panicked, which is reported and skipped, not spread.
async fn guarded_look(context: Arc<Context>, task: Task) -> Done {
    let (key, epoch) = (task.key, task.epoch);
    let table = task
        .tables
        .get(&key.watched_id)
        .map(|table| table.relation.clone())
        .unwrap_or_default();
    let span = info_span!("look", instance = %key.instance_id, table);
    let result = AssertUnwindSafe(look::look(context, task))
        .catch_unwind()
        .instrument(span)
        .await;
    if result.is_err() {
        error!(instance = %key.instance_id, "a look panicked; it will be repeated, please report this");
    }
    Done::Looked {
        key,
        epoch,
        result: result.ok(),
    }
}
