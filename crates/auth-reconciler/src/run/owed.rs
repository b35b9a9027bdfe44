//! What `watch()`, `unwatch()`, truncated tables and changes that could not be logged left to do, beside everything else: a
//! round does one piece of each work.

use auth_reconciler_core::controller::{Failure, Hindrance, Round};
use deadpool_postgres::Pool;
use tracing::debug;
use uuid::Uuid;

use crate::postgres::error::StoreError;
use crate::postgres::owed::{self, Outcome};
use crate::postgres::pool::{read_with, with};
use crate::telemetry::chain;

/// Does one piece of each work that is owed, and tells what is left and what was in the way.
pub(super) async fn round(pool: &Pool, epoch: Uuid) -> Round {
    match pieces(pool, epoch).await {
        Ok(round) => round,
        Err(failure) => Round {
            later: true,
            hindered: vec![Hindrance::Unlisted(Failure::from(&failure))],
            ..Round::default()
        },
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
                    let why = piece.unlogged.unwrap_or_default();
                    round.hindered.push(Hindrance::Unlogged(why));
                }
            }
            Err(failure) => {
                round.later = true;
                if failure.is_busy() {
                    debug!(error = chain(&failure), "a table is locked: its rows later");
                } else {
                    let failure = Failure::from(&failure);
                    round.hindered.push(Hindrance::Undone(failure));
                }
            }
        }
    }
    Ok(round)
}
