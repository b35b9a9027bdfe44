//! Why nothing came back: whether that says something of the instance, or only of this process and its machine.
//!
//! A connection that was refused, or an address that nobody answers at, is silence of the instance. No descriptor left, no
//! network, no resolver are shortages of our own: the instance was *not asked*, and nothing follows for it. What is not
//! known for certain to be an answer of the resolver counts as a shortage, because the other mistake rewrites statuses.

use std::error::Error;
use std::fs::File;
use std::io;
use std::net::SocketAddr;

use auth_reconciler_core::Answer;
use auth_reconciler_core::answer::{Shortage, Silence};

/// What the resolver says of a name that it looked for and did not find, or that has no address: glibc, musl, macOS. The
/// standard library hands on no code, only this text; nobody here sets a locale, so it is never translated.
const NO_SUCH_NAME: [&str; 5] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
    "nodename nor servname provided",
];

/// What a failed connection to one address tells: how the other side was silent, or what we lacked.
pub(super) fn of_connect(error: &io::Error) -> Result<Silence, Shortage> {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Ok(Silence::Refused),
        // It was accepted, and the reset was quicker than we were.
        Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE) => Ok(Silence::Reset),
        Some(libc::ETIMEDOUT) => Ok(Silence::NoReply),
        // No route to this one host; and EINVAL where a route says that it is to be dropped (a blackhole).
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN | libc::EINVAL) => Ok(Silence::Unreachable),
        // What is not known to be about the other side is about us.
        Some(_) | None => Err(shortage(error).unwrap_or(Shortage::Network)),
    }
}

/// What a failed look-up of a name tells.
pub(super) fn of_lookup(error: &io::Error) -> Answer {
    if let Some(shortage) = shortage(error) {
        return Answer::NotAsked(shortage);
    }
    let text = error.to_string();
    if NO_SUCH_NAME.iter().any(|known| text.contains(known)) {
        no_such_name()
    } else {
        Answer::NotAsked(Shortage::Resolver)
    }
}

/// What it tells that a name has no address. A resolver that may open neither files nor sockets finds no names either.
pub(super) fn no_such_name() -> Answer {
    match File::open("/dev/null") {
        Err(error) if shortage(&error) == Some(Shortage::Descriptors) => {
            Answer::NotAsked(Shortage::Descriptors)
        }
        Ok(_) | Err(_) => Answer::Silent(Silence::UnknownHost),
    }
}

/// What a connection that failed while it was in use tells.
pub(super) fn of_request(error: &hyper::Error) -> Answer {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(shortage) = cause.downcast_ref::<io::Error>().and_then(shortage) {
            return Answer::NotAsked(shortage);
        }
        source = cause.source();
    }
    Answer::Silent(if error.is_parse() {
        Silence::NotHttp
    } else {
        Silence::Reset
    })
}

/// What we lacked, if the error is about us and not about whom we asked.
fn shortage(error: &io::Error) -> Option<Shortage> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(Shortage::Descriptors),
        libc::EADDRNOTAVAIL | libc::EADDRINUSE => Some(Shortage::LocalPorts),
        libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN | libc::ENOSR => Some(Shortage::Memory),
        libc::EACCES | libc::EPERM => Some(Shortage::Permission),
        libc::ENETUNREACH
        | libc::ENETDOWN
        | libc::ENETRESET
        | libc::ENONET
        | libc::ENODEV
        | libc::ENXIO
        | libc::EAFNOSUPPORT
        | libc::EPFNOSUPPORT
        | libc::EPROTONOSUPPORT
        | libc::ESOCKTNOSUPPORT => Some(Shortage::Network),
        _ => None,
    }
}

/// Of what the addresses of one name told, what counts.
///
/// Our own shortage at one of them means that the instance may be there and was not asked. But a machine without IPv6
/// has no way to such an address ever: there the others decide, if there are any.
#[derive(Default)]
pub(super) struct Worst {
    silence: Option<Silence>,
    shortage: Option<Shortage>,
    no_family: Option<Shortage>,
}

impl Worst {
    pub(super) fn add(&mut self, address: &SocketAddr, told: Result<Silence, Shortage>) {
        match told {
            Err(shortage) if address.is_ipv6() && lacks_family(shortage) => {
                self.no_family = Some(shortage);
            }
            Err(shortage) => self.shortage = Some(shortage),
            // Whoever refuses is there; anything else is the more telling.
            Ok(silence) if self.silence.is_none_or(|known| known == Silence::Refused) => {
                self.silence = Some(silence);
            }
            Ok(_) => {}
        }
    }

    pub(super) fn answer(&self) -> Answer {
        match (self.shortage, self.silence, self.no_family) {
            (Some(shortage), _, _) | (None, None, Some(shortage)) => Answer::NotAsked(shortage),
            (None, silence, _) => Answer::Silent(silence.unwrap_or(Silence::NoReply)),
        }
    }
}

const fn lacks_family(shortage: Shortage) -> bool {
    matches!(shortage, Shortage::LocalPorts | Shortage::Network)
}

#[cfg(test)]
mod tests;
