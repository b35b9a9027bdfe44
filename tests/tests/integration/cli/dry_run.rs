//! `migrate --dry-run`: what it prints does what `migrate` does, and it does nothing itself.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::postgres::program;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use super::expect;
use crate::operator::earlier::install;
use crate::scene::{ALL_TRUE, Scene};

const DRY: &[&str] = &["migrate", "--dry-run"];

/// What was noted of what was made, which no schema dump shows; but for what holds numbers of objects.
const NOTED: &str = "
    select string_agg(concat_ws(' ', m.version, m.name, m.routines, made.names), chr(10) order by m.version)
    from auth_reconciler.migration as m
    cross join lateral (
        select string_agg(key || ' ' || split_part(value, ' ', 1), chr(10) order by key) as names
        from jsonb_each_text(m.made)) as made";

/// What the script prints goes into psql, which must take all of it.
fn psql(url: &str, script: &str) -> Result<()> {
    let mut psql = Command::new(program("psql")?)
        .args(["-X", "-q", "-d", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = psql.stdin.take().context("standard input")?;
    input.write_all(script.as_bytes())?;
    drop(input);
    let output = psql.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql refuses it: {said}");
    Ok(())
}

/// Everything that the database holds but for its rows, as SQL.
fn dump(url: &str) -> Result<String> {
    let output = Command::new(program("pg_dump")?)
        .args(["--schema-only", "-d", url])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    // Lines that are psql's own hold a random word.
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .flat_map(|line| [line, "\n"])
        .collect())
}

async fn printed(url: &str) -> Result<String> {
    let output = run_command(url, DRY, &[]).await?;
    expect(&output, 0, &[])?;
    Ok(output.stdout)
}

/// Fails unless both hold the same schema.
async fn same(by_hand: &Scene, by_migrate: &Scene) -> Result<()> {
    let (one, other) = (dump(by_hand.url())?, dump(by_migrate.url())?);
    let differs = one
        .lines()
        .zip(other.lines())
        .find(|(one, other)| one != other);
    ensure!(one == other, "the schemas differ: {differs:?}");
    let (one, other): (String, String) =
        (by_hand.value(NOTED).await?, by_migrate.value(NOTED).await?);
    ensure!(one == other, "what was noted differs:\n{one}\n{other}");
    Ok(())
}

#[tokio::test]
async fn what_it_prints_makes_the_schema_that_migrate_makes() -> Result<()> {
    let (by_hand, by_migrate) = (Scene::shared().await?, Scene::shared().await?);
    by_migrate.migrate().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    by_hand.instance(stub.port()).await?;
    let before = dump(by_hand.url())?;
    let script = printed(by_hand.url()).await?;
    ensure!(dump(by_hand.url())? == before, "it changed something");
    psql(by_hand.url(), &script)?;
    same(&by_hand, &by_migrate).await?;
    let doctor = run_command(by_hand.url(), &["doctor"], &[]).await?;
    expect(&doctor, 0, &["ok    schema"])?;
    // Nothing is left to do but what may be repeated, and the daemon looks at the rows that were there.
    let again = printed(by_hand.url()).await?;
    ensure!(!again.contains("create "), "{again}");
    psql(by_hand.url(), &again)?;
    let _daemon = Daemon::start(&by_hand.database, &[]).await?;
    by_hand.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn what_it_prints_upgrades_as_migrate_does() -> Result<()> {
    for version in 1..=4 {
        let (by_hand, by_migrate) = (Scene::shared().await?, Scene::shared().await?);
        for scene in [&by_hand, &by_migrate] {
            install(scene, version).await?;
        }
        by_migrate.migrate().await?;
        psql(by_hand.url(), &printed(by_hand.url()).await?)?;
        same(&by_hand, &by_migrate)
            .await
            .with_context(|| format!("from version {version}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_may_only_look_can_print_it() -> Result<()> {
    let scene = Scene::shared().await?;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    let make = format!(
        "create role {role} login password 'its own'; alter role {role} set default_transaction_read_only = on"
    );
    scene.manager.batch_execute(&make).await?;
    let url = connection_url::with_user(scene.url(), &role, Some("its own"))?;
    let script = printed(&url).await;
    let drop = format!("drop role {role}");
    scene.manager.batch_execute(&drop).await?;
    ensure!(
        script? == printed(scene.url()).await?,
        "the owner is told otherwise"
    );
    Ok(())
}

#[tokio::test]
async fn what_migrate_refuses_it_refuses() -> Result<()> {
    let scene = Scene::shared().await?;
    let elsewhere = [("AUTH_RECONCILER_TABLE", "elsewhere.things")];
    let refused = run_command(scene.url(), DRY, &elsewhere).await?;
    expect(&refused, 1, &["table elsewhere.things does not exist"])?;
    ensure!(refused.stdout.is_empty(), "{}", refused.stdout);
    Ok(())
}
