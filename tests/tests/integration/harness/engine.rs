//! A private engine: stopped, killed, frozen, started again, and gone without a trace.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::{Engine, Phase, Spec};
use tokio::net::UnixStream;

#[tokio::test]
async fn an_engine_is_stopped_killed_frozen_and_comes_back() -> Result<()> {
    let mut engine = Engine::private().await?;
    let shared = Engine::shared().await?;
    let id = engine.id().await?;
    let other = shared.run(Spec::new().at_once()).await?;
    let container = engine.run(Spec::new().at_once()).await?;
    container.reached(Phase::Ready).await?;
    other.reached(Phase::Ready).await?;
    for one in [&container, &other] {
        assert_eq!(one.status().await?.0, 200, "published beside each other");
    }
    let all = engine.get("/containers/json?all=1").await?;
    assert_eq!(all.as_array().map(Vec::len), Some(1), "only its own");

    engine.stop().await?;
    assert!(
        !engine.socket().exists(),
        "an orderly end takes the socket away"
    );
    engine.start_again().await?;
    assert_eq!(engine.id().await?, id);
    assert_eq!(container.state().await?, "exited");
    container.start().await?;
    container.reached(Phase::Ready).await?;

    engine.kill().await?;
    assert!(engine.socket().exists());
    assert!(
        UnixStream::connect(engine.socket()).await.is_err(),
        "nobody listens"
    );
    engine.start_again().await?;
    assert_eq!(
        container.state().await?,
        "exited",
        "a start stops what a killed one left"
    );

    engine.freeze()?;
    UnixStream::connect(engine.socket())
        .await
        .context("the kernel accepts")?;
    let silent = tokio::time::timeout(Duration::from_millis(200), engine.get("/_ping")).await;
    assert!(silent.is_err(), "and nobody answers");
    engine.thaw()?;
    assert_eq!(engine.id().await?, id);
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_killed_engine_even_after_a_panic() -> Result<()> {
    let mut engine = Engine::private().await?;
    let container = engine.run(Spec::new().at_once()).await?;
    container.reached(Phase::Ready).await?;
    let inspected = container.inspect().await?;
    let process = inspected["State"]["Pid"].as_u64().context("it runs")?;
    let network = inspected["NetworkSettings"]["Networks"]["auth-reconciler-tests"]["NetworkID"]
        .as_str()
        .context("it has a network")?;
    let bridge = format!("/sys/class/net/br-{}", &network[..12]);
    let exists = |path: &str| std::path::Path::new(path).exists();
    assert!(exists(&format!("/proc/{process}")) && exists(&bridge));
    let folder = engine.folder().to_owned();
    engine.kill().await?;
    assert!(
        exists(&format!("/proc/{process}")),
        "its containers outlive a killed engine"
    );
    let panicked = tokio::task::spawn_blocking(move || {
        let _engine = engine;
        panic!("as a failing test does");
    });
    assert!(panicked.await.is_err());
    let running = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    assert!(
        running.is_empty() || running.contains(") Z "),
        "the container is gone"
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&*folder.to_string_lossy()));
    assert!(!folder.exists());
    assert!(!exists(&bridge));
    Ok(())
}
