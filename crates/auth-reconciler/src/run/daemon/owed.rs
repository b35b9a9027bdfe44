//! What `watch()`, `unwatch()`, truncated tables and changes that could not be logged left to do, beside everything else: a
//! round does one piece of each work.

use std::sync::Arc;

use auth_reconciler_core::Cause;
use deadpool_postgres::Pool;
use tracing::{debug, warn};
use uuid::Uuid;

use super::Daemon;
use crate::postgres::error::StoreError;
use crate::postgres::owed::{self, Outcome};
use crate::postgres::pool::{read_with, with};
use crate::postgres::tables::Key;
use crate::run::{Done, Phase};
use crate::telemetry::chain;

/// Where this term is with what is owed.
#[derive(Debug, Default)]
pub(in crate::run) struct Owed {
    /// Something may be owed.
    wanted: bool,
    /// A round is under way.
    under_way: bool,
    /// Something could not be done now, and is tried with the next echo.
    later: bool,
}

impl Owed {
    /// Has a round begin: somebody rang, or there is more.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Has what could not be done be tried again.
    pub(super) fn try_again(&mut self) {
        self.wanted |= std::mem::take(&mut self.later);
    }
}

/// What a round did.
pub(in crate::run) struct Round {
    /// Rows that must be looked at.
    keys: Vec<Key>,
    /// There is more to do at once.
    more: bool,
    /// There is more to do, but not now.
    later: bool,
}

impl Daemon {
    pub(super) fn work_off(&mut self) {
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        if leader.owed.under_way || !std::mem::take(&mut leader.owed.wanted) {
            return;
        }
        leader.owed.under_way = true;
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        self.jobs.spawn(async move {
            let result = round(&context.pool, epoch).await;
            Done::WorkedOff { epoch, result }
        });
    }

    pub(super) fn on_worked_off(&mut self, result: Result<Round, StoreError>) {
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        leader.owed.under_way = false;
        match result {
            Ok(round) => {
                leader.owed.wanted |= round.more;
                leader.owed.later |= round.later;
                let now = self.now();
                for key in round.keys {
                    self.wake(key, Cause::Watch, now);
                }
            }
            Err(failure) => {
                leader.owed.later = true;
                warn!(
                    error = chain(&failure),
                    advice = failure.advice(),
                    "what is owed is not known; asked again with the next echo"
                );
            }
        }
    }
}

async fn round(pool: &Pool, epoch: Uuid) -> Result<Round, StoreError> {
    let works = with(pool, "list what is owed", async |client| {
        owed::list(client).await
    })
    .await?;
    let mut round = Round {
        keys: Vec::new(),
        more: false,
        later: false,
    };
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
