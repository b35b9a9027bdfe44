//! Bytes that are no text, which a database of encoding SQL_ASCII (and some of others) may hold: the row is marked, and
//! nothing else is harmed by it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::postgres::shared_cluster;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

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

/// Rows of which one column is no text, and one that is all text.
struct Rows {
    good: Uuid,
    status: Uuid,
    provider: Uuid,
    key: Uuid,
}

async fn marked(scene: &Scene, encoding: &str, bytes: &str, shown: &str) -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let bad = format!("convert_from('{bytes}'::bytea, '{encoding}')");
    let set = async |id: Uuid, what: &str| {
        let update =
            format!("update public.message_instances set {what} = {bad} where id = '{id}'");
        scene.manager.batch_execute(&update).await
    };
    let rows = Rows {
        good: scene.instance(stub.port()).await?,
        status: scene.instance(stub.port()).await?,
        provider: scene.instance(stub.port()).await?,
        key: scene.instance(stub.port()).await?,
    };
    set(rows.status, "auth_status").await?;
    set(rows.provider, "provider").await?;
    set(rows.provider, "auth_status").await?;
    set(rows.key, "api_key").await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let ready = "auth_status = 'client_ready' and reason = 'Ready'";
    seen(scene, rows.good, ready).await?;
    seen(scene, rows.status, ready).await?;
    let invalid = "auth_status = 'failed' and reason = 'InvalidApiKey'";
    seen(scene, rows.key, invalid).await?;
    let left = format!(
        "reason = 'UnsupportedProvider' and provider = '{shown} (bytes that are no text)' and auth_status = provider"
    );
    seen(scene, rows.provider, &left).await?;
    // What somebody writes while it runs, and an operator's own words.
    set(rows.status, "auth_status").await?;
    seen(scene, rows.status, ready).await?;
    let pause = format!("select auth_reconciler.pause('{}', {bad})", rows.good);
    scene.manager.batch_execute(&pause).await?;
    seen(scene, rows.good, "paused").await?;

    told_by_commands(scene, shown).await?;
    every_view(scene, shown).await?;
    explained(scene, &rows, shown).await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    let output = daemon.output();
    for word in ["panicked", "ERROR"] {
        ensure!(!output.contains(word), "{output}");
    }
    Ok(())
}

async fn seen(scene: &Scene, id: Uuid, is: &str) -> Result<()> {
    let sql = format!(
        "select exists (select from auth_reconciler.instances where id = '{id}' and {is} and unobserved = 0)"
    );
    scene.eventually(&sql).await
}

async fn told_by_commands(scene: &Scene, shown: &str) -> Result<()> {
    let output = run_command(scene.url(), &["status"], &[]).await?;
    for told in [
        shown,
        "client_ready",
        "Paused",
        "UnsupportedProvider",
        "InvalidApiKey",
        "4 instances",
    ] {
        ensure!(output.stdout.contains(told), "no {told:?} in {output:?}");
    }
    let doctor = run_command(scene.url(), &["doctor"], &[]).await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    Ok(())
}

/// The story of each row holds the mark, but for the one whose key was not text: of a key nothing is told.
async fn explained(scene: &Scene, rows: &Rows, shown: &str) -> Result<()> {
    for id in [rows.good, rows.status, rows.provider, rows.key] {
        let explain = format!(
            "select string_agg(replace(what, e'\\n', ' '), e'\\n') from auth_reconciler.explain('{id}')"
        );
        let told: String = scene.value(&explain).await?;
        ensure!((id == rows.key) != told.contains(shown), "{told}");
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
    for view in [
        "drift_details",
        "instances",
        "problem_details",
        "status",
        "transitions",
    ] {
        ensure!(
            marked.iter().any(|seen| seen == view),
            "{view} shows no mark: {marked:?}"
        );
    }
    Ok(())
}
