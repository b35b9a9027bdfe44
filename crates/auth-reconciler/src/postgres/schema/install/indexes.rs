//! Indexes on tables that may be large: made after everything that holds what the manager's statements need.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{BEGIN, failed};
use crate::postgres::schema::{SchemaError, repeated, transaction};

/// Indexes on `instance`, by name.
const INDEXES: &[(&str, &str)] = &[
    (
        "instance_due_idx",
        sql!("migrations/0005_flat_due_index.sql"),
    ),
    (
        "instance_ready_idx",
        sql!("migrations/0005_flat_ready_index.sql"),
    ),
    (
        "instance_odd_idx",
        sql!("migrations/0009_instance_odd_index.sql"),
    ),
];

/// Longest wait for transactions that were open before the index on the log.
const LIMIT: Duration = Duration::from_secs(300);

/// What is made outside any transaction waits by that limit, and by none that the server, the database or the role sets for
/// the manager's statements: each try would read all of the log again. The server ends it when we have given up.
const BEGIN_WAITING: &str = "\
    set lock_timeout = 0;\
    set statement_timeout = '305s';\
    select pg_catalog.set_config('transaction_timeout', '0', false) \
        where pg_catalog.current_setting('transaction_timeout', true) is not null";

const END_WAITING: &str = "reset lock_timeout; reset statement_timeout";

/// Makes what is missing of them.
pub(super) async fn make(client: &Client) -> Result<(), SchemaError> {
    for (name, text) in INDEXES {
        repeated(async || index(client, name, text).await).await?;
    }
    let made = repeated(async || log_index(client).await);
    let made = tokio::time::timeout(LIMIT, made).await;
    made.map_err(|_| SchemaError::OldTransaction { limit: LIMIT })?
}

/// One try at an index, if it is missing. Who records waits for it, and nobody of the manager's; so it is waited for long
/// enough to have a vacuum that is under way give way.
async fn index(client: &Client, name: &str, text: &str) -> Result<(), SchemaError> {
    transaction(client, BEGIN, failed, async || {
        let named = format!("auth_reconciler.{name}");
        let asked = "select pg_catalog.to_regclass($1) is null";
        let missing = client.query_typed_one(asked, &[(&named, Type::TEXT)]).await;
        if missing.map_err(failed)?.get(0) {
            let script = format!("set local lock_timeout = '3s';\n{text}");
            client.batch_execute(&script).await.map_err(failed)?;
        }
        Ok(())
    })
    .await
}

/// One try at the index on the log, if it is missing or one that was ended has left it unfinished.
async fn log_index(client: &Client) -> Result<(), SchemaError> {
    let whole: Option<bool> = transaction(client, BEGIN, failed, async || {
        let asked = client.query_typed_opt(sql!("queries/unread_index.sql"), &[]);
        let found = asked.await.map_err(failed)?;
        Ok(found.map(|row| row.get("whole")))
    })
    .await?;
    if whole == Some(true) {
        return Ok(());
    }
    client.batch_execute(BEGIN_WAITING).await.map_err(failed)?;
    let made = make_log_index(client, whole).await;
    client.batch_execute(END_WAITING).await.map_err(failed)?;
    made
}

/// Makes it, in place of one that is not whole.
async fn make_log_index(client: &Client, whole: Option<bool>) -> Result<(), SchemaError> {
    if whole.is_some() {
        let drop = "drop index concurrently if exists auth_reconciler.change_unread_idx";
        client.batch_execute(drop).await.map_err(failed)?;
    }
    let make = sql!("migrations/0008_unread_index.sql");
    client.batch_execute(make).await.map_err(failed)
}
