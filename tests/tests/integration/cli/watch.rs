//! `watch`: every transition while it is connected, what was missed while it was not, and nothing that the daemon pays
//! for while nobody watches.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, binary, run_command, settings_for};
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::pooler::Pooler;
use auth_reconciler_tests::proxy::{Link, Proxy};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use super::expect;
use crate::operator::grants::Granted;
use crate::scene::{ALL_TRUE, Scene, eventually, insert_many};
use crate::stage::Stage;

mod rings;

/// Sessions that watch, and records that they keep waiting or wait for.
const WATCHERS: &str = "
    from pg_locks
    where locktype = 'advisory' and classid = auth_reconciler.bell_class()::oid
        and objid::integer in (auth_reconciler.watch_lock(), auth_reconciler.silent_record_lock())
        and database = (select oid from pg_database where datname = current_database())";

/// A program that watches; its lines as JSON.
struct Watching(Daemon);

impl Watching {
    async fn start(url: &str, more: &[&str]) -> Result<Self> {
        let arguments = [&["watch", "--json"], more].concat();
        let watching = Self(Daemon::spawn(url, &arguments, &[])?);
        watching.event(0, "connected").await?;
        Ok(watching)
    }

    async fn event(&self, mark: usize, event: &str) -> Result<Value> {
        let tag = format!("\"event\":\"{event}\"");
        let line = self
            .0
            .wait_line(mark, &tag, |line| line.text.contains(&tag))
            .await?;
        Ok(serde_json::from_str(&line.text)?)
    }

    fn events(&self, event: &str) -> Result<Vec<Value>> {
        let lines = self.0.log();
        let all = lines.iter().map(|line| serde_json::from_str(&line.text));
        let all = all.collect::<Result<Vec<Value>, _>>()?;
        Ok(all
            .into_iter()
            .filter(|found| found["event"] == event)
            .collect())
    }

    fn ids(&self) -> Result<Vec<i64>> {
        let shown = self.events("transition")?;
        shown
            .iter()
            .map(|shown| shown["id"].as_i64().context("id"))
            .collect()
    }

    /// Waits until the transition with this number is shown.
    async fn shows(&self, id: i64) -> Result<()> {
        let id = format!("\"id\":{id},");
        self.0
            .wait_line(0, &id, |line| line.text.contains(&id))
            .await?;
        Ok(())
    }
}

const IDS: &str =
    "select coalesce(array_agg(id order by id), '{}') from auth_reconciler.transitions";

/// Each transition that history holds was shown once, and no other.
async fn ensure_all_shown(scene: &Scene, watching: &Watching) -> Result<()> {
    let ids: Vec<i64> = scene.value(IDS).await?;
    for id in &ids {
        watching.shows(*id).await?;
    }
    let shown = watching.ids()?;
    let once: BTreeSet<i64> = shown.iter().copied().collect();
    ensure!(once.len() == shown.len(), "twice in {shown:?}");
    ensure!(once == ids.into_iter().collect());
    Ok(())
}

#[tokio::test]
async fn every_transition_of_a_storm_is_shown_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let watching = Watching::start(scene.url(), &[]).await?;
    let connected = watching.event(0, "connected").await?;
    ensure!(connected["leads"] == true, "{connected}");
    let stub = Stub::start(Behaviour::Ready).await?;
    let ids = insert_many(&scene, &stub, 60).await?;
    scene.eventually(ALL_TRUE).await?;
    for id in &ids {
        scene
            .table
            .write_status(&scene.manager, *id, Some("failed"))
            .await?;
    }
    scene.eventually(ALL_TRUE).await?;
    ensure_all_shown(&scene, &watching).await?;
    let shown = watching.events("transition")?;
    ensure!(shown.len() >= 120, "{}", shown.len());
    let last = shown.last().context("none")?;
    ensure!(
        last["moment"] == "now" && last["to_status"] == "client_ready" && last["reason"] == "Ready"
    );
    ensure!(last["from_status"] == "failed" && last["cause"] == "drift" && last["at"].is_string());
    ensure!(last["reaction_ms"].is_number() && last["message"].is_string());
    ensure!(last["instance_id"].is_string() && last["watched_table"].is_string());
    // Who wrote is told, too.
    let drift = watching.event(0, "drift").await?;
    ensure!(drift["instance_id"].is_string(), "{drift}");
    ensure!(drift["to_status"] == "failed" && drift["guarded"] == 0 && drift["contested"] == false);
    drop(daemon);
    Ok(())
}

#[tokio::test]
async fn what_was_missed_is_shown_after_a_cut() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let old = insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    let before: Vec<i64> = scene.value(IDS).await?;
    let proxy = Proxy::to(scene.url()).await?;
    let watching = Watching::start(&proxy.url(scene.url())?, &["--last", "0"]).await?;

    proxy.set(Link::Refuse).await?;
    proxy.cut_all().await?;
    let newest = before.last().context("none")?;
    let cut = watching.event(0, "disconnected").await?;
    ensure!(cut["after"] == *newest && cut["why"].is_string(), "{cut}");
    watching.event(0, "still_disconnected").await?;
    insert_many(&scene, &stub, 5).await?;
    scene
        .table
        .write_status(&scene.manager, old[0], Some("pending"))
        .await?;
    scene.eventually(ALL_TRUE).await?;
    proxy.set(Link::Pass).await?;
    let again = watching.event(0, "reconnected").await?;
    let missed: Vec<i64> = scene.value(IDS).await?;
    let missed: Vec<i64> = missed.into_iter().filter(|id| id > newest).collect();
    ensure!(again["missed"] == missed.len() && again["after"] == *newest && again["leads"] == true);
    watching.shows(*missed.last().context("none")?).await?;
    ensure!(
        watching.ids()? == missed,
        "{:?} and not {missed:?}",
        watching.ids()?
    );
    ensure!(
        watching
            .events("transition")?
            .iter()
            .all(|shown| shown["moment"] == "missed")
    );

    // And goes on.
    scene
        .table
        .write_status(&scene.manager, old[0], Some("failed"))
        .await?;
    scene.eventually(ALL_TRUE).await?;
    let all: Vec<i64> = scene.value(IDS).await?;
    watching.shows(*all.last().context("none")?).await?;
    ensure!(watching.events("transition")?.last().context("none")?["moment"] == "now");
    drop(daemon);
    Ok(())
}

/// Somebody overwrites the status of an instance, and the daemon corrects it: then there are so many transitions.
async fn correction(stage: &Stage, id: Uuid, transitions: usize) -> Result<()> {
    let table = &stage.table;
    table
        .write_status(&stage.client, id, Some("failed"))
        .await?;
    let corrected = format!("select count(*) = {transitions} from auth_reconciler.transitions");
    eventually(&stage.client, &corrected).await
}

/// The number of an instance's last transition.
async fn last_of(stage: &Stage, id: Uuid) -> Result<i64> {
    let last = "select max(id) from auth_reconciler.transitions where instance_id = $1";
    Ok(stage.client.query_one(last, &[&id]).await?.try_get(0)?)
}

#[tokio::test]
async fn it_begins_with_the_last_ones_of_the_instance_that_was_asked_for() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (one, other) = (
        stage.telegram(stub.port(), "a-key").await?,
        stage.telegram(stub.port(), "a-key").await?,
    );
    for id in [one, other] {
        stage.expect(id, Some("client_ready"), "Ready").await?;
    }
    correction(&stage, one, 3).await?;
    correction(&stage, other, 4).await?;
    let newest = last_of(&stage, one).await?;
    let watching = Watching::start(
        stage.database.url(),
        &["--last", "1", "--instance", &one.to_string()],
    )
    .await?;
    watching.shows(newest).await?;
    correction(&stage, other, 5).await?;
    let mark = watching.0.mark();
    correction(&stage, one, 6).await?;
    watching.event(mark.min(2), "drift").await?;
    let last = last_of(&stage, one).await?;
    watching.shows(last).await?;
    ensure!(watching.ids()? == [newest, last], "{:?}", watching.ids()?);
    let others = watching.0.output();
    ensure!(!others.contains(&other.to_string()), "{others}");
    let moments: Vec<Value> = watching
        .events("transition")?
        .into_iter()
        .map(|t| t["moment"].clone())
        .collect();
    ensure!(moments == ["before", "now"], "{moments:?}");
    // Ctrl-C is a good end.
    watching.0.signal("INT")?;
    ensure!(watching.0.ended().await?.code() == Some(0));
    stage.close().await
}

#[tokio::test]
async fn a_reader_is_told_at_once_that_nobody_leads() -> Result<()> {
    let granted = Granted::start().await?;
    let watching = Daemon::spawn(&granted.reader_url, &["watch"], &[])?;
    let says =
        |what: &'static str| watching.wait_line(0, what, move |line| line.text.contains(what));
    says("watching all instances").await?;
    says("nobody leads: no status moves until a daemon is started (auth-reconciler run)").await?;
    // The daemon's role need not read; it is told which role may.
    let refused = run_command(&granted.daemon_url, &["watch"], &[]).await?;
    expect(
        &refused,
        3,
        &["permission denied", "grant auth_reconciler_reader to it"],
    )?;
    watching.sigterm()?;
    ensure!(watching.ended().await?.code() == Some(0));
    let status = run_command(&granted.reader_url, &["status"], &[]).await?;
    expect(&status, 4, &["no instances", "no daemon leads"])
}

#[tokio::test]
async fn a_pooler_is_refused_with_the_remedy_and_nothing_is_left_behind() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let pooler = Pooler::start(scene.url(), 2).await?;
    let pooled = pooler.url(scene.url())?;
    let refused = run_command(&pooled, &["watch"], &[]).await?;
    expect(&refused, 3, &["transaction pooler", "--listen-url"])?;
    let held: i64 = scene.value(&format!("select count(*) {WATCHERS}")).await?;
    ensure!(held == 0, "{held} locks are left behind");
    Watching::start(&pooled, &["--listen-url", scene.url()]).await?;
    Ok(())
}

#[tokio::test]
async fn without_a_schema_it_says_what_to_run() -> Result<()> {
    let scene = Scene::shared().await?;
    let output = run_command(scene.url(), &["watch"], &[]).await?;
    expect(
        &output,
        3,
        &[
            "the schema auth_reconciler is missing",
            "auth-reconciler migrate",
        ],
    )
}

/// Nothing would ever be shown of it.
#[tokio::test]
async fn a_misspelt_instance_is_refused_and_a_new_one_is_watched() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let misspelt = Uuid::new_v4().to_string();
    let refused = run_command(scene.url(), &["watch", "--instance", &misspelt], &[]).await?;
    ensure!(refused.code != Some(0), "{}", refused.stdout);
    for told in [
        "no watched table has an instance",
        &misspelt,
        "auth-reconciler status",
    ] {
        ensure!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    let new = scene.instance(1).await?.to_string();
    Watching::start(scene.url(), &["--instance", &new]).await?;
    Ok(())
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_ends_it_without_an_event() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let mut watching = tokio::process::Command::new(binary()?)
        .arg("watch")
        .env_clear()
        .envs(settings_for(scene.url()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("stdout")?).lines();
    let caller = std::panic::Location::caller();
    within(PATIENCE, caller, "a line", lines.next_line()).await??;
    drop(lines);
    let ended = within(PATIENCE, caller, "the end", watching.wait()).await??;
    ensure!(ended.code() == Some(0), "{ended}");
    Ok(())
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    for (name, sql) in [("one", "client_ready"), ("two", "failed")] {
        let sql = format!(
            "insert into auth_reconciler.transition
                (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
             values (1, '{}', now(), 'pending', '{sql}', 'Ready', 'why {name}', 'insert', 1)",
            Uuid::new_v4()
        );
        scene.manager.batch_execute(&sql).await?;
    }
    let binary = binary()?;
    let terminal = format!("{} watch", binary.display());
    let green = "\u{1b}[32m";
    for (program, arguments, no_color, colored) in [
        ("script", vec!["-qefc", &terminal, "/dev/null"], "", true),
        ("script", vec!["-qefc", &terminal, "/dev/null"], "1", false),
        (binary.to_str().context("path")?, vec!["watch"], "", false),
        (
            binary.to_str().context("path")?,
            vec!["watch", "--color", "always"],
            "1",
            true,
        ),
    ] {
        let mut watching = tokio::process::Command::new(program)
            .args(&arguments)
            .env_clear()
            .envs(settings_for(scene.url()))
            .envs([
                ("NO_COLOR", no_color),
                ("TERM", "xterm"),
                ("PATH", "/usr/bin:/bin"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(watching.stdout.take().context("stdout")?).lines();
        let found = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("why one") {
                    return Ok(line);
                }
            }
            anyhow::bail!("it ended")
        };
        let line = within(PATIENCE, std::panic::Location::caller(), "the line", found).await??;
        ensure!(line.contains("pending -> client_ready Ready"), "{line}");
        ensure!(
            line.contains(green) == colored,
            "{arguments:?} {no_color:?}: {line:?}"
        );
        ensure!(colored || !line.contains('\u{1b}'), "{line:?}");
    }
    Ok(())
}
