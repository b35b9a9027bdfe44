//! `status`: a table for people, JSON for programs, and an exit code for scripts.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::Value;
use uuid::Uuid;

use super::expect;
use crate::operator::questions::{RECORDED, ROWS};
use crate::scene::{Scene, eventually};
use crate::stage::Stage;

const JSON: &[&str] = &["status", "--json"];

async fn json(stage: &Stage, code: i32) -> Result<Vec<Value>> {
    let output = run_command(stage.database.url(), JSON, &[]).await?;
    expect(&output, code, &[])?;
    ensure!(!output.stdout.contains("a-key") && !output.stdout.contains("bot-token"));
    Ok(serde_json::from_str(&output.stdout)?)
}

#[tokio::test]
async fn no_instances_is_no_trouble() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let output = run_command(stage.database.url(), &["status"], &[]).await?;
    expect(&output, 0, &["no instances"])?;
    ensure!(json(&stage, 0).await?.is_empty());
    stage.close().await
}

#[tokio::test]
async fn trouble_comes_first_and_exits_with_1() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let ready = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(ready, Some("client_ready"), "Ready").await?;
    let young = Uuid::new_v4();
    stage.table.insert(&stage.client, young, None, None).await?;
    stage
        .expect(young, Some("pending"), "AwaitingApiKey")
        .await?;

    let output = run_command(stage.database.url(), &["status"], &[]).await?;
    let (ready, young) = (ready.to_string(), young.to_string());
    let counted = "2 instances, 1 client_ready, 0 in trouble";
    expect(&output, 0, &["STATUS", "REASON", &ready, &young, counted])?;
    let line = output.stdout.lines().find(|line| line.contains(&ready));
    let line = line.context("no line of the ready one")?;
    for part in ["telegram", "client_ready", "Ready", " ms", "READY"] {
        ensure!(line.contains(part), "no {part:?} in {line}");
    }
    ensure!(!output.stdout.contains('\u{1b}'), "escapes in a pipe");

    let rejecting = Stub::start(Behaviour::Status(401)).await?;
    let failed = stage.telegram(rejecting.port(), "a-key").await?;
    stage
        .expect(failed, Some("failed"), "ApiKeyRejected")
        .await?;
    // By age alone this one would be first.
    let newest = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(newest, Some("client_ready"), "Ready").await?;
    let output = run_command(stage.database.url(), &["status"], &[]).await?;
    let failed = failed.to_string();
    expect(
        &output,
        1,
        &["failed !", "4 instances, 2 client_ready, 1 in trouble"],
    )?;
    let place = |id: &str| output.stdout.find(id).context("not listed");
    ensure!(place(&failed)? < place(&newest.to_string())?);

    let all = json(&stage, 1).await?;
    let first = all.first().context("none")?;
    ensure!(all.len() == 4 && first["id"] == failed && first["trouble"] == true);
    ensure!(first["auth_status"] == "failed" && first["reason"] == "ApiKeyRejected");
    ensure!(first["next_attempt_at"].is_null() && first["since"].is_string());
    ensure!(first["reaction_ms"].is_number());
    // Qualified or not as the session's search_path has it.
    let table = first["watched_table"].as_str().unwrap_or_default();
    ensure!(table.ends_with("message_instances"), "{table}");
    stage.close().await
}

#[tokio::test]
async fn waiting_becomes_trouble_though_nobody_looks() -> Result<()> {
    let stage = Stage::start(&[("AUTH_RECONCILER_AWAITING_GRACE", "1ms")]).await?;
    let id = Uuid::new_v4();
    stage.table.insert(&stage.client, id, None, None).await?;
    stage.expect(id, Some("pending"), "AwaitingApiKey").await?;
    // The daemon is frozen: whatever the view says now, it says by itself.
    stage.daemon.signal("STOP")?;
    let all = json(&stage, 1).await?;
    ensure!(all.len() == 1 && all[0]["trouble"] == true && all[0]["looks"] == 1);
    stage.close().await
}

/// What is shown then is nobody's concern: that is the last word, and an exit code of its own.
#[tokio::test]
async fn that_nobody_leads_is_the_last_line_and_exits_with_4() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let rejecting = Stub::start(Behaviour::Status(401)).await?;
    let failed = stage.telegram(rejecting.port(), "a-key").await?;
    stage
        .expect(failed, Some("failed"), "ApiKeyRejected")
        .await?;
    stage.daemon.sigterm()?;
    stage.daemon.ended().await?;
    eventually(&stage.client, "select auth_reconciler.nobody_leads()").await?;
    let output = run_command(stage.database.url(), &["status"], &[]).await?;
    expect(&output, 4, &["1 in trouble", "failed !"])?;
    let last = output.stdout.lines().last().unwrap_or_default();
    ensure!(last.starts_with("no daemon leads"), "{last}");
    let output = run_command(stage.database.url(), JSON, &[]).await?;
    expect(&output, 4, &[])?;
    ensure!(output.stderr.contains("no daemon leads"), "{output:?}");
    ensure!(serde_json::from_str::<Vec<Value>>(&output.stdout)?.len() == 1);
    stage.close().await
}

/// What a fleet of any size shows on one screen, and what of it needs a person.
#[tokio::test]
async fn a_summary_counts_and_trouble_shows_what_is_in_trouble() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let none = run_command(scene.url(), &["status", "--trouble"], &[]).await?;
    ensure!(
        none.stdout.starts_with("no instance is in trouble\n"),
        "{none:?}"
    );
    let none = run_command(scene.url(), &["status", "--summary"], &[]).await?;
    ensure!(
        none.stdout
            .starts_with("no instances in the watched tables\n"),
        "{none:?}"
    );

    scene.manager.batch_execute(ROWS).await?;
    scene.manager.batch_execute(RECORDED).await?;
    let summary = run_command(scene.url(), &["status", "--summary"], &[]).await?;
    let lines: Vec<&str> = summary.stdout.lines().collect();
    let first = lines.get(1).context("no line")?;
    let first: Vec<&str> = first.split_whitespace().collect();
    ensure!(
        first.starts_with(&["failed", "ApiKeyRejected", "1", "1"]),
        "{summary:?}"
    );
    let counted = "9 instances, 3 client_ready, 1 in trouble (!)";
    ensure!(lines.contains(&counted), "{summary:?}");
    let groups = run_command(scene.url(), &["status", "--summary", "--json"], &[]).await?;
    let groups: Vec<Value> = serde_json::from_str(&groups.stdout)?;
    let all: Option<u64> = groups.iter().map(|group| group["instances"].as_u64()).sum();
    ensure!(
        all == Some(9)
            && groups.len()
                == lines
                    .iter()
                    .position(|line| line.is_empty())
                    .context("no end")?
                    - 1
    );

    let trouble = run_command(scene.url(), &["status", "--trouble"], &[]).await?;
    ensure!(
        trouble
            .stdout
            .contains("00000000-0000-0000-0000-000000000002"),
        "{trouble:?}"
    );
    ensure!(
        trouble
            .stdout
            .contains("\n1 instances, 0 client_ready, 1 in trouble"),
        "{trouble:?}"
    );
    let listed = run_command(scene.url(), &["status", "--trouble", "--json"], &[]).await?;
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout)?;
    ensure!(
        listed.len() == 1 && listed[0]["trouble"] == true,
        "{listed:?}"
    );
    // They tell the same by their exit codes as the whole does.
    let whole = run_command(scene.url(), &["status"], &[]).await?;
    ensure!(whole.code == summary.code && whole.code == trouble.code && whole.code != Some(0));
    Ok(())
}

#[tokio::test]
async fn without_a_schema_it_says_what_to_run() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let output = run_command(database.url(), &["status"], &[]).await?;
    expect(
        &output,
        3,
        &[
            "schema auth_reconciler is missing",
            "auth-reconciler migrate",
        ],
    )?;
    database.close().await
}

#[tokio::test]
async fn what_is_paused_contested_or_waiting_says_so() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(ROWS).await?;
    scene.manager.batch_execute(RECORDED).await?;
    let output = run_command(scene.url(), &["status"], &[]).await?;
    for (number, said) in [
        (1, "client_ready Ready"),
        (3, "client_ready Paused"),
        (4, "pending contested Ready"),
        (5, "client_ready waiting Ready"),
    ] {
        let id = format!("00000000-0000-0000-0000-00000000000{number}");
        let line = output.stdout.lines().find(|line| line.contains(&id));
        let words: Vec<&str> = line.context("no line")?.split_whitespace().collect();
        ensure!(words.join(" ").contains(said), "no {said:?} in {words:?}");
    }
    ensure!(output.stdout.contains("paused by alice: moving its number"));
    Ok(())
}
