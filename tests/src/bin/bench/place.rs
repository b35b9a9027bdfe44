//! A database with the manager's table in it, and the sessions by which this program works there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::rows::{self, Rows};
use crate::world::World;

/// Between two looks whether something is done by now: nothing is measured by it.
const GLANCE: Duration = Duration::from_millis(20);

/// A database of its own on the shared server.
pub(crate) struct Place {
    pub(crate) database: TestDatabase,
    /// As the manager's: synchronous commits.
    pub(crate) client: Client,
    /// Its commits are asynchronous.
    pub(crate) writer: Client,
    /// Fires no triggers.
    seeder: Client,
    pub(crate) table: ManagerTable,
    /// What was recorded of a waiting and of a ready row, to be copied; none where nothing records.
    pub(crate) templates: Option<(Uuid, Uuid)>,
}

/// A change of one row: the row, and the transaction that wrote its key.
pub(crate) struct Written {
    pub(crate) id: Uuid,
    pub(crate) transaction: String,
}

impl Place {
    pub(crate) async fn open(world: &World) -> Result<Self> {
        let database = TestDatabase::create(&world.cluster.url("postgres")).await?;
        let client = database.client().await?;
        let table = ManagerTable::message_instances();
        table.create(&client).await?;
        if world.profile {
            client
                .batch_execute("create extension pg_stat_statements")
                .await?;
        }
        let writer = database.client().await?;
        writer.batch_execute("set synchronous_commit = off").await?;
        let seeder = database.client().await?;
        seeder
            .batch_execute("set session_replication_role = replica")
            .await?;
        Ok(Self {
            database,
            client,
            writer,
            seeder,
            table,
            templates: None,
        })
    }

    /// Server processes of this program's own sessions here, which are no part of what either side costs.
    pub(crate) async fn own_processes(&self) -> Result<Vec<u32>> {
        let mut own = Vec::new();
        for client in [&self.client, &self.writer, &self.seeder] {
            let row = client.query_one("select pg_backend_pid()", &[]).await?;
            own.push(u32::try_from(row.try_get::<_, i32>(0)?)?);
        }
        Ok(own)
    }

    /// Puts rows where nobody is told of them, recorded as if they had been looked at.
    pub(crate) async fn seed(&self, world: &World, rows: &Rows) -> Result<()> {
        let table = self.table.name();
        rows::seed(&self.seeder, table, rows, &world.next_ports(rows.count)).await?;
        if let Some((waiting, ready)) = self.templates {
            let like = match rows.state {
                rows::State::Waiting => waiting,
                rows::State::Ready => ready,
            };
            rows::copy_record(&self.seeder, table, &rows.tag, like).await?;
        }
        Ok(())
    }

    /// The same in another table than the watched one.
    pub(crate) async fn seed_table(&self, world: &World, table: &str, rows: &Rows) -> Result<()> {
        rows::seed(&self.seeder, table, rows, &world.next_ports(rows.count)).await
    }

    /// Ids with the numbers of their stubs, in the order in which they were put.
    pub(crate) async fn ids(&self, rows: &Rows) -> Result<Vec<(Uuid, u16)>> {
        let statement = format!(
            "select id, port_api from {} where company_id = $1 order by ctid",
            self.table.name()
        );
        let found = self.client.query(&statement, &[&rows.tag]).await?;
        found
            .iter()
            .map(|row| Ok((row.try_get(0)?, u16::try_from(row.try_get::<_, i32>(1)?)?)))
            .collect()
    }

    /// Saves a new key of one row.
    pub(crate) async fn save_key(&self, id: Uuid) -> Result<Written> {
        let statement = format!(
            "update {} set api_key = $2, updated_at = localtimestamp where id = $1
             returning pg_current_xact_id()::text",
            self.table.name()
        );
        let row = self
            .writer
            .query_one(&statement, &[&id, &Uuid::new_v4().to_string()])
            .await?;
        Ok(Written {
            id,
            transaction: row.try_get(0)?,
        })
    }

    /// Milliseconds from each commit of a key to the last commit of its row, which must have made it ready.
    pub(crate) async fn reactions(&self, written: &[Written]) -> Result<Vec<f64>> {
        let ids: Vec<Uuid> = written.iter().map(|one| one.id).collect();
        let transactions: Vec<&str> = written.iter().map(|one| one.transaction.as_str()).collect();
        let statement = format!(
            "select t.auth_status = 'client_ready', (1000 * extract(epoch from
                 pg_xact_commit_timestamp(t.xmin) - pg_xact_commit_timestamp(w.transaction::xid)))::float8
             from unnest($1::uuid[], $2::text[]) as w (id, transaction)
             join {} as t on t.id = w.id",
            self.table.name()
        );
        let found = self
            .client
            .query(&statement, &[&ids, &transactions])
            .await?;
        let times = found.iter().map(|row| {
            if row.try_get::<_, Option<bool>>(0)? == Some(true) {
                Ok(row.try_get(1)?)
            } else {
                bail!("a row is not ready")
            }
        });
        times.collect()
    }

    /// Waits until a question is answered with true, for at most `limit`.
    pub(crate) async fn until(&self, what: &str, question: &str, limit: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            let answer = self.client.query_one(question, &[]).await?;
            if answer.try_get::<_, Option<bool>>(0)? == Some(true) {
                return Ok(());
            }
            if begin.elapsed() >= limit {
                bail!("waited {limit:?} in vain for {what}");
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until all of these are ready. The database is asked rarely before so many were asked for, as counted at the
    /// stubs: whoever works must not be disturbed.
    pub(crate) async fn until_ready(&self, world: &World, rows: &Rows, before: u64) -> Result<()> {
        const SELDOM: u32 = 100;
        let question = format!(
            "select count(*) filter (where auth_status is distinct from 'client_ready') = 0
             from {} where company_id = '{}'",
            self.table.name(),
            rows.tag
        );
        let begin = Instant::now();
        let mut glances = 0_u32;
        loop {
            let asked = world.fleet.total() - before >= rows.count as u64;
            glances += 1;
            if asked || glances.is_multiple_of(SELDOM) {
                let answer = self.client.query_one(&question, &[]).await?;
                if answer.try_get(0)? {
                    return Ok(());
                }
            }
            if begin.elapsed() >= world.sizes.limit {
                bail!(
                    "{} rows were not ready in {:?}",
                    rows.count,
                    world.sizes.limit
                );
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// One figure.
    pub(crate) async fn number(&self, question: &str) -> Result<f64> {
        let row = self.client.query_one(question, &[]).await?;
        row.try_get::<_, Option<f64>>(0)?
            .with_context(|| format!("no answer to {question}"))
    }

    /// Shows which statements took the time, if that was asked for, and removes the database.
    pub(crate) async fn close(self, world: &World) -> Result<()> {
        if world.profile {
            self.show_statements().await?;
        }
        drop((self.client, self.writer, self.seeder));
        self.database.close().await
    }

    /// What it took to begin is no part of what is shown in the end.
    pub(crate) async fn forget_statements(&self, world: &World) -> Result<()> {
        if world.profile {
            let forget = "select pg_stat_statements_reset(0, oid, 0) from pg_database
                          where datname = current_database()";
            self.client.batch_execute(forget).await?;
        }
        Ok(())
    }

    async fn show_statements(&self) -> Result<()> {
        let statement = "
            select s.calls, s.total_exec_time, s.total_plan_time, s.toplevel,
                left(regexp_replace(s.query, '\\s+', ' ', 'g'), 100)
            from pg_stat_statements as s
            join pg_database as d on d.oid = s.dbid
            where d.datname = current_database()
            order by s.total_exec_time desc limit 25";
        eprintln!("  calls, ms in all, of one, nested or not; the 25 dearest statements");
        for row in self.client.query(statement, &[]).await? {
            let (calls, total): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
            let level = if row.try_get(3)? { "top" } else { "nested" };
            let text: String = row.try_get(4)?;
            let one = total / calls.max(1) as f64;
            eprintln!("  {calls:>8} {total:>10.1} {one:>9.3} {level:<6} {text}");
        }
        Ok(())
    }
}
