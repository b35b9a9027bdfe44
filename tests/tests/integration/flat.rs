//! What is asked of our tables beside a look costs the same however many instances there are.

use anyhow::{Context, Result, ensure};
use tokio_postgres::{Statement, Transaction};
use uuid::Uuid;

use crate::scene::Scene;
use crate::unread::{SESSION, reading};

/// Pages that a statement reads.
async fn pages(scene: &Scene, statement: &str) -> Result<i64> {
    let explained = format!("explain (analyze, buffers, format json) {statement}");
    let mut least = i64::MAX;
    // What a session has to read anew of the catalog counts as well, and the tests beside this one have it forget all of it.
    for _ in 0..3 {
        let row = scene.manager.query_one(&explained, &[]).await?;
        let plan: serde_json::Value = row.try_get(0)?;
        let read = |name: &str| plan[0]["Plan"][name].as_i64().context("pages");
        least = least.min(read("Shared Hit Blocks")? + read("Shared Read Blocks")?);
    }
    Ok(least)
}

/// So many instances that were recorded, each like this, and a change of each that no look has answered for.
async fn recorded(scene: &Scene, status: &str, settled: bool, due: &str) -> Result<()> {
    scene
        .manager
        .batch_execute(&format!(
            "insert into auth_reconciler.instance
                (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
                 reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested, final, next_attempt_at)
             select 1, gen_random_uuid(), gen_random_uuid(), 1, '{status}', 'Ready', '', now(), {settled}, 'insert',
                1, now(), 1, 0, 0, 0, 0, {settled}, {due}
             from generate_series(1, 20000);
             insert into auth_reconciler.change (watched_id, instance_id, cause)
             select watched_id, instance_id, 'api_key' from auth_reconciler.instance;
             analyze auth_reconciler.instance; analyze auth_reconciler.change",
        ))
        .await?;
    Ok(())
}

#[tokio::test]
async fn witnesses_are_found_without_reading_all_instances() -> Result<()> {
    for status in ["client_ready", "pending"] {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        recorded(&scene, status, true, "null").await?;
        let asked = include_str!("../../../sql/queries/ready_instances.sql");
        let pages = pages(&scene, asked).await?;
        ensure!(pages < 100, "{pages} pages where all are {status}");
    }
    Ok(())
}

/// Asked every few seconds, by each process that stands by.
#[tokio::test]
async fn a_process_that_stands_by_sees_what_waits_without_reading_all_of_it() -> Result<()> {
    for due in ["now() - interval '1 hour'", "now() + interval '1 hour'"] {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        recorded(&scene, "pending", false, due).await?;
        let leader = scene.database.client().await?;
        leader
            .batch_execute("select pg_advisory_lock(auth_reconciler.leadership_lock())")
            .await?;
        let asked = include_str!("../../../sql/queries/leader_progress.sql");
        let pages = pages(&scene, asked).await?;
        ensure!(pages < 200, "{pages} pages where all are due at {due}");
        let seen = scene.manager.query_one(asked, &[]).await?;
        ensure!(
            seen.try_get::<_, Option<i64>>("oldest_change")? == Some(1),
            "the oldest change"
        );
        let overdue = seen.try_get::<_, Option<std::time::SystemTime>>("oldest_due")?;
        ensure!(
            overdue.is_some() == due.contains('-'),
            "{overdue:?} at {due}"
        );
    }
    Ok(())
}

/// What is held back stands before it, and there is much of that.
#[tokio::test]
async fn what_waits_is_seen_behind_any_number_of_changes_that_are_held_back() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let leader = scene.database.client().await?;
    leader
        .batch_execute("select pg_advisory_lock(auth_reconciler.leadership_lock())")
        .await?;
    let asked = include_str!("../../../sql/queries/leader_progress.sql");
    for (held_back, waits) in [(10, 11), (10_000, 2_000)] {
        scene
            .manager
            .batch_execute(&format!(
                "truncate auth_reconciler.change restart identity;
                 insert into auth_reconciler.pause (watched_id, instance_id, reason, paused_by, paused_at)
                 values (1, '00000000-0000-0000-0000-000000000001', '', '', now()) on conflict do nothing;
                 insert into auth_reconciler.change (watched_id, instance_id, cause)
                 select 1, '00000000-0000-0000-0000-000000000001', 'drift' from generate_series(1, {held_back});
                 insert into auth_reconciler.change (watched_id, instance_id, cause)
                 values (1, gen_random_uuid(), 'drift')",
            ))
            .await?;
        let seen = scene.manager.query_one(asked, &[]).await?;
        let oldest: Option<i64> = seen.try_get("oldest_change")?;
        ensure!(oldest == Some(waits), "{oldest:?} behind {held_back}");
        // What was put off was read, and waits for nobody else.
        scene
            .manager
            .batch_execute("update auth_reconciler.change set put_off = true")
            .await?;
        let seen = scene.manager.query_one(asked, &[]).await?;
        let oldest: Option<i64> = seen.try_get("oldest_change")?;
        ensure!(oldest.is_none(), "{oldest:?} is put off");
    }
    for changed in ["null, 'truncate'", "gen_random_uuid(), 'drift'"] {
        scene
            .manager
            .batch_execute(&format!(
                "insert into auth_reconciler.change (watched_id, instance_id, cause) values (1, {changed})"
            ))
            .await?;
        let seen = scene.manager.query_one(asked, &[]).await?;
        let oldest: Option<i64> = seen.try_get("oldest_change")?;
        ensure!(oldest == Some(10_002), "{oldest:?} after {changed}");
    }
    Ok(())
}

/// Five rows, in the order of their numbers, as looks have read them that found another status.
const PROPOSED: &str = "
    select jsonb_agg(jsonb_build_object(
        'verdict', coalesce(to_jsonb(i), '{}') || jsonb_build_object(
            'watched_id', 1, 'instance_id', m.id, 'auth_status', $1::text, 'reason', 'ApiKeyRejected', 'message', 'by hand',
            'cause', 'operator', 'attempts', 0, 'misses', 0, 'corrections_spent', 0, 'contested', 0, 'established', false),
        'changes', coalesce((select jsonb_agg(c.id) from auth_reconciler.change as c where c.instance_id = m.id), '[]'),
        'woken_ms', 1, 'trouble_ms', 0))::text
    from public.message_instances as m
    left join auth_reconciler.instance as i on i.instance_id = m.id
    where m.account = 'one of five'";

const RECORD: &str = "
    select string_agg(outcome, ' ')
    from auth_reconciler.record_batch(
        (select epoch from auth_reconciler.leadership), 1, $1::text::jsonb,
        '{\"history_per_instance\": 3, \"history_max_age_ms\": 86400000, \"overridden_retry_ms\": 1000}')";

/// Rows of everything that this transaction has looked at.
const LOOKED_AT: &str = "
    select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint from pg_stat_xact_user_tables
    where schemaname in ('auth_reconciler', 'public')";

/// Twenty thousand rows more, with as much of everything that is recorded.
const GROW: &str = "
    insert into public.message_instances (id) select gen_random_uuid() from generate_series(1, 20000);
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, reason, message, since, settled, cause,
         reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested, final)
    select 1, gen_random_uuid(), gen_random_uuid(), 1, 'Ready', '', now(), true, 'insert', 1, now(), 1, 0, 0, 0, 0, true
    from generate_series(1, 20000);
    insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
    select 1, gen_random_uuid(), now(), 'change', 'account', 1, now() from generate_series(1, 20000);
    insert into auth_reconciler.transition (watched_id, instance_id, at, reason, message, cause, reaction_ms)
    select 1, gen_random_uuid(), now(), 'Ready', '', 'account', 1 from generate_series(1, 20000)";

/// The plans of a session are made when it first reads and records, which is when little has been written yet.
#[tokio::test]
async fn a_session_that_began_with_small_tables_reads_and_records_as_little_when_they_have_grown()
-> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "insert into public.message_instances (id, account)
             select gen_random_uuid(), 'one of five' from generate_series(1, 5);
             update auth_reconciler.leadership set epoch = gen_random_uuid()",
        )
        .await?;
    let oid: u32 = scene
        .value("select 'public.message_instances'::regclass::oid")
        .await?;
    let mut session = scene.database.client().await?;
    session.batch_execute(SESSION).await?;
    let read = session.prepare(&reading(oid)).await?;
    let record = session.prepare(RECORD).await?;
    let ids: Vec<Uuid> = scene
        .value("select array_agg(id) from public.message_instances")
        .await?;
    for (round, status) in ["failed", "client_ready", "failed", "client_ready", "failed"]
        .into_iter()
        .enumerate()
    {
        if round == 3 {
            scene.manager.batch_execute(GROW).await?;
        }
        let proposed = scene.manager.query_one(PROPOSED, &[&status]).await?;
        let proposed: String = proposed.try_get(0)?;
        let five = session.transaction().await?;
        read_and_record(&five, (&read, &ids), (&record, &proposed))
            .await
            .with_context(|| format!("round {round}"))?;
        five.commit().await?;
    }
    Ok(())
}

/// Reads five rows and records what was found of them, and looks at few others for it.
async fn read_and_record(
    session: &Transaction<'_>,
    (read, ids): (&Statement, &[Uuid]),
    (record, proposed): (&Statement, &str),
) -> Result<()> {
    let looked_at = async || -> Result<i64> {
        let rows = session.query_one(LOOKED_AT, &[]).await?;
        Ok(rows.try_get(0)?)
    };
    let found = session.query(read, &[&1_i32, &ids]).await?;
    ensure!(found.len() == 5, "{} were read", found.len());
    let by_read = looked_at().await?;
    let outcomes: String = session.query_one(record, &[&proposed]).await?.try_get(0)?;
    let by_record = looked_at().await? - by_read;
    ensure!(
        outcomes == "written written written written written",
        "{outcomes}"
    );
    ensure!(by_read < 1_000, "{by_read} rows to read five");
    ensure!(by_record < 1_000, "{by_record} rows to record five");
    Ok(())
}

/// A fleet that is well but for a few, with a long history, as the server sees it once it has been analyzed.
const FLEET: &str = "
    insert into public.message_instances (id, provider, auth_status, port_api, api_key)
    select gen_random_uuid(), 'telegram', case when n % 100 = 0 then 'failed' else 'client_ready' end, 1, 'key'
    from generate_series(1, 20000) as n;
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
         reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested)
    select 1, m.id, gen_random_uuid(), 0, m.auth_status, 'Ready', '', now(), true, 'watch', 1, now(), 1, 0, 0, 0, 0
    from public.message_instances as m;
    insert into auth_reconciler.transition
        (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
    select 1, m.id, now() - n * interval '2 hours', 'pending', 'client_ready', 'Ready', '', 'watch', n
    from generate_series(10, 1, -1) as n, public.message_instances as m;
    insert into auth_reconciler.journal
        (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status)
    select 1, m.id, now() - n * interval '2 hours', 'verdict', 'watch', 1, now(), 'client_ready', 'failed'
    from generate_series(10, 1, -1) as n, public.message_instances as m;
    insert into auth_reconciler.foreign_write
        (watched_id, instance_id, kind, application, role, from_status, to_status, times, guarded, first_at, last_at)
    select 1, m.id, 1, 'manager', 'manager', 'client_ready', 'pending', 5, 2, now(), now() from public.message_instances as m;
    analyze";

/// What a person or an exporter asks, and how many pages it may read.
fn questions(one: Uuid) -> Vec<(String, i64)> {
    [
        ("status", 10_000),
        ("problems", 10_000),
        // Along an index, in the order of the instances.
        ("backlog", 40_000),
        ("instances where trouble", 10_000),
        ("totals", 3_000),
        ("overview", 3_000),
        ("last_day where id = 'one'", 100),
        ("days where id = 'one'", 100),
        // Of the journal, which is ten times as large, they read nothing.
        ("drift", 2_000),
        ("drift_total", 1_000),
        ("drift_details where contested", 500),
        ("drift where id = 'one'", 100),
        ("latency", 10_000),
        ("history", 2_000),
        ("explain('one')", 500),
        ("transitions where instance_id = 'one'", 100),
        ("transitions order by at desc limit 20", 100),
        ("transitions order by id desc limit 20", 100),
        ("transitions where id > 199990", 100),
    ]
    .map(|(asked, most)| {
        let asked = asked.replace("one", &one.to_string());
        (format!("select * from auth_reconciler.{asked}"), most)
    })
    .into()
}

/// Each of what a person or an exporter asks reads each table once at most, or a few pages along an index; looked up row by
/// row they were 80,000 pages and more.
#[tokio::test]
async fn what_people_ask_of_a_large_fleet_is_not_looked_up_row_by_row() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(FLEET).await?;
    let one: Uuid = scene
        .value("select id from public.message_instances limit 1")
        .await?;
    // In the log are 20,000 changes that no look has answered for, and then none.
    for waits in [true, false] {
        for (asked, most) in questions(one) {
            let pages = pages(&scene, &asked).await?;
            ensure!(pages < most, "{asked}: {pages} pages, with changes {waits}");
        }
        scene
            .manager
            .batch_execute("truncate auth_reconciler.change; analyze auth_reconciler.change")
            .await?;
    }
    // As `watch` asks: the last ones at its beginning, and then what is new, or was late.
    let asked = include_str!("../../../sql/queries/transitions.sql");
    for (after, these) in [("0", "{}"), ("199990", "{}"), ("199990", "{17,18}")] {
        for of in ["null".to_owned(), format!("'{one}'")] {
            let asked = asked
                .replace("$1", &of)
                .replace("$2", &format!("'{after}'"));
            let asked = asked
                .replace("$3", &format!("'{these}'"))
                .replace("$4", "'10'");
            let pages = pages(&scene, &asked).await?;
            ensure!(pages < 200, "{pages} pages for {of}, {after}, {these}");
        }
    }
    Ok(())
}
