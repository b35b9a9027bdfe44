//! Engines differ in their words and will invent new ones: an unknown one hides nothing but itself.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Faked;
use super::faked::{CONTAINER, KILLED, RUNNING, Shown, summary};
use crate::arena::{KEY, Scene};
use crate::containers::harbour::{NO_BACKOFF, without_backoff};

/// The neighbour's id.
const NEIGHBOUR: &str = "decade";

/// A neighbour whose state, and whatever else there is of it, is this.
fn strange(word: &Value) -> Value {
    json!({
        "Id": NEIGHBOUR,
        "Created": word,
        "State": word,
        "Health": word,
        "NetworkSettings": word,
        "Labels": {"wweb.instance.id": Uuid::new_v4(), "wweb.instance.type": "api"},
    })
}

#[tokio::test]
async fn a_word_that_nobody_knows_makes_one_container_unknown_and_no_other() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    let words = [
        json!("stopped"),
        json!("initialized"),
        json!("configured"),
        json!("levitating"),
        json!(null),
        json!(7),
        json!({}),
    ];
    for (start, word) in (2..).zip(words) {
        let neighbour = strange(&word);
        faked.show(KILLED);
        faked
            .fake
            .list(json!([neighbour, summary(faked.id, KILLED)]));
        // The subscription begins anew, and what it finds is read from the list.
        faked.fake.end("/events");
        faked.becomes("failed").await?;
        let running = Shown { start, ..RUNNING };
        faked.show(running);
        faked
            .fake
            .list(json!([summary(faked.id, running), neighbour]));
        faked.tell(faked.event("start"));
        faked.becomes("client_ready").await?;
    }
    let lost = faked.scene.daemon.count(|line| line.is(super::LOST));
    ensure!(lost == 7, "only the ends that the test made: {lost}");
    Ok(())
}

#[tokio::test]
async fn a_container_in_an_unknown_state_is_judged_by_its_api() -> Result<()> {
    let faked = Faked::ready(&[]).await?;
    for state in ["levitating", ""] {
        faked.show(Shown { state, ..RUNNING });
        faked.tell(faked.event("die"));
        let look = faked.scene.reconcile(faked.id).await?;
        assert_eq!(look.text("auth_status"), Some("client_ready"), "{state:?}");
        assert_eq!(look.reason(), "Ready");
        // What is not known is recorded over nothing that is.
        let kept = "select container_state from auth_reconciler.instance where instance_id = $1";
        let row = faked.scene.client.query_one(kept, &[&faked.id]).await?;
        assert_eq!(row.try_get::<_, String>(0)?, "running");
    }
    Ok(())
}

/// An event as Podman 4.3.1 wrote it to its Docker-compatible socket, but for the ids.
fn podman(id: Uuid, action: &str, code: i64) -> String {
    let event = json!({
        "status": action, "id": CONTAINER, "from": "localhost/testimg:latest",
        "Type": "container", "Action": action,
        "Actor": {"ID": CONTAINER, "Attributes": {
            "containerExitCode": code.to_string(), "image": "localhost/testimg:latest", "name": "x1",
            "podId": "", "wweb.instance.id": id, "wweb.instance.type": "api",
        }},
        "scope": "local", "time": 1_795_590_195, "timeNano": 1_795_590_195_981_476_775_i64,
    });
    format!("{event}\n")
}

#[tokio::test]
async fn podman_is_heard_in_its_own_words() -> Result<()> {
    let faked = Faked::ready(&without_backoff(&[])).await?;
    let seen = faked.fake.seen();
    let asked = seen.requests.iter().find(|one| one.contains("/events"));
    for word in ["die", "died", "destroy", "remove"] {
        // It tells only of what it is asked for, and each engine knows only its own words.
        let quoted = format!("%22{word}%22");
        ensure!(
            asked.is_some_and(|asked| asked.contains(&quoted)),
            "{word}: {asked:?}"
        );
    }
    for (start, died) in (2..).zip(["died", "die"]) {
        faked.show(Shown {
            exit_code: 9,
            ..KILLED
        });
        faked.tell(podman(faked.id, died, 9));
        faked.becomes("failed").await?;
        let running = Shown { start, ..RUNNING };
        faked.show(running);
        faked.tell(podman(faked.id, "init", 0) + &podman(faked.id, "start", 0));
        faked.becomes("client_ready").await?;
    }
    faked.fake.reply(
        &format!("/containers/{CONTAINER}/json"),
        Reply::Json(
            404,
            json!({"cause": "no such container", "message": "gone", "response": 404}),
        ),
    );
    faked.fake.list(json!([]));
    let mark = faked.scene.records.mark();
    faked.tell(podman(faked.id, "remove", 0));
    let looked = faked
        .scene
        .records
        .wait(mark, "a look by the event", |record| {
            record.text("cause") == Some("container destroy")
        });
    let look = looked.await?;
    assert_eq!(
        look.text("message"),
        Some("its container was removed; start the instance again")
    );
    Ok(())
}

#[tokio::test]
async fn the_exit_code_that_an_event_carried_outlives_the_container() -> Result<()> {
    for (name, code) in [("exitCode", "9"), ("containerExitCode", "137")] {
        let faked = Faked::ready(&without_backoff(&[])).await?;
        faked.fake.reply(
            &format!("/containers/{CONTAINER}/json"),
            Reply::Json(404, json!({"message": "No such container"})),
        );
        faked.fake.list(json!([]));
        let died = faked.event("die");
        let died = died.replace("\"name\"", &format!("\"{name}\":\"{code}\",\"name\""));
        let mark = faked.scene.records.mark();
        faked.tell(died + &faked.event("destroy"));
        let words = format!("exit code {code} and was removed");
        let told = faked.scene.records.wait(mark, &words, |record| {
            record
                .text("message")
                .is_some_and(|message| message.contains(&words))
        });
        assert_eq!(told.await?.reason(), "ContainerStopped");
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_runs_none_of_ours_proves_no_absence() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let url = fake.url();
    // Of somebody else, with our labels and no row.
    fake.list(json!([summary(Uuid::new_v4(), RUNNING)]));
    let scene = Scene::start(&[("AUTH_RECONCILER_DOCKER", &url)]).await?;
    super::says_of_engine(&scene.client, "seen").await?;
    fake.list(json!([]));
    let stub = Stub::start(Behaviour::Ready).await?;
    stub.set(Behaviour::AcceptThenReset).await?;
    let id = Uuid::new_v4();
    let table = &scene.table;
    table
        .insert(&scene.client, id, Some(stub.port()), Some(KEY))
        .await?;
    let look = scene.records.of(0, id).await?;
    assert_eq!(look.reason(), "ApiStarting", "{look:?}");
    assert_eq!(
        look.get("settled"),
        false,
        "no event would tell when it starts"
    );
    let watcher = scene.watch().await?;
    stub.set(Behaviour::Ready).await?;
    // By backoff, and by nothing else.
    watcher.wait_status(id, "client_ready").await?;
    Ok(())
}

#[tokio::test]
async fn an_engine_that_showed_one_of_ours_proves_absence_to_every_later_daemon() -> Result<()> {
    let mut faked = Faked::ready(&NO_BACKOFF).await?;
    faked.scene.daemon.sigkill()?;
    faked.scene.daemon.ended().await?;
    // Gone meanwhile; what is recorded of it says that this engine is the right one.
    faked.fake.list(json!([]));
    let url = faked.fake.url();
    let settings = without_backoff(&[("AUTH_RECONCILER_DOCKER", url.as_str())]);
    faked.scene.daemon = Daemon::start(&faked.scene.database, &settings).await?;
    faked.becomes("failed").await?;
    let id = Uuid::new_v4();
    let (table, client) = (&faked.scene.table, &faked.scene.client);
    faked.stub.set(Behaviour::AcceptThenReset).await?;
    table
        .insert(client, id, Some(faked.stub.port()), Some(KEY))
        .await?;
    let look = faked.scene.records.of(0, id).await?;
    assert_eq!(look.reason(), "AwaitingContainer");
    assert_eq!(look.get("settled"), true, "its start is an event");
    Ok(())
}
