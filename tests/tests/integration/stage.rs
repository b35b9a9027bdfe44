//! The usual scene: a database with the manager's table, and the real daemon serving it with a log at DEBUG.
//!
//! A verdict is waited for in the daemon's log, which names it only after it was committed; what counts is then read
//! where an operator reads it, in `auth_reconciler.instances`.

use std::panic::Location;

use anyhow::{Context, Result, bail, ensure};
use auth_reconciler_tests::daemon::{Daemon, LogLine, Setting};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use tokio_postgres::Client;
use uuid::Uuid;

/// A database, the manager's table in it, and a daemon.
pub(crate) struct Stage {
    // First, so that it is gone before its database is dropped.
    pub(crate) daemon: Daemon,
    pub(crate) table: ManagerTable,
    pub(crate) client: Client,
    pub(crate) database: TestDatabase,
}

/// What an operator sees of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    pub(crate) trouble: bool,
    /// Not final: it is looked at again without an event.
    pub(crate) again: bool,
}

impl Stage {
    /// Serves `public.message_instances` with these settings.
    #[track_caller]
    pub(crate) fn start(settings: &[Setting<'_>]) -> impl Future<Output = Result<Self>> {
        Self::serving(ManagerTable::message_instances(), "", settings)
    }

    /// Serves `table`, after `change` was done to it, with these settings.
    pub(crate) async fn serving(
        table: ManagerTable,
        change: &str,
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let database = TestDatabase::shared().await?;
        let client = database.client().await?;
        table.create(&client).await?;
        client.batch_execute(change).await?;
        let debug = [
            ("RUST_LOG", "auth_reconciler=debug"),
            ("AUTH_RECONCILER_TABLE", table.name()),
        ];
        let settings: Vec<_> = debug.into_iter().chain(settings.iter().copied()).collect();
        let daemon = Daemon::start(&database, &settings).await?;
        Ok(Self {
            daemon,
            table,
            client,
            database,
        })
    }

    /// A Telegram instance with this port and key.
    pub(crate) async fn telegram(&self, port: u16, key: &str) -> Result<Uuid> {
        let id = Uuid::new_v4();
        self.table
            .insert(&self.client, id, Some(port), Some(key))
            .await?;
        Ok(id)
    }

    /// Waits until a look after `mark` recorded `reason` for the instance.
    #[track_caller]
    pub(crate) fn recorded(
        &self,
        mark: usize,
        id: Uuid,
        reason: &str,
    ) -> impl Future<Output = Result<LogLine>> {
        let caller = Location::caller();
        let (id, reason) = (id.to_string(), reason.to_owned());
        async move {
            let what = format!("the record of {reason} for {id}, awaited at {caller}");
            self.daemon
                .wait_line(mark, &what, |line| {
                    (line.is("status written") || line.is("status is right"))
                        && line.has("instance", &id)
                        && line.has("reason", &reason)
                })
                .await
        }
    }

    /// Waits until the instance has this status for this reason, as the operator sees it.
    #[track_caller]
    pub(crate) fn expect(
        &self,
        id: Uuid,
        status: Option<&str>,
        reason: &str,
    ) -> impl Future<Output = Result<Seen>> {
        let caller = Location::caller();
        let recorded = self.recorded(0, id, reason);
        let (status, reason) = (status.map(str::to_owned), reason.to_owned());
        async move {
            let context = || format!("{caller}: {id} was to be {status:?} because of {reason}");
            recorded.await.with_context(context)?;
            let seen = self.seen(id).await.with_context(context)?;
            if seen.status != status || seen.reason.as_deref() != Some(&reason) {
                bail!("{}, and is {seen:?}", context());
            }
            Ok(seen)
        }
    }

    /// What an operator sees of the instance now.
    pub(crate) async fn seen(&self, id: Uuid) -> Result<Seen> {
        let row = self
            .client
            .query_one(
                "select auth_status, reason, coalesce(message, ''), trouble,
                        next_attempt_at is not null
                 from auth_reconciler.instances where id = $1",
                &[&id],
            )
            .await?;
        Ok(Seen {
            status: row.try_get(0)?,
            reason: row.try_get(1)?,
            message: row.try_get(2)?,
            trouble: row.try_get(3)?,
            again: row.try_get(4)?,
        })
    }

    /// A causal barrier: has the instance looked at once more, and waits until that is recorded with `reason`.
    #[track_caller]
    pub(crate) fn look_again(&self, id: Uuid, reason: &str) -> impl Future<Output = Result<()>> {
        let (recorded, client) = (self.recorded(self.daemon.mark(), id, reason), &self.client);
        async move {
            client
                .execute("select auth_reconciler.reconcile($1)", &[&id])
                .await?;
            recorded.await?;
            Ok(())
        }
    }

    /// Fails if the daemon has ended or a look of it has panicked.
    pub(crate) fn ensure_unharmed(&self) -> Result<()> {
        ensure!(self.daemon.is_running(), "the daemon has ended");
        let panicked = self.daemon.count(|line| line.text.contains("panicked"));
        ensure!(panicked == 0, "{panicked} lines speak of a panic");
        Ok(())
    }

    /// Ends the daemon and drops the database.
    pub(crate) async fn close(self) -> Result<()> {
        drop(self.daemon);
        drop(self.client);
        self.database.close().await
    }
}
