//! From nothing to leading: the steps that must come in this order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_url::Database;
use thiserror::Error;
use tracing::info;
use uuid::Uuid;

use super::containers::Containers;
use super::daemon::owed::Owed;
use super::look::Context;
use super::standby;
use crate::postgres::ear::{self, Ear, EarError};
use crate::postgres::error::StoreError;
use crate::postgres::inbox::Inbox;
use crate::postgres::listener::Identity;
use crate::postgres::remedy::{self, Act};
use crate::postgres::schema::{self, SchemaError};
use crate::postgres::store;
use crate::postgres::table_name::TableName;
use crate::postgres::tables::{Expected, Tables};

/// What belongs to one term of leading.
#[derive(Debug)]
pub(super) struct Leader {
    /// Held for its life: dropping it ends session and lock.
    _ear: Ear,
    /// Its session, to end it from the outside should it fall silent.
    pub(super) identity: Identity,
    /// What it hears.
    pub(super) inbox: Arc<Inbox>,
    /// The epoch of this term.
    pub(super) epoch: Uuid,
    /// The watched tables, as of the last scan.
    pub(super) tables: Tables,
    /// What was watched, and made, as of then.
    pub(super) expected: Arc<Expected>,
    /// A scan is under way.
    pub(super) scanning: bool,
    /// Another scan is wanted.
    pub(super) scan_wanted: bool,
    /// The next one finds also what was not recorded as final, as after every gap in hearing.
    pub(super) unsettled: bool,
    /// Whether it was said that this term serves.
    pub(super) announced: bool,
    /// The engine, and what it shows.
    pub(super) containers: Containers,
    /// What could not be noted of the engine is noted with the next echo.
    pub(super) note_with_echo: bool,
    /// What `watch()` and `unwatch()` left to do.
    pub(super) owed: Owed,
    /// When the next echo is due; `None` while one is under way.
    pub(super) echo_due: Option<Instant>,
}

/// Why this process does not lead.
#[derive(Debug, Error)]
pub(crate) enum LeadError {
    #[error(transparent)]
    Ear(#[from] EarError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl LeadError {
    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Ear(EarError::Connect { source, .. }) => remedy::advice(source, Act::Connect),
            Self::Ear(EarError::Query { source, .. }) => remedy::advice(source, Act::Listen),
            Self::Ear(EarError::Echo(error)) | Self::Store(error) => error.advice(),
            Self::Schema(error) => error.advice(),
            Self::Ear(_) => None,
        }
    }

    /// Whether it is of the way to the server and may be gone in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Ear(EarError::Connect { source, .. } | EarError::Query { source, .. }) => {
                remedy::may_pass(source)
            }
            Self::Ear(EarError::ConnectTimeout { .. }) => true,
            Self::Ear(EarError::Echo(error)) | Self::Store(error) => error.may_pass(),
            Self::Schema(error) => error.may_pass(),
            Self::Ear(_) => false,
        }
    }

    /// The advice of an error that no retry mends.
    pub(super) fn end(&self) -> Option<&'static str> {
        match self {
            Self::Schema(error) => error.end(),
            Self::Store(error) | Self::Ear(EarError::Echo(error)) => error.end(),
            Self::Ear(_) => None,
        }
    }
}

/// How a leader is made.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// Where the ear connects.
    pub(super) ear: Database,
    /// Tables that must be watched.
    pub(super) expected_tables: Vec<TableName>,
    /// The pool among it.
    pub(super) context: Arc<Context>,
    /// Time between echoes.
    pub(super) echo_interval: Duration,
    /// Limit for hearing one.
    pub(super) echo_limit: Duration,
}

impl Recipe {
    /// Connects, checks, waits until this process leads, and takes over; says so that the `tries` before it are over.
    ///
    /// # Errors
    /// Any step failed; everything that was opened is closed again.
    pub(super) async fn lead(self, waited: Duration, tries: u32) -> Result<Leader, LeadError> {
        tokio::time::sleep(waited).await;
        let pool = &self.context.pool;
        let ear = Ear::connect(&self.ear).await?;
        let inbox = ear.inbox();
        // Before the wait for the lock, so that a standby that could never serve says so at once.
        schema::check(pool, &self.expected_tables).await?;
        ear.listen().await?;
        ear::echo(pool, &inbox, self.echo_limit).await?;
        ear.settle_session().await?;
        let mut failed = tries;
        let mut again = || {
            if std::mem::take(&mut failed) > 0 {
                info!(failed_tries = tries, "an ear again");
            }
        };
        if !ear.try_leadership().await? {
            // Not while listening: a session that waits in a statement holds up the server's queue.
            ear.unlisten().await?;
            again();
            info!("standing by: another process leads");
            standby::wait(&ear, pool).await?;
            schema::check(pool, &self.expected_tables).await?;
            ear.listen().await?;
            ear::echo(pool, &inbox, self.echo_limit).await?;
        }
        let epoch = Uuid::new_v4();
        let term = ear.take_over(epoch).await?;
        again();
        let (tables, expected) = store::watched_tables(pool).await?;
        let names: Vec<_> = tables
            .values()
            .map(|table| table.relation.as_str())
            .collect();
        info!(term, tables = names.join(", "), "leading");
        Ok(Leader {
            identity: ear.identity(),
            _ear: ear,
            inbox,
            epoch,
            tables,
            expected: expected.into(),
            scanning: false,
            // Whatever happened while nobody heard is found by this first one.
            scan_wanted: true,
            unsettled: true,
            announced: false,
            containers: Containers::begin(&self.context, self.echo_interval),
            note_with_echo: false,
            owed: Owed::default(),
            echo_due: Some(Instant::now() + self.echo_interval),
        })
    }
}
