//! Snapshots, as the rows of a read statement tell them.

use std::time::Duration;

use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::{Change, Facts, Recorded, Row, Way};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::snapshot::Snapshot;
use auth_reconciler_core::{Cause, Key, Reason};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use serde::Deserialize;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::StoreError;
use super::pool::read_with;
use super::tables::Table;

pub(super) const ACT: &str = "read an instance";

/// Reads one instance for a command, whose session may be a pooler's.
pub(crate) async fn read_one(pool: &Pool, table: &Table, key: Key) -> Result<Snapshot, StoreError> {
    let ids: &[Uuid] = &[key.instance_id];
    let rows = read_with(pool, ACT, async |client| {
        client
            .query_typed(&table.read, &parameters(&key.watched_id, &ids))
            .await
    })
    .await?;
    let snapshot = snapshots_from(table, ids, &rows)?.pop();
    snapshot.unwrap_or_else(|| Err(left_out()))
}

pub(super) fn parameters<'a>(
    watched_id: &'a i32,
    ids: &'a &[Uuid],
) -> [(&'a (dyn ToSql + Sync), Type); 2] {
    [(watched_id, Type::INT4), (ids, Type::UUID_ARRAY)]
}

pub(super) fn left_out() -> StoreError {
    StoreError::Answer {
        act: ACT,
        what: "no row for a key".to_owned(),
    }
}

/// The answer for each id; a statement that leaves one out has failed as a whole.
pub(super) fn snapshots_from(
    table: &Table,
    ids: &[Uuid],
    rows: &[tokio_postgres::Row],
) -> Result<Vec<Result<Snapshot, StoreError>>, StoreError> {
    let mut snapshots: Vec<_> = ids.iter().map(|_| None).collect();
    for row in rows {
        let place = row.get::<_, Option<i64>>("place");
        let place = place.and_then(|place| usize::try_from(place - 1).ok());
        if let Some(snapshot) = place.and_then(|place| snapshots.get_mut(place)) {
            *snapshot = Some(snapshot_from(table, row));
        }
    }
    let all: Option<Vec<_>> = snapshots.into_iter().collect();
    all.ok_or_else(left_out)
}

/// A hidden row must not pass for a deleted one.
pub(super) fn hidden(table: &Table) -> StoreError {
    StoreError::Hidden {
        table: table.relation.clone(),
    }
}

/// Ids of the changes that a row tells and that no look has put off.
pub(super) fn unread_from(row: &tokio_postgres::Row) -> Vec<i64> {
    let (mut ids, put_off): (Vec<i64>, Vec<i64>) = (row.get("change_ids"), row.get("put_off_ids"));
    // Both are in the order of their numbers.
    ids.retain(|id| put_off.binary_search(id).is_err());
    ids
}

/// Our own row, under the names of its columns.
#[derive(Debug, Deserialize)]
struct InstanceRow {
    version: Uuid,
    recorded_at: DateTime<Utc>,
    #[serde(flatten)]
    recorded: Recorded,
}

impl InstanceRow {
    fn unwritable_for(&self) -> Option<Duration> {
        let until = self
            .recorded
            .next_attempt_at
            .filter(|_| self.recorded.reason == Some(Reason::Unwritable))?;
        (until - self.recorded_at).to_std().ok()
    }
}

/// What a row tells.
pub(super) fn snapshot_from(
    table: &Table,
    row: &tokio_postgres::Row,
) -> Result<Snapshot, StoreError> {
    if row.get("filtered") {
        return Err(hidden(table));
    }
    let query = |source| StoreError::Query { act: ACT, source };
    let recorded: Option<&str> = row.try_get("recorded").map_err(query)?;
    let recorded: Option<InstanceRow> =
        recorded
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| StoreError::Answer {
                act: ACT,
                what: error.to_string(),
            })?;
    snapshot_with(row, recorded).map_err(query)
}

fn snapshot_with(
    row: &tokio_postgres::Row,
    known: Option<InstanceRow>,
) -> Result<Snapshot, tokio_postgres::Error> {
    let causes: Vec<&str> = row.try_get("change_causes")?;
    let times: Vec<DateTime<Utc>> = row.try_get("change_times")?;
    let changes = causes
        .iter()
        .zip(times)
        .map(|(cause, at)| Change {
            cause: Cause::parse(cause),
            at,
        })
        .collect();
    let watched = if row.try_get("present")? {
        let key: Option<&str> = row.try_get("api_key")?;
        Some(Row {
            provider: row.try_get("provider")?,
            serves_api: row
                .try_get::<_, Option<bool>>("serves_api")?
                .unwrap_or(true),
            api_key: key.map_or(Ok(None), ApiKey::parse),
            port: row.try_get("port_api")?,
            auth_status: row.try_get("auth_status")?,
            put_aside: row.try_get("put_aside")?,
        })
    } else {
        None
    };
    let version = known.as_ref().map(|known| known.version);
    let unwritable_for = known.as_ref().and_then(InstanceRow::unwritable_for);
    let recorded = known.map(|known| known.recorded);
    Ok(Snapshot {
        facts: Facts {
            now: row.try_get("now")?,
            row: watched,
            changes,
            sighting: recorded.as_ref().and_then(|known| known.sighting.clone()),
            recorded,
            // The engine is asked after this read.
            container: Container::Unknown,
            engine_has_shown_ours: false,
            way: Way::default(),
            followed: false,
            paused: row.try_get("paused")?,
        },
        changes: row.try_get("change_ids")?,
        unread: unread_from(row),
        version,
        generation: row.try_get("generation")?,
        unwritable_for,
    })
}
