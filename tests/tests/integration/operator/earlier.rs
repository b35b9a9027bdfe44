//! From each earlier version, as it was, to the newest, while the manager writes with short time-outs, somebody reads our
//! views, and a daemon of that version answers for what is written or nobody does: nothing is lost, nothing fails, and
//! nothing has to wait for long.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::lateness::{Writer, with_breath};
use crate::scene::{Eavesdropper, Scene, eventually};

/// Tables and routines of each version, in order.
const EARLIER: [&str; 4] = [
    include_str!("../../../earlier/1.sql"),
    include_str!("../../../earlier/2.sql"),
    include_str!("../../../earlier/3.sql"),
    include_str!("../../../earlier/4.sql"),
];

/// Somebody of ours waits for a lock, or has just given way.
const WE_WAIT: &str = "select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler migrate%')";

/// The manager's patience. No write that goes through took longer. It waits for no disk, whose slowness is not ours.
pub(crate) const SHORT: &str =
    "set lock_timeout = '100ms'; set statement_timeout = '150ms'; set synchronous_commit = off";

/// What stands in for a daemon reads as it would: the version that its record must still find, what it answers for, and
/// how many of these are the manager's.
const READ: &str = "
    select
        (select i.version from auth_reconciler.instance as i where i.instance_id = $1),
        coalesce(array_agg(c.id), '{}'),
        count(*) filter (where c.cause = 'account')
    from auth_reconciler.change as c
    where c.instance_id = $1";

const RECORD: &str = "
    select outcome
    from auth_reconciler.record(
        $1, $2, $3,
        jsonb_build_object(
            'watched_id', 1, 'instance_id', $4::uuid, 'auth_status', $5::text, 'reason', 'Ready', 'message', '',
            'cause', 'account', 'attempts', 0, 'misses', 0, 'corrections_spent', 0, 'contested', 0),
        '{\"history_per_instance\": 10, \"history_max_age_ms\": 1000000, \"trouble_ms\": 0}')";

/// As every version until then began the transaction of a record.
const BEGIN: &str =
    "begin; set local row_security = off; set local search_path = pg_catalog, pg_temp;
    set local statement_timeout = '8s'; set local lock_timeout = '1s'";

pub(crate) async fn install(scene: &Scene, version: usize) -> Result<()> {
    let script = format!(
        "begin; {}; insert into auth_reconciler.migration (version, name, routines)
         select n, 'earlier', 'earlier' from generate_series(1, {version}) as n;
         select auth_reconciler.watch('public.message_instances'); delete from auth_reconciler.change; commit",
        EARLIER[version - 1]
    );
    scene.manager.batch_execute(&script).await?;
    Ok(())
}

/// Leads, and answers for the changes of this instance until it is refused as one that no longer leads. Each record moves
/// the status, and so holds the manager's row. Returns for how many of the manager's changes it has answered.
async fn lead(ear: Client, pool: Client, id: Uuid) -> Result<i64> {
    let epoch = Uuid::new_v4();
    ear.batch_execute("select pg_advisory_lock(auth_reconciler.leadership_lock())")
        .await?;
    ear.execute("select auth_reconciler.take_over($1)", &[&epoch])
        .await?;
    let mut answered = 0;
    for turn in 0.. {
        let read = pool.query_one(READ, &[&id]).await?;
        let (version, changes): (Option<Uuid>, Vec<i64>) = (read.try_get(0)?, read.try_get(1)?);
        pool.batch_execute(BEGIN).await?;
        let status = ["client_ready", "failed"][turn % 2];
        let recorded = pool
            .query_one(RECORD, &[&epoch, &version, &changes, &id, &status])
            .await;
        let outcome: String = match recorded {
            Ok(row) => row.try_get(0)?,
            // It gave way.
            Err(error) if error.code().is_some() => {
                pool.batch_execute("rollback").await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        pool.batch_execute("commit").await?;
        match outcome.as_str() {
            // Overridden where guard is the new one already, and puts aside what the older record writes.
            "written" | "right" | "overridden" => answered += read.try_get::<_, i64>(2)?,
            "epoch" => return Ok(answered),
            _ => {}
        }
    }
    Ok(answered)
}

/// Reads what people read, again and again.
async fn read(client: Client, stopped: watch::Receiver<bool>) -> Result<()> {
    while !*stopped.borrow() {
        client
            .batch_execute("select count(*) from auth_reconciler.status")
            .await?;
    }
    Ok(())
}

/// What was written has been answered for, or stands in the log for a daemon of the newest version, or is found by a look
/// at every row: of so many changes an earlier version's trigger has told that it could not log them.
async fn nothing_is_lost_and_nobody_leads(
    scene: &Scene,
    answered: i64,
    written: i64,
    told: i64,
) -> Result<()> {
    let left: i64 = scene
        .value("select count(*) from auth_reconciler.change where cause = 'account'")
        .await?;
    // One that could not be logged in time is counted, and whoever leads next looks at every row for it.
    let counted: i64 = scene
        .value(
            "select case when (auth_reconciler.unlogged_state()).owed
                then coalesce(pg_sequence_last_value('auth_reconciler.unlogged'), 0) else 0 end",
        )
        .await?;
    let missing = written - answered - left;
    ensure!(
        (0..=counted + told).contains(&missing),
        "{answered} answered and {left} left of {written}, {counted} counted, {told} told"
    );
    // With its triggers made anew a look at every row is owed, or queued where nobody leads.
    let found: bool = scene
        .value(
            "select exists (select from auth_reconciler.owed where work = 'watch')
                or exists (select from auth_reconciler.change where cause = 'watch')",
        )
        .await?;
    ensure!(found, "no look at every row follows the upgrade");
    let epochs: i64 = scene
        .value("select count(*) from auth_reconciler.leadership")
        .await?;
    ensure!(epochs == 0, "an older daemon records nothing more");
    Ok(())
}

async fn migrate_from(version: usize, led: bool) -> Result<()> {
    let scene = Scene::shared().await?;
    let id = scene.instance(1).await?;
    install(&scene, version).await?;
    if version >= 3 {
        scene
            .manager
            .batch_execute("select auth_reconciler.guard('public.message_instances', true)")
            .await?;
    }
    let heard = Eavesdropper::start(&scene).await?;
    let (ear, pool) = (
        scene.database.client().await?,
        scene.database.client().await?,
    );
    let leader = led.then(|| tokio::spawn(lead(ear, pool, id)));
    let held = scene.database.client().await?;
    held.batch_execute("begin; select * from auth_reconciler.status")
        .await?;
    let (stop, stopped) = watch::channel(false);
    let reader = tokio::spawn(read(scene.database.client().await?, stopped));
    let writer = Writer::start(&scene, id, SHORT).await?;
    writer.go_on(100).await;
    let before = writer.lap();

    let migrate = Daemon::spawn(scene.url(), &["migrate"], &[])?;
    eventually(&scene.manager, WE_WAIT).await?;
    // Long enough for it to try many times.
    writer.go_on(400).await;
    ensure!(migrate.is_running(), "it waits for the reader");
    let waiting = writer.lap();
    held.batch_execute("commit").await?;
    let exit = migrate.ended().await?;
    writer.go_on(2).await;
    let worst = writer.lap();
    stop.send_replace(true);
    reader.await??;
    let written = writer
        .stop()
        .await
        .with_context(|| format!("from version {version}, led {led}"))?;
    println!(
        "from version {version}, led {led}: {written} writes, the worst {before:?} before, {waiting:?} while it waited, {worst:?} while it was done"
    );
    assert_eq!(exit.code(), Some(0), "{}", migrate.output());
    let answered = match leader {
        Some(leader) => leader.await??,
        None => 0,
    };
    // An earlier version's trigger that could not log in the time of its writer's rings for everything instead.
    let payloads = heard.payloads();
    let told = payloads.iter().filter(|ring| *ring == "resync").count();
    nothing_is_lost_and_nobody_leads(&scene, answered, i64::from(written), told.try_into()?)
        .await
        .with_context(|| format!("from version {version}"))?;
    // And one that has nothing to do is asked for a record, else it would lead on.
    let rung = format!("1/{id}/operator");
    assert_eq!(led, payloads.contains(&rung), "{:?}", led);
    // That no statement failed says more; this is patience with a busy machine.
    assert!(waiting.max(worst) < Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn no_change_is_lost_and_no_statement_fails_while_the_schema_becomes_the_newest() -> Result<()>
{
    for version in 1..=EARLIER.len() {
        with_breath(async || migrate_from(version, false).await).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nor_while_a_daemon_of_the_earlier_version_goes_on() -> Result<()> {
    for version in 1..=EARLIER.len() {
        with_breath(async || migrate_from(version, true).await).await?;
    }
    Ok(())
}

/// What an operator built on our views outlives an upgrade that need not drop them, and is named by one that must.
#[tokio::test]
async fn what_somebody_built_on_our_views_is_neither_dropped_nor_in_the_way() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create view public.mine as select id, reason from auth_reconciler.status;
             update auth_reconciler.migration set routines = 'others'",
        )
        .await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute("select * from public.mine")
        .await?;

    let scene = Scene::shared().await?;
    install(&scene, 1).await?;
    scene
        .manager
        .batch_execute("create view public.mine as select message from auth_reconciler.status")
        .await?;
    let refused = run_command(scene.url(), &["migrate"], &[]).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("view public.mine"),
        "{}",
        refused.stderr
    );
    scene
        .manager
        .batch_execute("select * from public.mine; drop view public.mine")
        .await?;
    scene.migrate().await
}
