//! What is sent of a verdict that is to be recorded.

use std::time::Duration;

use auth_reconciler_core::Key;
use auth_reconciler_core::facts::Recorded;
use serde::Serialize;
use uuid::Uuid;

use super::{Act, Proposal};
use crate::postgres::error::StoreError;
use crate::postgres::look::Look;

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
    /// A verdict that is to be recorded.
    pub(crate) fn record(proposal: &Proposal<'_>) -> Result<Self, StoreError> {
        let Proposal {
            look, verdict, key, ..
        } = *proposal;
        let said = look.facts.row.as_ref();
        let said = said.and_then(|row| row.auth_status.as_deref().filter(|_| !row.put_aside));
        Ok(Self {
            act: Act::Record,
            epoch: proposal.epoch,
            key,
            writes: verdict
                .status
                .is_some_and(|status| said != Some(status.as_str())),
            json: json(
                Act::Record,
                &ProposalColumns {
                    verdict: InstanceColumns {
                        key: KeyColumns::of(key, look),
                        memory: &verdict.memory,
                        last: verdict.last,
                        message: &verdict.message,
                        cause: proposal.cause.as_str(),
                    },
                    status: said,
                    changes: &look.changes,
                    woken_ms: millis(proposal.waited),
                    unwritable_retry_ms: millis(look.unwritable_retry()),
                    retry_ms: verdict.retry.map(millis),
                    trouble_ms: verdict.trouble_after.map(millis),
                },
            )?,
        })
    }

    /// A row that is gone, whose changes are to be answered for.
    pub(crate) fn forget(epoch: Uuid, key: Key, look: &Look) -> Result<Self, StoreError> {
        Ok(Self {
            act: Act::Forget,
            epoch,
            key,
            writes: false,
            json: json(
                Act::Forget,
                &ProposalColumns {
                    verdict: KeyColumns::of(key, look),
                    status: None,
                    changes: &look.changes,
                    woken_ms: 0.0,
                    unwritable_retry_ms: 0.0,
                    retry_ms: None,
                    trouble_ms: None,
                },
            )?,
        })
    }
}

impl KeyColumns {
    const fn of(key: Key, look: &Look) -> Self {
        Self {
            watched_id: key.watched_id,
            instance_id: key.instance_id,
            version: look.version,
        }
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
