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

const DROP_LOG_INDEX: &str = "drop index concurrently if exists auth_reconciler.change_unread_idx";

const MAKE_LOG_INDEX: &str = sql!("migrations/0008_unread_index.sql");

/// Makes what is missing of them.
pub(super) async fn make(client: &Client) -> Result<(), SchemaError> {
    for (name, text) in INDEXES {
        repeated(async || index(client, name, text).await).await?;
    }
    let made = repeated(async || log_index(client).await);
    let made = tokio::time::timeout(LIMIT, made).await;
    made.map_err(|_| SchemaError::OldTransaction { limit: LIMIT })?
}

/// What [`make`] would run now, for psql.
pub(super) async fn to_print(client: &Client) -> Result<String, SchemaError> {
    let mut script = String::new();
    for (name, text) in INDEXES {
        if is_missing(client, name).await? {
            script.push_str(&super::script::transaction(&patient(text)));
        }
    }
    let found = log_index_is_whole(client).await?;
    if found != Some(true) {
        let drop = found.map_or(String::new(), |_| format!("{DROP_LOG_INDEX};\n"));
        script.push_str(&format!(
            "\n{BEGIN_WAITING};\n{drop}{MAKE_LOG_INDEX};\n{END_WAITING};\n"
        ));
    }
    Ok(script)
}

/// One try at an index, if it is missing. Who records waits for it, and nobody of the manager's; so it is waited for long
/// enough to have a vacuum that is under way give way.
async fn index(client: &Client, name: &str, text: &str) -> Result<(), SchemaError> {
    transaction(client, BEGIN, failed, async || {
        if is_missing(client, name).await? {
            client.batch_execute(&patient(text)).await.map_err(failed)?;
        }
        Ok(())
    })
    .await
}

fn patient(text: &str) -> String {
    format!("set local lock_timeout = '3s';\n{text}")
}

async fn is_missing(client: &Client, name: &str) -> Result<bool, SchemaError> {
    let named = format!("auth_reconciler.{name}");
    let asked = "select pg_catalog.to_regclass($1) is null";
    let missing = client.query_typed_one(asked, &[(&named, Type::TEXT)]).await;
    Ok(missing.map_err(failed)?.get(0))
}

/// One try at the index on the log, if it is missing or one that was ended has left it unfinished.
async fn log_index(client: &Client) -> Result<(), SchemaError> {
    let asked = async || log_index_is_whole(client).await;
    let whole = transaction(client, BEGIN, failed, asked).await?;
    if whole == Some(true) {
        return Ok(());
    }
    client.batch_execute(BEGIN_WAITING).await.map_err(failed)?;
    let made = make_log_index(client, whole).await;
    client.batch_execute(END_WAITING).await.map_err(failed)?;
    made
}

/// `None`: there is none.
async fn log_index_is_whole(client: &Client) -> Result<Option<bool>, SchemaError> {
    let asked = client.query_typed_opt(sql!("queries/unread_index.sql"), &[]);
    let found = asked.await.map_err(failed)?;
    Ok(found.map(|row| row.get("whole")))
}

/// Makes it, in place of one that is not whole.
async fn make_log_index(client: &Client, whole: Option<bool>) -> Result<(), SchemaError> {
    if whole.is_some() {
        client.batch_execute(DROP_LOG_INDEX).await.map_err(failed)?;
    }
    client.batch_execute(MAKE_LOG_INDEX).await.map_err(failed)
}
