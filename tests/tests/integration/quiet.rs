//! Quiet (I5): when all is final and nothing happens, nobody is asked anything and no table is read.

use std::collections::BTreeMap;

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Fleet, Stub};

use crate::scene::{ALL_TRUE, Eavesdropper, Scene};

#[tokio::test]
async fn a_quiet_restart_probes_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    let fleet = Fleet::start(20, Behaviour::Ready).await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    for port in fleet.ports() {
        scene.instance(port).await?;
    }
    scene.eventually(ALL_TRUE).await?;
    let asked = fleet.total();
    for kill in [true, false] {
        if kill {
            first.sigkill()?;
        } else {
            first.sigterm()?;
        }
        first.ended().await?;
        let next = Daemon::start(&scene.database, &[]).await?;
        // Its scan is done: whatever it was to find it would have begun before this.
        let stub = Stub::start(Behaviour::Ready).await?;
        let id = scene.instance(stub.port()).await?;
        scene.looked_at(&next, id).await?;
        assert_eq!(fleet.total(), asked, "no instance was asked again");
        let serving = next.log();
        let found = serving.iter().find(|line| line.is("serving"));
        assert!(found.is_some_and(|line| line.has("instances", "0")));
        next.sigterm()?;
        next.ended().await?;
    }
    Ok(())
}

/// Every other session of the database has ended, and with it everything that it read is counted.
const ALONE: &str = "select not exists (select from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid())";

/// Reads of every table of the manager and of ours, by table, as far as the server has counted them.
async fn reads(scene: &Scene) -> Result<BTreeMap<String, i64>> {
    let rows = scene
        .manager
        .query(
            "select relname::text, seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables
             where schemaname in ('public', 'auth_reconciler')",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Starts a daemon, lets it hear `echoes` echoes with nothing to do, ends it, and returns what it has read. A session's
/// reads are counted for sure only when it has ended, so lives are compared rather than moments.
async fn reads_of_a_life(scene: &Scene, echoes: usize) -> Result<BTreeMap<String, i64>> {
    let before = reads(scene).await?;
    let often = [("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")];
    let ear = Eavesdropper::start(scene).await?;
    let daemon = Daemon::spawn(scene.url(), &["run"], &often)?;
    daemon.wait_message("serving").await?;
    ear.echoes(echoes).await?;
    drop(ear);
    daemon.sigterm()?;
    daemon.ended().await?;
    scene.eventually(ALONE).await?;
    let after = reads(scene).await?;
    Ok(after
        .into_iter()
        .map(|(table, count)| {
            let new = count - before.get(&table).copied().unwrap_or(0);
            (table, new)
        })
        .collect())
}

#[tokio::test]
async fn while_nothing_happens_no_table_is_read() -> Result<()> {
    let mut scene = Scene::shared().await?;
    let fleet = Fleet::start(5, Behaviour::Ready).await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    for port in fleet.ports() {
        scene.instance(port).await?;
    }
    scene.eventually(ALL_TRUE).await?;
    first.sigterm()?;
    first.ended().await?;
    // An automatic analyze would read the tables itself, or change a plan between the lives that are compared.
    scene
        .manager
        .batch_execute(
            "alter table auth_reconciler.change set (autovacuum_enabled = off);
             alter table auth_reconciler.instance set (autovacuum_enabled = off);
             alter table public.message_instances set (autovacuum_enabled = off)",
        )
        .await?;
    // What this session itself has read must be counted before, too.
    scene.manager = scene.database.client().await?;
    scene.eventually(ALONE).await?;
    let asked = fleet.total();
    // Long enough for whatever a start has to read.
    let short = reads_of_a_life(&scene, 10).await?;
    let long = reads_of_a_life(&scene, 34).await?;
    assert_eq!(short, long, "24 more echoes read no more");
    assert!(
        short["change"] > 0 && short["instance"] > 0,
        "the scan at the start is counted: {short:?}"
    );
    assert_eq!(short["message_instances"], 0, "{short:?}");
    assert_eq!(fleet.total(), asked);
    Ok(())
}
