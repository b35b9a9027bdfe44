//! What does not grow with the table: the daemon's memory, its reaction, its restart.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::burst::save_in_one;
use crate::figures::percentile;
use crate::options::Part;
use crate::reaction::sample;
use crate::report::{Goal, Report, line};
use crate::rows::Rows;
use crate::side::Side;
use crate::usage;
use crate::world::World;

/// Between two readings of the memory in a burst; the highest that was resident is kept by the kernel itself.
const READING: Duration = Duration::from_millis(100);

/// The daemon beside a table of one size.
struct Sized {
    side: Side,
    rows: Rows,
    restart: Duration,
    reactions: Vec<f64>,
}

impl Sized {
    async fn open(world: &World, count: usize) -> Result<Self> {
        let mut side = Side::daemon(world).await?;
        let rows = Rows::ready(count);
        side.place.seed(world, &rows).await?;
        side.place.client.batch_execute("vacuum analyze").await?;
        let restart = side.restart().await?;
        Ok(Self {
            side,
            rows,
            restart,
            reactions: Vec::new(),
        })
    }

    /// The most memory while a change of all rows is worked off: resident and proportional.
    async fn burst(&self, world: &World) -> Result<(f64, f64)> {
        let pid = self.side.pid();
        usage::forget_peak(pid)?;
        let before = world.fleet.total();
        save_in_one(&self.side, &self.rows).await?;
        let begin = Instant::now();
        let mut most = 0.0_f64;
        while begin.elapsed() < world.sizes.watched {
            most = most.max(usage::memory(pid)?.proportional);
            if world.fleet.total() - before >= self.rows.count as u64 {
                break;
            }
            tokio::time::sleep(READING).await;
        }
        Ok((usage::memory(pid)?.peak, most))
    }
}

/// What is the same for any size is compared with the smallest.
pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let mut all = Vec::new();
    for count in &world.sizes.tables {
        eprintln!("  {count} rows");
        all.push(Sized::open(world, *count).await?);
    }
    for sized in &all {
        sample(world, &sized.side, world.sizes.samples).await?;
    }
    for _ in 0..world.sizes.rounds {
        for sized in &mut all {
            let times = sample(world, &sized.side, world.sizes.samples).await?;
            sized
                .reactions
                .push(percentile(&times, 50).context("no times")?);
        }
    }
    let mut smallest: Option<(Vec<f64>, f64)> = None;
    for sized in all {
        let memory = usage::memory(sized.side.pid())?;
        let resident = memory.resident;
        let (reactions, base) = smallest.unwrap_or_default();
        let named = |what: &str, unit| {
            line(
                Part::Memory,
                format!("{} rows: {what}", sized.rows.count),
                unit,
            )
        };
        let compared: Vec<f64> = (base > 0.0).then_some(base).into_iter().collect();
        report.add(
            named("idle, resident", "MB")
                .goal(Goal::AtMost(25.0))
                .base(&compared)
                .measured(&[resident]),
        );
        report.add(named("idle, proportional", "MB").measured(&[memory.proportional]));
        report.add(
            named("reaction, p50", "ms")
                .goal(Goal::RatioAtMost(1.2))
                .base(&reactions)
                .measured(&sized.reactions),
        );
        report.add(
            named("restart to serving", "ms")
                .goal(Goal::AtMost(1_000.0))
                .measured(&[sized.restart.as_secs_f64() * 1_000.0]),
        );
        let (peak, most) = sized.burst(world).await?;
        report.add(named("all change, highest resident", "MB").measured(&[peak]));
        report.add(named("all change, highest proportional", "MB").measured(&[most]));
        smallest = Some(if base > 0.0 {
            (reactions, base)
        } else {
            (sized.reactions, resident)
        });
        sized.side.close(world).await?;
    }
    Ok(())
}
