//! A role that loses a right while the daemon runs as it: nothing can be kept true then, and nobody must have to guess why.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use chrono::DateTime;

use crate::operator::grants::Granted;
use crate::scene::{ALL_TRUE, eventually};

const BEGAN: &str = "a watched table is not as it was";

const ENDED: &str = "no longer so of a watched table";

const FAILED: &str = "look failed, will be repeated";

const FAILED_AGAIN: &str = "look failed as before, will be repeated";

/// What is taken away, and who may do so: the owner.
const LOST: &[&str] = &[
    "update (auth_status) on public.message_instances",
    "select (api_key) on public.message_instances",
    "usage on schema public",
    "execute on function auth_reconciler.record_batch(uuid, integer, jsonb, jsonb)",
    "insert on auth_reconciler.transition",
];

#[tokio::test]
async fn a_right_that_is_lost_is_told_with_the_grant_and_once() -> Result<()> {
    let granted = Granted::start().await?;
    let (url, manager, scene) = (&granted.daemon_url, &granted.scene.manager, &granted.scene);
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(stub.port()).await?;
    let daemon = Daemon::spawn(url, &["run"], &[("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")])?;
    daemon.wait_message(SERVING).await?;
    eventually(manager, ALL_TRUE).await?;
    for right in LOST {
        let mark = daemon.mark();
        manager
            .batch_execute(&format!("revoke {right} from auth_reconciler"))
            .await?;
        scene
            .table
            .write_status(manager, id, Some("failed"))
            .await?;
        let line = daemon
            .wait_line(mark, right, |line| {
                line.is(BEGAN) && line.has("problem", "RightsMissing")
            })
            .await?;
        let told = "select count(*) = 1 from auth_reconciler.problem_details where id is null and problem = 'RightsMissing'";
        eventually(manager, told).await?;
        // As the owner: the role may not even ask.
        let status = run_command(scene.url(), &["status"], &[]).await?;
        ensure!(status.code == Some(1), "{right}: {status:?}");

        // The remedy that it names is one, and the row is right again by itself.
        let (_, remedy) = line
            .text
            .split_once("as the owner: ")
            .context("no remedy")?;
        let remedy = remedy.split('"').next().unwrap_or_default();
        ensure!(remedy.starts_with("grant "), "{remedy}");
        ensure!(status.stdout.contains(remedy), "{remedy}: {status:?}");
        manager.batch_execute(remedy).await?;
        daemon
            .wait_line(mark, "its end", |line| line.is(ENDED))
            .await?;
        eventually(manager, ALL_TRUE).await?;
        let said = daemon.log()[mark..]
            .iter()
            .filter(|line| line.is(BEGAN))
            .count();
        ensure!(said == 1, "{right}: said {said} times");
    }
    Ok(())
}

/// Each of these looks asks the API, and nothing but the operator can make one succeed.
#[tokio::test]
async fn what_the_server_refuses_is_tried_again_ever_more_rarely_and_said_once() -> Result<()> {
    let granted = Granted::start().await?;
    let (manager, scene) = (&granted.scene.manager, &granted.scene);
    let stub = Stub::start(Behaviour::Ready).await?;
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let daemon = Daemon::spawn(&granted.daemon_url, &["run"], &debug)?;
    daemon.wait_message(SERVING).await?;
    let right = "execute on function auth_reconciler.record_batch(uuid, integer, jsonb, jsonb)";
    manager
        .batch_execute(&format!("revoke {right} from auth_reconciler"))
        .await?;
    scene.instance(stub.port()).await?;
    let mut failed = Vec::new();
    let third = daemon.wait_line(0, "a third look that fails", |line| {
        if line.is(FAILED) || line.is(FAILED_AGAIN) {
            failed.push(line.clone());
        }
        failed.len() >= 3
    });
    third.await?;
    let said: Vec<_> = failed.iter().map(|line| line.is(FAILED)).collect();
    ensure!(said == [true, false, false], "said once: {said:?}");
    ensure!(
        failed[0].text.contains("permission denied"),
        "{}",
        failed[0].text
    );
    // As the daemon wrote them down, and a busy machine makes the pauses longer.
    let mut at = Vec::new();
    for line in &failed {
        let written = line.json["timestamp"].as_str().unwrap_or_default();
        at.push(DateTime::parse_from_rfc3339(written)?);
    }
    for (two, shortest) in at.windows(2).zip([1_000, 2_000]) {
        let pause = (two[1] - two[0]).num_milliseconds();
        ensure!(pause >= shortest, "after {pause} ms");
    }
    manager
        .batch_execute(&format!("grant {right} to auth_reconciler"))
        .await?;
    eventually(manager, ALL_TRUE).await
}
