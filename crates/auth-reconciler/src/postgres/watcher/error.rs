//! What can be wrong with watching, and what to do about it.

use postgres_url::TlsError;
use thiserror::Error;

use super::{ECHO_LIMIT, LIMIT};
use crate::command::Unwritten;
use crate::postgres::remedy::{self, Act, OTHER_VERSION};
use crate::postgres::schema::SchemaError;

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
    #[error(transparent)]
    Schema(SchemaError),
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
    #[error("no watched table has an instance {0}, and nothing is kept of one")]
    NoInstance(uuid::Uuid),
    #[error("the connection ended: {0}")]
    Lost(String),
    /// Nobody is told any more, so there is nothing to go on for.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl WatcherError {
    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoSchema => {
                Some("run `auth-reconciler migrate`, or name the database that has it")
            }
            Self::Schema(error) => error.advice(),
            Self::Deaf => Some(
                "name a direct connection to the same database with --listen-url (AUTH_RECONCILER_LISTEN_URL)",
            ),
            Self::NoInstance(_) => {
                Some("`auth-reconciler status` lists the instances of all watched tables")
            }
            Self::Answer { .. } => Some(OTHER_VERSION),
            Self::Connect { source, .. } => remedy::advice(source, Act::Connect),
            Self::Query { source, .. } => remedy::advice(source, Act::Follow),
            Self::Tls(_) | Self::Timeout { .. } | Self::Lost(_) | Self::Unwritten(_) => None,
        }
    }
}
