//! The sessions that looks read and record in. They lead to the server itself, never through a transaction pooler, so their
//! settings are made once, when they begin, and their statements are prepared once. The listener has heard its own echo
//! on such a way before the first of them is opened.

use deadpool_postgres::{Hook, HookError, Object, Pool};
use postgres_url::Database;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::pool::{self, OpenError, Session};

/// What such a session begins with.
///
/// * Each statement of a record must see what was committed before it: read committed.
/// * Nothing is looked up where somebody else can write. The path that the session would have is kept for the triggers of
///   the watched tables, which find what they name by it when we write.
/// * Rows that row level security hides are an error rather than a deletion.
/// * Notices are not even sent, because a trigger of the manager's may put its row into one.
/// * No limit that the server, the database or the role sets for the manager's statements ends one of ours half-way.
/// * No lock is waited for long: a table that the manager has locked must not keep the few sessions waiting; and a trigger
///   of the manager's that runs in our write may want what the manager holds while it wants our row. Of two who wait for
///   each other the server ends the one that has waited for `deadlock_timeout` when it finds them. Ours has given way
///   long before that.
/// * Plans are made once. They must be right for any number of keys and for tables that were empty when they were made,
///   so an index is used wherever there is one; and what costs little is not worth compiling.
const SESSION: &str = "\
    select pg_catalog.set_config(\
        'auth_reconciler.session_path', pg_catalog.current_setting('search_path'), false);\
    set search_path = pg_catalog, pg_temp;\
    set default_transaction_isolation = 'read committed';\
    set default_transaction_read_only = off;\
    set row_security = off;\
    set client_min_messages = error;\
    set idle_session_timeout = 0;\
    set idle_in_transaction_session_timeout = 0;\
    select set_config('transaction_timeout', '0', false) \
        where current_setting('transaction_timeout', true) is not null;\
    set statement_timeout = '8s';\
    select set_config('lock_timeout', greatest(1, least(20, (250 * extract(\
        epoch from current_setting('deadlock_timeout')::interval))::integer))::text, false);\
    set plan_cache_mode = force_generic_plan;\
    set enable_seqscan = off;\
    set jit = off";

/// Opens a pool of at most `size` such sessions; none is made before it is needed.
///
/// # Errors
/// The TLS settings are unusable.
pub(crate) fn open(database: &Database, size: usize) -> Result<Pool, OpenError> {
    let begin = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let begun = client.batch_execute(SESSION).await;
            begun.map_err(HookError::Backend)
        })
    });
    pool::builder(database, size, Session::Pool)?
        .post_create(begin)
        .build()
        .map_err(OpenError::Build)
}

/// Runs a statement that is prepared when a session first runs it. What was prepared, here or by our functions, may have
/// become stale: of a result whose columns have changed, or in a session that somebody has reset, as a trigger of the
/// manager's may. Then the session begins anew.
pub(super) async fn query(
    client: &Object,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Error> {
    let types: Vec<Type> = parameters.iter().map(|(_, kind)| kind.clone()).collect();
    let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
    let prepared = client.prepare_typed_cached(statement, &types).await?;
    match client.query(&prepared, &values).await {
        Err(error) if error.as_db_error().is_some_and(is_stale) => {
            client.statement_cache.clear();
            client.batch_execute("discard all").await?;
            client.batch_execute(SESSION).await?;
            let prepared = client.prepare_typed_cached(statement, &types).await?;
            client.query(&prepared, &values).await
        }
        ended => ended,
    }
}

fn is_stale(error: &DbError) -> bool {
    let code = error.code();
    *code == SqlState::INVALID_SQL_STATEMENT_NAME
        // Its words are in the language of the server.
        || (*code == SqlState::FEATURE_NOT_SUPPORTED
            && error.routine() == Some("RevalidateCachedQuery"))
}
