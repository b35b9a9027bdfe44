//! Single fresh changes while a burst is worked off.

use anyhow::{Context, Result};

use crate::burst::save_in_one;
use crate::figures::percentile;
use crate::options::Part;
use crate::reaction::sample;
use crate::report::{Goal, Report, line};
use crate::rows::Rows;
use crate::side::{Side, order};
use crate::world::World;

/// The reactions to single changes that were committed while the burst was under way, in ms.
async fn beside_burst(world: &World, side: &Side) -> Result<Vec<f64>> {
    let (many, few) = (
        Rows::waiting(world.sizes.burst),
        Rows::waiting(world.sizes.singles),
    );
    side.place.seed(world, &many).await?;
    side.place.seed(world, &few).await?;
    let singles = side.place.ids(&few).await?;
    let before = world.fleet.total();
    save_in_one(side, &many).await?;
    let mut written = Vec::new();
    for (id, _) in singles {
        let asked = world.fleet.total() - before;
        if asked >= (many.count + written.len()) as u64 && !written.is_empty() {
            break;
        }
        written.push(side.place.save_key(id).await?);
        tokio::time::sleep(world.sizes.gap).await;
    }
    side.place.until_ready(world, &many, before).await?;
    let ids: Vec<String> = written.iter().map(|one| format!("'{}'", one.id)).collect();
    let ready = format!(
        "select count(*) filter (where auth_status is distinct from 'client_ready') = 0
         from {} where id in ({})",
        side.place.table.name(),
        ids.join(", ")
    );
    let limit = world.sizes.limit;
    side.place
        .until("the single changes", &ready, limit)
        .await?;
    side.place.reactions(&written).await
}

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let sides = Side::both(world).await?;
    let names = [
        "floor: fresh change beside a burst, p50",
        "fresh change beside a burst, p50",
    ];
    let mut lines = names.map(|name| line(Part::Beside, name, "ms, base idle"));
    for round in 0..world.sizes.rounds {
        eprintln!("  round {} of {}", round + 1, world.sizes.rounds);
        for which in order(round) {
            let side = &sides[which];
            let idle = sample(world, side, world.sizes.samples).await?;
            let beside = beside_burst(world, side).await?;
            let of = |times: &[f64]| percentile(times, 50).context("no times");
            lines[which].push(of(&idle)?, of(&beside)?);
        }
    }
    let [floor, ours] = lines;
    report.add(floor);
    report.add(ours.goal(Goal::RatioAtMost(10.0)));
    for side in sides {
        side.close(world).await?;
    }
    Ok(())
}
