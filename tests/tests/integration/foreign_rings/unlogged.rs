//! Changes that could not be logged are counted outside their transactions: no end of a process loses one, and nobody
//! needs to hear of it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::{ALL_TRUE, Scene};

const BREAK: &str = "alter table auth_reconciler.change add constraint full_disk check (cause = 'resync') not valid";
const MEND: &str = "alter table auth_reconciler.change drop constraint full_disk";

/// A ready instance, and a write of the manager's that would make it wrong.
async fn ready(scene: &Scene, stub: &Stub) -> Result<(Uuid, String)> {
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    let wrong =
        format!("update public.message_instances set auth_status = 'failed' where id = '{id}'");
    Ok((id, wrong))
}

/// Somebody rings for everything until nobody is heeded any more at once.
async fn tire(scene: &Scene, daemon: &Daemon, id: Uuid) -> Result<()> {
    for _ in 0..5 {
        scene
            .manager
            .batch_execute("notify auth_reconciler, 'resync'")
            .await?;
        scene.looked_at(daemon, id).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_could_not_be_logged_does_not_wait_for_what_others_ring() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let (id, wrong) = ready(&scene, &stub).await?;
    tire(&scene, &daemon, id).await?;
    scene.manager.batch_execute(BREAK).await?;
    scene.manager.batch_execute(&wrong).await?;
    scene.eventually(ALL_TRUE).await?;
    let answered: bool = scene
        .value("select counted > 0 from auth_reconciler.unlogged_answered")
        .await?;
    ensure!(answered, "noted as answered for");
    // Once is enough: nothing is owed for it any more.
    let asked = stub.counts().total();
    scene.manager.batch_execute(MEND).await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    let next = Daemon::start(&scene.database, &[]).await?;
    scene.looked_at(&next, id).await?;
    ensure!(stub.counts().total() <= asked + 2, "looked at again");
    Ok(())
}

#[tokio::test]
async fn what_could_not_be_logged_while_nobody_heard_is_found_at_the_next_start() -> Result<()> {
    for kill in [true, false] {
        let scene = Scene::shared().await?;
        let stub = Stub::start(Behaviour::Ready).await?;
        let daemon = Daemon::start(&scene.database, &[]).await?;
        let (_, wrong) = ready(&scene, &stub).await?;
        scene.manager.batch_execute(BREAK).await?;
        if kill {
            // It has heard of it, and does nothing about it any more.
            daemon.signal("STOP")?;
            scene.manager.batch_execute(&wrong).await?;
            daemon.sigkill()?;
            daemon.ended().await?;
        } else {
            daemon.sigterm()?;
            daemon.ended().await?;
            scene.manager.batch_execute(&wrong).await?;
        }
        scene.manager.batch_execute(MEND).await?;
        let _next = Daemon::start(&scene.database, &[]).await?;
        scene.eventually(ALL_TRUE).await?;
    }
    Ok(())
}

/// The count is seen before the change that it stands for, and a look at everything is in between.
#[tokio::test]
async fn a_count_that_is_answered_for_before_its_commit_is_answered_for_again() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    let (id, wrong) = ready(&scene, &stub).await?;
    scene.manager.batch_execute(BREAK).await?;
    let mut late = scene.database.client().await?;
    let transaction = late.transaction().await?;
    transaction.batch_execute(&wrong).await?;
    // Somebody rings, and everything is looked at; the row is read as it was.
    scene
        .manager
        .batch_execute("notify auth_reconciler, 'resync'")
        .await?;
    scene
        .eventually(
            "select counted > 0 and running_until is not null from auth_reconciler.unlogged_answered",
        )
        .await?;
    scene
        .eventually("select not exists (select from auth_reconciler.change)")
        .await?;
    // It dies before it can hear of the commit.
    first.sigkill()?;
    first.ended().await?;
    transaction.commit().await?;
    scene.manager.batch_execute(MEND).await?;
    let next = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    scene.looked_at(&next, id).await?;
    scene
        .eventually("select running_until is null from auth_reconciler.unlogged_answered")
        .await
}

/// Rolled back, it costs a look at everything and nothing else; without our sequence the manager's statement goes through.
#[tokio::test]
async fn counting_fails_no_statement() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let (id, wrong) = ready(&scene, &stub).await?;
    scene.manager.batch_execute(BREAK).await?;
    scene
        .manager
        .batch_execute(&format!(
            "begin; {wrong}; rollback; begin; savepoint a; {wrong}; rollback to a; commit"
        ))
        .await?;
    let counted = "select last_value >= 2 from auth_reconciler.unlogged";
    ensure!(scene.value::<bool>(counted).await?, "each is counted");
    for hindrance in [
        "alter sequence auth_reconciler.unlogged rename to elsewhere",
        "alter sequence auth_reconciler.elsewhere rename to unlogged; revoke all on auth_reconciler.unlogged from public",
        "drop sequence auth_reconciler.unlogged",
    ] {
        scene.manager.batch_execute(hindrance).await?;
        scene.manager.batch_execute(&wrong).await?;
    }
    scene.manager.batch_execute(MEND).await?;
    drop(daemon);
    ensure!(
        scene.table.status(&scene.manager, id).await?.as_deref() == Some("failed"),
        "every statement went through"
    );
    Ok(())
}

/// Counted where the function is, whatever its schema is called.
#[tokio::test]
async fn what_came_while_the_schema_had_another_name_is_found_when_it_has_its_own_again()
-> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let (_, wrong) = ready(&scene, &stub).await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    scene
        .manager
        .batch_execute(&format!(
            "alter schema auth_reconciler rename to elsewhere; {wrong};
             alter schema elsewhere rename to auth_reconciler"
        ))
        .await?;
    let _next = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await
}

/// One trigger makes the word, another one asks for it: else each row of a bulk statement would take an id of its own.
#[tokio::test]
async fn what_either_trigger_notes_of_a_transaction_that_cannot_log_is_known() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    let (_, wrong) = ready(&scene, &stub).await?;
    scene.manager.batch_execute(BREAK).await?;
    let known = "select coalesce(
        current_setting(auth_reconciler.noted_in(), true) = pg_current_xact_id() || ' cannot', false)";
    let guarded = "select auth_reconciler.guard('public.message_instances', true);
        alter table public.message_instances disable trigger auth_reconciler_update";
    for (name, prepare) in [("log_change", "select"), ("keep_status", guarded)] {
        scene.manager.batch_execute(prepare).await?;
        scene.manager.batch_execute("begin").await?;
        ensure!(
            !scene.value::<bool>(known).await?,
            "{name}: nothing is noted yet"
        );
        scene.manager.batch_execute(&wrong).await?;
        ensure!(
            scene.value::<bool>(known).await?,
            "{name}: its word is known"
        );
        scene.manager.batch_execute("rollback").await?;
        // The count is outside the transaction, and has everything looked at.
        scene.eventually(ALL_TRUE).await?;
    }
    Ok(())
}
