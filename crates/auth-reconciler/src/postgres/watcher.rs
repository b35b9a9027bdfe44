//! The session of `watch`: it hears each transition as it is committed, and reads it.
//!
//! Records ring only while somebody watches (`sql/routines/28_watchers.sql`). The order that loses nothing: LISTEN →
//! hear an echo, so that a pooled connection is refused before a lock is left behind on it → take the lock of watchers
//! and wait for the records that came before it → read. From then on a transition was read, or it rings.
//!
//! The session also listens where the triggers ring, for the foreign writes of `auth_status`. Those rings are bounded
//! for each transaction, so beyond that a foreign write is not told; transitions are never passed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres_url::Database;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::CHANNEL;
use super::listener::{Hears, Listener, NotConnected};
use super::pool::Session;
use super::schema;
use crate::mailbox::Mailbox;

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

/// Beside the settings of every session that listens: no statement of this one takes long.
const LIMITS: &str = "set statement_timeout = '10s'; set lock_timeout = '10s'";

/// What rang since the last fetch.
#[derive(Debug, Default, PartialEq, Eq)]
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

#[derive(Debug)]
struct Bell {
    rings: Mailbox<Rings>,
    echo: String,
    echoed: Notify,
}

/// A session that watches. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    listener: Listener,
    bell: Arc<Bell>,
}

impl From<NotConnected> for WatcherError {
    fn from(why: NotConnected) -> Self {
        match why {
            NotConnected::Tls(error) => Self::Tls(error),
            NotConnected::Refused { server, source } => Self::Connect { server, source },
        }
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
        let bell = Arc::new(Bell::expecting(format!("echo/{}", Uuid::new_v4())));
        let listener = Listener::connect(database, Session::Watch, Arc::clone(&bell)).await?;
        let listening = listener.listen(&[TRANSITIONS, CHANNEL]).await;
        listening.map_err(failed("listen"))?;
        echo(database, &bell.echo).await?;
        tokio::time::timeout(ECHO_LIMIT, bell.echoed.notified())
            .await
            .map_err(|_| WatcherError::Deaf)?;
        let settled = listener.settle(LIMITS).await;
        settled.map_err(failed("prepare the session"))?;
        let exists = include_str!("../../../../sql/queries/schema_exists.sql");
        let exists = listener.client().query_typed_one(exists, &[]).await;
        if !exists
            .map_err(failed("look for the schema"))?
            .get::<_, bool>(0)
        {
            let renamed = schema::renamed(listener.client()).await;
            let renamed = renamed.map_err(failed("look for the schema"))?;
            return Err(renamed.map_or(WatcherError::NoSchema, WatcherError::Schema));
        }
        let begin = "select auth_reconciler.begin_watching()";
        let begun = listener.client().batch_execute(begin).await;
        begun.map_err(failed("watch"))?;
        Ok(Self { listener, bell })
    }

    /// Whether nobody leads, and the server's clock.
    ///
    /// # Errors
    /// The connection ended, or the role may not ask.
    pub(crate) async fn nobody_leads(&self) -> Result<(bool, DateTime<Utc>), WatcherError> {
        let asked = "select auth_reconciler.nobody_leads(), pg_catalog.clock_timestamp()";
        let act = "ask who leads";
        let row = limited(act, self.listener.client().query_typed_one(asked, &[])).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Whether a row of a watched table has this id.
    ///
    /// # Errors
    /// As for [`Watcher::transitions`].
    pub(crate) async fn has(&self, instance: Uuid) -> Result<bool, WatcherError> {
        let sql = include_str!("../../../../sql/queries/has_instance.sql");
        let act = "look for the instance";
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&instance, Type::UUID)];
        let row = limited(
            act,
            self.listener.client().query_typed_one(sql, &parameters),
        )
        .await?;
        Ok(row.get(0))
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
        self.bell.rings.fetch().await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        act: &'static str,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<T>, WatcherError> {
        let row = limited(act, self.listener.client().query_typed_one(sql, parameters)).await?;
        serde_json::from_value(row.get(0)).map_err(|source| WatcherError::Answer { act, source })
    }
}

impl Bell {
    fn expecting(echo: String) -> Self {
        Self {
            rings: Mailbox::default(),
            echo,
            echoed: Notify::new(),
        }
    }
}

impl Hears for Bell {
    /// Nothing is believed of a ring but that there may be something to read.
    fn rang(&self, channel: &str, payload: &str) {
        if payload == self.echo {
            self.echoed.notify_one();
        } else if channel == TRANSITIONS {
            if let Ok(id) = payload.parse() {
                self.rings.put(|rings| {
                    if rings.transitions.len() < MAX_RINGS {
                        rings.transitions.insert(id);
                    } else {
                        rings.all = true;
                    }
                });
            }
        } else if let Some(id) = drifted(payload) {
            self.rings.put(|rings| {
                if rings.drift.len() < MAX_RINGS {
                    rings.drift.insert(id);
                }
            });
        }
    }

    fn lost(&self, why: String) {
        self.rings.put(|rings| rings.lost = Some(why));
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
        let bell = Bell::expecting(String::new());
        for id in 0..=MAX_RINGS {
            bell.rang(TRANSITIONS, &id.to_string());
        }
        let rings = bell.rings.take(|rings| rings);
        assert!(rings.all && rings.transitions.len() == MAX_RINGS);
        assert!(!bell.rings.take(|rings| rings).all, "they are taken once");
    }

    #[test]
    fn what_is_not_understood_is_no_ring() {
        let bell = Bell::expecting(String::new());
        let id = Uuid::from_u128(7);
        for payload in ["", "x", "echo/1", "1.5"] {
            bell.rang(TRANSITIONS, payload);
        }
        for payload in ["scan", "7", &format!("1/{id}/account"), "1/x/drift"] {
            bell.rang(CHANNEL, payload);
        }
        let rings = bell.rings.take(|rings| rings);
        assert!(rings.transitions.is_empty() && rings.drift.is_empty() && !rings.all);
        bell.rang(CHANNEL, &format!("1/{id}/drift"));
        assert_eq!(bell.rings.take(|rings| rings).drift, BTreeSet::from([id]));
    }
}
