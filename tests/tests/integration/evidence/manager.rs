//! Beside a manager that goes round by the clock: what we failed on evidence is put back at once over bad news, good news
//! is asked about first, and a fight is told, however slow.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::manager::{Habits, Rounds};
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use auth_reconciler_tests::watcher::Watcher;
use uuid::Uuid;

use super::problem;
use crate::arena::Scene;

/// A probe of an API that hangs takes long, so that what is written only after it is seen to be late.
const PROBE: Duration = Duration::from_secs(5);

const SETTINGS: [(&str, &str); 4] = [
    ("AUTH_RECONCILER_MISSES", "2"),
    ("AUTH_RECONCILER_MISS_WINDOW", "1s"),
    ("AUTH_RECONCILER_PROBE_TIMEOUT", "5s"),
    ("RUST_LOG", "auth_reconciler=debug"),
];

/// A manager 30 times as fast that comes back to a failure soon.
fn hasty() -> Habits {
    Habits {
        failed_rests: Duration::from_millis(700),
        ..Habits::REAL.faster(30)
    }
}

/// A scene with a witness and an instance that answered once and hangs now; nothing has asked since.
async fn hanging(settings: &[(&str, &str)]) -> Result<(Scene, [Stub; 2], Uuid)> {
    let all: Vec<_> = SETTINGS.iter().chain(settings).copied().collect();
    let scene = Scene::start(&all).await?;
    let (witness, stub) = (
        Stub::start(Behaviour::Ready).await?,
        Stub::start(Behaviour::Ready).await?,
    );
    scene.instance(&witness).await?;
    let id = scene.instance(&stub).await?;
    stub.set(Behaviour::Hang).await?;
    Ok((scene, [witness, stub], id))
}

/// For how long each time something else than `failed` stood after `mark`, in seconds.
fn stood(watcher: &Watcher, mark: usize, id: Uuid) -> Vec<f64> {
    let (mut stood, mut since) = (Vec::new(), None);
    for seen in watcher.observations(mark) {
        if seen.id != id {
            continue;
        }
        if seen.status.as_deref() != Some("failed") {
            since = since.or(Some(seen.written_at));
        } else if let Some(since) = since.take() {
            stood.push((seen.written_at - since).as_seconds_f64());
        }
    }
    stood
}

#[tokio::test]
async fn a_hanging_api_is_failed_once_and_put_back_at_once_whenever_the_manager_returns()
-> Result<()> {
    let (scene, _stubs, id) = hanging(&[]).await?;
    let watcher = scene.watch().await?;
    let rounds = Rounds::begin(scene.database.url(), &scene.table, hasty()).await?;
    scene.reconcile(id).await?;
    watcher.wait_status(id, "failed").await?;
    let (mark, before) = (watcher.mark(), rounds.of(id));
    rounds.until(id, before + 6).await?;
    drop(rounds);
    let restored = watcher.mark();
    watcher.wait_status(id, "failed").await?;
    let stood = stood(&watcher, mark, id);
    ensure!(stood.len() >= 5, "{stood:?}");
    // Some of them came while a probe was out.
    let limit = PROBE.as_secs_f64() / 2.0;
    ensure!(
        stood.iter().all(|stood| *stood < limit),
        "each was to be put back before a probe ends: {stood:?}"
    );
    let seen = watcher.observations(mark);
    ensure!(
        seen.iter()
            .all(|seen| seen.id != id || seen.status.as_deref() != Some("client_ready")),
        "nobody heard it say so: {seen:?}"
    );
    let history = scene.history(id).await?;
    let established = history
        .iter()
        .filter(|[_, to, _, cause]| to == "failed" && cause != "drift");
    // A write of the manager's may have come right before it; then it is named after that.
    ensure!(established.count() <= 1, "{history:?}");
    assert_eq!(scene.status(id).await?["contested"], false);
    ensure!(restored > mark);
    Ok(())
}

#[tokio::test]
async fn good_news_of_somebody_else_is_never_overwritten_before_it_was_asked_about() -> Result<()> {
    let (scene, [_witness, stub], id) = hanging(&[]).await?;
    let watcher = scene.watch().await?;
    scene.reconcile(id).await?;
    watcher.wait_status(id, "failed").await?;
    for (status, answer) in [
        ("client_ready", Behaviour::Error),
        ("qr_ready", Behaviour::Status(500)),
        ("client_ready", Behaviour::Ready),
    ] {
        let gate = Gate::new();
        stub.set(answer.clone().held(&gate)).await?;
        let (mark, asked) = (watcher.mark(), stub.next_request());
        let recorded = scene.records.mark();
        // The status alone: with an account it would be looked at for that, too.
        scene
            .table
            .write_status(&scene.client, id, Some(status))
            .await?;
        asked.await?;
        let seen: Vec<_> = watcher.observations(mark);
        ensure!(
            seen.iter()
                .all(|seen| seen.status.as_deref() == Some(status)),
            "{seen:?}"
        );
        gate.open();
        if matches!(answer, Behaviour::Ready) {
            scene.records.reason(recorded, id, "Ready").await?;
            let status = scene.table.status(&scene.client, id).await?;
            assert_eq!(status.as_deref(), Some("client_ready"));
        } else {
            watcher.wait_status_after(mark, id, "failed").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_fight_is_told_however_slow_and_is_not_held() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "600")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let watcher = scene.watch().await?;
    for write in 1..=13 {
        let told = problem(&scene, "Ready").await?;
        ensure!(told.is_none(), "{} are no fight: {told:?}", write - 1);
        let mark = watcher.mark();
        scene
            .table
            .write_status(&scene.client, id, Some("pending"))
            .await?;
        watcher.wait_status_after(mark, id, "client_ready").await?;
        scene.reconcile(id).await?;
    }
    let status = scene.status(id).await?;
    assert_eq!(
        (&status["contested"], &status["trouble"]),
        (&false.into(), &true.into())
    );
    let message = status["message"].as_str().context("a message")?;
    ensure!(message.contains("12"), "{message}");
    Ok(())
}
