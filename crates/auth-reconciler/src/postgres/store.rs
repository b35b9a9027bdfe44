//! The statements beside the looks, each one round trip on a pooled connection.

use std::collections::HashMap;
use std::sync::Arc;

use auth_reconciler_core::container::{RecordedContainer, Sighting};
use auth_reconciler_core::{Cause, Key};
use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::StoreError;
use super::listener::Identity;
use super::pool::{bare, with};
use super::tables::{Expected, Table, Tables, Watched};
use super::{CHANNEL, direct, faults};

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
pub(crate) async fn watched_tables(pool: &Pool) -> Result<(Tables, Expected), StoreError> {
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
        // One that was dropped, or has no longer its columns, is given no name; it is told as a fault.
        let relation: String = row.get::<_, Option<String>>("relation")?;
        let id = row.get("id");
        let table = Table::new(row.get("oid"), relation, row.get("reads_type_instance"));
        Some((id, table))
    });
    let expected = Expected {
        watched: watched.collect(),
        made: faults::made(pool).await?,
    };
    Ok((Arc::new(tables.collect::<HashMap<_, _>>()), expected))
}

/// Every key with changes that were put off, and every one that was not recorded as final, each if so wanted and with its
/// cause. All else that is in the log a read takes from there.
pub(crate) async fn backlog(
    pool: &Pool,
    put_off: bool,
    unsettled: bool,
) -> Result<Vec<(Key, Cause)>, StoreError> {
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
                &[(&unsettled, Type::BOOL), (&put_off, Type::BOOL)],
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

/// Marks changes that were read and could not be answered for, as the process of this epoch, which looks again by itself.
/// Returns false if it no longer leads.
pub(crate) async fn put_off(
    sessions: &Pool,
    epoch: Uuid,
    changes: &[i64],
) -> Result<bool, StoreError> {
    bare(sessions, "put changes off", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&epoch, Type::UUID), (&changes, Type::INT8_ARRAY)];
        let statement = "select auth_reconciler.put_off($1, $2)";
        direct::query(client, statement, &parameters).await
    })
    .await
    .map(|rows| rows.first().is_some_and(|row| row.get(0)))
}

/// Waits a while until all have committed who have written in silence. Returns whether they have.
pub(crate) async fn await_silent(pool: &Pool) -> Result<bool, StoreError> {
    with(pool, "wait for those who did not ring", async |client| {
        let statement = "select auth_reconciler.await_silent()";
        client.query_typed_one(statement, &[]).await
    })
    .await
    .map(|row| row.get(0))
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

/// The same; returns the last id of the change log that was drawn. Reads no table.
pub(crate) async fn send_echo_of_log(pool: &Pool, nonce: Uuid) -> Result<i64, StoreError> {
    with(pool, "send an echo", async |client| {
        client
            .query_typed_one(
                "select coalesce(pg_catalog.pg_sequence_last_value('auth_reconciler.change_id_seq'), 0), \
                    pg_catalog.pg_notify($1, $2)",
                &[
                    (&CHANNEL, Type::TEXT),
                    (&format!("echo/{nonce}"), Type::TEXT),
                ],
            )
            .await
    })
    .await
    .map(|row| row.get(0))
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
