//! The read of looks: any number of instances, as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::{Change, Facts, Recorded, Row, Way};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::{Cause, Key, Reason};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use serde::Deserialize;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::batcher::Batcher;
use super::direct;
use super::error::StoreError;
use super::halves::halved;
use super::pool::{bare, read_with};
use super::tables::{Table, Tables};

const ACT: &str = "read an instance";

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

/// Reads these instances afresh, with one statement for each of their tables. The results are in the order of the keys; one
/// that cannot be read takes no other with it.
pub(crate) async fn read_all(
    pool: &Pool,
    tables: &Tables,
    keys: &[Key],
) -> Vec<Result<Look, StoreError>> {
    let mut of_tables: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        of_tables.entry(key.watched_id).or_default().push(place);
    }
    let mut looks: Vec<_> = keys.iter().map(|_| None).collect();
    for (watched_id, places) in of_tables {
        let Some(table) = tables.get(&watched_id) else {
            continue;
        };
        let read = halved(places.len(), StoreError::may_be_of_one, |some| {
            let id = |place: usize| keys[places[place]].instance_id;
            let ids: Vec<Uuid> = some.into_iter().map(id).collect();
            async move {
                let looks = read_table(pool, (&watched_id, table), &ids).await?;
                Ok(looks.into_iter().map(Some).collect())
            }
        });
        for (place, look) in places.iter().zip(read.await) {
            looks[*place] =
                look.map(|look| look.unwrap_or_else(|failure| Err(StoreError::Shared(failure))));
        }
    }
    looks
        .into_iter()
        .map(|look| look.unwrap_or_else(|| Err(unread())))
        .collect()
}

/// One statement. It fails as a whole, or each row is read or not by itself.
async fn read_table(
    pool: &Pool,
    (watched_id, table): (&i32, &Table),
    ids: &[Uuid],
) -> Result<Vec<Result<Look, StoreError>>, StoreError> {
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
    looks_from(table, ids, &rows)
}

/// The same for one instance and a command, whose session may be a pooler's.
pub(crate) async fn read_one(pool: &Pool, table: &Table, key: Key) -> Result<Look, StoreError> {
    let ids: &[Uuid] = &[key.instance_id];
    let rows = read_with(pool, ACT, async |client| {
        client
            .query_typed(&table.read, &parameters(&key.watched_id, &ids))
            .await
    })
    .await?;
    let look = looks_from(table, ids, &rows)?.pop();
    look.unwrap_or_else(|| Err(unread()))
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
fn looks_from(
    table: &Table,
    ids: &[Uuid],
    rows: &[tokio_postgres::Row],
) -> Result<Vec<Result<Look, StoreError>>, StoreError> {
    let mut looks: Vec<_> = ids.iter().map(|_| None).collect();
    for row in rows {
        let place: i64 = row.get("place");
        let place = usize::try_from(place - 1).ok();
        if let Some(look) = place.and_then(|place| looks.get_mut(place)) {
            *look = Some(if row.get("filtered") {
                Err(hidden(table))
            } else {
                look_from(row)
            });
        }
    }
    let all: Option<Vec<_>> = looks.into_iter().collect();
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

fn look_from(row: &tokio_postgres::Row) -> Result<Look, StoreError> {
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
    look_with(row, recorded).map_err(query)
}

fn look_with(
    row: &tokio_postgres::Row,
    known: Option<InstanceRow>,
) -> Result<Look, tokio_postgres::Error> {
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
    Ok(Look {
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

/// Reads one instance at a time for whoever asks, together with what others ask for meanwhile.
#[derive(Debug)]
pub(crate) struct Reads(Batcher<(Tables, Key), Result<Look, StoreError>>);

impl Reads {
    /// Most keys that are read at once.
    const MOST: usize = 256;

    /// Reads on these sessions.
    pub(crate) fn on(pool: Pool) -> Self {
        Self(Batcher::start(
            |waiting| waiting.len().min(Self::MOST),
            move |wanted: Vec<(Tables, Key)>| {
                let pool = pool.clone();
                async move {
                    let mut looks = Vec::with_capacity(wanted.len());
                    // Those of one list of tables: it changes rarely.
                    for wanted in wanted.chunk_by(|one, next| Arc::ptr_eq(&one.0, &next.0)) {
                        let keys: Vec<Key> = wanted.iter().map(|(_, key)| *key).collect();
                        if let Some((tables, _)) = wanted.first() {
                            looks.extend(read_all(&pool, tables, &keys).await);
                        }
                    }
                    looks
                }
            },
        ))
    }

    /// Reads one instance afresh: what is read was committed when this was called, or later.
    pub(crate) async fn read(&self, tables: &Tables, key: Key) -> Result<Look, StoreError> {
        let read = self.0.run((Arc::clone(tables), key)).await;
        read.unwrap_or_else(|| Err(unread()))
    }
}
