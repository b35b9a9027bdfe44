//! The engine shows environments and prints outputs: none of it goes any further.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::docker::fake::Reply;
use auth_reconciler_tests::docker::recorder::Recorder;
use serde_json::json;
use tokio_postgres::Client;

use super::faked::CONTAINER;
use super::{Faked, is_look_at};
use crate::containers::Harbour;

const TRACE: (&str, &str) = ("RUST_LOG", "trace");

const TOKEN: &str = "987654321:the-token-of-this-test";
const PASSWORD: &str = "the-password-of-this-test";
const KEY: &str = "the-api-key-of-this-test";
const ACCOUNT: &str = "the-account-of-this-test";

/// Every row of every table and view of ours.
async fn everything(client: &Client) -> Result<String> {
    let tables = "select c.relname::text from pg_catalog.pg_class as c
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind in ('r', 'v', 'p', 'm')";
    let mut all = String::new();
    for row in client.query(tables, &[]).await? {
        let name: String = row.try_get(0)?;
        let rows = format!(
            "select coalesce(string_agg(to_jsonb(t)::text, ' '), '') from auth_reconciler.{name} as t"
        );
        all.push_str(client.query_one(&rows, &[]).await?.try_get(0)?);
    }
    Ok(all)
}

fn holds_none(text: &str, where_: &str) -> Result<()> {
    for secret in [TOKEN, PASSWORD, KEY, ACCOUNT] {
        // Not even a beginning of it.
        let beginning = &secret[..16];
        ensure!(!text.contains(beginning), "{beginning}… is in {where_}");
    }
    Ok(())
}

#[tokio::test]
async fn neither_environment_nor_output_reaches_log_or_tables() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[TRACE]).await?;
    let spec = harbour.spec()?.at_once().with(|settings| {
        settings.token = TOKEN.to_owned();
        settings.account = ACCOUNT.to_owned();
        settings.writes_key = false;
        settings.asks_after = Duration::from_millis(300);
        // The server trusts it without asking for one.
        settings.database = settings
            .database
            .take()
            .map(|url| url.replacen('@', &format!(":{PASSWORD}@"), 1));
    });
    let id = spec.settings.id;
    let (table, client) = (&harbour.scene.table, harbour.client());
    table
        .insert(client, id, Some(spec.settings.port), Some(KEY))
        .await?;
    let container = engine.run(spec).await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    let shown = container.inspect().await?["Config"]["Env"].to_string();
    ensure!(shown.contains(TOKEN) && shown.contains(PASSWORD));
    ensure!(container.log_holds(TOKEN).await?, "it prints its token");
    let logs = recorder.count("/logs");
    ensure!(logs > 0, "its output was followed");
    recorder.cut_all().await?;
    container.kill("KILL").await?;
    harbour.watcher.wait_status(id, "failed").await?;

    let log = harbour.scene.daemon.output();
    ensure!(log.contains("\"DEBUG\""), "the log is as loud as it can be");
    holds_none(&log, "the daemon's log")?;
    holds_none(&everything(client).await?, "our tables")
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_not_repeated() -> Result<()> {
    let faked = Faked::ready(&[TRACE]).await?;
    let path = format!("/containers/{CONTAINER}/json");
    let env = json!([
        format!("TOKEN={TOKEN}"),
        format!("URL=postgres://u:{PASSWORD}@h")
    ]);
    let raw = |body: String| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let length = body.len();
        Reply::Raw(format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes())
    };
    for reply in [
        // Other types than they should be, no JSON, and nothing of what it should hold.
        Reply::Json(200, json!({"Config": {"Env": env}, "State": TOKEN})),
        Reply::Json(200, json!({"Config": {"Env": TOKEN}})),
        raw(format!("{{\"Config\": {{\"Env\": {env}}}, {TOKEN}")),
        Reply::Json(200, json!({"Config": {"Env": env}})),
    ] {
        faked.fake.reply(&path, reply);
        let mark = faked.scene.daemon.mark();
        let record = faked.scene.reconcile(faked.id).await?;
        assert_eq!(
            record.reason(),
            "Ready",
            "what is not known changes nothing"
        );
        // It is asked again, with backoff, though the instance is ready.
        let again = |line: &_| is_look_at(line, faked.id);
        let first = faked.scene.daemon.wait_line(mark, "a look", again).await?;
        let mark = 1
            + (faked.scene.daemon.log().iter())
                .position(|line| line.text == first.text)
                .context("it was logged")?;
        faked.scene.daemon.wait_line(mark, "another", again).await?;
    }
    assert_eq!(
        faked.scene.daemon.count(|line| line.is(super::LOST)),
        0,
        "one container that cannot be shown is no reason to be blind for all"
    );
    holds_none(&faked.scene.daemon.output(), "the daemon's log")?;
    holds_none(&everything(&faked.scene.client).await?, "our tables")
}
