//! What is not as it was: the watched tables, and our own functions and views.

use auth_reconciler_core::controller::Fault;
use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};

use super::error::StoreError;
use super::pool::with;
use super::tables::Expected;

/// What of our functions and views is not as it was noted.
pub(super) const ALTERED: &str = concat!(
    "with found as (\n",
    sql!("queries/routine_prints.sql"),
    ")\n",
    sql!("queries/altered_routines.sql")
);

/// What was noted of them.
pub(super) const MADE: &str = sql!("queries/made.sql");

/// What was noted of our functions and views when they were made; `None` where nothing was.
pub(crate) async fn made(pool: &Pool) -> Result<Option<String>, StoreError> {
    let act = "read what was noted of our functions";
    let row = with(pool, act, async |client| {
        client.query_typed_opt(MADE, &[]).await
    })
    .await?;
    Ok(row.and_then(|row| row.get("made")))
}

/// What of our functions and views is missing or changed, at most one fault. Reads the catalog only, and calls none of
/// them.
pub(crate) async fn altered(pool: &Pool, made: Option<&str>) -> Result<Vec<Fault>, StoreError> {
    let rows = with(pool, "check our functions", async |client| {
        client.query_typed(ALTERED, &[(&made, Type::TEXT)]).await
    })
    .await?;
    Ok(from_rows(&rows))
}

/// What keeps us from seeing the tables as they were watched. Reads the catalog only.
pub(crate) async fn faults(pool: &Pool, expected: &Expected) -> Result<Vec<Fault>, StoreError> {
    let mut faults = altered(pool, expected.made.as_deref()).await?;
    match table_faults(pool, expected).await {
        Ok(of_tables) => faults.extend(of_tables),
        // It calls functions of ours, and why they fail is told.
        Err(failure) if !faults.is_empty() && failure.is_of_our_schema() => {}
        Err(failure) => return Err(failure),
    }
    Ok(faults)
}

async fn table_faults(pool: &Pool, expected: &Expected) -> Result<Vec<Fault>, StoreError> {
    let watched = &expected.watched;
    let oids: Vec<u32> = watched.iter().map(|table| table.oid).collect();
    let names: Vec<Option<&str>> = watched.iter().map(|table| table.name.as_deref()).collect();
    let assigned: Vec<bool> = watched.iter().map(|table| table.assigned).collect();
    let typed: Vec<bool> = watched.iter().map(|table| table.typed).collect();
    let rows = with(pool, "check the watched tables", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&oids, Type::OID_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&assigned, Type::BOOL_ARRAY),
            (&typed, Type::BOOL_ARRAY),
        ];
        client
            .query_typed(sql!("queries/table_faults.sql"), &parameters)
            .await
    })
    .await?;
    Ok(from_rows(&rows))
}

/// The faults in the rows of a query for them.
pub(crate) fn from_rows(rows: &[tokio_postgres::Row]) -> Vec<Fault> {
    let fault = |row: &tokio_postgres::Row| Fault {
        problem: row.get("problem"),
        why: row.get("why"),
    };
    rows.iter().map(fault).collect()
}
