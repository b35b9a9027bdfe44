//! How a statement on the database fails. What is done about it is in [`super::remedy`].

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::{DbError, SqlState};

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
    /// It was not even tried, so that nobody waits for it.
    #[error("did not {act}: {why}")]
    GaveWay { act: &'static str, why: String },
    #[error("could not understand what the database answered on the attempt to {act}: {what}")]
    Answer { act: &'static str, what: String },
    /// That of a whole batch.
    #[error(transparent)]
    Shared(Arc<StoreError>),
}

impl StoreError {
    /// The SQLSTATE, where the server gave one.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Query { source, .. } | Self::Connect { source, .. } => source.code(),
            Self::Pool { .. }
            | Self::Timeout { .. }
            | Self::Hidden { .. }
            | Self::GaveWay { .. }
            | Self::Answer { .. } => None,
            Self::Shared(error) => error.code(),
        }
    }

    /// What the server said of a statement.
    fn refused(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::Query { source, .. } => Some(source),
            Self::Shared(error) => error.refused(),
            Self::Connect { .. }
            | Self::Pool { .. }
            | Self::Timeout { .. }
            | Self::Hidden { .. }
            | Self::GaveWay { .. }
            | Self::Answer { .. } => None,
        }
    }

    fn db_error(&self) -> Option<&DbError> {
        self.refused().and_then(tokio_postgres::Error::as_db_error)
    }

    /// Whether, where a batch failed with it, a single one of the batch may be the reason. It is not where the way to the
    /// server, a right, a lock, a limit or the schema is.
    pub(super) fn may_be_of_one(&self) -> bool {
        const OF_ALL: [&str; 11] = [
            "08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "F0",
        ];
        let class = self
            .db_error()
            .and_then(|error| error.code().code().get(..2));
        class.is_some_and(|class| !OF_ALL.contains(&class))
    }

    /// Whether the server was not even asked, or has not answered.
    pub(crate) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Pool { .. } | Self::Timeout { .. } => true,
            Self::Query { source, .. } => source.as_db_error().is_none(),
            Self::Hidden { .. } | Self::GaveWay { .. } | Self::Answer { .. } => false,
            Self::Shared(error) => error.is_of_the_way(),
        }
    }

    /// Whether it is the refusal to read what row level security hides.
    pub(super) fn hides_rows(&self) -> bool {
        // Its words are in the language of the server.
        self.db_error().and_then(DbError::routine) == Some("check_enable_rls")
    }

    /// Whether it is an error of the watched table's own triggers and checks, see [`telemetry::in_their_code`].
    pub(crate) fn in_their_code(&self) -> bool {
        self.db_error().is_some_and(telemetry::in_their_code)
    }

    /// Whether it is of the way to the server and may be gone in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Query { source, .. } | Self::Connect { source, .. } => remedy::may_pass(source),
            Self::Pool { source, .. } => {
                matches!(source, deadpool_postgres::PoolError::Timeout(_))
            }
            Self::Timeout { .. } => true,
            Self::Hidden { .. } | Self::GaveWay { .. } | Self::Answer { .. } => false,
            Self::Shared(error) => error.may_pass(),
        }
    }

    /// See [`remedy::is_busy`]. What the triggers of the watched table wait for counts as well.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::GaveWay { .. } => true,
            Self::Shared(error) => error.is_busy(),
            Self::Query { .. }
            | Self::Connect { .. }
            | Self::Pool { .. }
            | Self::Timeout { .. }
            | Self::Hidden { .. }
            | Self::Answer { .. } => self.code().is_some_and(remedy::is_busy),
        }
    }

    /// Whether our own statement has waited for a lock in vain, and no trigger of the watched table.
    pub(super) fn met_a_lock(&self) -> bool {
        self.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && !self.in_their_code()
    }

    /// Whether the server ended the statement at its limit, or somebody told it to.
    pub(super) fn is_canceled(&self) -> bool {
        self.code() == Some(&SqlState::QUERY_CANCELED)
    }

    /// Whether the server answered, and refused: the same will be refused again at once. A session that it ended is not
    /// meant, nor is what the way to it did.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Query { .. } | Self::Connect { .. } => self
                .code()
                .is_some_and(|code| !code.code().starts_with("57P") && !self.is_busy()),
            Self::Hidden { .. } | Self::Answer { .. } => true,
            Self::Pool { .. } | Self::Timeout { .. } | Self::GaveWay { .. } => false,
            Self::Shared(error) => error.is_refusal(),
        }
    }

    /// Whether it misses a function, view or table of our own schema.
    pub(crate) fn is_of_our_schema(&self) -> bool {
        self.refused().is_some_and(remedy::misses_ours)
    }

    /// The advice of an error that no retry mends, for the running daemon.
    pub(crate) fn end(&self) -> Option<&'static str> {
        let remedy = remedy::remedy(self.refused()?, Act::Serve)?;
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
            | Self::GaveWay { .. }
            | Self::Answer { .. } => None,
            Self::Shared(error) => error.advice(),
        }
    }
}
