//! Podman: a real one where it is installed, and what later ones say.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::docker::{Engine, Podman, Spec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Faked;
use super::faked::{CONTAINER, KILLED, RUNNING, Shown};
use crate::arena::Record;
use crate::containers::{Harbour, harbour::without_backoff};

/// An instance that is ready as soon as it runs, in the machine's network, and writes nothing to its row.
fn spec() -> Result<Spec> {
    let mut spec = Spec::new().at_once().port(Engine::port()?);
    spec.host_network = true;
    Ok(spec)
}

/// Waits for the first record of this instance after `mark` for this reason, with these words in its message. That its
/// container was heard of led to it; of two events in a row one look may tell, and output may be faster.
async fn heard(
    harbour: &Harbour,
    mark: usize,
    id: Uuid,
    (reason, words): (&str, &str),
) -> Result<()> {
    let told = |record: &Record| {
        record.id == id
            && record.reason() == reason
            && record
                .text("message")
                .is_some_and(|message| message.contains(words))
    };
    let record = harbour.scene.records.wait(mark, reason, told).await?;
    let cause = record.text("cause").unwrap_or_default();
    ensure!(cause.starts_with("container "), "{reason}: {cause}");
    Ok(())
}

/// No clock finds anything here, and lists are compared with the events too rarely to be first: the cause that is
/// recorded is the event's.
#[tokio::test]
async fn a_real_podman_is_heard_at_once() -> Result<()> {
    let Some(podman) = Podman::start().await? else {
        eprintln!("SKIPPED: Podman is not installed here, so a real one was NOT tested");
        return Ok(());
    };
    let url = podman.url();
    let rarely = without_backoff(&[("AUTH_RECONCILER_ECHO_INTERVAL", "10m")]);
    let harbour = Harbour::open(Engine::clone(&podman), &url, &rarely).await?;
    let (watcher, records) = (&harbour.watcher, &harbour.scene.records);
    let spec_of_it = spec()?;
    let id = harbour.insert_with_key(&spec_of_it).await?;
    let container = harbour.engine.run(spec_of_it).await?;
    watcher.wait_status(id, "client_ready").await?;

    for (action, reason, status) in [
        ("pause", "ContainerPaused", "failed"),
        ("unpause", "Ready", "client_ready"),
    ] {
        let mark = records.mark();
        match action {
            "pause" => container.pause().await?,
            _ => container.unpause().await?,
        }
        heard(&harbour, mark, id, (reason, "")).await?;
        watcher.wait_status(id, status).await?;
    }
    let mark = records.mark();
    container.control("exit?code=9").await?;
    heard(&harbour, mark, id, ("ContainerStopped", "exit code 9")).await?;
    watcher.wait_status(id, "failed").await?;
    container.start().await?;
    watcher.wait_status(id, "client_ready").await?;
    let mark = records.mark();
    container.remove().await?;
    heard(&harbour, mark, id, ("ContainerStopped", "removed")).await?;
    watcher.wait_status(id, "failed").await?;

    // One that removes itself takes its exit code along; an event had told it.
    let mut brief = spec()?;
    brief.auto_remove = true;
    let brief_id = harbour.insert_with_key(&brief).await?;
    let brief = harbour.engine.run(brief).await?;
    watcher.wait_status(brief_id, "client_ready").await?;
    let mark = records.mark();
    brief.control("exit?code=7").await?;
    let told = records.wait(mark, "its exit code after its removal", |record| {
        let message = record.text("message").unwrap_or_default();
        record.id == brief_id && message.contains("exit code 7 and was removed")
    });
    told.await?;

    let settings = [("AUTH_RECONCILER_DOCKER", url.as_str())];
    let doctor = run_command(harbour.scene.database.url(), &["doctor"], &settings).await?;
    let line = format!("ok    engine       {url} shows events and containers");
    ensure!(
        doctor.stdout.contains(&line) && doctor.stdout.contains("; it is Libpod/"),
        "{}",
        doctor.stdout
    );
    Ok(())
}

/// An event as Podman 5 and 6 write it on the Docker-compatible way, by their sources: `pkg/api/handlers/compat/
/// events.go` (`died` is told as `die` with an `exitCode` beside its own), `pkg/domain/entities/events.go` (the exit
/// code stands in no other event), `libpod/define/containerstate.go` (the states). From API 1.52 on it has no `status`,
/// `id` and `from`.
fn later(id: Uuid, action: &str, code: Option<i64>) -> String {
    let mut attributes = json!({
        "image": "localhost/testimg:latest", "name": "x1", "podId": "",
        "wweb.instance.id": id, "wweb.instance.type": "api",
    });
    if let Some(code) = code {
        attributes["containerExitCode"] = json!(code.to_string());
        attributes["exitCode"] = json!(code.to_string());
    }
    let event = json!({
        "Type": "container", "Action": action,
        "Actor": {"ID": CONTAINER, "Attributes": attributes},
        "scope": "local", "time": 1_795_590_195, "timeNano": 1_795_590_195_981_476_775_i64,
    });
    format!("{event}\n")
}

#[tokio::test]
async fn a_later_podman_is_heard_in_all_its_states() -> Result<()> {
    let rarely = without_backoff(&[("AUTH_RECONCILER_ECHO_INTERVAL", "10m")]);
    let faked = Faked::ready(&rarely).await?;
    let records = &faked.scene.records;
    // Between its end and its cleaning up it is `stopped`, and `exited` after it; a start goes by way of `initialized`.
    for (start, ended) in (2..).zip(["stopped", "exited"]) {
        let mark = records.mark();
        faked.show(Shown {
            state: ended,
            exit_code: 9,
            ..KILLED
        });
        faked.tell(later(faked.id, "die", Some(9)) + &later(faked.id, "cleanup", None));
        faked.becomes("failed").await?;
        let died = records
            .wait(mark, "the end", |record| {
                record.text("cause") == Some("container die")
            })
            .await?;
        let message = died.text("message").unwrap_or_default();
        ensure!(message.contains("exit code 9"), "{ended}: {message}");

        faked.show(Shown {
            state: "initialized",
            start,
            ..RUNNING
        });
        faked.tell(later(faked.id, "init", None));
        faked.show(Shown { start, ..RUNNING });
        faked.tell(later(faked.id, "start", None));
        faked.becomes("client_ready").await?;
    }
    // One that is removed by itself (`--rm`): nothing can be inspected any more, and the code was in the event.
    let gone = json!({"cause": "no such container", "message": "gone", "response": 404});
    let inspection = format!("/containers/{CONTAINER}/json");
    faked.fake.reply(
        &inspection,
        auth_reconciler_tests::docker::fake::Reply::Json(404, gone),
    );
    faked.fake.list(Value::Array(Vec::new()));
    let mark = records.mark();
    faked.tell(later(faked.id, "die", Some(3)) + &later(faked.id, "remove", None));
    let told = records.wait(mark, "its removal", |record| {
        record
            .text("message")
            .is_some_and(|message| message.contains("exit code 3 and was removed"))
    });
    let told = told.await.context("the exit code outlives it")?;
    ensure!(told.reason() == "ContainerStopped");
    Ok(())
}
