//! `auth-reconciler status`: the view `status` for people and for programs.
//!
//! Messages are sentences, so one line for each instance fits a wide terminal only. On a narrower one the message
//! stands below its instance; in a pipe each instance keeps to one line of any length, for `grep`.

use std::io;

use anyhow::{Context as _, Result};
use auth_reconciler_core::controller::Fault;
use auth_reconciler_core::problem::NOBODY_LEADS;
use chrono::{DateTime, SubsecRound, Utc};
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use deadpool_postgres::Pool;
use postgres_url::Database;
use serde::{Deserialize, Serialize};
use terminal_size::Width;

use super::{complain, say};
use crate::exit::Exit;
use crate::postgres::error::StoreError;
use crate::postgres::faults::from_rows;
use crate::postgres::pool::with;
use crate::postgres::{pool, schema};
use crate::settings::Shown;

mod summary;

/// Columns from which on a terminal shows everything side by side: 155 before the message, and room for it.
const WIDE: u16 = 195;

/// One row of the view.
#[derive(Debug, Serialize, Deserialize)]
struct Instance {
    id: uuid::Uuid,
    provider: Option<String>,
    auth_status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    since: Option<DateTime<Utc>>,
    cause: Option<String>,
    reaction_ms: Option<f64>,
    next_attempt_at: Option<DateTime<Utc>>,
    trouble: bool,
    contested: bool,
    paused: bool,
    looks: Option<i64>,
    unobserved: i64,
    watched_table: String,
}

/// The engine of the process that leads, while that process does not see it.
struct Engine {
    address: String,
    since: Option<DateTime<Utc>>,
    why: Option<String>,
}

/// What is printed of the instances, and whether one of them is in trouble.
struct Answer {
    text: String,
    trouble: bool,
}

/// Prints the instances, those in trouble first, and last what is wrong with the whole. It is trouble that an instance is,
/// or that a table is not seen as it was watched; that nobody leads is more than that.
///
/// That the engine is not seen is no trouble of an instance: it is said in one line more, which programs find on
/// standard error, beside an array that is as it always was.
pub(crate) async fn show(database: &Database, shown: Shown, json: bool) -> Result<Exit> {
    let pool = pool::open(&database.for_reading(), 1, pool::Session::Command)?;
    let no_status = || format!("no status from {}", database.describe());
    schema::must_exist(&pool).await.with_context(no_status)?;
    let Answer {
        text: answer,
        trouble,
    } = match shown {
        Shown::Summary => summary::answer(&pool, json).await,
        Shown::Every | Shown::Trouble => listed(&pool, shown, json).await,
    }
    .with_context(no_status)?;
    let engine = unseen_engine(&pool).await.with_context(no_status)?;
    let faults = faults(&pool).await.with_context(no_status)?;
    // A table that is not watched says more than that nobody leads; that nobody does is the last word.
    let mut said = faults.iter().rev().map(|fault| text(Some(&fault.why)));
    say(answer)?;
    if json {
        if let Some(engine) = engine {
            complain(sentence(&engine));
        }
        said.for_each(complain);
    } else {
        if let Some(engine) = engine {
            say(sentence(&engine))?;
        }
        said.try_for_each(say)?;
    }
    Ok(
        if faults.iter().any(|fault| fault.problem == NOBODY_LEADS) {
            Exit::NobodyLeads
        } else if trouble || !faults.is_empty() {
            Exit::Trouble
        } else {
            Exit::Well
        },
    )
}

/// The instances, each or those in trouble.
async fn listed(pool: &Pool, shown: Shown, json: bool) -> Result<Answer> {
    let row = with(pool, "read the status view", async |client| {
        let query = include_str!("../../../../sql/queries/status.sql");
        client.query_typed_one(query, &[]).await
    })
    .await?;
    let mut instances: Vec<Instance> = serde_json::from_value(row.get(0))
        .context("the status view is not as this version knows it")?;
    if shown == Shown::Trouble {
        instances.retain(|instance| instance.trouble);
    }
    Ok(Answer {
        text: if json {
            serde_json::to_string_pretty(&instances)?
        } else if shown == Shown::Trouble && instances.is_empty() {
            "no instance is in trouble".to_owned()
        } else {
            table(&instances)
        },
        trouble: instances.iter().any(|instance| instance.trouble),
    })
}

async fn faults(pool: &Pool) -> Result<Vec<Fault>, StoreError> {
    let rows = with(pool, "read the faults of the whole", async |client| {
        let query = include_str!("../../../../sql/queries/faults.sql");
        client.query_typed(query, &[]).await
    })
    .await?;
    Ok(from_rows(&rows))
}

async fn unseen_engine(pool: &Pool) -> Result<Option<Engine>, StoreError> {
    let row = pool::with(pool, "read the view reconciler_details", async |client| {
        let query = include_str!("../../../../sql/queries/unseen_engine.sql");
        client.query_typed_opt(query, &[]).await
    })
    .await?;
    Ok(row.map(|row| Engine {
        address: row.get("engine_address"),
        since: row.get("engine_since"),
        why: row.get("engine_detail"),
    }))
}

fn sentence(engine: &Engine) -> String {
    format!(
        "the engine at {} is not seen since {}, so container states are unknown: {}",
        text(Some(&engine.address)),
        time(engine.since),
        text(engine.why.as_deref())
    )
}

fn table(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "no instances in the watched tables".to_owned();
    }
    let table = match terminal_size::terminal_size_of(io::stdout()) {
        Some((Width(width), _)) if width < WIDE => narrow(instances),
        Some((Width(width), _)) => wide(instances, Some(width)),
        None => wide(instances, None),
    };
    let trouble = instances.iter().filter(|instance| instance.trouble).count();
    let ready = instances
        .iter()
        .filter(|instance| instance.auth_status.as_deref() == Some("client_ready"))
        .count();
    format!(
        "{table}\n\n{} instances, {ready} client_ready, {trouble} in trouble (!)",
        instances.len()
    )
}

/// One line for each instance; messages are wrapped where the width is known.
fn wide(instances: &[Instance], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "ID",
        "PROVIDER",
        "STATUS",
        "REASON",
        "SINCE",
        "CAUSE",
        "REACTION",
        "NEXT LOOK",
        "MESSAGE",
    ]);
    for instance in instances {
        table.add_row([
            instance.id.to_string(),
            text(instance.provider.as_deref()),
            status(instance),
            text(instance.reason.as_deref()),
            time(instance.since),
            text(instance.cause.as_deref()),
            instance
                .reaction_ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            time(instance.next_attempt_at),
            text(instance.message.as_deref()),
        ]);
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
        let message = table.column_count().saturating_sub(1);
        for column in table.column_iter_mut().take(message) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// What fits 80 columns, and the rest below it.
fn narrow(instances: &[Instance]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["ID", "STATUS", "REASON"]);
    for instance in instances {
        table.add_row([
            instance.id.to_string(),
            status(instance),
            text(instance.reason.as_deref()),
        ]);
    }
    // text() leaves no line break in a cell, so there is a line for the header and one for each instance.
    let shown = table.trim_fmt();
    let mut lines = shown.lines();
    let mut all = vec![lines.next().unwrap_or_default().to_owned()];
    for (line, instance) in lines.zip(instances) {
        all.push(line.to_owned());
        all.push(format!(
            "     since {}: {}",
            time(instance.since),
            text(instance.message.as_deref())
        ));
    }
    all.join("\n")
}

fn status(instance: &Instance) -> String {
    format!(
        "{}{}{}",
        text(instance.auth_status.as_deref()),
        // A pause is told as the reason.
        if instance.paused {
            ""
        } else if instance.contested {
            " contested"
        } else if instance.unobserved > 0 {
            " waiting"
        } else {
            ""
        },
        if instance.trouble { " !" } else { "" }
    )
}

/// As one line that does nothing to a terminal: anybody may have written the column.
pub(super) fn text(value: Option<&str>) -> String {
    let mut shown = String::new();
    for character in value.unwrap_or("-").chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn time(value: Option<DateTime<Utc>>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |at| {
            at.trunc_subsecs(0)
                .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(status: &str, message: &str) -> Instance {
        Instance {
            id: uuid::Uuid::nil(),
            provider: Some("whatsappweb".to_owned()),
            auth_status: Some(status.to_owned()),
            reason: Some("TelegramNotConnected".to_owned()),
            message: Some(message.to_owned()),
            since: Some(DateTime::UNIX_EPOCH),
            cause: Some("type_instance".to_owned()),
            reaction_ms: Some(1234.5),
            next_attempt_at: Some(DateTime::UNIX_EPOCH),
            trouble: true,
            contested: false,
            paused: false,
            looks: Some(1),
            unobserved: 0,
            watched_table: "message_instances".to_owned(),
        }
    }

    #[test]
    fn a_narrow_terminal_shows_the_message_below() {
        let shown = narrow(&[
            instance("client_ready", "is ready"),
            instance("failed", "is not"),
        ]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 5, "{shown}");
        assert!(lines.iter().all(|line| line.len() <= 80), "{shown}");
        assert!(lines[3].contains("failed !"), "{shown}");
        assert_eq!(lines[4], "     since 1970-01-01T00:00:00Z: is not");
    }

    #[test]
    fn a_wide_terminal_wraps_messages_and_a_pipe_does_not() {
        let instances = [instance("failed", &"word ".repeat(50))];
        let shown = wide(&instances, Some(WIDE));
        assert!(shown.lines().count() > 2, "{shown}");
        assert!(
            shown.lines().all(|line| line.len() <= usize::from(WIDE)),
            "{shown}"
        );
        assert!(shown.contains(&uuid::Uuid::nil().to_string()), "{shown}");
        assert_eq!(wide(&instances, None).lines().count(), 2);
    }

    #[test]
    fn what_somebody_wrote_does_nothing_to_the_terminal() {
        let shown = narrow(&[instance("a\u{1b}[2J\nb", "")]);
        assert!(shown.contains(r"a\u{1b}[2J\nb !"), "{shown}");
    }
}
