//! What `watch()`, `unwatch()`, truncated tables and changes that could not be logged left to do, beside everything else: a
//! round does one piece of each work.

use auth_reconciler_core::controller::Round;
use deadpool_postgres::Pool;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::postgres::error::StoreError;
use crate::postgres::owed::{self, Outcome};
use crate::postgres::pool::{read_with, with};
use crate::telemetry::chain;

/// One round. `None` if it is not known what is owed.
pub(super) async fn round(pool: &Pool, epoch: Uuid) -> Option<Round> {
    match pieces(pool, epoch).await {
        Ok(round) => Some(round),
        Err(failure) => {
            warn!(
                error = chain(&failure),
                advice = failure.advice(),
                "what is owed is not known; asked again with the next echo"
            );
            None
        }
    }
}

async fn pieces(pool: &Pool, epoch: Uuid) -> Result<Round, StoreError> {
    let works = with(pool, "list what is owed", async |client| {
        owed::list(client).await
    })
    .await?;
    let mut round = Round::default();
    for work in works {
        // One whose table somebody has locked keeps no other from it.
        let done = read_with(pool, "work off what is owed", async |client| {
            owed::piece(client, work, Some(epoch)).await
        })
        .await;
        match done {
            Ok(piece) => {
                round.keys.extend(piece.keys);
                round.more |= piece.outcome == Outcome::More;
                round.later |= matches!(piece.outcome, Outcome::Busy | Outcome::Later);
                if piece.outcome == Outcome::Later {
                    warn!(
                        error = piece.unlogged,
                        "changes cannot be logged: every row is looked at, and again with each echo until they can"
                    );
                }
            }
            Err(failure) => {
                round.later = true;
                if failure.is_busy() {
                    debug!(error = chain(&failure), "a table is locked: its rows later");
                } else {
                    warn!(
                        error = chain(&failure),
                        advice = failure.advice(),
                        "what is owed could not be done; tried again with the next echo"
                    );
                }
            }
        }
    }
    Ok(round)
}
