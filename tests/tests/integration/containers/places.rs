//! How many containers are followed at once, and for how long.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::docker::recorder::{Asked, Recorder};
use auth_reconciler_tests::docker::{Container, Engine};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;

use super::harbour::{Harbour, LATE, by_the_container, without_backoff};

/// How long a stream that was let go of may take to be closed by the engine, too; less than a turn.
const FAREWELL: TimeDelta = TimeDelta::seconds(1);

fn streams(asked: &[Asked]) -> impl Iterator<Item = &Asked> {
    asked.iter().filter(|asked| asked.path.contains("/logs?"))
}

/// The paths of those that are open.
fn open(asked: &[Asked]) -> Vec<String> {
    let open = streams(asked).filter(|one| one.ended_at.is_none());
    open.map(|one| one.path.clone()).collect()
}

fn is_among(followed: &[String], container: &Container) -> bool {
    followed.iter().any(|path| path.contains(container.id()))
}

/// The most streams that were open at once, each without its last moment.
fn most_open(asked: &[Asked]) -> usize {
    let spans: Vec<(DateTime<Utc>, Option<DateTime<Utc>>)> = streams(asked)
        .map(|asked| (asked.at, asked.ended_at.map(|end| end - FAREWELL)))
        .collect();
    let open_at = |moment: DateTime<Utc>| {
        let open = spans
            .iter()
            .filter(|(from, to)| *from <= moment && to.is_none_or(|to| to > moment));
        open.count()
    };
    spans
        .iter()
        .map(|(from, _)| open_at(*from))
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn few_places_are_shared_by_many_and_given_back_by_all() -> Result<()> {
    let engine = Engine::shared().await?;
    let way = Recorder::start(engine.socket()).await?;
    let settings = without_backoff(&[("AUTH_RECONCILER_FOLLOWERS", "2")]);
    let harbour = Harbour::open(engine, &way.url(), &settings).await?;
    let containers = try_join_all((0..6).map(async |_| {
        let spec = harbour.waiting_spec()?;
        harbour.insert_with_key(&spec).await?;
        harbour.engine.run(spec).await
    }))
    .await?;
    // Each has its turn, though none has anything to say any more, and two at a time.
    way.until("all six to be followed once, two now", |asked| {
        let ids: BTreeSet<&str> = streams(asked)
            .filter_map(|one| one.path.split('/').nth(2))
            .collect();
        ids.len() == 6 && open(asked).len() == 2
    })
    .await?;
    // Those that are not followed at the moment become ready first.
    let followed = open(&way.asked());
    let (now, later): (Vec<&Container>, Vec<&Container>) =
        containers.iter().partition(|one| is_among(&followed, one));
    for container in later.into_iter().chain(now) {
        container.control("ready").await?;
    }
    for container in &containers {
        let id = container.instance();
        harbour.watcher.wait_status(id, "client_ready").await?;
        let [_, _, cause] = harbour.last_move(id).await?;
        ensure!(by_the_container(&cause), "{cause}");
        let ready = container.counts().await?.ready();
        ensure!((1..=3).contains(&ready), "{ready} READY were asked for");
    }
    assert_eq!(most_open(&way.asked()), 2);
    // Two of them keep the places that nobody else wants, without turns, and the others' are closed.
    way.until("two streams", |asked| open(asked).len() == 2)
        .await?;
    what_is_ready_may_talk(&harbour, &way, &containers).await?;

    // One that is not ready goes before those that are.
    let last = harbour.waiting(harbour.waiting_spec()?).await?;
    way.until("the one that is not ready to be followed", |asked| {
        let open = open(asked);
        open.len() == 2 && is_among(&open, &last)
    })
    .await?;
    Ok(())
}

/// What is followed though all are ready keeps its place, and is asked hardly more for saying much.
async fn what_is_ready_may_talk(
    harbour: &Harbour,
    way: &Recorder,
    containers: &[Container],
) -> Result<()> {
    let followed = open(&way.asked());
    let talker = containers
        .iter()
        .find(|one| is_among(&followed, one))
        .context("two of these")?;
    let (begun, asked) = (
        streams(&way.asked()).count(),
        talker.counts().await?.total(),
    );
    // What is ready may be asked once a minute for what it says.
    talker
        .control("flood?bytes_per_second=1000000&seconds=1&newlines=true&wait=true")
        .await?;
    let other = containers.iter().find(|one| one.id() != talker.id());
    harbour.caught_up(other.context("six")?).await?;
    let more = talker.counts().await?.total() - asked;
    assert!(more <= 1 + LATE, "{more} requests for a megabyte of output");
    assert_eq!(open(&way.asked()), followed);
    assert_eq!(streams(&way.asked()).count(), begun, "no turns");
    Ok(())
}
