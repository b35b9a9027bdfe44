//! The index on what is unread, made while the manager writes.

use std::time::Duration;

use auth_reconciler_tests::daemon::run_command;

use super::*;
use crate::lateness::{Late, Writer, with_breath};
use crate::operator::earlier;

const MANY: &str = "
    insert into auth_reconciler.change (watched_id, instance_id, cause)
    select 1, gen_random_uuid(), 'api_key' from generate_series(1, 1000000)";

const WHOLE: &str = "
    select i.indisvalid and i.indisready from pg_index as i
    where i.indexrelid = 'auth_reconciler.change_unread_idx'::regclass";

/// tests/README.md promises 200 ms, and the project 50; a loaded machine has its own delays. An index that is made while nobody may
/// write takes more than a second.
const WORST: Duration = Duration::from_millis(500);

#[tokio::test]
async fn the_manager_does_not_wait_for_the_index_of_a_long_log() -> Result<()> {
    with_breath(make_it_beside_a_writer).await
}

async fn make_it_beside_a_writer() -> Result<()> {
    let scene = Scene::shared().await?;
    let id = scene.instance(1).await?;
    earlier::install(&scene, 4).await?;
    scene.manager.batch_execute(MANY).await?;
    let writer = Writer::start(&scene, id, earlier::SHORT).await?;
    writer.go_on(100).await;
    let before = writer.lap();
    scene.migrate().await?;
    writer.go_on(2).await;
    let worst = writer.lap();
    let written = writer.stop().await?;
    println!("{written} writes, the worst {before:?} before and {worst:?} while it was done");
    ensure!(worst < WORST, Late("migrate", worst));
    ensure!(scene.value::<bool>(WHOLE).await?, "the index is not whole");
    let all: i64 = scene
        .value("select count(*) from auth_reconciler.change where cause <> 'watch' and not put_off")
        .await?;
    ensure!(all == 1_000_000 + i64::from(written), "{all} of {written}");
    Ok(())
}

/// Whoever ends `migrate` while it waits for an old transaction leaves half of an index behind.
#[tokio::test]
async fn an_index_that_was_left_unfinished_is_made_anew() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "update pg_index set indisvalid = false
             where indexrelid = 'auth_reconciler.change_unread_idx'::regclass",
        )
        .await?;
    scene.migrate().await?;
    ensure!(scene.value::<bool>(WHOLE).await?, "the index is not whole");
    scene
        .manager
        .batch_execute("drop index auth_reconciler.change_unread_idx")
        .await?;
    let done = run_command(scene.url(), &["migrate"], &[]).await?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    ensure!(scene.value::<bool>(WHOLE).await?, "the index is not whole");
    Ok(())
}

/// What the database sets for the manager's statements limits none that waits for transactions. A lock that may be waited
/// for briefly had the index of a long log made again and again.
#[tokio::test]
async fn limits_of_the_database_do_not_end_what_waits_for_an_old_transaction() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let other = database::connect(scene.url()).await?;
    other
        .batch_execute("begin isolation level repeatable read; select 1")
        .await?;
    scene
        .manager
        .batch_execute(
            "drop index auth_reconciler.change_unread_idx;
             do $$ begin
                 execute format('alter database %I set statement_timeout = 300', current_database());
                 execute format('alter database %I set lock_timeout = 50', current_database());
             end $$",
        )
        .await?;
    let waits = scene.eventually(
        "select exists (
            select from pg_stat_activity as a
            where a.datname = current_database() and a.query like '%create index concurrently%' and a.pid <> pg_backend_pid()
                and a.state = 'active' and a.query_start < clock_timestamp() - interval '1 s')",
    );
    let ended = async {
        waits.await?;
        Ok::<_, anyhow::Error>(other.batch_execute("commit").await?)
    };
    let (done, ended) = tokio::join!(run_command(scene.url(), &["migrate"], &[]), ended);
    let done = done?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    ended?;
    ensure!(scene.value::<bool>(WHOLE).await?, "the index is not whole");
    Ok(())
}
