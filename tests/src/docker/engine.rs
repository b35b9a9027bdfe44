//! An engine that is there: the one that all tests share, or a private one.

use std::collections::BTreeSet;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use super::api::{self, Content, Streaming};
use super::container::Container;
use super::image::{self, Program};
use super::spec::Spec;
use crate::patience::{PATIENCE, within};
use crate::port::free_port;

/// The variable with the address of the engine that all tests share (`unix://…`), as `tests/run.sh` exports it.
pub const ENGINE: &str = "AUTH_RECONCILER_TEST_DOCKER";

/// The network that instances are in unless a test wants another. Not the manager's own `wweb-network`: what we leave
/// behind on somebody's engine must not stand in that one's way.
pub(super) const NETWORK: &str = "auth-reconciler-tests";

const DEFAULT: &str = "unix:///var/run/docker.sock";

static SHARED: OnceCell<Engine> = OnceCell::const_new();

/// An engine; clones are the same one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    socket: PathBuf,
    image: OnceCell<String>,
    networks: Mutex<BTreeSet<String>>,
}

impl Engine {
    /// The engine that [`ENGINE`] names, else `DOCKER_HOST`, else the one on the default socket.
    ///
    /// # Errors
    /// When none answers there; the message says what to do.
    pub async fn shared() -> Result<Self> {
        let engine = SHARED.get_or_try_init(|| async {
            let given = [ENGINE, "DOCKER_HOST"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
            let url = given.unwrap_or_else(|| DEFAULT.to_owned());
            Self::at(&url).await.with_context(|| {
                format!("tests with containers need a Docker engine: run tests/run.sh, which starts one, or set {ENGINE}")
            })
        });
        engine.await.cloned()
    }

    /// The engine at a `unix://…` address.
    ///
    /// # Errors
    /// When the address is of another kind or no engine answers there.
    pub async fn at(url: &str) -> Result<Self> {
        let Some(socket) = url.strip_prefix("unix://") else {
            bail!("`{url}` is no unix:// address");
        };
        let engine = Self::behind(PathBuf::from(socket));
        let ping = engine.get("/version");
        let answered = tokio::time::timeout(Duration::from_secs(10), ping).await;
        answered.with_context(|| format!("the engine at {url} accepts and does not answer"))??;
        Ok(engine)
    }

    /// The engine behind a socket, whether it answers yet or not.
    pub(super) fn behind(socket: PathBuf) -> Self {
        Self(Arc::new(Inner {
            socket,
            image: OnceCell::new(),
            networks: Mutex::default(),
        }))
    }

    /// Its address: `unix://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.0.socket.display())
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// What it calls itself; survives its restarts. Engine 20.10 makes it from `/etc/docker/key.json`, so there all
    /// engines of one machine call themselves the same.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn id(&self) -> Result<String> {
        let info = self.get("/info").await?;
        Ok(info["ID"]
            .as_str()
            .context("an engine has an id")?
            .to_owned())
    }

    /// Asks it anything, as an oracle: `/containers/json?all=1`, `/info`, ….
    ///
    /// # Errors
    /// When it does not answer or answers with an error.
    pub async fn get(&self, path: &str) -> Result<Value> {
        api::engine(self.socket(), "GET", path, Content::Nothing).await
    }

    /// What happened to a container (by id or name), as `kill(15)`, `die(0)`, `start`, …, from `since` on. An engine
    /// remembers only its last 256 events.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn events(
        &self,
        container: &str,
        since: chrono::DateTime<chrono::Utc>,
    ) -> Result<Vec<String>> {
        let seconds = |at: chrono::DateTime<chrono::Utc>| at.format("%s.%9f").to_string();
        let (since, until) = (seconds(since), seconds(chrono::Utc::now()));
        let filter = format!("%7B%22container%22%3A%5B%22{container}%22%5D%7D");
        let path = format!("/events?since={since}&until={until}&filters={filter}");
        let bytes = api::bytes(self.socket(), &path).await?;
        serde_json::Deserializer::from_slice(&bytes)
            .into_iter::<Value>()
            .map(|event| Ok(action(&event?)))
            .collect()
    }

    /// Waits until `text` comes in a streamed answer, such as that of `/events`.
    ///
    /// # Errors
    /// When it does not within the usual patience, or the answer ends first.
    #[track_caller]
    pub fn until_streamed(&self, path: &str, text: &str) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let heard = async move {
            let mut answer = self.stream("GET", path).await?;
            let mut heard = Vec::new();
            while let Some(piece) = answer.next().await? {
                heard.extend_from_slice(&piece);
                if end_of(&heard, text).is_some() {
                    return Ok(());
                }
            }
            bail!("the engine ended its answer before `{text}` came")
        };
        async move { within(PATIENCE, caller, text, heard).await? }
    }

    /// Makes a container and starts it.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn run(&self, spec: Spec) -> Result<Container> {
        let container = self.create(spec).await?;
        container.start().await?;
        Ok(container)
    }

    /// Makes a container and leaves it in state `created`.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn create(&self, mut spec: Spec) -> Result<Container> {
        if spec.settings.port == 0 {
            spec.settings.port = Self::port()?;
        }
        if !spec.host_network {
            self.network(spec.network.as_deref().unwrap_or(NETWORK))
                .await?;
        }
        let image = match spec.daemon {
            None => self.image().await?,
            Some(_) => image::ensure(self, Program::Daemon).await?,
        };
        let name = spec.name();
        let path = format!("/containers/create?name={name}");
        let begun = chrono::Utc::now();
        let made = self.post(&path, spec.body(&image)).await?;
        let id = made["Id"].as_str().context("a container has an id")?;
        Ok(Container::new(
            self.clone(),
            id.to_owned(),
            name,
            spec,
            begun,
        ))
    }

    /// A free port, to be written to the database before the container is made.
    ///
    /// # Errors
    /// When there is none.
    pub fn port() -> Result<u16> {
        free_port()
    }

    /// Makes a network of this name, if there is none.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn network(&self, name: &str) -> Result<()> {
        let mut known = self.0.networks.lock().await;
        if known.contains(name) {
            return Ok(());
        }
        let all = self.get("/networks").await?;
        let there = |all: &Value| {
            let all = all.as_array().into_iter().flatten();
            all.into_iter().any(|network| network["Name"] == name)
        };
        if !there(&all) {
            let body = json!({"Name": name, "CheckDuplicate": true});
            let made = self.post("/networks/create", body).await;
            // Somebody else may have been quicker.
            if made.is_err() && !there(&self.get("/networks").await?) {
                made?;
            }
        }
        known.insert(name.to_owned());
        Ok(())
    }

    /// The name of the instance's image, which is made when it is first needed.
    ///
    /// # Errors
    /// When the program is not built or the engine refuses.
    pub async fn image(&self) -> Result<String> {
        let image = self
            .0
            .image
            .get_or_try_init(|| image::ensure(self, Program::Instance));
        image.await.cloned()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value> {
        api::engine(self.socket(), "POST", path, Content::Json(body)).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, content: Content) -> Result<Value> {
        api::engine(self.socket(), method, path, content).await
    }

    pub(super) async fn stream(&self, method: &str, path: &str) -> Result<Streaming> {
        api::stream(self.socket(), method, path).await
    }
}

/// An event in short, with the signal or the exit code where it has one.
fn action(event: &Value) -> String {
    let name = event["Action"].as_str().unwrap_or("?");
    let attributes = &event["Actor"]["Attributes"];
    let detail = ["signal", "exitCode"]
        .into_iter()
        .find_map(|key| attributes[key].as_str());
    detail.map_or_else(|| name.to_owned(), |detail| format!("{name}({detail})"))
}

/// Where a text ends in bytes that hold it.
pub(super) fn end_of(bytes: &[u8], text: &str) -> Option<usize> {
    let mut windows = bytes.windows(text.len());
    let begin = windows.position(|window| window == text.as_bytes())?;
    Some(begin + text.len())
}
