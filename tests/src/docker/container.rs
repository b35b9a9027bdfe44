//! One container, from its start to its removal, which a drop does at the latest.

use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::api::{self, Content, Streaming};
use super::engine::{Engine, end_of};
use super::spec::Spec;
use crate::instance::{LISTENS_LINE, READY_LINE};
use crate::patience::{PATIENCE, within};

/// How long a `drop` waits for the engine to remove a container; it goes on with that by itself.
const REMOVAL: Duration = Duration::from_secs(5);

/// How far an instance has come since its last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its API listens.
    Listening,
    /// It is ready.
    Ready,
}

/// What an instance has done and was asked since its last start; times are microseconds since 1970.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct InstanceCounts {
    /// When its process began.
    pub began_us: i64,
    /// When it began to listen.
    pub listened_us: Option<i64>,
    /// When it last became ready.
    pub ready_us: Option<i64>,
    /// How often it became ready.
    pub times_ready: u64,
    /// When the first `/status` that it answered READY had been read.
    pub first_ready_answer_us: Option<i64>,
    /// How many requests of `/status` met which state, by [`crate::stub::Behaviour::name`].
    pub status: std::collections::BTreeMap<String, u64>,
    /// Connections accepted, those of the harness included.
    pub connections: u64,
    /// Requests neither answered nor given up.
    pub open: u64,
}

impl InstanceCounts {
    /// How many requests of `/status` it has seen.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.status.values().sum()
    }

    /// How many of them were answered READY, each of which costs a real one a request to Telegram.
    #[must_use]
    pub fn ready(&self) -> u64 {
        self.status.get("ready").copied().unwrap_or_default()
    }

    /// When it last became ready.
    #[must_use]
    pub fn ready_at(&self) -> Option<DateTime<Utc>> {
        self.ready_us.and_then(DateTime::from_timestamp_micros)
    }
}

/// A container; dropping it removes it.
pub struct Container {
    engine: Engine,
    id: String,
    name: String,
    spec: Spec,
    created: DateTime<Utc>,
    removed: bool,
}

impl Container {
    pub(super) fn new(
        engine: Engine,
        id: String,
        name: String,
        spec: Spec,
        created: DateTime<Utc>,
    ) -> Self {
        Self {
            engine,
            id,
            name,
            spec,
            created,
            removed: false,
        }
    }

    /// The engine's id of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name that it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instance that it is labelled with.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.spec.settings.id
    }

    /// The port of its API, inside and (on 127.0.0.1) outside.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.spec.settings.port
    }

    /// Starts it; when this returns its process has begun.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn start(&self) -> Result<()> {
        self.act("start").await
    }

    /// SIGTERM, and SIGKILL after `grace` (whole seconds); returns when it has exited.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn stop(&self, grace: Duration) -> Result<()> {
        self.act(&format!("stop?t={}", grace.as_secs())).await
    }

    /// Stops it with 10 s of grace and starts it again.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn restart(&self) -> Result<()> {
        self.act("restart?t=10").await
    }

    /// Sends a signal by its name, as `KILL`; does not wait for its effect.
    ///
    /// # Errors
    /// When the engine refuses, for example because it does not run.
    pub async fn kill(&self, signal: &str) -> Result<()> {
        self.act(&format!("kill?signal={signal}")).await
    }

    /// Freezes it.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn pause(&self) -> Result<()> {
        self.act("pause").await
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn unpause(&self) -> Result<()> {
        self.act("unpause").await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn rename(&self, name: &str) -> Result<()> {
        self.act(&format!("rename?name={name}")).await
    }

    /// Removes it, running or not.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn remove(mut self) -> Result<()> {
        let path = self.removal();
        self.engine.send("DELETE", &path, Content::Nothing).await?;
        self.removed = true;
        Ok(())
    }

    /// Waits until it has exited, for its exit code; at once if it does not run.
    ///
    /// # Errors
    /// When it does not exit within the usual patience.
    #[track_caller]
    pub fn exited(&self) -> impl Future<Output = Result<i64>> {
        let caller = Location::caller();
        async move {
            let path = format!("/containers/{}/wait", self.id);
            let wait = self.engine.send("POST", &path, Content::Nothing);
            let ended = within(PATIENCE, caller, "the container to exit", wait).await??;
            ended["StatusCode"].as_i64().context("an exit has a code")
        }
    }

    /// Waits until the instance has come so far since its last start.
    ///
    /// It listens to the container's output rather than to its log, so it needs no log driver, and asks the instance
    /// itself for what was said before.
    ///
    /// # Errors
    /// When it does not within the usual patience, or exits first.
    #[track_caller]
    pub fn reached(&self, phase: Phase) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let what = format!("the instance to be {phase:?}");
        async move { within(PATIENCE, caller, &what, self.listen(phase)).await? }
    }

    async fn listen(&self, phase: Phase) -> Result<()> {
        let mut output = self.output().await?;
        // Attached first, asked second: what is said in between is heard. No answer says "not yet", as it must not
        // listen yet.
        if let Ok(counts) = self.counts().await {
            let reached = match phase {
                Phase::Listening => counts.listened_us.is_some(),
                Phase::Ready => counts.times_ready > 0,
            };
            if reached {
                return Ok(());
            }
        }
        output
            .hear(match phase {
                Phase::Listening => LISTENS_LINE,
                Phase::Ready => READY_LINE,
            })
            .await
    }

    /// Listens to its output from now on, also before its start.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn output(&self) -> Result<Output> {
        let path = format!("/containers/{}/attach?stream=1&stdout=1", self.id);
        Ok(Output {
            stream: self.engine.stream("POST", &path).await?,
            heard: Vec::new(),
        })
    }

    /// Whether its log holds a text; the log itself holds a token and stays out of sight.
    ///
    /// # Errors
    /// When the engine cannot read it.
    pub async fn log_holds(&self, text: &str) -> Result<bool> {
        let path = format!("/containers/{}/logs?stdout=1&stderr=1", self.id);
        let log = api::bytes(self.engine.socket(), &path).await?;
        Ok(end_of(&log, text).is_some())
    }

    /// Asks its API for its state: HTTP status and answer.
    ///
    /// # Errors
    /// When nothing answers within the usual patience.
    #[track_caller]
    pub fn status(&self) -> impl Future<Output = Result<(u16, Value)>> {
        let caller = Location::caller();
        async move {
            let path = self.spec.settings.provider.status_path();
            let answer = api::instance(self.port(), "GET", path);
            within(PATIENCE, caller, "an answer of the instance", answer).await?
        }
    }

    /// What it has done and was asked since its last start.
    ///
    /// # Errors
    /// When it does not listen.
    #[track_caller]
    pub fn counts(&self) -> impl Future<Output = Result<InstanceCounts>> {
        let caller = Location::caller();
        async move {
            within(
                PATIENCE,
                caller,
                "an instance's counts",
                counts_of(self.port()),
            )
            .await?
        }
    }

    /// Makes it do something: `hang`, `revoke`, `flood?bytes_per_second=1000000&seconds=2`, … (the list is in
    /// `tests/src/bin/instance/control.rs`).
    ///
    /// # Errors
    /// When it does not listen or does not understand.
    #[track_caller]
    pub fn control(&self, what: &str) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        async move {
            let path = format!("/control/{what}");
            let answer = api::instance(self.port(), "POST", &path);
            let waits = format!("an instance to {what}");
            let (status, _) = within(PATIENCE, caller, &waits, answer).await??;
            ensure!(status == 200, "an instance did not understand `{what}`");
            Ok(())
        }
    }

    /// The state by its name (`created`, `running`, `paused`, `exited`, …).
    ///
    /// # Errors
    /// When it is gone.
    pub async fn state(&self) -> Result<String> {
        let inspected = self.inspect().await?;
        let state = inspected["State"]["Status"].as_str();
        Ok(state.context("a container has a state")?.to_owned())
    }

    /// Everything that the engine says of it.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn inspect(&self) -> Result<Value> {
        self.engine
            .get(&format!("/containers/{}/json", self.id))
            .await
    }

    /// What happened to it since it was made: `start`, `kill(15)`, `die(0)`, `stop`, ….
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn events(&self) -> Result<Vec<String>> {
        self.engine.events(&self.id, self.created).await
    }

    async fn act(&self, action: &str) -> Result<()> {
        let path = format!("/containers/{}/{action}", self.id);
        self.engine.send("POST", &path, Content::Nothing).await?;
        Ok(())
    }

    fn removal(&self) -> String {
        format!("/containers/{}?force=1&v=1", self.id)
    }
}

/// What the instance on this port has done and was asked since its last start.
///
/// # Errors
/// When it does not listen.
pub async fn counts_of(port: u16) -> Result<InstanceCounts> {
    let (status, counts) = api::instance(port, "GET", "/control/counts").await?;
    ensure!(status == 200, "no instance answers on port {port}");
    Ok(serde_json::from_value(counts)?)
}

/// What a container says from some moment on, until it exits.
pub struct Output {
    stream: Streaming,
    /// What has come and was not yet looked for.
    heard: Vec<u8>,
}

impl Output {
    /// Waits for a text after the one that was waited for last; give it a limit with [`within`].
    ///
    /// # Errors
    /// When the container exits first.
    pub async fn hear(&mut self, text: &str) -> Result<()> {
        loop {
            if let Some(end) = end_of(&self.heard, text) {
                self.heard.drain(..end);
                return Ok(());
            }
            let piece = self.stream.next().await?;
            let piece = piece.with_context(|| format!("the container exited without `{text}`"))?;
            self.heard.extend_from_slice(&piece);
        }
    }
}

impl Drop for Container {
    /// Best effort: the engine may be gone, and then its containers will be too.
    fn drop(&mut self) {
        if !self.removed {
            let _ = api::blocking(self.engine.socket(), "DELETE", &self.removal(), REMOVAL);
        }
    }
}
