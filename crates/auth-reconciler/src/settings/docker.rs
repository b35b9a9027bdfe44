//! The container engine, as the operator named it.

use std::path::{Path, PathBuf};

use super::cli::RunArgs;
use super::probe_url::shown;
use super::run::Reader;
use super::setting::{self, Setting};
use super::{SettingsError, value};
use crate::docker::Labels;
use crate::docker::address::{Address, LOCAL_SOCKET};

/// Everything about containers.
#[derive(Debug, Clone)]
pub(crate) struct DockerSettings {
    /// Which engine.
    pub(crate) engine: Choice,
    /// Which containers are whose.
    pub(crate) labels: Labels,
    /// Containers whose output is followed at a time.
    pub(crate) followers: usize,
}

/// Which engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// None: containers are not looked at.
    Off,
    /// The one of this machine, if it has one.
    Local,
    /// This one.
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
    pub(super) fn resolve(args: &RunArgs, read: &Reader<'_>) -> Result<Self, SettingsError> {
        Ok(Self {
            engine: choice(args, read)?,
            labels: Labels {
                instance: label(
                    read,
                    setting::DOCKER_LABEL_ID,
                    args.docker_label_id.as_deref(),
                )?,
                kind: label(
                    read,
                    setting::DOCKER_LABEL_TYPE,
                    args.docker_label_type.as_deref(),
                )?,
            },
            followers: read.count(setting::FOLLOWERS, &args.followers, 0..=1024)? as usize,
        })
    }
}

fn choice(args: &RunArgs, read: &Reader<'_>) -> Result<Choice, SettingsError> {
    let text = read.text(setting::DOCKER, args.docker.as_deref())?;
    let certificates = certificates(args, read)?;
    let at = |given: &str, from: &str| {
        Address::parse(given, certificates.as_deref())
            .map(Choice::At)
            .map_err(|error| {
                value::invalid(setting::DOCKER, &shown(given), format!("{from}{error}"))
            })
    };
    match text.trim() {
        "off" => Ok(Choice::Off),
        "auto" => match read.foreign("DOCKER_HOST") {
            Some(host) => at(&host, "this is DOCKER_HOST, which auto looks at first; "),
            None => Ok(Choice::Local),
        },
        given => at(given, ""),
    }
}

/// The folder with the files for TLS: ours, else where Docker's own client looks when it is told to use TLS.
fn certificates(args: &RunArgs, read: &Reader<'_>) -> Result<Option<PathBuf>, SettingsError> {
    let ours = read.text(setting::DOCKER_CERTS, args.docker_certs.as_deref())?;
    if !ours.is_empty() {
        return Ok(Some(ours.into()));
    }
    if read.foreign("DOCKER_TLS_VERIFY").is_none() {
        return Ok(None);
    }
    let folder = read.foreign("DOCKER_CERT_PATH").map(PathBuf::from);
    Ok(folder.or_else(|| {
        read.foreign("HOME")
            .map(|home| Path::new(&home).join(".docker"))
    }))
}

fn label(
    read: &Reader<'_>,
    setting: &'static Setting,
    flag: Option<&str>,
) -> Result<String, SettingsError> {
    let key = read.text(setting, flag)?.trim().to_owned();
    if key.is_empty() || key.contains(['=', ',']) || key.chars().any(char::is_whitespace) {
        return Err(value::invalid(
            setting,
            &key,
            "give the key of a label, without its value",
        ));
    }
    Ok(key)
}
