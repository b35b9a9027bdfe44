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
    /// Changes of every row were logged before.
    pub(super) all_logged: bool,
    /// Changes were counted that could not be logged, and every row was not wanted.
    pub(super) unlogged: bool,
    /// The same may be so when transactions that run now have ended.
    pub(super) waits: bool,
}

/// Lists the watched tables and every key that must be looked at. For `every_row`, changes of all rows
/// are logged first, so that not even the death of this process loses one of those looks.
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
    let mut all_logged = false;
    if wanted.every_row {
        match unlogged::log_every_row(pool, &tables).await {
            Ok(()) => all_logged = true,
            Err(failure) => warn!(
                error = crate::telemetry::chain(&failure),
                advice = failure.advice(),
                "changes cannot be logged: every row is looked at, and again with each echo until they can"
            ),
        }
        if all_logged && unlogged.owed {
            unlogged::answered(pool, epoch, &unlogged).await?;
        }
    }
    let mut keys = store::backlog(pool, wanted.unsettled).await?;
    if wanted.every_row && !all_logged {
        let everything = unlogged::everything(pool, &tables).await?;
        keys.extend(everything.into_iter().map(|key| (key, Cause::Resync)));
    }
    Ok(Backlog {
        wanted,
        tables,
        expected,
        faults,
        keys,
        all_logged,
        unlogged: unlogged.owed && !wanted.every_row,
        waits: unlogged.waits || (all_logged && unlogged.still_runs()),
    })
}
