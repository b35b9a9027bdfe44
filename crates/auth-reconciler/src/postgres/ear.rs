//! The ear: a connection of its own that listens, and holds the leadership lock while it does.
//!
//! States: connect → LISTEN and hear an echo, so that a connection on which that does not work is refused
//! before anything is set on it → wait for the lock → LISTEN → hear an echo → take over (new epoch).
//! Only then is anything read. LISTEN comes before every scan, so there is no gap between them; the
//! lock comes before LISTEN, because a session that waits in a statement and listens would hold up
//! the server's queue of notifications.
//!
//! The lock ends with the session. What remains of a former leader is refused by its epoch.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use futures_util::future::poll_fn;
use postgres_url::{Database, TlsError};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use super::CHANNEL;
use super::error::StoreError;
use super::inbox::Inbox;
use super::pool::Session;
use super::store;

/// Longest wait for a connection that answers its first statements.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// One wait for the lock. It is asked for anew each time, because a waiting statement holds a
/// snapshot, and with it back every vacuum of the database; and because a leader that does not move is found out in
/// between.
const LOCK_WAIT: &str = "10s";

/// Settings of the ear's session. The server's side of a dead host is found within a minute: its
/// lock would otherwise be held for hours. None of the server's time-outs (one of them is known from version 17
/// on) ends the session while it listens or waits for the lock.
const SESSION: &str = "\
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

/// Why there is no ear.
#[derive(Debug, Error)]
pub(crate) enum EarError {
    #[error("could not set up TLS for the ear")]
    Tls(#[from] TlsError),
    #[error("could not connect the ear to {server}")]
    Connect {
        server: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("no usable connection of the ear to {server} within {CONNECT_LIMIT:?}")]
    ConnectTimeout { server: String },
    #[error("could not {act} on the ear's connection")]
    Query {
        act: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("could not send the ear an echo")]
    Echo(#[from] StoreError),
    #[error(
        "the ear did not hear its own echo within {limit:?}: LISTEN does not work on this connection, \
         most likely because a transaction pooler (PgBouncer, Supavisor) is in between; set \
         AUTH_RECONCILER_LISTEN_URL to a direct connection to the same database"
    )]
    Deaf { limit: Duration },
}

/// A connected ear. Dropping it ends the session, and with it the lock.
#[derive(Debug)]
pub(crate) struct Ear {
    client: Client,
    driver: JoinHandle<()>,
    inbox: Arc<Inbox>,
    identity: Identity,
}

/// Which session of the server an ear is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Server process.
    pub(crate) pid: i32,
    /// Its start; tells it from a later session with the same number.
    pub(crate) started: DateTime<Utc>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Ear {
    /// Connects. Nothing is heard yet.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub(crate) async fn connect(database: &Database) -> Result<Self, EarError> {
        let connector = database.connector()?;
        let mut config = database.config();
        config.application_name(Session::Ear.name());
        let server = database.describe();
        // connect_timeout covers neither name resolution nor TLS nor authentication.
        let attempt = async {
            let (client, mut connection) =
                config
                    .connect(connector)
                    .await
                    .map_err(|source| EarError::Connect {
                        server: server.clone(),
                        source,
                    })?;
            let inbox = Arc::new(Inbox::new());
            let filled = Arc::clone(&inbox);
            // Nobody else polls this connection; awaiting it instead would drop notifications.
            let driver = tokio::spawn(async move {
                let why = loop {
                    match poll_fn(|context| connection.poll_message(context)).await {
                        Some(Ok(AsyncMessage::Notification(notification))) => {
                            filled.notification(notification.payload());
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break crate::telemetry::chain(&error),
                        None => break "the server closed it".to_owned(),
                    }
                };
                filled.lost(why);
            });
            let query = |act| move |source| EarError::Query { act, source };
            let row = client
                .query_typed_one(
                    "select pid, backend_start from pg_catalog.pg_stat_activity where pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()",
                    &[],
                )
                .await
                .map_err(query("identify the session"))?;
            let identity = Identity {
                pid: row.get(0),
                started: row.get(1),
            };
            Ok(Self {
                client,
                driver,
                inbox,
                identity,
            })
        };
        match tokio::time::timeout(CONNECT_LIMIT, attempt).await {
            Ok(ear) => ear,
            Err(_) => Err(EarError::ConnectTimeout {
                server: database.describe(),
            }),
        }
    }

    /// What was heard.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Which session of the server this is.
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Settings of the session. Only once it is known to be one: through a transaction pooler they
    /// would be left behind on a connection that serves others.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn settle_session(&self) -> Result<(), EarError> {
        self.client
            .batch_execute(SESSION)
            .await
            .map_err(|source| EarError::Query {
                act: "prepare the session",
                source,
            })
    }

    /// Takes the leadership lock if it is free, and says whether this session has it.
    ///
    /// # Errors
    /// The connection ended, or the schema is missing.
    pub(crate) async fn try_leadership(&self) -> Result<bool, EarError> {
        self.client
            .query_typed_one(
                "select pg_catalog.pg_try_advisory_lock(auth_reconciler.leadership_lock())",
                &[],
            )
            .await
            .map(|row| row.get(0))
            .map_err(|source| EarError::Query {
                act: "ask for the leadership lock",
                source,
            })
    }

    /// Waits a while for the leadership lock, and says whether this session has it.
    ///
    /// # Errors
    /// The connection ended, or the schema is missing.
    pub(crate) async fn wait_for_leadership(&self) -> Result<bool, EarError> {
        let query = |source| EarError::Query {
            act: "wait for the leadership lock",
            source,
        };
        self.client
            .batch_execute(&format!("set lock_timeout = '{LOCK_WAIT}'"))
            .await
            .map_err(query)?;
        let wait = "select pg_catalog.pg_advisory_lock(auth_reconciler.leadership_lock())";
        match self.client.query_typed(wait, &[]).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
            Err(error) => return Err(query(error)),
        }
        self.client
            .batch_execute("set lock_timeout = 0")
            .await
            .map_err(query)?;
        Ok(true)
    }

    /// Stops hearing.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn unlisten(&self) -> Result<(), EarError> {
        self.client
            .batch_execute("unlisten *")
            .await
            .map_err(|source| EarError::Query {
                act: "stop listening",
                source,
            })
    }

    /// Begins to hear.
    ///
    /// # Errors
    /// The connection ended, or the server is in recovery.
    pub(crate) async fn listen(&self) -> Result<(), EarError> {
        self.client
            .batch_execute(&format!("listen {CHANNEL}"))
            .await
            .map_err(|source| EarError::Query {
                act: "listen",
                source,
            })
    }

    /// Begins a new epoch; whatever an earlier one still wants to record is refused from here on.
    /// Returns the number of the term.
    ///
    /// # Errors
    /// The connection ended, and with it the lock.
    pub(crate) async fn take_over(&self, epoch: Uuid) -> Result<i64, EarError> {
        self.client
            .query_typed_one(
                "select auth_reconciler.take_over($1)",
                &[(&epoch, Type::UUID)],
            )
            .await
            .map(|row| row.get(0))
            .map_err(|source| EarError::Query {
                act: "take over",
                source,
            })
    }
}

/// Sends an echo through the pool and waits until the ear has heard it. Returns the time it took.
///
/// # Errors
/// The pool failed, or nothing was heard within `limit`.
pub(crate) async fn echo(
    pool: &Pool,
    inbox: &Inbox,
    limit: Duration,
) -> Result<Duration, EarError> {
    let nonce = Uuid::new_v4();
    let heard = inbox.expect_echo(nonce);
    let sent = std::time::Instant::now();
    let listened = async {
        store::send_echo(pool, nonce).await?;
        match tokio::time::timeout(limit, heard).await {
            Ok(Ok(())) => Ok(sent.elapsed()),
            Ok(Err(_)) | Err(_) => Err(EarError::Deaf { limit }),
        }
    };
    let ended = listened.await;
    inbox.forget_echo(nonce);
    ended
}
