//! Each view against a scripted history, with answers computed by hand. Nobody runs here: what is shown is computed
//! when asked.

use anyhow::Result;

use super::value;
use crate::scene::{Scene, eventually};

/// Rows `00000000-…-00000000000n` of the watched table: number, provider, auth_status.
pub(crate) const ROWS: &str = "
    create function pg_temp.id(n int) returns uuid language sql as
        $$ select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
    insert into public.message_instances (id, provider, port_api, api_key, auth_status)
    select pg_temp.id(n), provider, 4000 + n, 'a-key', status
    from (values
        (1, 'telegram', 'client_ready'), (2, 'telegram', 'failed'), (3, 'telegram', 'client_ready'),
        (4, 'telegram', 'pending'), (5, 'telegram', 'client_ready'), (6, 'carrier pigeon', 'failed'),
        (7, 'telegram', 'pending'), (8, 'telegram', 'pending'), (9, 'telegram', 'pending')
    ) as r (n, provider, status);
    delete from auth_reconciler.change";

/// What was recorded of them: number, verdict, reason, minutes ago, next look in seconds, contested.
pub(crate) const RECORDED: &str = "
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, next_attempt_at,
         trouble_at, cause, reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested, hold_until)
    select 1, pg_temp.id(n), gen_random_uuid(), 1, status, reason, 'in words, as many as it takes to say what is wrong',
        now() - minutes * interval '1 minute', seconds is null, now() + seconds * interval '1 second',
        case when status = 'failed' then now() end, 'api_key', 4.25, now(), 7, 0, 0, 0, contested,
        case when contested > 0 then now() + seconds * interval '1 second' end
    from (values
        (1, 'client_ready', 'Ready', 60, null, 0), (2, 'failed', 'ApiKeyRejected', 50, null, 0),
        (3, 'client_ready', 'Ready', 40, null, 0), (4, 'client_ready', 'Ready', 30, 30, 1),
        (5, 'client_ready', 'Ready', 20, null, 0), (6, null, 'UnsupportedProvider', 10, null, 0),
        (7, 'pending', 'ApiStarting', 5, 40, 0), (8, 'client_ready', 'Ready', 4, null, 0)
    ) as i (n, status, reason, minutes, seconds, contested);
    insert into auth_reconciler.pause values (1, pg_temp.id(3), 'moving its number', 'alice', now() - interval '2 hours');
    insert into auth_reconciler.change (watched_id, instance_id, cause, changed_at) values
        (1, pg_temp.id(5), 'account', now() - interval '5 minutes'),
        (1, pg_temp.id(5), 'api_key', now() - interval '4 minutes'),
        (1, pg_temp.id(9), 'insert', now())";

pub(super) async fn scripted() -> Result<Scene> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(ROWS).await?;
    scene.manager.batch_execute(RECORDED).await?;
    Ok(scene)
}

/// As if a daemon led.
const LEAD: &str =
    "select set_config('application_name', 'auth-reconciler ear 0.1.0 host 1', false),
    pg_advisory_lock(auth_reconciler.leadership_lock())";

const PROBLEMS: &str = "
    select array_agg(
        ltrim(right(id::text, 3), '0') || ' ' || problem || ': ' || replace(next, E'\\n', ' ') order by id)
    from auth_reconciler.problem_details where id is not null";

/// A table that was dropped, one that is watched in another way than it could be, one that has lost a column, and one
/// whose trigger is disabled.
const FAULTY: &str = "
    create table public.gone (like public.message_instances including all);
    select auth_reconciler.watch('public.gone'); drop table public.gone;
    create table public.telegram_instances (like public.message_instances including all);
    alter table public.telegram_instances drop column type_instance;
    select auth_reconciler.watch('public.telegram_instances');
    alter table public.telegram_instances add column type_instance varchar[];
    alter table public.message_instances disable trigger auth_reconciler_update;
    create table public.other (like public.telegram_instances including all);
    select auth_reconciler.watch('public.other'); alter table public.other rename column auth_status to old_status";

const MEND: &str = "
    delete from auth_reconciler.owed;
    select auth_reconciler.unwatch(relation) from auth_reconciler.watched_table
    where relation::oid <> 'public.message_instances'::regclass;
    delete from auth_reconciler.owed;
    alter table public.message_instances enable trigger auth_reconciler_update";

/// All of it before any instance, and the worst before the rest.
async fn what_is_wrong_with_the_whole_comes_first(scene: &Scene) -> Result<()> {
    scene.manager.batch_execute(FAULTY).await?;
    let order: String = value(
        &scene.manager,
        "select string_agg(case when id is null then problem else '-' end, ' ') from auth_reconciler.problem_details",
    )
    .await?;
    let general = "NobodyLeads TableDropped ColumnChanged TriggersMissing ColumnAdded -";
    assert!(order.starts_with(general), "{order}");
    assert!(
        !order.replace(general, "").contains(char::is_alphabetic),
        "{order}"
    );
    scene.manager.batch_execute(MEND).await?;
    Ok(())
}

#[tokio::test]
async fn problems_names_what_is_not_ready_and_what_happens_next() -> Result<()> {
    let scene = scripted().await?;
    let nobody = "nothing: no daemon leads; start one, see reconcilers";
    let found: Vec<String> = value(&scene.manager, PROBLEMS).await?;
    assert_eq!(found[1], "3 Paused: nothing until resume()");
    assert_eq!(found[3], format!("5 Unanswered: {nobody}"));
    assert_eq!(found[6], format!("9 Unanswered: {nobody}"));
    let first =
        "select problem || ': ' || (id is null)::text from auth_reconciler.problem_details limit 1";
    assert_eq!(
        value::<String>(&scene.manager, first).await?,
        "NobodyLeads: true"
    );

    what_is_wrong_with_the_whole_comes_first(&scene).await?;

    scene.manager.execute(LEAD, &[]).await?;
    let found: Vec<String> = value(&scene.manager, PROBLEMS).await?;
    let event = "nothing until its row or container changes, or reconcile()";
    let expected = [
        format!("2 ApiKeyRejected: {event}"),
        "3 Paused: nothing until resume()".to_owned(),
        "4 Contested: corrected again in 00:00:".to_owned(),
        "5 Unanswered: a look is due now".to_owned(),
        "7 ApiStarting: looked at again in 00:00:".to_owned(),
        format!("8 Overwritten: {event}"),
        "9 Unseen: a look is due now".to_owned(),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found.starts_with(expected), "{found} and not {expected}");
    }
    let ages: String = value(
        &scene.manager,
        "select string_agg(date_trunc('minute', age)::text, ' ' order by id) from auth_reconciler.problem_details",
    )
    .await?;
    assert_eq!(
        ages,
        "00:50:00 02:00:00 00:30:00 00:05:00 00:05:00 00:04:00 00:00:00"
    );
    let first: String = value(
        &scene.manager,
        "select replace(why, E'\\n', ' ') from auth_reconciler.problem_details limit 1",
    )
    .await?;
    assert_eq!(
        first,
        "failed: in words, as many as it takes to say what is wrong"
    );
    Ok(())
}

#[tokio::test]
async fn backlog_names_what_waits_and_why() -> Result<()> {
    let scene = scripted().await?;
    let backlog =
        "select string_agg(concat_ws('|', ltrim(right(id::text, 3), '0'), changes, causes,
            date_trunc('minute', age), why), ' ' order by since)
        from auth_reconciler.backlog";
    assert_eq!(
        value::<String>(&scene.manager, backlog).await?,
        "5|2|account, api_key|00:05:00|no daemon leads 9|1|insert|00:00:00|no daemon leads"
    );
    scene.manager.execute(LEAD, &[]).await?;
    let why = "select array_agg(why order by since) from auth_reconciler.backlog";
    let said: Vec<String> = value(&scene.manager, why).await?;
    assert_eq!(said, ["a look is due", "a look is due"]);
    // One of its changes is new, and then all of them were read.
    for (put_off, first) in [
        ("cause = 'account'", "a look is due"),
        (
            "cause = 'api_key'",
            "a look could not answer for it, and another one will",
        ),
    ] {
        let mark = format!("update auth_reconciler.change set put_off = true where {put_off}");
        scene.manager.batch_execute(&mark).await?;
        let said: Vec<String> = value(&scene.manager, why).await?;
        assert_eq!(said, [first, "a look is due"]);
    }
    Ok(())
}

#[tokio::test]
async fn latency_of_known_samples() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "insert into auth_reconciler.transition
                (watched_id, instance_id, at, reason, message, cause, reaction_ms)
             select 1, gen_random_uuid(), now() - interval '10 minutes', 'Ready', '', 'drift', n
             from generate_series(1, 100) as n
             union all
             select 1, gen_random_uuid(), now() - interval '3 hours', 'Ready', '', 'account', n
             from unnest(array[40, 10, 30, 20]) as n
             union all
             select 1, gen_random_uuid(), now() - interval '25 hours', 'Ready', '', 'account', 9999",
        )
        .await?;
    let found: Vec<String> = value(
        &scene.manager,
        "select array_agg(concat_ws(' ', period, cause, count, p50_ms::int, p95_ms::int, p99_ms::int, max_ms::int))
         from auth_reconciler.latency",
    )
    .await?;
    // Of 104 of a day the 52nd is 48: 1 to 48 and the four others are at most that.
    assert_eq!(
        found,
        [
            "hour all 100 50 95 99 100",
            "hour drift 100 50 95 99 100",
            "day all 104 48 95 99 100",
            "day account 4 20 40 40 40",
            "day drift 100 50 95 99 100",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn drift_names_the_writers_and_the_contested_first() -> Result<()> {
    let scene = scripted().await?;
    let writer = scene.database.client().await?;
    // A role of another name within a session of the superuser's.
    writer
        .batch_execute(
            "set application_name = 'worker 7';
             create role writer_of_drift;
             grant select, update on public.message_instances to writer_of_drift;
             set role writer_of_drift",
        )
        .await?;
    let write = |number: u8, status: &'static str| {
        format!(
            "update public.message_instances set auth_status = '{status}'
             where id = '00000000-0000-0000-0000-00000000000{number}'"
        )
    };
    for number in [4, 4, 1] {
        for status in ["failed", "pending"] {
            writer.batch_execute(&write(number, status)).await?;
        }
    }
    writer
        .batch_execute("reset role; drop owned by writer_of_drift; drop role writer_of_drift")
        .await?;
    let found: Vec<String> = value(
        &scene.manager,
        "select array_agg(concat_ws('|', ltrim(right(id::text, 3), '0'), contested::text, application, role,
             from_status || '>' || to_status, times, guarded))
         from auth_reconciler.drift_details",
    )
    .await?;
    let who = "worker 7|postgres as writer_of_drift";
    assert_eq!(
        found,
        [
            format!("4|true|{who}|failed>pending|2|0"),
            format!("4|true|{who}|pending>failed|2|0"),
            format!("1|false|{who}|failed>pending|1|0"),
            format!("1|false|{who}|client_ready>failed|1|0"),
        ]
    );
    Ok(())
}

/// They are counted by a statement of their own.
#[tokio::test]
async fn totals_count_what_instances_lists() -> Result<()> {
    let scene = scripted().await?;
    let fight = "update auth_reconciler.instance set foreign_at = array_fill(now(), array[13]) where instance_id = pg_temp.id(1)";
    scene.manager.batch_execute(fight).await?;
    let told = |rows: &str| {
        format!(
            "select array_agg(concat_ws('|', auth_status, reason, instances, in_trouble, contested, paused)
                order by auth_status, reason)
             from ({rows}) as t"
        )
    };
    let counted: Vec<String> = value(
        &scene.manager,
        &told("select * from auth_reconciler.totals"),
    )
    .await?;
    let listed: Vec<String> = value(
        &scene.manager,
        &told(
            "select i.auth_status, coalesce(i.reason, 'Unseen') as reason, count(*) as instances,
                count(*) filter (where i.trouble) as in_trouble, count(*) filter (where i.contested) as contested,
                count(*) filter (where i.paused) as paused
             from auth_reconciler.instances as i
             group by 1, 2",
        ),
    )
    .await?;
    assert_eq!(counted, listed);
    let ready = ["client_ready|Paused|1|0|0|1", "client_ready|Ready|2|1|0|0"];
    assert!(
        ready
            .iter()
            .all(|told| counted.iter().any(|found| found == told)),
        "{counted:?}"
    );
    Ok(())
}

#[tokio::test]
async fn history_tells_how_much_is_kept_and_how_large_it_is() -> Result<()> {
    let scene = scripted().await?;
    let found: Vec<String> = value(
        &scene.manager,
        "select array_agg(concat_ws('|', kept, rows, date_trunc('minute', reaches_back), bytes > 8000, size like '%kB'))
         from auth_reconciler.history",
    )
    .await?;
    assert_eq!(
        found,
        [
            "transitions|0|t|t",
            "journal|0|t|t",
            "unanswered changes|3|00:05:00|t|t",
            "instances|8|00:00:00|t|t",
        ]
    );
    eventually(&scene.manager, "select true").await
}
