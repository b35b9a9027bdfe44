//! The play itself: each act at its time, every change of the status noted when it is heard.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, LogLine};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::watcher::{Observation, Watcher};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep_until};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::actor::Actor;
use crate::incident::{CREATED, END, STALE_WRITE};
use crate::report::{Measured, at_millis};

/// Plays the incident; the actor is given back because the daemon may go on asking it.
pub(crate) async fn play(
    url: &str,
    client: &Client,
    table: &ManagerTable,
    daemon: &Daemon,
    mut actor: Actor,
) -> Result<(Measured, Actor)> {
    let watcher = Watcher::start(url, table).await?;
    let id = actor.id();
    let begin = actor.ready_to_begin().await?;
    let since = |at: std::time::Instant| at.saturating_duration_since(begin.into_std());
    let told = async { tell(&watcher, id, begin).await };

    let acts = async {
        act(
            begin,
            CREATED,
            "manager    inserts the row (pending, port, token) and starts the container",
        )
        .await;
        table.insert(client, id, Some(actor.port()), None).await?;
        let ready = actor.play(client, table, begin).await?;
        act(begin, STALE_WRITE, "manager    writes a stale pending").await;
        let stale = watcher.mark();
        table.write_status(client, id, Some("pending")).await?;
        sleep_until(begin + END).await;
        anyhow::Ok(((begin + ready, actor.began() + ready), stale))
    };
    let ((ready, ready_at), stale) = tokio::select! {
        done = acts => done?,
        ended = told => {
            ended?;
            anyhow::bail!("the daemon's witness ended early");
        }
    };
    let ready = ready.into_std();
    watcher.ensure_alive()?;
    let history = watcher.history(id);
    let shown = history
        .iter()
        .find(|seen| seen.at >= ready && is(seen, "client_ready"));
    let measured = Measured {
        ready: since(ready),
        shown: shown.map(|seen| since(seen.at)),
        stale: stood(&history_after(&watcher, id, stale)),
        last: table.status(client, id).await?,
        no_key: daemon.count(|line| denies_key(line, ready_at)),
        fresh: daemon.count(|line| line.is("row read fresh")),
    };
    watcher.remove().await?;
    Ok((measured, actor))
}

/// Waits for the time of an act and tells it.
pub(crate) async fn act(begin: Instant, at: Duration, what: &str) {
    sleep_until(begin + at).await;
    tell_act(begin.elapsed(), what);
}

/// Prints what somebody did, and when.
pub(crate) fn tell_act(at: Duration, what: &str) {
    println!("  {:<12} {what}", at_millis(at));
}

/// Prints each change of the status when it is heard; never ends by itself.
async fn tell(watcher: &Watcher, id: Uuid, begin: Instant) -> Result<()> {
    let mut mark = watcher.mark();
    let mut last = None;
    loop {
        let limit = END * 2;
        watcher
            .wait_for(mark, limit, "a change of the row", |seen| seen.id == id)
            .await?;
        // In this order: what is heard in between is looked at twice rather than never.
        mark = watcher.mark();
        let history = watcher.history(id);
        for seen in history {
            // Told already, or a write that left the status alone.
            if last
                .as_ref()
                .is_some_and(|(at, status)| seen.at <= *at || seen.status == *status)
            {
                continue;
            }
            let at = seen.at.saturating_duration_since(begin.into_std());
            let status = seen.status.as_deref().unwrap_or("null");
            println!("  {:<12} database   auth_status = {status}", at_millis(at));
            last = Some((seen.at, seen.status));
        }
    }
}

fn history_after(watcher: &Watcher, id: Uuid, mark: usize) -> Vec<Observation> {
    watcher
        .observations(mark)
        .into_iter()
        .filter(|seen| seen.id == id)
        .collect()
}

/// How long the first `pending` stood before `client_ready` came back.
fn stood(after: &[Observation]) -> Option<Duration> {
    let stale = after.iter().position(|seen| is(seen, "pending"))?;
    let stale_at = after.get(stale)?.at;
    let corrected = after
        .iter()
        .skip(stale)
        .find(|seen| is(seen, "client_ready"))?;
    Some(corrected.at.saturating_duration_since(stale_at))
}

fn is(seen: &Observation, status: &str) -> bool {
    seen.status.as_deref() == Some(status)
}

/// Whether a log line after readiness says in any way that there is no API key.
fn denies_key(line: &LogLine, ready: DateTime<Utc>) -> bool {
    let text = line.text.to_lowercase();
    line.at >= ready && (text.contains("no api key") || text.contains("awaitingapikey"))
}
