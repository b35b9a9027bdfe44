//! The pool: short statements beside the looks, and of commands. It never listens, and it keeps no state in a session, for
//! a command may go through a transaction pooler. What looks are made with is [`super::direct`].

use std::time::Duration;

use deadpool_postgres::{
    HookError, Manager, ManagerConfig, Object, Pool, PoolBuilder, PoolError, RecyclingMethod,
    Runtime,
};
use postgres_url::{Database, TlsError};

use thiserror::Error;
use tokio_postgres::Client;

use super::error::StoreError;
use super::remedy;

/// Longest wait for a free connection, for a new one, and for the answer to one statement.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// No limit that the server, the database or the role sets for the manager's statements ends a transaction of ours
/// half-way: each brings its own limit beside this. Of a whole transaction there is one from version 17 on.
macro_rules! no_foreign_limits {
    () => {
        "set local idle_in_transaction_session_timeout = 0;\
         select pg_catalog.set_config('transaction_timeout', '0', true) \
            where pg_catalog.current_setting('transaction_timeout', true) is not null;"
    };
}
pub(super) use no_foreign_limits;

/// What every statement beside the looks begins with, in one message with it: a transaction pooler may be in between, which
/// hands the session to somebody else afterwards, so no setting may outlive the transaction and no statement may be
/// prepared. Nothing is looked up where somebody else can write, and a table that the
/// manager has locked must not keep a session of the server waiting for longer than we wait, or given up
/// sessions pile up until nobody can connect.
const STATEMENT: &str = concat!(
    "begin isolation level read committed;",
    no_foreign_limits!(),
    "\
    set local search_path = pg_catalog, pg_temp;\
    set local statement_timeout = '8s';\
    set local lock_timeout = '1s'"
);

/// The same for a statement that reads a whole watched table: one that the manager has locked must not keep the few
/// sessions waiting. Whoever meets it comes again.
const READ: &str = concat!(
    "begin isolation level read committed;",
    no_foreign_limits!(),
    "\
    set local search_path = pg_catalog, pg_temp;\
    set local statement_timeout = '8s';\
    set local lock_timeout = '20ms'"
);

/// Runs one statement in a transaction that begins with these settings. Everything is sent at once: no
/// transaction stays open while nothing runs in it, and no setting outlives it.
pub(super) async fn within<T>(
    client: &Client,
    begin: &str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    // In this order, which is the order of the first poll.
    let (begun, done, ended) = futures_util::future::join3(
        client.batch_execute(begin),
        statement,
        client.batch_execute("commit"),
    )
    .await;
    begun?;
    let done = done?;
    ended.map(|()| done)
}

/// Why there is no pool.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("could not set up TLS for the pool")]
    Tls(#[from] TlsError),
    #[error("could not make the pool")]
    Build(#[source] deadpool_postgres::BuildError),
}

/// Whose sessions they are; each kind has a name by which the server's list of sessions shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Session {
    /// The daemon's ear.
    Ear,
    /// The daemon's other sessions: all of the looks, and what is done beside them.
    Pool,
    /// Those of a command that ends by itself.
    Command,
    /// The one that follows transitions.
    Watch,
}

impl Session {
    /// `auth-reconciler <kind> <version> <host> <process>`: the view `reconcilers` reads from it whose session
    /// it is, and an operator can end exactly that one. The server cuts it at 63 bytes.
    pub(crate) fn name(self) -> String {
        let kind = match self {
            Self::Ear => "ear",
            Self::Pool => "pool",
            Self::Command => "command",
            Self::Watch => "watch",
        };
        format!(
            "auth-reconciler {kind} {} {} {}",
            env!("CARGO_PKG_VERSION"),
            host(),
            std::process::id()
        )
    }
}

/// This host as the names of sessions tell it; in a container, the container's own name.
pub(crate) fn host() -> String {
    gethostname::gethostname()
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_graphic)
        .take(24)
        .collect()
}

/// Opens a pool of at most `size` connections; none is made before it is needed.
///
/// # Errors
/// The TLS settings are unusable.
pub(crate) fn open(database: &Database, size: usize, session: Session) -> Result<Pool, OpenError> {
    builder(database, size, session)?
        .build()
        .map_err(OpenError::Build)
}

/// The same, with more to be said about its sessions.
pub(super) fn builder(
    database: &Database,
    size: usize,
    session: Session,
) -> Result<PoolBuilder, OpenError> {
    let mut config = database.config();
    config.application_name(session.name());
    let manager = Manager::from_config(
        config,
        database.connector()?,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    Ok(Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(LIMIT))
        .create_timeout(Some(LIMIT))
        .recycle_timeout(Some(LIMIT)))
}

/// Runs one statement on a pooled connection, in a transaction of its own and with none of the session's
/// settings, within [`LIMIT`].
pub(crate) async fn with<T>(
    pool: &Pool,
    act: &'static str,
    statement: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error> + Clone,
) -> Result<T, StoreError> {
    bare(pool, act, async |client| {
        within(client, STATEMENT, statement(client)).await
    })
    .await
}

/// The same for a statement that reads a watched table, which waits for no lock on it.
pub(crate) async fn read_with<T>(
    pool: &Pool,
    act: &'static str,
    statement: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error> + Clone,
) -> Result<T, StoreError> {
    bare(pool, act, async |client| {
        within(client, READ, statement(client)).await
    })
    .await
}

/// Runs one statement on a pooled connection, within [`LIMIT`]; it brings its own settings, or the session has them.
/// A connection on which it failed to answer is not used again: it may be half open, and its statement may
/// still run.
///
/// Somebody may end sessions at any time, and that is seen no earlier than the next statement is sent. So it is run once
/// more, in a new session; whether the first run was committed nobody knows, and each of our statements may run
/// twice: it reads, or it finds at its fence or in what it writes that it was done.
pub(super) async fn bare<T>(
    pool: &Pool,
    act: &'static str,
    work: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error> + Clone,
) -> Result<T, StoreError> {
    match attempt(pool, act, work.clone()).await {
        Err(StoreError::Query { source, .. }) if remedy::has_ended(&source) => {
            // Mostly the others have ended with it.
            pool.retain(|_, _| false);
            attempt(pool, act, work).await
        }
        done => done,
    }
}

async fn attempt<T>(
    pool: &Pool,
    act: &'static str,
    work: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
) -> Result<T, StoreError> {
    let object = pool.get().await.map_err(|error| match error {
        PoolError::Backend(source) | PoolError::PostCreateHook(HookError::Backend(source)) => {
            StoreError::Connect { act, source }
        }
        source @ (PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_)) => StoreError::Pool { act, source },
    })?;
    match tokio::time::timeout(LIMIT, work(&object)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(StoreError::Query { act, source }),
        Err(_) => {
            drop(Object::take(object));
            Err(StoreError::Timeout { act, limit: LIMIT })
        }
    }
}
