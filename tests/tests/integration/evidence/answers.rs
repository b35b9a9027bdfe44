//! What an answer, or none, is worth where somebody else writes too.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use auth_reconciler_tests::watcher::Watcher;
use uuid::Uuid;

use crate::arena::Scene;

const HASTY: [(&str, &str); 3] = [
    ("AUTH_RECONCILER_MISS_WINDOW", "1s"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "300ms"),
    ("AUTH_RECONCILER_PROBE_TIMEOUT", "400ms"),
];

/// A scene with a witness and an instance that is ready.
async fn ready() -> Result<(Scene, [Stub; 2], Uuid)> {
    let scene = Scene::start(&HASTY).await?;
    let (witness, stub) = (
        Stub::start(Behaviour::Ready).await?,
        Stub::start(Behaviour::Ready).await?,
    );
    scene.instance(&witness).await?;
    let id = scene.instance(&stub).await?;
    Ok((scene, [witness, stub], id))
}

/// No good status was written since.
fn nothing_good(watcher: &Watcher, mark: usize, id: Uuid) -> Result<()> {
    let seen = watcher.observations(mark);
    let mut of_it = seen.iter().filter(|seen| seen.id == id);
    ensure!(
        of_it.all(|seen| !matches!(
            seen.status.as_deref(),
            Some("client_ready" | "authenticated" | "qr_ready")
        )),
        "{seen:?}"
    );
    Ok(())
}

/// With guard and without.
#[tokio::test]
async fn a_look_without_an_answer_corrects_nothing() -> Result<()> {
    for guarded in [false, true] {
        let (scene, [_witness, stub], id) = ready().await?;
        let guard = "select auth_reconciler.guard('public.message_instances', $1)";
        scene.client.execute(guard, &[&guarded]).await?;
        let watcher = scene.watch().await?;
        stub.set(Behaviour::NotListening).await?;
        scene
            .table
            .write_status(&scene.client, id, Some("failed"))
            .await?;
        // Put aside first where it is guarded.
        watcher.wait_status(id, "failed").await?;
        let mark = watcher.mark();
        scene.reconcile(id).await?;
        scene.reconcile(id).await?;
        nothing_good(&watcher, mark, id)?;
        let mark = watcher.mark();
        stub.set(Behaviour::Ready).await?;
        watcher.wait_status_after(mark, id, "client_ready").await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_error_of_telegram_never_writes_a_good_status() -> Result<()> {
    let (scene, [_witness, stub], id) = ready().await?;
    let watcher = scene.watch().await?;
    for answer in [
        Behaviour::Error,
        Behaviour::Disconnected,
        Behaviour::Status(500),
    ] {
        stub.set(Behaviour::Ready).await?;
        scene.reconcile(id).await?;
        watcher.wait_status(id, "client_ready").await?;
        stub.set(answer.clone()).await?;
        let mark = watcher.mark();
        scene
            .table
            .write_status(&scene.client, id, Some("pending"))
            .await?;
        if matches!(answer, Behaviour::Error) {
            // Told a second time, it counts.
            watcher.wait_status_after(mark, id, "failed").await?;
        } else {
            scene.reconcile(id).await?;
            scene.reconcile(id).await?;
        }
        nothing_good(&watcher, mark, id)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_begins_with_a_byte_order_mark_is_read() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let ready = r#"{"provider":"telegram","status":"connected","info":{"id":1,"isBot":true},"state":"READY"}"#;
    let stub = Stub::start(Behaviour::json(&format!("\u{feff}{ready}"))).await?;
    let watcher = scene.watch().await?;
    let id = scene.instance(&stub).await?;
    watcher.wait_status(id, "client_ready").await
}

/// The key would go there.
#[tokio::test]
async fn no_proxy_of_the_environment_is_asked() -> Result<()> {
    let proxy = Stub::start(Behaviour::Status(502)).await?;
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ];
    let mut settings: Vec<_> = names.iter().map(|name| (*name, url.as_str())).collect();
    settings.push(("NO_PROXY", ""));
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let watcher = scene.watch().await?;
    let id = scene.instance(&stub).await?;
    watcher.wait_status(id, "client_ready").await?;
    assert_eq!(proxy.counts().connections, 0);
    Ok(())
}

#[tokio::test]
async fn errors_and_no_answer_in_turn_are_a_failure_in_the_end() -> Result<()> {
    let (scene, [_witness, stub], id) = ready().await?;
    let watcher = scene.watch().await?;
    let turns = in_turn(
        &stub,
        [
            Behaviour::Hang,
            Behaviour::Error,
            Behaviour::AcceptThenReset,
        ],
    );
    let ask = async {
        scene.reconcile(id).await?;
        watcher.wait_status(id, "failed").await
    };
    tokio::select! {
        turns = turns => turns,
        failed = ask => failed,
    }
}

/// Answers with these in turn, one request each, until it is dropped.
async fn in_turn(stub: &Stub, answers: [Behaviour; 3]) -> Result<()> {
    for answer in answers.into_iter().cycle() {
        let asked = stub.next_request();
        stub.set(answer).await?;
        asked.await?;
    }
    Ok(())
}

/// Since when it is not ready is a fact of its life: neither errors and silence in between nor a daemon that dies begin
/// the limit anew.
#[tokio::test]
async fn not_connected_in_turn_with_errors_and_no_answer_is_failed_at_its_limit() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_NOT_CONNECTED_LIMIT", "2s"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "200ms"),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "400ms"),
    ];
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Disconnected).await?;
    let id = scene.instance(&stub).await?;
    let said = scene
        .records
        .wait(0, "that it is not ready", |record| {
            record.id == id && record.text("not_ready_since").is_some()
        })
        .await?;
    scene.daemon.sigkill()?;
    scene.daemon.ended().await?;
    stub.set(Behaviour::AcceptThenReset).await?;
    let _next = Daemon::start(&scene.database, &settings).await?;
    let turns = in_turn(
        &stub,
        [
            Behaviour::Error,
            Behaviour::Disconnected,
            Behaviour::AcceptThenReset,
        ],
    );
    let failed = scene.records.reason(0, id, "TelegramNotConnected");
    let failed = tokio::select! {
        turns = turns => return turns,
        failed = failed => failed?,
    };
    assert_eq!(
        failed.text("not_ready_since"),
        said.text("not_ready_since"),
        "it was not ready all the time"
    );
    assert_eq!(failed.text("auth_status"), Some("failed"));
    Ok(())
}
