//! From nothing to leading: the steps that must come in this order.

use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::controller::Sight;
use deadpool_postgres::Pool;
use postgres_url::Database;
use thiserror::Error;
use tracing::info;
use uuid::Uuid;

use super::context::Context;
use super::standby;
use crate::clock::Clock;
use crate::docker::watch::Watch;
use crate::postgres::ear::{self, Doorbell, Ear, EarError};
use crate::postgres::error::StoreError;
use crate::postgres::inbox::Inbox;
use crate::postgres::listener::Identity;
use crate::postgres::remedy::{self, Act};
use crate::postgres::schema::{self, SchemaError};
use crate::postgres::store;
use crate::postgres::table_name::TableName;
use crate::postgres::tables::{Expected, Tables};

/// The connections of one term of leading, and what is known of its tables.
#[derive(Debug)]
pub(super) struct Leader {
    /// Held for its life: dropping it ends session and lock.
    _ear: Ear,
    /// Its session, to end it from the outside should it fall silent.
    pub(super) identity: Identity,
    /// What it hears.
    pub(super) inbox: Arc<Inbox>,
    /// Whether it is rung for.
    pub(super) doorbell: Doorbell,
    /// Whether the lock could be had by which everybody rings for it.
    pub(super) has_sleeper_lock: bool,
    /// The epoch of this term.
    pub(super) epoch: Uuid,
    /// The watched tables, as of the last scan.
    pub(super) tables: Tables,
    /// What was watched, and made, as of then.
    pub(super) expected: Arc<Expected>,
    /// The engine in sight; absent when none is asked.
    pub(super) watch: Option<Watch>,
}

/// How far a try to lead has come.
#[derive(Debug)]
pub(super) enum Reached {
    /// This process leads.
    Leads(Box<Leader>),
    /// Another one does; what was seen of it.
    StandsBy(Box<Ear>, Sight),
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
    /// The way that commands take, where it is another: it must lead to the same database.
    pub(super) other_way: Option<Pool>,
    /// Tables that must be watched.
    pub(super) expected_tables: Vec<TableName>,
    /// The pool among it.
    pub(super) context: Arc<Context>,
    /// Time between echoes.
    pub(super) echo_interval: Duration,
    /// Limit for hearing one.
    pub(super) echo_limit: Duration,
    /// Whose moments the engine's news have.
    pub(super) clock: Clock,
}

impl Recipe {
    /// Connects, checks, and takes over if nobody leads.
    ///
    /// # Errors
    /// Any step failed; everything that was opened is closed again.
    pub(super) async fn connect(self, after: Duration) -> Result<Reached, LeadError> {
        tokio::time::sleep(after).await;
        let pool = &self.context.pool;
        let ear = Ear::connect(&self.ear).await?;
        // Before the wait for the lock, so that a standby that could never serve says so at once.
        schema::check(pool, &self.expected_tables).await?;
        ear.listen().await?;
        // Nothing is set in a session before one has heard its own echo: behind a transaction pooler it is somebody else's.
        ear::echo(pool, &ear.inbox(), self.echo_limit).await?;
        if let Some(other) = &self.other_way {
            ear::echo(other, &ear.inbox(), self.echo_limit).await?;
        }
        ear.settle_session().await?;
        if ear.try_leadership().await? {
            return self.take_over(ear).await;
        }
        // Not while listening: a session that waits in a statement holds up the server's queue.
        ear.unlisten().await?;
        let sight = Sight {
            foreign: standby::foreign(pool).await,
            leader: None,
        };
        Ok(Reached::StandsBy(Box::new(ear), sight))
    }

    /// Waits a while for the lock, and takes over if it is free.
    ///
    /// # Errors
    /// The connection ended, or a later step failed.
    pub(super) async fn wait_for_lock(self, ear: Box<Ear>) -> Result<Reached, LeadError> {
        let pool = &self.context.pool;
        if !ear.wait_for_leadership().await? {
            return Ok(Reached::StandsBy(ear, standby::look(pool).await));
        }
        schema::check(pool, &self.expected_tables).await?;
        ear.listen().await?;
        ear::echo(pool, &ear.inbox(), self.echo_limit).await?;
        self.take_over(*ear).await
    }

    async fn take_over(&self, ear: Ear) -> Result<Reached, LeadError> {
        let epoch = Uuid::new_v4();
        let (term, has_sleeper_lock) = ear.take_over(epoch).await?;
        let (tables, expected) = store::watched_tables(&self.context.pool).await?;
        let names: Vec<_> = tables
            .values()
            .map(|table| table.relation.as_str())
            .collect();
        info!(term, tables = names.join(", "), "leading");
        let engine = self.context.engine.as_ref();
        Ok(Reached::Leads(Box::new(Leader {
            identity: ear.identity(),
            inbox: ear.inbox(),
            doorbell: ear.doorbell(),
            has_sleeper_lock,
            _ear: ear,
            epoch,
            tables,
            expected: expected.into(),
            watch: engine
                .map(|engine| Watch::begin(Arc::clone(engine), self.echo_interval, self.clock)),
        })))
    }
}
