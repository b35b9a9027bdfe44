//! Many changes at once: rows a second until all are true.

use anyhow::Result;
use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::options::Part;
use crate::report::{Goal, Report, line};
use crate::rows::Rows;
use crate::side::{Side, order};
use crate::world::World;

const SESSIONS: usize = 16;

/// What one burst came to.
struct Burst {
    /// Rows a second from the first commit of a key to the last one of a status.
    rate: f64,
    /// Processor seconds per 1,000 looks.
    worker: f64,
    server: f64,
}

#[derive(Clone, Copy)]
enum Shape {
    OneStatement,
    ManyCommits,
}

/// The moment of the last commit of any of these rows, in seconds.
async fn last_commit(side: &Side, rows: &Rows) -> Result<f64> {
    side.place
        .number(&format!(
            "select max(extract(epoch from pg_xact_commit_timestamp(xmin)))::float8 from {} where company_id = '{}'",
            side.place.table.name(),
            rows.tag
        ))
        .await
}

/// Saves the keys of all in one statement; the moment of its commit.
pub(crate) async fn save_in_one(side: &Side, rows: &Rows) -> Result<f64> {
    let place = &side.place;
    let statement = format!(
        "begin;
         select set_config('bench.transaction', pg_current_xact_id()::text, false);
         update {} set api_key = md5(random()::text), updated_at = localtimestamp where company_id = '{}';
         commit",
        place.table.name(),
        rows.tag
    );
    place.client.batch_execute(&statement).await?;
    place
        .number(
            "select extract(epoch from
                 pg_xact_commit_timestamp(current_setting('bench.transaction')::xid))::float8",
        )
        .await
}

/// Saves the keys one by one, from many sessions at once; the moment before the first.
async fn save_in_many(side: &Side, ids: &[Uuid]) -> Result<f64> {
    let place = &side.place;
    let statement = format!(
        "update {} set api_key = $2, updated_at = localtimestamp where id = $1",
        place.table.name()
    );
    let shares = ids.chunks(ids.len().div_ceil(SESSIONS));
    let sessions = try_join_all(shares.map(async |share| {
        let client = place.database.client().await?;
        let statement = client.prepare(&statement).await?;
        anyhow::Ok((client, statement, share))
    }))
    .await?;
    let begin = place
        .number("select extract(epoch from clock_timestamp())::float8")
        .await?;
    try_join_all(sessions.iter().map(async |(client, statement, share)| {
        for id in *share {
            let key = Uuid::new_v4().to_string();
            client.execute(statement, &[id, &key]).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(begin)
}

async fn burst(world: &World, side: &Side, shape: Shape) -> Result<Burst> {
    let rows = Rows::waiting(world.sizes.burst);
    side.place.seed(world, &rows).await?;
    let ids: Vec<Uuid> = side
        .place
        .ids(&rows)
        .await?
        .into_iter()
        .map(|row| row.0)
        .collect();
    let (before, asked) = (side.used(world).await?, world.fleet.total());
    let begin = match shape {
        Shape::OneStatement => save_in_one(side, &rows).await?,
        Shape::ManyCommits => save_in_many(side, &ids).await?,
    };
    side.place.until_ready(world, &rows, asked).await?;
    let after = side.used(world).await?;
    let looks = (world.fleet.total() - asked).max(1) as f64 / 1_000.0;
    Ok(Burst {
        rate: rows.count as f64 / (last_commit(side, &rows).await? - begin),
        worker: (after.worker - before.worker) / looks,
        server: (after.server - before.server) / looks,
    })
}

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let sides = Side::both(world).await?;
    let rows = world.sizes.burst;
    let goal = Goal::RatioAtLeast(3.0);
    let statement = format!("{rows} rows in one statement");
    let commits = format!("{rows} commits of {SESSIONS} sessions");
    let mut statement = line(Part::Burst, statement, "rows/s").goal(goal);
    let mut commits = line(Part::Burst, commits, "rows/s").goal(goal);
    let mut worker = line(
        Part::Burst,
        "processor of floor or daemon, 1,000 looks",
        "s",
    );
    let mut server = line(Part::Burst, "processor of the server, 1,000 looks", "s");
    for round in 0..world.sizes.rounds {
        eprintln!("  round {} of {}", round + 1, world.sizes.rounds);
        let mut found = Vec::new();
        for which in order(round) {
            let one = burst(world, &sides[which], Shape::OneStatement).await?;
            let many = burst(world, &sides[which], Shape::ManyCommits).await?;
            found.push((which, one, many));
        }
        found.sort_by_key(|(which, ..)| *which);
        if let [(_, floor, floor_many), (_, ours, ours_many)] = found.as_slice() {
            statement.push(floor.rate, ours.rate);
            commits.push(floor_many.rate, ours_many.rate);
            // Of many commits the writers' sessions would count as well.
            worker.push(floor.worker, ours.worker);
            server.push(floor.server, ours.server);
        }
    }
    for line in [statement, commits, worker, server] {
        report.add(line);
    }
    for side in sides {
        side.close(world).await?;
    }
    Ok(())
}
