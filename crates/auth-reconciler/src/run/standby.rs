//! What a process that stands by sees of whoever holds the lock; what follows from it the controller decides.
//!
//! Between two waits for the lock the log is looked at: nothing else tells of a leader that lives and does not move. The
//! process that leads never does so.

use auth_reconciler_core::controller::{Session, Sight};
use auth_reconciler_core::standby::Seen;
use deadpool_postgres::Pool;
use tracing::{debug, warn};

use crate::postgres::error::StoreError;
use crate::postgres::listener::Identity;
use crate::postgres::pool::with;
use crate::postgres::store;
use crate::telemetry::chain;

/// All of it.
pub(super) async fn look(pool: &Pool) -> Sight {
    let foreign = foreign(pool).await;
    let leader = match progress(pool).await {
        Ok(seen) => Some(seen),
        Err(failure) => {
            debug!(error = chain(&failure), "could not watch over the leader");
            None
        }
    };
    Sight { foreign, leader }
}

/// Who holds the lock and is none of ours: any role may take any lock.
pub(super) async fn foreign(pool: &Pool) -> Option<Vec<String>> {
    let act = "see whether others hold our locks";
    let found = with(pool, act, async |client| {
        let statement = "select why from auth_reconciler.foreign_locks() where lock = 'leadership'";
        client.query_typed(statement, &[]).await
    })
    .await;
    match found {
        Ok(rows) => Some(rows.iter().map(|row| row.get(0)).collect()),
        Err(failure) => {
            debug!(error = chain(&failure), "could not see who holds our locks");
            None
        }
    }
}

/// Rings for the leader to read the log.
pub(super) async fn ring(pool: &Pool) {
    if let Err(failure) = store::ring_for_scan(pool).await {
        debug!(error = chain(&failure), "could not watch over the leader");
    }
}

/// Ends the leader's session. That it cannot be is told if it is `news`.
pub(super) async fn depose(pool: &Pool, (pid, started): Session, news: bool) {
    let ended = store::end_former_ear(pool, Identity { pid, started }).await;
    if let (true, Err(failure)) = (news, ended) {
        warn!(
            error = chain(&failure),
            "could not end its session: end that process, or its session with pg_terminate_backend"
        );
    }
}

async fn progress(pool: &Pool) -> Result<Option<Seen>, StoreError> {
    let act = "see whether the leader moves";
    let row = with(pool, act, async |client| {
        let statement = include_str!("../../../../sql/queries/leader_progress.sql");
        client.query_typed_opt(statement, &[]).await
    })
    .await?;
    Ok(row.map(|row| Seen {
        leader: (row.get("pid"), row.get("backend_start")),
        oldest_change: row.get("oldest_change"),
        oldest_due: row.get("oldest_due"),
        last_sign: row.get("last_sign"),
    }))
}
