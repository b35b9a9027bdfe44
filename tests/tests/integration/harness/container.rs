//! Real containers: that they live, answer, write and die as the real ones do.

use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::docker::{Engine, Kind, Phase, Reach, Spec, reach};
use auth_reconciler_tests::instance::Telegram;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::watcher::Watcher;
use serde_json::{Value, json};

const ROOT: (u32, u32) = (0, 0);

fn state(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["state"].as_str().unwrap_or("none"))
}

#[tokio::test]
async fn a_container_writes_before_it_is_ready_and_says_so_after() -> Result<()> {
    let engine = Engine::shared().await?;
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    let way = reach(database.url()).await;
    assert!(matches!(way, Reach::Socket { .. }), "{way:?}");
    // Long enough to be seen in between.
    let gap = Duration::from_millis(300);
    let spec = way
        .apply(Spec::new().at_once(), ROOT)
        .port(Engine::port()?)
        .with(|settings| settings.ready_after_account = gap);
    let (id, port) = (spec.settings.id, spec.settings.port);
    table.insert(&client, id, Some(port), None).await?;
    let watcher = Watcher::start(database.url(), &table).await?;
    let container = engine.run(spec).await?;
    container.reached(Phase::Listening).await?;
    assert_eq!(state(&container.status().await?), (200, "DISCONNECTED"));
    container.reached(Phase::Ready).await?;
    let answer = container.status().await?;
    assert_eq!(state(&answer), (200, "READY"));
    assert!(answer.1["info"].is_object());

    let row = client
        .query_one(
            &format!(
                "select api_key, account, auth_status from {} where id = $1",
                table.name()
            ),
            &[&id],
        )
        .await?;
    let expected = [
        id.to_string(),
        "Name (@username)".to_owned(),
        "pending".to_owned(),
    ];
    let written: Vec<String> = (0..3).map(|column| row.get(column)).collect();
    assert!(written == expected, "key, account and an untouched status");

    let counts = container.counts().await?;
    let saved = watcher.history(id).last().context("writes")?.written_at;
    let (ready, first) = (
        counts.ready_us.context("it is ready")?,
        counts.first_ready_answer_us.context("it answered")?,
    );
    let gap = i64::try_from(gap.as_micros())?;
    assert!(
        ready - saved.timestamp_micros() >= gap,
        "ready only after the commit"
    );
    assert!(first >= ready, "no READY before it is ready");
    assert_eq!((counts.status["disconnected"], counts.ready()), (1, 1));
    assert!(container.log_holds("initialised successfully").await?);
    assert!(
        container.log_holds("a-secret-bot-token").await?,
        "as the real one does"
    );
    container.remove().await?;
    watcher.remove().await?;
    database.close().await
}

#[tokio::test]
async fn a_container_is_made_as_the_manager_makes_it() -> Result<()> {
    let engine = Engine::shared().await?;
    let container = engine.create(Spec::new()).await?;
    let id = container.instance().to_string();
    assert_eq!(container.name(), format!("wweb-{id}-api"));
    assert_eq!(container.state().await?, "created");
    let inspected = container.inspect().await?;
    let labels = json!({
        "wweb.instance.id": id,
        "wweb.instance.type": "api",
        "wweb.instance.provider": "telegram",
        "wweb.instance.user_id": "a company",
    });
    assert_eq!(inspected["Config"]["Labels"], labels);
    assert_eq!(inspected["Config"]["Healthcheck"], Value::Null);
    assert_eq!(inspected["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(inspected["HostConfig"]["LogConfig"]["Type"], "json-file");

    let spec = Spec::new()
        .kind(Kind::Mcp)
        .label("wweb.instance.provider", None);
    let other = engine.create(spec).await?;
    assert!(other.name().ends_with("-mcp"));
    let inspected = other.inspect().await?;
    assert_eq!(inspected["Config"]["Labels"]["wweb.instance.type"], "mcp");
    assert_eq!(
        inspected["Config"]["Labels"]["wweb.instance.provider"],
        Value::Null
    );

    let path = format!("/containers/{}/json", container.id());
    drop(container);
    assert!(engine.get(&path).await.is_err(), "a drop removes it");
    Ok(())
}

#[tokio::test]
async fn every_end_has_its_events() -> Result<()> {
    let engine = Engine::shared().await?;
    let container = engine.run(Spec::new().at_once()).await?;
    container.reached(Phase::Ready).await?;
    container.stop(Duration::from_secs(10)).await?;
    assert_eq!(container.exited().await?, 0, "process 1 handles SIGTERM");
    container.start().await?;
    container.reached(Phase::Ready).await?;
    container.restart().await?;
    container.reached(Phase::Ready).await?;
    container.pause().await?;
    assert_eq!(container.state().await?, "paused");
    container.unpause().await?;
    container.kill("KILL").await?;
    assert_eq!(container.exited().await?, 137);
    let expected = [
        "create", "attach", "start", "kill(15)", "die(0)", "stop", "start", "attach", "kill(15)",
        "die(0)", "stop", "start", "restart", "attach", "pause", "unpause", "kill(9)", "die(137)",
    ];
    let seen = container.events().await?;
    let without = |all: &[String]| -> Vec<String> {
        let all = all.iter().filter(|event| *event != "attach");
        all.cloned().collect()
    };
    let expected = expected.map(str::to_owned);
    assert_eq!(without(&seen), without(&expected));
    Ok(())
}

#[tokio::test]
async fn it_fails_on_demand() -> Result<()> {
    let engine = Engine::shared().await?;
    let container = engine.run(Spec::new().at_once()).await?;
    container.reached(Phase::Ready).await?;
    for (order, expected) in [
        ("telegram?state=fails", (200, "ERROR")),
        ("telegram?state=answers", (200, "READY")),
        ("disconnect?silent=true", (200, "DISCONNECTED")),
        ("ready", (200, "READY")),
        ("pretend?as=unauthorized", (401, "none")),
        ("pretend?as=nothing", (200, "READY")),
    ] {
        container.control(order).await?;
        assert_eq!(state(&container.status().await?), expected, "{order}");
    }
    assert!(container.control("dance").await.is_err());
    container.control("hang").await?;
    let hanging = tokio::time::timeout(Duration::from_millis(200), container.status()).await;
    assert!(hanging.is_err(), "nobody answers");
    assert_eq!(container.counts().await?.times_ready, 4);

    container.control("revoke").await?;
    assert_eq!(container.exited().await?, 1);
    container.start().await?;
    container.reached(Phase::Ready).await?;
    container.control("crash").await?;
    assert!(container.exited().await? > 128);
    assert!(!container.log_holds("bye").await?, "a crash says nothing");
    Ok(())
}

#[tokio::test]
async fn telegram_may_fail_at_the_start_and_sigterm_may_take_its_time() -> Result<()> {
    let engine = Engine::shared().await?;
    let spec = Spec::new().at_once().with(|settings| {
        settings.telegram = Telegram::Fails;
        settings.exits_after = Duration::from_secs(600);
    });
    let container = engine.run(spec).await?;
    container.reached(Phase::Listening).await?;
    assert_eq!(state(&container.status().await?), (200, "DISCONNECTED"));
    container.stop(Duration::from_secs(1)).await?;
    assert_eq!(container.exited().await?, 137, "its time was over");
    let seen = container.events().await?;
    assert!(
        seen.ends_with(&["kill(15)", "kill(9)", "die(137)", "stop"].map(str::to_owned)),
        "{seen:?}"
    );
    Ok(())
}

#[tokio::test]
async fn memory_is_limited_and_output_is_not() -> Result<()> {
    let engine = Engine::shared().await?;
    let mut spec = Spec::new().at_once();
    spec.memory = Some(64 << 20);
    spec.log_driver = Some("none".to_owned());
    let container = engine.run(spec).await?;
    container.reached(Phase::Ready).await?;
    container
        .control("flood?bytes_per_second=20000000&seconds=1")
        .await?;
    assert_eq!(
        state(&container.status().await?),
        (200, "READY"),
        "it goes on meanwhile"
    );
    container.control("eat?mib=256").await?;
    assert_eq!(container.exited().await?, 137);
    assert_eq!(container.inspect().await?["State"]["OOMKilled"], true);
    assert!(container.events().await?.contains(&"oom".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_health_check_speaks_in_events() -> Result<()> {
    let engine = Engine::shared().await?;
    let mut spec = Spec::new().at_once();
    spec.health = Some(Duration::from_millis(100));
    let container = engine.run(spec).await?;
    let path = format!(
        "/events?filters=%7B%22container%22%3A%5B%22{}%22%5D%7D&since=0",
        container.id()
    );
    engine
        .until_streamed(&path, "health_status: healthy")
        .await?;
    Ok(())
}
