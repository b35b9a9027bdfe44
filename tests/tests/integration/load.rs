//! Many at once, and one for ever: slots, patience, backoff and history have limits, and nobody waits for the hung.
//!
//! The probe time-out of these tests is longer than the harness waits, so whatever became ready while others hung did
//! not wait for one of them to time out. How many looks ran at once is counted in the order of the daemon's own log: a
//! stub learns of a closed connection only after the next one may have been opened.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use auth_reconciler_tests::postgres::shared_cluster;
use auth_reconciler_tests::proxy::Proxy;
use auth_reconciler_tests::stub::{Behaviour, Counts, Fleet, Stub};
use uuid::Uuid;

use crate::arena::Scene;
use crate::scene::{ALL_TRUE, eventually};
use crate::stage::Stage;

/// Longer than the harness's patience.
const NEVER: (&str, &str) = ("AUTH_RECONCILER_PROBE_TIMEOUT", "60s");

/// One statement that inserts an instance per port, as a burst.
async fn insert_all(stage: &Stage, ports: Vec<u16>) -> Result<()> {
    let ports: Vec<i32> = ports.into_iter().map(i32::from).collect();
    let statement = format!(
        "insert into {} (id, provider, port_api, api_key, type_instance)
         select gen_random_uuid(), 'telegram', port, 'a-key', '{{api}}' from unnest($1::int[]) as port",
        stage.table.name()
    );
    stage.client.execute(&statement, &[&ports]).await?;
    Ok(())
}

/// The most looks between their read and the end of their probe at once.
fn most_at_once(stage: &Stage) -> usize {
    let (mut running, mut most) = (HashSet::new(), 0);
    for line in stage.daemon.log() {
        let instance = line.field("instance").as_str().map(str::to_owned);
        match line.message() {
            Some("row read fresh") => running.insert(instance),
            Some("api asked" | "gave way to a first look") => running.remove(&instance),
            _ => continue,
        };
        most = most.max(running.len());
    }
    most
}

#[tokio::test]
async fn hung_instances_leave_slots_for_what_is_new() -> Result<()> {
    let stage = Stage::start(&[NEVER, ("AUTH_RECONCILER_BACKOFF_MAX", "200ms")]).await?;
    let fleet = Fleet::start(200, Behaviour::Disconnected).await?;
    // In bursts that ring for each row: a bigger one rings for a scan, which finds some of them a second time.
    for ports in fleet.ports().chunks(50) {
        insert_all(&stage, ports.to_vec()).await?;
    }
    let mut looked_at = HashSet::new();
    stage
        .daemon
        .wait_line(0, "a verdict on each of 200 instances", |line| {
            if line.has("reason", "TelegramConnecting") {
                looked_at.insert(line.field("instance").to_string());
            }
            looked_at.len() == 200
        })
        .await?;
    // From here on they hang whenever they are looked at again: 48 of the 64 slots may be retries.
    fleet.set(&Behaviour::Hang).await?;
    let hanging = |counts: &Counts| counts.by_behaviour.get("hang").copied().unwrap_or(0);
    fleet.until_sum("hanging requests", 48, hanging).await?;
    let (mark, hung) = (stage.daemon.mark(), fleet.total());
    for _ in 0..3 {
        let fresh = Stub::start(Behaviour::Ready).await?;
        let id = stage.telegram(fresh.port(), "a-key").await?;
        stage.expect(id, Some("client_ready"), "Ready").await?;
    }
    // Nobody had to make room, and nobody else began: the slots for what is new were free.
    ensure!(
        (fleet.open(), fleet.total()) == (48, hung),
        "{} hang, {} requests, {hung} before",
        fleet.open(),
        fleet.total()
    );
    let log = stage.daemon.log();
    let gave_way = log[mark..]
        .iter()
        .any(|line| line.is("gave way to a first look"));
    ensure!(!gave_way, "a hung instance had to give way");
    ensure!(most_at_once(&stage) <= 64);
    stage.ensure_unharmed()?;
    stage.close().await
}

/// As a manager in a loop, or an import, writes.
#[tokio::test]
async fn a_flood_of_changes_of_the_same_rows_leads_to_as_many_looks_as_their_pace_allows()
-> Result<()> {
    let stage = Stage::start(&[
        ("AUTH_RECONCILER_LOOK_BURST", "2"),
        ("AUTH_RECONCILER_LOOK_INTERVAL", "10m"),
    ])
    .await?;
    let fleet = Fleet::start(100, Behaviour::Ready).await?;
    insert_all(&stage, fleet.ports()).await?;
    eventually(&stage.client, ALL_TRUE).await?;
    let flood = format!("update {} set account = $1", stage.table.name());
    for number in 0..200 {
        let account = format!("number {number}");
        stage.client.execute(&flood, &[&account]).await?;
    }
    let fresh = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(fresh.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    // It did not wait for them: the last of 20,000 changes are answered for when the next look is due.
    let waits = stage.client.query_one(WAITING, &[]).await?;
    let waits: i64 = waits.try_get(0)?;
    ensure!(waits == 100, "changes of {waits} rows wait");
    ensure!(fleet.total() <= 300, "{} looks at 100 rows", fleet.total());
    stage.ensure_unharmed()?;
    stage.close().await
}

/// Rows with changes that no look has answered for.
const WAITING: &str = "select count(distinct instance_id) from auth_reconciler.change";

#[tokio::test]
async fn a_storm_of_hung_instances_does_not_hold_up_the_one_behind_it() -> Result<()> {
    let stage = Stage::start(&[NEVER]).await?;
    let fleet = Fleet::start(200, Behaviour::Hang).await?;
    let fresh = Stub::start(Behaviour::Ready).await?;
    insert_all(&stage, fleet.ports()).await?;
    let id = stage.telegram(fresh.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    // It found its slot while others went on to hang: in the end in all of them.
    let hanging = |counts: &Counts| counts.open;
    fleet.until_sum("hanging requests", 64, hanging).await?;
    let answered = stage.daemon.count(|line| line.is("api asked"));
    ensure!(
        answered == 1,
        "{answered} were answered, not the fresh one alone"
    );
    let most = most_at_once(&stage);
    ensure!(most <= 64, "{most} looks at once, not 64");
    // Room was made for every first look, and then no longer.
    for stub in &fleet.stubs {
        stub.request(1).await?;
    }
    ensure!(most_at_once(&stage) <= 64);
    stage.ensure_unharmed()?;
    stage.close().await
}

/// The reads of a look last longer here than its slot is left to it in peace, so what is over by then is not the time
/// that its API had.
#[tokio::test]
async fn a_slow_database_takes_no_api_its_time_to_answer() -> Result<()> {
    let link = Proxy::for_sessions(&shared_cluster()?, "auth-reconciler pool").await?;
    let scene = Scene::start_with(|url| {
        Ok(vec![
            ("DATABASE_URL", link.url(url)?),
            ("AUTH_RECONCILER_PROBE_CONCURRENCY", "2".to_owned()),
            ("RUST_LOG", "auth_reconciler=debug".to_owned()),
        ])
    })
    .await?;
    link.delay(Duration::ZERO, Duration::from_millis(400));
    let answers = Behaviour::Ready.delayed(Duration::from_millis(20));
    let fleet = Fleet::start(6, answers).await?;
    for port in fleet.ports() {
        let (table, client, id) = (&scene.table, &scene.client, Uuid::new_v4());
        table.insert(client, id, Some(port), Some("a-key")).await?;
    }
    scene.all_recorded(6, "Ready", "insert").await?;
    let gave_way = scene
        .daemon
        .count(|line| line.is("gave way to a first look"));
    ensure!(gave_way == 0, "{gave_way} were not heard out");
    Ok(())
}

#[tokio::test]
async fn a_hanging_instance_frees_its_slot_at_the_time_out() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_PROBE_CONCURRENCY", "1"),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "300ms"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "50ms"),
    ];
    let stage = Stage::start(&settings).await?;
    let fleet = Fleet::start(2, Behaviour::Hang).await?;
    insert_all(&stage, fleet.ports()).await?;
    // Fourth ones are retries for certain, and both can have them only if each lets go of the one slot.
    for stub in &fleet.stubs {
        stub.request(4).await?;
    }
    let most = most_at_once(&stage);
    ensure!(most == 1, "{most} looks at once in one slot");
    stage.close().await
}

#[tokio::test]
async fn looks_at_one_that_is_never_ready_become_rare() -> Result<()> {
    let (min, max) = (Duration::from_millis(40), Duration::from_millis(400));
    let settings = [
        ("AUTH_RECONCILER_BACKOFF_MIN", "40ms"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "400ms"),
    ];
    let stage = Stage::start(&settings).await?;
    let stub = Stub::start(Behaviour::Disconnected).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stub.request(12).await?;
    let times: Vec<_> = stub
        .counts()
        .requests
        .iter()
        .map(|request| request.at)
        .collect();
    // A pause begins only after its request was seen, so no slowness of the machine makes it shorter here.
    let mut step = min;
    for (number, pair) in times.windows(2).enumerate() {
        let pause = pair[1] - pair[0];
        ensure!(pause >= step, "pause {number} was {pause:?}, not {step:?}");
        step = step.mul_f64(1.25).min(max);
    }
    ensure!(step == max);
    let row = stage
        .client
        .query_one(
            "select extract(epoch from next_attempt_at - recorded_at)::float8, attempts, looks
             from auth_reconciler.instance where instance_id = $1",
            &[&id],
        )
        .await?;
    let (pause, attempts, looks): (f64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    ensure!(pause <= max.as_secs_f64(), "the next pause is {pause} s");
    ensure!(attempts == looks, "{attempts} attempts in {looks} looks");
    // An event is not held back by it.
    let next = stub.counts().total() + 1;
    stub.set(Behaviour::Ready).await?;
    stage
        .table
        .save_account(&stage.client, id, Some("Name (@username)"))
        .await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    ensure!(stub.counts().total() <= next + 1);
    stage.close().await
}

#[tokio::test]
async fn the_history_of_an_instance_is_bounded_by_count_and_age() -> Result<()> {
    let settings = [
        ("AUTH_RECONCILER_HISTORY_PER_INSTANCE", "3"),
        ("AUTH_RECONCILER_HISTORY_MAX_AGE", "1h"),
    ];
    let stage = Stage::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    // Old ones of an instance that moves no more.
    stage
        .client
        .batch_execute(
            "insert into auth_reconciler.transition
                 (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
             select 1, gen_random_uuid(), now() - age * interval '1 minute', 'pending', 'failed', 'Ready', '', 'port_api', 1
             from unnest(array[30, 90, 91]) as age",
        )
        .await?;
    let other = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(other, Some("client_ready"), "Ready").await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    for _ in 0..4 {
        for (port, reason) in [(0, "InvalidPort"), (i32::from(stub.port()), "Ready")] {
            let recorded = stage.recorded(stage.daemon.mark(), id, reason);
            stage.table.set_port(&stage.client, id, Some(port)).await?;
            recorded.await?;
        }
    }
    let kept = async |of: Uuid| -> Result<Vec<String>> {
        let rows = stage
            .client
            .query(
                "select to_status from auth_reconciler.transitions where instance_id = $1 order by id",
                &[&of],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    ensure!(kept(id).await? == ["client_ready", "failed", "client_ready"]);
    ensure!(
        kept(other).await? == ["client_ready"],
        "it is bounded per instance"
    );
    let all: i64 = stage
        .client
        .query_one("select count(*) from auth_reconciler.transition", &[])
        .await?
        .try_get(0)?;
    ensure!(
        all == 3 + 1 + 1,
        "{all} transitions, those older than an hour among them"
    );
    stage.close().await
}
