//! The way to the engine: forbidden, lost, silent, hostile, and found again.

mod backoff;
mod faked;
mod leader;
mod podman;
mod rights;
mod secrets;
mod sight;
mod silence;
mod socket;
mod stream;
mod tls;
mod words;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{LogLine, run_command};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use faked::Faked;

/// What the daemon says when it loses the engine.
pub(super) const LOST: &str =
    "the engine is out of sight: container states are unknown until it is seen again";

/// What it says, at level debug, of each further try.
const STILL: &str = "the engine is still out of sight";

/// Every try to find the engine again is in the log.
const DEBUG: (&str, &str) = ("RUST_LOG", "info,auth_reconciler=debug");

/// A list is compared with the events so often.
const CHECKS: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

/// What `reconcilers` says of the active process' engine.
struct Told {
    view: String,
    since: String,
    address: String,
    detail: String,
}

async fn told(client: &Client) -> Result<Told> {
    let asked = "select coalesce(engine, ''), coalesce(engine_since::text, ''), coalesce(engine_address, ''),
            coalesce(engine_detail, '')
        from auth_reconciler.reconciler_details where role = 'active'";
    let row = client.query_one(asked, &[]).await?;
    Ok(Told {
        view: row.try_get(0)?,
        since: row.try_get(1)?,
        address: row.try_get(2)?,
        detail: row.try_get(3)?,
    })
}

/// Waits until `reconcilers` says this of the engine, and tells all that it says.
async fn says_of_engine(client: &Client, view: &str) -> Result<Told> {
    let asked = format!(
        "select coalesce(bool_or(engine = '{view}'), false) from auth_reconciler.reconciler_details where role = 'active'"
    );
    crate::scene::eventually(client, &asked).await?;
    told(client).await
}

/// What `status` says: to people, and to programs on their two outputs.
async fn status(url: &str) -> Result<(String, Vec<Value>, String)> {
    let people = run_command(url, &["status"], &[]).await?;
    let programs = run_command(url, &["status", "--json"], &[]).await?;
    ensure!(people.stderr.is_empty(), "{}", people.stderr);
    let array = serde_json::from_str(&programs.stdout).context("an array and nothing else")?;
    Ok((people.stdout, array, programs.stderr))
}

fn is_look_at(line: &LogLine, id: Uuid) -> bool {
    line.is("row read fresh") && line.has("instance", &id.to_string())
}
