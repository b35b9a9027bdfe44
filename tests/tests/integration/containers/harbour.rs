//! A scene whose daemon follows an engine's containers, and the containers themselves.

use anyhow::{Context, Result};
use auth_reconciler_tests::daemon::{LogLine, Setting};
use auth_reconciler_tests::docker::{Container, Engine, Phase, Reach, Spec, reach};
use auth_reconciler_tests::instance::Telegram;
use auth_reconciler_tests::watcher::Watcher;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::arena::{KEY, Record, Scene};

/// The user in the containers: who the tests' server lets in.
pub(super) const ROOT: (u32, u32) = (0, 0);

/// A backoff so long that no test sees a look of its making.
pub(crate) const NO_BACKOFF: [Setting<'_>; 2] = [
    ("AUTH_RECONCILER_BACKOFF_MIN", "10m"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "10m"),
];

/// Settings beside [`NO_BACKOFF`].
pub(crate) fn without_backoff<'a>(more: &[Setting<'a>]) -> Vec<Setting<'a>> {
    [&NO_BACKOFF[..], more].concat()
}

/// The engine tells late of a start, and a busy machine hears it later: of what was counted before, so many looks may
/// still have been to come. What must not be asked again and again is far beyond.
pub(crate) const LATE: u64 = 1;

/// Whether the container itself led to a look: by its output, or by an event of its start, which a busy engine may tell
/// so late that the look is named after it.
pub(crate) fn by_the_container(cause: &str) -> bool {
    cause.starts_with("container ")
}

pub(crate) struct Harbour {
    pub(crate) scene: Scene,
    pub(crate) watcher: Watcher,
    pub(crate) engine: Engine,
    way: Reach,
}

impl Harbour {
    /// On the engine that all tests share.
    pub(crate) async fn shared(settings: &[Setting<'_>]) -> Result<Self> {
        let engine = Engine::shared().await?;
        let url = engine.url();
        Self::open(engine, &url, settings).await
    }

    /// On this engine, which the daemon reaches at `url`; returns when the daemon sees it.
    pub(crate) async fn open(engine: Engine, url: &str, settings: &[Setting<'_>]) -> Result<Self> {
        let mut all = vec![("AUTH_RECONCILER_DOCKER", url)];
        all.extend(settings);
        let scene = Scene::start(&all).await?;
        let harbour = Self {
            way: reach(scene.database.url()).await,
            watcher: scene.watch().await?,
            engine,
            scene,
        };
        harbour.sees_engine().await?;
        Ok(harbour)
    }

    /// Waits until the daemon says that it sees the engine.
    pub(crate) async fn sees_engine(&self) -> Result<()> {
        self.says_of_engine("seen").await
    }

    /// Waits until the view `reconcilers` says this of the engine.
    pub(crate) async fn says_of_engine(&self, what: &str) -> Result<()> {
        let asked = format!(
            "select coalesce(bool_or(engine = '{what}'), false) from auth_reconciler.reconciler_details where role = 'active'"
        );
        crate::scene::eventually(&self.scene.client, &asked).await
    }

    /// A container of a new instance that can write its row; a real one's times unless changed.
    pub(crate) fn spec(&self) -> Result<Spec> {
        Ok(self
            .way
            .clone()
            .apply(Spec::new(), ROOT)
            .port(Engine::port()?))
    }

    /// The row that the manager makes before it starts the container: pending, with a port, without a key.
    pub(crate) async fn insert(&self, spec: &Spec) -> Result<Uuid> {
        let settings = &spec.settings;
        let (table, client) = (&self.scene.table, &self.scene.client);
        table
            .insert(client, settings.id, Some(settings.port), None)
            .await?;
        Ok(settings.id)
    }

    /// A container that writes to no database and stays disconnected until it is told `control("ready")`.
    pub(crate) fn waiting_spec(&self) -> Result<Spec> {
        let spec = Spec::new().at_once().port(Engine::port()?);
        Ok(spec.with(|settings| settings.telegram = Telegram::Fails))
    }

    /// The row of an instance that has everything but a container.
    pub(crate) async fn insert_with_key(&self, spec: &Spec) -> Result<Uuid> {
        let settings = &spec.settings;
        let (table, client) = (&self.scene.table, &self.scene.client);
        table
            .insert(client, settings.id, Some(settings.port), Some(KEY))
            .await?;
        Ok(settings.id)
    }

    /// An instance whose container is ready, and which is recorded so.
    pub(crate) async fn ready(&self) -> Result<Container> {
        self.ready_as(self.spec()?).await
    }

    /// The same for a container that is to be ready at once but otherwise like this.
    pub(crate) async fn ready_as(&self, spec: Spec) -> Result<Container> {
        let spec = spec.at_once();
        let id = self.insert(&spec).await?;
        let container = self.engine.run(spec).await?;
        self.watcher.wait_status(id, "client_ready").await?;
        Ok(container)
    }

    /// An instance whose container listens, and is recorded as not ready; see [`Harbour::waiting_spec`].
    pub(crate) async fn waiting(&self, spec: Spec) -> Result<Container> {
        let mark = self.scene.records.mark();
        let id = self.insert_with_key(&spec).await?;
        let container = self.engine.run(spec).await?;
        self.not_ready(mark, id).await?;
        container.reached(Phase::Listening).await?;
        Ok(container)
    }

    /// A look after `mark` found its container running and not ready. In the first second of a life that is
    /// called starting, and without a clock nothing may ask again.
    pub(crate) async fn not_ready(&self, mark: usize, id: Uuid) -> Result<()> {
        let reasons = ["ApiStarting", "TelegramConnecting"];
        let records = &self.scene.records;
        records
            .wait(mark, "a look that finds it not ready", |record| {
                record.id == id
                    && record
                        .text("reason")
                        .is_some_and(|it| reasons.contains(&it))
            })
            .await?;
        Ok(())
    }

    /// Returns when everything that the engine has told of until now has led to the looks that it leads to: something
    /// happens to another container, and the look at that one is recorded.
    pub(crate) async fn caught_up(&self, other: &Container) -> Result<()> {
        let id = other.instance();
        // What else still wakes it would give the look its name.
        self.scene.reconcile(id).await?;
        loop {
            let mark = self.scene.records.mark();
            // A signal that nothing reacts to.
            other.kill("WINCH").await?;
            let told = |record: &Record| record.id == id;
            let look = self.scene.records.wait(mark, "a look at it", told).await?;
            // Else it was named after a late event of its start, and may have come before the signal; or the record of that
            // look met a lock, and was made by another one.
            if look.text("cause") == Some("container kill") {
                return Ok(());
            }
        }
    }

    /// How many looks at an instance were begun, whether they came to a record or not.
    pub(crate) fn looks(&self, id: Uuid) -> usize {
        let id = id.to_string();
        self.scene
            .daemon
            .count(|line| line.is("row read fresh") && line.has("instance", &id))
    }

    /// Whether the look that wrote this status last asked the API. Needs the log at DEBUG.
    pub(crate) async fn was_asked(&self, id: Uuid, status: &str) -> Result<bool> {
        let (id, daemon) = (id.to_string(), &self.scene.daemon);
        let wrote = |line: &LogLine| {
            line.is("status written") && line.has("instance", &id) && line.has("to", status)
        };
        daemon.wait_line(0, "the status in the log", wrote).await?;
        let log = daemon.log();
        let mut of_it = log.iter().rev().filter(|line| line.has("instance", &id));
        of_it.find(|line| wrote(line));
        let mut look = of_it.take_while(|line| !line.is("row read fresh"));
        Ok(look.any(|line| line.is("api asked")))
    }

    /// How many looks at an instance were recorded.
    pub(crate) async fn recorded_looks(&self, id: Uuid) -> Result<i64> {
        let statement = "select looks from auth_reconciler.instance where instance_id = $1";
        Ok(self
            .client()
            .query_one(statement, &[&id])
            .await?
            .try_get(0)?)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.scene.client
    }

    /// One text of the operator's view.
    pub(crate) async fn told(&self, id: Uuid, column: &str) -> Result<String> {
        let told = &self.scene.status(id).await?[column];
        Ok(told
            .as_str()
            .map_or_else(|| told.to_string(), str::to_owned))
    }

    /// Status, reason and cause of the last move.
    pub(crate) async fn last_move(&self, id: Uuid) -> Result<[String; 3]> {
        let history = self.scene.history(id).await?;
        let [_, to, reason, cause] = history.last().context("no move")?.clone();
        Ok([to, reason, cause])
    }
}
