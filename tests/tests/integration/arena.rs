//! What most tests of the running daemon need: a database with the manager's table, the daemon serving it, and a
//! witness of every look that was recorded.
//!
//! The witness is what makes "nothing happened" provable without waiting: a test does a later thing whose record it
//! awaits, and then counts.

use std::panic::Location;

use anyhow::{Context, Result};
use auth_reconciler_tests::daemon::{Daemon, SERVING, Setting};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::proxy::Proxy;
use auth_reconciler_tests::stub::Stub;
use auth_reconciler_tests::watcher::Watcher;
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

mod records;

pub(crate) use records::{Record, Records};

/// The key that every instance of a scene has unless a test says otherwise.
pub(crate) const KEY: &str = "the-key-of-a-test";

/// A daemon that serves `public.message_instances` of a database of its own.
pub(crate) struct Scene {
    // Dropped in this order: the daemon before the database that it would miss.
    pub(crate) daemon: Daemon,
    pub(crate) records: Records,
    pub(crate) client: Client,
    pub(crate) table: ManagerTable,
    pub(crate) database: TestDatabase,
}

impl Scene {
    /// Starts the daemon on an empty table and waits until it serves.
    pub(crate) async fn start(settings: &[Setting<'_>]) -> Result<Self> {
        Self::launch(|_| Ok(owned(settings))).await
    }

    /// The same with settings that depend on the URL of the database.
    pub(crate) async fn start_with(
        settings: impl FnOnce(&str) -> Result<Vec<(&'static str, String)>>,
    ) -> Result<Self> {
        Self::launch(|url| {
            let settings = settings(url)?.into_iter();
            Ok(settings
                .map(|(name, value)| (name.to_owned(), value))
                .collect())
        })
        .await
    }

    /// The same with the daemon's sessions led through a link.
    pub(crate) async fn start_through(link: &Proxy, settings: &[Setting<'_>]) -> Result<Self> {
        Self::launch(|url| {
            let mut all = owned(settings);
            all.push(("AUTH_RECONCILER_LISTEN_URL".to_owned(), link.url(url)?));
            Ok(all)
        })
        .await
    }

    /// The same in a database that a test has prepared; the first of its tables is the scene's.
    pub(crate) async fn serve(
        database: TestDatabase,
        client: Client,
        table: ManagerTable,
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        Self::serve_within(&[], (database, client, table), settings).await
    }

    /// The same with the daemon started by way of another program, see [`Daemon::spawn_within`].
    pub(crate) async fn serve_within(
        wrapper: &[&str],
        (database, client, table): (TestDatabase, Client, ManagerTable),
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let arguments = ["run", "--migrate"];
        let daemon = Daemon::spawn_within(wrapper, database.url(), &arguments, settings)?;
        daemon.wait_message(SERVING).await?;
        let records = Records::start(database.url()).await?;
        Ok(Self {
            daemon,
            records,
            client,
            table,
            database,
        })
    }

    async fn launch(settings: impl FnOnce(&str) -> Result<Vec<(String, String)>>) -> Result<Self> {
        let table = ManagerTable::message_instances();
        let database = TestDatabase::shared().await?;
        let client = database.client().await?;
        table.create(&client).await?;
        let settings = settings(database.url())?;
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Self::serve(database, client, table, &settings).await
    }

    /// Kills the daemon, and starts another one on the same database.
    pub(crate) async fn restart(&self) -> Result<Daemon> {
        self.daemon.sigkill()?;
        self.daemon.ended().await?;
        Daemon::start(&self.database, &[]).await
    }

    /// A witness of the table's statuses.
    pub(crate) async fn watch(&self) -> Result<Watcher> {
        Watcher::start(self.database.url(), &self.table).await
    }

    /// Inserts a Telegram instance whose API is `stub` and waits for its first record.
    pub(crate) async fn instance(&self, stub: &Stub) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let mark = self.records.mark();
        self.table
            .insert(&self.client, id, Some(stub.port()), Some(KEY))
            .await?;
        self.records.of(mark, id).await?;
        Ok(id)
    }

    /// Inserts an instance without a key, which costs no probe, and waits for its first record.
    pub(crate) async fn idle_instance(&self) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let mark = self.records.mark();
        self.table.insert(&self.client, id, None, None).await?;
        self.records.of(mark, id).await?;
        Ok(id)
    }

    /// Has an instance looked at, as an operator does, and waits for the record of that look.
    pub(crate) async fn reconcile(&self, id: Uuid) -> Result<Record> {
        let mark = self.records.mark();
        // One message is one transaction: the number is read before anybody can answer for the change.
        let asked = format!(
            "select auth_reconciler.reconcile('{id}');
             select max(id) as number from auth_reconciler.change where instance_id = '{id}'"
        );
        let number: i64 = self
            .client
            .simple_query(&asked)
            .await?
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.try_get("number").ok().flatten(),
                // Not a row, whatever else the enum may come to hold.
                SimpleQueryMessage::CommandComplete(_)
                | SimpleQueryMessage::RowDescription(_)
                | _ => None,
            })
            .context("no change was logged")?
            .parse()?;
        // Not by its cause: a look that answers for other changes, too, may be named after one of those.
        self.records
            .wait(mark, "the look that an operator asked for", |record| {
                record.id == id && record.get("generation").as_i64() >= Some(number)
            })
            .await
    }

    /// A causal barrier: whatever the daemon was told before has been looked at, or will never be.
    ///
    /// Notifications are heard in the order of the commits, and looks are started in the order in which they are heard
    /// as long as slots are free. So once a later change of `other` is recorded, an earlier one of `id` has at least
    /// been started; and as a key never runs twice at once, the look asked for here comes after that one.
    pub(crate) async fn barrier(&self, id: Uuid, other: Uuid) -> Result<Record> {
        self.reconcile(other).await?;
        self.reconcile(id).await
    }

    /// How many changes wait for a look.
    pub(crate) async fn unobserved(&self) -> Result<i64> {
        let count = "select count(*) from auth_reconciler.change";
        Ok(self.client.query_one(count, &[]).await?.try_get(0)?)
    }

    /// Waits until so many instances are recorded with this reason and cause, and no others.
    #[track_caller]
    pub(crate) fn all_recorded(
        &self,
        count: i64,
        reason: &'static str,
        cause: &'static str,
    ) -> impl Future<Output = Result<()>> + use<'_> {
        let caller = Location::caller();
        async move {
            let statement = "select count(*), count(*) filter (where reason = $1 and cause = $2)
                             from auth_reconciler.instance";
            let what = format!("{count} instances with {reason} by {cause}");
            // Each record is a signal to count again.
            let mut mark = self.records.mark();
            loop {
                let row = self.client.query_one(statement, &[&reason, &cause]).await?;
                let found: (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
                if found == (count, count) {
                    return Ok(());
                }
                let waited = self.records.wait_from(caller, mark, &what, |_| true).await;
                waited.with_context(|| format!("found {found:?}"))?;
                mark = self.records.mark();
            }
        }
    }

    /// The operator's view of an instance, as JSON.
    pub(crate) async fn status(&self, id: Uuid) -> Result<Value> {
        let view = "select to_jsonb(s)::text from auth_reconciler.instances as s where s.id = $1";
        let row = self.client.query_one(view, &[&id]).await?;
        Ok(serde_json::from_str(row.try_get(0)?)?)
    }

    /// The history of an instance: from, to, reason and cause of each move.
    pub(crate) async fn history(&self, id: Uuid) -> Result<Vec<[String; 4]>> {
        history(&self.client, id).await
    }

    /// The whole row of the watched table as JSON.
    pub(crate) async fn row(&self, id: Uuid) -> Result<Value> {
        let statement = format!(
            "select to_jsonb(r)::text from {} as r where id = $1",
            self.table.name()
        );
        let row = self.client.query_one(&statement, &[&id]).await?;
        Ok(serde_json::from_str(row.try_get(0)?)?)
    }

    /// What tells one version of a row from the next, even from one with the same values.
    pub(crate) async fn row_version(&self, id: Uuid) -> Result<String> {
        let statement = format!(
            "select concat_ws(' ', xmin, ctid) from {} where id = $1",
            self.table.name()
        );
        let row = self.client.query_one(&statement, &[&id]).await?;
        Ok(row.try_get(0)?)
    }
}

fn owned(settings: &[Setting<'_>]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// As [`Scene::history`].
pub(crate) async fn history(client: &Client, id: Uuid) -> Result<Vec<[String; 4]>> {
    let rows = client
        .query(
            "select coalesce(from_status, 'null'), coalesce(to_status, 'null'), reason, cause
             from auth_reconciler.transitions where instance_id = $1 order by id",
            &[&id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok([
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
            ])
        })
        .collect()
}
