//! The container engine, as the operator named it.

use std::path::{Path, PathBuf};

use auth_reconciler_core::follow;

use super::given::Given;
use super::{SettingsError, all, value};
use crate::docker::Labels;
use crate::docker::address::{Address, LOCAL_SOCKET};
use crate::probe::url::shown;

/// Everything about containers.
#[derive(Debug, Clone)]
pub(crate) struct DockerSettings {
    /// The engine to ask.
    pub(crate) engine: Choice,
    /// Which containers are whose.
    pub(crate) labels: Labels,
    /// How many containers' output is followed at a time.
    pub(crate) follow: follow::Limits,
}

/// Which engine is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// None: containers are not looked at.
    Off,
    /// The one of this machine, if it has one.
    Local,
    /// The engine at this address.
    At(Address),
}

impl Choice {
    /// The engine to ask; `None` to ask none.
    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Self::Off => None,
            Self::Local => Path::new(LOCAL_SOCKET).exists().then(Address::local),
            Self::At(address) => Some(address.clone()),
        }
    }
}

impl DockerSettings {
    pub(super) fn resolve(given: &Given<'_>) -> Result<Self, SettingsError> {
        Ok(Self {
            engine: choice(given)?,
            labels: Labels {
                instance: given.get(&all::DOCKER_LABEL_ID)?,
                kind: given.get(&all::DOCKER_LABEL_TYPE)?,
            },
            follow: follow::Limits::with_places(given.get(&all::FOLLOWERS)? as usize),
        })
    }
}

fn choice(given: &Given<'_>) -> Result<Choice, SettingsError> {
    let text = given.get(&all::DOCKER)?;
    let certificates = certificates(given)?;
    let at = |place: &str, from: &str| {
        Address::parse(place, certificates.as_deref())
            .map(Choice::At)
            .map_err(|error| value::invalid(&all::DOCKER, &shown(place), format!("{from}{error}")))
    };
    match text.trim() {
        "off" => Ok(Choice::Off),
        "auto" => match given.foreign("DOCKER_HOST") {
            Some(host) => at(&host, "this is DOCKER_HOST, which auto looks at first; "),
            None => Ok(Choice::Local),
        },
        place => at(place, ""),
    }
}

/// The folder with the files for TLS: ours, else where Docker's own client looks when it is told to use TLS.
fn certificates(given: &Given<'_>) -> Result<Option<PathBuf>, SettingsError> {
    let ours = given.maybe(&all::DOCKER_CERTS)?;
    if ours.is_some() || given.foreign("DOCKER_TLS_VERIFY").is_none() {
        return Ok(ours);
    }
    let folder = given.foreign("DOCKER_CERT_PATH").map(PathBuf::from);
    Ok(folder.or_else(|| {
        given
            .foreign("HOME")
            .map(|home| Path::new(&home).join(".docker"))
    }))
}
