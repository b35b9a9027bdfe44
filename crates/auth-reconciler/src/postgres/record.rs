//! Recording verdicts, the only thing that changes a watched table: any number of them in one transaction, each behind its
//! own fence.

use std::sync::{Mutex, PoisonError};

use auth_reconciler_core::record::{Proposal, Recording, Transaction};
use deadpool_postgres::Pool;
use serde::Serialize;

use super::error::StoreError;
use super::halves::no_answer;
use super::tables::Tables;

mod batch;
mod wanted;

use batch::record_all;
use wanted::Wanted;

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

/// Records these behind the fence. The results are in their order; and the transactions that have locked watched rows.
pub(crate) async fn record(
    pool: &Pool,
    tables: &Tables,
    settings: &RecordSettings,
    proposals: &[Proposal],
) -> (Vec<Result<Recording, StoreError>>, Vec<Transaction>) {
    let transactions = Mutex::new(Vec::new());
    let wanted: Vec<_> = proposals.iter().map(Wanted::of).collect();
    let sent: Vec<&Wanted> = wanted
        .iter()
        .filter_map(|wanted| wanted.as_ref().ok())
        .collect();
    let note = |transaction| {
        transactions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(transaction);
    };
    let mut recordings = record_all(pool, tables, settings, &sent, note)
        .await
        .into_iter();
    let results = wanted.into_iter().map(|wanted| {
        let act = wanted?.act;
        recordings
            .next()
            .unwrap_or_else(|| Err(no_answer(act.name())))
    });
    let results = results.collect();
    (
        results,
        transactions
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

#[cfg(test)]
mod tests;
