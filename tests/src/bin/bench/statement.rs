//! One statement of the manager's over many rows: how long it takes, and how many transaction ids.

use std::time::Instant;

use anyhow::Result;

use crate::manager::{Tables, Triggers};
use crate::options::Part;
use crate::report::{Goal, Line, Report, line};
use crate::rows::{Rows, id_of};
use crate::world::World;

/// The next transaction id of the server.
const NEXT_ID: &str = "select pg_snapshot_xmax(pg_current_snapshot())::text::float8";

struct Statement {
    milliseconds: f64,
    ids: f64,
}

async fn one(tables: &Tables, triggers: Triggers, rows: usize) -> Result<Statement> {
    let (place, table) = tables.of(triggers);
    let statement = format!(
        "update {table} set api_key = md5(random()::text), updated_at = localtimestamp where id <= {}",
        id_of(&rows.to_string())
    );
    let before = place.number(NEXT_ID).await?;
    let begin = Instant::now();
    place.client.batch_execute(&statement).await?;
    let milliseconds = begin.elapsed().as_secs_f64() * 1_000.0;
    let ids = place.number(NEXT_ID).await? - before;
    // What it leaves behind is not to be met by the next.
    place
        .client
        .batch_execute(&format!("vacuum {table}"))
        .await?;
    tables.forget().await?;
    Ok(Statement { milliseconds, ids })
}

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let most = world.sizes.statements.iter().copied().max().unwrap_or(1);
    let tables = Tables::open(world, &Rows::ready(most)).await?;
    for rows in &world.sizes.statements {
        eprintln!("  {rows} rows");
        let mut found: Vec<Vec<Statement>> = Vec::new();
        for round in 0..=world.sizes.rounds {
            let mut all: Vec<(usize, Statement)> = Vec::new();
            for turn in 0..Triggers::ALL.len() {
                let which = (turn + round) % Triggers::ALL.len();
                all.push((which, one(&tables, Triggers::ALL[which], *rows).await?));
            }
            all.sort_by_key(|(which, _)| *which);
            // The first one makes the room that the others find.
            if round > 0 {
                found.push(all.into_iter().map(|(_, statement)| statement).collect());
            }
        }
        for line in lines(*rows, &found) {
            report.add(line);
        }
    }
    tables.close(world).await
}

fn lines(rows: usize, found: &[Vec<Statement>]) -> Vec<Line> {
    let of = |which: usize, figure: fn(&Statement) -> f64| -> Vec<f64> {
        found
            .iter()
            .filter_map(|all| all.get(which))
            .map(figure)
            .collect()
    };
    let mut lines = Vec::new();
    for (which, triggers) in Triggers::ALL.into_iter().enumerate().skip(1) {
        let ours = triggers == Triggers::Ours;
        let named = |what: &str, unit| {
            line(
                Part::Statement,
                format!("{rows} rows: {}{what}", triggers.name()),
                unit,
            )
        };
        let time = named("", "ms")
            .base(&of(0, |statement| statement.milliseconds))
            .measured(&of(which, |statement| statement.milliseconds));
        let ids = named(", transaction ids", "ids").measured(&of(which, |statement| statement.ids));
        if ours {
            // Met by either: what the table's own indexes and columns cost tells how much the first one asks.
            lines.push(time.goal(Goal::RatioAtMost(2.5)));
            let barest = Triggers::ALL
                .into_iter()
                .position(|one| one == Triggers::Noting);
            let barest = of(barest.unwrap_or(0), |statement| statement.milliseconds);
            let beside = named(", beside the barest one", "ms").base(&barest);
            let measured = of(which, |statement| statement.milliseconds);
            lines.push(beside.measured(&measured).goal(Goal::RatioAtMost(1.15)));
            lines.push(ids.goal(Goal::AtMost(8.0)));
        } else {
            lines.push(time);
        }
    }
    lines
}
