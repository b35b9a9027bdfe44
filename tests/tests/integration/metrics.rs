//! Metrics without a second server: the real exporter reads the views, as the role that may do nothing else; dashboard
//! and alerts name only what it serves.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING};
use auth_reconciler_tests::exporter::{Exporter, Scrape, folder, promtool};
use serde_json::Value;

use crate::operator::grants::Granted;
use crate::operator::questions::{RECORDED, ROWS};

mod ports;

/// Beside the scripted instances: one with a status of nobody's, a history, drift, and guard.
const MORE: &str = "
    insert into public.message_instances (id, provider, port_api, api_key, auth_status)
    values (pg_temp.id(10), 'telegram', 4010, 'a-key', 'f47ac10b says somebody');
    delete from auth_reconciler.change where instance_id = pg_temp.id(10);
    insert into auth_reconciler.transition (watched_id, instance_id, at, reason, message, cause, reaction_ms)
    select 1, pg_temp.id(1), now() - interval '10 minutes', 'Ready', '', cause, n
    from generate_series(1, 100) as n, unnest(array['drift', 'insert']) as cause
    where cause = 'drift' or n = 100;
    insert into auth_reconciler.foreign_write
        (watched_id, instance_id, kind, application, role, from_status, to_status, times, guarded, first_at, last_at)
    values
        (1, pg_temp.id(4), 1, 'a', 'b', 'failed', 'pending', 3, 0, now(), now()),
        (1, pg_temp.id(1), 1, 'a', 'b', 'failed', 'pending', 3, 2, now(), now());
    select auth_reconciler.guard('public.message_instances', true)";

/// Computed by hand from the script.
const EXPECTED: &[(&str, f64)] = &[
    ("instances{reason=\"Ready\",status=\"client_ready\"}", 2.0),
    ("instances{reason=\"Paused\",status=\"client_ready\"}", 1.0),
    ("instances{reason=\"Ready\",status=\"pending\"}", 2.0),
    ("instances{reason=\"Unseen\",status=\"pending\"}", 1.0),
    ("instances{reason=\"Unseen\",status=\"other\"}", 1.0),
    (
        "instances{reason=\"ApiKeyRejected\",status=\"failed\"}",
        1.0,
    ),
    (
        "instances_in_trouble{reason=\"ApiKeyRejected\",status=\"failed\"}",
        1.0,
    ),
    (
        "instances_in_trouble{reason=\"Ready\",status=\"client_ready\"}",
        0.0,
    ),
    (
        "instances_contested{reason=\"Ready\",status=\"pending\"}",
        1.0,
    ),
    (
        "instances_paused{reason=\"Paused\",status=\"client_ready\"}",
        1.0,
    ),
    ("waiting_changes", 3.0),
    ("waiting_instances", 2.0),
    ("reaction_seconds{cause=\"drift\",percentile=\"50\"}", 0.05),
    ("reaction_seconds{cause=\"drift\",percentile=\"95\"}", 0.095),
    ("reaction_seconds{cause=\"drift\",percentile=\"99\"}", 0.099),
    ("reaction_seconds{cause=\"insert\",percentile=\"50\"}", 0.1),
    ("reaction_seconds{cause=\"all\",percentile=\"100\"}", 0.1),
    ("transitions_last_hour{cause=\"drift\"}", 100.0),
    ("transitions_last_hour{cause=\"insert\"}", 1.0),
    ("drift_writes{outcome=\"corrected\"}", 4.0),
    ("drift_writes{outcome=\"guarded\"}", 2.0),
    ("reconciler_processes{role=\"active\"}", 0.0),
    ("history_rows{kept=\"transitions\"}", 101.0),
    ("history_rows{kept=\"unanswered_changes\"}", 3.0),
    (
        "table_watched{watched_table=\"public.message_instances\"}",
        1.0,
    ),
    (
        "table_guarded{watched_table=\"public.message_instances\"}",
        1.0,
    ),
];

/// The metrics that the query file declares.
fn declared() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(folder().join("queries.yaml"))?;
    let (mut key, mut column) = ("", "");
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':') {
            match name.strip_prefix("    - ") {
                Some(name) => column = name,
                None if !name.starts_with([' ', '#']) => key = name,
                None => {}
            }
        }
        if line.trim() == "usage: GAUGE" {
            names.insert(format!("{key}_{column}"));
        }
    }
    ensure!(names.len() > 20, "{names:?}");
    Ok(names)
}

/// Every metric of ours that an expression names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("auth_reconciler_"))
        .map(str::to_owned)
        .collect()
}

fn expressions(dashboard: &Value) -> Result<Vec<String>> {
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut all = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel has no title")?;
        let said = panel["description"].as_str().unwrap_or_default();
        ensure!(!said.is_empty(), "{title} says nothing of itself");
        for target in panel["targets"].as_array().context("no targets")? {
            for place in [panel, target] {
                ensure!(place["datasource"]["uid"] == "${datasource}", "{title}");
            }
            all.push(target["expr"].as_str().context("no expr")?.to_owned());
        }
    }
    for variable in dashboard["templating"]["list"].as_array().context("none")? {
        all.extend(variable["query"]["query"].as_str().map(str::to_owned));
    }
    Ok(all)
}

fn alerts() -> Result<String> {
    // What a person reads names views, so only the expressions count.
    let text = std::fs::read_to_string(folder().join("alerts.yaml"))?;
    let mut kept = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        inside = line.starts_with("expr:") || (inside && !line.starts_with("for:"));
        if inside {
            kept.push(line);
        }
    }
    Ok(kept.join("\n"))
}

fn ensure_served(scrape: &Scrape, who: &str, names: &BTreeSet<String>) -> Result<()> {
    ensure!(!names.is_empty(), "{who} names nothing");
    for name in names {
        ensure!(
            scrape.serves(name),
            "{who} names {name}, which nobody serves"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_exporter_serves_what_the_views_say_to_a_reader() -> Result<()> {
    let granted = Granted::start().await?;
    let manager = &granted.scene.manager;
    for script in [ROWS, RECORDED, MORE] {
        manager.batch_execute(script).await?;
    }
    let exporter = Exporter::start(&granted.reader_url).await?;
    let scrape = exporter.scrape().await?;
    for (series, value) in EXPECTED {
        let found = scrape.value(&format!("auth_reconciler_{series}"));
        ensure!(found == Some(*value), "{series} is {found:?}, not {value}");
    }
    let oldest = scrape.value("auth_reconciler_waiting_oldest_age_seconds");
    ensure!(oldest >= Some(300.0), "{oldest:?}");
    for unbounded in ["00000000-0000", "says somebody", "127.0.0.1:1"] {
        let found = scrape
            .text
            .lines()
            .find(|line| line.starts_with("auth_reconciler") && line.contains(unbounded));
        ensure!(found.is_none(), "{found:?}");
    }
    let engine = "auth_reconciler_engine_seen";
    ensure!(!scrape.serves(engine), "nobody leads, so nobody knows");

    // Somebody leads who does not see the engine that it was told of.
    let daemon = Daemon::spawn(&granted.daemon_url, &["run"], &[])?;
    daemon.wait_message(SERVING).await?;
    granted
        .scene
        .eventually("select exists (select from auth_reconciler.engine)")
        .await?;
    manager
        .batch_execute(
            "update auth_reconciler.engine set address = 'unix:///nowhere', seen = false",
        )
        .await?;
    let scrape = exporter.scrape().await?;
    for (series, value) in [
        ("auth_reconciler_reconciler_processes{role=\"active\"}", 1.0),
        ("auth_reconciler_reconciler_processes{role=\"dead\"}", 0.0),
        ("auth_reconciler_active_hears", 1.0),
        (engine, 0.0),
    ] {
        ensure!(
            scrape.value(series) == Some(value),
            "{series} is {:?}",
            scrape.value(series)
        );
    }

    ensure_served(&scrape, "queries.yaml", &declared()?)?;
    let dashboard = std::fs::read_to_string(folder().join("dashboard.json"))?;
    let shown = expressions(&serde_json::from_str(&dashboard)?)?.join("\n");
    ensure_served(&scrape, "dashboard.json", &named(&shown))?;
    ensure_served(&scrape, "alerts.yaml", &named(&alerts()?))?;
    let ours = scrape
        .text
        .lines()
        .filter(|line| line.contains("auth_reconciler_"));
    let ours: Vec<&str> = ours.collect();
    promtool(&["check", "metrics"], &(ours.join("\n") + "\n"))
}

#[test]
fn alerts_fire_when_they_should_and_say_what_to_do() -> Result<()> {
    let rules = folder().join("alerts.yaml");
    let rules = rules.to_str().context("path")?;
    promtool(&["check", "rules", rules], "")?;
    let cases = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/metrics/alerts.yaml"
    );
    promtool(&["test", "rules", cases], "")?;
    // None is left out of the cases.
    let tested = std::fs::read_to_string(cases)?;
    for line in std::fs::read_to_string(rules)?.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            let told = tested.matches(name).count();
            ensure!(told >= 2, "{name} is not shown to fire and to be silent");
        }
    }
    Ok(())
}
