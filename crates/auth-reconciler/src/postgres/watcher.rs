//! The session of `watch`: it hears each transition as it is committed, and reads it.
//!
//! Records ring only while somebody watches (`sql/routines/28_watchers.sql`). The order that loses nothing: LISTEN →
//! hear an echo, so that a pooled connection is refused before a lock is left behind on it → take the lock of watchers
//! and wait for the records that came before it → read. From then on a transition was read, or it rings.
//!
//! The session also listens where the triggers ring, for the foreign writes of `auth_status`. Those rings are bounded
//! for each transaction, so beyond that a foreign write is not told; transitions are never passed over.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::poll_fn;
use postgres_url::Database;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use super::CHANNEL;
use super::pool::Session;

mod error;

pub(crate) use error::WatcherError;

/// Where records ring for watchers.
const TRANSITIONS: &str = "auth_reconciler_watch";

/// Longest wait for everything until the session watches, and for each answer after that.
const LIMIT: Duration = Duration::from_secs(15);

/// Longest wait for the echo. Nothing else is under way on this connection.
const ECHO_LIMIT: Duration = Duration::from_secs(5);

/// Numbers that are kept apart between two fetches; beyond, everything new is read.
const MAX_RINGS: usize = 10_000;

/// The server's side of a dead terminal is found within a minute: records ring for nobody as long.
const SESSION: &str = "\
    set default_transaction_isolation = 'read committed';\
    set search_path = pg_catalog, pg_temp;\
    set idle_session_timeout = 0;\
    set idle_in_transaction_session_timeout = 0;\
    select pg_catalog.set_config('transaction_timeout', '0', false) \
        where pg_catalog.current_setting('transaction_timeout', true) is not null;\
    set statement_timeout = '10s';\
    set lock_timeout = '10s';\
    set tcp_keepalives_idle = 30;\
    set tcp_keepalives_interval = 10;\
    set tcp_keepalives_count = 3;\
    set tcp_user_timeout = 30000;\
    set client_connection_check_interval = '5s'";

/// What rang since the last fetch.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    /// Numbers of transitions.
    pub(crate) transitions: BTreeSet<i64>,
    /// More transitions rang than are kept apart: read everything new.
    pub(crate) all: bool,
    /// Instances whose status somebody else wrote.
    pub(crate) drift: BTreeSet<Uuid>,
    /// The connection has ended, and why.
    pub(crate) lost: Option<String>,
}

#[derive(Debug, Default)]
struct Bell {
    rings: Mutex<Rings>,
    rang: Notify,
    echoed: Notify,
}

/// A session that watches. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    client: Client,
    driver: JoinHandle<()>,
    bell: Arc<Bell>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Watcher {
    /// Connects. What is committed from here on is read by the first reading, or rings.
    ///
    /// # Errors
    /// The server cannot be reached or refuses, or it cannot be listened to on this connection.
    pub(crate) async fn start(database: &Database) -> Result<Self, WatcherError> {
        tokio::time::timeout(LIMIT, Self::begin(database))
            .await
            .unwrap_or(Err(WatcherError::Timeout { act: "watch" }))
    }

    async fn begin(database: &Database) -> Result<Self, WatcherError> {
        let mut config = database.config();
        config.application_name(Session::Watch.name());
        let (client, mut connection) =
            config
                .connect(database.connector()?)
                .await
                .map_err(|source| WatcherError::Connect {
                    server: database.describe(),
                    source,
                })?;
        let bell = Arc::new(Bell::default());
        let rung = Arc::clone(&bell);
        let nonce = format!("echo/{}", Uuid::new_v4());
        let expected = nonce.clone();
        // Never waits for whoever fetches: a terminal may be stopped for long, and the server's queue of
        // notifications must not wait for it.
        let driver = tokio::spawn(async move {
            let why = loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(ring))) if ring.payload() == expected => {
                        rung.echoed.notify_one();
                    }
                    Some(Ok(AsyncMessage::Notification(ring))) => {
                        rung.notification(ring.channel(), ring.payload());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break crate::telemetry::chain(&error),
                    None => break "the server closed it".to_owned(),
                }
            };
            rung.change(|rings| rings.lost = Some(why));
        });
        let watcher = Self {
            client,
            driver,
            bell,
        };
        watcher
            .execute("listen", &format!("listen {TRANSITIONS}; listen {CHANNEL}"))
            .await?;
        echo(database, &nonce).await?;
        tokio::time::timeout(ECHO_LIMIT, watcher.bell.echoed.notified())
            .await
            .map_err(|_| WatcherError::Deaf)?;
        watcher.execute("prepare the session", SESSION).await?;
        let exists = include_str!("../../../../sql/queries/schema_exists.sql");
        let exists = watcher.client.query_typed_one(exists, &[]).await;
        if !exists
            .map_err(failed("look for the schema"))?
            .get::<_, bool>(0)
        {
            return Err(WatcherError::NoSchema);
        }
        watcher
            .execute("watch", "select auth_reconciler.begin_watching()")
            .await?;
        Ok(watcher)
    }

    /// Whether nobody leads, and the server's clock.
    ///
    /// # Errors
    /// The connection ended, or the role may not ask.
    pub(crate) async fn nobody_leads(&self) -> Result<(bool, DateTime<Utc>), WatcherError> {
        let asked = "select auth_reconciler.nobody_leads(), pg_catalog.clock_timestamp()";
        let act = "ask who leads";
        let row = limited(act, self.client.query_typed_one(asked, &[])).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Transitions of one instance or of all, oldest first: those after `after` and those with the numbers `these`,
    /// the newest `limit` of them.
    ///
    /// # Errors
    /// The connection ended, the role may not read, or the schema is of another version.
    pub(crate) async fn transitions<T: DeserializeOwned>(
        &self,
        instance: Option<Uuid>,
        after: i64,
        these: &[i64],
        limit: Option<i64>,
    ) -> Result<Vec<T>, WatcherError> {
        let sql = include_str!("../../../../sql/queries/transitions.sql");
        self.read(
            "read transitions",
            sql,
            &[
                (&instance, Type::UUID),
                (&after, Type::INT8),
                (&these, Type::INT8_ARRAY),
                (&limit, Type::INT8),
            ],
        )
        .await
    }

    /// Foreign writes of `auth_status` of these instances since then, oldest first.
    ///
    /// # Errors
    /// As for [`Watcher::transitions`].
    pub(crate) async fn drift<T: DeserializeOwned>(
        &self,
        instances: &[Uuid],
        since: DateTime<Utc>,
    ) -> Result<Vec<T>, WatcherError> {
        let sql = include_str!("../../../../sql/queries/drift_of.sql");
        self.read(
            "read who wrote auth_status",
            sql,
            &[(&instances, Type::UUID_ARRAY), (&since, Type::TIMESTAMPTZ)],
        )
        .await
    }

    /// Waits until something rings, and takes all of it.
    pub(crate) async fn rings(&self) -> Rings {
        loop {
            let rang = self.bell.rang.notified();
            let rings = self.bell.take();
            if !rings.transitions.is_empty()
                || rings.all
                || !rings.drift.is_empty()
                || rings.lost.is_some()
            {
                return rings;
            }
            rang.await;
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        act: &'static str,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<T>, WatcherError> {
        let row = limited(act, self.client.query_typed_one(sql, parameters)).await?;
        serde_json::from_value(row.get(0)).map_err(|source| WatcherError::Answer { act, source })
    }

    async fn execute(&self, act: &'static str, sql: &str) -> Result<(), WatcherError> {
        self.client.batch_execute(sql).await.map_err(failed(act))
    }
}

impl Bell {
    /// Any role may ring, so nothing is believed of a ring but that there may be something to read.
    fn notification(&self, channel: &str, payload: &str) {
        if channel == TRANSITIONS {
            if let Ok(id) = payload.parse() {
                self.change(|rings| {
                    if rings.transitions.len() < MAX_RINGS {
                        rings.transitions.insert(id);
                    } else {
                        rings.all = true;
                    }
                });
            }
        } else if let Some(id) = drifted(payload) {
            self.change(|rings| {
                if rings.drift.len() < MAX_RINGS {
                    rings.drift.insert(id);
                }
            });
        }
    }

    fn take(&self) -> Rings {
        mem::take(&mut *self.rings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, act: impl FnOnce(&mut Rings)) {
        act(&mut self.rings.lock().unwrap_or_else(PoisonError::into_inner));
        self.rang.notify_one();
    }
}

/// `watched_id/instance_id/drift`
fn drifted(payload: &str) -> Option<Uuid> {
    let mut parts = payload.split('/').skip(1);
    let id = Uuid::parse_str(parts.next()?).ok()?;
    (parts.next()? == "drift").then_some(id)
}

/// Sent by another session: a pooler would give our own back to us together with the answer.
async fn echo(database: &Database, nonce: &str) -> Result<(), WatcherError> {
    let mut config = database.config();
    config.application_name(Session::Command.name());
    let connected = config.connect(database.connector()?).await;
    let (client, connection) = connected.map_err(|source| WatcherError::Connect {
        server: database.describe(),
        source,
    })?;
    // Ends with the client.
    tokio::spawn(connection);
    client
        .batch_execute(&format!("notify {TRANSITIONS}, '{nonce}'"))
        .await
        .map_err(failed("send an echo"))
}

async fn limited<T>(
    act: &'static str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, WatcherError> {
    match tokio::time::timeout(LIMIT, statement).await {
        Ok(answered) => answered.map_err(failed(act)),
        Err(_) => Err(WatcherError::Timeout { act }),
    }
}

fn failed(act: &'static str) -> impl Fn(tokio_postgres::Error) -> WatcherError {
    move |source| WatcherError::Query { act, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_rings_than_are_kept_ask_for_everything() {
        let bell = Bell::default();
        for id in 0..=MAX_RINGS {
            bell.notification(TRANSITIONS, &id.to_string());
        }
        let rings = bell.take();
        assert!(rings.all && rings.transitions.len() == MAX_RINGS);
        assert!(!bell.take().all, "they are taken once");
    }

    #[test]
    fn what_is_not_understood_is_no_ring() {
        let bell = Bell::default();
        let id = Uuid::from_u128(7);
        for payload in ["", "x", "echo/1", "1.5"] {
            bell.notification(TRANSITIONS, payload);
        }
        for payload in ["scan", "7", &format!("1/{id}/account"), "1/x/drift"] {
            bell.notification(CHANNEL, payload);
        }
        let rings = bell.take();
        assert!(rings.transitions.is_empty() && rings.drift.is_empty() && !rings.all);
        bell.notification(CHANNEL, &format!("1/{id}/drift"));
        assert_eq!(bell.take().drift, BTreeSet::from([id]));
    }
}
