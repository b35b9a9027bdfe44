//! Silence is believed only where somebody else is a witness that our own way works (I10).

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::{ALL_TRUE, Scene};

const WINDOW: [(&str, &str); 1] = [("AUTH_RECONCILER_MISS_WINDOW", "1s")];

async fn fleet(scene: &Scene, count: usize) -> Result<Vec<(Uuid, Stub)>> {
    let mut fleet = Vec::new();
    for _ in 0..count {
        let stub = Stub::start(Behaviour::Ready).await?;
        fleet.push((scene.instance(stub.port()).await?, stub));
    }
    scene.eventually(ALL_TRUE).await?;
    Ok(fleet)
}

/// All fall silent in one moment: that is our way or theirs, and nobody can say which. With the first answer it is
/// known again, and who is silent then is believed.
#[tokio::test]
async fn a_fleet_that_falls_silent_at_once_is_left_alone_until_somebody_answers() -> Result<()> {
    for silence in [Behaviour::NotListening, Behaviour::Status(403)] {
        let scene = Scene::shared().await?;
        let daemon = Daemon::start(&scene.database, &WINDOW).await?;
        let fleet = fleet(&scene, 4).await?;
        let watcher = scene.watcher().await?;
        let mark = watcher.mark();
        for (_, stub) in &fleet {
            stub.set(silence.clone()).await?;
        }
        let begin = daemon.mark();
        scene
            .manager
            .execute("select auth_reconciler.reconcile_all()", &[])
            .await?;
        daemon
            .wait_line(begin, "the doubt", |line| {
                line.level() == Some("WARN")
                    && line.message().is_some_and(|text| text.contains("doubted"))
            })
            .await?;
        assert!(
            watcher.observations(mark).is_empty(),
            "nothing was written: {:?}",
            watcher.observations(mark)
        );
        let (awake, asleep) = fleet.split_first().expect("four");
        awake.1.set(Behaviour::Ready).await?;
        for (id, _) in asleep {
            watcher.wait_status(*id, "failed").await?;
        }
        assert!(
            watcher
                .statuses(awake.0)
                .await?
                .iter()
                .all(|status| status != "failed"),
            "the one that answers never failed"
        );
    }
    Ok(())
}

/// The others answer, so the silence of one is its own.
#[tokio::test]
async fn one_of_many_that_falls_silent_has_failed() -> Result<()> {
    let scene = Scene::shared().await?;
    let _daemon = Daemon::start(&scene.database, &WINDOW).await?;
    let fleet = fleet(&scene, 4).await?;
    let watcher = scene.watcher().await?;
    let (id, stub) = &fleet[0];
    stub.set(Behaviour::NotListening).await?;
    scene
        .manager
        .execute("select auth_reconciler.reconcile($1)", &[id])
        .await?;
    watcher.wait_status(*id, "failed").await?;
    Ok(())
}

/// Rows that are met as ready at an address at which nobody listens: a probe URL that is wrong.
#[tokio::test]
async fn a_wrong_address_changes_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    for _ in 0..20 {
        scene.instance(stub.port()).await?;
    }
    scene
        .manager
        .execute(
            "update message_instances set auth_status = 'client_ready'",
            &[],
        )
        .await?;
    let watcher = scene.watcher().await?;
    let mark = watcher.mark();
    let daemon = Daemon::start(&scene.database, &WINDOW).await?;
    daemon
        .wait_line(0, "the doubt", |line| {
            line.message().is_some_and(|text| text.contains("doubted"))
        })
        .await?;
    assert!(watcher.observations(mark).is_empty(), "nothing was written");
    stub.set(Behaviour::Ready).await?;
    scene.eventually(ALL_TRUE).await?;
    Ok(())
}
