//! Whatever comes in the stream of events, in whatever pieces: what is true is found.

use anyhow::Result;
use auth_reconciler_tests::docker::recorder::{Recorder, Way};
use auth_reconciler_tests::docker::{Container, Engine};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Faked;
use super::faked::{CONTAINER, KILLED, RUNNING, Shown, event};
use crate::arena::Record;
use crate::containers::Harbour;

/// Looks may follow each other as fast as a test makes them.
const FREELY: (&str, &str) = ("AUTH_RECONCILER_LOOK_BURST", "10000");

#[tokio::test]
async fn an_event_may_be_cut_at_any_byte() -> Result<()> {
    let faked = Faked::ready(&[FREELY]).await?;
    // Its looks need no API.
    faked.show(KILLED);
    faked.tell(faked.event("die"));
    faked.becomes("failed").await?;
    faked.scene.reconcile(faked.id).await?;
    let event = faked.event("die").into_bytes();
    for place in 1..event.len() {
        let mark = faked.scene.records.mark();
        let (one, other) = event.split_at(place);
        faked.tell(one);
        faked.tell(other);
        // A look that met a busy machine is repeated by the clock, and tells nothing of what led to it.
        let what = format!("a look at an end whose event was cut at {place}");
        let of_this = |record: &Record| {
            record.id == faked.id
                && matches!(record.text("cause"), Some("container die" | "backoff"))
        };
        faked.scene.records.wait(mark, &what, of_this).await?;
    }
    assert_eq!(faked.fake.seen().count("/events"), 1, "one subscription");
    Ok(())
}

#[tokio::test]
async fn what_says_nothing_of_an_instance_is_passed_over() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let mut strange = vec![
        json!({}),
        json!({"Type": "container", "Action": "die"}),
        json!({"Type": "container", "Action": "die", "Actor": {}}),
        json!({"Type": "container", "Action": "die", "Actor": {"ID": CONTAINER}}),
        json!({"Type": "container", "Action": "die", "Actor": {"ID": CONTAINER, "Attributes": {}}}),
        json!({"Type": "container", "Actor": {"ID": CONTAINER}}),
    ];
    let mut of_ours = |change: &dyn Fn(&mut Value)| -> Result<()> {
        let mut event: Value = serde_json::from_str(&faked.event("die"))?;
        change(&mut event);
        strange.push(event);
        Ok(())
    };
    of_ours(&|event| event["Action"] = json!("exec_create: x"))?;
    of_ours(&|event| event["Action"] = json!("levitate"))?;
    of_ours(&|event| event["Actor"]["Attributes"]["wweb.instance.id"] = json!("no id"))?;
    of_ours(&|event| event["Actor"]["Attributes"]["wweb.instance.type"] = json!("mcp"))?;
    let other = faked.scene.idle_instance().await?;
    let records = &faked.scene.records;
    faked.scene.reconcile(faked.id).await?;
    let mark = records.mark();
    let all: String = strange.iter().map(|event| format!("{event}\n")).collect();
    // Two that say something come last: of no row, and of another one, whose look comes after what the strange ones
    // would have led to.
    faked.tell(all + &event(Uuid::new_v4(), "die") + &event(other, "die"));
    records.of(mark, other).await?;
    faked.scene.reconcile(faked.id).await?;
    assert_eq!(records.all(mark, faked.id).len(), 1, "the operator's look");
    assert_eq!(faked.fake.seen().count("/events"), 1, "one subscription");
    Ok(())
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_left_and_begun_anew() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let half = faked.event("die");
    let half = &half[..half.len() / 2];
    let wrong: [&[u8]; 5] = [
        b"garbage\n",
        b"\xff\xfe\x00\n",
        b"{\"Type\": 7}\n",
        b"{\"Type\": \"container\", \"Action\": \"die\"}}{\n",
        // It ends in the middle.
        half.as_bytes(),
    ];
    for (round, bytes) in (1..).zip(wrong) {
        // What the wrong bytes stood for is found by the comparison after them.
        let (shown, status) = match round % 2 {
            1 => (KILLED, "failed"),
            _ => (
                Shown {
                    start: round,
                    ..RUNNING
                },
                "client_ready",
            ),
        };
        faked.show(shown);
        faked.tell(bytes);
        faked.fake.end("/events");
        faked.becomes(status).await?;
        let again = faked.fake.until("a new stream", |seen| {
            seen.count("/events") > round as usize && seen.open("/events") == 1
        });
        again.await?;
    }
    let told = |line: &auth_reconciler_tests::daemon::LogLine| {
        line.is(super::LOST) && line.text.contains("could not connect")
    };
    assert_eq!(
        faked.scene.daemon.count(told),
        0,
        "that was not the trouble"
    );
    Ok(())
}

#[tokio::test]
async fn a_type_that_is_new_stops_nothing() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let new = faked
        .event("die")
        .replace("\"container\"", "\"levitation\"");
    faked.show(KILLED);
    faked.tell(new + &faked.event("die"));
    faked.becomes("failed").await
}

#[tokio::test]
async fn a_burst_of_300_events_hides_nothing() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let burst = |action: &str| -> String {
        let others = (0..299).map(|_| event(Uuid::new_v4(), action));
        others.collect::<String>() + &faked.event(action)
    };
    faked.show(KILLED);
    faked.tell(burst("die"));
    faked.becomes("failed").await?;
    // All of one instance: one look answers for many.
    let mark = faked.scene.records.mark();
    faked.show(Shown {
        start: 2,
        ..RUNNING
    });
    faked.tell(faked.event("start").repeat(300));
    faked.becomes("client_ready").await?;
    faked.scene.reconcile(faked.id).await?;
    let looks = faked.scene.records.all(mark, faked.id).len();
    assert!(looks < 70, "{looks} looks");
    assert_eq!(faked.fake.seen().count("/events"), 1, "one subscription");
    Ok(())
}

/// The engine remembers the last 256.
async fn make_300_events(container: &Container) -> Result<()> {
    for _ in 0..10 {
        try_join_all((0..30).map(|_| container.kill("CONT"))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn more_events_than_the_engine_keeps_are_lost_to_a_busy_daemon_and_nothing_with_them()
-> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let harbour = Harbour::open(engine.clone(), &recorder.url(), &[]).await?;
    let (dies, noisy) = tokio::try_join!(harbour.ready(), harbour.ready())?;
    let spec = harbour.spec()?.at_once();
    let starts = harbour.insert(&spec).await?;
    let created = engine.create(spec).await?;

    // Nobody reads the stream, and then it is lost with what it held, which is more than the engine still has.
    harbour.scene.daemon.signal("STOP")?;
    recorder.set(Way::Stall).await?;
    dies.kill("KILL").await?;
    created.start().await?;
    make_300_events(&noisy).await?;
    recorder.cut_all().await?;
    recorder.set(Way::Pass).await?;
    harbour.scene.daemon.signal("CONT")?;
    let watcher = &harbour.watcher;
    watcher.wait_status(dies.instance(), "failed").await?;
    let reason = &harbour.last_move(dies.instance()).await?[1];
    assert_eq!(reason, "ContainerStopped");
    watcher.wait_status(starts, "client_ready").await?;
    harbour.scene.reconcile(noisy.instance()).await?;
    for (container, reason) in [
        (dies.instance(), "ContainerStopped"),
        (starts, "Ready"),
        (noisy.instance(), "Ready"),
    ] {
        assert_eq!(harbour.told(container, "reason").await?, reason);
    }
    Ok(())
}
