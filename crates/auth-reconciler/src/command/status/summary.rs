//! `auth-reconciler status --summary`: the view `overview`, a line for each status and reason.

use anyhow::{Context as _, Result};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};

use super::{Answer, text};
use crate::postgres::pool::with;

/// One row of the view. Ages are told as PostgreSQL writes them.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    auth_status: Option<String>,
    reason: String,
    instances: u64,
    in_trouble: u64,
    newest: Option<String>,
    oldest: Option<String>,
}

pub(super) async fn answer(pool: &Pool, json: bool) -> Result<Answer> {
    let row = with(pool, "read the view overview", async |client| {
        let query = include_str!("../../../../../sql/queries/overview.sql");
        client.query_typed_one(query, &[]).await
    })
    .await?;
    let groups: Vec<Group> = serde_json::from_value(row.get(0))
        .context("the view overview is not as this version knows it")?;
    Ok(Answer {
        text: if json {
            serde_json::to_string_pretty(&groups)?
        } else {
            table(&groups)
        },
        trouble: groups.iter().any(|group| group.in_trouble > 0),
    })
}

fn table(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "no instances in the watched tables".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "STATUS",
        "REASON",
        "INSTANCES",
        "TROUBLE",
        "NEWEST",
        "OLDEST",
    ]);
    let (mut instances, mut ready, mut trouble) = (0, 0, 0);
    for group in groups {
        table.add_row([
            text(group.auth_status.as_deref()),
            text(Some(&group.reason)),
            group.instances.to_string(),
            group.in_trouble.to_string(),
            text(group.newest.as_deref()),
            text(group.oldest.as_deref()),
        ]);
        instances += group.instances;
        trouble += group.in_trouble;
        if group.auth_status.as_deref() == Some("client_ready") {
            ready += group.instances;
        }
    }
    format!(
        "{}\n\n{instances} instances, {ready} client_ready, {trouble} in trouble (!)",
        table.trim_fmt()
    )
}
