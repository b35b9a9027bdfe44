//! Only who leads asks the engine, and whoever begins to lead compares it with the database.

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, SERVING};
use auth_reconciler_tests::docker::recorder::Recorder;
use auth_reconciler_tests::docker::{Engine, Phase};

use super::faked::KILLED;
use super::{Faked, says_of_engine};
use crate::containers::Harbour;

#[tokio::test]
async fn a_standby_asks_nothing_and_compares_when_it_takes_over() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let url = recorder.url();
    let harbour = Harbour::open(engine.clone(), &url, &[]).await?;
    let (dies, stays) = (harbour.ready().await?, harbour.ready().await?);
    // Whatever its start led to has been looked at.
    harbour.scene.reconcile(stays.instance()).await?;
    let asked = stays.counts().await?.ready();

    // Frozen, the leader sees nothing of it, and then it is dead.
    harbour.scene.daemon.signal("STOP")?;
    dies.kill("KILL").await?;
    dies.exited().await?;
    // All this takes longer than what a subscription tells of the time before it.
    let spec = harbour.spec()?.at_once();
    let starts = harbour.insert(&spec).await?;
    let started = engine.run(spec).await?;
    started.reached(Phase::Ready).await?;
    // What the leader had asked for last has been counted by now.
    let connections = recorder.connections();
    let settings = [("AUTH_RECONCILER_DOCKER", url.as_str())];
    let standby = Daemon::spawn(harbour.scene.database.url(), &["run"], &settings)?;
    standby
        .wait_message("standing by: another process leads")
        .await?;
    assert_eq!(
        recorder.connections(),
        connections,
        "a standby asks nothing"
    );
    harbour.scene.daemon.sigkill()?;
    standby.wait_message(SERVING).await?;
    let watcher = &harbour.watcher;
    watcher.wait_status(dies.instance(), "failed").await?;
    watcher.wait_status(starts, "client_ready").await?;
    assert_eq!(
        harbour.told(dies.instance(), "reason").await?,
        "ContainerStopped"
    );
    harbour.scene.barrier(dies.instance(), starts).await?;
    assert_eq!(
        stays.counts().await?.ready(),
        asked,
        "nothing changed there"
    );
    Ok(())
}

#[tokio::test]
async fn with_each_new_ear_the_engine_is_compared_again() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let (client, ears) = (&faked.scene.client, crate::scene::EARS);
    let former: i32 = client.query_one(ears, &[]).await?.try_get(0)?;
    // No event tells of it, and the next check by list is a minute away.
    faked.show(KILLED);
    let mark = faked.scene.daemon.mark();
    client
        .execute("select pg_terminate_backend($1)", &[&former])
        .await?;
    faked.scene.daemon.wait_message_after(mark, SERVING).await?;
    faked.becomes("failed").await?;
    let told = says_of_engine(client, "seen").await?;
    assert_eq!(told.address, faked.fake.url());
    let open = "one stream, that of the new term";
    faked
        .fake
        .until(open, |seen| seen.open("/events") == 1)
        .await?;
    Ok(())
}
