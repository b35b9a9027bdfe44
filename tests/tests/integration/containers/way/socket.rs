//! The engine's socket: forbidden, not there yet, stale, and none at all.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{SERVING, binary, run_command, settings_for};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::docker::recorder::{Recorder, Way};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::process::Process;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use auth_reconciler_tests::watcher::Watcher;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LOST, STILL, says_of_engine};
use crate::arena::{KEY, Scene};

/// Who owns nothing.
const NOBODY: u32 = 65_534;

const NO_ENGINE: &str = "no container engine: statuses follow rows and APIs alone; name one with AUTH_RECONCILER_DOCKER";

/// The daemon, run by another program that changes what it may do or see.
fn spawn(through: &[&str], url: &str, settings: &[(&str, &str)]) -> Result<Process> {
    let [program, arguments @ ..] = through else {
        anyhow::bail!("no program");
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(binary()?)
        .args(["run", "--migrate", "--log-format", "json"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(settings_for(url))
        .envs(settings.iter().copied());
    Process::spawn(&mut command)
}

/// The lines with this message.
fn lines(process: &Process, message: &str) -> Vec<Value> {
    process.look(|progress| {
        let lines = progress.lines.iter();
        lines
            .filter_map(|line| serde_json::from_str::<Value>(&line.text).ok())
            .filter(|line| line["fields"]["message"] == message)
            .collect()
    })
}

/// Waits for so many lines with this message.
#[track_caller]
fn said(process: &Process, message: &str, count: usize) -> impl Future<Output = Result<()>> {
    let caller = std::panic::Location::caller();
    async move {
        let said = process.until(|progress| {
            let lines = progress.lines.iter();
            let said = lines.filter(|line| line.text.contains(message)).count() >= count;
            (said || progress.exit.is_some()).then_some(said)
        });
        let said = within(PATIENCE, caller, message, said).await?;
        ensure!(said, "{caller}: the daemon ended");
        Ok(())
    }
}

#[tokio::test]
async fn a_forbidden_socket_is_said_once_with_the_remedy_and_rows_are_served() -> Result<()> {
    let fake = FakeEngine::start().await?;
    chown(fake.socket(), Some(NOBODY), Some(NOBODY))?;
    let allow = |mode| std::fs::set_permissions(fake.socket(), PermissionsExt::from_mode(mode));
    allow(0o600)?;
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    // Without these even this machine's root is somebody else.
    let lowly = [
        "setpriv",
        "--bounding-set",
        "-dac_override,-dac_read_search",
    ];
    let url = fake.url();
    let settings = [("AUTH_RECONCILER_DOCKER", url.as_str()), super::DEBUG];
    let daemon = spawn(&lowly, database.url(), &settings)?;
    said(&daemon, SERVING, 1).await?;
    let watcher = Watcher::start(database.url(), &table).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    table
        .insert(&client, id, Some(stub.port()), Some(KEY))
        .await?;
    watcher.wait_status(id, "client_ready").await?;

    let told = says_of_engine(&client, "not seen").await?;
    for words in ["denied", "group docker", "socket proxy"] {
        assert!(told.detail.contains(words), "{}", told.detail);
    }
    said(&daemon, STILL, 3).await?;
    let warnings = lines(&daemon, LOST);
    assert_eq!(warnings.len(), 1, "said once");
    assert_eq!(warnings[0]["level"], "WARN");
    let advice = warnings[0]["fields"]["advice"].as_str().unwrap_or_default();
    assert!(told.detail.ends_with(advice) && !advice.is_empty());
    assert_eq!(fake.seen().connections, 0);
    allow(0o666)?;
    says_of_engine(&client, "seen").await?;
    Ok(())
}

#[tokio::test]
async fn a_socket_that_is_missing_or_stale_is_found_when_it_is_well() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let recorder = Recorder::start(&fake.socket()).await?;
    recorder.set(Way::Missing).await?;
    let scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", &recorder.url())]).await?;
    for (way, error) in [(Way::Missing, "No such file"), (Way::Refuse, "refused")] {
        recorder.set(way).await?;
        recorder.cut_all().await?;
        let told = says_of_engine(&scene.client, "not seen").await?;
        let now = format!(
            "select engine_detail like '%{error}%mount its folder%' from auth_reconciler.reconciler_details"
        );
        crate::scene::eventually(&scene.client, &now).await?;
        recorder.set(Way::Pass).await?;
        let found = says_of_engine(&scene.client, "seen").await?;
        assert_ne!(found.since, told.since);
    }
    Ok(())
}

#[tokio::test]
async fn a_way_that_forbids_is_not_seen_and_says_what_to_pass() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let id = Uuid::new_v4();
    super::faked::show(&fake, id, super::faked::RUNNING);
    let forbidden = || Reply::Json(403, json!({"message": "Forbidden by the proxy"}));
    let inspection = format!("/containers/{}/json", super::faked::CONTAINER);
    fake.reply(&inspection, forbidden());
    let settings = [("AUTH_RECONCILER_DOCKER", fake.url())];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let scene = Scene::start(&settings).await?;
    let told = says_of_engine(&scene.client, "not seen").await?;
    for words in [
        "403",
        "Forbidden by the proxy",
        "GET for /events and /containers",
    ] {
        assert!(told.detail.contains(words), "{}", told.detail);
    }
    // doctor meets the same, and says it as a warning: rows are served without.
    let url = scene.database.url();
    let doctor = run_command(url, &["doctor"], &settings).await?;
    let line = format!("warn  engine       {} is not seen", fake.url());
    ensure!(
        doctor.code == Some(0) && doctor.stdout.contains(&line),
        "{}",
        doctor.stdout
    );
    ensure!(
        doctor.stdout.contains("-> let the socket proxy pass GET"),
        "{}",
        doctor.stdout
    );

    super::faked::show(&fake, id, super::faked::RUNNING);
    says_of_engine(&scene.client, "seen").await?;
    let doctor = run_command(url, &["doctor"], &settings).await?;
    let line = format!(
        "ok    engine       {} shows events and containers; 1 are",
        fake.url()
    );
    ensure!(doctor.stdout.contains(&line), "{}", doctor.stdout);
    fake.reply("/events", forbidden());
    let doctor = run_command(url, &["doctor"], &settings).await?;
    ensure!(doctor.stdout.contains("warn  engine"), "{}", doctor.stdout);
    Ok(())
}

#[tokio::test]
async fn off_is_said_once_and_asks_nothing() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", "off")]).await?;
    let told = says_of_engine(&scene.client, "off").await?;
    assert_eq!(told.detail, "");
    let said = |line: &auth_reconciler_tests::daemon::LogLine| line.is(NO_ENGINE);
    assert_eq!(scene.daemon.count(said), 1);
    let doctor = run_command(scene.database.url(), &["doctor"], &[]).await?;
    let line = "ok    engine       off; statuses follow rows and APIs alone";
    ensure!(
        doctor.code == Some(0) && doctor.stdout.contains(line),
        "{}",
        doctor.stdout
    );
    Ok(())
}

#[tokio::test]
async fn auto_without_a_socket_is_off_and_with_one_takes_it() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    ManagerTable::message_instances().create(&client).await?;
    let auto = [("AUTH_RECONCILER_DOCKER", "auto")];
    // Nothing is below /run where this one looks.
    let hide = ["unshare", "--mount", "sh", "-c"];
    let hidden = "mount -t tmpfs none /run && exec \"$0\" \"$@\"";
    let daemon = spawn(&[&hide[..], &[hidden]].concat(), database.url(), &auto)?;
    said(&daemon, SERVING, 1).await?;
    says_of_engine(&client, "off").await?;
    let told = lines(&daemon, NO_ENGINE);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["level"], "INFO");
    drop(daemon);

    // With DOCKER_HOST there is one to take, here as anywhere.
    let engine = Engine::shared().await?.url();
    let host = [auto[0], ("DOCKER_HOST", engine.as_str())];
    let daemon = spawn(&["env"], database.url(), &host)?;
    let told = says_of_engine(&client, "seen").await?;
    assert_eq!(told.address, engine);
    assert!(Path::new(engine.trim_start_matches("unix://")).exists());
    assert!(lines(&daemon, NO_ENGINE).is_empty());
    Ok(())
}
