//! Bytes that are no text, which a database of encoding SQL_ASCII (and some of others) may hold: the row is marked, and
//! nothing else is harmed by it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::postgres::shared_cluster;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use crate::scene::Scene;

/// An encoding, a byte that cannot be sent from it as UTF-8, and what is shown in its place.
const ENCODINGS: &[(&str, &str, &str)] = &[
    ("SQL_ASCII", "\\xff6162", "\\377ab"),
    ("WIN1252", "\\x816162", "\\201ab"),
];

#[tokio::test]
async fn a_row_that_is_no_text_is_marked_and_the_rest_is_served_and_shown() -> Result<()> {
    for (encoding, bytes, shown) in ENCODINGS {
        let options = format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        let database = TestDatabase::create_with(&shared_cluster()?, &options).await?;
        let scene = Scene::of(database).await?;
        marked(&scene, encoding, bytes, shown).await?;
        scene.database.close().await?;
    }
    Ok(())
}

async fn marked(scene: &Scene, encoding: &str, bytes: &str, shown: &str) -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let bad = format!("convert_from('{bytes}'::bytea, '{encoding}')");
    let set = async |id: uuid::Uuid, what: &str| {
        let update =
            format!("update public.message_instances set {what} = {bad} where id = '{id}'");
        scene.manager.batch_execute(&update).await
    };
    let good = scene.instance(stub.port()).await?;
    let (status, provider, key) = (
        scene.instance(stub.port()).await?,
        scene.instance(stub.port()).await?,
        scene.instance(stub.port()).await?,
    );
    set(status, "auth_status").await?;
    set(provider, "provider").await?;
    set(provider, "auth_status").await?;
    set(key, "api_key").await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let seen = async |id: uuid::Uuid, is: &str| {
        let sql = format!(
            "select exists (select from auth_reconciler.instances where id = '{id}' and {is} and unobserved = 0)"
        );
        scene.eventually(&sql).await
    };
    let ready = "auth_status = 'client_ready' and reason = 'Ready'";
    seen(good, ready).await?;
    seen(status, ready).await?;
    seen(key, "auth_status = 'failed' and reason = 'InvalidApiKey'").await?;
    let left = format!(
        "reason = 'UnsupportedProvider' and provider = '{shown} (bytes that are no text)' and auth_status = provider"
    );
    seen(provider, &left).await?;
    // What somebody writes while it runs, and an operator's own words.
    set(status, "auth_status").await?;
    seen(status, ready).await?;
    let pause = format!("select auth_reconciler.pause('{good}', {bad})");
    scene.manager.batch_execute(&pause).await?;
    seen(good, "paused").await?;

    let output = run_command(scene.url(), &["status"], &[]).await?;
    for told in [
        shown,
        "client_ready",
        "Paused",
        "UnsupportedProvider",
        "InvalidApiKey",
    ] {
        ensure!(output.stdout.contains(told), "no {told:?} in {output:?}");
    }
    ensure!(output.stdout.contains("4 instances"), "{output:?}");
    let doctor = run_command(scene.url(), &["doctor"], &[]).await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    every_view(scene, shown).await?;
    for id in [good, status, provider, key] {
        let explain =
            format!("select string_agg(what, e'\\n') from auth_reconciler.explain('{id}')");
        let told: String = scene.value(&explain).await?;
        ensure!((id == key) != told.contains(shown), "{told}");
    }
    daemon.sigterm()?;
    daemon.ended().await?;
    let output = daemon.output();
    for word in ["panicked", "ERROR"] {
        ensure!(!output.contains(word), "{output}");
    }
    Ok(())
}

/// Whatever view there is can be read to its end.
async fn every_view(scene: &Scene, shown: &str) -> Result<()> {
    let views = "select relname::text from pg_class where relkind = 'v' and relnamespace = 'auth_reconciler'::regnamespace";
    let mut marked = Vec::new();
    for view in scene.manager.query(views, &[]).await? {
        let view: String = view.get(0);
        let rows = format!("select v::text from auth_reconciler.{view} as v");
        for row in scene.manager.query(&rows, &[]).await? {
            // A row as text doubles each backslash.
            if row
                .get::<_, String>(0)
                .replace("\\\\", "\\")
                .contains(shown)
            {
                marked.push(view.clone());
            }
        }
    }
    marked.sort();
    marked.dedup();
    for view in ["drift", "instances", "problems", "status", "transitions"] {
        ensure!(
            marked.iter().any(|seen| seen == view),
            "{view} shows no mark: {marked:?}"
        );
    }
    Ok(())
}
