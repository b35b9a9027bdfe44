//! Any role may ring. What that costs is bounded, a real change is answered for meanwhile, and nothing is believed of a
//! ring but that there may be something to read.

mod unlogged;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, Scene, insert_many};

/// Kilobytes of memory that the process has at the moment.
fn resident(daemon: &Daemon) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.context("VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.parse()?)
}

/// Rings with each of these payloads, an SQL expression over `n`, so many times in each of so many transactions.
async fn flood(
    scene: &Scene,
    payload: &str,
    transactions: usize,
    each: usize,
) -> Result<JoinHandle<Result<()>>> {
    let session = scene.database.client().await?;
    let rings = format!(
        "select count(pg_catalog.pg_notify('auth_reconciler', {payload})) from generate_series(1, {each}) as n"
    );
    Ok(tokio::spawn(async move {
        for _ in 0..transactions {
            session.batch_execute(&rings).await?;
        }
        Ok(())
    }))
}

/// While the flood lasts, and at least three times: a real change, until it is answered for. Returns how often, and what
/// the slowest took.
async fn real_changes(
    scene: &Scene,
    ids: &[Uuid],
    flooded: &JoinHandle<Result<()>>,
) -> Result<(usize, Duration)> {
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    while answered < 3 || !flooded.is_finished() {
        let id = ids[answered % ids.len()];
        let began = Instant::now();
        scene
            .table
            .write_status(&scene.manager, id, Some("pending"))
            .await?;
        scene.eventually(ALL_TRUE).await?;
        slowest = slowest.max(began.elapsed());
        answered += 1;
    }
    Ok((answered, slowest))
}

#[tokio::test]
async fn a_flood_of_rings_takes_no_memory_and_holds_no_real_change_up() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let ids = insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    let floods = [
        (
            "ids that nobody has",
            "'1/' || gen_random_uuid() || '/account'",
            40,
            10_000,
        ),
        (
            "tables that nobody watches",
            "n || '/' || gen_random_uuid() || '/x'",
            10,
            10_000,
        ),
        ("nonsense", "n::text", 10, 10_000),
        ("much nonsense", "repeat('x', 7900) || n", 10, 1_000),
        ("echoes", "'echo/' || gen_random_uuid()", 10, 10_000),
    ];
    for (name, payload, transactions, each) in floods {
        let before = resident(&daemon)?;
        let flooded = flood(&scene, payload, transactions, each).await?;
        let (answered, slowest) = real_changes(&scene, &ids, &flooded).await?;
        flooded.await??;
        let grown = resident(&daemon)?.saturating_sub(before);
        println!(
            "{name}: {answered} changes answered for, the slowest after {slowest:?}; grown by {grown} kB"
        );
        // Generous, for a machine with other things to do; with random ids it was a hundred seconds.
        ensure!(slowest < Duration::from_secs(15), "{name}: {slowest:?}");
        ensure!(grown < 30_000, "{name}: it grew by {grown} kB");
        // What rang is forgotten, not worked off for ever after.
        scene.looked_at(&daemon, ids[0]).await?;
    }
    // And nothing was written of it.
    let traces: i64 = scene
        .value(
            "select (select count(*) from auth_reconciler.instance) + (select count(*) from auth_reconciler.change)
                + (select count(*) from auth_reconciler.journal where watched_id <> 1)",
        )
        .await?;
    ensure!(traces == 3, "{traces} lines instead of the three instances");
    Ok(())
}

#[tokio::test]
async fn rings_for_everything_cost_few_probes_and_hold_nothing_up() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let ids = insert_many(&scene, &stub, 20).await?;
    scene.eventually(ALL_TRUE).await?;
    let before = stub.counts().total();
    let began = Instant::now();
    let mut asked_for = 0;
    while began.elapsed() < Duration::from_secs(5) || asked_for < 20 {
        scene
            .manager
            .batch_execute("notify auth_reconciler, 'resync'; notify auth_reconciler, 'nonsense'")
            .await?;
        scene.looked_at(&daemon, ids[0]).await?;
        asked_for += 1;
    }
    let probes = stub.counts().total() - before;
    // Two at once, and one a minute; each look that was asked for costs a probe, and one more where it came in between.
    let at_everything = 3 + began.elapsed().as_secs() / 60;
    println!("{asked_for} looks asked for, {probes} probes");
    ensure!(
        probes <= 2 * asked_for + 20 * at_everything,
        "{probes} probes, {asked_for} asked for"
    );
    Ok(())
}

/// A ring for a key whose row did not change: neither its backoff nor its final state is touched.
#[tokio::test]
async fn rings_for_keys_of_which_nothing_is_new_probe_nobody() -> Result<()> {
    let scene = Scene::shared().await?;
    let ready = Stub::start(Behaviour::Ready).await?;
    let away = Stub::start(Behaviour::Disconnected).await?;
    let settings = [
        ("AUTH_RECONCILER_BACKOFF_MIN", "30s"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "60s"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let (settled, waits) = (
        scene.instance(ready.port()).await?,
        scene.instance(away.port()).await?,
    );
    let recorded = "select count(*) = 2 and not exists (select from auth_reconciler.change) from auth_reconciler.instance";
    scene.eventually(recorded).await?;
    // The first look of an account that was just written may be repeated at once; from here on only the clock asks.
    scene.looked_at(&daemon, waits).await?;
    let deadline = "select next_attempt_at::text || ' ' || attempts from auth_reconciler.instance where not settled";
    let before: String = scene.value(deadline).await?;
    let (asked_ready, asked_away) = (ready.counts().total(), away.counts().total());
    for cause in [
        "account",
        "drift",
        "resync",
        "backoff",
        "container start",
        "operator",
        "x",
    ] {
        for id in [settled, waits] {
            let payload =
                format!("'1/{id}/{cause}' || case when n > 500 then '' else ' ' || n end");
            flood(&scene, &payload, 3, 1_000).await?.await??;
        }
        scene
            .manager
            .batch_execute("notify auth_reconciler, 'scan'")
            .await?;
    }
    // All that rang before is heeded before this.
    let third = scene.instance(ready.port()).await?;
    scene.looked_at(&daemon, third).await?;
    let probes = ready.counts().total() - asked_ready;
    ensure!(probes <= 3, "{probes} probes, two were of a new instance");
    ensure!(
        away.counts().total() == asked_away,
        "its backoff was cut short"
    );
    let after: String = scene.value(deadline).await?;
    ensure!(after == before, "{after} instead of {before}");
    let looks = daemon.count(|line| line.is("row read fresh"));
    ensure!(looks <= 8, "{looks} looks are told in the log");
    Ok(())
}

/// What a look could not answer for stays in the log; reading the log again and again tries it no more often.
#[tokio::test]
async fn rings_for_the_log_do_not_hurry_what_waits_in_it() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let settings = [("RUST_LOG", "auth_reconciler=debug")];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    // Its status is to be written, and somebody holds the row.
    let mut locker = scene.database.client().await?;
    daemon.signal("STOP")?;
    scene.table.save_api_key(&scene.manager, id, None).await?;
    let transaction = locker.transaction().await?;
    transaction
        .batch_execute("select from public.message_instances for update")
        .await?;
    let mark = daemon.mark();
    daemon.signal("CONT")?;
    daemon
        .wait_message_after(mark, "somebody holds the row")
        .await?;
    let looks = || daemon.count(|line| line.is("somebody holds the row"));
    let before = looks();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let rings = flood(&scene, "'scan ' || n", 10, 100).await?;
        rings.await??;
    }
    let (looks, seconds) = (looks() - before, began.elapsed().as_secs_f64());
    println!("{looks} looks in {seconds:.1} s");
    // By its own backoff, from 20 ms on and growing, 18 within five seconds; by each reading of the log it was 68.
    ensure!(looks <= 30, "{looks} looks in {seconds:.1} s");
    transaction.commit().await?;
    scene.eventually(ALL_TRUE).await
}
