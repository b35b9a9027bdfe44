//! The way to READY and away from it: what the API says counts, however late, and whoever wrote what meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::arena::{KEY, Record, Scene};

/// A backoff so long that no test sees a look of its making.
const NO_BACKOFF: [(&str, &str); 2] = [
    ("AUTH_RECONCILER_BACKOFF_MIN", "10m"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "10m"),
];

fn time(record: &Record, column: &str) -> Result<DateTime<Utc>> {
    let text = record
        .text(column)
        .with_context(|| format!("no {column}"))?;
    Ok(text.parse()?)
}

#[tokio::test]
async fn an_account_saved_before_ready_becomes_client_ready_at_once() -> Result<()> {
    // Without backoff nothing but the short steps after the account can find it.
    let scene = Scene::start(&NO_BACKOFF).await?;
    let watcher = scene.watch().await?;
    // They end 400 ms after the write: a machine that stalled for so long shows nothing.
    for _ in 0..5 {
        let stub = Stub::start(Behaviour::Disconnected).await?;
        let id = scene.instance(&stub).await?;
        assert_eq!(stub.counts().total(), 1);

        // The answer to the write itself is DISCONNECTED, given when the bot is ready a moment later.
        let gate = Gate::new();
        stub.set(Behaviour::Disconnected.held(&gate)).await?;
        let mark = scene.records.mark();
        scene
            .table
            .save_account(&scene.client, id, Some("Name (@username)"))
            .await?;
        stub.request(2).await?;
        stub.set(Behaviour::Ready).await?;
        gate.open();
        let record = scene.records.of(mark, id).await?;
        assert_eq!(record.reason(), "TelegramConnecting");
        let waited = time(&record, "recorded_at")? - time(&record, "account_at")?;
        if waited.num_milliseconds() >= 400 {
            continue;
        }
        watcher.wait_status(id, "client_ready").await?;
        assert_eq!(watcher.statuses(id).await?, ["pending", "client_ready"]);
        let history = scene.history(id).await?;
        let expected = ["pending", "client_ready", "Ready", "backoff"];
        assert_eq!(history.last(), Some(&expected.map(str::to_owned)));
        return Ok(());
    }
    bail!("five times in a row the answer took longer than 400 ms");
}

#[tokio::test]
async fn ready_is_found_without_any_sql_signal() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let watcher = scene.watch().await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    let mark = scene.records.mark();
    let id = scene.instance(&stub).await?;
    let record = scene.records.reason(mark, id, "ApiStarting").await?;
    assert_eq!(record.text("auth_status"), Some("pending"));

    // The container starts, listens and is ready, and the database is down for it: it writes nothing.
    stub.set(Behaviour::AcceptThenReset).await?;
    stub.request(1).await?;
    stub.set(Behaviour::Disconnected).await?;
    stub.until("an answer", |counts| {
        counts.by_behaviour.contains_key("disconnected")
    })
    .await?;
    stub.set(Behaviour::Ready).await?;
    watcher.wait_status(id, "client_ready").await?;
    assert_eq!(watcher.statuses(id).await?, ["pending", "client_ready"]);

    // From there on it costs nothing: no probe and no deadline.
    let probes = stub.counts().total();
    let other = scene.idle_instance().await?;
    scene.reconcile(other).await?;
    let status = scene.status(id).await?;
    assert!(status["next_attempt_at"].is_null());
    assert_eq!(stub.counts().total(), probes);
    Ok(())
}

#[tokio::test]
async fn the_incident_ends_true() -> Result<()> {
    let scene = Scene::start(&[("RUST_LOG", "trace")]).await?;
    let watcher = scene.watch().await?;
    let stub = Stub::start(Behaviour::NotListening).await?;
    stub.expect_key(KEY);
    let id = Uuid::new_v4();
    let mark = scene.records.mark();
    scene
        .table
        .insert(&scene.client, id, Some(stub.port()), None)
        .await?;
    scene.records.reason(mark, id, "AwaitingApiKey").await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some(KEY))
        .await?;
    scene.records.reason(mark, id, "ApiStarting").await?;
    stub.set(Behaviour::Ready).await?;
    scene
        .table
        .save_account(&scene.client, id, Some("Name (@username)"))
        .await?;
    // A look of the backoff may have found it before; what follows is to be told apart from this one.
    scene
        .records
        .wait(mark, "the look at the account", |record| {
            record.reason() == "Ready" && record.text("cause") == Some("account")
        })
        .await?;

    watcher.wait_status(id, "client_ready").await?;

    // The manager, by the copy of the row that it read before there was a key; and once more.
    let ready = scene.records.mark();
    for _ in 0..2 {
        let seen = watcher.mark();
        scene
            .table
            .write_status(&scene.client, id, Some("pending"))
            .await?;
        watcher.wait_status_after(seen, id, "client_ready").await?;
    }
    let history = scene.history(id).await?;
    let drift = ["pending", "client_ready", "Ready", "drift"].map(str::to_owned);
    assert_eq!(history[history.len() - 2..], [drift.clone(), drift]);
    scene.reconcile(id).await?;
    for record in scene.records.all(ready, id) {
        assert_eq!(record.reason(), "Ready", "nothing else after readiness");
    }
    no_later_read_is_without_its_key(&scene.daemon, id);
    assert!(!scene.daemon.output().contains(KEY), "no secret in any log");
    Ok(())
}

/// Once a look has read the key all do, as they say in the log, and none speaks of its absence.
fn no_later_read_is_without_its_key(daemon: &Daemon, id: Uuid) {
    let log = daemon.log();
    let reads: Vec<_> = log
        .iter()
        .filter(|line| line.is("row read fresh"))
        .skip_while(|line| line.has("has_api_key", "false"))
        .collect();
    assert!(reads.len() >= 4, "each look says that it read the row");
    for line in reads {
        assert!(line.has("has_api_key", "true") && line.has("instance", &id.to_string()));
        assert!(line.field("generation").as_i64() > Some(0));
    }
    let after = log
        .iter()
        .skip_while(|line| !line.is("status written") || !line.has("to", "client_ready"));
    assert!(after.clone().count() > 0);
    for line in after {
        assert!(!line.text.contains("AwaitingApiKey"), "{}", line.text);
    }
}

#[tokio::test]
async fn an_account_that_manager_and_container_spell_differently_does_no_harm() -> Result<()> {
    const TURNS: u64 = 5;
    let mut scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let probes = stub.counts().total();
    for _ in 0..TURNS {
        for account in ["Name", "Name (@username)"] {
            let mark = scene.records.mark();
            let transaction = scene.client.transaction().await?;
            scene
                .table
                .write_status_and_account(&transaction, id, "client_ready", account)
                .await?;
            let written = "select xmin::text from public.message_instances where id = $1";
            let theirs: String = transaction.query_one(written, &[&id]).await?.try_get(0)?;
            transaction.commit().await?;
            let record = scene.records.of(mark, id).await?;
            assert_eq!(record.reason(), "Ready");
            let now: String = scene.client.query_one(written, &[&id]).await?.try_get(0)?;
            assert_eq!(now, theirs, "the last write is still the manager's");
        }
    }
    // Each of its writes cost one probe, and no second one: a busy machine may have told of one of them late.
    let cost = stub.counts().total() - probes;
    assert!((TURNS * 2..TURNS * 3).contains(&cost), "{cost} probes");
    let status = scene.status(id).await?;
    assert_eq!(status["auth_status"], "client_ready");
    assert_eq!(status["contested"], false);
    assert!(status["next_attempt_at"].is_null());
    Ok(())
}

#[tokio::test]
async fn an_api_that_stays_unconnected_fails_and_recovers_when_it_is_restarted() -> Result<()> {
    let settings = [("AUTH_RECONCILER_NOT_CONNECTED_LIMIT", "700ms")];
    let scene = Scene::start(&settings).await?;
    let watcher = scene.watch().await?;
    let stub = Stub::start(Behaviour::Disconnected).await?;
    let id = scene.instance(&stub).await?;
    let failed = scene.records.reason(0, id, "TelegramNotConnected").await?;
    let waited = time(&failed, "recorded_at")? - time(&failed, "first_miss_at")?;
    assert!(waited.num_milliseconds() >= 700, "{waited}");
    // "Not yet" within the first second is no evidence, so the limit is counted from its end.
    let young = time(&failed, "first_miss_at")? - time(&failed, "started_at")?;
    assert!(young.num_milliseconds() >= 1000, "{young}");
    let status = scene.status(id).await?;
    assert_eq!(
        (&status["auth_status"], &status["trouble"]),
        (&"failed".into(), &true.into())
    );
    let message = status["message"].as_str().context("a message")?;
    assert!(message.contains("restart the instance"), "{message}");

    // A restarted container gets a new key here: its first answers must not fail it again.
    let mark = scene.records.mark();
    scene
        .table
        .save_api_key(&scene.client, id, Some("another"))
        .await?;
    scene.records.of(mark, id).await?;
    stub.set(Behaviour::Ready).await?;
    scene.records.reason(mark, id, "Ready").await?;
    for record in scene.records.all(mark, id) {
        assert_ne!(record.reason(), "TelegramNotConnected");
    }
    watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_ready_instance_that_falls_silent_fails_only_when_it_missed_often() -> Result<()> {
    falls_silent(5, Duration::from_millis(1)).await
}

#[tokio::test]
async fn a_ready_instance_that_falls_silent_fails_only_when_it_missed_for_long() -> Result<()> {
    falls_silent(2, Duration::from_millis(1_500)).await
}

async fn falls_silent(misses: i64, window: Duration) -> Result<()> {
    let (often, long) = (misses.to_string(), format!("{}ms", window.as_millis()));
    let settings = [
        ("AUTH_RECONCILER_MISSES", often.as_str()),
        ("AUTH_RECONCILER_MISS_WINDOW", long.as_str()),
        ("AUTH_RECONCILER_BACKOFF_MAX", "150ms"),
    ];
    let scene = Scene::start(&settings).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let watcher = scene.watch().await?;
    stub.set(Behaviour::AcceptThenReset).await?;
    let mark = scene.records.mark();
    scene.reconcile(id).await?;
    let failed = scene
        .records
        .wait(mark, "its failure", |record| {
            record.id == id && record.text("auth_status") == Some("failed")
        })
        .await?;
    assert_eq!(failed.reason(), "ApiUnresponsive");
    assert!(failed.get("misses").as_i64() >= Some(misses));
    let waited = time(&failed, "recorded_at")? - time(&failed, "first_miss_at")?;
    assert!(waited.to_std()? >= window, "{waited}");
    watcher.wait_status(id, "failed").await?;
    assert_eq!(watcher.statuses(id).await?, ["client_ready", "failed"]);
    // Each look before that was recorded, and changed nothing.
    let silent = scene.records.all(mark, id);
    let before: Vec<_> = silent
        .iter()
        .take_while(|record| record.text("auth_status") != Some("failed"))
        .collect();
    assert!(before.len() as i64 >= misses - 1);
    for record in before {
        assert_eq!(record.text("auth_status"), Some("client_ready"));
        assert_eq!(record.reason(), "ApiUnresponsive");
    }

    stub.set(Behaviour::Ready).await?;
    watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn one_error_of_telegram_is_a_hiccup_and_two_are_a_failure() -> Result<()> {
    let scene = Scene::start(&NO_BACKOFF).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    let look = async |behaviour| -> Result<(String, String)> {
        stub.set(behaviour).await?;
        let record = scene.reconcile(id).await?;
        let status = scene.table.status(&scene.client, id).await?;
        Ok((status.unwrap_or_default(), record.reason().to_owned()))
    };
    let (ready, failed) = ("client_ready".to_owned(), "failed".to_owned());
    let error = || "TelegramError".to_owned();
    assert_eq!(look(Behaviour::Error).await?, (ready.clone(), error()));
    assert_eq!(look(Behaviour::Ready).await?.0, ready);
    // Not two in a row.
    assert_eq!(look(Behaviour::Error).await?, (ready.clone(), error()));
    // A second one counts when it comes a second later or more; looks are asked for until then.
    let mut looks = 1;
    while look(Behaviour::Error).await? != (failed.clone(), error()) {
        looks += 1;
        anyhow::ensure!(looks < 1_000, "still ready after {looks} errors");
    }
    assert_eq!(look(Behaviour::Error).await?, (failed, error()));
    assert_eq!(look(Behaviour::Ready).await?.0, ready);
    Ok(())
}
