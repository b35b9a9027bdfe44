//! Whether what is kept of what happened slows down what happens.

use anyhow::{Context, Result};

use crate::figures::percentile;
use crate::options::Part;
use crate::reaction::sample;
use crate::report::{Goal, Report, line};
use crate::rows::fill_history;
use crate::side::{Side, order};
use crate::world::World;

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let sides = [Side::daemon(world).await?, Side::daemon(world).await?];
    let [empty, full] = &sides;
    let (journal, transitions) = (world.sizes.journal, world.sizes.transitions);
    eprintln!("  {journal} journal entries, {transitions} transitions");
    fill_history(&full.place.client, "journal", journal).await?;
    fill_history(&full.place.client, "transition", transitions).await?;
    for side in [empty, full] {
        sample(world, side, world.sizes.samples).await?;
    }
    let what = format!("p50 with {journal} + {transitions} entries kept");
    let mut found = line(Part::History, what, "ms").goal(Goal::RatioAtMost(1.2));
    for round in 0..world.sizes.rounds {
        let mut times = [Vec::new(), Vec::new()];
        for block in 0..world.sizes.blocks {
            for which in order(round + block) {
                times[which].extend(sample(world, &sides[which], world.sizes.samples).await?);
            }
        }
        let [empty, full] = &times;
        let of = |times: &[f64]| percentile(times, 50).context("no times");
        found.push(of(empty)?, of(full)?);
    }
    report.add(found);
    for side in sides {
        side.close(world).await?;
    }
    Ok(())
}
