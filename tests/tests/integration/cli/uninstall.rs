//! `uninstall`: what stands in its way is named, and nothing of somebody else's goes in silence.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, Output, binary, run_command};
use std::io::Write as _;

use super::expect;
use crate::scene::Scene;

const PRESENT: &str = "select to_regnamespace('auth_reconciler') is not null
    and exists (select from pg_trigger where tgrelid = 'public.message_instances'::regclass and not tgisinternal)";

/// What an operator builds on ours, and how it is named. Each must be gone before the next.
const BUILT: &[(&str, &str, &str)] = &[
    (
        "create view public.mine as select * from auth_reconciler.status",
        "view public.mine",
        "drop view public.mine",
    ),
    (
        "create view public.mine as select * from auth_reconciler.status;
         create view public.further as select count(*) from public.mine",
        "view public.further; view public.mine",
        "drop view public.mine cascade",
    ),
    (
        "create materialized view public.kept as select * from auth_reconciler.transitions",
        "materialized view public.kept",
        "drop materialized view public.kept",
    ),
    (
        "create function public.count() returns bigint begin atomic select count(*) from auth_reconciler.problems; end",
        "function public.count()",
        "drop function public.count",
    ),
    (
        "create function public.told() returns bigint language sql as 'select count(*) from auth_reconciler.problems'",
        "function public.told() (by its text)",
        "drop function public.told",
    ),
    (
        "create table public.note (id bigint references auth_reconciler.transition (id))",
        "constraint note_id_fkey on table public.note",
        "drop table public.note",
    ),
    (
        "create table public.of_ours (at integer, what auth_reconciler.instance)",
        "column what of table public.of_ours",
        "drop table public.of_ours",
    ),
    (
        "create table public.with_default (n text default auth_reconciler.fold('a text', 3))",
        "default value for column n of table public.with_default",
        "drop table public.with_default",
    ),
    (
        "create table public.other (id uuid); create trigger theirs after insert on public.other
            for each row execute function auth_reconciler.log_change('1')",
        "trigger theirs on table public.other",
        "drop table public.other",
    ),
    (
        "create function public.heard() returns trigger language plpgsql as 'begin return null; end';
         create trigger exported after insert on auth_reconciler.transition
            for each row execute function public.heard()",
        "trigger exported on table auth_reconciler.transition",
        "drop trigger exported on auth_reconciler.transition",
    ),
    (
        "create table public.copied (id bigint); create rule copied as on insert to auth_reconciler.transition
            do also insert into public.copied values (new.id)",
        "rule copied on table auth_reconciler.transition",
        "drop rule copied on auth_reconciler.transition",
    ),
    (
        "create table public.ruled (id bigint); create rule counting as on insert to public.ruled
            do also select count(*) from auth_reconciler.transition",
        "rule counting on table public.ruled",
        "drop table public.ruled",
    ),
    (
        "create view auth_reconciler.my_status as select id from auth_reconciler.status",
        "view auth_reconciler.my_status",
        "drop view auth_reconciler.my_status",
    ),
    (
        "create table auth_reconciler.my_notes (id uuid)",
        "table auth_reconciler.my_notes",
        "drop table auth_reconciler.my_notes",
    ),
];

async fn uninstall(scene: &Scene, flags: &[&str]) -> Result<Output> {
    let arguments = [&["uninstall"], flags].concat();
    run_command(scene.url(), &arguments, &[]).await
}

async fn still_there(scene: &Scene) -> Result<()> {
    let there: bool = scene.value(PRESENT).await?;
    ensure!(there, "something was removed");
    Ok(())
}

#[tokio::test]
async fn what_somebody_built_on_the_schema_is_named_and_stays() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    for (make, named, drop) in BUILT {
        scene.manager.batch_execute(make).await?;
        let refused = uninstall(&scene, &["--yes", "--force"]).await?;
        let words = format!("built on schema auth_reconciler: {named}; nothing was removed");
        expect(&refused, 1, &[&words, "--with-dependents"])?;
        still_there(&scene).await?;
        scene.manager.batch_execute(drop).await?;
    }
    for (make, _, _) in [BUILT[0], BUILT[4], BUILT[5], BUILT[13]] {
        scene.manager.batch_execute(make).await?;
    }
    let removed = uninstall(&scene, &["--yes", "--with-dependents"]).await?;
    for (_, named, _) in [BUILT[0], BUILT[4], BUILT[5], BUILT[13]] {
        expect(&removed, 0, &[&format!("with it: {named}")])?;
    }
    let left: bool = scene
        .value(
            "select to_regclass('public.mine') is null and to_regclass('public.note') is not null",
        )
        .await?;
    ensure!(left, "the view is not gone, or the table is");
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_leads_and_a_missing_terminal_stand_in_its_way() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let led = uninstall(&scene, &["--yes"]).await?;
    expect(
        &led,
        1,
        &["a daemon leads", "auth-reconciler ear", "--force"],
    )?;
    still_there(&scene).await?;
    ensure!(daemon.is_running());
    daemon.sigterm()?;
    daemon.ended().await?;
    let unasked = uninstall(&scene, &[]).await?;
    expect(&unasked, 1, &["no terminal", "--yes"])?;
    still_there(&scene).await?;
    expect(&uninstall(&scene, &["--yes"]).await?, 0, &["are removed"])?;
    expect(&uninstall(&scene, &[]).await?, 0, &["nothing to remove"])
}

/// Runs it on a terminal of its own, and types this.
fn on_a_terminal(url: &str, typed: &str) -> Result<(Option<i32>, String)> {
    let program = binary()?;
    let line = format!("{} uninstall", program.display());
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the program script of bsdutils")?;
    let mut input = child.stdin.take().context("its input")?;
    input.write_all(typed.as_bytes())?;
    let output = child.wait_with_output()?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.code(), shown))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_it_asks() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    for answer in ["no\n", "\n", "y\n"] {
        let (code, shown) = on_a_terminal(scene.url(), answer)?;
        ensure!(code == Some(1) && shown.contains("Type yes"), "{shown}");
        ensure!(shown.contains("nothing was removed"), "{shown}");
        still_there(&scene).await?;
    }
    let (code, shown) = on_a_terminal(scene.url(), "yes\n")?;
    ensure!(code == Some(0) && shown.contains("are removed"), "{shown}");
    Ok(())
}
