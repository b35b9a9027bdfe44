//! The story of an instance that lived through everything, told in order and in words.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::value;
use crate::arena::{KEY, Scene};

#[tokio::test]
async fn explain_of_an_instance_that_lived_through_everything() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let id = Uuid::new_v4();
    live_through_everything(&scene, id).await?;
    let told = format!(
        "select array_agg(act || ' | ' || regexp_replace(replace(what, e'\\n', ' '), '[0-9.]+ ms', 'N ms')) from auth_reconciler.explain('{id}')"
    );
    let told: Vec<String> = value(&scene.client, &told).await?;
    let expected = story();
    for (number, (told, expected)) in told.iter().zip(&expected).enumerate() {
        assert_eq!(told, expected, "line {number}");
    }
    assert_eq!(told.len(), expected.len(), "{told:?}");
    Ok(())
}

/// No rows would read as if nothing had ever happened to it.
#[tokio::test]
async fn explain_of_a_misspelt_id_says_that_there_is_no_such_instance() -> Result<()> {
    let scene = crate::scene::Scene::shared().await?;
    scene.migrate().await?;
    let there = scene.instance(1).await?;
    let story = "select * from auth_reconciler.explain($1)";
    scene.manager.query(story, &[&there]).await?;
    let misspelt = Uuid::new_v4();
    let refused = scene.manager.query(story, &[&misspelt]).await.err();
    let refused = refused.context("it is an error")?;
    let told = refused.as_db_error().context("the server says so")?;
    ensure!(told.code() == &SqlState::NO_DATA_FOUND, "{told:?}");
    ensure!(told.message().contains(&misspelt.to_string()), "{told:?}");
    ensure!(
        told.hint().is_some_and(|hint| hint.contains("status")),
        "{told:?}"
    );
    Ok(())
}

async fn live_through_everything(scene: &Scene, id: Uuid) -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let (table, records) = (&scene.table, &scene.records);
    let manager = scene.database.client().await?;
    manager
        .batch_execute("set application_name = 'the manager'")
        .await?;

    let mark = records.mark();
    table.insert(&manager, id, Some(stub.port()), None).await?;
    records.reason(mark, id, "AwaitingApiKey").await?;
    table.save_api_key(&manager, id, Some(KEY)).await?;
    records.reason(mark, id, "Ready").await?;
    let mark = records.mark();
    table.write_status(&manager, id, Some("pending")).await?;
    records.of(mark, id).await?;
    value::<String>(&scene.client, super::guard::GUARD).await?;
    let mark = records.mark();
    table.write_status(&manager, id, Some("failed")).await?;
    records.of(mark, id).await?;
    let mark = records.mark();
    let pause = format!("select auth_reconciler.pause('{id}', 'moving its number')");
    value::<String>(&scene.client, &pause).await?;
    records.reason(mark, id, "Paused").await?;
    let mark = records.mark();
    let resume = format!("select auth_reconciler.resume('{id}')");
    value::<String>(&scene.client, &resume).await?;
    records.reason(mark, id, "Ready").await?;
    let mark = records.mark();
    table.save_api_key(&manager, id, Some(" spaced")).await?;
    records.reason(mark, id, "InvalidApiKey").await?;
    let mark = records.mark();
    table.delete(&manager, id).await?;
    records.forgotten(mark, id).await?;
    scene.daemon.signal("STOP")?;
    table.insert(&manager, id, None, None).await
}

/// What is told of it: act and words, line by line.
fn story() -> Vec<String> {
    let by = "by the manager (role postgres)";
    let proof = "its API answers READY and knows who it is on Telegram";
    vec![
        format!("change | row inserted {by}"),
        "verdict | looked because of insert: pending, AwaitingApiKey: waits for its API key; if it stays so, see why the manager did not start it".to_owned(),
        format!("change | api_key changed {by}"),
        format!("transition | moved auth_status from pending to client_ready, N ms after api_key: Ready: {proof}"),
        format!("drift | auth_status client_ready was overwritten with pending {by}"),
        format!("correction | corrected auth_status from pending to client_ready, N ms after drift: Ready: {proof}"),
        format!("guarded | guard kept auth_status client_ready when failed was written {by}"),
        format!("verdict | looked because of drift: client_ready, Ready: {proof}"),
        "operator | postgres paused it: moving its number".to_owned(),
        "verdict | looked because of operator: hands off, Paused: paused by postgres: moving its number; its status is left alone until resume()".to_owned(),
        "operator | postgres resumed it".to_owned(),
        format!("verdict | looked because of operator: client_ready, Ready: {proof}"),
        format!("change | api_key changed {by}"),
        "transition | moved auth_status from client_ready to failed, N ms after api_key: InvalidApiKey: the API key begins or ends with a blank, which HTTP would strip; give the instance another key".to_owned(),
        format!("change | row deleted {by}"),
        "gone | the row is gone, so the instance is forgotten".to_owned(),
        format!("waits | row inserted {by}; no look has answered for it yet"),
        "now | auth_status is pending; not looked at yet; 0 looks so far; next: a look is due now".to_owned(),
    ]
}
