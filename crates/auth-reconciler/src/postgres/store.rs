//! The statements of a look, each one round trip on a pooled connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::corrections::Corrections;
use auth_reconciler_core::facts::{Change, Container, Facts, Recorded, Row};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::{AuthStatus, Cause, Reason};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};
use uuid::Uuid;

use super::CHANNEL;
use super::ear::Identity;
use super::error::StoreError;
use super::pool::{TRANSACTION, with};
use super::tables::{Key, Table, Tables};

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
}

impl Look {
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

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The column was written.
    Written,
    /// The column was right already.
    Right,
    /// A trigger of the table replaced the value.
    Overridden,
    /// Somebody holds the row; nothing was recorded.
    Busy,
    /// The row is gone; nothing was recorded.
    Gone,
    /// The table is no longer watched; nothing was recorded.
    Unwatched,
    /// Refused: another epoch has begun.
    EpochEnded,
    /// Refused: another run recorded, or something changed since the read.
    Overtaken(&'static str),
}

/// The answer to a record.
#[derive(Debug)]
pub(crate) struct Recording {
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// What the column said before.
    pub(crate) from: Option<String>,
    /// Time from the cause to the record.
    pub(crate) reaction_ms: Option<f64>,
}

/// What goes with every record.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RecordSettings {
    /// Transitions kept of one instance.
    pub(crate) history_per_instance: u32,
    /// Age at which transitions go, in milliseconds.
    pub(crate) history_max_age_ms: u64,
    /// When to try again what a trigger of the table has overridden, in milliseconds.
    pub(crate) overridden_retry_ms: u64,
}

#[derive(Debug, Serialize)]
struct RecordContext<'a> {
    #[serde(flatten)]
    settings: &'a RecordSettings,
    woken_ms: f64,
    retry_ms: Option<f64>,
    trouble_ms: Option<f64>,
}

/// The columns of `auth_reconciler.instance` that a verdict fills; names are the columns'.
#[derive(Debug, Serialize)]
struct InstanceColumns<'a> {
    watched_id: i32,
    instance_id: Uuid,
    auth_status: Option<AuthStatus>,
    reason: &'static str,
    message: &'a str,
    cause: &'static str,
    attempts: u32,
    misses: u32,
    first_miss_at: Option<DateTime<Utc>>,
    ready_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    account_at: Option<DateTime<Utc>>,
    corrections_spent: u32,
    corrections_since: Option<DateTime<Utc>>,
    contested: u32,
    hold_until: Option<DateTime<Utc>>,
}

/// Reads one instance afresh.
pub(crate) async fn read(pool: &Pool, table: &Table, key: Key) -> Result<Look, StoreError> {
    let act = "read an instance";
    let row = with(pool, act, async |client| {
        client
            .query_typed_one(
                &table.read,
                &[
                    (&key.watched_id, Type::INT4),
                    (&key.instance_id, Type::UUID),
                ],
            )
            .await
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
        })
    } else {
        None
    };
    let recorded = if version.is_some() {
        Some(recorded_from(row)?)
    } else {
        None
    };
    Ok(Look {
        facts: Facts {
            now: row.try_get("now")?,
            row: watched,
            changes,
            recorded,
            container: Container::Unknown,
        },
        changes: row.try_get("change_ids")?,
        version,
        generation: row.try_get("generation")?,
    })
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
        corrections: Corrections {
            spent: count("corrections_spent")?,
            window_start: row.try_get("corrections_since")?,
            contested: count("contested")?,
            hold_until: row.try_get("hold_until")?,
        },
    })
}

/// A verdict, and everything that it was computed from.
#[derive(Debug)]
pub(crate) struct Proposal<'a> {
    /// The epoch in which this process led when it read.
    pub(crate) epoch: Uuid,
    /// The instance.
    pub(crate) key: Key,
    /// What was read of it.
    pub(crate) look: &'a Look,
    /// What is to be recorded.
    pub(crate) verdict: &'a Verdict,
    /// What led to the look.
    pub(crate) cause: Cause,
    /// Time since the look was woken.
    pub(crate) waited: Duration,
}

/// Records a verdict behind the fence.
pub(crate) async fn record(
    pool: &Pool,
    settings: &RecordSettings,
    proposal: &Proposal<'_>,
) -> Result<Recording, StoreError> {
    let act = "record a verdict";
    let Proposal {
        epoch,
        key,
        look,
        verdict,
        cause,
        waited,
    } = *proposal;
    let memory = &verdict.memory;
    let columns = InstanceColumns {
        watched_id: key.watched_id,
        instance_id: key.instance_id,
        auth_status: verdict.status,
        reason: verdict.reason.as_str(),
        message: &verdict.message,
        cause: cause.as_str(),
        attempts: memory.attempts,
        misses: memory.misses,
        first_miss_at: memory.first_miss_at,
        ready_at: memory.ready_at,
        started_at: memory.started_at,
        account_at: memory.account_at,
        corrections_spent: memory.corrections.spent,
        corrections_since: memory.corrections.window_start,
        contested: memory.corrections.contested,
        hold_until: memory.corrections.hold_until,
    };
    let context = RecordContext {
        settings,
        woken_ms: millis(waited),
        retry_ms: verdict.retry.map(millis),
        trouble_ms: verdict.trouble_after.map(millis),
    };
    let row = in_transaction(
        pool,
        act,
        include_str!("../../../../sql/queries/record.sql"),
        &[
            ("{epoch}", epoch.to_string()),
            (
                "{version}",
                look.version
                    .map_or_else(String::new, |version| version.to_string()),
            ),
            ("{changes}", json(act, &look.changes)?),
            ("{verdict}", json(act, &columns)?),
            ("{context}", json(act, &context)?),
        ],
    )
    .await?;
    Ok(Recording {
        outcome: parse_outcome(act, row.get("outcome"))?,
        from: row.get("from_status").map(str::to_owned),
        reaction_ms: row.get("reaction_ms").and_then(|ms| ms.parse().ok()),
    })
}

/// Answers for the changes of a row that is gone, behind the same fence.
pub(crate) async fn forget(
    pool: &Pool,
    epoch: Uuid,
    key: Key,
    look: &Look,
) -> Result<Outcome, StoreError> {
    let act = "forget an instance";
    let row = in_transaction(
        pool,
        act,
        include_str!("../../../../sql/queries/forget.sql"),
        &[
            ("{epoch}", epoch.to_string()),
            ("{watched_id}", key.watched_id.to_string()),
            ("{instance_id}", key.instance_id.to_string()),
            (
                "{version}",
                look.version
                    .map_or_else(String::new, |version| version.to_string()),
            ),
            ("{changes}", json(act, &look.changes)?),
        ],
    )
    .await?;
    parse_outcome(act, row.get("outcome"))
}

/// Runs one statement in one message with the settings of its transaction. Values stand in it as
/// quoted literals: an extended query would need a message of its own for the settings, and so a
/// transaction that is open while nothing runs in it.
async fn in_transaction(
    pool: &Pool,
    act: &'static str,
    template: &str,
    values: &[(&str, String)],
) -> Result<SimpleQueryRow, StoreError> {
    let mut statement = String::from(TRANSACTION);
    statement.push_str(&filled(template, values));
    let messages = with(pool, act, async |client| {
        client.simple_query(&statement).await
    })
    .await?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        // The enum may grow.
        SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
    });
    row.ok_or_else(|| StoreError::Answer {
        act,
        what: "no row".to_owned(),
    })
}

/// Puts literals in place of names in braces, in one pass: a value that holds such a name stays.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((at, name, value)) = values
        .iter()
        .filter_map(|(name, value)| rest.find(name).map(|at| (at, *name, value)))
        .min_by_key(|(at, ..)| *at)
    {
        text.push_str(&rest[..at]);
        text.push_str(&escape_literal(value));
        rest = &rest[at + name.len()..];
    }
    text.push_str(rest);
    text
}

fn json(act: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Answer {
        act,
        what: error.to_string(),
    })
}

fn parse_outcome(act: &'static str, outcome: Option<&str>) -> Result<Outcome, StoreError> {
    Ok(match outcome.unwrap_or("null") {
        "written" => Outcome::Written,
        "right" => Outcome::Right,
        "overridden" => Outcome::Overridden,
        "busy" => Outcome::Busy,
        "gone" | "forgotten" => Outcome::Gone,
        "unwatched" => Outcome::Unwatched,
        "epoch" => Outcome::EpochEnded,
        "version" => Outcome::Overtaken("version"),
        "change" => Outcome::Overtaken("change"),
        other => {
            return Err(StoreError::Answer {
                act,
                what: format!("outcome {other:?} is not known"),
            });
        }
    })
}

/// The watched tables, and which of our triggers they lack.
pub(crate) async fn watched_tables(pool: &Pool) -> Result<Tables, StoreError> {
    let rows = with(pool, "list the watched tables", async |client| {
        client
            .query_typed(
                include_str!("../../../../sql/queries/watched_tables.sql"),
                &[],
            )
            .await
    })
    .await?;
    let tables = rows.iter().filter_map(|row| {
        // A table that was dropped has no name any more; `watch` and `doctor` speak of it.
        let relation: String = row.get::<_, Option<String>>("relation")?;
        let id = row.get("id");
        let table = Table::new(
            id,
            row.get("oid"),
            relation,
            row.get("has_type_instance"),
            row.get("assigned"),
            row.get("missing_triggers"),
        );
        Some((id, table))
    });
    Ok(Arc::new(tables.collect::<HashMap<_, _>>()))
}

/// Names of absent or disabled triggers, by table. Reads the catalog only.
pub(crate) async fn missing_triggers(
    pool: &Pool,
    tables: &Tables,
) -> Result<Vec<(String, Vec<String>)>, StoreError> {
    let oids: Vec<u32> = tables.values().map(|table| table.oid).collect();
    let assigned: Vec<bool> = tables.values().map(|table| table.assigned).collect();
    let rows = with(pool, "check the triggers", async |client| {
        client
            .query_typed(
                include_str!("../../../../sql/queries/missing_triggers.sql"),
                &[(&oids, Type::OID_ARRAY), (&assigned, Type::BOOL_ARRAY)],
            )
            .await
    })
    .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .filter(|(_, missing): &(String, Vec<String>)| !missing.is_empty())
        .collect())
}

/// Every key with changes, and every one that was not recorded as final, each with its cause.
pub(crate) async fn backlog(pool: &Pool) -> Result<Vec<(Key, Cause)>, StoreError> {
    let rows = with(pool, "read the backlog", async |client| {
        client
            .query_typed("select auth_reconciler.expand_truncations()", &[])
            .await?;
        client
            .query_typed(include_str!("../../../../sql/queries/backlog.sql"), &[])
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

/// Logs a change of every row of every watched table, and of every instance that was recorded.
pub(crate) async fn log_every_row(pool: &Pool, tables: &Tables) -> Result<(), StoreError> {
    for table in tables.values() {
        with(pool, "log a change of every row", async |client| {
            client
                .query_typed(&table.log_all_rows, &[(&table.id, Type::INT4)])
                .await
        })
        .await?;
    }
    Ok(())
}

/// Every row of every watched table, and every instance that was recorded.
pub(crate) async fn everything(pool: &Pool, tables: &Tables) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    for table in tables.values() {
        let rows = with(pool, "list all rows", async |client| {
            client
                .query_typed(&table.all_rows, &[(&table.id, Type::INT4)])
                .await
        })
        .await?;
        keys.extend(rows.iter().map(|row| Key {
            watched_id: table.id,
            instance_id: row.get(0),
        }));
    }
    Ok(keys)
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

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
