//! A scene whose engine is a fake with one container, and whose API is a stub.

use anyhow::Result;
use auth_reconciler_tests::daemon::Setting;
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use auth_reconciler_tests::watcher::Watcher;
use serde_json::{Value, json};
use uuid::Uuid;

use super::says_of_engine;
use crate::arena::{KEY, Scene};

/// The container's id.
pub(super) const CONTAINER: &str = "c0ffee";

/// What the engine shows of the container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) state: &'a str,
    pub(super) exit_code: i64,
    /// How often it was started: each time it gets other endpoints.
    pub(super) start: u32,
}

pub(super) const RUNNING: Shown<'_> = Shown {
    state: "running",
    exit_code: 0,
    start: 1,
};

pub(super) const KILLED: Shown<'_> = Shown {
    state: "exited",
    exit_code: 137,
    start: 1,
};

pub(super) struct Faked {
    pub(super) scene: Scene,
    pub(super) watcher: Watcher,
    pub(super) fake: FakeEngine,
    pub(super) stub: Stub,
    pub(super) id: Uuid,
}

impl Faked {
    /// Ready, with the engine in sight.
    pub(super) async fn ready(settings: &[Setting<'_>]) -> Result<Self> {
        let fake = FakeEngine::start().await?;
        let id = Uuid::new_v4();
        show(&fake, id, RUNNING);
        let url = fake.url();
        let mut all = vec![("AUTH_RECONCILER_DOCKER", url.as_str())];
        all.extend(settings);
        let scene = Scene::start(&all).await?;
        says_of_engine(&scene.client, "seen").await?;
        let faked = Self {
            watcher: scene.watch().await?,
            stub: Stub::start(Behaviour::Ready).await?,
            scene,
            fake,
            id,
        };
        let (table, client) = (&faked.scene.table, &faked.scene.client);
        table
            .insert(client, id, Some(faked.stub.port()), Some(KEY))
            .await?;
        faked.becomes("client_ready").await?;
        Ok(faked)
    }

    /// Changes what the engine shows; no event tells of it.
    pub(super) fn show(&self, shown: Shown<'_>) {
        show(&self.fake, self.id, shown);
    }

    pub(super) fn event(&self, action: &str) -> String {
        event(self.id, action)
    }

    /// Sends bytes in the stream of events, as one chunk.
    pub(super) fn tell(&self, bytes: impl Into<Vec<u8>>) {
        self.fake.send("/events", bytes);
    }

    #[track_caller]
    pub(super) fn becomes(&self, status: &str) -> impl Future<Output = Result<()>> {
        let waited = self.watcher.wait_status(self.id, status);
        async move {
            waited.await?;
            Ok(())
        }
    }
}

/// As [`Faked::show`].
pub(super) fn show(fake: &FakeEngine, id: Uuid, shown: Shown<'_>) {
    let Shown {
        state,
        exit_code,
        start,
    } = shown;
    // Inspected first: a look that began with the old list ends with the new state all the same.
    fake.reply(
        &format!("/containers/{CONTAINER}/json"),
        Reply::Json(
            200,
            json!({
                "Id": CONTAINER,
                "Name": "/a-container",
                "State": {
                    "Status": state,
                    "ExitCode": exit_code,
                    "OOMKilled": false,
                    "StartedAt": format!("2026-11-01T00:00:{start:02}.000000001Z"),
                },
                "NetworkSettings": networks(shown),
            }),
        ),
    );
    fake.list(json!([summary(id, shown)]));
}

/// What a list shows of the container.
pub(super) fn summary(id: Uuid, shown: Shown<'_>) -> Value {
    json!({
        "Id": CONTAINER,
        "Names": ["/a-container"],
        "Created": 1_793_491_200,
        "State": shown.state,
        "Labels": labels(id),
        "NetworkSettings": networks(shown),
    })
}

fn networks(shown: Shown<'_>) -> Value {
    let endpoint = match shown.state {
        "running" => format!("{:016x}{:048x}", shown.start, 0),
        _ => String::new(),
    };
    json!({"Networks": {"a-network": {"EndpointID": endpoint, "IPAddress": ""}}})
}

/// One event with its line end, as the engine writes it.
pub(super) fn event(id: Uuid, action: &str) -> String {
    let mut attributes = labels(id);
    attributes["name"] = json!("a-container-ä");
    let event = json!({
        "status": action,
        "id": CONTAINER,
        "Type": "container",
        "Action": action,
        "Actor": {"ID": CONTAINER, "Attributes": attributes},
        "scope": "local",
        "time": 1_793_491_200,
        "timeNano": 1_793_491_200_000_000_001_i64,
    });
    format!("{event}\n")
}

fn labels(id: Uuid) -> Value {
    json!({"wweb.instance.id": id, "wweb.instance.type": "api"})
}
