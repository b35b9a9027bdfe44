//! Where an instance's API is: a template that becomes an address once an instance's port and id are known.
//!
//! Everything that can be wrong with the template itself is found when it is read, with a sample instance; what is left
//! is a port that makes one particular address impossible. Neither the template nor an error repeats credentials:
//! they are refused, and what is shown of a template leaves them out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ::url::{Host, Url};
use uuid::Uuid;

const SAMPLE_PORT: u16 = 1;

/// Stands for the address of the container in its network.
const CONTAINER: &str = "{container_ip}";

/// A checked template.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProbeUrl {
    template: String,
}

/// Where one instance's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host name or address, an IPv6 address without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// What goes before the path of the request: empty, or begins with a slash and does not end with one.
    pub(crate) path_prefix: String,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeUrlError {
    /// A name in braces that stands for nothing.
    #[error("unknown placeholder {{{0}}}; accepted are {{port}}, {{id}} and {{container_ip}}")]
    UnknownPlaceholder(String),
    /// A brace without its partner.
    #[error("a brace is not closed; accepted are {{port}}, {{id}} and {{container_ip}}")]
    OpenBrace,
    /// One and the same address for all instances.
    #[error(
        "none of {{port}}, {{id}} and {{container_ip}} is in it, so all instances would be probed at one address"
    )]
    NoPlaceholder,
    /// Not http.
    #[error("only http:// is accepted")]
    NotHttp,
    /// A user or password.
    #[error("a user or password is not accepted in it")]
    UserInfo,
    /// A query or fragment.
    #[error("neither ? nor # is accepted in it: the path of the request is added at its end")]
    QueryOrFragment,
    /// Not an address at all.
    #[error("it is not an address with an instance in place")]
    NotAnAddress(#[source] ::url::ParseError),
    /// The container's address is wanted and not known.
    #[error("the container has no address, or none is known")]
    NoContainer,
    /// The port cannot be connected to.
    #[error("port 0 cannot be connected to")]
    PortZero,
}

impl ProbeUrl {
    /// Checks a template.
    pub(crate) fn parse(template: &str) -> Result<Self, ProbeUrlError> {
        let template = template.trim();
        if !template
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
        {
            return Err(ProbeUrlError::NotHttp);
        }
        if template.contains('@') {
            return Err(ProbeUrlError::UserInfo);
        }
        if template.contains(['?', '#']) {
            return Err(ProbeUrlError::QueryOrFragment);
        }
        if placeholders(template)? == 0 {
            return Err(ProbeUrlError::NoPlaceholder);
        }
        let probe_url = Self {
            template: template.to_owned(),
        };
        let sample = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        probe_url.for_instance(SAMPLE_PORT, Uuid::nil(), sample)?;
        Ok(probe_url)
    }

    /// Whether the address of the instance's container is in it, which the engine alone knows.
    pub(crate) fn needs_container(&self) -> bool {
        self.template.contains(CONTAINER)
    }

    /// Whether what answers at an outdated address of a container is told from the instance by more than that.
    pub(crate) fn tells_apart(&self) -> bool {
        self.template.contains("{port}") || self.template.contains("{id}")
    }

    /// The address of one instance. `container` is the address of its container in its network, if that is known.
    pub(crate) fn for_instance(
        &self,
        port: u16,
        id: Uuid,
        container: Option<IpAddr>,
    ) -> Result<Target, ProbeUrlError> {
        let mut filled = self
            .template
            .replace("{port}", &port.to_string())
            .replace("{id}", &id.to_string());
        if self.needs_container() {
            let address = match container.ok_or(ProbeUrlError::NoContainer)? {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            filled = filled.replace(CONTAINER, &address);
        }
        let url = Url::parse(&filled).map_err(ProbeUrlError::NotAnAddress)?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(ProbeUrlError::NotAnAddress(::url::ParseError::EmptyHost)),
        };
        match url.port_or_known_default() {
            None | Some(0) => Err(ProbeUrlError::PortZero),
            Some(port) => Ok(Target {
                host,
                port,
                path_prefix: url.path().trim_end_matches('/').to_owned(),
            }),
        }
    }
}

impl Target {
    /// The value of the `Host` header: brackets around an IPv6 address, no default port.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == 80 {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

impl fmt::Debug for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an error may show of a template that was refused: no credentials, no query.
pub(crate) fn shown(template: &str) -> String {
    let (scheme, rest) = template
        .trim()
        .split_once("://")
        .unwrap_or(("", template.trim()));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, after)| after);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    if scheme.is_empty() {
        rest.to_owned()
    } else {
        format!("{scheme}://{rest}")
    }
}

/// How many placeholders there are; an unknown one is an error.
fn placeholders(template: &str) -> Result<usize, ProbeUrlError> {
    let mut count = 0;
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let inside = rest[at..]
            .strip_prefix('{')
            .ok_or(ProbeUrlError::OpenBrace)?;
        let (name, after) = inside.split_once('}').ok_or(ProbeUrlError::OpenBrace)?;
        if !matches!(name, "port" | "id" | "container_ip") {
            return Err(ProbeUrlError::UnknownPlaceholder(name.to_owned()));
        }
        count += 1;
        rest = after;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
