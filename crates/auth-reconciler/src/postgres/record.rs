//! Recording a verdict: the one statement that may change a watched table, and its answer.

use std::time::Duration;

use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::{AuthStatus, Cause, Key};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};
use uuid::Uuid;

use super::error::StoreError;
use super::look::Look;
use super::pool::{TRANSACTION, bare};

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The column was written.
    Written,
    /// The column was right already.
    Right,
    /// A trigger of the table replaced the value.
    Overridden,
    /// The table refuses the value; that is recorded.
    Unwritable,
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
    /// What of the table refused the write.
    pub(crate) refusal: Option<String>,
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
    unwritable_retry_ms: f64,
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
    #[serde(rename = "final")]
    last: bool,
    message: &'a str,
    cause: &'static str,
    attempts: u32,
    misses: u32,
    first_miss_at: Option<DateTime<Utc>>,
    established: bool,
    ready_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    account_at: Option<DateTime<Utc>>,
    corrections_spent: u32,
    corrections_since: Option<DateTime<Utc>>,
    contested: u32,
    hold_until: Option<DateTime<Utc>>,
    foreign_at: Vec<DateTime<Utc>>,
    container_engine: Option<&'a str>,
    container_id: Option<&'a str>,
    container_name: Option<&'a str>,
    container_state: Option<&'a str>,
    container_started_at: Option<DateTime<Utc>>,
    container_network: Option<&'a str>,
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
    let container = memory.sighting.as_ref();
    let columns = InstanceColumns {
        watched_id: key.watched_id,
        instance_id: key.instance_id,
        auth_status: verdict.status,
        reason: verdict.reason.as_str(),
        last: verdict.last,
        message: &verdict.message,
        cause: cause.as_str(),
        attempts: memory.attempts,
        misses: memory.misses,
        first_miss_at: memory.first_miss_at,
        established: memory.established,
        ready_at: memory.ready_at,
        started_at: memory.started_at,
        account_at: memory.account_at,
        corrections_spent: memory.corrections.spent,
        corrections_since: memory.corrections.window_start,
        contested: memory.corrections.contested,
        hold_until: memory.corrections.hold_until,
        foreign_at: memory
            .corrections
            .recent
            .iter()
            .flatten()
            .copied()
            .collect(),
        container_engine: container.map(|seen| seen.engine.as_str()),
        container_id: container.map(|seen| seen.id.as_str()),
        container_name: container.map(|seen| seen.name.as_str()),
        container_state: container.map(|seen| seen.state.as_str()),
        container_started_at: container.and_then(|seen| seen.started_at),
        container_network: container.map(|seen| seen.network.as_str()),
    };
    let context = RecordContext {
        settings,
        woken_ms: millis(waited),
        unwritable_retry_ms: millis(look.unwritable_retry()),
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
    let (outcome, refusal) = match row.get("outcome").and_then(|told| told.split_once(": ")) {
        Some(("unwritable", refusal)) => (Outcome::Unwritable, Some(refusal.to_owned())),
        Some(_) | None => (parse_outcome(act, row.get("outcome"))?, None),
    };
    Ok(Recording {
        outcome,
        refusal,
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
    let messages = bare(pool, act, async |client| {
        client.simple_query(&statement).await
    })
    .await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        // The enum may grow.
        SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
    });
    // Those of the settings come first.
    rows.last().ok_or_else(|| StoreError::Answer {
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

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
