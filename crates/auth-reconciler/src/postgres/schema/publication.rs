//! Publications that take in our tables.
//!
//! A subscriber that lacks a table stops at its first row and tries that row again for ever; that the table is dropped
//! later does not help. So no table is made that would be published unasked.

use std::fmt;

use tokio_postgres::{Client, Row};

/// Reads them; [`Publication::from_row`] understands what it returns.
pub(crate) const STATEMENT: &str = sql!("queries/publications.sql");

/// What an operator does where ours are published.
pub(crate) const REMEDY: &str = "a subscriber without them stops at the first change that is logged, and goes on once \
    it has them: there `pg_dump -s -n auth_reconciler <publisher> | psql <subscriber>`, then `alter subscription … \
    refresh publication`. Better: publish the manager's tables by name or by their schema";

/// A publication that takes in tables of ours.
#[derive(Debug)]
pub(crate) struct Publication {
    name: String,
    scope: String,
    /// Also those that are still to be made.
    pub(super) new_ones: bool,
}

impl Publication {
    pub(crate) fn from_row(row: &Row) -> Self {
        Self {
            name: row.get("name"),
            scope: row.get("scope"),
            new_ones: row.get("new_ones"),
        }
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publication {} ({})", self.name, self.scope)
    }
}

/// All of them; the session's path is pinned.
pub(super) async fn publications(
    client: &Client,
) -> Result<Vec<Publication>, tokio_postgres::Error> {
    let rows = client.query_typed(STATEMENT, &[]).await?;
    Ok(rows.iter().map(Publication::from_row).collect())
}
