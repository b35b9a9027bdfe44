//! The read of a look: one instance, as it is now.

use std::time::Duration;

use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::corrections::Corrections;
use auth_reconciler_core::facts::{Change, Facts, Recorded, Row, Way};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::{AuthStatus, Cause, Key, Reason};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::StoreError;
use super::pool::read_with;
use super::tables::Table;

/// One read of an instance: what a decision is made from, and what its record is fenced with.
#[derive(Debug)]
pub(crate) struct Look {
    /// The facts.
    pub(crate) facts: Facts,
    /// Numbers of the changes that this look answers for.
    pub(crate) changes: Vec<i64>,
    /// Version of our row that was read; `None` when there was none.
    pub(crate) version: Option<Uuid>,
    /// Number of the last change of this instance, ever.
    pub(crate) generation: i64,
    /// The pause that was recorded when the status could not be written last time.
    unwritable_for: Option<Duration>,
}

impl Look {
    /// Whether there is no such row, and never was one that anybody noticed.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.facts.row.is_none() && self.version.is_none() && self.changes.is_empty()
    }

    /// When to try again should the table refuse the status.
    pub(crate) fn unwritable_retry(&self) -> Duration {
        auth_reconciler_core::backoff::after_refusal(self.unwritable_for)
    }

    /// The greatest cause among the changes of this look, else the one that woke it.
    pub(crate) fn cause(&self, woken: Cause) -> Cause {
        self.facts
            .changes
            .iter()
            .map(|change| change.cause)
            .max()
            .unwrap_or(woken)
    }
}

/// Reads one instance afresh.
pub(crate) async fn read(pool: &Pool, table: &Table, key: Key) -> Result<Look, StoreError> {
    let act = "read an instance";
    let row = read_with(pool, act, async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [
            (&key.watched_id, Type::INT4),
            (&key.instance_id, Type::UUID),
        ];
        client.query_typed_one(&table.read, &parameters).await
    })
    .await?;
    let look = look_from(&row).map_err(|source| StoreError::Query { act, source })?;
    if row.get("filtered") {
        // A hidden row must not pass for a deleted one.
        return Err(StoreError::Hidden {
            table: table.relation.clone(),
        });
    }
    Ok(look)
}

fn look_from(row: &tokio_postgres::Row) -> Result<Look, tokio_postgres::Error> {
    let causes: Vec<String> = row.try_get("change_causes")?;
    let times: Vec<DateTime<Utc>> = row.try_get("change_times")?;
    let changes = causes
        .iter()
        .zip(times)
        .map(|(cause, at)| Change {
            cause: Cause::parse(cause),
            at,
        })
        .collect();
    let version: Option<Uuid> = row.try_get("version")?;
    let watched = if row.try_get("present")? {
        let key: Option<String> = row.try_get("api_key")?;
        Some(Row {
            provider: row.try_get("provider")?,
            serves_api: row
                .try_get::<_, Option<bool>>("serves_api")?
                .unwrap_or(true),
            api_key: key.as_deref().map_or(Ok(None), ApiKey::parse),
            port: row.try_get("port_api")?,
            auth_status: row.try_get("auth_status")?,
            put_aside: row.try_get("put_aside")?,
        })
    } else {
        None
    };
    let recorded = if version.is_some() {
        Some(recorded_from(row)?)
    } else {
        None
    };
    let sighting = recorded
        .as_ref()
        .and_then(|recorded| recorded.sighting.clone());
    Ok(Look {
        facts: Facts {
            now: row.try_get("now")?,
            row: watched,
            changes,
            recorded,
            // The engine is asked after this read.
            container: Container::Unknown,
            engine_has_shown_ours: false,
            sighting,
            way: Way::default(),
            followed: false,
            paused: row.try_get("paused")?,
        },
        changes: row.try_get("change_ids")?,
        version,
        generation: row.try_get("generation")?,
        unwritable_for: unwritable_for(row)?,
    })
}

fn unwritable_for(row: &tokio_postgres::Row) -> Result<Option<Duration>, tokio_postgres::Error> {
    let reason: Option<String> = row.try_get("recorded_reason")?;
    let from: Option<DateTime<Utc>> = row.try_get("recorded_at")?;
    let until: Option<DateTime<Utc>> = row.try_get("next_attempt_at")?;
    let pause = until.zip(from).map(|(until, from)| until - from);
    Ok(pause
        .filter(|_| reason.as_deref() == Some(Reason::Unwritable.as_str()))
        .and_then(|pause| pause.to_std().ok()))
}

fn recorded_from(row: &tokio_postgres::Row) -> Result<Recorded, tokio_postgres::Error> {
    let count = |column| -> Result<u32, tokio_postgres::Error> {
        let value: Option<i64> = row.try_get(column)?;
        Ok(u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX))
    };
    let status: Option<String> = row.try_get("recorded_status")?;
    let reason: Option<String> = row.try_get("recorded_reason")?;
    Ok(Recorded {
        status: status.as_deref().and_then(AuthStatus::parse),
        reason: reason.as_deref().and_then(Reason::parse),
        ready_at: row.try_get("ready_at")?,
        started_at: row.try_get("started_at")?,
        account_at: row.try_get("account_at")?,
        attempts: count("attempts")?,
        misses: count("misses")?,
        first_miss_at: row.try_get("first_miss_at")?,
        established: row
            .try_get::<_, Option<bool>>("established")?
            .unwrap_or(false),
        corrections: Corrections {
            spent: count("corrections_spent")?,
            window_start: row.try_get("corrections_since")?,
            contested: count("contested")?,
            hold_until: row.try_get("hold_until")?,
            recent: Corrections::recent(
                row.try_get::<_, Option<Vec<_>>>("foreign_at")?
                    .unwrap_or_default(),
            ),
        },
        next_attempt_at: row.try_get("next_attempt_at")?,
        sighting: sighting_from(row)?,
    })
}

pub(super) fn sighting_from(
    row: &tokio_postgres::Row,
) -> Result<Option<Sighting>, tokio_postgres::Error> {
    let text = |column| -> Result<String, tokio_postgres::Error> {
        let value: Option<String> = row.try_get(column)?;
        Ok(value.unwrap_or_default())
    };
    let Some(id) = row.try_get("container_id")? else {
        return Ok(None);
    };
    Ok(Some(Sighting {
        engine: text("container_engine")?,
        id,
        name: text("container_name")?,
        state: text("container_state")?,
        started_at: row.try_get("container_started_at")?,
        network: text("container_network")?,
    }))
}
