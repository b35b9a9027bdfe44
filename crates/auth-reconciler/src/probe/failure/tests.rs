use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// As the standard library words what the resolver returned.
fn lookup(text: &str) -> Answer {
    of_lookup(&io::Error::other(format!(
        "failed to lookup address information: {text}"
    )))
}

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 1);

#[test]
fn what_we_lack_is_no_silence_of_the_instance() {
    for (code, shortage) in [
        (libc::EMFILE, Shortage::Descriptors),
        (libc::ENFILE, Shortage::Descriptors),
        (libc::EADDRNOTAVAIL, Shortage::LocalPorts),
        (libc::ENOBUFS, Shortage::Memory),
        (libc::ENOMEM, Shortage::Memory),
        (libc::EACCES, Shortage::Permission),
        (libc::EPERM, Shortage::Permission),
        (libc::ENETUNREACH, Shortage::Network),
        (libc::ENETDOWN, Shortage::Network),
        (libc::ENONET, Shortage::Network),
        (libc::ENODEV, Shortage::Network),
        (libc::EADDRINUSE, Shortage::LocalPorts),
        (libc::EAGAIN, Shortage::Memory),
        (libc::EAFNOSUPPORT, Shortage::Network),
        (libc::EPROTONOSUPPORT, Shortage::Network),
        (libc::ESOCKTNOSUPPORT, Shortage::Network),
    ] {
        assert_eq!(of_connect(&os(code)), Err(shortage), "{code}");
        assert_eq!(of_lookup(&os(code)), Answer::NotAsked(shortage), "{code}");
    }
}

#[test]
fn what_the_other_side_does_is_its_silence() {
    for (code, silence) in [
        (libc::ECONNREFUSED, Silence::Refused),
        (libc::ECONNRESET, Silence::Reset),
        (libc::ETIMEDOUT, Silence::NoReply),
        (libc::EHOSTUNREACH, Silence::Unreachable),
        (libc::EHOSTDOWN, Silence::Unreachable),
        // A route that drops what is sent there.
        (libc::EINVAL, Silence::Unreachable),
    ] {
        assert_eq!(of_connect(&os(code)), Ok(silence), "{code}");
    }
}

#[test]
fn of_every_other_error_nothing_is_believed() {
    let theirs = [
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::ECONNABORTED,
        libc::EPIPE,
        libc::ETIMEDOUT,
        libc::EHOSTUNREACH,
        libc::EHOSTDOWN,
        libc::EINVAL,
    ];
    for code in (1..134).filter(|code| !theirs.contains(code)) {
        assert!(of_connect(&os(code)).is_err(), "{}", os(code));
    }
    assert!(of_connect(&io::Error::other("words")).is_err());
}

#[test]
fn only_a_resolver_that_answered_tells_that_there_is_no_such_name() {
    for text in NO_SUCH_NAME {
        assert_eq!(lookup(text), Answer::Silent(Silence::UnknownHost), "{text}");
    }
    for text in [
        "Temporary failure in name resolution",
        "Try again",
        "Non-recoverable failure in name resolution",
        "System error",
        "words of tomorrow",
    ] {
        assert_eq!(lookup(text), Answer::NotAsked(Shortage::Resolver), "{text}");
    }
}

#[test]
fn a_name_with_several_addresses_was_asked_if_each_that_can_be_was() {
    let told = |all: &[(SocketAddr, Result<Silence, Shortage>)]| {
        let mut worst = Worst::default();
        for (address, told) in all {
            worst.add(address, *told);
        }
        worst.answer()
    };
    let (refused, reset) = (Ok(Silence::Refused), Ok(Silence::Reset));
    let (network, descriptors) = (Err(Shortage::Network), Err(Shortage::Descriptors));
    // A machine without IPv6.
    assert_eq!(
        told(&[(V6, network), (V4, refused)]),
        Answer::Silent(Silence::Refused)
    );
    assert_eq!(told(&[(V6, network)]), Answer::NotAsked(Shortage::Network));
    // It may be there where we had no descriptor for it, or no way to it.
    assert_eq!(
        told(&[(V6, refused), (V4, descriptors)]),
        Answer::NotAsked(Shortage::Descriptors)
    );
    assert_eq!(
        told(&[(V6, refused), (V4, network)]),
        Answer::NotAsked(Shortage::Network)
    );
    assert_eq!(
        told(&[(V6, reset), (V4, refused)]),
        Answer::Silent(Silence::Reset)
    );
}
