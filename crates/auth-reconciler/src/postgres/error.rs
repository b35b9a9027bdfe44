//! How a statement on the database fails. What is done about it is in [`super::remedy`].

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::remedy::{self, Act, Course};
use crate::telemetry;

/// A failed act on the database.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("could not {act}")]
    Query {
        act: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("could not connect to the database to {act}")]
    Connect {
        act: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("could not get a database connection to {act}")]
    Pool {
        act: &'static str,
        #[source]
        source: deadpool_postgres::PoolError,
    },
    #[error("no answer from the database within {limit:?} on the attempt to {act}")]
    Timeout { act: &'static str, limit: Duration },
    #[error(
        "row level security of table {table} may hide rows from the daemon's role: give the role BYPASSRLS"
    )]
    Hidden { table: String },
    #[error("could not understand what the database answered on the attempt to {act}: {what}")]
    Answer { act: &'static str, what: String },
}

impl StoreError {
    /// The SQLSTATE, where the server gave one.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Query { source, .. } | Self::Connect { source, .. } => source.code(),
            Self::Pool { .. }
            | Self::Timeout { .. }
            | Self::Hidden { .. }
            | Self::Answer { .. } => None,
        }
    }

    /// Whether it is an error of the watched table's own triggers and checks, see [`telemetry::in_their_code`].
    pub(crate) fn in_their_code(&self) -> bool {
        let Self::Query { source, .. } = self else {
            return false;
        };
        source.as_db_error().is_some_and(telemetry::in_their_code)
    }

    /// Whether it is of the way to the server and may be gone in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Query { source, .. } | Self::Connect { source, .. } => remedy::may_pass(source),
            Self::Pool { source, .. } => {
                matches!(source, deadpool_postgres::PoolError::Timeout(_))
            }
            Self::Timeout { .. } => true,
            Self::Hidden { .. } | Self::Answer { .. } => false,
        }
    }

    /// See [`remedy::is_busy`]. What the triggers of the watched table wait for counts as well.
    pub(crate) fn is_busy(&self) -> bool {
        self.code().is_some_and(remedy::is_busy)
    }

    /// Whether the server answered, and refused: the same will be refused again at once. A session that it ended is not
    /// meant, nor is what the way to it did.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Query { .. } | Self::Connect { .. } => self
                .code()
                .is_some_and(|code| !code.code().starts_with("57P") && !self.is_busy()),
            Self::Hidden { .. } | Self::Answer { .. } => true,
            Self::Pool { .. } | Self::Timeout { .. } => false,
        }
    }

    /// Whether it misses a function, view or table of our own schema.
    pub(crate) fn is_of_our_schema(&self) -> bool {
        let Self::Query { source, .. } = self else {
            return false;
        };
        remedy::misses_ours(source)
    }

    /// The advice of an error that no retry mends, for the running daemon.
    pub(crate) fn end(&self) -> Option<&'static str> {
        let Self::Query { source, .. } = self else {
            return None;
        };
        let remedy = remedy::remedy(source, Act::Serve)?;
        (remedy.course == Course::End).then_some(remedy.advice)
    }

    /// A sentence for the operator beside the error.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { source, .. } => remedy::advice(source, Act::Connect),
            Self::Query { source, .. } => remedy::advice(source, Act::Serve),
            Self::Pool { .. }
            | Self::Timeout { .. }
            | Self::Hidden { .. }
            | Self::Answer { .. } => None,
        }
    }
}
