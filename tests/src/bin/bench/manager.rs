//! What is left to the manager of its speed beside us, and beside what others would put there.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::manager::ManagerTable;
use tokio_postgres::Client;

use crate::options::Part;
use crate::pgbench::{Load, Write};
use crate::place::Place;
use crate::report::{Goal, Line, Report, line};
use crate::rows::Rows;
use crate::side::Side;
use crate::world::World;

/// A trigger that only notes the row, the least that loses nothing; and one that rings as well, what everybody does.
const BAREST: &str = "
    create table public.logged (id bigint generated always as identity primary key, instance_id uuid not null);
    create function public.note() returns trigger language plpgsql as $body$
    begin
        insert into public.logged (instance_id) values (new.id);
        return null;
    end $body$;
    create function public.note_and_ring() returns trigger language plpgsql as $body$
    begin
        insert into public.logged (instance_id) values (new.id);
        perform pg_notify('logged', new.id::text);
        return null;
    end $body$;
    create trigger note after update of api_key on public.noted
        for each row execute function public.note();
    create trigger note_and_ring after update of api_key on public.rung
        for each row execute function public.note_and_ring()";

/// Whose triggers are on the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Triggers {
    Nobodys,
    Noting,
    NotingAndRinging,
    Ours,
}

impl Triggers {
    pub(crate) const ALL: [Self; 4] = [
        Self::Nobodys,
        Self::Noting,
        Self::NotingAndRinging,
        Self::Ours,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nobodys => "no trigger",
            Self::Noting => "barest inserting trigger",
            Self::NotingAndRinging => "inserting and notifying trigger",
            Self::Ours => "ours, no daemon",
        }
    }
}

/// Tables alike but for their triggers, and nobody who works on what these note.
pub(crate) struct Tables {
    plain: Place,
    watched: Place,
    /// Hears what rings, as somebody would.
    _ear: Client,
}

impl Tables {
    pub(crate) async fn open(world: &World, rows: &Rows) -> Result<Self> {
        let plain = Place::open(world).await?;
        for name in ["public.noted", "public.rung"] {
            let table = ManagerTable::message_instances_named(name);
            table.create(&plain.client).await?;
            plain.seed_table(world, name, rows).await?;
        }
        plain.client.batch_execute(BAREST).await?;
        let watched = Place::open(world).await?;
        let migrated = run_command(watched.database.url(), &["migrate"], &[]).await?;
        ensure!(migrated.code == Some(0), "migrate: {}", migrated.stderr);
        for place in [&plain, &watched] {
            place.seed(world, rows).await?;
            place.client.batch_execute("vacuum analyze").await?;
        }
        let ear = connect(plain.database.url()).await?;
        ear.batch_execute("listen logged").await?;
        Ok(Self {
            plain,
            watched,
            _ear: ear,
        })
    }

    /// Where a table is, and its name.
    pub(crate) fn of(&self, triggers: Triggers) -> (&Place, &str) {
        match triggers {
            Triggers::Nobodys => (&self.plain, self.plain.table.name()),
            Triggers::Noting => (&self.plain, "public.noted"),
            Triggers::NotingAndRinging => (&self.plain, "public.rung"),
            Triggers::Ours => (&self.watched, self.watched.table.name()),
        }
    }

    /// Empties what the triggers have noted: each measurement finds the same.
    pub(crate) async fn forget(&self) -> Result<()> {
        let (plain, watched) = (&self.plain.client, &self.watched.client);
        plain.batch_execute("truncate public.logged").await?;
        watched
            .batch_execute("truncate auth_reconciler.change")
            .await?;
        Ok(())
    }

    pub(crate) async fn close(self, world: &World) -> Result<()> {
        self.plain.close(world).await?;
        self.watched.close(world).await
    }
}

/// Beside whom a rate was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Triggers(Triggers),
    DaemonAtWork,
}

impl Beside {
    fn name(self) -> &'static str {
        match self {
            Self::Triggers(triggers) => triggers.name(),
            Self::DaemonAtWork => "ours, daemon at work",
        }
    }

    /// What is compared, with nobody's first. The triggers of others have nothing to do with columns that they do not name.
    fn all(write: Write) -> &'static [Self] {
        match write {
            Write::Others => &[
                Self::Triggers(Triggers::Nobodys),
                Self::Triggers(Triggers::Ours),
                Self::DaemonAtWork,
            ],
            Write::ApiKey => &[
                Self::Triggers(Triggers::Nobodys),
                Self::Triggers(Triggers::Noting),
                Self::Triggers(Triggers::NotingAndRinging),
                Self::Triggers(Triggers::Ours),
                Self::DaemonAtWork,
            ],
        }
    }
}

pub(crate) async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let rows = Rows::ready(world.sizes.pgbench_rows);
    let tables = Tables::open(world, &rows).await?;
    let at_work = Side::daemon(world).await?;
    at_work.place.seed(world, &rows).await?;
    at_work.place.client.batch_execute("vacuum analyze").await?;
    for write in [Write::Others, Write::ApiKey] {
        for clients in &world.sizes.clients {
            eprintln!("  {}, {clients} clients", write.name());
            let mut rounds = Vec::new();
            for round in 0..world.sizes.rounds {
                rounds.push(one_round(world, &tables, &at_work, (write, *clients), round).await?);
            }
            for line in lines(write, *clients, &rounds) {
                report.add(line);
            }
        }
    }
    at_work.close(world).await?;
    tables.close(world).await
}

/// One rate of each, in the order of [`Beside::all`].
async fn one_round(
    world: &World,
    tables: &Tables,
    at_work: &Side,
    (write, clients): (Write, usize),
    round: usize,
) -> Result<Vec<f64>> {
    let all = Beside::all(write);
    let mut rates = vec![0.0; all.len()];
    for turn in 0..all.len() {
        let column = (turn + round) % all.len();
        let (place, table) = match all[column] {
            Beside::Triggers(triggers) => tables.of(triggers),
            Beside::DaemonAtWork => (&at_work.place, at_work.place.table.name()),
        };
        let load = Load {
            url: place.database.url(),
            table,
            write,
            rows: world.sizes.pgbench_rows,
            clients,
            length: world.sizes.length,
        };
        rates[column] = load.rate().await?;
        tables.forget().await?;
        // What the daemon has still to do is not to be paid by the next one.
        let done = "select not exists (select from auth_reconciler.change)";
        let limit = world.sizes.limit;
        at_work
            .place
            .until("the daemon to be done", done, limit)
            .await?;
    }
    Ok(rates)
}

fn lines(write: Write, clients: usize, rounds: &[Vec<f64>]) -> Vec<Line> {
    let of = |column: usize| -> Vec<f64> { rounds.iter().map(|rates| rates[column]).collect() };
    let all = Beside::all(write);
    let mut lines = Vec::new();
    for (column, beside) in all.iter().enumerate().skip(1) {
        let name = format!("{}, {clients} clients: {}", write.name(), beside.name());
        let compared = line(Part::Manager, name, "writes/s")
            .base(&of(0))
            .measured(&of(column));
        lines.push(match (beside, write, clients) {
            (Beside::Triggers(Triggers::Noting | Triggers::NotingAndRinging), _, _) => compared,
            (_, Write::Others, _) => compared.goal(Goal::RatioAtLeast(0.97)),
            (_, Write::ApiKey, 1) => compared.goal(Goal::RatioAtLeast(0.75)),
            (Beside::DaemonAtWork, Write::ApiKey, _) => compared.goal(Goal::RatioAtLeast(0.45)),
            (Beside::Triggers(_), Write::ApiKey, _) => compared,
        });
    }
    let place = |triggers: Triggers| {
        all.iter()
            .position(|one| *one == Beside::Triggers(triggers))
    };
    if let (Some(barest), Some(ours)) = (place(Triggers::Noting), place(Triggers::Ours)) {
        let behind = |rates: &Vec<f64>| ((rates[barest] - rates[ours]) / rates[0] * 100.0).max(0.0);
        let points: Vec<f64> = rounds.iter().map(behind).collect();
        let name = format!(
            "{}, {clients} clients: ours behind the barest one",
            write.name()
        );
        let compared = line(Part::Manager, name, "points").measured(&points);
        lines.push(compared.goal(Goal::AtMost(10.0)));
    }
    lines
}
