//! Finding in the database what must be looked at: after every gap in hearing, and when somebody rang for it.

use auth_reconciler_core::controller::{Backlog, Failure, Wanted};
use uuid::Uuid;

use super::context::Context;
use crate::postgres::error::StoreError;
use crate::postgres::tables::{Expected, Tables};
use crate::postgres::{faults, store, unlogged};

/// What a scan found.
pub(super) struct Scanned {
    /// What the controller is told.
    pub(super) backlog: Backlog,
    /// The tables that are served.
    pub(super) tables: Tables,
    /// What was watched, and made.
    pub(super) expected: Expected,
}

/// Lists the watched tables and every key that must be looked at. For `every_row`, looks at all rows are owed
/// first, so that not even the death of this process loses one of them.
pub(super) async fn scan(
    context: &Context,
    epoch: Uuid,
    wanted: Wanted,
) -> Result<Scanned, StoreError> {
    let pool = &context.pool;
    let (tables, expected) = store::watched_tables(pool).await?;
    // A table that is left out must be told, or nobody would look at its rows when it is mended.
    let faults = if wanted.unsettled || tables.len() < expected.watched.len() {
        faults::faults(pool, &expected).await?
    } else {
        Vec::new()
    };
    let unlogged = unlogged::state(pool).await?;
    let (mut owed, mut unqueued) = (false, None);
    if wanted.every_row {
        match unlogged::owe_every_row(pool).await {
            Ok(()) => owed = true,
            Err(failure) => unqueued = Some(Failure::from(&failure)),
        }
        if owed && unlogged.owed {
            unlogged::answered(pool, epoch, &unlogged).await?;
        }
    }
    let keys = store::backlog(pool, wanted.put_off, wanted.unsettled).await?;
    let backlog = Backlog {
        tables: tables.keys().copied().collect(),
        faults,
        keys,
        owed,
        unqueued,
        unlogged: unlogged.owed && !wanted.every_row,
        waits: unlogged.waits || (owed && unlogged.still_runs()),
    };
    Ok(Scanned {
        backlog,
        tables,
        expected,
    })
}
