//! pause and resume: hands off, whatever happens, until somebody says otherwise.

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use uuid::Uuid;

use super::value;
use crate::arena::{Record, Scene};
use crate::scene::eventually;

const QUIET: &str = "select not exists (select from auth_reconciler.change)";

async fn call(scene: &Scene, action: &str, id: Uuid) -> Result<String> {
    let call = match action {
        "pause" => format!("select auth_reconciler.pause('{id}', 'moving its number')"),
        other => format!("select auth_reconciler.{other}('{id}')"),
    };
    value(&scene.client, &call).await
}

#[tokio::test]
async fn a_pause_wins_over_every_cause_and_outlives_the_daemon() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let mark = scene.records.mark();
    let said = call(&scene, "pause", id).await?;
    assert!(
        said.contains("is paused: its auth_status is left alone"),
        "{said}"
    );
    scene.records.reason(mark, id, "Paused").await?;
    let (probes, watcher) = (stub.counts().total(), scene.watch().await?);

    let (table, client) = (&scene.table, &scene.client);
    for number in 0..15 {
        // More than the budget: nothing is contested either.
        let status = ["pending", "failed"][number % 2];
        table.write_status(client, id, Some(status)).await?;
    }
    table.save_api_key(client, id, Some("another")).await?;
    table.save_account(client, id, Some("Name")).await?;
    table
        .set_port(client, id, Some(i32::from(stub.port())))
        .await?;
    let said = call(&scene, "reconcile", id).await?;
    assert!(said.ends_with("and left alone: it is paused"), "{said}");
    value::<String>(client, "select auth_reconciler.reconcile_all()").await?;
    eventually(client, QUIET).await?;
    let second = scene.restart().await?;
    eventually(client, QUIET).await?;
    assert_eq!(stub.counts().total(), probes, "no probe");
    assert_eq!(table.status(client, id).await?.as_deref(), Some("pending"));
    let written: Vec<_> = watcher.statuses(id).await?;
    assert_eq!(
        written.len(),
        1 + 15,
        "nobody but the manager wrote: {written:?}"
    );
    let shown: String = value(
        client,
        "select concat_ws('|', s.state, s.reason, p.problem, p.why, p.next)
         from auth_reconciler.status as s join auth_reconciler.problem_details as p using (id)",
    )
    .await?;
    assert_eq!(
        shown.replace('\n', " "),
        "paused|Paused|Paused|paused by postgres: moving its number|nothing until resume()"
    );

    let said = call(&scene, "resume", id).await?;
    assert!(
        said.contains("is resumed after 00:0") && said.ends_with("will be looked at"),
        "{said}"
    );
    watcher.wait_status(id, "client_ready").await?;
    assert_eq!(
        call(&scene, "resume", id).await?,
        format!("{id} was not paused")
    );
    drop(second);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_the_pause_came_is_dropped() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    stub.set(Behaviour::Status(401).held(&gate)).await?;
    let asked = call(&scene, "reconcile", id).await?;
    assert!(asked.ends_with("will be looked at"), "{asked}");
    stub.request(2).await?;
    let mark = scene.records.mark();
    call(&scene, "pause", id).await?;
    gate.open();
    scene.records.reason(mark, id, "Paused").await?;
    let refused = |record: &Record| record.text("auth_status") != Some("failed");
    assert!(scene.records.all(mark, id).iter().all(refused));
    let status = scene.table.status(&scene.client, id).await?;
    assert_eq!(status.as_deref(), Some("client_ready"));
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_row_ends_the_pause() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let id = scene.idle_instance().await?;
    call(&scene, "pause", id).await?;
    let mark = scene.records.mark();
    scene.table.delete(&scene.client, id).await?;
    scene.records.forgotten(mark, id).await?;
    eventually(
        &scene.client,
        "select not exists (select from auth_reconciler.pause)",
    )
    .await?;
    assert_eq!(
        call(&scene, "pause", id).await?,
        format!("no watched table has an instance {id}")
    );
    Ok(())
}

/// Whoever pauses while nobody runs is heard by who comes.
#[tokio::test]
async fn a_pause_is_shown_though_no_daemon_runs() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    scene.daemon.sigkill()?;
    scene.daemon.ended().await?;
    call(&scene, "pause", id).await?;
    let shown = "select state || ' ' || reason from auth_reconciler.status";
    assert_eq!(
        value::<String>(&scene.client, shown).await?,
        "paused Paused"
    );
    let probes = stub.counts().total();
    let _next = Daemon::start(&scene.database, &[]).await?;
    eventually(&scene.client, QUIET).await?;
    assert_eq!(stub.counts().total(), probes);
    Ok(())
}
