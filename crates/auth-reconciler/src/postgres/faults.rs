//! What is not as it was: the watched tables, and our own tables, functions and views.

use auth_reconciler_core::controller::Fault;
use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use tracing::{debug, info};

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

/// What of our tables is not as the migrations made them.
pub(super) const ALTERED_TABLES: &str = sql!("queries/altered_tables.sql");

const IN_ANOTHER_FORM: &str =
    "select f.relation from auth_reconciler.in_another_form($1) as f (relation)";

const ATTACH_ANEW: &str = "select auth_reconciler.attach_anew($1)";

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

/// What of our tables is missing, changed or hidden, at most one fault. Reads the catalog only.
pub(crate) async fn altered_tables(pool: &Pool) -> Result<Vec<Fault>, StoreError> {
    let rows = with(pool, "check our tables", async |client| {
        client.query_typed(ALTERED_TABLES, &[]).await
    })
    .await?;
    Ok(from_rows(&rows))
}

/// What keeps us from seeing the tables as they were watched, or from working on them. Reads the catalog only, while nobody
/// else holds advisory locks, and other triggers of the tables are as they were.
pub(crate) async fn faults(pool: &Pool, expected: &Expected) -> Result<Vec<Fault>, StoreError> {
    let mut faults = altered(pool, expected.made.as_deref()).await?;
    faults.extend(altered_tables(pool).await?);
    let known = !faults.is_empty();
    if !known {
        attach_anew(pool, expected).await?;
    }
    let mut failed = None;
    for asked in [
        table_faults(pool, expected).await,
        foreign_locks(pool).await,
    ] {
        match asked {
            Ok(found) => faults.extend(found),
            // They call functions of ours, and why those fail is told.
            Err(failure) if failure.is_of_our_schema() => failed = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(failure) = failed
        && !known
    {
        // Dropped after the first question.
        let since = altered(pool, expected.made.as_deref()).await?;
        if since.is_empty() {
            return Err(failure);
        }
        faults.extend(since);
    }
    Ok(faults)
}

/// Gives our triggers the form that the other triggers of their tables allow, where they have another one: which tables
/// those are is one question, however many are watched. What stands in the way is no failure: that changes are not seen is
/// told as a fault.
async fn attach_anew(pool: &Pool, expected: &Expected) -> Result<(), StoreError> {
    const ACT: &str = "compare our triggers with others";
    let oids: Vec<u32> = expected.watched.iter().map(|table| table.oid).collect();
    let asked = with(pool, ACT, async |client| {
        client
            .query_typed(IN_ANOTHER_FORM, &[(&oids, Type::OID_ARRAY)])
            .await
    });
    for row in unless_refused(asked.await)?.unwrap_or_default() {
        let oid: u32 = row.get(0);
        // Each in a transaction of its own: what one waits for or comes to does not concern another.
        let attached = with(pool, ACT, async |client| {
            client
                .query_typed_one(ATTACH_ANEW, &[(&oid, Type::OID)])
                .await
        });
        let why = unless_refused(attached.await)?.and_then(|row| row.get::<_, Option<String>>(0));
        if let Some(why) = why {
            let watched = expected.watched.iter().find(|table| table.oid == oid);
            info!(
                table = watched.and_then(|table| table.name.as_deref()),
                why, "triggers attached in another form, every row will be looked at"
            );
        }
    }
    Ok(())
}

/// `None` where the server refused or somebody holds what it needs.
fn unless_refused<T>(asked: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.is_refusal() || failure.is_busy() => {
            debug!(
                error = crate::telemetry::chain(&failure),
                "cannot compare our triggers with others"
            );
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
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

/// Who holds locks of ours and is none of ours.
async fn foreign_locks(pool: &Pool) -> Result<Vec<Fault>, StoreError> {
    let rows = with(pool, "see whether others hold our locks", async |client| {
        client
            .query_typed(sql!("queries/foreign_locks.sql"), &[])
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
