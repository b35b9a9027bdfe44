//! Who plays the instance: a real container, or a stub in this process.

use std::os::unix::fs::MetadataExt;
use std::panic::Location;
use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::{Container, Engine, Spec, reach};
use auth_reconciler_tests::instance::{InstanceSettings, READY_LINE, saved_line};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::incident::{ACCOUNT_SAVED, KEY_SAVED, READY};
use crate::play::{act, tell_act};

const SAVES_KEY: &str = "container  saves the API key";
const IS_READY: &str = "container  its API listens, the bot is ready";
const SAVES_ACCOUNT: &str = "container  saves the account";

/// For the engine to make the container, before the incident begins.
const LEAD: Duration = Duration::from_secs(1);

/// The instance of the replay.
pub(crate) struct Actor {
    id: Uuid,
    port: u16,
    /// T+0 on the wall's clock.
    began: DateTime<Utc>,
    body: Body,
}

enum Body {
    Stub(Stub),
    /// To be made when the time of its start is known.
    Planned(Engine, Box<Spec>),
    Container(Box<Container>),
}

impl Actor {
    /// Finds out who plays, and how a container reaches the database.
    pub(crate) async fn prepare(engine: Option<&str>, url: &str, table: &str) -> Result<Self> {
        let id = Uuid::new_v4();
        let (port, body) = match engine {
            None => {
                let stub = Stub::start(Behaviour::NotListening).await?;
                // As in reality: the key is the instance's id.
                stub.expect_key(&id.to_string());
                (stub.port(), Body::Stub(stub))
            }
            Some(engine) => {
                let engine = Engine::at(engine).await?;
                // Made beforehand, which may take a second.
                engine.image().await?;
                let mut settings = InstanceSettings::new(id, Engine::port()?).at_once();
                settings.table = table.to_owned();
                settings.key_after = KEY_SAVED;
                settings.listens_after = READY;
                // On that day it saved the account after it was ready.
                settings.account_after_ready = Some(ACCOUNT_SAVED - READY);
                let port = settings.port;
                let us = std::fs::metadata("/proc/self")?;
                let spec = reach(url)
                    .await
                    .apply(Spec::of(settings), (us.uid(), us.gid()));
                (port, Body::Planned(engine, Box::new(spec)))
            }
        };
        Ok(Self {
            id,
            port,
            began: Utc::now(),
            body,
        })
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// T+0 on the wall's clock.
    pub(crate) fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// Says who plays.
    pub(crate) fn introduction(&self) -> String {
        match &self.body {
            Body::Stub(_) => {
                "with a container that is played here (no engine was asked for):".to_owned()
            }
            Body::Planned(engine, spec) => {
                let network = if spec.host_network {
                    ", in this machine's network"
                } else {
                    ""
                };
                format!("with a real container on {}{network}:", engine.url())
            }
            Body::Container(container) => format!("with container {}:", container.name()),
        }
    }

    /// Makes everything ready for the beginning, whose time it gives.
    pub(crate) async fn ready_to_begin(&mut self) -> Result<Instant> {
        let Body::Planned(engine, spec) = &mut self.body else {
            self.began = Utc::now();
            return Ok(Instant::now());
        };
        // The incident counts from the start of the container, whose process begins a while later.
        let begin = Instant::now() + LEAD;
        self.began = Utc::now() + LEAD;
        spec.settings.began = Some(self.began);
        let container = engine.create((**spec).clone()).await?;
        self.body = Body::Container(Box::new(container));
        Ok(begin)
    }

    /// Plays from T+0 until the account is saved; says how long after T+0 it was ready.
    pub(crate) async fn play(
        &self,
        client: &Client,
        table: &ManagerTable,
        begin: Instant,
    ) -> Result<Duration> {
        let stub = match &self.body {
            Body::Stub(stub) => stub,
            Body::Container(container) => return self.live(container, begin).await,
            Body::Planned(..) => anyhow::bail!("the container was not made"),
        };
        let key = self.id.to_string();
        act(begin, KEY_SAVED, SAVES_KEY).await;
        table.save_api_key(client, self.id, Some(&key)).await?;
        act(begin, READY, IS_READY).await;
        let ready = begin.elapsed();
        stub.set(Behaviour::Ready).await?;
        act(begin, ACCOUNT_SAVED, SAVES_ACCOUNT).await;
        let account = Some("Name (@username)");
        table.save_account(client, self.id, account).await?;
        Ok(ready)
    }

    /// The container plays by itself; its output says when.
    async fn live(&self, container: &Container, begin: Instant) -> Result<Duration> {
        let mut output = container.output().await?;
        container.start().await?;
        let here = Location::caller();
        let key = saved_line("api_key");
        within(PATIENCE, here, SAVES_KEY, output.hear(&key)).await??;
        tell_act(begin.elapsed(), SAVES_KEY);
        within(PATIENCE, here, IS_READY, output.hear(READY_LINE)).await??;
        // By its own account: our hearing of it is later.
        let ready = container.counts().await?.ready_at();
        let ready = (ready.context("it is ready")? - self.began).to_std()?;
        tell_act(ready, IS_READY);
        let account = saved_line("account");
        within(PATIENCE, here, SAVES_ACCOUNT, output.hear(&account)).await??;
        tell_act(begin.elapsed(), SAVES_ACCOUNT);
        Ok(ready)
    }
}
