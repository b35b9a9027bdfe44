//! The pool: short statements of looks. It never listens, and it keeps no state in a session.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use postgres_url::{Database, TlsError};

use thiserror::Error;
use tokio_postgres::Client;

use super::error::StoreError;

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

/// What every transaction that writes begins with, sent in one message with its statement: a
/// transaction pooler may be in between, which hands the session to somebody else afterwards, so no
/// setting may outlive the transaction and no statement may be prepared. Each statement of a record
/// must see what was committed before it; rows that row level security hides are an error rather
/// than a deletion; nothing is looked up where somebody else can write;
/// and notices are not even sent, because a trigger of the manager's may put its row into one. The path
/// of the session is kept for the triggers of the table, which find what they name by it.
///
/// No lock is waited for long. A trigger of the manager's runs in our write, and may want what the
/// manager holds while it wants our row: of two who wait for each other the server ends the one that
/// has waited for `deadlock_timeout` when it finds them. Ours has given way long before that.
pub(crate) const TRANSACTION: &str = concat!(
    "set transaction isolation level read committed, read write;",
    no_foreign_limits!(),
    "\
    select pg_catalog.set_config(\
        'auth_reconciler.session_path', pg_catalog.current_setting('search_path'), true);\
    set local row_security = off;\
    set local search_path = pg_catalog, pg_temp;\
    set local client_min_messages = error;\
    set local statement_timeout = '8s';\
    select pg_catalog.set_config('lock_timeout', greatest(1, least(50, (250 * extract(\
        epoch from pg_catalog.current_setting('deadlock_timeout')::interval))::integer))::text, true);"
);

/// The same for any other statement: nothing is looked up where somebody else can write, and a table that the
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

/// The same for a read of a watched table: one that the manager has locked must not keep the few sessions
/// waiting that the instances of other tables are read with. Whoever meets it comes again with backoff.
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
    /// The daemon's other sessions.
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
        let host: String = gethostname::gethostname()
            .to_string_lossy()
            .chars()
            .filter(char::is_ascii_graphic)
            .take(24)
            .collect();
        format!(
            "auth-reconciler {kind} {} {host} {}",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        )
    }
}

/// Opens a pool of at most `size` connections; none is made before it is needed.
///
/// # Errors
/// The TLS settings are unusable.
pub(crate) fn open(database: &Database, size: usize, session: Session) -> Result<Pool, OpenError> {
    let mut config = database.config();
    config.application_name(session.name());
    let manager = Manager::from_config(
        config,
        database.connector()?,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let builder = Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(LIMIT))
        .create_timeout(Some(LIMIT))
        .recycle_timeout(Some(LIMIT));
    builder.build().map_err(OpenError::Build)
}

/// Runs one statement on a pooled connection, in a transaction of its own and with none of the session's
/// settings, within [`LIMIT`].
pub(crate) async fn with<T>(
    pool: &Pool,
    act: &'static str,
    statement: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
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
    statement: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
) -> Result<T, StoreError> {
    bare(pool, act, async |client| {
        within(client, READ, statement(client)).await
    })
    .await
}

/// Runs one message that brings its own settings ([`TRANSACTION`]) on a pooled connection, within [`LIMIT`].
/// A connection on which it failed to answer is not used again: it may be half open, and its statement may
/// still run.
pub(super) async fn bare<T>(
    pool: &Pool,
    act: &'static str,
    work: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
) -> Result<T, StoreError> {
    let object = pool.get().await.map_err(|error| match error {
        PoolError::Backend(source) => StoreError::Connect { act, source },
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
