//! What is sent of a verdict that is to be recorded.

use std::time::Duration;

use auth_reconciler_core::Key;
use auth_reconciler_core::facts::Recorded;
use auth_reconciler_core::record::Proposal;
use serde::Serialize;
use uuid::Uuid;

use super::Act;
use crate::postgres::error::StoreError;

/// One of a batch, as it is sent.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What is to be done.
    pub(super) act: Act,
    /// The epoch in which this process led when it read.
    pub(super) epoch: Uuid,
    /// The instance.
    pub(super) key: Key,
    /// Whether the watched row will be locked, as far as is known.
    pub(super) writes: bool,
    /// An `auth_reconciler.proposal`.
    pub(super) json: String,
}

/// The type `auth_reconciler.proposal`; names are those of its columns.
#[derive(Debug, Serialize)]
struct ProposalColumns<'a, T> {
    verdict: T,
    /// What the column said when it was read.
    status: Option<&'a str>,
    changes: &'a [i64],
    woken_ms: f64,
    unwritable_retry_ms: f64,
    retry_ms: Option<f64>,
    trouble_ms: Option<f64>,
}

/// The columns of `auth_reconciler.instance` that tell which one it is, and that it is still the one that was read.
#[derive(Debug, Serialize)]
struct KeyColumns {
    watched_id: i32,
    instance_id: Uuid,
    version: Option<Uuid>,
}

/// Those that a verdict fills.
#[derive(Debug, Serialize)]
struct InstanceColumns<'a> {
    #[serde(flatten)]
    key: KeyColumns,
    #[serde(flatten)]
    memory: &'a Recorded,
    #[serde(rename = "final")]
    last: bool,
    message: &'a str,
    cause: &'static str,
}

impl Wanted {
    /// What is sent of this.
    pub(super) fn of(proposal: &Proposal) -> Result<Self, StoreError> {
        let act = if proposal.verdict.is_some() {
            Act::Record
        } else {
            Act::Forget
        };
        let key = KeyColumns {
            watched_id: proposal.key.watched_id,
            instance_id: proposal.key.instance_id,
            version: proposal.snapshot.version,
        };
        let changes = &proposal.snapshot.changes;
        let json = match &proposal.verdict {
            Some(verdict) => json(
                act,
                &ProposalColumns {
                    verdict: InstanceColumns {
                        key,
                        memory: &verdict.memory,
                        last: verdict.last,
                        message: &verdict.message,
                        cause: proposal.cause.as_str(),
                    },
                    status: proposal.said(),
                    changes,
                    woken_ms: millis(proposal.waited),
                    unwritable_retry_ms: millis(proposal.snapshot.unwritable_retry()),
                    retry_ms: verdict.retry.map(millis),
                    trouble_ms: verdict.trouble_after.map(millis),
                },
            ),
            None => json(
                act,
                &ProposalColumns {
                    verdict: key,
                    status: None,
                    changes,
                    woken_ms: 0.0,
                    unwritable_retry_ms: 0.0,
                    retry_ms: None,
                    trouble_ms: None,
                },
            ),
        };
        Ok(Self {
            act,
            epoch: proposal.epoch,
            key: proposal.key,
            writes: proposal.writes(),
            json: json?,
        })
    }
}

/// As it is sent.
pub(super) fn json(act: Act, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Answer {
        act: act.name(),
        what: error.to_string(),
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
