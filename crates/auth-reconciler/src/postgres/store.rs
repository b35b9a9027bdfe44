//! The statements of a look, each one round trip on a pooled connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::corrections::Corrections;
use auth_reconciler_core::facts::{Change, Facts, Recorded, Row, Way};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::{AuthStatus, Cause, Reason};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::CHANNEL;
use super::ear::Identity;
use super::error::StoreError;
use super::pool::{read_with, with};
use super::tables::{Fault, Key, Table, Tables, Watched};

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

fn sighting_from(row: &tokio_postgres::Row) -> Result<Option<Sighting>, tokio_postgres::Error> {
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

/// One instance as it was recorded: what a list of containers is compared with.
#[derive(Debug)]
pub(crate) struct RecordedContainer {
    /// The instance.
    pub(crate) key: Key,
    /// Whether only an event leads to another look.
    pub(crate) settled: bool,
    /// Its container, if one was ever seen.
    pub(crate) sighting: Option<Sighting>,
}

/// What was recorded of the containers of all instances whose status is ours to keep.
pub(crate) async fn recorded_containers(pool: &Pool) -> Result<Vec<RecordedContainer>, StoreError> {
    let act = "read what was recorded of the containers";
    let rows = with(pool, act, async |client| {
        let statement = include_str!("../../../../sql/queries/recorded_containers.sql");
        client.query_typed(statement, &[]).await
    })
    .await?;
    let recorded = rows.iter().map(|row| {
        Ok(RecordedContainer {
            key: Key {
                watched_id: row.try_get("watched_id")?,
                instance_id: row.try_get("instance_id")?,
            },
            settled: row.try_get("settled")?,
            sighting: sighting_from(row)?,
        })
    });
    recorded
        .collect::<Result<_, _>>()
        .map_err(|source| StoreError::Query { act, source })
}

/// Notes whether the engine is seen, as the process of this epoch. Returns false if it no longer leads.
pub(crate) async fn note_engine(
    pool: &Pool,
    epoch: Uuid,
    address: &str,
    not_seen: Option<&str>,
    seen: bool,
) -> Result<bool, StoreError> {
    with(pool, "note whether the engine is seen", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&epoch, Type::UUID),
            (&address, Type::TEXT),
            (&seen, Type::BOOL),
            (&not_seen, Type::TEXT),
        ];
        let statement = "select auth_reconciler.note_engine($1, $2, $3, $4)";
        client.query_typed_one(statement, &parameters).await
    })
    .await
    .map(|row| row.get(0))
}

/// Notes what keeps the process of this epoch from knowing; without words, that it has ended. Returns false if it no longer
/// leads.
pub(crate) async fn note_trouble(
    pool: &Pool,
    epoch: Uuid,
    problem: &str,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    with(pool, "note what keeps us from knowing", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&epoch, Type::UUID),
            (&problem, Type::TEXT),
            (&detail, Type::TEXT),
        ];
        let statement = "select auth_reconciler.note_trouble($1, $2, $3)";
        client.query_typed_one(statement, &parameters).await
    })
    .await
    .map(|row| row.get(0))
}

/// The tables that are served, and what was watched.
pub(crate) async fn watched_tables(pool: &Pool) -> Result<(Tables, Vec<Watched>), StoreError> {
    let rows = with(pool, "list the watched tables", async |client| {
        client
            .query_typed(
                include_str!("../../../../sql/queries/watched_tables.sql"),
                &[],
            )
            .await
    })
    .await?;
    let watched = rows.iter().map(|row| Watched {
        oid: row.get("oid"),
        name: row.get("name"),
        assigned: row.get("assigned"),
        typed: row.get("has_type_instance"),
    });
    let tables = rows.iter().filter_map(|row| {
        // A table that was dropped has no name any more; it is told as a fault.
        let relation: String = row.get::<_, Option<String>>("relation")?;
        let id = row.get("id");
        let table = Table::new(id, row.get("oid"), relation, row.get("reads_type_instance"));
        Some((id, table))
    });
    Ok((
        Arc::new(tables.collect::<HashMap<_, _>>()),
        watched.collect(),
    ))
}

/// What keeps us from seeing the tables as they were watched. Reads the catalog only.
pub(crate) async fn table_faults(
    pool: &Pool,
    watched: &[Watched],
) -> Result<Vec<Fault>, StoreError> {
    let oids: Vec<u32> = watched.iter().map(|table| table.oid).collect();
    let names: Vec<Option<&str>> = watched.iter().map(|table| table.name.as_deref()).collect();
    let assigned: Vec<bool> = watched.iter().map(|table| table.assigned).collect();
    let typed: Vec<bool> = watched.iter().map(|table| table.typed).collect();
    let rows = with(pool, "check the watched tables", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&oids, Type::OID_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&assigned, Type::BOOL_ARRAY),
            (&typed, Type::BOOL_ARRAY),
        ];
        let statement = include_str!("../../../../sql/queries/table_faults.sql");
        client.query_typed(statement, &parameters).await
    })
    .await?;
    Ok(faults_from(&rows))
}

/// The faults in the rows of a query for them.
pub(crate) fn faults_from(rows: &[tokio_postgres::Row]) -> Vec<Fault> {
    let fault = |row: &tokio_postgres::Row| Fault {
        problem: row.get("problem"),
        why: row.get("why"),
    };
    rows.iter().map(fault).collect()
}

/// Every key with changes and, if so wanted, every one that was not recorded as final, each with its cause.
pub(crate) async fn backlog(pool: &Pool, unsettled: bool) -> Result<Vec<(Key, Cause)>, StoreError> {
    with(pool, "take truncations out of the log", async |client| {
        client
            .query_typed("select auth_reconciler.expand_truncations()", &[])
            .await
    })
    .await?;
    let rows = with(pool, "read the backlog", async |client| {
        client
            .query_typed(
                include_str!("../../../../sql/queries/backlog.sql"),
                &[(&unsettled, Type::BOOL)],
            )
            .await
    })
    .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let key = Key {
                watched_id: row.get(0),
                instance_id: row.get(1),
            };
            (key, Cause::parse(row.get(2)))
        })
        .collect())
}

/// Rings with a nonce. Reads no table.
pub(crate) async fn send_echo(pool: &Pool, nonce: Uuid) -> Result<(), StoreError> {
    with(pool, "send an echo", async |client| {
        client
            .query_typed(
                "select pg_catalog.pg_notify($1, $2)",
                &[
                    (&CHANNEL, Type::TEXT),
                    (&format!("echo/{nonce}"), Type::TEXT),
                ],
            )
            .await
    })
    .await
    .map(|_| ())
}

/// Rings for whoever leads to read the log.
pub(crate) async fn ring_for_scan(pool: &Pool) -> Result<(), StoreError> {
    with(pool, "ring for the leader", async |client| {
        client
            .query_typed(
                "select pg_catalog.pg_notify($1, 'scan')",
                &[(&CHANNEL, Type::TEXT)],
            )
            .await
    })
    .await
    .map(|_| ())
}

/// Ends a session of ours that fell silent, so that its lock is free.
pub(crate) async fn end_former_ear(pool: &Pool, ear: Identity) -> Result<(), StoreError> {
    with(pool, "end the former ear", async |client| {
        client
            .query_typed(
                include_str!("../../../../sql/queries/end_former_ear.sql"),
                &[(&ear.pid, Type::INT4), (&ear.started, Type::TIMESTAMPTZ)],
            )
            .await
    })
    .await
    .map(|_| ())
}
