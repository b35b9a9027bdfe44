//! Starts of every kind: how late READY shows, and what was asked.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::docker::{Container, Phase, Spec};
use auth_reconciler_tests::instance::Telegram;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use crate::bench::{Bench, LIMIT, ready_at};
use crate::figures::{Figures, head};
use crate::gaps::short;
use crate::shapes::SHAPES;

/// What is still asked after a start is asked within that time.
const REST: Duration = Duration::from_millis(700);

/// An engine that has just thawed a container may still take it for frozen, and the other way round.
const SETTLES: Duration = Duration::from_millis(50);

pub(crate) async fn measure(bench: &Bench, runs: usize) -> Result<()> {
    println!("\nready -> client_ready committed, requests logged as the real one does");
    head();
    let real = |spec: Spec| spec;
    in_a_row(bench, runs, &real, "a start").await?;
    for (number, rounds) in [(5, runs.div_ceil(5)), (20, runs.div_ceil(10))] {
        let mut figures = Figures::default();
        for _ in 0..rounds {
            at_once(bench, number, &mut figures).await?;
        }
        figures.print(&format!("{number} starts at once"));
    }
    let (mut ready, mut starting) = (Figures::default(), Figures::default());
    for run in 0..runs {
        thawed_ready(bench, &mut ready).await?;
        thawed_starting(bench, run, &mut starting).await?;
    }
    ready.print("paused and unpaused twice, ready");
    starting.print("the same while it starts");
    Ok(())
}

/// The same with shorter boots, for each way to log requests.
pub(crate) async fn shapes(bench: &Bench, runs: usize) -> Result<()> {
    println!("\nready -> client_ready committed, requests logged in other ways, short boots");
    head();
    for (name, requests) in SHAPES {
        let shape = move |spec: Spec| short(spec).with(|settings| settings.requests = requests);
        in_a_row(bench, runs, &shape, name).await?;
    }
    Ok(())
}

/// A start, a restart right after it, and the third start in a minute.
async fn in_a_row(
    bench: &Bench,
    runs: usize,
    shape: &(impl Fn(Spec) -> Spec + Sync),
    what: &str,
) -> Result<()> {
    let mut all = [Figures::default(), Figures::default(), Figures::default()];
    for _ in 0..runs {
        let container = bench.create(shape).await?;
        for (number, figures) in all.iter_mut().enumerate() {
            start(bench, &container, number == 0, figures).await?;
        }
        container.remove().await?;
    }
    let names = ["", ", again at once", ", the third time"];
    for (figures, name) in all.into_iter().zip(names) {
        figures.print(&format!("{what}{name}"));
    }
    Ok(())
}

/// One start, up to its READY and what follows it.
async fn start(
    bench: &Bench,
    container: &Container,
    first: bool,
    figures: &mut Figures,
) -> Result<()> {
    let (id, mark) = (container.instance(), bench.watcher.mark());
    if first {
        container.start().await?;
    } else {
        container.restart().await?;
    }
    let floor = bench.floor(container).await?;
    container.reached(Phase::Ready).await?;
    let ready = ready_at(container).await?;
    let heard = bench
        .watcher
        .wait_for(mark, LIMIT, "client_ready", |seen| {
            let status = seen.status.as_deref();
            seen.id == id && status == Some("client_ready") && seen.heard_at >= ready
        })
        .await?;
    figures.lateness.push(heard.heard_at - ready);
    figures.floor.push(floor.await?? - ready);
    figures.found_by(bench.cause(id).await?);
    sleep(REST).await;
    figures.count(&container.counts().await?);
    Ok(())
}

async fn at_once(bench: &Bench, number: usize, figures: &mut Figures) -> Result<()> {
    let containers = try_join_all((0..number).map(|_| bench.create(|spec| spec))).await?;
    let runs = join_all(containers.iter().map(async |container| {
        let mut own = Figures::default();
        start(bench, container, true, &mut own).await?;
        anyhow::Ok(own)
    }))
    .await;
    for run in runs {
        let run = run?;
        figures.lateness.extend(run.lateness);
        figures.floor.extend(run.floor);
        figures.asked.extend(run.asked);
        figures.ready.extend(run.ready);
        for cause in run.causes.into_keys() {
            figures.found_by(cause);
        }
    }
    try_join_all(containers.into_iter().map(Container::remove)).await?;
    Ok(())
}

/// Ready all the time: it is so again when its API answers again. The floor is an answer and a commit.
async fn thawed_ready(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let container = bench.create(short).await?;
    let (id, mark) = (container.instance(), bench.watcher.mark());
    container.start().await?;
    bench.heard(mark, id, "client_ready").await?;
    sleep(REST).await;
    let before = container.counts().await?;
    let mark = bench.watcher.mark();
    container.pause().await?;
    bench.heard(mark, id, "failed").await?;
    container.unpause().await?;
    sleep(SETTLES).await;
    container.pause().await?;
    sleep(SETTLES).await;
    let answered = async {
        container.counts().await?;
        anyhow::Ok(Utc::now())
    };
    let (unpaused, answered) = tokio::join!(container.unpause(), answered);
    unpaused?;
    let answered: DateTime<Utc> = answered?;
    let insert = "insert into public.floor default values";
    bench.client.execute(insert, &[]).await?;
    figures.floor.push(Utc::now() - answered);
    sleep(REST).await;
    // The one before may have been too short to show.
    let last = bench.watcher.history(id).pop().context("its writes")?;
    ensure!(last.status.as_deref() == Some("client_ready"), "{last:?}");
    figures
        .lateness
        .push((last.heard_at - answered).max(TimeDelta::zero()));
    figures.found_by(bench.cause(id).await?);
    let mut counts = container.counts().await?;
    for (met, number) in &mut counts.status {
        *number -= before.status.get(met).copied().unwrap_or_default();
    }
    figures.count(&counts);
    container.remove().await
}

/// Not ready yet when it is paused, and at some moment after that.
async fn thawed_starting(bench: &Bench, run: usize, figures: &mut Figures) -> Result<()> {
    let shape = |spec: Spec| short(spec).with(|settings| settings.telegram = Telegram::Fails);
    let container = bench.create(shape).await?;
    let id = container.instance();
    container.start().await?;
    container.reached(Phase::Listening).await?;
    sleep(REST).await;
    for _ in 0..2 {
        container.pause().await?;
        sleep(SETTLES).await;
        container.unpause().await?;
        sleep(SETTLES).await;
    }
    let after = u64::try_from(run).context("few")? * 25;
    sleep(Duration::from_millis(50 + after)).await;
    let (mark, floor) = (bench.watcher.mark(), bench.floor(&container).await?);
    container.control("ready").await?;
    let ready = ready_at(&container).await?;
    let heard = bench.heard(mark, id, "client_ready").await?;
    figures.lateness.push(heard - ready);
    figures.floor.push(floor.await?? - ready);
    figures.found_by(bench.cause(id).await?);
    sleep(REST).await;
    figures.count(&container.counts().await?);
    container.remove().await
}
