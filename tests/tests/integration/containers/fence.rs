//! An answer that was given before something happened to the container is of the past (I2).

use anyhow::Result;
use auth_reconciler_tests::docker::Spec;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};

use super::harbour::{Harbour, without_backoff};

#[tokio::test]
async fn ready_answered_before_the_end_is_not_recorded_after_it() -> Result<()> {
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let harbour = Harbour::shared(&without_backoff(&debug)).await?;
    let scene = &harbour.scene;
    for (what, event) in [
        ("kill?signal=KILL", "container die"),
        ("pause", "container pause"),
    ] {
        // The API is where the test can hold its answer back; the container is there to live and die.
        let stub = Stub::start(Behaviour::NotListening).await?;
        let spec = Spec::new().at_once();
        let id = spec.settings.id;
        let mark = scene.records.mark();
        scene
            .table
            .insert(&scene.client, id, Some(stub.port()), Some("a key"))
            .await?;
        let container = harbour.engine.run(spec).await?;
        scene.records.reason(mark, id, "ApiStarting").await?;
        let gate = Gate::new();
        let asked = stub.next_request();
        stub.set(Behaviour::Ready.held(&gate)).await?;
        scene
            .client
            .execute("select auth_reconciler.reconcile($1)", &[&id])
            .await?;
        asked.await?;
        let mark = scene.daemon.mark();
        if what == "pause" {
            container.pause().await?;
        } else {
            container.kill("KILL").await?;
        }
        let id_text = id.to_string();
        let told = scene.daemon.wait_line(mark, event, |line| {
            line.is("container event") && line.has("cause", event) && line.has("instance", &id_text)
        });
        told.await?;
        gate.open();
        harbour.watcher.wait_status(id, "failed").await?;
        assert_eq!(
            harbour.watcher.statuses(id),
            ["pending", "failed"],
            "{what}"
        );
    }
    Ok(())
}
