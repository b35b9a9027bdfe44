//! A daemon with a database of its own, and the containers that it follows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Setting};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::{Container, Engine, Reach, Spec, reach};
use auth_reconciler_tests::instance::READY_LINE;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::watcher::Watcher;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

/// For a status.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A table that nobody watches, with what is committed there in answer to a container's line.
const FLOOR: &str = "create table public.floor (id bigint generated always as identity)";

pub(crate) struct Bench {
    // Dropped in this order.
    daemon: Daemon,
    pub(crate) watcher: Watcher,
    pub(crate) client: Client,
    pub(crate) table: ManagerTable,
    way: Reach,
    pub(crate) engine: Engine,
    database: TestDatabase,
}

impl Bench {
    pub(crate) async fn open(
        server: &str,
        engine: &Engine,
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let database = TestDatabase::create(server).await?;
        let client = database.client().await?;
        let table = ManagerTable::message_instances();
        table.create(&client).await?;
        client.batch_execute(FLOOR).await?;
        let url = engine.url();
        let mut all = vec![("AUTH_RECONCILER_DOCKER", url.as_str())];
        all.extend(settings);
        let daemon = Daemon::start(&database, &all).await?;
        let way = reach(database.url()).await;
        ensure!(
            matches!(way, Reach::Socket { .. }),
            "the server's socket is not to be reached, so there would be no published port"
        );
        Ok(Self {
            daemon,
            watcher: Watcher::start(database.url(), &table).await?,
            client,
            table,
            way,
            engine: engine.clone(),
            database,
        })
    }

    /// A container that writes its row, with its row: pending, without a key.
    pub(crate) async fn create(&self, shape: impl Fn(Spec) -> Spec) -> Result<Container> {
        let spec = self.way.clone().apply(Spec::new(), (0, 0));
        let spec = shape(spec.port(Engine::port()?));
        let (id, port) = (spec.settings.id, spec.settings.port);
        let provider = spec.settings.provider.name();
        self.table
            .insert(&self.client, id, Some(port), None)
            .await?;
        self.table
            .set(&self.client, id, "provider", &provider)
            .await?;
        self.engine.create(spec).await
    }

    /// When the commit of this status was heard, after `mark`.
    pub(crate) async fn heard(&self, mark: usize, id: Uuid, status: &str) -> Result<DateTime<Utc>> {
        let seen = self
            .watcher
            .wait_for(mark, LIMIT, status, |seen| {
                seen.id == id && seen.status.as_deref() == Some(status)
            })
            .await?;
        Ok(seen.heard_at)
    }

    /// What made the look that last moved it.
    pub(crate) async fn cause(&self, id: Uuid) -> Result<String> {
        let statement = "select cause from auth_reconciler.transitions
             where instance_id = $1 and to_status = 'client_ready' order by id desc limit 1";
        Ok(self.client.query_one(statement, &[&id]).await?.try_get(0)?)
    }

    /// Somebody who commits a row as soon as this container has said that it is ready and has answered once; gives the
    /// moment at which that was done.
    pub(crate) async fn floor(
        &self,
        container: &Container,
    ) -> Result<JoinHandle<Result<DateTime<Utc>>>> {
        let mut output = container.output().await?;
        let client = self.database.client().await?;
        let port = container.port();
        let insert = client
            .prepare("insert into public.floor default values")
            .await?;
        Ok(tokio::spawn(async move {
            output.hear(READY_LINE).await?;
            let asked = auth_reconciler_tests::docker::counts_of(port).await?;
            ensure!(asked.ready_us.is_some(), "it said so");
            client.execute(&insert, &[]).await?;
            Ok(Utc::now())
        }))
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.watcher.remove().await?;
        drop(self.daemon);
        drop(self.client);
        self.database.close().await
    }
}

/// When the container became ready, by its own clock.
pub(crate) async fn ready_at(container: &Container) -> Result<DateTime<Utc>> {
    container.counts().await?.ready_at().context("it is ready")
}
