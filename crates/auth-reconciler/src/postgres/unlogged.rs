//! Changes that could not be logged, and what is done about them: every row is looked at.

use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{read_with, with};
use super::tables::{Key, Tables};

/// What was counted of changes that could not be logged, and what is to be noted once that was answered for.
#[derive(Debug)]
pub(crate) struct Unlogged {
    /// A change of every row is to be logged.
    pub(crate) owed: bool,
    /// It will be, when transactions that run now have ended.
    pub(crate) waits: bool,
    counted: i64,
    running_until: Option<String>,
}

impl Unlogged {
    /// Whether transactions that may have counted had not ended.
    pub(crate) const fn still_runs(&self) -> bool {
        self.running_until.is_some()
    }
}

/// Whether there are changes that could not be logged. To be read before what is done about them.
pub(crate) async fn state(pool: &Pool) -> Result<Unlogged, StoreError> {
    let act = "count changes that could not be logged";
    let row = with(pool, act, async |client| {
        let statement =
            "select owed, waits, counted, running_until from auth_reconciler.unlogged_state()";
        client.query_typed_one(statement, &[]).await
    })
    .await?;
    Ok(Unlogged {
        owed: row.get("owed"),
        waits: row.get("waits"),
        counted: row.get("counted"),
        running_until: row.get("running_until"),
    })
}

/// Notes, as the process of this epoch, that a change of every row was logged since `found` was read.
pub(crate) async fn answered(pool: &Pool, epoch: Uuid, found: &Unlogged) -> Result<(), StoreError> {
    let act = "note that unlogged changes were answered for";
    with(pool, act, async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&epoch, Type::UUID),
            (&found.counted, Type::INT8),
            (&found.running_until, Type::TEXT),
        ];
        let statement = "select auth_reconciler.answered_unlogged($1, $2, $3)";
        client.query_typed_one(statement, &parameters).await
    })
    .await
    // False: another process leads, and does the same again.
    .map(drop)
}

/// Logs a change of every row of every watched table, and of every instance that was recorded. One table
/// that fails, because somebody has it locked, keeps no other from it.
pub(crate) async fn log_every_row(pool: &Pool, tables: &Tables) -> Result<(), StoreError> {
    let mut logged = Ok(());
    for table in tables.values() {
        let done = read_with(pool, "log a change of every row", async |client| {
            let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&table.id, Type::INT4)];
            client.query_typed(&table.log_all_rows, &parameters).await
        })
        .await;
        logged = logged.and(done.map(drop));
    }
    logged
}

/// Every row of every watched table that nobody has locked and that may be read as it is, and every instance that was
/// recorded of it. The others are found with a later echo: this is what is done while changes of every row cannot be logged.
pub(crate) async fn everything(pool: &Pool, tables: &Tables) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    for table in tables.values() {
        let listed = read_with(pool, "list all rows", async |client| {
            let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&table.id, Type::INT4)];
            client.query_typed(&table.all_rows, &parameters).await
        })
        .await;
        let rows = match listed {
            Err(failure) if failure.is_busy() || failure.is_of_the_table() => continue,
            listed => listed?,
        };
        keys.extend(rows.iter().map(|row| Key {
            watched_id: table.id,
            instance_id: row.get(0),
        }));
    }
    Ok(keys)
}
