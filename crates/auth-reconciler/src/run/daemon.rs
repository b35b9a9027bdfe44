//! The loop's state, and what each event does to it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::follow::Followers;
use auth_reconciler_core::queue::{Command, Moment, Queue};
use auth_reconciler_core::rings::Rings;
use auth_reconciler_core::witness::Witnesses;
use futures_util::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tracing::{Instrument, error, info, info_span, warn};
use uuid::Uuid;

use super::containers::Follower;
use super::lead::Recipe;
use super::look::{self, Context, Task};
use super::news::Marks;
use super::troubles::Troubles;
use super::{Done, Event, Options, Phase, RunError};
use crate::postgres::ear;
use crate::postgres::faults;
use crate::postgres::tables::{Fault, Key};

/// Steps between tries after a passing failure of one look: a busy row, a lost connection.
const STUMBLE: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(60),
};

mod connecting;
mod containers;
mod hearing;
mod outcome;
pub(super) mod owed;
mod runs;
mod way;

use runs::Run;

pub(super) struct Daemon {
    context: Arc<Context>,
    recipe: Recipe,
    shutdown_limit: Duration,
    queue: Queue<Key>,
    origin: Instant,
    pub(super) jobs: JoinSet<Done>,
    runs: HashMap<Key, Run>,
    followers: Followers<Key>,
    following: HashMap<Key, Follower>,
    follower_serial: u64,
    /// It was said that the output of some container cannot be followed.
    said_unreadable: bool,
    stumbles: HashMap<Key, u32>,
    troubles: Troubles,
    /// Whether silence is theirs or ours.
    witnesses: Witnesses<Key>,
    pub(super) phase: Phase,
    /// Whether this process has led before; from then on a failure to connect is retried for ever.
    proven: bool,
    /// Terms in a row that ended, or did not begin, before a scan was done.
    failures: u32,
    /// Tries in a row to get an ear that failed.
    tries: u32,
    /// A change could not be logged: every row is to be looked at, until looks at all rows are owed.
    every_row: bool,
    /// What rang and is not heeded yet.
    rings: Rings,
    /// The log is to be read with the next echo.
    unread: bool,
    /// What looks have read and left in the log, by those of whom something was left.
    left: HashMap<Key, Marks>,
    /// What was told of watched tables that are not as they were; what their triggers missed is in no log.
    faults: Vec<Fault>,
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
        let phase = Phase::Connecting(tokio::spawn(recipe.clone().lead(Duration::ZERO, 0)));
        let witnesses = Witnesses::believing_after(context.policy.believe_silence_after);
        Self {
            context,
            recipe,
            shutdown_limit: options.shutdown_limit,
            queue: Queue::new(options.limits),
            origin: Instant::now(),
            jobs: JoinSet::new(),
            runs: HashMap::new(),
            followers: Followers::new(options.follow),
            following: HashMap::new(),
            follower_serial: 0,
            said_unreadable: false,
            stumbles: HashMap::new(),
            troubles: Troubles::default(),
            witnesses,
            phase,
            proven: false,
            failures: 0,
            tries: 0,
            every_row: false,
            rings: Rings::default(),
            unread: false,
            left: HashMap::new(),
            faults: Vec::new(),
        }
    }

    /// Starts whatever may be started now.
    pub(super) fn dispatch(&mut self) {
        self.note_engine();
        self.note_trouble();
        self.send_canaries();
        self.follow();
        self.scan();
        self.work_off();
        let now = self.now();
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        if leader.echo_due.is_some_and(|due| due <= Instant::now()) {
            leader.echo_due = None;
            let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
            let (inbox, expected) = (Arc::clone(&leader.inbox), Arc::clone(&leader.expected));
            let limit = self.recipe.echo_limit;
            self.jobs.spawn(async move {
                let result = async {
                    ear::echo(&context.pool, &inbox, limit).await?;
                    Ok(faults::faults(&context.pool, &expected).await?)
                };
                Done::Echoed {
                    epoch,
                    result: result.await,
                }
            });
        }
        if leader.containers.held(Instant::now()).is_some() {
            return;
        }
        while let Some(command) = self.queue.next(now) {
            match command {
                Command::Start { key, wake } => {
                    let known = self.witnesses.known(&key);
                    let before = self.left.get(&key).copied();
                    let (run, end) = Run::new(known, before, wake.rung);
                    let task = Task {
                        overtaken: run.overtaken(),
                        heard: run.heard(),
                        reading: run.reading(),
                        known: run.known(),
                        news: run.news(),
                        origin: self.origin,
                        sightings: leader.containers.sightings(),
                        followed: self.followers.followed(&key).map(str::to_owned),
                        key,
                        wake,
                        woken: self.origin + wake.since,
                        epoch: leader.epoch,
                        tables: Arc::clone(&leader.tables),
                        end,
                        drifted: run.drifted(),
                    };
                    self.runs.insert(key, run);
                    self.followers.begun(&key, now);
                    self.jobs
                        .spawn(guarded_look(Arc::clone(&self.context), task));
                }
                Command::GiveWay { key } => {
                    if let Some(run) = self.runs.get(&key) {
                        run.give_way();
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
                let held = leader.containers.held(Instant::now());
                // While the first looks wait, the queue has nothing to do.
                let queue = match held {
                    Some(until) => Some(until),
                    None => self.queue.deadline().map(|moment| self.origin + moment),
                };
                let hint = self.followers.deadline().map(|moment| self.origin + moment);
                let canaries = self.witnesses.deadline().map(|due| self.origin + due);
                let rings = self.rings.deadline().map(|moment| self.origin + moment);
                [queue, hint, rings, leader.echo_due, canaries]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    pub(super) fn on_event(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Connected(Ok(Ok(leader))) => {
                self.proven = true;
                self.tries = 0;
                self.witnesses.began_term(self.origin.elapsed());
                self.phase = Phase::Leading(Box::new(leader));
                Ok(())
            }
            Event::Connected(Ok(Err(failure))) => self.on_no_ear(failure),
            Event::Connected(Err(failure)) => Err(RunError::Task(failure)),
            Event::Heard(heard) => {
                self.on_heard(heard);
                Ok(())
            }
            Event::Seen(seen) => {
                self.on_seen(seen);
                Ok(())
            }
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
            Done::Compared { epoch, result } if self.leads(epoch) => self.on_compared(result),
            Done::WorkedOff { epoch, result } if self.leads(epoch) => {
                self.on_worked_off(result);
                Ok(())
            }
            Done::Noted { epoch, result } if self.leads(epoch) => {
                self.on_noted(result);
                Ok(())
            }
            Done::NotedTrouble {
                epoch,
                note,
                result,
            } if self.leads(epoch) => {
                self.on_noted_trouble(note, result);
                Ok(())
            }
            Done::Ready { epoch, result } if self.leads(epoch) => {
                self.on_ready_ones(result);
                Ok(())
            }
            // Of an earlier term; the resync of this one covers it.
            Done::Scanned { .. }
            | Done::Echoed { .. }
            | Done::Compared { .. }
            | Done::Ready { .. }
            | Done::WorkedOff { .. }
            | Done::Noted { .. }
            | Done::NotedTrouble { .. } => Ok(()),
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

    fn wake(&mut self, key: Key, cause: Cause, now: Moment) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        if leader.tables.contains_key(&key.watched_id) {
            self.queue.wake(key, cause, now);
        }
    }
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
