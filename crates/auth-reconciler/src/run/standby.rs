//! Standing by: waiting for the lock, and for signs that whoever holds it does not move.

use std::time::Instant;

use auth_reconciler_core::standby::{Act, Seen, Vigil};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tracing::{debug, warn};

use super::lead::LeadError;
use crate::postgres::ear::Ear;
use crate::postgres::error::StoreError;
use crate::postgres::listener::Identity;
use crate::postgres::pool::with;
use crate::postgres::store;
use crate::telemetry::chain;

/// Waits until this process holds the leadership lock, however long that takes.
///
/// Each wait is bounded, and between two of them the log is looked at: nothing else tells of a leader that lives and
/// does not move. The process that leads never does so.
///
/// # Errors
/// The connection ended, or the schema is missing.
pub(super) async fn wait(ear: &Ear, pool: &Pool) -> Result<(), LeadError> {
    let began = Instant::now();
    let mut vigil = Vigil::default();
    let mut said = None;
    let mut deposed = None;
    say_who_is_foreign(pool, &mut said).await;
    while !ear.wait_for_leadership().await? {
        debug!("still standing by");
        say_who_is_foreign(pool, &mut said).await;
        if let Err(failure) = watch_over(pool, &mut vigil, &mut deposed, began).await {
            debug!(error = chain(&failure), "could not watch over the leader");
        }
    }
    Ok(())
}

/// Any role may take any lock. Whoever holds one of ours and is none of ours is named once.
async fn say_who_is_foreign(pool: &Pool, said: &mut Option<Vec<String>>) {
    let act = "see whether others hold our locks";
    let found = with(pool, act, async |client| {
        let statement = "select why from auth_reconciler.foreign_locks() where lock = 'leadership'";
        client.query_typed(statement, &[]).await
    })
    .await;
    match found {
        Ok(rows) => {
            let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if said.as_ref() != Some(&found) {
                for why in &found {
                    warn!(why, "somebody else holds the lock of whoever leads");
                }
                *said = Some(found);
            }
        }
        Err(failure) => debug!(error = chain(&failure), "could not see who holds our locks"),
    }
}

/// `deposed` is whose session was to be ended last: that it cannot be is said once.
async fn watch_over(
    pool: &Pool,
    vigil: &mut Vigil,
    deposed: &mut Option<(i32, DateTime<Utc>)>,
    began: Instant,
) -> Result<(), StoreError> {
    let seen = progress(pool).await?;
    let leader = seen.as_ref().map(|seen| seen.leader);
    match vigil.observe(began.elapsed(), seen) {
        Act::Wait => Ok(()),
        Act::Ring => store::ring_for_scan(pool).await,
        Act::Depose => {
            let Some((pid, started)) = leader else {
                return Ok(());
            };
            let news = deposed.replace((pid, started)) != Some((pid, started));
            if news {
                warn!(
                    session = pid,
                    "the process that leads answers for nothing, and does not move when it is rung for: ending its session"
                );
            }
            let ended = store::end_former_ear(pool, Identity { pid, started }).await;
            if let (true, Err(failure)) = (news, &ended) {
                warn!(
                    error = chain(failure),
                    "could not end its session: end that process, or its session with pg_terminate_backend"
                );
            }
            ended
        }
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
