//! What most tests begin with: a database of their own with the manager's table in it, and the manager's session.

use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::listener;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::stub::Stub;
use auth_reconciler_tests::watcher::Watcher;
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

/// The key of instances whose key does not matter.
pub(crate) const KEY: &str = "0a1b2c3d-a-key-that-does-not-matter";

/// No change waits, and every row with a key is ready, every other one pending: what must be true of instances whose
/// API answers READY.
pub(crate) const ALL_TRUE: &str = "select not exists (select from auth_reconciler.change) and not exists (
    select from public.message_instances as m
    left join auth_reconciler.instance as i on i.instance_id = m.id
    where m.auth_status is distinct from case when m.api_key is null then 'pending' else 'client_ready' end
        or i.auth_status is distinct from m.auth_status or not i.settled)";

/// The sessions of a daemon's ear, newest first.
pub(crate) const EARS: &str = "select pid from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler ear %' order by backend_start desc";

pub(crate) struct Scene {
    pub(crate) database: TestDatabase,
    pub(crate) table: ManagerTable,
    /// The manager's session (a superuser's).
    pub(crate) manager: Client,
}

impl Scene {
    /// On the server that all tests share.
    pub(crate) async fn shared() -> Result<Self> {
        Self::of(TestDatabase::shared().await?).await
    }

    /// On the server of this URL.
    pub(crate) async fn on(server: &str) -> Result<Self> {
        Self::of(TestDatabase::create(server).await?).await
    }

    /// In this database.
    pub(crate) async fn of(database: TestDatabase) -> Result<Self> {
        let manager = database.client().await?;
        let table = ManagerTable::message_instances();
        table.create(&manager).await?;
        Ok(Self {
            database,
            table,
            manager,
        })
    }

    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    /// Runs `migrate`, which must succeed.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let done = run_command(self.url(), &["migrate"], &[]).await?;
        ensure!(done.code == Some(0), "migrate failed: {}", done.stderr);
        Ok(())
    }

    /// A new instance on this port, with [`KEY`].
    pub(crate) async fn instance(&self, port: u16) -> Result<Uuid> {
        let id = Uuid::new_v4();
        self.table
            .insert(&self.manager, id, Some(port), Some(KEY))
            .await?;
        Ok(id)
    }

    pub(crate) async fn watcher(&self) -> Result<Watcher> {
        Watcher::start(self.url(), &self.table).await
    }

    /// One value of one row.
    pub(crate) async fn value<T>(&self, sql: &str) -> Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        Ok(self.manager.query_one(sql, &[]).await?.try_get(0)?)
    }

    /// As [`eventually`], in the manager's session.
    #[track_caller]
    pub(crate) fn eventually(&self, sql: &str) -> impl Future<Output = Result<()>> {
        eventually(&self.manager, sql)
    }

    /// A look at this instance that an operator asked for, from its beginning to its record. Whatever the daemon would
    /// have done before it in the order of its events is done then.
    pub(crate) async fn looked_at(&self, daemon: &Daemon, id: Uuid) -> Result<()> {
        let mark = daemon.mark();
        self.manager
            .execute("select auth_reconciler.reconcile($1)", &[&id])
            .await?;
        let id = id.to_string();
        daemon
            .wait_line(mark, "the look that was asked for", |line| {
                line.is("row read fresh") && line.has("instance", &id)
            })
            .await?;
        self.eventually("select not exists (select from auth_reconciler.change)")
            .await
    }
}

/// A session that hears what anybody may hear on the channel of the daemon: every payload, as it was sent.
pub(crate) struct Eavesdropper {
    payloads: watch::Sender<Vec<String>>,
    _client: Client,
}

impl Eavesdropper {
    pub(crate) async fn start(scene: &Scene) -> Result<Self> {
        Self::on(scene, "auth_reconciler").await
    }

    /// On another channel.
    pub(crate) async fn on(scene: &Scene, channel: &str) -> Result<Self> {
        let payloads = watch::Sender::new(Vec::new());
        let heard = payloads.clone();
        let hear = move |payload: &str| {
            heard.send_modify(|heard| heard.push(payload.to_owned()));
            Ok(())
        };
        let client = listener::connect(scene.url(), hear, drop).await?;
        client.batch_execute(&format!("listen {channel}")).await?;
        Ok(Self {
            payloads,
            _client: client,
        })
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.payloads.borrow().clone()
    }

    /// Waits until this was heard.
    #[track_caller]
    pub(crate) fn hears(&self, payload: &str) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let mut payloads = self.payloads.subscribe();
        async move {
            let heard = payloads.wait_for(|payloads| payloads.iter().any(|heard| heard == payload));
            within(PATIENCE, caller, payload, heard).await??;
            Ok(())
        }
    }

    /// Waits until so many echoes of the daemon were heard from now on.
    #[track_caller]
    pub(crate) fn echoes(&self, count: usize) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let mut payloads = self.payloads.subscribe();
        let before = payloads.borrow().len();
        async move {
            let heard = payloads.wait_for(|payloads| {
                let new = payloads[before..].iter();
                new.filter(|payload| payload.starts_with("echo/")).count() >= count
            });
            within(PATIENCE, caller, "echoes", heard).await??;
            Ok(())
        }
    }
}

/// Waits until `sql` (one boolean) is true. It asks again and again: sessions and locks of the server, and the end of
/// a look that writes nothing, tell nobody of themselves. How often it asks decides nothing.
#[track_caller]
pub(crate) fn eventually(client: &Client, sql: &str) -> impl Future<Output = Result<()>> {
    let caller = Location::caller();
    async move {
        let asked = async {
            loop {
                if client.query_one(sql, &[]).await?.try_get(0)? {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(PATIENCE, caller, sql, asked).await?
    }
}

/// The one stub's port for every instance.
pub(crate) async fn insert_many(scene: &Scene, stub: &Stub, count: usize) -> Result<Vec<Uuid>> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(
            scene
                .instance(stub.port())
                .await
                .context("insert an instance")?,
        );
    }
    Ok(ids)
}
