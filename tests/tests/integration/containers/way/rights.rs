//! What the daemon asks of the engine, and what it keeps open.

use std::collections::BTreeSet;
use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::docker::recorder::{Recorder, Way};
use auth_reconciler_tests::patience::{PATIENCE, within};

use super::{LOST, says_of_engine};
use crate::containers::Harbour;

/// The kind of a request; `None` for one that is more than reading.
fn kind(method: &str, path: &str) -> Option<&'static str> {
    let path = path.split('?').next()?;
    let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if parts.first().is_some_and(|part| part.starts_with("v1.")) {
        parts.remove(0);
    }
    match (method, parts.as_slice()) {
        ("GET", ["events"]) => Some("events"),
        ("GET", ["containers", "json"]) => Some("list"),
        ("GET", ["containers", _, "json"]) => Some("inspect"),
        ("GET", ["containers", _, "logs"]) => Some("logs"),
        _ => None,
    }
}

#[tokio::test]
async fn a_whole_life_takes_four_reading_requests_and_no_others() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[]).await?;
    let spec = harbour.spec()?.with(|settings| {
        settings.key_after = Duration::from_millis(50);
        settings.listens_after = Duration::from_millis(60);
        settings.asks_after = Duration::from_millis(300);
    });
    let id = harbour.insert(&spec).await?;
    let container = engine.run(spec).await?;
    let watcher = &harbour.watcher;
    watcher.wait_status(id, "client_ready").await?;
    let mark = watcher.mark();
    container.kill("KILL").await?;
    watcher.wait_status_after(mark, id, "failed").await?;
    let mark = watcher.mark();
    container.restart().await?;
    watcher.wait_status_after(mark, id, "client_ready").await?;
    let log = harbour.scene.daemon.mark();
    recorder.cut_all().await?;
    harbour.scene.daemon.wait_message_after(log, LOST).await?;
    let seen = "the engine is in sight";
    harbour.scene.daemon.wait_message_after(log, seen).await?;
    let mark = watcher.mark();
    container.remove().await?;
    watcher.wait_status_after(mark, id, "failed").await?;

    let asked = recorder.asked();
    let kinds = asked.iter().map(|one| {
        kind(&one.method, &one.path).with_context(|| format!("{} {}", one.method, one.path))
    });
    let kinds = kinds.collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(Vec::from_iter(kinds), ["events", "inspect", "list", "logs"]);
    // Before the 1.42 of engine 23; a newer prefix would be refused by 20.10.
    let versions = asked.iter().filter_map(|one| {
        let version = one.path.strip_prefix("/v1.")?.split('/').next()?;
        version.parse::<u32>().ok()
    });
    assert_eq!(versions.filter(|version| *version > 41).max(), None);
    Ok(())
}

/// Waits until so many connections lead through the recorder.
#[track_caller]
fn open(recorder: &Recorder, count: usize) -> impl Future<Output = Result<()>> {
    let caller = Location::caller();
    async move {
        let what = format!("{count} open connections");
        let reached = async {
            while recorder.open() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = within(PATIENCE, caller, &what, reached).await;
        waited.with_context(|| format!("{} are open", recorder.open()))
    }
}

#[tokio::test]
async fn nothing_stays_open_but_the_events_and_what_is_followed() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[]).await?;
    // What is ready is followed, too, while there is place.
    let _ready = harbour.ready().await?;
    open(&recorder, 2).await?;
    // One that stays where it is, and is followed all that time.
    let never = Duration::from_secs(3_600);
    let spec = harbour.spec()?.at_once();
    let spec = spec.with(|settings| settings.asks_after = never);
    let id = harbour.insert(&spec).await?;
    let converging = engine.run(spec).await?;
    let followed = |times: usize| {
        let logs = format!("/{}/logs", converging.id());
        recorder.until("its output to be followed", move |asked| {
            asked.iter().filter(|one| one.path.contains(&logs)).count() >= times
        })
    };
    followed(1).await?;
    open(&recorder, 3).await?;
    recorder.cut_all().await?;
    followed(2).await?;
    // What is ready as well, though nothing else has happened to it.
    open(&recorder, 3).await?;

    // A look is given up while its question hangs, and the engine with it.
    recorder.set(Way::Stall).await?;
    harbour
        .client()
        .execute("select auth_reconciler.reconcile($1)", &[&id])
        .await?;
    says_of_engine(harbour.client(), "not seen").await?;
    recorder.set(Way::Pass).await?;
    harbour.sees_engine().await?;
    open(&recorder, 3).await?;

    // What has ended has no more to say.
    let mark = harbour.watcher.mark();
    converging.kill("KILL").await?;
    harbour
        .watcher
        .wait_status_after(mark, id, "failed")
        .await?;
    open(&recorder, 2).await
}
