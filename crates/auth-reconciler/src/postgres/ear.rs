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

use deadpool_postgres::Pool;
use postgres_url::{Database, TlsError};
use thiserror::Error;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::CHANNEL;
use super::error::StoreError;
use super::inbox::Inbox;
use super::listener::{Identity, Listener, NotConnected};
use super::pool::{LIMIT, Session};
use super::store;

/// Longest wait for a connection that answers its first statements.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// One wait for the lock. It is asked for anew each time, because a waiting statement holds a
/// snapshot, and with it back every vacuum of the database; and because a leader that does not move is found out in
/// between.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(10);

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
    listener: Listener,
    inbox: Arc<Inbox>,
    identity: Identity,
}

impl From<NotConnected> for EarError {
    fn from(why: NotConnected) -> Self {
        match why {
            NotConnected::Tls(error) => Self::Tls(error),
            NotConnected::Refused { server, source } => Self::Connect { server, source },
        }
    }
}

impl Ear {
    /// Connects. Nothing is heard yet.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub(crate) async fn connect(database: &Database) -> Result<Self, EarError> {
        let inbox = Arc::new(Inbox::default());
        // connect_timeout covers neither name resolution nor TLS nor authentication.
        let attempt = async {
            let listener = Listener::connect(database, Session::Ear, Arc::clone(&inbox)).await?;
            let identity = listener.identity().await;
            let identity = identity.map_err(failed("identify the session"))?;
            Ok(Self {
                listener,
                inbox: Arc::clone(&inbox),
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

    /// Makes the settings of the session.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn settle_session(&self) -> Result<(), EarError> {
        let settled = self.listener.settle("").await;
        settled.map_err(failed("prepare the session"))
    }

    /// Takes the leadership lock if it is free, and says whether this session has it.
    ///
    /// # Errors
    /// The connection ended, or the schema is missing.
    pub(crate) async fn try_leadership(&self) -> Result<bool, EarError> {
        let ask = "select pg_catalog.pg_try_advisory_lock(auth_reconciler.leadership_lock())";
        let row = self.client().query_typed_one(ask, &[]).await;
        row.map(|row| row.get(0))
            .map_err(failed("ask for the leadership lock"))
    }

    /// Waits a while for the leadership lock, and says whether this session has it.
    ///
    /// # Errors
    /// The connection ended, or the schema is missing.
    pub(crate) async fn wait_for_leadership(&self) -> Result<bool, EarError> {
        let query = failed("wait for the leadership lock");
        self.client()
            .batch_execute(&format!("set lock_timeout = '{}ms'", LOCK_WAIT.as_millis()))
            .await
            .map_err(&query)?;
        let wait = "select pg_catalog.pg_advisory_lock(auth_reconciler.leadership_lock())";
        match self.client().query_typed(wait, &[]).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
            Err(error) => return Err(query(error)),
        }
        self.client()
            .batch_execute("set lock_timeout = 0")
            .await
            .map_err(&query)?;
        Ok(true)
    }

    /// Stops hearing.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn unlisten(&self) -> Result<(), EarError> {
        let done = self.client().batch_execute("unlisten *").await;
        done.map_err(failed("stop listening"))
    }

    /// Begins to hear.
    ///
    /// # Errors
    /// The connection ended, or the server is in recovery.
    pub(crate) async fn listen(&self) -> Result<(), EarError> {
        let listening = self.listener.listen(&[CHANNEL]).await;
        listening.map_err(failed("listen"))
    }

    /// Begins a new epoch; whatever an earlier one still wants to record is refused from here on.
    /// Returns the number of the term, and whether this session has the lock by which everybody rings for it.
    ///
    /// # Errors
    /// The connection ended, and with it the lock.
    pub(crate) async fn take_over(&self, epoch: Uuid) -> Result<(i64, bool), EarError> {
        let take_over = include_str!("../../../../sql/queries/take_over.sql");
        let epoch: [(&(dyn ToSql + Sync), Type); 1] = [(&epoch, Type::UUID)];
        let row = self.client().query_typed_one(take_over, &epoch).await;
        let row = row.map_err(failed("take over"))?;
        let told = row.try_get("term");
        let told = told.and_then(|term| Ok((term, row.try_get("has_sleeper_lock")?)));
        told.map_err(failed("take over"))
    }

    /// The doorbell of whoever leads.
    pub(crate) fn doorbell(&self) -> Doorbell {
        Doorbell {
            session: self.listener.shared_client(),
        }
    }

    fn client(&self) -> &Client {
        self.listener.client()
    }
}

/// The doorbell: whether those who write have to ring is a lock of the session that listens, so it ends with that session.
/// Whoever has this does not keep the session from ending.
#[derive(Clone, Debug)]
pub(crate) struct Doorbell {
    session: Arc<Client>,
}

impl Doorbell {
    /// Has nobody ring from now on, if that can be had now.
    ///
    /// # Errors
    /// The connection ended or does not answer.
    pub(crate) async fn silence(&self) -> Result<bool, StoreError> {
        let silence = "select auth_reconciler.silence()";
        self.run("have nobody ring", silence).await
    }

    /// Has everybody ring who commits from now on; false: only until somebody else gives the sleeper's lock back.
    ///
    /// # Errors
    /// The connection ended or does not answer.
    pub(crate) async fn resound(&self) -> Result<bool, StoreError> {
        let resound = "select auth_reconciler.resound()";
        self.run("have writers ring", resound).await
    }

    async fn run(&self, act: &'static str, statement: &str) -> Result<bool, StoreError> {
        let row = self.session.query_typed_one(statement, &[]);
        let row = tokio::time::timeout(LIMIT, row).await;
        let row = row.map_err(|_| StoreError::Timeout { act, limit: LIMIT })?;
        // Of another type where the schema is of another build.
        row.and_then(|row| row.try_get(0))
            .map_err(|source| StoreError::Query { act, source })
    }
}

fn failed(act: &'static str) -> impl Fn(tokio_postgres::Error) -> EarError {
    move |source| EarError::Query { act, source }
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
    let began = std::time::Instant::now();
    hear(inbox, limit, async |nonce| {
        store::send_echo(pool, nonce).await
    })
    .await?;
    Ok(began.elapsed())
}

/// The same in a database that has our schema. Returns the last id of the change log that was drawn when it was sent.
///
/// # Errors
/// As for [`echo`].
pub(crate) async fn echo_of_log(
    pool: &Pool,
    inbox: &Inbox,
    limit: Duration,
) -> Result<i64, EarError> {
    hear(inbox, limit, async |nonce| {
        store::send_echo_of_log(pool, nonce).await
    })
    .await
}

/// Waits until the ear has heard the nonce that `send` rings with; returns what the sending brought.
async fn hear<T>(
    inbox: &Inbox,
    limit: Duration,
    send: impl AsyncFnOnce(Uuid) -> Result<T, StoreError>,
) -> Result<T, EarError> {
    let nonce = Uuid::new_v4();
    let heard = inbox.expect_echo(nonce);
    let listened = async {
        let sent = send(nonce).await?;
        match tokio::time::timeout(limit, heard).await {
            Ok(Ok(())) => Ok(sent),
            Ok(Err(_)) | Err(_) => Err(EarError::Deaf { limit }),
        }
    };
    let ended = listened.await;
    inbox.forget_echo(nonce);
    ended
}
