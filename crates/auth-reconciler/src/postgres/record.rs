//! Recording verdicts, the only thing that changes a watched table: any number of them in one transaction, each behind its
//! own fence.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_reconciler_core::batch::Bound;
use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::{Cause, Key};
use deadpool_postgres::Pool;
use serde::Serialize;
use uuid::Uuid;

use super::batcher::Batcher;
use super::error::StoreError;
use super::look::Look;

mod batch;
mod wanted;

use batch::record_all;
use wanted::Wanted;

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The column was written.
    Written,
    /// The column was right already.
    Right,
    /// A trigger of the table replaced the value.
    Overridden,
    /// The table refuses the value; that is recorded.
    Unwritable,
    /// Somebody holds the row; nothing was recorded.
    Busy,
    /// The row is gone; of a verdict, nothing was recorded.
    Gone,
    /// The table is no longer watched; nothing was recorded.
    Unwatched,
    /// Refused: another epoch has begun.
    EpochEnded,
    /// Refused: another run recorded, or something changed since the read.
    Overtaken(&'static str),
}

/// The answer to a record.
#[derive(Debug)]
pub(crate) struct Recording {
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// What the column said before.
    pub(crate) from: Option<String>,
    /// Time from the cause to the record.
    pub(crate) reaction_ms: Option<f64>,
    /// What of the table refused the write.
    pub(crate) refusal: Option<String>,
}

/// What goes with every record.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RecordSettings {
    /// Transitions kept of one instance.
    pub(crate) history_per_instance: u32,
    /// Age at which transitions go, in milliseconds.
    pub(crate) history_max_age_ms: u64,
    /// When to try again what a trigger of the table has overridden, in milliseconds.
    pub(crate) overridden_retry_ms: u64,
}

/// A verdict, and everything that it was computed from.
#[derive(Debug)]
pub(crate) struct Proposal<'a> {
    /// The epoch in which this process led when it read.
    pub(crate) epoch: Uuid,
    /// The instance.
    pub(crate) key: Key,
    /// What was read of it.
    pub(crate) look: &'a Look,
    /// What is to be recorded.
    pub(crate) verdict: &'a Verdict,
    /// What led to the look.
    pub(crate) cause: Cause,
    /// Time since the look was woken.
    pub(crate) waited: Duration,
}

/// What is to be done behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// A verdict is recorded.
    Record,
    /// A row is gone, and what was recorded of it goes, too.
    Forget,
}

impl Act {
    /// In words, for errors.
    const fn name(self) -> &'static str {
        match self {
            Self::Record => "record a verdict",
            Self::Forget => "forget an instance",
        }
    }
}

/// Records one verdict at a time for whoever asks, together with what others ask for meanwhile.
#[derive(Debug)]
pub(crate) struct Records(Batcher<Wanted, Result<Recording, StoreError>>);

impl Records {
    /// Most verdicts that are recorded at once.
    const MOST: usize = 256;

    /// Records in these sessions.
    pub(crate) fn on(pool: Pool, settings: RecordSettings) -> Self {
        let bound = Arc::new(Mutex::new(Bound::default()));
        let learnt = Arc::clone(&bound);
        Self(Batcher::start(
            move |waiting| {
                fitting(
                    waiting,
                    bound.lock().unwrap_or_else(PoisonError::into_inner).rows(),
                )
            },
            move |wanted: Vec<Wanted>| {
                let (pool, learnt) = (pool.clone(), Arc::clone(&learnt));
                async move {
                    let held = |rows, time| {
                        let mut bound = learnt.lock().unwrap_or_else(PoisonError::into_inner);
                        bound.observe(rows, time);
                    };
                    record_all(&pool, &settings, &wanted, held).await
                }
            },
        ))
    }

    /// Records a verdict behind the fence.
    pub(crate) async fn record(&self, proposal: &Proposal<'_>) -> Result<Recording, StoreError> {
        self.run(Wanted::record(proposal)?).await
    }

    /// Answers for the changes of a row that is gone, behind the same fence.
    pub(crate) async fn forget(
        &self,
        epoch: Uuid,
        key: Key,
        look: &Look,
    ) -> Result<Outcome, StoreError> {
        let recording = self.run(Wanted::forget(epoch, key, look)?).await?;
        Ok(recording.outcome)
    }

    async fn run(&self, wanted: Wanted) -> Result<Recording, StoreError> {
        let act = wanted.act;
        let recording = self.0.run(wanted).await;
        recording.unwrap_or_else(|| Err(no_answer(act)))
    }
}

/// How many of those that wait, the oldest first, lock no more rows than this.
fn fitting(waiting: &VecDeque<Wanted>, rows: usize) -> usize {
    let mut writes = 0;
    waiting
        .iter()
        .take(Records::MOST)
        .take_while(|one| {
            writes += usize::from(one.writes);
            writes <= rows
        })
        .count()
}

fn no_answer(act: Act) -> StoreError {
    StoreError::Answer {
        act: act.name(),
        what: "no answer for one of a batch".to_owned(),
    }
}

#[cfg(test)]
mod tests;
