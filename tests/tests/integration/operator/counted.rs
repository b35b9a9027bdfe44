//! What is counted rather than added up when somebody asks: who wrote auth_status beside us, and how many are how.

use anyhow::Result;
use uuid::Uuid;

use super::value;
use crate::scene::Scene;

/// So many foreign writes of the instance by an application, of which the last was made so many minutes ago.
async fn written(
    scene: &Scene,
    id: Uuid,
    by: &str,
    minutes: u8,
    times: u8,
    kept: bool,
) -> Result<()> {
    let log = format!(
        "insert into auth_reconciler.change
            (watched_id, instance_id, cause, changed_at, from_status, to_status, application, role, kept)
         select 1, '{id}', 'drift', now() - interval '{minutes} minutes' - n * interval '1 second', 'client_ready', null, '{by}',
            'manager', {kept}
         from generate_series({times} - 1, 0, -1) as n"
    );
    Ok(scene.manager.batch_execute(&log).await?)
}

/// As a record answers for all that is in the log.
async fn answered(scene: &Scene, single: bool) -> Result<()> {
    let answer = format!(
        "select auth_reconciler.answer_changes(1, array(select id from auth_reconciler.change), {single})"
    );
    Ok(scene.manager.batch_execute(&answer).await?)
}

async fn drift(scene: &Scene) -> Result<Vec<String>> {
    value(
        &scene.manager,
        "select coalesce(array_agg(concat_ws('|', application, from_status, to_status, times, guarded,
             date_trunc('minute', now() - since), date_trunc('minute', now() - last_at))), '{}')
         from auth_reconciler.drift_details",
    )
    .await
}

async fn total(scene: &Scene) -> Result<String> {
    let asked = "select concat_ws('|', times, guarded) from auth_reconciler.drift_total";
    value(&scene.manager, asked).await
}

#[tokio::test]
async fn writers_are_counted_whether_or_not_a_look_has_answered_yet() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = Uuid::new_v4();
    assert_eq!(total(&scene).await?, "0|0");
    written(&scene, id, "worker", 40, 3, false).await?;
    assert_eq!(
        drift(&scene).await?,
        ["worker|client_ready|3|0|00:40:00|00:40:00"]
    );
    answered(&scene, false).await?;
    assert_eq!(
        drift(&scene).await?,
        ["worker|client_ready|3|0|00:40:00|00:40:00"]
    );
    // More than are told of one look are counted all the same.
    for other in 0..25 {
        written(&scene, id, &format!("other {other}"), 30, 1, false).await?;
    }
    answered(&scene, false).await?;
    assert_eq!(total(&scene).await?, "28|0");
    written(&scene, id, "worker", 20, 1, true).await?;
    answered(&scene, true).await?;
    // Of those that wait some are like earlier ones, and some are not.
    written(&scene, id, "worker", 10, 2, true).await?;
    written(&scene, id, "new", 5, 1, false).await?;
    let found = drift(&scene).await?;
    assert_eq!(found[0], "new|client_ready|1|0|00:05:00|00:05:00");
    assert_eq!(found[1], "worker|client_ready|6|3|00:40:00|00:10:00");
    assert_eq!(found.len(), 27);
    assert_eq!(total(&scene).await?, "32|3");
    Ok(())
}

#[tokio::test]
async fn writers_are_forgotten_as_history_is() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    for (by, minutes) in [("long ago", 200), ("lately", 201), ("lately", 20)] {
        written(&scene, one, by, minutes, 1, false).await?;
        answered(&scene, true).await?;
    }
    // Whatever an application calls itself: no more kinds than entries are kept.
    for name in 0..9 {
        written(&scene, other, &format!("name {name}"), 100 - name, 1, false).await?;
        answered(&scene, true).await?;
    }
    let prune = |id: Uuid, age: &str| {
        format!("select auth_reconciler.prune(1, array['{id}'::uuid], 4, '{age}', 16)")
    };
    scene.manager.batch_execute(&prune(other, "1 day")).await?;
    let kept: Vec<String> = drift(&scene).await?;
    let names: Vec<&str> = kept
        .iter()
        .filter_map(|told| told.split('|').next())
        .collect();
    let expected = ["lately", "name 8", "name 7", "name 6", "name 5", "long ago"];
    assert_eq!(names, expected);
    // By age any look takes some along, of whatever instance; a kind is as old as the last of its writes.
    scene
        .manager
        .batch_execute(&prune(other, "3 hours"))
        .await?;
    let kept = drift(&scene).await?;
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert_eq!(kept[0], "lately|client_ready|2|0|03:21:00|00:20:00");
    Ok(())
}

/// Somebody may write another value each time, and a look locks the watched row while it counts them.
#[tokio::test]
async fn of_one_look_the_last_hundred_kinds_of_writes_are_counted() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = Uuid::new_v4();
    for name in 0..120 {
        written(&scene, id, &format!("name {name}"), 120 - name, 1, false).await?;
    }
    answered(&scene, false).await?;
    let found = drift(&scene).await?;
    assert_eq!(found.len(), 100);
    let names = |told: &String| told.split('|').next().map(str::to_owned);
    assert_eq!(names(&found[0]).as_deref(), Some("name 119"));
    assert_eq!(names(&found[99]).as_deref(), Some("name 20"));
    Ok(())
}

/// What has piled up goes in pieces: watched rows are locked meanwhile.
#[tokio::test]
async fn one_record_forgets_no_more_kinds_of_writes_than_the_looks_since_the_last_can_add()
-> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = Uuid::new_v4();
    let many = format!(
        "insert into auth_reconciler.foreign_write
            (watched_id, instance_id, kind, application, times, guarded, first_at, last_at)
         select 1, '{id}', n, 'name ' || n, 1, 0, now(), now() - n * interval '1 second' from generate_series(1, 3000) as n"
    );
    scene.manager.batch_execute(&many).await?;
    let prune = format!("select auth_reconciler.prune(1, array['{id}'::uuid], 4, '1 day', 16)");
    let mut left = Vec::new();
    for _ in 0..3 {
        scene.manager.batch_execute(&prune).await?;
        let count = "select count(*) from auth_reconciler.foreign_write";
        left.push(value::<i64>(&scene.manager, count).await?);
    }
    assert_eq!(left, [1400, 4, 4]);
    let kept =
        "select array_agg(application order by last_at desc) from auth_reconciler.foreign_write";
    let kept: Vec<String> = value(&scene.manager, kept).await?;
    assert_eq!(kept, ["name 1", "name 2", "name 3", "name 4"], "the latest");
    Ok(())
}

/// An upgrade adds up once what was kept.
#[tokio::test]
async fn writers_that_history_knew_before_an_upgrade_are_known_after_it() -> Result<()> {
    let scene = Scene::shared().await?;
    super::earlier::install(&scene, 4).await?;
    let kept = format!(
        "insert into auth_reconciler.watched_table (relation, has_type_instance, assigned, name)
         values ('public.message_instances', true, false, 'public.message_instances')
         on conflict do nothing;
         insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, application, role)
         select (select id from auth_reconciler.watched_table), '{}', now() - n * interval '1 minute', act, 'drift', n,
            now() - n * interval '2 minutes', 'client_ready', null, 'worker', 'manager'
         from (values (10, 'drift'), (20, 'guarded'), (30, 'drift')) as j (n, act)",
        Uuid::new_v4()
    );
    scene.manager.batch_execute(&kept).await?;
    scene.migrate().await?;
    assert_eq!(
        drift(&scene).await?,
        ["worker|client_ready|60|20|01:00:00|00:10:00"]
    );
    scene.migrate().await?;
    assert_eq!(total(&scene).await?, "60|20");
    Ok(())
}
