//! The benchmark still measures each of its parts, on the schema and the daemon as they are now.

use std::panic::Location;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::patience::within;
use auth_reconciler_tests::process::Process;
use serde_json::Value;
use uuid::Uuid;

const PARTS: [&str; 7] = [
    "reaction",
    "burst",
    "beside",
    "memory",
    "manager",
    "statement",
    "history",
];

/// A server, four daemons and a few of everything: some seconds, but not on a machine that has better to do.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_few_of_everything_yield_figures_for_each_part() -> Result<()> {
    let file = std::env::temp_dir().join(format!("bench-{}.json", Uuid::new_v4().simple()));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["--smoke", "--json"]).arg(&file);
    let bench = Process::spawn(&mut bench)?;
    let ended = within(LIMIT, Location::caller(), "the benchmark", bench.ended()).await?;
    let output = bench.text();
    ensure!(ended.success(), "{output}");
    let figures: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    std::fs::remove_file(&file)?;

    let lines = figures["lines"].as_array().context("no lines")?;
    for part in PARTS {
        let of_part: Vec<&Value> = lines.iter().filter(|line| line["part"] == part).collect();
        ensure!(!of_part.is_empty(), "{part} measured nothing:\n{output}");
        for line in of_part {
            let measured = line["measured"].as_array().context("no figures")?;
            ensure!(!measured.is_empty(), "{line} has no figure");
            ensure!(line["met"].is_null(), "so few prove nothing: {line}");
            let what = line["what"].as_str().context("no name")?;
            ensure!(output.contains(what), "{what} is not in the table");
        }
    }
    let compared = lines.iter().filter(|line| line["ratio"].is_object());
    ensure!(
        compared.count() > PARTS.len(),
        "hardly anything is compared:\n{output}"
    );
    ensure!(figures["machine"]["server_version"].is_string());
    Ok(())
}
