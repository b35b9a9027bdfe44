//! Snapshots of any number of instances, as they are now.

use std::collections::BTreeMap;
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

use super::direct;
use super::error::StoreError;
use super::halves::halved;
use super::pool::{bare, read_with};
use super::tables::{Table, Tables};

const ACT: &str = "read an instance";

/// Reads these instances afresh, with one statement for each of their tables. The results are in the order of the keys; one
/// that cannot be read takes no other with it.
pub(crate) async fn read_all(
    pool: &Pool,
    tables: &Tables,
    keys: &[Key],
) -> Vec<Result<Snapshot, StoreError>> {
    let mut of_tables: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        of_tables.entry(key.watched_id).or_default().push(place);
    }
    let mut snapshots: Vec<_> = keys.iter().map(|_| None).collect();
    for (watched_id, places) in of_tables {
        let Some(table) = tables.get(&watched_id) else {
            continue;
        };
        let read = halved(places.len(), StoreError::may_be_of_one, |some| {
            let id = |place: usize| keys[places[place]].instance_id;
            let ids: Vec<Uuid> = some.into_iter().map(id).collect();
            async move {
                let snapshots = read_table(pool, (&watched_id, table), &ids).await?;
                Ok(snapshots.into_iter().map(Some).collect())
            }
        });
        for (place, snapshot) in places.iter().zip(read.await) {
            snapshots[*place] = snapshot.map(|snapshot| {
                snapshot.unwrap_or_else(|failure| Err(StoreError::Shared(failure)))
            });
        }
    }
    snapshots
        .into_iter()
        .map(|snapshot| snapshot.unwrap_or_else(|| Err(unread())))
        .collect()
}

/// One statement. It fails as a whole, or each row is read or not by itself.
async fn read_table(
    pool: &Pool,
    (watched_id, table): (&i32, &Table),
    ids: &[Uuid],
) -> Result<Vec<Result<Snapshot, StoreError>>, StoreError> {
    let rows = bare(pool, ACT, async |client| {
        direct::query(client, &table.read, &parameters(watched_id, &ids)).await
    })
    .await
    .map_err(|failure| {
        if failure.hides_rows() {
            hidden(table)
        } else {
            failure
        }
    })?;
    snapshots_from(table, ids, &rows)
}

/// The same for one instance and a command, whose session may be a pooler's.
pub(crate) async fn read_one(pool: &Pool, table: &Table, key: Key) -> Result<Snapshot, StoreError> {
    let ids: &[Uuid] = &[key.instance_id];
    let rows = read_with(pool, ACT, async |client| {
        client
            .query_typed(&table.read, &parameters(&key.watched_id, &ids))
            .await
    })
    .await?;
    let snapshot = snapshots_from(table, ids, &rows)?.pop();
    snapshot.unwrap_or_else(|| Err(unread()))
}

fn parameters<'a>(watched_id: &'a i32, ids: &'a &[Uuid]) -> [(&'a (dyn ToSql + Sync), Type); 2] {
    [(watched_id, Type::INT4), (ids, Type::UUID_ARRAY)]
}

fn unread() -> StoreError {
    StoreError::Answer {
        act: ACT,
        what: "no row for a key".to_owned(),
    }
}

/// The answer for each id; a statement that leaves one out has failed as a whole.
fn snapshots_from(
    table: &Table,
    ids: &[Uuid],
    rows: &[tokio_postgres::Row],
) -> Result<Vec<Result<Snapshot, StoreError>>, StoreError> {
    let mut snapshots: Vec<_> = ids.iter().map(|_| None).collect();
    for row in rows {
        let place: i64 = row.get("place");
        let place = usize::try_from(place - 1).ok();
        if let Some(snapshot) = place.and_then(|place| snapshots.get_mut(place)) {
            *snapshot = Some(if row.get("filtered") {
                Err(hidden(table))
            } else {
                snapshot_from(row)
            });
        }
    }
    let all: Option<Vec<_>> = snapshots.into_iter().collect();
    all.ok_or_else(unread)
}

/// A hidden row must not pass for a deleted one.
fn hidden(table: &Table) -> StoreError {
    StoreError::Hidden {
        table: table.relation.clone(),
    }
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

fn snapshot_from(row: &tokio_postgres::Row) -> Result<Snapshot, StoreError> {
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
        version,
        generation: row.try_get("generation")?,
        unwritable_for,
    })
}
