//! The daemon in a container as `deploy/compose.yaml` runs it: without any right, and with its health told.

use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::docker::{Container, Engine, Spec};
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::proxy::{Link, Proxy};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::{ALL_TRUE, Scene};

const NOBODY: (u32, u32) = (65_532, 65_532);

/// Waits until the engine says this of its health.
#[track_caller]
fn health(container: &Container, wanted: &str) -> impl Future<Output = Result<()>> {
    let caller = Location::caller();
    let what = format!("the container to be {wanted}");
    let reached = async move {
        while container.inspect().await?["State"]["Health"]["Status"] != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    async move { within(PATIENCE, caller, &what, reached).await? }
}

#[tokio::test]
async fn it_needs_no_right_and_its_health_is_that_of_its_way_to_postgres() -> Result<()> {
    let engine = Engine::shared().await?;
    let scene = Scene::shared().await?;
    let proxy = Proxy::to(scene.url()).await?;
    let mut spec = Spec::new();
    spec.named = Some(format!("auth-reconciler-{}", Uuid::new_v4()));
    // There the proxy listens.
    spec.host_network = true;
    spec.hardened = true;
    spec.user = Some(NOBODY);
    let settings = [
        ("DATABASE_URL", proxy.url(scene.url())?),
        ("AUTH_RECONCILER_DOCKER", "off".to_owned()),
    ];
    spec.daemon = Some(
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    );
    let container = engine.run(spec).await?;
    health(&container, "healthy").await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;

    let pid = container.inspect().await?["State"]["Pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    for (name, value) in [
        ("Uid:", "65532"),
        ("CapPrm:", "0000000000000000"),
        ("CapEff:", "0000000000000000"),
        ("CapBnd:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
    ] {
        let line = status.lines().find(|line| line.starts_with(name));
        let mut words = line.context("no such line")?.split_whitespace().skip(1);
        ensure!(words.all(|word| word == value), "{name} of\n{status}");
    }

    proxy.set(Link::Refuse).await?;
    proxy.cut_all().await?;
    health(&container, "unhealthy").await?;
    proxy.set(Link::Pass).await?;
    health(&container, "healthy").await?;

    container.stop(Duration::from_secs(20)).await?;
    assert_eq!(container.exited().await?, 0);
    container.start().await?;
    health(&container, "healthy").await
}
