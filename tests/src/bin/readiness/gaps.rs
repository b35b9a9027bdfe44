//! Containers that become ready a while after the commit of their account.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::docker::{Engine, Spec};

use crate::bench::{Bench, ready_at};
use crate::figures::{Figures, head};

const GAPS: [u64; 4] = [1, 20, 200, 1000];
/// A short boot: what comes before the account does not matter to the gap.
pub(crate) const SHORT: Duration = Duration::from_millis(250);

pub(crate) async fn measure(server: &str, engine: &Engine, runs: usize) -> Result<()> {
    let (followed, alone) = (
        Bench::open(server, engine, &[]).await?,
        Bench::open(server, engine, &[("AUTH_RECONCILER_FOLLOWERS", "0")]).await?,
    );
    println!("\nready -> client_ready committed, {runs} containers one by one");
    head();
    for gap in GAPS {
        let short = move |spec: Spec| {
            short(spec).with(|settings| {
                settings.ready_after_account = Duration::from_millis(gap);
            })
        };
        let (mut with, mut without) = (Figures::default(), Figures::default());
        for _ in 0..runs {
            run(&followed, &short, &mut with).await?;
            run(&alone, &short, &mut without).await?;
        }
        with.print(&format!("gap of {gap} ms, output followed"));
        without.print(&format!("gap of {gap} ms, backoff alone"));
    }
    followed.close().await?;
    alone.close().await
}

pub(crate) fn short(spec: Spec) -> Spec {
    spec.with(|settings| {
        settings.key_after = SHORT;
        settings.listens_after = SHORT;
        settings.asks_after = SHORT;
    })
}

async fn run(bench: &Bench, shape: impl Fn(Spec) -> Spec, figures: &mut Figures) -> Result<()> {
    let container = bench.create(shape).await?;
    let mark = bench.watcher.mark();
    container.start().await?;
    let id = container.instance();
    let heard = bench.heard(mark, id, "client_ready").await?;
    figures.lateness.push(heard - ready_at(&container).await?);
    figures.count(&container.counts().await?);
    figures.found_by(bench.cause(id).await?);
    container.remove().await
}
