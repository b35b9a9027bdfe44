use uuid::Uuid;

use super::{ProbeUrl, ProbeUrlError, Target, shown};

const ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

fn target(template: &str, port: u16) -> Target {
    ProbeUrl::parse(template)
        .unwrap()
        .for_instance(port, ID, None)
        .unwrap()
}

#[test]
fn the_default_is_the_instances_port_on_this_machine() {
    let target = target("http://127.0.0.1:{port}", 3001);
    assert_eq!(
        target,
        Target {
            host: "127.0.0.1".to_owned(),
            port: 3001,
            path_prefix: String::new()
        }
    );
    assert_eq!(target.authority(), "127.0.0.1:3001");
}

#[test]
fn the_managers_container_names_work() {
    let target = target("http://wweb-{id}-api:{port}/", 80);
    assert_eq!(target.host, "wweb-12345678-9abc-def0-1234-56789abcdef0-api");
    assert_eq!(target.port, 80);
    assert_eq!(target.path_prefix, "");
    assert_eq!(
        target.authority(),
        "wweb-12345678-9abc-def0-1234-56789abcdef0-api"
    );
}

#[test]
fn a_path_becomes_a_prefix() {
    let target = target("http://proxy/instances/{id}/", 3001);
    assert_eq!(target.port, 80);
    assert_eq!(
        target.path_prefix,
        "/instances/12345678-9abc-def0-1234-56789abcdef0"
    );
}

#[test]
fn an_ipv6_address_has_brackets_only_in_the_header() {
    let target = target("http://[::1]:{port}", 3001);
    assert_eq!(target.host, "::1");
    assert_eq!(target.authority(), "[::1]:3001");
}

#[test]
fn a_port_can_make_one_address_impossible() {
    let probe_url = ProbeUrl::parse("http://10.0.0.{port}").unwrap();
    assert_eq!(
        probe_url.for_instance(7, ID, None).unwrap().host,
        "10.0.0.7"
    );
    assert!(matches!(
        probe_url.for_instance(3001, ID, None),
        Err(ProbeUrlError::NotAnAddress(_))
    ));
    let probe_url = ProbeUrl::parse("http://host:{port}").unwrap();
    assert_eq!(
        probe_url.for_instance(0, ID, None),
        Err(ProbeUrlError::PortZero)
    );
}

#[test]
fn a_container_s_address_stands_in_where_it_is_known() {
    let probe_url = ProbeUrl::parse("http://{container_ip}:{port}").unwrap();
    assert!(probe_url.needs_container());
    let host = |address: &str| {
        let address = address.parse().unwrap();
        let target = probe_url.for_instance(3001, ID, Some(address)).unwrap();
        (target.host.clone(), target.authority())
    };
    assert_eq!(
        host("172.18.0.4"),
        ("172.18.0.4".to_owned(), "172.18.0.4:3001".to_owned())
    );
    assert_eq!(
        host("fd00::4"),
        ("fd00::4".to_owned(), "[fd00::4]:3001".to_owned())
    );
    assert_eq!(
        probe_url.for_instance(3001, ID, None),
        Err(ProbeUrlError::NoContainer)
    );
    assert!(
        !ProbeUrl::parse("http://127.0.0.1:{port}")
            .unwrap()
            .needs_container()
    );
}

#[test]
fn each_mistake_has_its_own_error() {
    for (template, error) in [
        ("https://127.0.0.1:{port}", ProbeUrlError::NotHttp),
        ("127.0.0.1:{port}", ProbeUrlError::NotHttp),
        ("", ProbeUrlError::NotHttp),
        (
            "http://user:secret@127.0.0.1:{port}",
            ProbeUrlError::UserInfo,
        ),
        (
            "http://127.0.0.1:{port}/?key=secret",
            ProbeUrlError::QueryOrFragment,
        ),
        (
            "http://127.0.0.1:{port}#there",
            ProbeUrlError::QueryOrFragment,
        ),
        ("http://127.0.0.1:3001", ProbeUrlError::NoPlaceholder),
        (
            "http://{host}:{port}",
            ProbeUrlError::UnknownPlaceholder("host".to_owned()),
        ),
        ("http://127.0.0.1:{port", ProbeUrlError::OpenBrace),
        ("http://127.0.0.1:port}", ProbeUrlError::OpenBrace),
        (
            "http://:{port}",
            ProbeUrlError::NotAnAddress(url::ParseError::EmptyHost),
        ),
        (
            "http://127.0.0.1:9{port}000",
            ProbeUrlError::NotAnAddress(url::ParseError::InvalidPort),
        ),
    ] {
        assert_eq!(ProbeUrl::parse(template), Err(error), "{template}");
    }
}

#[test]
fn what_is_shown_of_a_refused_template_holds_no_secret() {
    assert_eq!(
        shown("http://user:se@cret@host:{port}/a?key=secret#secret"),
        "http://host:{port}/a"
    );
    assert_eq!(shown("https://host:{port}"), "https://host:{port}");
    assert_eq!(shown("user:secret@host"), "host");
    let error = ProbeUrl::parse("http://user:secret@host:{port}").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}
