//! What can be wrong with watching, and what to do about it.

use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::{ECHO_LIMIT, LIMIT};
use crate::database::TlsError;

/// Why nothing can be watched.
#[derive(Debug, Error)]
pub(crate) enum WatcherError {
    #[error("could not set up TLS to watch")]
    Tls(#[from] TlsError),
    #[error("could not connect to {server} to watch")]
    Connect {
        server: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("no answer from the database within {LIMIT:?} on the attempt to {act}")]
    Timeout { act: &'static str },
    #[error("could not {act}")]
    Query {
        act: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the schema auth_reconciler is missing in this database")]
    NoSchema,
    #[error(
        "the session did not hear its own echo within {ECHO_LIMIT:?}: LISTEN does not work on this connection, most \
         likely because a transaction pooler (PgBouncer, Supavisor) is in between"
    )]
    Deaf,
    #[error("could not understand what the database answered on the attempt to {act}")]
    Answer {
        act: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("the connection ended: {0}")]
    Lost(String),
}

impl WatcherError {
    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoSchema => {
                Some("run `auth-reconciler migrate`, or name the database that has it")
            }
            Self::Deaf => Some(
                "name a direct connection to the same database with --listen-url (AUTH_RECONCILER_LISTEN_URL)",
            ),
            Self::Answer { .. } => Some(OTHER_VERSION),
            Self::Connect { source, .. } => crate::database::advice(source),
            Self::Query { source, .. } => {
                let code = source.code()?;
                if *code == SqlState::INSUFFICIENT_PRIVILEGE {
                    Some(
                        "the role may not read: grant auth_reconciler_reader to it (deploy/grants.sql makes that role)",
                    )
                } else if *code == SqlState::UNDEFINED_FUNCTION
                    || *code == SqlState::UNDEFINED_COLUMN
                    || *code == SqlState::UNDEFINED_TABLE
                {
                    Some(OTHER_VERSION)
                } else if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
                    || *code == SqlState::FEATURE_NOT_SUPPORTED
                {
                    Some(
                        "this server may be a standby, on which nobody can listen: name the primary",
                    )
                } else {
                    None
                }
            }
            Self::Tls(_) | Self::Timeout { .. } | Self::Lost(_) => None,
        }
    }
}

const OTHER_VERSION: &str = "the schema auth_reconciler is of another version than this program: use the program that \
     migrated it, or run `auth-reconciler migrate` with this one";
