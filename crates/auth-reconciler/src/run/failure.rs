//! What the core is told of an error: its words, its advice, and what may be expected of another try.

use auth_reconciler_core::controller::{Failure, FailureKind};
use tokio_postgres::error::SqlState;

use super::lead::LeadError;
use crate::postgres::error::StoreError;
use crate::telemetry::chain;

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        let missing = error.code() == Some(&SqlState::UNDEFINED_TABLE) && !error.in_their_code();
        let kind = match error.end() {
            _ if missing => FailureKind::NoTable,
            _ if error.is_busy() => FailureKind::Busy,
            Some(advice) => FailureKind::Final(advice),
            None if error.is_refusal() => FailureKind::Refused,
            None if error.may_pass() => FailureKind::Passing,
            None => FailureKind::Unclear,
        };
        Self {
            error: chain(error),
            advice: error.advice(),
            kind,
        }
    }
}

impl From<&LeadError> for Failure {
    fn from(error: &LeadError) -> Self {
        let kind = match error.end() {
            _ if error.may_pass() => FailureKind::Passing,
            Some(advice) => FailureKind::Final(advice),
            None => FailureKind::Unclear,
        };
        Self {
            error: chain(error),
            advice: error.advice(),
            kind,
        }
    }
}
