//! Finding in the database what must be looked at: after every gap in hearing, and when somebody rang for it.

use auth_reconciler_core::Cause;
use tracing::warn;

use super::look::Context;
use crate::postgres::error::StoreError;
use crate::postgres::store;
use crate::postgres::tables::{Fault, Key, Tables, Watched};

/// What a scan found.
pub(super) struct Backlog {
    /// The tables that are served.
    pub(super) tables: Tables,
    /// What was watched.
    pub(super) watched: Vec<Watched>,
    /// What keeps us from seeing some of it.
    pub(super) faults: Vec<Fault>,
    /// Every key that must be looked at.
    pub(super) keys: Vec<(Key, Cause)>,
    /// Changes of every row were logged before.
    pub(super) all_logged: bool,
}

/// Lists the watched tables and every key that must be looked at. For `every_row`, changes of all rows
/// are logged first, so that not even the death of this process loses one of those looks.
pub(super) async fn scan(context: &Context, every_row: bool) -> Result<Backlog, StoreError> {
    let pool = &context.pool;
    let (tables, watched) = store::watched_tables(pool).await?;
    let faults = store::table_faults(pool, &watched).await?;
    let mut all_logged = false;
    if every_row {
        match store::log_every_row(pool, &tables).await {
            Ok(()) => all_logged = true,
            Err(failure) => warn!(
                error = crate::telemetry::chain(&failure),
                advice = failure.advice(),
                "changes cannot be logged: every row is looked at, and again with each echo until they can"
            ),
        }
    }
    let mut keys = store::backlog(pool).await?;
    if every_row && !all_logged {
        let everything = store::everything(pool, &tables).await?;
        keys.extend(everything.into_iter().map(|key| (key, Cause::Resync)));
    }
    Ok(Backlog {
        tables,
        watched,
        faults,
        keys,
        all_logged,
    })
}
