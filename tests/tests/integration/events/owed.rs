//! What `watch()`, `unwatch()`, a truncated table and a broken log leave to do is done in pieces, whatever comes in between, and by whoever comes next.

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, Scene, insert_many};

const WATCH: &str = "select auth_reconciler.watch('public.message_instances')";

const UNWATCH: &str = "select auth_reconciler.unwatch('public.message_instances')";

const REFUSES: &str =
    "changes cannot be logged: every row is looked at, and again with each echo until they can";

const NOTHING_OWED: &str = "select not exists (select from auth_reconciler.owed)";

/// A piece of two rows, as whoever has ended before the next one would do it.
const PIECE: &str = "select string_agg(w.outcome, ' ') from auth_reconciler.owed as o, auth_reconciler.work_off(o.id, 2, null) as w";

const WAITS: &str = "select coalesce(string_agg(split_part(why, ':', 1), '; ' order by since), '') from auth_reconciler.backlog where id is null";

/// A schema in which nothing is watched, and five rows that are ready.
async fn five(stub: &Stub) -> Result<Scene> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(UNWATCH).await?;
    scene.migrate().await?;
    scene.manager.batch_execute(UNWATCH).await?;
    while scene.value::<Option<String>>(PIECE).await?.is_some() {}
    insert_many(&scene, stub, 5).await?;
    Ok(scene)
}

#[tokio::test]
async fn rows_of_a_new_table_are_queued_whatever_ends_in_between() -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let scene = five(&stub).await?;
    scene.manager.batch_execute(WATCH).await?;
    let changes: i64 = scene
        .value("select count(*) from auth_reconciler.change")
        .await?;
    assert_eq!(changes, 0, "no row was copied while the table was locked");
    assert_eq!(
        scene.value::<String>(WAITS).await?,
        "looks at all rows of public.message_instances are yet to be queued"
    );
    assert_eq!(
        scene.value::<Option<String>>(PIECE).await?.as_deref(),
        Some("more")
    );
    // Before and behind the place to which it came, and a whole table anew.
    insert_many(&scene, &stub, 5).await?;
    scene
        .manager
        .batch_execute(
            "delete from public.message_instances where id in (
                select id from public.message_instances order by id limit 1);
             delete from public.message_instances where id in (
                select id from public.message_instances order by id desc limit 1);
             update public.message_instances set id = gen_random_uuid() where id in (
                select id from public.message_instances order by id limit 2)",
        )
        .await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(NOTHING_OWED).await?;
    scene.eventually(ALL_TRUE).await?;
    let recorded: i64 = scene
        .value("select count(*) from auth_reconciler.instance")
        .await?;
    assert_eq!(recorded, 8);
    Ok(())
}

async fn nothing_is_told_of(scene: &Scene, id: Uuid) -> Result<()> {
    let seen = "select concat_ws(' ', (select count(*) from auth_reconciler.instances),
            (select count(*) from auth_reconciler.transitions), (select count(*) from auth_reconciler.drift_details),
            (select count(*) from auth_reconciler.latency),
            (select count(*) from auth_reconciler.backlog where id is not null))";
    assert_eq!(scene.value::<String>(seen).await?, "0 0 0 0 0");
    let story = format!("select * from auth_reconciler.explain('{id}')");
    let refused = scene.manager.query(&story, &[]).await;
    assert!(refused.is_err_and(|error| error.code() == Some(&SqlState::NO_DATA_FOUND)));
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_given_up_is_out_of_sight_at_once_and_gone_in_the_end() -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let scene = five(&stub).await?;
    scene.manager.batch_execute(WATCH).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    // What is left of a foreign write, and of an operator.
    let id = insert_many(&scene, &stub, 1).await?[0];
    scene.eventually(ALL_TRUE).await?;
    scene
        .table
        .write_status(&scene.manager, id, Some("failed"))
        .await?;
    scene.eventually(ALL_TRUE).await?;
    daemon.sigkill()?;
    daemon.ended().await?;
    scene
        .manager
        .batch_execute(&format!("select auth_reconciler.pause('{id}', 'why')"))
        .await?;

    scene.manager.batch_execute(UNWATCH).await?;
    assert_eq!(
        scene.value::<String>(WAITS).await?,
        "what was recorded of the rows of public.message_instances is yet to be removed"
    );
    nothing_is_told_of(&scene, id).await?;
    assert_eq!(
        scene.value::<Option<String>>(PIECE).await?.as_deref(),
        Some("more")
    );

    // Watched again in the middle of it: another table as far as records go.
    scene.manager.batch_execute(WATCH).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(NOTHING_OWED).await?;
    scene
        .eventually(
            "select count(*) = 6 and every(w.id is not null) from auth_reconciler.instance as i
            left join auth_reconciler.watched_table as w on w.id = i.watched_id",
        )
        .await?;
    scene.eventually(ALL_TRUE).await?;
    let left: i64 = scene
        .value(
            "select count(*) from (
                select watched_id from auth_reconciler.transition union all
                select watched_id from auth_reconciler.journal union all
                select watched_id from auth_reconciler.pause) as every
            where every.watched_id not in (select w.id from auth_reconciler.watched_table as w)",
        )
        .await?;
    assert_eq!(
        left, 0,
        "what was recorded before is gone, the pause as well"
    );
    Ok(())
}

/// As many as were recorded, and none of them in the transaction that takes the truncation out of the log.
#[tokio::test]
async fn a_truncated_table_is_forgotten_piece_by_piece() -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let scene = five(&stub).await?;
    scene.manager.batch_execute(WATCH).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    daemon.sigkill()?;
    daemon.ended().await?;
    scene
        .manager
        .batch_execute(
            "truncate public.message_instances; select auth_reconciler.expand_truncations()",
        )
        .await?;
    let changes: i64 = scene
        .value("select count(*) from auth_reconciler.change")
        .await?;
    assert_eq!(changes, 0, "none was expanded at once");
    // What comes afterwards is none of it.
    insert_many(&scene, &stub, 3).await?;
    assert_eq!(
        scene.value::<Option<String>>(PIECE).await?.as_deref(),
        Some("more")
    );
    let causes: String = scene
        .value("select string_agg(cause, ' ' order by id) from auth_reconciler.change")
        .await?;
    assert_eq!(causes, "insert insert insert truncate truncate");
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(NOTHING_OWED).await?;
    scene
        .eventually("select count(*) = 3 from auth_reconciler.instance")
        .await?;
    scene.eventually(ALL_TRUE).await
}

/// Somebody has the one locked: the other does not wait, and the one is not forgotten.
#[tokio::test]
async fn a_table_that_is_locked_is_copied_later_and_keeps_no_other_waiting() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let settings = [("AUTH_RECONCILER_ECHO_INTERVAL", "200ms")];
    let _daemon = Daemon::start(&scene.database, &settings).await?;
    scene
        .manager
        .batch_execute(&format!(
            "create table public.a (like public.message_instances including all);
             create table public.b (like public.message_instances including all);
             insert into public.a (id, provider, port_api, api_key)
             select gen_random_uuid(), 'telegram', {}, 'key' from generate_series(1, 3);
             insert into public.b select * from public.a",
            stub.port()
        ))
        .await?;
    let locker = scene.database.client().await?;
    scene.manager.batch_execute(
        "begin; select auth_reconciler.watch('public.a'); select auth_reconciler.watch('public.b')").await?;
    let lock = locker.batch_execute("begin; lock table public.a in access exclusive mode");
    let (locked, watched) = tokio::join!(lock, async {
        crate::scene::eventually(
            &scene.database.client().await?,
            "select exists (select from pg_locks where relation = 'public.a'::regclass and not granted)",
        )
        .await?;
        // The lock is next in the queue, and nobody else gets one on this table before.
        anyhow::Ok(scene.manager.batch_execute("commit").await?)
    });
    locked?;
    watched?;
    let ready =
        |table: &str| format!("select every(auth_status = 'client_ready') from public.{table}");
    scene.eventually(&ready("b")).await?;
    locker.batch_execute("commit").await?;
    scene.eventually(&ready("a")).await?;
    scene.eventually(NOTHING_OWED).await
}

/// Nothing can be logged any more but what is owed; nothing at all.
const NO_CHANGE: &str = "alter table auth_reconciler.change add constraint full_disk check (cause = 'resync') not valid";
const NOTHING: &str =
    "alter table auth_reconciler.change add constraint full_disk check (false) not valid";
const MEND: &str = "alter table auth_reconciler.change drop constraint full_disk";

/// No session of a daemon is left at the server.
const NO_SESSION: &str = "select not exists (select from pg_stat_activity where datname = current_database() and application_name like 'auth-reconciler %')";

/// What could not be logged is answered for.
const ANSWERED: &str = "select a.counted = u.last_value from auth_reconciler.unlogged_answered as a, auth_reconciler.unlogged as u";

/// Writes what is wrong into the first or last row, and no change of it is in the log.
async fn write_unlogged(scene: &Scene, breaks: &str, order: &str) -> Result<()> {
    let wrong = format!(
        "{breaks}; update public.message_instances set auth_status = 'failed' where id in (
            select id from public.message_instances order by id {order} limit 1); {MEND}"
    );
    Ok(scene.manager.batch_execute(&wrong).await?)
}

#[tokio::test]
async fn looks_at_all_rows_are_owed_before_they_are_answered_for_whatever_ends_in_between()
-> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let scene = five(&stub).await?;
    scene.manager.batch_execute(WATCH).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    scene.eventually(NOTHING_OWED).await?;
    daemon.signal("STOP")?;
    write_unlogged(&scene, NO_CHANGE, "desc").await?;
    // No row can be read, however often it is tried.
    let mut locker = scene.database.client().await?;
    let lock = locker.transaction().await?;
    lock.batch_execute("lock table public.message_instances in access exclusive mode")
        .await?;
    daemon.signal("CONT")?;
    scene.eventually(ANSWERED).await?;
    daemon.sigkill()?;
    daemon.ended().await?;
    // What the server does for it outlives it by a moment, and would do the piece with the lock gone.
    scene.eventually(NO_SESSION).await?;
    lock.commit().await?;
    assert_eq!(
        scene.value::<String>(WAITS).await?,
        "looks at all rows of public.message_instances are yet to be queued, for a change could not be logged"
    );
    assert_eq!(
        scene.value::<Option<String>>(PIECE).await?.as_deref(),
        Some("more")
    );
    // Once more, of a row that this piece has looked at.
    scene
        .manager
        .batch_execute("delete from auth_reconciler.change")
        .await?;
    write_unlogged(&scene, NO_CHANGE, "asc").await?;
    let lock = locker.transaction().await?;
    lock.batch_execute("lock table public.message_instances in access exclusive mode")
        .await?;
    let _daemon = Daemon::spawn(scene.url(), &["run"], &[])?;
    scene.eventually(ANSWERED).await?;
    lock.commit().await?;
    scene.eventually(ALL_TRUE).await?;
    scene.eventually(NOTHING_OWED).await
}

/// Rows are looked at all the same, and what was told to one daemon is told to the next, until all is in the log.
#[tokio::test]
async fn looks_that_cannot_even_be_logged_are_owed_until_they_can() -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let scene = five(&stub).await?;
    scene.manager.batch_execute(WATCH).await?;
    let settings = [("AUTH_RECONCILER_ECHO_INTERVAL", "200ms")];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    scene.eventually(ALL_TRUE).await?;
    scene.eventually(NOTHING_OWED).await?;
    let wrong = "update public.message_instances set auth_status = 'failed'";
    scene.manager.batch_execute(NOTHING).await?;
    scene.manager.batch_execute(wrong).await?;
    scene.eventually(ALL_TRUE).await?;
    daemon.wait_message(REFUSES).await?;
    let shown = "select count(*) = 1 from auth_reconciler.problem_details where id is null and problem = 'LogRefuses'";
    scene.eventually(shown).await?;
    let status = run_command(scene.url(), &["status"], &[]).await?;
    assert!(
        status.code == Some(1) && status.stdout.contains("takes no changes"),
        "{status:?}"
    );
    assert_eq!(daemon.count(|line| line.is(REFUSES)), 1, "said once");
    daemon.sigkill()?;
    daemon.ended().await?;
    assert!(!scene.value::<bool>(NOTHING_OWED).await?, "still owed");
    scene.manager.batch_execute(wrong).await?;
    let next = Daemon::start(&scene.database, &settings).await?;
    next.wait_message(REFUSES).await?;
    scene.eventually(ALL_TRUE).await?;
    scene.manager.batch_execute(MEND).await?;
    scene.eventually(NOTHING_OWED).await?;
    next.wait_message("changes can be logged again").await?;
    let well = "select not exists (select from auth_reconciler.problem_details where id is null)";
    scene.eventually(well).await
}
