//! The change log as the queue: what a read takes from it, what is put off, and what it costs however long the log is.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::database;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::scene::Scene;

mod appenders;
mod found;
mod migration;
mod put_off;
mod rings;
mod size;
mod taken;

/// As the sessions begin in which looks read and record.
pub(crate) const SESSION: &str = "set search_path = pg_catalog, pg_temp; set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";

/// The statement that reads rows of this table.
pub(crate) fn reading(oid: u32) -> String {
    of_table(
        oid,
        "unnest($2::uuid[]) with ordinality as wanted (instance_id, place)",
    )
}

/// The same, with what is taken from the log beside them.
pub(crate) fn reading_with_log(oid: u32) -> String {
    of_table(oid, include_str!("../../../sql/queries/wanted.sql"))
}

/// What is taken from the log of several tables.
const TAKE: &str = include_str!("../../../sql/queries/take.sql");

fn of_table(oid: u32, wanted: &str) -> String {
    include_str!("../../../sql/queries/read.sql")
        .replace("{wanted}", wanted)
        .replace("{relation}", "public.message_instances")
        .replace("{oid}", &oid.to_string())
        .replace("{serves_api}", "'api' = any (w.type_instance::text[])")
}

/// A session that reads as the daemon's do, and the schema without a daemon.
struct Reader {
    scene: Scene,
    session: Client,
    read: Statement,
    take: Statement,
}

/// What a read has taken, and seen.
#[derive(Debug)]
struct Seen {
    asked: Vec<Uuid>,
    taken: Vec<Uuid>,
    more: bool,
    first_unread: Option<i64>,
    last_id: i64,
    snapshot: String,
    unlisted: i32,
}

impl Seen {
    /// What these rows tell; without a column for it there is more where the walk along so many of the oldest has not come to
    /// an end.
    fn of(rows: &[Row], oldest: i64) -> Result<Self> {
        let (mut asked, mut taken, mut walked) = (Vec::new(), Vec::new(), 0);
        let mut told = rows.first();
        for row in rows {
            let place = row.try_get::<_, Option<i64>>("place").unwrap_or_default();
            match row.try_get("instance_id")? {
                Some(id) if place.is_some() => asked.push(id),
                Some(id) => taken.push(id),
                None => told = Some(row),
            }
            walked += row
                .try_get::<_, Option<i64>>("walked")
                .ok()
                .flatten()
                .unwrap_or_default();
        }
        let told = told.context("no row for what was seen")?;
        let first_unread: Option<i64> = told.try_get("first_unread")?;
        let ended = walked < oldest || first_unread.is_none();
        Ok(Self {
            asked,
            taken,
            more: told.try_get("more").unwrap_or(!ended),
            first_unread,
            last_id: told.try_get("last_id")?,
            snapshot: told.try_get("snapshot")?,
            unlisted: told.try_get("unlisted")?,
        })
    }

    /// Whether a transaction was in progress.
    fn knows(&self, transaction: i64) -> Result<bool> {
        let mut parts = self.snapshot.split(':').skip(1);
        let next: i64 = parts.next().context("next")?.parse()?;
        let listed = parts.next().context("listed")?.split(',');
        let newer = next..next + i64::from(self.unlisted);
        Ok(newer.contains(&transaction)
            || listed.into_iter().any(|id| id == transaction.to_string()))
    }
}

impl Reader {
    async fn start() -> Result<Self> {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        scene
            .manager
            .batch_execute("insert into auth_reconciler.leadership values (true, gen_random_uuid(), 1, 1, now(), now())")
            .await?;
        let oid: u32 = scene
            .value("select 'public.message_instances'::regclass::oid")
            .await?;
        let session = database::connect(scene.url()).await?;
        session.batch_execute(SESSION).await?;
        let read = session.prepare(&reading_with_log(oid)).await?;
        let take = session.prepare(TAKE).await?;
        Ok(Self {
            scene,
            session,
            read,
            take,
        })
    }

    /// Changes of this instance in the log.
    async fn change(&self, id: Uuid, count: i32) -> Result<()> {
        let changes = "insert into auth_reconciler.change (watched_id, instance_id, cause)
            select 1, $1, 'api_key' from generate_series(1, $2)";
        self.scene.manager.execute(changes, &[&id, &count]).await?;
        Ok(())
    }

    /// So many instances of one change each, as after a time without a daemon.
    async fn backlog(&self, count: i32) -> Result<()> {
        let changes = "insert into auth_reconciler.change (watched_id, instance_id, cause)
            select 1, gen_random_uuid(), 'api_key' from generate_series(1, $1)";
        self.scene.manager.execute(changes, &[&count]).await?;
        Ok(())
    }

    /// So many instances with a change each, in the order of their changes.
    async fn changed(&self, count: usize) -> Result<Vec<Uuid>> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
        for id in &ids {
            self.change(*id, 1).await?;
        }
        Ok(ids)
    }

    /// A read of these, and of the log from this number on.
    async fn read(
        &self,
        asked: &[Uuid],
        after: i64,
        (oldest, newest): (i64, i64),
        under_way: &[Uuid],
    ) -> Result<Seen> {
        let rows = self.rows(asked, after, (oldest, newest), under_way).await?;
        Seen::of(&rows, oldest)
    }

    /// All that it tells.
    async fn rows(
        &self,
        asked: &[Uuid],
        after: i64,
        (oldest, newest): (i64, i64),
        under_way: &[Uuid],
    ) -> Result<Vec<Row>> {
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&1_i32, &asked, &after, &oldest, &newest, &under_way];
        Ok(self.session.query(&self.read, &parameters).await?)
    }

    /// The same of the log alone.
    async fn take(
        &self,
        after: i64,
        (oldest, newest): (i64, i64),
        left_out: &[Uuid],
    ) -> Result<Seen> {
        let of_table = vec![1_i32; left_out.len()];
        let rows = self
            .session
            .query(
                &self.take,
                &[&vec![1_i32], &of_table, &after, &oldest, &newest, &left_out],
            )
            .await?;
        Seen::of(&rows, oldest)
    }

    /// Puts these changes off, in the epoch that stands.
    async fn put_off(&self, changes: &str) -> Result<()> {
        let put_off = format!(
            "select auth_reconciler.put_off(l.epoch, array(select c.id from auth_reconciler.change as c where {changes}))
             from auth_reconciler.leadership as l"
        );
        ensure!(self.scene.value::<bool>(&put_off).await?, "not put off");
        Ok(())
    }
}

/// In one order.
fn sorted(ids: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = ids.into_iter().collect();
    ids.sort();
    ids
}
