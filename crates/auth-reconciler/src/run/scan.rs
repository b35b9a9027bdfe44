//! Finding in the database what must be looked at: after every gap in hearing, and when somebody rang for it.

use auth_reconciler_core::Cause;
use tracing::warn;
use uuid::Uuid;

use super::look::Context;
use crate::postgres::error::StoreError;
use crate::postgres::tables::{Expected, Fault, Key, Tables};
use crate::postgres::{faults, store, unlogged};

/// What is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Besides what is in the log, what was not recorded as final: after a gap in hearing.
    pub(super) unsettled: bool,
    /// Everything.
    pub(super) every_row: bool,
}

/// What a scan found.
pub(super) struct Backlog {
    /// What was wanted.
    pub(super) wanted: Wanted,
    /// The tables that are served.
    pub(super) tables: Tables,
    /// What was watched, and made.
    pub(super) expected: Expected,
    /// What keeps us from seeing some of it; asked for after a gap in hearing, where a table is left
    /// out, and with every echo.
    pub(super) faults: Option<Vec<Fault>>,
    /// Every key that must be looked at.
    pub(super) keys: Vec<(Key, Cause)>,
    /// Looks at every row are owed from here on.
    pub(super) owed: bool,
    /// Changes were counted that could not be logged, and every row was not wanted.
    pub(super) unlogged: bool,
    /// The same may be so when transactions that run now have ended.
    pub(super) waits: bool,
}

/// Lists the watched tables and every key that must be looked at. For `every_row`, looks at all rows are owed
/// first, so that not even the death of this process loses one of them.
pub(super) async fn scan(
    context: &Context,
    epoch: Uuid,
    wanted: Wanted,
) -> Result<Backlog, StoreError> {
    let pool = &context.pool;
    let (tables, expected) = store::watched_tables(pool).await?;
    // A table that is left out must be told, or nobody would look at its rows when it is mended.
    let faults = if wanted.unsettled || tables.len() < expected.watched.len() {
        Some(faults::faults(pool, &expected).await?)
    } else {
        None
    };
    let unlogged = unlogged::state(pool).await?;
    let mut owed = false;
    if wanted.every_row {
        match unlogged::owe_every_row(pool).await {
            Ok(()) => owed = true,
            Err(failure) => warn!(
                error = crate::telemetry::chain(&failure),
                advice = failure.advice(),
                "looks at all rows could not be queued; tried again with the next echo"
            ),
        }
        if owed && unlogged.owed {
            unlogged::answered(pool, epoch, &unlogged).await?;
        }
    }
    let keys = store::backlog(pool, wanted.unsettled).await?;
    Ok(Backlog {
        wanted,
        tables,
        expected,
        faults,
        keys,
        owed,
        unlogged: unlogged.owed && !wanted.every_row,
        waits: unlogged.waits || (owed && unlogged.still_runs()),
    })
}
