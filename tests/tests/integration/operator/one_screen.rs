//! What a person reads first: the fleet on one screen, the days of an instance, and what there is to ask.

use anyhow::{Result, ensure};
use tokio_postgres::SimpleQueryMessage;

use super::questions::scripted;
use super::value;
use crate::scene::Scene;

/// One row of each status and reason, the first of them with trouble.
#[tokio::test]
async fn overview_counts_what_instances_lists_and_says_since_when() -> Result<()> {
    let scene = scripted().await?;
    let told = |rows: &str| {
        format!(
            "select array_agg(concat_ws('|', auth_status, reason, instances, in_trouble, date_trunc('minute', oldest))
                order by auth_status, reason)
             from ({rows}) as t"
        )
    };
    let counted = told("select * from auth_reconciler.overview");
    let counted: Vec<String> = value(&scene.manager, &counted).await?;
    let listed = told(
        "select i.auth_status, coalesce(i.reason, 'Unseen') as reason, count(*) as instances,
            count(*) filter (where i.trouble) as in_trouble, now() - min(i.since) as oldest
         from auth_reconciler.instances as i
         group by 1, 2",
    );
    let listed: Vec<String> = value(&scene.manager, &listed).await?;
    assert_eq!(counted, listed);
    let first: String = value(
        &scene.manager,
        "select concat_ws('|', reason, instances, in_trouble, date_trunc('minute', newest), date_trunc('minute', oldest))
         from auth_reconciler.overview limit 1",
    )
    .await?;
    assert_eq!(first, "ApiKeyRejected|1|1|00:50:00|00:50:00");
    let ready: String = value(
        &scene.manager,
        "select concat_ws('|', instances, date_trunc('minute', newest), date_trunc('minute', oldest))
         from auth_reconciler.overview where auth_status = 'client_ready' and reason = 'Ready'",
    )
    .await?;
    assert_eq!(ready, "2|00:20:00|01:00:00");
    Ok(())
}

/// What serves the views that people ask.
const HIDDEN: [&str; 2] = ["judged_rows", "spells"];

#[tokio::test]
async fn help_lists_what_there_is_and_its_examples_do_what_they_say() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = scene.instance(1).await?;
    let client = &scene.manager;
    let rows = client
        .query(
            "select h.name, h.what, replace(h.example, e'\\n', ' ') from auth_reconciler.help as h",
            &[],
        )
        .await?;
    let mut listed = Vec::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        let what: Option<String> = row.try_get(1)?;
        ensure!(
            what.is_some_and(|what| what.ends_with('.')),
            "{name} says nothing"
        );
        let example: String = row.try_get::<_, String>(2)?.replace("ID", &id.to_string());
        ensure!(
            example.contains(&format!("auth_reconciler.{name}")),
            "{example}"
        );
        let answer = client
            .simple_query(&format!("begin; {example} rollback"))
            .await?;
        let columns =
            |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::RowDescription(_));
        ensure!(answer.iter().any(columns), "{example}");
        listed.push(name);
    }
    let views: Vec<String> = value(
        client,
        "select array_agg(relname::text) from pg_class
         where relnamespace = 'auth_reconciler'::regnamespace and relkind = 'v'",
    )
    .await?;
    for view in views {
        let expected = !HIDDEN.contains(&&*view);
        ensure!(listed.contains(&view) == expected, "{view}");
    }
    // What members of the roles may call by themselves, and what only the owner may.
    let called = "explain guard pause reconcile reconcile_all resume unwatch watch";
    for function in called.split(' ') {
        ensure!(listed.iter().any(|name| name == function), "{function}");
    }
    Ok(())
}

/// Of three instances: numbers, and what each was from when on, in half hours counted from 24 hours ago.
const LIVED: &str = "
    create function pg_temp.id(n int) returns uuid language sql as
        $$ select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
    create function pg_temp.at(half_hours numeric) returns timestamptz language sql as
        $$ select now() - interval '1 day' + half_hours * interval '30 minutes' $$;
    insert into public.message_instances (id, provider, port_api, api_key, auth_status)
    select pg_temp.id(n), 'telegram', 1, 'a-key', status
    from (values (1, 'client_ready'), (2, 'failed'), (3, 'failed')) as r (n, status);
    delete from auth_reconciler.change;
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause, reaction_ms,
         recorded_at, looks, attempts, misses, corrections_spent, contested)
    select 1, m.id, gen_random_uuid(), 1, m.auth_status, 'Ready', '', pg_temp.at(44.5), true, 'api_key', 1, now(), 1, 0, 0, 0, 0
    from public.message_instances as m;
    insert into auth_reconciler.transition
        (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
    select 1, pg_temp.id(n), pg_temp.at(half_hours), former, latter, 'Ready', '', cause, 1
    from (
        values
            (1, 4.5, 'pending', 'client_ready', 'insert'),
            (1, 10.5, 'client_ready', 'failed', 'container'),
            (1, 12.5, 'failed', 'client_ready', 'container'),
            -- Corrections: what somebody else wrote is not how it fared.
            (1, 20.5, 'pending', 'client_ready', 'drift'),
            (3, -120, 'client_ready', 'failed', 'container'),
            (3, -20, 'pending', 'failed', 'drift')
    ) as t (n, half_hours, former, latter, cause)";

#[tokio::test]
async fn a_day_of_an_instance_fits_one_line() -> Result<()> {
    let scene = lived().await?;
    let strips: Vec<String> = value(
        &scene.manager,
        "select array_agg(concat_ws('|', right(id::text, 1), last_day, flaps)) from auth_reconciler.last_day",
    )
    .await?;
    let blank = |count| " ".repeat(count);
    let expected = [
        format!("1|{}{}!!!{}|1", blank(4), "#".repeat(6), "#".repeat(35)),
        // History knows nothing of it but how it is now.
        format!("2|{}!!!!|0", blank(44)),
        format!("3|{}|0", "!".repeat(48)),
    ];
    assert_eq!(strips, expected);
    Ok(())
}

#[tokio::test]
async fn days_tell_how_often_it_flapped_and_how_long_it_was_down() -> Result<()> {
    let scene = lived().await?;
    let told: Vec<String> = value(
        &scene.manager,
        "select array_agg(concat_ws('|', n, flaps, down, longest) order by n)
         from (
            select right(id::text, 1) as n, sum(flaps) as flaps,
                -- Each day is cut to whole seconds.
                date_trunc('minute', sum(down) + interval '10 seconds') as down, max(down) as longest
            from auth_reconciler.days
            where id <> pg_temp.id(2)
            group by 1
         ) as d",
    )
    .await?;
    // 84 hours hold two whole days at least.
    assert_eq!(told[1], "3|1|84:00:00|24:00:00");
    assert!(told[0].starts_with("1|1|01:00:00|"), "{told:?}");
    let last: bool = value(
        &scene.manager,
        "select max(last_ready) > now() - interval '2 seconds' from auth_reconciler.days where id = pg_temp.id(1)",
    )
    .await?;
    assert!(last, "it is ready now");
    let never: Option<String> = value(
        &scene.manager,
        "select max(last_ready)::text from auth_reconciler.days where id = pg_temp.id(3)",
    )
    .await?;
    assert_eq!(never, None);
    Ok(())
}

async fn lived() -> Result<Scene> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(LIVED).await?;
    Ok(scene)
}
