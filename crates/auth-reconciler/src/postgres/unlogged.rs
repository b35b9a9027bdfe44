//! Changes that could not be logged, and what is done about them: every row is looked at.

use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::StoreError;
use super::pool::with;

/// What was counted of changes that could not be logged, and what is to be noted once that was answered for.
#[derive(Debug)]
pub(crate) struct Unlogged {
    /// Looks at all rows are to be owed.
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

/// Notes, as the process of this epoch, that looks at all rows are owed since `found` was read.
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

/// Has looks at every row be owed: they outlive whoever heard of it, and are done in pieces.
pub(crate) async fn owe_every_row(pool: &Pool) -> Result<(), StoreError> {
    let act = "note that looks at all rows are owed";
    with(pool, act, async |client| {
        client
            .query_typed(sql!("queries/owe_all_rows.sql"), &[])
            .await
    })
    .await
    .map(drop)
}
