//! `auth-reconciler status`: the view `status` for people and for programs.

use anyhow::{Context as _, Result};
use chrono::{DateTime, SubsecRound, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::{Deserialize, Serialize};

use super::say;
use crate::database::Database;
use crate::postgres::{pool, schema};

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
    looks: Option<i64>,
    unobserved: i64,
    watched_table: String,
}

/// Prints every instance, those in trouble first. Returns whether one is in trouble.
pub(crate) async fn show(database: &Database, json: bool) -> Result<bool> {
    let pool = pool::open(database, 1)?;
    schema::require(&pool).await?;
    let rows = pool::with(&pool, "read the status view", async |client| {
        client
            .query_typed_one(include_str!("../../../../sql/queries/status.sql"), &[])
            .await
    })
    .await?;
    let instances: Vec<Instance> = serde_json::from_value(rows.get(0))
        .context("the status view is not as this version knows it")?;
    if json {
        say(serde_json::to_string_pretty(&instances)?);
    } else {
        print(&instances);
    }
    Ok(instances.iter().any(|instance| instance.trouble))
}

fn print(instances: &[Instance]) {
    if instances.is_empty() {
        say("no instances in the watched tables");
        return;
    }
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
            format!(
                "{}{}",
                text(instance.auth_status.as_deref()),
                if instance.trouble { " !" } else { "" }
            ),
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
    say(table.trim_fmt());
    let trouble = instances.iter().filter(|instance| instance.trouble).count();
    let ready = instances
        .iter()
        .filter(|instance| instance.auth_status.as_deref() == Some("client_ready"))
        .count();
    say(format_args!(
        "\n{} instances, {ready} client_ready, {trouble} in trouble (!)",
        instances.len()
    ));
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
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
