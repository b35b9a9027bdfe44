//! Which watched tables somebody has locked: told without waiting.
//!
//! A table that is locked is waited for briefly, by whoever comes to it first. From then on it is asked which tables are
//! locked before one of those that were is used, so however many there are, nobody waits for each of them in turn.

use std::collections::HashSet;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;
use tracing::debug;

use super::direct;
use super::error::StoreError;
use super::pool::bare;
use super::tables::{Table, Tables};
use crate::telemetry::chain;

/// How long it is known that a table is locked: for whoever comes to many of them, one after another. Who gives way comes
/// again about as soon.
const KNOWN_FOR: Duration = Duration::from_millis(50);

/// What a table is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Its rows are read.
    Read,
    /// Its rows are locked and written. A lock that lets read, as an index that is made takes one, keeps out writes.
    Write,
}

impl Usage {
    /// Modes of locks that keep it out, as the server names them.
    const fn kept_out_by(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["AccessExclusiveLock"],
            Self::Write => &[
                "ShareLock",
                "ShareRowExclusiveLock",
                "ExclusiveLock",
                "AccessExclusiveLock",
            ],
        }
    }
}

/// Why a table was not even tried.
pub(super) fn is_locked(act: &'static str, table: &Table) -> StoreError {
    StoreError::GaveWay {
        act,
        why: format!("table {} is locked", table.relation),
    }
}

/// Which of these tables cannot be used so at present. Where that cannot be told none is named, and whoever comes waits.
pub(super) async fn locked_tables(pool: &Pool, oids: &[u32], usage: Usage) -> HashSet<u32> {
    let modes = usage.kept_out_by();
    let told = bare(pool, "find out which tables are locked", async |client| {
        let statement = sql!("queries/locked_tables.sql");
        let parameters = [
            (&oids as _, Type::OID_ARRAY),
            (&modes as _, Type::TEXT_ARRAY),
        ];
        direct::query(client, statement, &parameters).await
    });
    match told.await {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(failure) => {
            debug!(
                error = chain(&failure),
                "which tables are locked is not known"
            );
            HashSet::new()
        }
    }
}

/// Whether this table is still locked, if it was the last time: else nobody is asked, nor where that is known of late.
pub(super) async fn is_still_locked(
    pool: &Pool,
    tables: &Tables,
    table: &Table,
    usage: Usage,
) -> bool {
    let Some(seen) = table.seen_locked(usage) else {
        return false;
    };
    if seen.elapsed() > KNOWN_FOR {
        note_locked(pool, tables, usage).await;
    }
    table.seen_locked(usage).is_some()
}

/// Notes which of these tables are locked now: one of them was waited for in vain.
pub(super) async fn note_locked(pool: &Pool, tables: &Tables, usage: Usage) {
    let oids: Vec<u32> = tables.values().map(|table| table.oid).collect();
    let locked = locked_tables(pool, &oids, usage).await;
    for table in tables.values() {
        table.note_locked(usage, locked.contains(&table.oid));
    }
}
