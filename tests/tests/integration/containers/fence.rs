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
    let other = harbour.ready().await?;
    for event in ["container die", "container pause"] {
        // The API is where the test can hold its answer back; the container is there to live and die, and to lead to
        // no look by what it says.
        let stub = Stub::start(Behaviour::NotListening).await?;
        let mut spec = Spec::new().at_once();
        spec.log_driver = Some("none".to_owned());
        let id = spec.settings.id;
        scene
            .table
            .insert(&scene.client, id, Some(stub.port()), Some("a key"))
            .await?;
        let container = harbour.engine.run(spec).await?;
        // After this nothing but the test leads to a look.
        harbour.caught_up(&other).await?;
        let started = scene.reconcile(id).await?;
        assert_eq!(started.reason(), "ApiStarting", "{event}");

        let gate = Gate::new();
        stub.set(Behaviour::Ready.held(&gate)).await?;
        let asked = stub.next_request();
        let mark = scene.daemon.mark();
        scene
            .client
            .execute("select auth_reconciler.reconcile($1)", &[&id])
            .await?;
        asked.await?;
        if event == "container pause" {
            container.pause().await?;
        } else {
            container.kill("KILL").await?;
        }
        let text = id.to_string();
        let told = scene.daemon.wait_line(mark, event, |line| {
            line.is("container event") && line.has("cause", event) && line.has("instance", &text)
        });
        told.await?;
        // That it was heard is logged where it is heard, which is before the look learns of it: an answer in
        // between would be recorded in good order.
        let dropped = "probe ended: something happened to the container meanwhile";
        scene.daemon.wait_message_after(mark, dropped).await?;
        gate.open();
        harbour.watcher.wait_status(id, "failed").await?;
        assert_eq!(
            harbour.watcher.statuses(id).await?,
            ["pending", "failed"],
            "{event}"
        );
    }
    Ok(())
}
