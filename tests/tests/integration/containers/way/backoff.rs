//! An engine that cannot be followed is tried again in growing steps.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use serde_json::json;

use super::{DEBUG, STILL, says_of_engine};
use crate::arena::Scene;

/// The shortest time that so many tries in a row may span: steps from 100 ms on, each a quarter longer.
fn shortest(tries: usize) -> Duration {
    let steps = std::iter::successors(Some(0.1), |step: &f64| Some(step * 1.25));
    Duration::from_secs_f64(steps.take(tries - 1).sum())
}

const TRIES: usize = 6;

async fn tries_span_their_backoff(reply: Option<Reply>) -> Result<()> {
    let fake = FakeEngine::start().await?;
    // Stands for a stream that is cut by the test, as soon as it has begun.
    let cut = reply.is_none();
    fake.reply("/events", reply.unwrap_or(Reply::Stream));
    let _scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", &fake.url())]).await?;
    for count in 1..=TRIES {
        let seen = fake.until("a try", |seen| seen.count("/events") >= count);
        seen.await?;
        if cut {
            // The one that has begun; a stream that is over does not hear it.
            let open = fake.until("a stream", |seen| seen.open("/events") > 0);
            open.await?;
            fake.cut("/events");
            fake.until("its end", |seen| seen.open("/events") == 0)
                .await?;
        }
    }
    let times = fake.seen().times("/events");
    let span = times[TRIES - 1] - times[0];
    assert!(span >= shortest(TRIES), "{TRIES} tries in {span:?}");
    // Each try is a subscription, and a list where that stands.
    let connections = fake.seen().connections;
    assert!(
        connections <= 2 * times.len() as u64,
        "{connections} connections"
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_that_ends_at_once_or_is_refused_makes_no_hot_loop() -> Result<()> {
    let ends = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec();
    tokio::try_join!(
        tries_span_their_backoff(Some(Reply::Raw(ends))),
        tries_span_their_backoff(Some(Reply::Json(500, json!({"message": "no"})))),
        tries_span_their_backoff(Some(Reply::Close)),
        tries_span_their_backoff(None),
    )?;
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_not_there_makes_no_hot_loop_and_one_warning() -> Result<()> {
    let nowhere = FakeEngine::start().await?.url();
    let scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", &nowhere), DEBUG]).await?;
    let first = says_of_engine(&scene.client, "not seen").await?;
    for advice in ["could not connect", "start the engine", "mount its folder"] {
        assert!(first.detail.contains(advice), "{}", first.detail);
    }
    let mut mark = 0;
    let mut times = Vec::new();
    for _ in 1..TRIES {
        times.push(next_try(&scene, &mut mark).await?);
    }
    let warned = scene.daemon.count(|line| line.is(super::LOST));
    assert_eq!(warned, 1, "said once, not with each try");
    // Each line was logged before the step that followed it, so these say it without a clock of ours.
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let span = at(&times[times.len() - 1])? - at(&times[0])?;
    assert!(span.to_std()? >= shortest(times.len()), "{span}");
    // Nothing is written again for it, and since when it is does not move.
    let last = super::told(&scene.client).await?;
    assert_eq!((last.since, last.detail), (first.since, first.detail));
    let writes = "select xmin::text from auth_reconciler.engine";
    let version: String = scene.client.query_one(writes, &[]).await?.try_get(0)?;
    // A write of the first of these is done when the second comes.
    for _ in 0..2 {
        next_try(&scene, &mut mark).await?;
    }
    let again: String = scene.client.query_one(writes, &[]).await?.try_get(0)?;
    assert_eq!(version, again, "no write by the clock");
    Ok(())
}

/// Waits for the next try that failed, and tells when that was.
async fn next_try(scene: &Scene, mark: &mut usize) -> Result<String> {
    let line = scene.daemon.wait_message_after(*mark, STILL).await?;
    let log = scene.daemon.log();
    let place = log.iter().position(|one| one.text == line.text);
    *mark = 1 + place.context("it was logged")?;
    let at = line.json["timestamp"].as_str().context("a time")?;
    Ok(at.to_owned())
}
