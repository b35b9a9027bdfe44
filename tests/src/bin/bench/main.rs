//! The daemon beside the floor, and beside the manager: what being right costs, as ratios. By hand, in about half an
//! hour (each part alone is shorter); needs PostgreSQL's programs on this machine, and no server:
//!
//! ```text
//! cargo build --release --workspace --bins
//! target/release/bench [PART...] [--rounds N] [--million] [--profile] [--smoke] [--json FILE]
//! ```
//!
//! It starts a server of its own (fsync on) and stub APIs, and measures both sides in turn, round by round, so that
//! whatever else the machine does meets both. A table of ratios is printed at the end: the median of the rounds, and the
//! lowest and highest in brackets. Judge by these; milliseconds are the machine's as much as ours.
//!
//! **Floor**: the least that could do the same work, as a process of its own ([`floor`]): LISTEN, prepared SELECT, GET,
//! prepared UPDATE on 8 connections, told by a trigger that does nothing but notify. It has no log, no fence, no history;
//! it loses what it does not hear. **Daemon**: the release binary as a user runs it, with its defaults.
//!
//! Times are taken from the server's commit timestamps, for both sides alike: nothing listens or polls in between, and
//! what is measured is not disturbed by being measured. The writer of single keys commits asynchronously, so that its
//! own flush, the same for both, does not blur the difference.
//!
//! * `reaction`: commit of `api_key` to commit of `client_ready`, one instance after the other, everybody idle before;
//!   and the processor time per 1,000 of such looks.
//! * `burst`: rows a second until all are true, for one statement over all rows and for as many commits of 16 sessions;
//!   and the processor time per 1,000 looks in it.
//! * `beside`: single fresh changes while such a burst is worked off, against the same side's idle reaction.
//! * `memory`: of the daemon at 1,000 and 100,000 rows (1,000,000 with `--million`), idle and while all rows change in
//!   one statement; its reaction and its restart at these sizes.
//! * `manager`: what is left of the manager's rate (pgbench) beside triggers of several kinds and the daemon.
//! * `statement`: one statement over many rows: its time, and how many transaction ids it takes.
//! * `history`: the reaction with 1,000,000 journal entries and 500,000 transitions, against an empty history.
//! * `cpu`: another name for `reaction` and `burst`.

mod beside;
mod burst;
mod figures;
mod floor;
mod history;
mod machine;
mod manager;
mod memory;
mod options;
mod pgbench;
mod place;
mod reaction;
mod report;
mod rows;
mod side;
mod statement;
mod usage;
mod world;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Options, Part};
use crate::report::Report;
use crate::world::World;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, url, table] = arguments.as_slice()
        && word == floor::WORD
    {
        // One thread: it has nothing to compute, and a second one would only have to be woken.
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(floor::run(url, table));
    }
    let options = Options::parse(arguments)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut ended = signal(SignalKind::terminate())?;
        // However it ends, server and daemons are dropped and so end, too.
        tokio::select! {
            result = run(&options) => result,
            _ = ended.recv() => bail!("ended by SIGTERM"),
            stopped = tokio::signal::ctrl_c() => {
                stopped?;
                bail!("ended by SIGINT")
            }
        }
    })
}

async fn run(options: &Options) -> Result<()> {
    let world = World::open(options).await?;
    let mut report = Report::new(world.machine().await?, options.smoke);
    report.machine.warn();
    for part in &options.parts {
        eprintln!("{}", part.name());
        measure(*part, &world, &mut report)
            .await
            .with_context(|| format!("part {}", part.name()))?;
    }
    report.ensure_complete(&options.parts)?;
    print!("{report}");
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

async fn measure(part: Part, world: &World, report: &mut Report) -> Result<()> {
    match part {
        Part::Reaction => reaction::measure(world, report).await,
        Part::Burst => burst::measure(world, report).await,
        Part::Beside => beside::measure(world, report).await,
        Part::Memory => memory::measure(world, report).await,
        Part::Manager => manager::measure(world, report).await,
        Part::Statement => statement::measure(world, report).await,
        Part::History => history::measure(world, report).await,
    }
}
