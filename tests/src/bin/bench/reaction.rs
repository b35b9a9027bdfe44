//! One change after the other, everybody idle before each.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::figures::percentile;
use crate::options::Part;
use crate::place::Written;
use crate::report::{Goal, Report, line};
use crate::rows::Rows;
use crate::side::{Side, order};
use crate::world::World;

/// After each answer: lets the record be made and everybody fall asleep again.
const PAUSE: Duration = Duration::from_millis(10);

const WARM_UP: usize = 10;

/// The reactions of one side to some changes, one by one, in ms.
pub(crate) async fn sample(world: &World, side: &Side, count: usize) -> Result<Vec<f64>> {
    let rows = Rows::waiting(count);
    side.place.seed(world, &rows).await?;
    sample_of(world, side, &rows).await
}

async fn sample_of(world: &World, side: &Side, rows: &Rows) -> Result<Vec<f64>> {
    let place = &side.place;
    let ids = place.ids(rows).await?;
    tokio::time::sleep(PAUSE).await;
    let mut written: Vec<Written> = Vec::new();
    for (id, port) in ids {
        let stub = world.fleet.stubs.iter().find(|stub| stub.port() == port);
        let asked = stub.context("a stub is gone")?.next_request();
        written.push(place.save_key(id).await?);
        asked.await?;
        tokio::time::sleep(PAUSE).await;
        // A record that takes long must not run beside the next one: what it holds, the next one may leave out.
        let ready = format!(
            "select auth_status = 'client_ready' from {} where id = '{id}'",
            place.table.name()
        );
        place
            .until("a change to be answered", &ready, world.sizes.limit)
            .await?;
    }
    place.reactions(&written).await
}

/// Processor seconds of worker and server, and the looks that they were spent on.
#[derive(Default)]
struct Spent {
    worker: f64,
    server: f64,
    looks: u64,
}

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let sides = Side::both(world).await?;
    for side in &sides {
        sample(world, side, WARM_UP.min(world.sizes.samples)).await?;
    }
    let mut p50 = line(Part::Reaction, "idle, p50", "ms").goal(Goal::RatioAtMost(1.0));
    let mut p99 = line(Part::Reaction, "idle, p99", "ms").goal(Goal::RatioAtMost(1.2));
    let mut own = line(
        Part::Reaction,
        "processor of floor or daemon, 1,000 looks",
        "s",
    );
    let mut server = line(Part::Reaction, "processor of the server, 1,000 looks", "s");
    for round in 0..world.sizes.rounds {
        let mut times = [Vec::new(), Vec::new()];
        let mut spent = [Spent::default(), Spent::default()];
        for block in 0..world.sizes.blocks {
            for which in order(round + block) {
                let side = &sides[which];
                let rows = Rows::waiting(world.sizes.samples);
                side.place.seed(world, &rows).await?;
                let (begin, asked) = (side.used(world).await?, world.fleet.total());
                times[which].extend(sample_of(world, side, &rows).await?);
                let end = side.used(world).await?;
                spent[which].worker += end.worker - begin.worker;
                spent[which].server += end.server - begin.server;
                spent[which].looks += world.fleet.total() - asked;
            }
        }
        let [floor, ours] = &times;
        for (line, percent) in [(&mut p50, 50), (&mut p99, 99)] {
            let of = |times: &[f64]| percentile(times, percent).context("no times");
            line.push(of(floor)?, of(ours)?);
        }
        let [floor, ours] = spent;
        let per_thousand = |seconds: f64, looks: u64| seconds * 1_000.0 / looks.max(1) as f64;
        own.push(
            per_thousand(floor.worker, floor.looks),
            per_thousand(ours.worker, ours.looks),
        );
        server.push(
            per_thousand(floor.server, floor.looks),
            per_thousand(ours.server, ours.looks),
        );
    }
    for line in [p50, p99, own, server] {
        report.add(line);
    }
    for side in sides {
        side.close(world).await?;
    }
    Ok(())
}
