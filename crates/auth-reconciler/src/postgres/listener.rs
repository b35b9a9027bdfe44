//! A session that listens: the daemon has one as its ear, the command `watch` another.
//!
//! Its connection is polled by a task of its own, which hands on what rings and never waits for whoever makes
//! something of it. LISTEN comes first, then an echo, which shows that this connection hears; settings are made only
//! after that, because through a transaction pooler they would be left behind on a connection that serves others.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::poll_fn;
use postgres_url::{Database, TlsError};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use super::pool::Session;
use crate::telemetry::chain;

/// What such a session is set to. The server's side of a dead host is found within a minute: what the session holds
/// (the lock of whoever leads, that of those who watch) would otherwise be held for hours. None of the server's
/// time-outs (one of them is known from version 17 on) ends it while it listens or waits for a lock.
const SETTINGS: &str = "\
    set default_transaction_isolation = 'read committed';\
    set search_path = pg_catalog, pg_temp;\
    set idle_session_timeout = 0;\
    set idle_in_transaction_session_timeout = 0;\
    select pg_catalog.set_config('transaction_timeout', '0', false) \
        where pg_catalog.current_setting('transaction_timeout', true) is not null;\
    set statement_timeout = 0;\
    set tcp_keepalives_idle = 30;\
    set tcp_keepalives_interval = 10;\
    set tcp_keepalives_count = 3;\
    set tcp_user_timeout = 30000;\
    set client_connection_check_interval = '5s'";

/// Who is told what a session hears. Neither may wait.
pub(crate) trait Hears: Send + Sync + 'static {
    /// Somebody rang; any role may.
    fn rang(&self, channel: &str, payload: &str);
    /// The connection has ended, and why.
    fn lost(&self, why: String);
}

/// A session that listens. Dropping it ends it, and with it every lock that it holds.
#[derive(Debug)]
pub(crate) struct Listener {
    client: Arc<Client>,
    driver: JoinHandle<()>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NotConnected {
    /// The certificates cannot be used.
    Tls(TlsError),
    /// The server cannot be reached or refuses.
    Refused {
        /// The server, as a URL without secrets.
        server: String,
        /// What the connection failed of.
        source: tokio_postgres::Error,
    },
}

/// Which session of the server it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Number of its process at the server.
    pub(crate) pid: i32,
    /// Its start; tells it from a later session with the same number.
    pub(crate) started: DateTime<Utc>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Listener {
    /// Connects. Nothing is heard yet.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub(crate) async fn connect(
        database: &Database,
        session: Session,
        hears: Arc<impl Hears>,
    ) -> Result<Self, NotConnected> {
        let mut config = database.config();
        config.application_name(session.name());
        let connector = database.connector().map_err(NotConnected::Tls)?;
        let connected = config.connect(connector).await;
        let (client, mut connection) = connected.map_err(|source| NotConnected::Refused {
            server: database.describe(),
            source,
        })?;
        // Nobody else polls this connection; awaiting it instead would drop notifications.
        let driver = tokio::spawn(async move {
            let why = loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(ring))) => {
                        hears.rang(ring.channel(), ring.payload());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break chain(&error),
                    None => break "the server closed it".to_owned(),
                }
            };
            hears.lost(why);
        });
        Ok(Self {
            client: Arc::new(client),
            driver,
        })
    }

    /// To run statements in the session.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The same for who may outlive it: the session ends all the same when this is dropped.
    pub(crate) fn shared_client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// Begins to hear what rings on these channels.
    ///
    /// # Errors
    /// The connection ended, or the server is in recovery.
    pub(crate) async fn listen(&self, channels: &[&str]) -> Result<(), tokio_postgres::Error> {
        let listen: String = channels
            .iter()
            .map(|channel| format!("listen {channel};"))
            .collect();
        self.client.batch_execute(&listen).await
    }

    /// Makes the settings of the session, and then `more`.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn settle(&self, more: &str) -> Result<(), tokio_postgres::Error> {
        self.client
            .batch_execute(&format!("{SETTINGS};{more}"))
            .await
    }

    /// Which session of the server this is.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn identity(&self) -> Result<Identity, tokio_postgres::Error> {
        let own = "select pid, backend_start from pg_catalog.pg_stat_activity \
            where pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()";
        let row = self.client.query_typed_one(own, &[]).await?;
        Ok(Identity {
            pid: row.get(0),
            started: row.get(1),
        })
    }
}
