//! The log's two forms.

use std::panic::Location;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{SERVING, binary};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::process::{Process, Stream};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::Value;

use crate::stage::Stage;

#[tokio::test]
async fn json_is_one_object_a_line() -> Result<()> {
    let stage = Stage::start(&[("RUST_LOG", "trace")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    stage.daemon.sigterm()?;
    ensure!(stage.daemon.ended().await?.success());
    let log = stage.daemon.log();
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line.stream == Stream::Stderr)
        .collect();
    ensure!(lines.len() > 10, "{} lines at TRACE", lines.len());
    for line in lines {
        let json: Value = serde_json::from_str(&line.text)?;
        for name in ["timestamp", "level", "fields"] {
            ensure!(json[name] != Value::Null, "no {name}: {}", line.text);
        }
        ensure!(!line.text.contains("a-key") && !line.text.contains("bot-token"));
    }
    let written = log.iter().find(|line| line.is("status written"));
    let written = written.context("nothing was written")?;
    ensure!(written.level() == Some("INFO") && written.has("instance", &id.to_string()));
    ensure!(written.has("from", "pending") && written.has("to", "client_ready"));
    ensure!(written.has("cause", "insert") && written.field("reaction_ms").is_number());
    let read = log.iter().find(|line| line.is("row read fresh"));
    let read = read.context("nothing was read")?;
    ensure!(read.has("has_api_key", "true") && read.field("generation").is_number());
    stage.close().await
}

#[tokio::test]
async fn human_is_text_without_escapes_in_a_pipe() -> Result<()> {
    let database = TestDatabase::shared().await?;
    ManagerTable::message_instances()
        .create(&database.client().await?)
        .await?;
    // Not the harness's daemon: that one is always asked for JSON.
    let daemon = Process::spawn(
        Command::new(binary()?)
            .args(["run", "--migrate"])
            .env_clear()
            .env("DATABASE_URL", database.url())
            .env("AUTH_RECONCILER_LOG_FORMAT", "human"),
    )?;
    let serving = daemon.until(|progress| {
        let mut lines = progress.lines.iter();
        let line = lines.find(|line| line.text.contains(SERVING));
        match (line, progress.exit) {
            (Some(line), _) => Some(line.text.clone()),
            (None, Some(exit)) => Some(format!("it ended: {exit}")),
            (None, None) => None,
        }
    });
    let line = within(PATIENCE, Location::caller(), "a line for people", serving).await?;
    ensure!(
        line.contains("INFO") && line.contains("instances=0"),
        "{line}"
    );
    ensure!(!line.contains('\u{1b}'), "escapes in a pipe: {line:?}");
    daemon.signal("TERM")?;
    ensure!(daemon.ended().await.success());
    database.close().await
}
