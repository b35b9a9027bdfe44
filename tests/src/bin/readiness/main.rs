//! How late a real container's readiness shows in its row, what made the look that found it, and what the looks cost.
//! By hand, in about half an hour (each part alone is shorter); needs a server and an engine:
//!
//! ```text
//! cargo build --release --bins
//! DATABASE_URL=postgres://postgres@127.0.0.1/postgres target/release/readiness [runs=20] [gaps] [starts] [shapes] [lasting]
//! ```
//!
//! Makes a database of its own on that server (so it needs the right to) and drops it at the end. Containers are started
//! as the manager starts them, each with its row pending and without a key; they boot, write their key, listen, ask
//! Telegram, write their account and become ready. Lateness is the time from the moment at which one becomes ready (its
//! own clock, which is this machine's) to the hearing of the commit of `client_ready` by a session that listens.
//!
//! * `gaps`: one container after the other, ready a *gap* after the commit of its account, with a daemon that follows
//!   output and with one that does not (`AUTH_RECONCILER_FOLLOWERS=0`), in turn: compare these.
//! * `starts`: a container that logs as the real one does, started normally, again, a third time, paused, and with
//!   others at once. Beside it the *floor*: somebody who hears the same line of output through the same engine, asks
//!   the instance once and commits one row, at the same time and on the same machine. Judge by the distance to it where
//!   the machine is not idle.
//! * `shapes`: start, restart and third start of containers that log requests otherwise.
//! * `lasting`: how often containers are asked whose state lasts, in the second and third minute of it.

mod bench;
mod figures;
mod gaps;
mod lasting;
mod shapes;
mod starts;

use anyhow::{Context, Result, bail};
use auth_reconciler_tests::docker::Engine;

use crate::bench::Bench;

const RUNS: usize = 20;
/// For each of many kinds.
const FEWER: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let engine = Engine::shared().await?;
    let mut runs = RUNS;
    let mut parts: Vec<String> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("runs", number)) => runs = number.parse().context("runs is a number")?,
            _ => parts.push(argument),
        }
    }
    if parts.is_empty() {
        parts.extend(["gaps", "starts", "shapes", "lasting"].map(str::to_owned));
    }
    for part in parts {
        match part.as_str() {
            "gaps" => gaps::measure(&server, &engine, runs).await?,
            "starts" => {
                let bench = Bench::open(&server, &engine, &[]).await?;
                starts::measure(&bench, runs).await?;
                bench.close().await?;
            }
            "shapes" => {
                let bench = Bench::open(&server, &engine, &[]).await?;
                starts::shapes(&bench, runs.div_ceil(FEWER)).await?;
                bench.close().await?;
            }
            "lasting" => {
                let bench = Bench::open(&server, &engine, &[]).await?;
                lasting::measure(&bench).await?;
                bench.close().await?;
            }
            other => bail!("`{other}` is no part: gaps, starts, shapes, lasting"),
        }
    }
    Ok(())
}
