//! How late a real container's readiness shows in its row, and what made the look that found it. By hand, in about five
//! minutes; needs a server and an engine:
//!
//! ```text
//! cargo build --release --bins
//! DATABASE_URL=postgres://postgres@127.0.0.1/postgres target/release/readiness
//! ```
//!
//! Makes a database of its own on that server (so it needs the right to) and drops it at the end. One container after
//! the other is started as the manager starts it, with its row pending and without a key; it boots, writes its key,
//! listens, asks Telegram, writes its account and becomes ready a *gap* after that commit. Lateness is the time from the
//! moment at which it becomes ready (its own clock, which is this machine's) to the hearing of the commit of
//! `client_ready` by a session that listens. The same is done with a daemon that follows the containers' output and with
//! one that does not (`AUTH_RECONCILER_FOLLOWERS=0`), in turn, so compare the columns with each other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Setting};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::{Engine, Reach, Spec, reach};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::watcher::Watcher;
use chrono::TimeDelta;
use tokio_postgres::Client;

const RUNS: usize = 20;
const GAPS: [u64; 4] = [1, 20, 200, 1000];
/// A short boot: what comes before the account does not matter to the gap.
const SHORT: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let engine = Engine::shared().await?;
    let (mut followed, mut alone) = (
        Bench::open(&server, &engine, &[]).await?,
        Bench::open(&server, &engine, &[("AUTH_RECONCILER_FOLLOWERS", "0")]).await?,
    );
    println!("ready -> client_ready committed, {RUNS} containers one by one, in ms\n");
    println!("                               median      p90    worst   READY asked   found by");
    let real = |spec: Spec| spec;
    compare("a normal start", &mut followed, &mut alone, &real).await?;
    for gap in GAPS {
        let short = move |spec: Spec| {
            spec.with(|settings| {
                settings.key_after = SHORT;
                settings.listens_after = SHORT;
                settings.asks_after = SHORT;
                settings.ready_after_account = Duration::from_millis(gap);
            })
        };
        let what = format!("gap of {gap} ms");
        compare(&what, &mut followed, &mut alone, &short).await?;
    }
    followed.close().await?;
    alone.close().await
}

async fn compare(
    what: &str,
    followed: &mut Bench,
    alone: &mut Bench,
    shape: &(impl Fn(Spec) -> Spec + Sync),
) -> Result<()> {
    let (mut with, mut without) = (Figures::default(), Figures::default());
    for _ in 0..RUNS {
        followed.run(shape, &mut with).await?;
        alone.run(shape, &mut without).await?;
    }
    println!("{what}");
    with.print("output followed");
    without.print("backoff alone");
    Ok(())
}

/// A daemon with a database of its own.
struct Bench {
    // Dropped in this order.
    daemon: Daemon,
    watcher: Watcher,
    client: Client,
    table: ManagerTable,
    way: Reach,
    engine: Engine,
    database: TestDatabase,
}

impl Bench {
    async fn open(server: &str, engine: &Engine, settings: &[Setting<'_>]) -> Result<Self> {
        let database = TestDatabase::create(server).await?;
        let client = database.client().await?;
        let table = ManagerTable::message_instances();
        table.create(&client).await?;
        let url = engine.url();
        let mut all = vec![("AUTH_RECONCILER_DOCKER", url.as_str())];
        all.extend(settings);
        let daemon = Daemon::start(&database, &all).await?;
        let way = reach(database.url()).await;
        ensure!(
            matches!(way, Reach::Socket { .. }),
            "the server's socket is not to be reached, so there would be no published port"
        );
        Ok(Self {
            daemon,
            watcher: Watcher::start(database.url(), &table).await?,
            client,
            table,
            way,
            engine: engine.clone(),
            database,
        })
    }

    async fn run(&mut self, shape: impl Fn(Spec) -> Spec, figures: &mut Figures) -> Result<()> {
        let spec = self.way.clone().apply(Spec::new(), (0, 0));
        let spec = shape(spec.port(Engine::port()?));
        let (id, port) = (spec.settings.id, spec.settings.port);
        self.table
            .insert(&self.client, id, Some(port), None)
            .await?;
        let mark = self.watcher.mark();
        let container = self.engine.run(spec).await?;
        let seen = self
            .watcher
            .wait_for(mark, LIMIT, "client_ready", |seen| {
                seen.id == id && seen.status.as_deref() == Some("client_ready")
            })
            .await?;
        let counts = container.counts().await?;
        let ready = counts.ready_at().context("it is ready")?;
        figures.lateness.push(seen.heard_at - ready);
        figures.asked = figures.asked.max(counts.ready());
        let row = self
            .client
            .query_one(
                "select cause from auth_reconciler.transitions
                 where instance_id = $1 and to_status = 'client_ready'",
                &[&id],
            )
            .await?;
        *figures.causes.entry(row.try_get(0)?).or_default() += 1;
        container.remove().await
    }

    async fn close(self) -> Result<()> {
        self.watcher.remove().await?;
        drop(self.daemon);
        drop(self.client);
        self.database.close().await
    }
}

#[derive(Default)]
struct Figures {
    lateness: Vec<TimeDelta>,
    asked: u64,
    causes: BTreeMap<String, usize>,
}

impl Figures {
    fn print(mut self, what: &str) {
        self.lateness.sort();
        let millis = |index: usize| {
            let late = self.lateness.get(index).copied().unwrap_or_default();
            late.num_microseconds().unwrap_or(i64::MAX) as f64 / 1_000.0
        };
        let last = self.lateness.len().saturating_sub(1);
        let causes: Vec<String> = self
            .causes
            .iter()
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        println!(
            "  {what:<26} {:>8.1} {:>8.1} {:>8.1} {:>13}   {}",
            millis(last.div_ceil(2)),
            millis(last * 9 / 10),
            millis(last),
            format!("at most {}", self.asked),
            causes.join(", ")
        );
    }
}
