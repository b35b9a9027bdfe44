//! guard keeps only what an answer or the engine's word stands behind: no bad value over good news, nothing in a doubt,
//! nothing that the look which it causes finds no answer for.

use anyhow::{Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Fleet, Gate, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use super::guard::{GUARD, write};
use super::value;
use crate::arena::Scene;
use crate::scene::eventually;

const HASTY: [(&str, &str); 4] = [
    ("AUTH_RECONCILER_MISS_WINDOW", "500ms"),
    ("AUTH_RECONCILER_MISSES", "2"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "500ms"),
    ("RUST_LOG", "auth_reconciler=debug"),
];

/// Waits until the row says this.
async fn says(client: &Client, id: Uuid, status: &str) -> Result<()> {
    let says =
        format!("select auth_status = '{status}' from public.message_instances where id = '{id}'");
    eventually(client, &says).await
}

#[tokio::test]
async fn good_news_over_a_failure_goes_through_and_is_asked_about_first() -> Result<()> {
    let scene = Scene::start(&HASTY).await?;
    let witness = Stub::start(Behaviour::Ready).await?;
    scene.instance(&witness).await?;
    let (silent, rejecting) = (
        Stub::start(Behaviour::Ready).await?,
        Stub::start(Behaviour::Status(401)).await?,
    );
    let fell_silent = scene.instance(&silent).await?;
    let rejected = scene.instance(&rejecting).await?;
    // Silence of one that answers.
    silent.set(Behaviour::Status(500)).await?;
    value::<String>(&scene.client, GUARD).await?;
    scene
        .client
        .execute("select auth_reconciler.reconcile($1)", &[&fell_silent])
        .await?;
    for (id, stub, final_) in [(fell_silent, &silent, false), (rejected, &rejecting, true)] {
        says(&scene.client, id, "failed").await?;
        if final_ {
            let kept = write(&scene.client, id, "pending").await?;
            assert_eq!(kept.as_deref(), Some("failed"), "bad over bad is kept");
        }
        let answered = format!(
            "select final = {final_} and not exists (select from auth_reconciler.change)
             from auth_reconciler.instance where instance_id = '{id}'"
        );
        eventually(&scene.client, &answered).await?;
        let gate = Gate::new();
        stub.set(Behaviour::Ready.held(&gate)).await?;
        let asked = stub.next_request();
        let through = write(&scene.client, id, "client_ready").await?;
        assert_eq!(through.as_deref(), Some("client_ready"), "goes through");
        asked.await?;
        // It is being asked, and nothing was written over it before.
        let status = scene.table.status(&scene.client, id).await?;
        assert_eq!(status.as_deref(), Some("client_ready"));
        gate.open();
        scene.records.reason(0, id, "Ready").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_look_without_an_answer_gives_back_what_was_put_aside() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_BACKOFF_MIN", "60s")]).await?;
    for (silence, status) in [
        (Behaviour::NotListening, "failed"),
        (Behaviour::Status(502), "pending"),
        (Behaviour::AcceptThenReset, "failed"),
    ] {
        let stub = Stub::start(Behaviour::Ready).await?;
        let id = scene.instance(&stub).await?;
        value::<String>(&scene.client, GUARD).await?;
        let watcher = scene.watch().await?;
        stub.set(silence).await?;
        let returned = write(&scene.client, id, status).await?;
        assert_eq!(returned.as_deref(), Some("client_ready"), "put aside");
        watcher.wait_status(id, status).await?;
        // Whatever is written now is nobody's to keep.
        let returned = write(&scene.client, id, "qr_ready").await?;
        assert_eq!(returned.as_deref(), Some("qr_ready"));
    }
    Ok(())
}

#[tokio::test]
async fn in_a_doubt_nothing_is_kept_and_what_was_put_aside_is_given_back() -> Result<()> {
    let scene = Scene::start(&HASTY).await?;
    let fleet = Fleet::start(12, Behaviour::Ready).await?;
    let mut ids = Vec::new();
    for stub in &fleet.stubs {
        ids.push(scene.instance(stub).await?);
    }
    value::<String>(&scene.client, GUARD).await?;
    fleet.set(&Behaviour::NotListening).await?;
    for id in ids.iter().take(3) {
        let ask = "select auth_reconciler.reconcile($1)";
        scene.client.execute(ask, &[id]).await?;
    }
    let doubt =
        "select exists (select from auth_reconciler.problem_details where problem = 'Doubt')";
    eventually(&scene.client, doubt).await?;
    let untouched = "select count(*) filter (where final) > 0 from auth_reconciler.instance";
    ensure!(
        value::<bool>(&scene.client, untouched).await?,
        "verdicts of which nothing was heard since"
    );
    for id in &ids {
        let returned = write(&scene.client, *id, "failed").await?;
        assert_eq!(returned.as_deref(), Some("failed"), "{id}");
    }
    fleet.set(&Behaviour::Ready).await?;
    for id in &ids {
        says(&scene.client, *id, "client_ready").await?;
    }
    eventually(
        &scene.client,
        &doubt.replace("select exists", "select not exists"),
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_verdict_that_only_repeats_what_somebody_wrote_is_not_kept() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    value::<String>(&scene.client, GUARD).await?;
    scene.daemon.signal("STOP")?;
    for unheard_of in ["'ready'", "'CONNECTED'", "null"] {
        let statement = format!(
            "update public.message_instances set auth_status = {unheard_of} where id = '{id}'
             returning auth_status is not distinct from {unheard_of}"
        );
        ensure!(
            value::<bool>(&scene.client, &statement).await?,
            "{unheard_of} is no status that a look could give back"
        );
        let again = "begin; set local session_replication_role = replica;
            update public.message_instances set auth_status = 'client_ready';
            delete from auth_reconciler.change; commit";
        scene.client.batch_execute(again).await?;
    }
    let returned = write(&scene.client, id, "failed").await?;
    assert_eq!(returned.as_deref(), Some("client_ready"), "kept so far");
    let repeats = "update auth_reconciler.instance set established = false";
    scene.client.batch_execute(repeats).await?;
    let returned = write(&scene.client, id, "failed").await?;
    assert_eq!(returned.as_deref(), Some("failed"));
    Ok(())
}
