//! From the first schema with data in it to the newest: what was there is there, and the daemon goes on.

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use super::value;
use crate::scene::{ALL_TRUE, KEY, Scene};

const FIRST: &str = include_str!("../../../../sql/migrations/0001_foundation.sql");

/// What version 1 has left behind of two instances: $1 ready, $2 written while nobody ran; and what its operator
/// granted. The view is the first version's as far as grants are concerned.
const LEFT: &str = "
    insert into auth_reconciler.migration (version, name) values (1, '0001_foundation');
    insert into auth_reconciler.watched_table (relation, has_type_instance, assigned)
    values ('public.message_instances', true, false);
    create view auth_reconciler.status as select 1 as id, 2 as looks;
    create view auth_reconciler.transitions as select 1 as instance_id;
    insert into auth_reconciler.change (watched_id, instance_id, cause) values (1, 'SECOND', 'api_key');
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
         reaction_ms, recorded_at, looks, attempts, misses, ready_at, corrections_spent, contested)
    select 1, 'FIRST', gen_random_uuid(), 3, 'client_ready', 'Ready', 'it was ready', '2025-07-24', true, 'api_key',
        4.5, '2025-07-24', 12, 0, 0, '2025-07-24', 0, 0;
    insert into auth_reconciler.transition
        (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
    values (1, 'FIRST', now() - interval '1 minute', 'pending', 'client_ready', 'Ready', 'it was ready', 'api_key', 4.5);
    create role ROLE;
    grant usage on schema auth_reconciler to ROLE;
    grant select on auth_reconciler.status to ROLE with grant option;
    grant select (instance_id) on auth_reconciler.transitions to ROLE;
    grant select, insert on auth_reconciler.change to ROLE";

const HELD: &str = "
    select concat_ws(' ',
        has_table_privilege('ROLE', 'auth_reconciler.status', 'select with grant option'),
        has_table_privilege('ROLE', 'auth_reconciler.transitions', 'select'),
        has_column_privilege('ROLE', 'auth_reconciler.transitions', 'instance_id', 'select'),
        has_table_privilege('ROLE', 'auth_reconciler.change', 'insert'),
        has_table_privilege('ROLE', 'auth_reconciler.problems', 'select'))";

#[tokio::test]
async fn the_first_schema_with_data_in_it_becomes_the_newest() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (first, second) = (
        scene.instance(stub.port()).await?,
        scene.instance(stub.port()).await?,
    );
    scene
        .table
        .write_status(&scene.manager, first, Some("client_ready"))
        .await?;
    let role = format!("reader_{}", Uuid::new_v4().simple());
    let fill = |text: &str| {
        text.replace("FIRST", &first.to_string())
            .replace("SECOND", &second.to_string())
            .replace("ROLE", &role)
    };
    scene.manager.batch_execute(FIRST).await?;
    scene.manager.batch_execute(&fill(LEFT)).await?;
    scene.migrate().await?;
    // Again, as if the routines were of another build: grants outlive that, too.
    scene
        .manager
        .batch_execute("update auth_reconciler.migration set routines = 'others'")
        .await?;
    scene.migrate().await?;
    let held: Result<String> = value(&scene.manager, &fill(HELD)).await;

    let daemon = Daemon::start(&scene.database, &[]).await?;
    let all_true = scene.eventually(ALL_TRUE).await;
    let story = format!("select string_agg(act, ' ') from auth_reconciler.explain('{first}')");
    let story: Result<String> = value(&scene.manager, &story).await;
    let latency =
        "select string_agg(concat_ws(' ', period, cause, count), ', ') from auth_reconciler.latency
        where cause = 'api_key' and period = 'hour'";
    let latency: Result<String> = value(&scene.manager, latency).await;
    let looks: Result<i64> = value(
        &scene.manager,
        &fill("select looks from auth_reconciler.instances where id = 'FIRST'"),
    )
    .await;
    let gone = fill("drop owned by ROLE; drop role ROLE");
    scene.manager.batch_execute(&gone).await?;
    all_true?;
    assert_eq!(
        held?, "t f t t f",
        "what was granted is granted, and nothing else"
    );
    assert!(looks? > 12, "it counts on from where it was");
    assert_eq!(story?, "transition change verdict now", "history goes on");
    assert_eq!(latency?, "hour api_key 2");
    scene
        .table
        .save_api_key(&scene.manager, first, Some(KEY))
        .await?;
    scene.looked_at(&daemon, first).await
}

/// Tables that no setting names were attached by the earlier version just the same.
#[tokio::test]
async fn an_upgrade_attaches_every_watched_table_anew() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create table public.other (like public.message_instances including all);
             create table public.broken (like public.message_instances including all);
             insert into public.other (id) values (gen_random_uuid());
             select auth_reconciler.watch('public.broken'), auth_reconciler.watch('public.other');
             drop trigger auth_reconciler_update on public.broken;
             alter table public.broken drop column account;
             -- As the earlier version made it.
             create or replace trigger auth_reconciler_update after update on public.other
                 for each row when (current_setting('auth_reconciler.writing', true) is null)
                 execute function auth_reconciler.log_change('3');
             delete from auth_reconciler.owed",
        )
        .await?;
    let missing = "select string_agg(w.relation || ' ' || auth_reconciler.missing_triggers(w.relation, w.assigned)::text, ', ' order by w.id)
        from auth_reconciler.watched_table as w";
    let before: String = value(&scene.manager, missing).await?;
    assert_eq!(
        before,
        "message_instances {}, broken {auth_reconciler_update}, other {auth_reconciler_update}"
    );
    let done = run_command(scene.url(), &["migrate"], &[]).await?;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains("public.other is watched") && done.stdout.contains("looks queued: 1"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr.contains("public.broken") && done.stderr.contains("column account is missing"),
        "one that cannot be watched any more is named: {}",
        done.stderr
    );
    let after: String = value(&scene.manager, missing).await?;
    assert_eq!(
        after,
        "message_instances {}, broken {auth_reconciler_update}, other {}"
    );
    let again = run_command(scene.url(), &["migrate"], &[]).await?;
    assert!(!again.stdout.contains("public.other"), "{}", again.stdout);
    Ok(())
}

/// What the views are made of is divided anew from version to version.
#[tokio::test]
async fn who_could_read_the_views_of_the_last_release_can_read_them_still() -> Result<()> {
    let scene = Scene::shared().await?;
    super::earlier::install(&scene, 4).await?;
    let role = format!("reader_{}", Uuid::new_v4().simple());
    let grant = format!(
        "create role {role}; grant usage on schema auth_reconciler to {role};
         grant select on auth_reconciler.problems, auth_reconciler.status, auth_reconciler.instances,
            auth_reconciler.drift, auth_reconciler.history, auth_reconciler.backlog, auth_reconciler.latency to {role};
         grant execute on all functions in schema auth_reconciler to {role}"
    );
    scene.manager.batch_execute(&grant).await?;
    scene.migrate().await?;
    let mut refused = Vec::new();
    for view in [
        "problems",
        "problem_details",
        "drift_details",
        "status",
        "instances",
        "drift",
        "history",
        "backlog",
        "latency",
    ] {
        let read =
            format!("begin; set local role {role}; select * from auth_reconciler.{view}; rollback");
        if let Err(error) = scene.manager.batch_execute(&read).await {
            scene.manager.batch_execute("rollback").await?;
            refused.push(format!("{view}: {error:?}"));
        }
    }
    let gone = format!("drop owned by {role}; drop role {role}");
    scene.manager.batch_execute(&gone).await?;
    assert!(refused.is_empty(), "{refused:?}");
    Ok(())
}
