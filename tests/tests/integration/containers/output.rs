//! The output of containers: what it costs when there is too much of it, and what is done where there is none.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::{Container, Engine, Phase};
use auth_reconciler_tests::patience::PATIENCE;
use futures_util::future::try_join_all;
use tokio_postgres::Client;

use super::harbour::{Harbour, LATE, NO_BACKOFF, without_backoff};

/// Looks that output may lead to in the first minute of a life: a dozen, and a dozen more once the API answers.
const BURST: u64 = 24;

/// Looks that lead to a probe besides: the start, the insert, and one of each that was under way.
const OTHERS: u64 = 5;

/// What following floods may cost the daemon, in KiB: they write twelve times as much.
const MEMORY: u64 = 8 * 1024;

/// What a flood is made of (see `tests/src/bin/instance/mischief.rs`), and the token in what is written before.
const TEXTS: [&str; 4] = [
    "xxxxxxxxxxxx",
    "0123456789:;<=>?",
    "a-secret-bot-token",
    "123456789:a-se",
];

#[tokio::test]
async fn floods_cost_a_bounded_number_of_probes_and_leave_no_trace() -> Result<()> {
    // Beside the bound on hints no other is to hold them back.
    let settings = [
        ("RUST_LOG", "trace"),
        ("AUTH_RECONCILER_LOOK_BURST", "10000"),
    ];
    let harbour = Harbour::shared(&without_backoff(&settings)).await?;
    let kinds = ["newlines=true", "newlines=false", "binary=true"];
    let flooding = try_join_all(
        kinds.map(async |kind| anyhow::Ok((kind, harbour.waiting(harbour.waiting_spec()?).await?))),
    )
    .await?;
    let before = memory(harbour.scene.daemon.pid())?;
    let flood = try_join_all(flooding.iter().map(|(kind, container)| async move {
        let flood = format!("flood?bytes_per_second=1000000&seconds=4&{kind}&wait=true");
        container.control(&flood).await
    }));
    let meanwhile = async {
        let container = harbour.ready().await?;
        let id = container.instance();
        let ready_us = container.counts().await?.ready_us.context("it is ready")?;
        let written = harbour
            .watcher
            .history(id)
            .pop()
            .context("writes")?
            .written_at;
        anyhow::Ok(written.timestamp_micros() - ready_us)
    };
    let (_, late_us) = tokio::try_join!(flood, meanwhile)?;
    assert!(late_us < 1_000_000, "{late_us} µs late beside the floods");

    for (kind, container) in &flooding {
        let counts = container.counts().await?;
        let bound = BURST + OTHERS;
        assert!(
            (8..=bound).contains(&counts.total()),
            "{kind}: {bound} {counts:?}"
        );
        assert_eq!(
            harbour.watcher.statuses(container.instance()).await?,
            ["pending"]
        );
    }
    let grown = memory(harbour.scene.daemon.pid())?.saturating_sub(before);
    assert!(grown < MEMORY, "{grown} KiB more than before");
    nothing_of_it_is_kept(&harbour).await?;

    // What one life has spent is not missing in the next.
    let (_, container) = &flooding[0];
    container.restart().await?;
    container.reached(Phase::Listening).await?;
    container.control("ready").await?;
    harbour
        .watcher
        .wait_status(container.instance(), "client_ready")
        .await?;
    Ok(())
}

/// No text of the output stands in the log or in the database.
async fn nothing_of_it_is_kept(harbour: &Harbour) -> Result<()> {
    let (log, database) = (
        harbour.scene.daemon.output(),
        everything(harbour.client()).await?,
    );
    assert!(
        log.contains("container event"),
        "the log says more than INFO"
    );
    assert!(
        database.contains("TelegramConnecting") || database.contains("ApiStarting"),
        "what was read is what was recorded"
    );
    for text in TEXTS {
        assert!(!log.contains(text), "`{text}` in the log");
        assert!(!database.contains(text), "`{text}` in the database");
    }
    Ok(())
}

/// The most memory that a process has had, in KiB.
fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("a process has a peak of memory")?.parse()?)
}

/// Everything that stands in our tables and views.
async fn everything(client: &Client) -> Result<String> {
    let names = "select c.relname::text from pg_class as c
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind in ('r', 'v')";
    let mut all = String::new();
    for name in client.query(names, &[]).await? {
        let name: String = name.try_get(0)?;
        let rows = format!(
            "select coalesce(string_agg(t::text, e'\n'), '') from auth_reconciler.{name} as t"
        );
        all += client.query_one(&rows, &[]).await?.try_get(0)?;
    }
    Ok(all)
}

#[tokio::test]
async fn where_no_output_can_be_read_the_clock_finds_it_and_that_is_said_once() -> Result<()> {
    let quickly = [("AUTH_RECONCILER_BACKOFF_MAX", "200ms")];
    let harbour = Harbour::shared(&quickly).await?;
    let silent = async || {
        let mut spec = harbour.waiting_spec()?;
        spec.log_driver = Some("none".to_owned());
        harbour.waiting(spec).await
    };
    let containers: [Container; 2] = [silent().await?, silent().await?];
    for container in &containers {
        container.control("ready").await?;
        let id = container.instance();
        harbour.watcher.wait_status(id, "client_ready").await?;
        assert_eq!(
            harbour.last_move(id).await?,
            ["client_ready", "Ready", "backoff"]
        );
    }
    let said = "output of this container cannot be followed, so its readiness is found by backoff; use the log driver json-file or local (said once)";
    harbour.scene.daemon.wait_message(said).await?;
    assert_eq!(harbour.scene.daemon.count(|line| line.is(said)), 1);
    Ok(())
}

/// What is ready is not asked by the clock; what its container says is looked at, if only once a minute. Its output ends
/// with the way to the engine, and is followed again without any look at it.
#[tokio::test]
async fn one_that_is_ready_and_tells_of_its_end_is_found_within_a_minute() -> Result<()> {
    let private = Engine::private().await?;
    let harbour = Harbour::open(Engine::clone(&private), &private.url(), &NO_BACKOFF).await?;
    let telling = harbour.ready().await?;
    let silent = harbour.ready().await?;
    let id = telling.instance();
    harbour.caught_up(&silent).await?;
    private.freeze()?;
    // This finds out, and says nothing of the other.
    harbour.scene.reconcile(silent.instance()).await?;
    harbour.says_of_engine("not seen").await?;
    private.thaw()?;
    harbour.sees_engine().await?;
    harbour.caught_up(&silent).await?;
    let mark = harbour.watcher.mark();
    let before = silent.counts().await?.ready();
    // With a line on its output, and without any other event.
    telling.control("disconnect").await?;
    let (minute, slack) = (Duration::from_secs(60), PATIENCE);
    harbour
        .watcher
        .wait_for(mark, minute + slack, "what was told", |seen| {
            seen.id == id && seen.status.as_deref() == Some("pending")
        })
        .await?;
    let [_, _, cause] = harbour.last_move(id).await?;
    assert_eq!(cause, "container output");
    // And then it is followed as one that starts.
    telling.control("ready").await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    let asked = silent.counts().await?.ready() - before;
    let once_heard_again = 1;
    assert!(
        asked <= once_heard_again + LATE,
        "{asked} questions to one that says nothing"
    );
    Ok(())
}
