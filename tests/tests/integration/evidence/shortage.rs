//! What the daemon lacks itself: descriptors, a resolver. Nobody was asked, so nothing is believed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Fleet, Stub};
use uuid::Uuid;

use super::names::Names;
use super::{prepared, problem};
use crate::arena::{KEY, Scene};
use crate::scene::eventually;

const CANNOT: &str = "instances cannot be asked; nothing is believed of them meanwhile, and they are tried again (said once)";
const ASKED: &str = "every instance that could not be asked was asked";

/// A streak is soon long enough, so that a shortage would soon be believed if it counted.
const HASTY: [(&str, &str); 4] = [
    ("AUTH_RECONCILER_MISSES", "2"),
    ("AUTH_RECONCILER_MISS_WINDOW", "500ms"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "1s"),
    ("RUST_LOG", "auth_reconciler=debug"),
];

/// How often this instance could not be asked so far.
fn not_asked(scene: &Scene, id: Uuid) -> usize {
    let id = id.to_string();
    scene.daemon.count(|line| {
        line.is("api asked") && line.has("instance", &id) && line.text.contains("NotAsked")
    })
}

/// Waits until each of them could not be asked so often, after what was there before.
async fn tried_in_vain(scene: &Scene, ids: &[Uuid], times: usize) -> Result<()> {
    let mut mark = 0;
    while !ids.iter().all(|id| not_asked(scene, *id) >= times) {
        let now = scene.daemon.mark();
        scene
            .daemon
            .wait_line(mark, "another look in vain", |line| {
                line.is("api asked") && line.text.contains("NotAsked")
            })
            .await?;
        mark = now;
    }
    Ok(())
}

/// Waits until the database says, or no longer says, that instances cannot be asked.
async fn noted(scene: &Scene, stands: bool) -> Result<()> {
    let both = format!(
        "select {stands} = exists (select from auth_reconciler.problem_details where problem = 'NotAsked' and id is null)
            and {stands} = exists (select from auth_reconciler.reconciler_details where remark like '%cannot be asked%')"
    );
    eventually(&scene.client, &both).await
}

/// Waits until every instance was asked since whatever happened to it, and is ready. By which look counts nothing: on a
/// busy machine an answer may be late, and the clock asks once more.
async fn all_ready(scene: &Scene) -> Result<()> {
    let ready = "select every(reason = 'Ready' and settled) and not exists (select from auth_reconciler.change)
        from auth_reconciler.instance";
    eventually(&scene.client, ready).await
}

/// Each of them moved as often as that, by the history.
async fn moves(scene: &Scene, ids: &[Uuid], count: usize) -> Result<()> {
    for id in ids {
        let history = scene.history(*id).await?;
        ensure!(history.len() == count, "{id}: {history:?}");
        let status = scene.table.status(&scene.client, *id).await?;
        ensure!(
            status.as_deref() == Some("client_ready"),
            "{id}: {status:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn without_descriptors_nobody_was_asked() -> Result<()> {
    let script = "ulimit -n 24; exec \"$0\" \"$@\"";
    let mut settings = HASTY.to_vec();
    settings.push(("AUTH_RECONCILER_PROBE_TIMEOUT", "3s"));
    let scene = Scene::serve_within(&["sh", "-c", script], prepared().await?, &settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let ready = scene.instance(&stub).await?;
    let hanging = Fleet::start(30, Behaviour::Hang).await?;
    for port in hanging.ports() {
        let id = Uuid::new_v4();
        let (table, client) = (&scene.table, &scene.client);
        table.insert(client, id, Some(port), Some(KEY)).await?;
    }
    scene.daemon.wait_message(CANNOT).await?;
    // On a busy machine all may have been asked for a moment, so what is said is read with that it is.
    let said = "select exists (select from auth_reconciler.problem_details
        where problem = 'NotAsked' and id is null and why like '%ulimit -n%')";
    eventually(&scene.client, said).await?;
    noted(&scene, true).await?;
    let (table, client) = (&scene.table, &scene.client);
    while not_asked(&scene, ready) < 3 {
        let account = Uuid::new_v4().to_string();
        let mark = scene.daemon.mark();
        table.save_account(client, ready, Some(&account)).await?;
        let id = ready.to_string();
        scene
            .daemon
            .wait_line(mark, "the ready one asked, or not", |line| {
                line.is("api asked") && line.has("instance", &id)
            })
            .await?;
    }
    hanging.set(&Behaviour::Ready).await?;
    scene.daemon.wait_message(ASKED).await?;
    noted(&scene, false).await?;
    assert_eq!(scene.reconcile(ready).await?.reason(), "Ready");
    moves(&scene, &[ready], 1).await?;
    assert_eq!(scene.daemon.count(|line| line.is(CANNOT)), 1, "said once");
    // A connection to the database takes a descriptor, too.
    let log = scene.daemon.log();
    let failed = log
        .iter()
        .filter(|line| line.is("look failed, will be repeated"));
    let mut errors: Vec<_> = failed.map(|line| line.field("error").to_string()).collect();
    let all = errors.len();
    errors.sort();
    errors.dedup();
    assert_eq!(errors.len(), all, "each once: {errors:?}");
    Ok(())
}

#[tokio::test]
async fn without_a_resolver_nobody_was_asked() -> Result<()> {
    let Some(names) = Names::new("files dns")? else {
        return Ok(());
    };
    let script = names.script();
    let mut settings = HASTY.to_vec();
    settings.push(("AUTH_RECONCILER_PROBE_URL", "http://wweb-{id}-api:{port}"));
    let fleet = Fleet::start(10, Behaviour::Ready).await?;
    let ids: Vec<_> = fleet.ports().iter().map(|_| Uuid::new_v4()).collect();
    let known: Vec<_> = ids.iter().map(|id| format!("wweb-{id}-api")).collect();
    names.know(&known)?;
    let scene = Scene::serve_within(&Names::wrapper(&script), prepared().await?, &settings).await?;
    let (table, client) = (&scene.table, &scene.client);
    for (id, port) in ids.iter().zip(fleet.ports()) {
        table.insert(client, *id, Some(port), Some(KEY)).await?;
    }
    scene.all_recorded(10, "Ready", "insert").await?;
    names.know(&[])?;
    let all = format!("update {} set account = 'somebody'", table.name());
    client.batch_execute(&all).await?;
    scene.daemon.wait_message(CANNOT).await?;
    noted(&scene, true).await?;
    tried_in_vain(&scene, &ids, 4).await?;
    moves(&scene, &ids, 1).await?;
    names.know(&known)?;
    let returned = Instant::now();
    all_ready(&scene).await?;
    let took = returned.elapsed();
    // A look a second is promised; the rest is patience with a busy machine.
    ensure!(took < Duration::from_secs(15), "normal after {took:?}");
    moves(&scene, &ids, 1).await?;
    scene.daemon.wait_message(ASKED).await?;
    noted(&scene, false).await?;
    assert_eq!(scene.daemon.count(|line| line.is(CANNOT)), 1, "said once");
    Ok(())
}

/// Nobody knows better than whoever wrote it.
#[tokio::test]
async fn what_guard_put_aside_is_given_back_where_nobody_can_be_asked() -> Result<()> {
    let Some(names) = Names::new("files dns")? else {
        return Ok(());
    };
    let script = names.script();
    let template = [("AUTH_RECONCILER_PROBE_URL", "http://wweb-{id}-api:{port}")];
    let scene = Scene::serve_within(&Names::wrapper(&script), prepared().await?, &template).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    names.know(&[format!("wweb-{id}-api")])?;
    let (table, client) = (&scene.table, &scene.client);
    table
        .insert(client, id, Some(stub.port()), Some(KEY))
        .await?;
    scene.records.reason(0, id, "Ready").await?;
    let guard = "select auth_reconciler.guard('public.message_instances', true)";
    client.execute(guard, &[]).await?;
    let watcher = scene.watch().await?;
    names.know(&[])?;
    table.write_status(client, id, Some("failed")).await?;
    watcher.wait_status(id, "failed").await?;
    names.know(&[format!("wweb-{id}-api")])?;
    watcher.wait_status(id, "client_ready").await
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_silence() -> Result<()> {
    let Some(names) = Names::new("files")? else {
        return Ok(());
    };
    let script = names.script();
    let template = [("AUTH_RECONCILER_PROBE_URL", "http://wweb-{id}-api:{port}")];
    let scene = Scene::serve_within(&Names::wrapper(&script), prepared().await?, &template).await?;
    let id = Uuid::new_v4();
    scene
        .table
        .insert(&scene.client, id, Some(3000), Some(KEY))
        .await?;
    let record = scene.records.reason(0, id, "ApiStarting").await?;
    let message = record.text("message").unwrap_or_default();
    ensure!(message.contains("cannot be resolved"), "{message}");
    ensure!(record.text("next_attempt_at").is_some());
    ensure!(problem(&scene, "NotAsked").await?.is_none());
    Ok(())
}
