//! Instances that count as ready.

use auth_reconciler_core::Key;
use deadpool_postgres::Pool;

use super::error::StoreError;
use super::pool::with;

/// A few instances that count as ready, to be asked for their word.
pub(crate) async fn ready_instances(pool: &Pool) -> Result<Vec<Key>, StoreError> {
    keys(
        pool,
        include_str!("../../../../sql/queries/ready_instances.sql"),
    )
    .await
}

/// A few rows that say `client_ready`, whether or not a daemon ever looked at them.
pub(crate) async fn ready_rows(pool: &Pool) -> Result<Vec<Key>, StoreError> {
    keys(pool, include_str!("../../../../sql/queries/ready_rows.sql")).await
}

async fn keys(pool: &Pool, statement: &str) -> Result<Vec<Key>, StoreError> {
    let act = "find instances that count as ready";
    let rows = with(pool, act, async |client| {
        client.query_typed(statement, &[]).await
    })
    .await?;
    let keys = rows.iter().map(|row| {
        Ok(Key {
            watched_id: row.try_get("watched_id")?,
            instance_id: row.try_get("instance_id")?,
        })
    });
    keys.collect::<Result<_, _>>()
        .map_err(|source| StoreError::Query { act, source })
}
