//! A scene whose daemon follows an engine's containers, and the containers themselves.

use anyhow::{Context, Result};
use auth_reconciler_tests::daemon::Setting;
use auth_reconciler_tests::docker::{Container, Engine, Reach, Spec, reach};
use auth_reconciler_tests::watcher::Watcher;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::arena::Scene;

/// The user in the containers: who the tests' server lets in.
const ROOT: (u32, u32) = (0, 0);

/// A backoff so long that no test sees a look of its making.
pub(crate) const NO_BACKOFF: [Setting<'_>; 2] = [
    ("AUTH_RECONCILER_BACKOFF_MIN", "10m"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "10m"),
];

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
            "select coalesce(bool_or(engine = '{what}'), false) from auth_reconciler.reconcilers where role = 'active'"
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

    /// An instance whose container is ready, and which is recorded so.
    pub(crate) async fn ready(&self) -> Result<Container> {
        let spec = self.spec()?.at_once();
        let id = self.insert(&spec).await?;
        let container = self.engine.run(spec).await?;
        self.watcher.wait_status(id, "client_ready").await?;
        Ok(container)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.scene.client
    }

    /// One text of the operator's view.
    pub(crate) async fn told(&self, id: Uuid, column: &str) -> Result<String> {
        match &self.scene.status(id).await?[column] {
            Value::String(text) => Ok(text.clone()),
            other => Ok(other.to_string()),
        }
    }

    /// Status, reason and cause of the last move.
    pub(crate) async fn last_move(&self, id: Uuid) -> Result<[String; 3]> {
        let history = self.scene.history(id).await?;
        let [_, to, reason, cause] = history.last().context("no move")?.clone();
        Ok([to, reason, cause])
    }
}
