//! Holds the connections and tasks, carries out what the controller commands, and tells it what comes of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::{
    Command, Controller, EngineNews, Failure, Input, Notified, Probe, Settings, Stop, Work,
};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::{Instrument, debug, info, warn};
use uuid::Uuid;

use super::context::Context;
use super::follower::Follower;
use super::lead::{LeadError, Leader, Reached, Recipe};
use super::steps;
use super::{Options, RunError, notice, standby, work};
use crate::clock::Clock;
use crate::docker::sightings::Sightings;
use crate::postgres::ear::Ear;
use crate::postgres::listener::Identity;
use crate::postgres::schema::{self, SchemaError};
use crate::postgres::store;
use crate::postgres::tables::Tables;
use crate::supervisor::Supervisor;
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
    pub(super) supervisor: Supervisor,
    /// The watched tables, as of the last scan.
    tables: Tables,
    /// How each probe that is out is told to end.
    probes: HashMap<Key, watch::Sender<Option<Stop>>>,
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
    /// A step of reconciliations.
    Stepped(Input),
}

/// What the link tells.
pub(super) enum News {
    Notified(Notified),
    Engine(Box<EngineNews>),
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
    pub(super) fn new(options: Options, supervisor: Supervisor) -> Self {
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
            policy: context.policy,
            has_engine: context.engine.is_some(),
            record_lanes: options.record_lanes,
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
            supervisor,
            tables: Tables::default(),
            probes: HashMap::new(),
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
            Command::Read { batch, keys, log } => {
                let (context, tables) = (Arc::clone(&self.context), Arc::clone(&self.tables));
                self.step(steps::read(context, tables, (batch, keys, log), self.clock));
            }
            Command::Inspect { key, recorded } => {
                let span = notice::look::of(key, &self.tables);
                let context = Arc::clone(&self.context);
                self.step(steps::inspect(context, key, recorded).instrument(span));
            }
            Command::Probe(probe) => self.probe(probe),
            Command::EndProbe { key, stop } => {
                if let Some(told) = self.probes.get(&key) {
                    // What it was asked to do at once is not put off.
                    told.send_modify(|told| *told = Some(stop).max(*told));
                }
            }
            Command::Record(proposals) => {
                let tables = Arc::clone(&self.tables);
                self.step(steps::record(Arc::clone(&self.context), tables, proposals));
            }
            Command::PutOff { epoch, changes } => {
                self.step(steps::put_off(Arc::clone(&self.context), epoch, changes));
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
            Command::Say(notice) => {
                self.supervisor.hears(&notice);
                notice::say(notice, &self.context.prober.url, &self.tables);
            }
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

    fn step(&mut self, step: impl Future<Output = Input> + Send + 'static) {
        self.jobs.spawn(async move { Done::Stepped(step.await) });
    }

    fn probe(&mut self, probe: Box<Probe>) {
        let (told, stop) = watch::channel(probe.stop);
        self.probes.insert(probe.key, told);
        let context = Arc::clone(&self.context);
        let sightings = self.sightings().map(Arc::clone);
        let span = notice::look::of(probe.key, &self.tables);
        self.step(steps::probe(context, probe, stop, sightings, self.clock).instrument(span));
    }

    fn sightings(&self) -> Option<&Arc<Sightings>> {
        let Link::Leading(leader) = &self.link else {
            return None;
        };
        Some(leader.watch.as_ref()?.sightings())
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
                    self.tables = tables;
                    leader.expected = expected.into();
                }
                self.tell(input);
            }
            Done::Stepped(input) => {
                if let Input::Probed(probed) = &input {
                    self.probes.remove(&probed.key);
                }
                // What was heard before its end is told before it.
                if let Some(sightings) = self.sightings() {
                    let sounds = sightings.sounds();
                    self.tell(Input::Sounds(sounds));
                }
                self.tell(input);
            }
        }
        Ok(())
    }

    fn on_reached(&mut self, reached: Result<Reached, LeadError>) {
        self.connecting = None;
        let input = match reached {
            Ok(Reached::Leads(leader)) => {
                self.tables = Arc::clone(&leader.tables);
                let input = Input::Led {
                    epoch: leader.epoch,
                    tables: self.tables.keys().copied().collect(),
                    has_sleeper_lock: leader.has_sleeper_lock,
                };
                self.link = Link::Leading(leader);
                input
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

    /// The end in better words: whoever runs into a schema that was renamed finds only that it is not there.
    pub(super) async fn explained(&self, error: RunError) -> RunError {
        if !matches!(error, RunError::End { .. }) {
            return error;
        }
        match schema::must_exist(&self.context.pool).await {
            Err(renamed @ SchemaError::Renamed { .. }) => RunError::Renamed(renamed),
            Ok(()) | Err(_) => error,
        }
    }

    /// Lets what is in flight end, within the limit, and closes the listener.
    pub(super) async fn finish(mut self) {
        if let Some(connecting) = &self.connecting {
            connecting.abort();
        }
        info!(in_flight = self.controller.in_flight(), "stopping");
        self.supervisor.stops(self.shutdown_limit);
        self.tell(Input::Stop);
        let limit = self.shutdown_limit;
        if tokio::time::timeout(limit, self.drain()).await.is_err() {
            warn!(
                ?limit,
                "stopped with looks in flight; their changes are still in the log and will be looked at"
            );
        }
        info!("stopped");
    }
}

impl Daemon {
    /// Brings whatever is under way to its end.
    async fn drain(&mut self) {
        while self.dispatch().is_ok() {
            match self.jobs.join_next().await {
                // One that was cut off, or ends us now, ends nothing else.
                Some(done) => drop(self.on_done(done)),
                None => return,
            }
        }
    }
}

/// A session of ours that fell silent may live on at the server and hold the lock that the next listener needs.
async fn end_session_of(context: &Context, former: Identity) {
    if let Err(failure) = store::end_former_ear(&context.pool, former).await {
        debug!(error = chain(&failure), "could not end the former ear");
    }
}
