//! An answer that was given before something happened to the container is of the past (I2).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::LogLine;
use auth_reconciler_tests::docker::Spec;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};

use super::harbour::{Harbour, without_backoff};
use crate::arena::KEY;

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

/// The look that follows is one of the clock's, and is told as the one that the event asked for.
#[tokio::test]
async fn an_end_whose_record_meets_a_lock_is_told_by_its_name_and_counted_from_it() -> Result<()> {
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let harbour = Harbour::shared(&without_backoff(&debug)).await?;
    let scene = &harbour.scene;
    let other = harbour.ready().await?;
    let container = harbour.ready().await?;
    let id = container.instance();
    harbour.caught_up(&other).await?;
    let mut manager = scene.database.client().await?;
    let transaction = manager.transaction().await?;
    scene
        .table
        .save_api_key(&transaction, id, Some(KEY))
        .await?;
    let mark = scene.daemon.mark();
    container.kill("KILL").await?;
    let text = id.to_string();
    let holds = |line: &LogLine| line.is("somebody holds the row") && line.has("instance", &text);
    scene
        .daemon
        .wait_line(mark, "a lock that is met", holds)
        .await?;
    let met = Instant::now();
    let mut times = 0;
    let again = scene
        .daemon
        .wait_line(mark, "it is met again and again", |line| {
            times += usize::from(holds(line));
            times > 4
        });
    again.await?;
    let held = met.elapsed();
    transaction.rollback().await?;
    harbour.watcher.wait_status(id, "failed").await?;
    let told = "select i.cause, i.reaction_ms::float8, t.cause, t.reaction_ms::float8
        from auth_reconciler.instances as i, auth_reconciler.transitions as t
        where i.id = $1 and t.instance_id = i.id order by t.id desc limit 1";
    let row = scene.client.query_one(told, &[&id]).await?;
    for [cause, reaction] in [[0, 1], [2, 3]] {
        let (cause, reaction): (&str, f64) = (row.try_get(cause)?, row.try_get(reaction)?);
        // The engine tells of a signal before it tells of the end.
        ensure!(
            ["container die", "container kill"].contains(&cause),
            "{cause}"
        );
        let reaction = Duration::try_from_secs_f64(reaction / 1_000.0)?;
        ensure!(reaction >= held, "{held:?}, {reaction:?}");
    }
    Ok(())
}
