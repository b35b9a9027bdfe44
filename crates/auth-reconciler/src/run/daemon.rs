//! Holds the connections and tasks, carries out what the controller commands, and tells it what comes of it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::{
    Command, Controller, EngineNews, Failure, Input, Notified, Outcome, Reconciled, Settings, Stop,
    Task, Work,
};
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use super::follower::Follower;
use super::lead::{LeadError, Leader, Reached, Recipe};
use super::look::{Context, Job, Report, look};
use super::{Options, RunError, notice, standby, work};
use crate::clock::Clock;
use crate::postgres::ear::Ear;
use crate::postgres::listener::Identity;
use crate::postgres::store;
use crate::telemetry::chain;

/// What there is beside the controller.
pub(super) struct Daemon {
    context: Arc<Context>,
    recipe: Recipe,
    shutdown_limit: Duration,
    clock: Clock,
    controller: Controller,
    pub(super) link: Link,
    connecting: Option<AbortHandle>,
    pub(super) jobs: JoinSet<Done>,
    running: HashMap<Key, Running>,
    followers: HashMap<Key, Follower>,
}

/// The connection that listens.
pub(super) enum Link {
    /// There is none, or it is being made.
    Down,
    /// It waits for the lock.
    Waiting(Box<Ear>),
    /// It holds the lock.
    Leading(Box<Leader>),
}

/// What a task brought back.
pub(super) enum Done {
    /// A try to lead.
    Reached(Result<Reached, LeadError>),
    /// Work of a term.
    Worked(Box<work::Outcome>),
    /// A reconciliation.
    Reconciled(Box<Reconciled>),
}

/// What the link tells.
pub(super) enum News {
    Notified(Notified),
    Engine(Box<EngineNews>),
}

/// How a reconciliation under way is told something.
struct Running {
    stop: watch::Sender<Option<Stop>>,
    overwritten: Arc<Notify>,
}

impl Link {
    /// Waits for what it tells.
    pub(super) async fn news(&self) -> News {
        let Self::Leading(leader) = self else {
            return std::future::pending().await;
        };
        let Some(watch) = &leader.watch else {
            return News::Notified(leader.inbox.fetch().await);
        };
        tokio::select! {
            notified = leader.inbox.fetch() => News::Notified(notified),
            seen = watch.sightings().fetch() => News::Engine(Box::new(seen)),
        }
    }
}

impl Daemon {
    pub(super) fn new(options: Options) -> Self {
        let context = Arc::new(options.context);
        let clock = Clock::start();
        let recipe = Recipe {
            ear: options.ear,
            other_way: options.other_way,
            expected_tables: options.expected_tables,
            context: Arc::clone(&context),
            echo_interval: options.echo_interval,
            echo_limit: options.echo_limit,
            clock,
        };
        let controller = Controller::new(Settings {
            limits: options.limits,
            follow: options.follow,
            echo_interval: options.echo_interval,
            believe_silence_after: context.policy.believe_silence_after,
            has_engine: context.engine.is_some(),
            seed: fastrand::u64(..),
        });
        Self {
            context,
            recipe,
            shutdown_limit: options.shutdown_limit,
            clock,
            controller,
            link: Link::Down,
            connecting: None,
            jobs: JoinSet::new(),
            running: HashMap::new(),
            followers: HashMap::new(),
        }
    }

    /// Carries out whatever is to be done now.
    pub(super) fn dispatch(&mut self) -> Result<(), RunError> {
        while let Some(command) = self.controller.next(self.clock.now()) {
            self.carry_out(command)?;
        }
        Ok(())
    }

    /// When there will be something to do though nothing happens until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = self.controller.deadline(self.clock.now());
        deadline.map(|moment| self.clock.at(moment))
    }

    fn carry_out(&mut self, command: Command) -> Result<(), RunError> {
        match command {
            Command::Connect { after } => self.connect(self.recipe.clone().connect(after)),
            Command::WaitForLock => {
                if let Link::Waiting(ear) = std::mem::replace(&mut self.link, Link::Down) {
                    self.connect(self.recipe.clone().wait_for_lock(ear));
                }
            }
            Command::RingLeader => {
                let context = Arc::clone(&self.context);
                tokio::spawn(async move { standby::ring(&context.pool).await });
            }
            Command::Depose { leader, news } => {
                let context = Arc::clone(&self.context);
                tokio::spawn(async move { standby::depose(&context.pool, leader, news).await });
            }
            Command::Leave { end_session } => self.leave(end_session),
            Command::Reconcile(task) => self.reconcile(*task),
            Command::EndProbe { key, stop } => {
                if let Some(running) = self.running.get(&key) {
                    // What it was asked to do at once is not put off.
                    let told = Some(stop);
                    running.stop.send_modify(|stop| *stop = told.max(*stop));
                }
            }
            Command::Overwritten { key } => {
                if let Some(running) = self.running.get(&key) {
                    running.overwritten.notify_one();
                }
            }
            Command::Follow {
                key,
                serial,
                container,
                path,
            } => {
                if let Link::Leading(leader) = &self.link
                    && let Some(watch) = &leader.watch
                {
                    let follower = Follower::begin(watch, key, serial, container, path);
                    self.followers.insert(key, follower);
                }
            }
            Command::Unfollow { key } => drop(self.followers.remove(&key)),
            Command::Do { epoch, work } => self.work(epoch, work),
            Command::Say(notice) => notice::say(notice, &self.context.prober.url),
            Command::End(ending) => return Err(ending.into()),
        }
        Ok(())
    }

    fn connect(&mut self, lead: impl Future<Output = Result<Reached, LeadError>> + Send + 'static) {
        let job = async move { Done::Reached(lead.await) };
        self.connecting = Some(self.jobs.spawn(job));
    }

    fn leave(&mut self, end_session: bool) {
        let Link::Leading(leader) = std::mem::replace(&mut self.link, Link::Down) else {
            return;
        };
        if leader.inbox.take_resync() {
            let notified = Notified {
                resync: true,
                ..Notified::default()
            };
            self.tell(Input::Notified(notified));
        }
        self.context.give_up_connections();
        if end_session {
            let (context, former) = (Arc::clone(&self.context), leader.identity);
            tokio::spawn(async move { end_session_of(&context, former).await });
        }
    }

    fn reconcile(&mut self, task: Task) {
        let Link::Leading(leader) = &self.link else {
            return;
        };
        let (stop, stopped) = watch::channel(None);
        let overwritten = Arc::new(Notify::new());
        let running = Running {
            stop,
            overwritten: Arc::clone(&overwritten),
        };
        self.running.insert(task.key, running);
        let sightings = leader.watch.as_ref().map(|watch| watch.sightings());
        let job = Job {
            task,
            tables: Arc::clone(&leader.tables),
            stop: stopped,
            overwritten,
            sightings: sightings.map(Arc::clone),
            clock: self.clock,
        };
        self.jobs.spawn(guarded(Arc::clone(&self.context), job));
    }

    fn work(&mut self, epoch: Uuid, work: Work) {
        if let Link::Leading(leader) = &self.link
            && leader.epoch == epoch
        {
            let place = work::Place::of(leader, &self.context, self.recipe.echo_limit);
            self.jobs
                .spawn(async move { Done::Worked(Box::new(place.carry_out(work).await)) });
        }
    }

    pub(super) fn on_news(&mut self, news: News) {
        self.tell(match news {
            News::Notified(notified) => Input::Notified(notified),
            News::Engine(news) => Input::Engine(*news),
        });
    }

    pub(super) fn on_done(&mut self, done: Result<Done, JoinError>) -> Result<(), RunError> {
        match done.map_err(RunError::Task)? {
            Done::Reached(reached) => self.on_reached(reached),
            Done::Worked(outcome) => {
                let work::Outcome { input, tables } = *outcome;
                if let Some((epoch, tables, expected)) = tables
                    && let Link::Leading(leader) = &mut self.link
                    && leader.epoch == epoch
                {
                    leader.tables = tables;
                    leader.expected = expected.into();
                }
                self.tell(input);
            }
            Done::Reconciled(reconciled) => {
                self.running.remove(&reconciled.key);
                // What was heard before its end is told before it.
                if let Link::Leading(leader) = &self.link
                    && let Some(watch) = &leader.watch
                {
                    let sounds = watch.sightings().sounds();
                    self.tell(Input::Sounds(sounds));
                }
                self.tell(Input::Reconciled(reconciled));
            }
        }
        Ok(())
    }

    fn on_reached(&mut self, reached: Result<Reached, LeadError>) {
        self.connecting = None;
        let input = match reached {
            Ok(Reached::Leads(leader)) => {
                let (epoch, tables) = (leader.epoch, leader.tables.keys().copied().collect());
                self.link = Link::Leading(leader);
                Input::Led { epoch, tables }
            }
            Ok(Reached::StandsBy(ear, sight)) => {
                self.link = Link::Waiting(ear);
                Input::StandsBy(sight)
            }
            Err(failure) => Input::NotLed(Failure::from(&failure)),
        };
        self.tell(input);
    }

    fn tell(&mut self, input: Input) {
        self.controller.handle(input, self.clock.now());
    }

    /// Lets what is in flight end, within the limit, and closes the listener.
    pub(super) async fn finish(mut self) {
        if let Some(connecting) = &self.connecting {
            connecting.abort();
        }
        info!(in_flight = self.controller.in_flight(), "stopping");
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
}

/// A session of ours that fell silent may live on at the server and hold the lock that the next listener needs.
async fn end_session_of(context: &Context, former: Identity) {
    if let Err(failure) = store::end_former_ear(&context.pool, former).await {
        debug!(error = chain(&failure), "could not end the former ear");
    }
}

/// One reconciliation, within its span; one that panics is reported and repeated, not spread.
async fn guarded(context: Arc<Context>, mut job: Job) -> Done {
    let Task { key, epoch, .. } = job.task;
    let table = job
        .tables
        .get(&key.watched_id)
        .map(|table| table.relation.clone())
        .unwrap_or_default();
    let span = info_span!("look", instance = %key.instance_id, table);
    let mut report = Report::default();
    let looked = AssertUnwindSafe(look(&context, &mut job, &mut report))
        .catch_unwind()
        .instrument(span)
        .await;
    let outcome = match looked {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => Outcome::Failed(Failure::from(&failure)),
        Err(_) => {
            error!(instance = %key.instance_id, "a look panicked; it will be repeated, please report this");
            Outcome::Transient
        }
    };
    Done::Reconciled(Box::new(Reconciled {
        key,
        epoch,
        changes: report.changes,
        clocks: report.clocks,
        word: report.word,
        outcome,
    }))
}
