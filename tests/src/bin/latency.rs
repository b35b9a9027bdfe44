//! How fast a saved key becomes a true status, and what the watching costs the manager. By hand, in less than a minute:
//!
//! ```text
//! cargo build --release --bins
//! DATABASE_URL=postgres://postgres@127.0.0.1/postgres target/release/latency
//! ```
//!
//! Makes a database of its own on that server (so it needs the right to) and drops it at the end; starts the daemon and
//! one stub instance that is always ready, nothing else.
//!
//! **Latency.** One instance after the other gets its key while the daemon is idle. A single LISTENing session, the
//! witness, is told by a trigger of each commit on the table; the time is that between its hearing of the commit of
//! `api_key` and its hearing of the commit of `client_ready`. Both come by the same way, so what the way costs cancels
//! out but for its jitter (some 0.1 ms when the machine is idle). The witness makes the daemon's commit one that
//! notifies, which it otherwise is not: the figure is too high by that, never too low. As a check the time from the
//! writer's own reply is printed, too: it misses the way of that reply and holds the way of one notification.
//!
//! **Floor.** In turn with each of those, the same on a table without our triggers and with an *echo* in the daemon's
//! place: a client that LISTENs and answers each notification with a bare UPDATE to `client_ready`, committed
//! asynchronously like the daemon's, without any read, probe, or fence. What is above it is what being right costs.
//!
//! **Manager's cost.** Eight sessions save new keys as fast as the server lets them: without our triggers, with them
//! and no daemon, and with them and the daemon at work on all of it. The last one is about the machine as much as about
//! us, because daemon, stub, server and writers share its cores.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Setting, run_command};
use auth_reconciler_tests::database::{TestDatabase, connect};
use auth_reconciler_tests::listener;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use auth_reconciler_tests::watcher::Watcher;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use uuid::Uuid;

const WARM_UP: usize = 30;
const MEASURED: usize = 300;
/// Lets everybody fall asleep again: an idle daemon is the one that is measured.
const PAUSE: Duration = Duration::from_millis(10);

const WRITERS: usize = 8;
const ROWS_PER_WRITER: usize = 16;
const WRITING: Duration = Duration::from_secs(5);

const SETTINGS: [Setting<'_>; 0] = [];

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let database = TestDatabase::create(&server).await?;
    let client = database.client().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    let daemon = Daemon::start(&database, &SETTINGS).await?;

    latency(database.url(), &client, &table, stub.port()).await?;
    cost(&database, &client, &table, stub.port(), daemon).await?;
    drop(client);
    database.close().await
}

/// What was measured in one place: by the witness, and from the writer's reply.
#[derive(Default)]
struct Times {
    witness: Vec<Duration>,
    reply: Vec<Duration>,
}

async fn latency(url: &str, client: &Client, table: &ManagerTable, port: u16) -> Result<()> {
    let echoed = ManagerTable::message_instances_named("public.echoed_instances");
    echoed.create(client).await?;
    echo(url, &echoed).await?;
    let witnesses = [
        Watcher::start(url, table).await?,
        Watcher::start(url, &echoed).await?,
    ];
    let tables = [table, &echoed];
    let mut times = [Times::default(), Times::default()];
    for number in 0..WARM_UP + MEASURED {
        for ((table, witness), times) in tables.iter().zip(&witnesses).zip(&mut times) {
            let (by_witness, by_reply) = become_ready(client, table, port, witness).await?;
            if number >= WARM_UP {
                times.witness.push(by_witness);
                times.reply.push(by_reply);
            }
        }
    }
    for witness in witnesses {
        witness.remove().await?;
    }
    print_times(times);
    print_reactions(client).await
}

/// One instance gets its key while nobody does anything: the time until it is ready, by the witness and from the
/// writer's reply.
async fn become_ready(
    client: &Client,
    table: &ManagerTable,
    port: u16,
    witness: &Watcher,
) -> Result<(Duration, Duration)> {
    let id = Uuid::new_v4();
    table.insert(client, id, Some(port), None).await?;
    tokio::time::sleep(PAUSE).await;
    let mark = witness.mark();
    table
        .save_api_key(client, id, Some(&id.to_string()))
        .await?;
    let replied = Instant::now();
    let limit = Duration::from_secs(10);
    let saved = witness
        .wait_for(mark, limit, "the commit of the key", |seen| seen.id == id)
        .await?;
    let ready = witness.wait_status_after(mark, id, "client_ready").await?;
    Ok((
        ready.at - saved.at,
        ready.at.saturating_duration_since(replied),
    ))
}

fn print_times([ours, floor]: [Times; 2]) {
    println!(
        "api_key committed -> client_ready committed, {MEASURED} instances one by one, in ms\n"
    );
    println!("                                  median      p90      p99      max");
    let (ours, ours_by_reply) = (Figures::of(ours.witness), Figures::of(ours.reply));
    let (floor, floor_by_reply) = (Figures::of(floor.witness), Figures::of(floor.reply));
    ours.print("auth-reconciler");
    floor.print("floor (echo)");
    Figures(std::array::from_fn(|one| ours.0[one] / floor.0[one])).print("ratio");
    ours_by_reply.print("auth-reconciler, from reply");
    floor_by_reply.print("floor (echo), from reply");
}

/// What the daemon itself says that it took.
async fn print_reactions(client: &Client) -> Result<()> {
    let row = client
        .query_one(
            "select percentile_cont(0.5) within group (order by reaction_ms),
                    percentile_cont(0.99) within group (order by reaction_ms)
             from auth_reconciler.transition where to_status = 'client_ready'",
            &[],
        )
        .await?;
    println!(
        "\n  by the daemon's own reaction_ms (which begins before the key's commit): median {:.2}, p99 {:.2}",
        row.try_get::<_, f64>(0)?,
        row.try_get::<_, f64>(1)?
    );
    Ok(())
}

/// Median, 90th and 99th percentile and maximum, in milliseconds; or the ratios of two such.
struct Figures([f64; 4]);

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // Nearest rank: a value that was really measured.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            let time = times.get(rank - 1).copied().unwrap_or_default();
            time.as_secs_f64() * 1_000.0
        };
        Self([at(50), at(90), at(99), at(100)])
    }

    fn print(&self, name: &str) {
        let [median, p90, p99, max] = self.0;
        println!("  {name:<28}  {median:>8.2} {p90:>8.2} {p99:>8.2} {max:>8.2}");
    }
}

/// The least that could be called a reconciler: hears, and writes what it was told to write.
async fn echo(url: &str, table: &ManagerTable) -> Result<()> {
    let name = table.name();
    let (heard, mut ids) = mpsc::unbounded_channel();
    let hear = move |id: &str| Ok(heard.send(id.to_owned())?);
    let ear = listener::connect(url, hear, drop).await?;
    ear.batch_execute(&format!(
        "create function public.ring() returns trigger language plpgsql as $body$
         begin perform pg_notify('echo', new.id::text); return null; end $body$;
         create trigger ring after update on {name} for each row
             when (old.api_key is distinct from new.api_key) execute function public.ring();
         listen echo"
    ))
    .await?;
    let writer = connect(url).await?;
    writer.batch_execute("set synchronous_commit = off").await?;
    let write = writer
        .prepare(&format!(
            "update {name} set auth_status = 'client_ready', updated_at = localtimestamp where id = $1"
        ))
        .await?;
    tokio::spawn(async move {
        // The ear lives as long as somebody answers.
        let _ear = ear;
        while let Some(id) = ids.recv().await {
            let Ok(id) = Uuid::parse_str(&id) else { return };
            if writer.execute(&write, &[&id]).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

async fn cost(
    database: &TestDatabase,
    client: &Client,
    table: &ManagerTable,
    port: u16,
    daemon: Daemon,
) -> Result<()> {
    let url = database.url();
    // The writers' rows alone, so that every phase meets the same table.
    client
        .batch_execute(&format!("truncate {}", table.name()))
        .await?;
    let mut rows = vec![Vec::new(); WRITERS];
    for number in 0..WRITERS * ROWS_PER_WRITER {
        let id = Uuid::new_v4();
        table.insert(client, id, Some(port), None).await?;
        rows[number % WRITERS].push(id);
    }
    let serving = write(url, table, &rows).await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    let watched = write(url, table, &rows).await?;
    let uninstalled = run_command(url, &["uninstall", "--yes"], &SETTINGS).await?;
    ensure!(uninstalled.code == Some(0), "{}", uninstalled.stderr);
    let bare = write(url, table, &rows).await?;
    println!("\nnew keys saved by {WRITERS} sessions at once, a second\n");
    println!("  without our triggers          {bare:>8.0}");
    let ratio = watched / bare;
    println!("  watched, no daemon            {watched:>8.0}   ratio {ratio:.2}");
    let ratio = serving / bare;
    println!("  watched, and the daemon       {serving:>8.0}   ratio {ratio:.2}");
    Ok(())
}

/// Updates a second of all writers together.
async fn write(url: &str, table: &ManagerTable, rows: &[Vec<Uuid>]) -> Result<f64> {
    let statement = format!(
        "update {} set api_key = $2, updated_at = localtimestamp where id = $1",
        table.name()
    );
    let sessions = try_join_all(rows.iter().map(async |rows| {
        let client = connect(url).await?;
        let statement = client.prepare(&statement).await?;
        anyhow::Ok((client, statement, rows))
    }))
    .await?;
    let begin = Instant::now();
    let written = try_join_all(sessions.iter().map(async |(client, statement, rows)| {
        let mut written = 0_u32;
        for id in rows.iter().cycle() {
            if begin.elapsed() >= WRITING {
                break;
            }
            let key = Uuid::new_v4().to_string();
            client.execute(statement, &[id, &key]).await?;
            written += 1;
        }
        anyhow::Ok(written)
    }))
    .await?;
    let total: u32 = written.iter().sum();
    Ok(f64::from(total) / begin.elapsed().as_secs_f64())
}
