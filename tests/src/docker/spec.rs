//! How a container is made: as the manager makes it, unless a test wants otherwise.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::engine::NETWORK;
use crate::instance::InstanceSettings;
use crate::stub::Provider;

/// The type of a container, of which an instance may have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The instance itself.
    Api,
    /// Its companion, which carries the same instance label and whose state must mean nothing.
    Mcp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Mcp => "mcp",
        }
    }
}

/// What a container is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What the program in it is told; port 0 stands for a free one.
    pub settings: InstanceSettings,
    /// What `wweb.instance.type` says.
    pub kind: Kind,
    /// Its name instead of `wweb-<id>-<type>`.
    pub named: Option<String>,
    /// The network instead of the tests' own; made if there is none.
    pub network: Option<String>,
    /// Uses the machine's own network: nothing is published, and the machine's 127.0.0.1 is the container's.
    pub host_network: bool,
    /// Publishes its port on 127.0.0.1, as the manager does.
    pub published: bool,
    /// Folders of the machine and where they are in the container.
    pub mounts: Vec<(PathBuf, String)>,
    /// The most memory it may have, in bytes (the engine wants at least 6 MiB).
    pub memory: Option<u64>,
    /// The log driver instead of `json-file`, for example `none`.
    pub log_driver: Option<String>,
    /// A health check of this interval, which the manager's containers do not have.
    pub health: Option<Duration>,
    /// Replaces or (with `None`) removes labels.
    pub labels: Vec<(String, Option<String>)>,
    /// Runs the daemon instead of the instance, with these environment variables, and publishes nothing.
    pub daemon: Option<Vec<(String, String)>>,
    /// Runs that daemon as `deploy/compose.yaml` does: without capabilities, on a file system that cannot be written, and
    /// with its health check.
    pub hardened: bool,
    /// User and group of the process, instead of root.
    pub user: Option<(u32, u32)>,
    /// The engine removes it when it ends.
    pub auto_remove: bool,
}

impl Spec {
    /// A container of a new Telegram instance with a real one's times and no database.
    #[must_use]
    pub fn new() -> Self {
        Self::of(InstanceSettings::new(Uuid::new_v4(), 0))
    }

    /// A container with these settings.
    #[must_use]
    pub fn of(settings: InstanceSettings) -> Self {
        Self {
            settings,
            kind: Kind::Api,
            named: None,
            network: None,
            host_network: false,
            published: true,
            mounts: Vec::new(),
            memory: None,
            log_driver: None,
            health: None,
            labels: Vec::new(),
            daemon: None,
            hardened: false,
            user: None,
            auto_remove: false,
        }
    }

    /// Changes what the program is told.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut InstanceSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// It is ready as soon as it runs.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.settings = self.settings.at_once();
        self
    }

    /// For this instance.
    #[must_use]
    pub fn id(self, id: Uuid) -> Self {
        self.with(|settings| settings.id = id)
    }

    /// On this port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.with(|settings| settings.port = port)
    }

    /// Of this provider.
    #[must_use]
    pub fn provider(self, provider: Provider) -> Self {
        self.with(|settings| settings.provider = provider)
    }

    /// Of this type.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// With this label, or without it.
    #[must_use]
    pub fn label(mut self, name: &str, value: Option<&str>) -> Self {
        self.labels
            .push((name.to_owned(), value.map(str::to_owned)));
        self
    }

    pub(super) fn name(&self) -> String {
        let standard = || format!("wweb-{}-{}", self.settings.id, self.kind.name());
        self.named.clone().unwrap_or_else(standard)
    }

    fn all_labels(&self) -> Value {
        let mut labels = json!({
            "wweb.instance.id": self.settings.id,
            "wweb.instance.type": self.kind.name(),
            "wweb.instance.provider": self.settings.provider.name(),
            "wweb.instance.user_id": "a company",
        });
        for (name, value) in &self.labels {
            if let Some(labels) = labels.as_object_mut() {
                match value {
                    Some(value) => labels.insert(name.clone(), json!(value)),
                    None => labels.remove(name),
                };
            }
        }
        labels
    }

    /// The body of the engine's create request.
    pub(super) fn body(&self, image: &str) -> Value {
        let port = format!("{}/tcp", self.settings.port);
        let own = self.settings.to_environment().into_iter();
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let environment: Vec<String> = match &self.daemon {
            None => own.map(pair).collect(),
            Some(settings) => settings.iter().cloned().map(pair).collect(),
        };
        let network = self.network.as_deref().unwrap_or(NETWORK);
        let bindings =
            json!({&port: [{"HostIp": "127.0.0.1", "HostPort": self.settings.port.to_string()}]});
        let binds: Vec<String> = self
            .mounts
            .iter()
            .map(|(from, to)| format!("{}:{to}", from.display()))
            .collect();
        let mut host = json!({
            "NetworkMode": if self.host_network { "host" } else { network },
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": self.auto_remove,
            "Binds": binds,
            "LogConfig": {"Type": self.log_driver.as_deref().unwrap_or("json-file")},
        });
        let mut body = json!({
            "Image": image,
            "Env": environment,
            "Labels": self.all_labels(),
        });
        if !self.host_network {
            body["ExposedPorts"] = json!({port: {}});
        }
        if !self.host_network && self.published {
            host["PortBindings"] = bindings;
        }
        if let Some(memory) = self.memory {
            host["Memory"] = json!(memory);
            // No swap beside it: else memory is never used up.
            host["MemorySwap"] = json!(memory);
        }
        if let Some((user, group)) = self.user {
            body["User"] = json!(format!("{user}:{group}"));
        }
        if let Some(interval) = self.health {
            let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            body["Healthcheck"] = json!({
                "Test": ["CMD", "/instance", "--health"],
                "Interval": nanos,
                "Timeout": 5_000_000_000_u64,
                "Retries": 1,
            });
        }
        if self.daemon.is_some() {
            self.make_daemon(&mut body, &mut host);
        }
        body["HostConfig"] = host;
        body
    }

    /// What is different where the daemon runs in it.
    fn make_daemon(&self, body: &mut Value, host: &mut Value) {
        body["Cmd"] = json!(["run", "--migrate"]);
        body["Labels"] = json!({});
        if self.hardened {
            host["ReadonlyRootfs"] = json!(true);
            host["CapDrop"] = json!(["ALL"]);
            host["SecurityOpt"] = json!(["no-new-privileges:true"]);
            body["Healthcheck"] = json!({
                "Test": ["CMD", "/auth-reconciler", "health"],
                "Interval": 500_000_000_u64,
                "Timeout": 10_000_000_000_u64,
                "Retries": 1,
            });
        }
    }
}

fn pair((name, value): (String, String)) -> String {
    format!("{name}={value}")
}

impl Default for Spec {
    fn default() -> Self {
        Self::new()
    }
}
