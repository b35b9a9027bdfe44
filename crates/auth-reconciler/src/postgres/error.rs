//! One table that decides what happens to a database error: retry, or end with a word of advice.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::{DbError, SqlState};

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

/// What an operator does about an error that [`misses_ours`].
pub(crate) const MAKE_ANEW: &str =
    "a function or view of the schema auth_reconciler is missing: run `auth-reconciler migrate`";

/// What is done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It may pass: try again with backoff.
    Retry,
    /// It will not pass while we run: end, with this advice.
    End(&'static str),
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

    /// Whether it is an error of the watched table's own triggers and checks, see [`in_their_code`].
    pub(crate) fn in_their_code(&self) -> bool {
        let Self::Query { source, .. } = self else {
            return false;
        };
        source.as_db_error().is_some_and(in_their_code)
    }

    /// Whether it is of the way to the server and may be gone in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Query { source, .. } | Self::Connect { source, .. } => {
                crate::database::may_pass(source)
            }
            Self::Pool { source, .. } => {
                matches!(source, deadpool_postgres::PoolError::Timeout(_))
            }
            Self::Timeout { .. } => true,
            Self::Hidden { .. } | Self::Answer { .. } => false,
        }
    }

    /// Whether somebody holds what it needs: it gave way, and comes again. What the triggers of the
    /// watched table wait for counts as well.
    pub(crate) fn is_busy(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED
        })
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

    /// Whether one table cannot be read as it is: a right was lost, or a column was renamed. That is told of the table, and
    /// is no reason to give up the others.
    pub(crate) fn is_of_the_table(&self) -> bool {
        self.code().is_some_and(|code| {
            [
                SqlState::INSUFFICIENT_PRIVILEGE,
                SqlState::UNDEFINED_COLUMN,
                SqlState::UNDEFINED_TABLE,
            ]
            .contains(code)
        })
    }

    /// Whether it misses a function, view or table of our own schema.
    pub(crate) fn is_of_our_schema(&self) -> bool {
        let Self::Query { source, .. } = self else {
            return false;
        };
        misses_ours(source)
    }

    /// What the running daemon does about it.
    pub(crate) fn policy(&self) -> Policy {
        let Some(code) = self.code().filter(|_| !self.in_their_code()) else {
            return Policy::Retry;
        };
        if *code == SqlState::INVALID_SCHEMA_NAME || *code == SqlState::UNDEFINED_FUNCTION {
            return Policy::End(
                "the schema auth_reconciler is gone or of another version: run `auth-reconciler migrate`, then start again",
            );
        }
        Policy::Retry
    }

    /// A sentence for the operator beside an error that is retried.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        if let Self::Connect { source, .. } = self {
            return crate::database::advice(source);
        }
        if self.is_of_our_schema() {
            return Some(MAKE_ANEW);
        }
        let code = self.code()?;
        if self.in_their_code() {
            return Some(
                "a trigger or check of the watched table fails when auth_status is written: correct it",
            );
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return Some(
                "the daemon's role lacks a right, or row level security hides rows from it; `auth-reconciler doctor` names what is missing",
            );
        }
        if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN {
            return Some(
                "a watched table was changed or dropped: the view auth_reconciler.problems says with the next echo which one, and what mends it",
            );
        }
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Some(
                "this server is a standby, or default_transaction_read_only is on: name the primary, or all servers, in DATABASE_URL, or set it off for the database and the role",
            );
        }
        if *code == SqlState::TOO_MANY_CONNECTIONS {
            return Some("raise max_connections of the server or lower AUTH_RECONCILER_POOL_SIZE");
        }
        None
    }
}

/// Whether a function, view or table of our own schema is missing, whoever asked for it.
pub(crate) fn misses_ours(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        [SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_TABLE].contains(error.code())
            && error.message().contains("auth_reconciler.")
    })
}

/// Whether it comes out of what the watched table's own triggers and checks call, inside our write:
/// then a missing table or function is not one of ours, and its text may hold anything of the row. The
/// server tells the innermost place first.
pub(crate) fn in_their_code(error: &DbError) -> bool {
    error
        .where_()
        .and_then(|context| context.split_once(" set auth_status = $2,"))
        .is_some_and(|(inner, _)| inner.contains('\n'))
}
