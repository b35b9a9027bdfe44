//! Why the schema is not as it must be, and what an operator does about it.

use std::time::Duration;

use postgres_url::TlsError;
use thiserror::Error;

use crate::postgres::error::StoreError;
use crate::postgres::remedy::{self, Act};

/// Why the schema is not as it must be.
#[derive(Debug, Error)]
pub(crate) enum SchemaError {
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
    #[error("could not connect to {server}")]
    Connect {
        server: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("could not {act}")]
    Query {
        act: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the server is PostgreSQL {found}, the oldest that works is 14")]
    OldServer { found: String },
    #[error("the schema auth_reconciler is missing")]
    Missing,
    #[error(
        "the schema auth_reconciler was renamed to {name}, where no change is seen; nothing was changed: \
         alter schema {name} rename to auth_reconciler"
    )]
    Renamed { name: String },
    #[error("the schema auth_reconciler has version {found}, this program needs {needed}")]
    Older { found: i32, needed: i32 },
    #[error("the functions of schema auth_reconciler are of another build of version {version}")]
    OtherBuild { version: i32 },
    #[error(
        "the schema auth_reconciler has version {found}, newer than this program, which knows {known}; nothing was \
         changed"
    )]
    Newer { found: i32, known: i32 },
    #[error(
        "a view that must change is used by what somebody built on it: {names}; nothing of it was dropped"
    )]
    Dependents { names: String },
    #[error(
        "{publications} would take in the tables of schema auth_reconciler, and a subscriber without them stops \
         replicating for good; nothing was changed"
    )]
    Published { publications: String },
    #[error(
        "the change log is large, and a transaction of this database was open for more than {limit:?} while its index \
         was made; nothing is lost, and no daemon of this version can lead until it is done"
    )]
    OldTransaction { limit: Duration },
    #[error("somebody built on schema auth_reconciler: {names}; nothing was removed")]
    BuiltOn { names: String },
    #[error("a daemon leads ({holder}); nothing was removed")]
    Led { holder: String },
    #[error("nobody can be asked, for standard input is no terminal; nothing was removed")]
    NobodyToAsk,
    #[error("table {table} does not exist")]
    NoTable { table: String },
    #[error("table {table} is not watched")]
    NotWatched { table: String },
    #[error("triggers of table {table} are missing or disabled ({triggers})")]
    TriggersMissing { table: String, triggers: String },
    #[error("{why}")]
    RowsHidden { why: String },
    #[error("{why}")]
    ColumnChanged { why: String },
}

impl SchemaError {
    /// Whether it is of the way to the server and may be gone in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        if let Self::Connect { source, .. } | Self::Query { source, .. } = self {
            return remedy::may_pass(source);
        }
        matches!(self, Self::Store(error) if error.may_pass())
    }

    /// Whether the server was not even asked, or has not answered.
    pub(crate) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Connect { .. } => true,
            Self::Query { source, .. } => source.as_db_error().is_none(),
            Self::Store(error) => error.is_of_the_way(),
            Self::OldServer { .. }
            | Self::Missing
            | Self::Renamed { .. }
            | Self::Older { .. }
            | Self::OtherBuild { .. }
            | Self::Newer { .. }
            | Self::Dependents { .. }
            | Self::Published { .. }
            | Self::OldTransaction { .. }
            | Self::BuiltOn { .. }
            | Self::Led { .. }
            | Self::NobodyToAsk
            | Self::NoTable { .. }
            | Self::NotWatched { .. }
            | Self::TriggersMissing { .. }
            | Self::RowsHidden { .. }
            | Self::ColumnChanged { .. } => false,
        }
    }

    /// The advice of an error that no retry mends.
    pub(crate) fn end(&self) -> Option<&'static str> {
        match self {
            Self::Missing
            | Self::Older { .. }
            | Self::OtherBuild { .. }
            | Self::NotWatched { .. } => Some("run `auth-reconciler migrate`, or `run --migrate`"),
            Self::Renamed { .. } => Some(
                "give it its name back, then start again; or, to begin anew beside it, drop it with its triggers first",
            ),
            Self::Newer { .. } => Some("run the newer program"),
            Self::NoTable { .. } => Some("name the manager's table in AUTH_RECONCILER_TABLE"),
            Self::OldServer { .. } => Some("upgrade the server"),
            Self::Dependents { .. } => Some(
                "keep their definitions (pg_dump, \\d+), drop them, run `auth-reconciler migrate` again, and make them anew",
            ),
            Self::Published { .. } => Some(
                "publish the manager's tables by name or by their schema instead; or go on with --into-publication \
                 (AUTH_RECONCILER_INTO_PUBLICATION), and then every subscriber needs our tables too",
            ),
            Self::BuiltOn { .. } => Some(
                "keep their definitions (pg_dump, \\d+) and drop them, or say --with-dependents, and what depends on the \
                 schema goes with it",
            ),
            Self::Led { .. } => Some(
                "stop every daemon first (SIGTERM), or say --force, and they end by themselves",
            ),
            Self::NobodyToAsk => Some("say --yes"),
            // The manager may be in the middle of a migration of its own.
            Self::TriggersMissing { .. }
            | Self::RowsHidden { .. }
            | Self::ColumnChanged { .. }
            | Self::OldTransaction { .. }
            | Self::Tls(_)
            | Self::Connect { .. }
            | Self::Query { .. }
            | Self::Store(_) => None,
        }
    }

    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { source, .. } => remedy::advice(source, Act::Connect),
            Self::Query { source, .. } => remedy::advice(source, Act::Change),
            Self::Store(error) => error.advice(),
            Self::TriggersMissing { .. } => {
                Some("run `auth-reconciler migrate`, which attaches them and looks at every row")
            }
            Self::OldTransaction { .. } => Some(
                "let that transaction end, or end it (the oldest of pg_stat_activity by xact_start), then run \
                 `auth-reconciler migrate` again",
            ),
            Self::ColumnChanged { .. } => {
                Some("do what the line says, then run `auth-reconciler migrate`")
            }
            Self::RowsHidden { .. } => Some(
                "a role that sees a part of the rows would take the others for deleted: do what the line says, then start again",
            ),
            Self::Tls(_)
            | Self::OldServer { .. }
            | Self::Missing
            | Self::Renamed { .. }
            | Self::Older { .. }
            | Self::OtherBuild { .. }
            | Self::Newer { .. }
            | Self::Dependents { .. }
            | Self::Published { .. }
            | Self::BuiltOn { .. }
            | Self::Led { .. }
            | Self::NobodyToAsk
            | Self::NoTable { .. }
            | Self::NotWatched { .. } => self.end(),
        }
    }
}
