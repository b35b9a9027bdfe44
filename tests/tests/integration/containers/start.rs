//! The way of a container to READY, found without a clock.

use std::time::Duration;

use anyhow::{Result, ensure};
use auth_reconciler_tests::docker::Phase;
use auth_reconciler_tests::instance::RequestLog;
use auth_reconciler_tests::patience::PATIENCE;
use auth_reconciler_tests::watcher::Observation;
use futures_util::future::try_join_all;

use super::harbour::{Harbour, NO_BACKOFF, by_the_container};

/// Requests of a normal start: by its writes, by what it says, and by the clock below that.
const FEW_IN_ALL: u64 = 12;

/// Looks that an operator asks for, one after the other.
const ASKED: u64 = 8;

/// Each READY that is asked for costs a request to Telegram.
const FEW: u64 = 3;

#[tokio::test]
async fn a_normal_start_needs_no_clock_and_few_requests() -> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let (table, records) = (&harbour.scene.table, &harbour.scene.records);
    let spec = harbour.spec()?;
    let id = harbour.insert(&spec).await?;
    let container = harbour.engine.run(spec).await?;
    // The manager writes the key five times, on five connections.
    let key = id.to_string();
    try_join_all((0..5).map(|_| async {
        let client = harbour.scene.database.client().await?;
        table.save_api_key(&client, id, Some(&key)).await
    }))
    .await?;
    harbour.watcher.wait_status(id, "client_ready").await?;

    // And once it has seen that the container is ready it writes so, with its own spelling of the account.
    let looks = harbour.recorded_looks(id).await?;
    table
        .write_status_and_account(harbour.client(), id, "client_ready", "Name")
        .await?;
    records
        .wait(0, "the look at the manager's account", |record| {
            record.id == id && record.looks() > looks && record.text("cause") == Some("account")
        })
        .await?;

    // Whatever else it would be asked, it is asked while others come and are looked at.
    for _ in 0..10 {
        harbour.scene.idle_instance().await?;
    }

    assert_eq!(
        harbour.watcher.statuses(id).await?,
        ["pending", "client_ready"]
    );
    let counts = container.counts().await?;
    assert!((1..=FEW).contains(&counts.ready()), "{counts:?}");
    assert!(counts.total() <= FEW_IN_ALL, "{counts:?}");
    let [_, reason, cause] = harbour.last_move(id).await?;
    assert_eq!(reason, "Ready");
    assert!(cause == "account" || by_the_container(&cause), "{cause}");
    assert_eq!(harbour.scene.history(id).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_container_that_writes_no_row_is_found_by_its_output_alone_after_a_restart_too()
-> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let records = &harbour.scene.records;
    let container = harbour.waiting(harbour.waiting_spec()?).await?;
    let id = container.instance();
    container.control("ready").await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    // No write and no clock tells.
    let [_, reason, cause] = harbour.last_move(id).await?;
    assert_eq!(reason, "Ready");
    assert!(by_the_container(&cause), "{cause}");
    let before = container.counts().await?.ready();
    assert!(before <= FEW, "{before}");

    for _ in 0..2 {
        let (seen, recorded) = (harbour.watcher.mark(), records.mark());
        container.restart().await?;
        harbour
            .watcher
            .wait_status_after(seen, id, "pending")
            .await?;
        harbour.not_ready(recorded, id).await?;
        // Once more while it is followed: under the same id another process says something else.
        container.restart().await?;
        container.reached(Phase::Listening).await?;
        container.control("ready").await?;
        harbour
            .watcher
            .wait_status_after(seen, id, "client_ready")
            .await?;
        let [_, reason, cause] = harbour.last_move(id).await?;
        assert_eq!(reason, "Ready");
        assert!(by_the_container(&cause), "{cause}");
        let counts = container.counts().await?;
        assert!((1..=FEW).contains(&counts.ready()), "{counts:?}");
        let since = harbour.watcher.observations(seen);
        let mut statuses: Vec<_> = since.into_iter().filter_map(|seen| seen.status).collect();
        statuses.retain(|status| status != "failed");
        // That it was down may be seen with each of the two restarts.
        statuses.dedup();
        assert_eq!(statuses, ["pending", "client_ready"], "down, and up again");
    }
    Ok(())
}

#[tokio::test]
async fn the_gap_between_account_and_ready_needs_no_clock_however_long_it_is() -> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let gaps = [1, 20, 200, 1000];
    try_join_all(gaps.map(|gap| run(&harbour, gap))).await?;
    Ok(())
}

async fn run(harbour: &Harbour, gap: u64) -> Result<()> {
    let late = Duration::from_millis(gap);
    // A real one's times: it is followed by the time that it saves its account.
    let spec = harbour
        .spec()?
        .with(|settings| settings.ready_after_account = late);
    let id = harbour.insert(&spec).await?;
    let container = harbour.engine.run(spec).await?;
    harbour.watcher.wait_status(id, "client_ready").await?;
    let statuses = harbour.watcher.statuses(id).await?;
    ensure!(
        statuses == ["pending", "client_ready"],
        "{gap}: {statuses:?}"
    );
    let [_, _, cause] = harbour.last_move(id).await?;
    // A look at the account comes before a container that takes so long.
    let by_account = gap < 1000 && cause == "account";
    ensure!(by_account || by_the_container(&cause), "{gap}: {cause}");
    let counts = container.counts().await?;
    ensure!((1..=FEW).contains(&counts.ready()), "{gap}: {counts:?}");
    Ok(())
}

/// Its requests are logged as the real one does, as WhatsApp's does, and worse. There is no clock: what is asked is
/// asked by the operator, or because of what was said; and so is what tells that it is ready.
#[tokio::test]
async fn requests_that_are_logged_lead_to_no_more_of_them() -> Result<()> {
    let harbour = Harbour::shared(&NO_BACKOFF).await?;
    let log = |before, with, after, later, with_path| RequestLog {
        before,
        with,
        after,
        later: Duration::from_millis(later),
        with_path,
    };
    let logs = [
        RequestLog::REAL,
        log(1, 4, 0, 0, false),
        log(1, 1, 3, 40, false),
        log(0, 0, 0, 0, true),
    ];
    let containers = try_join_all(logs.map(async |requests| {
        let spec = harbour.waiting_spec()?;
        harbour
            .waiting(spec.with(|settings| settings.requests = requests))
            .await
    }))
    .await?;
    for _ in 0..ASKED {
        let all = containers.iter();
        try_join_all(all.map(|container| harbour.scene.reconcile(container.instance()))).await?;
    }
    let mark = harbour.watcher.mark();
    for (container, requests) in containers.iter().zip(logs) {
        let before = container.counts().await?.total();
        assert!(before <= ASKED + 24, "{requests:?}: {before} requests");
        container.control("ready").await?;
    }
    for (container, requests) in containers.iter().zip(logs) {
        let id = container.instance();
        // On a machine without breath its lines come at any time, so that they cannot be counted. What it then says amid
        // those of a request is found by the clock, and here is none: so it says it once more.
        for _ in 0..2 {
            let ready = |seen: &Observation| {
                seen.id == id && seen.status.as_deref() == Some("client_ready")
            };
            let shown = harbour
                .watcher
                .wait_for(mark, PATIENCE / 3, "client_ready", ready);
            if shown.await.is_ok() {
                break;
            }
            container.control("ready").await?;
        }
        let shown = harbour.watcher.wait_status_after(mark, id, "client_ready");
        shown.await?;
        let [_, _, cause] = harbour.last_move(id).await?;
        assert!(by_the_container(&cause), "{requests:?}: {cause}");
    }
    Ok(())
}
