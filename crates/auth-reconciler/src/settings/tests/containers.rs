//! Which engine is asked, and whose containers count.

use std::path::Path;

use super::{run, told};
use crate::docker::address::Address;
use crate::settings::docker::Choice;

fn engine(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Choice, String> {
    run(arguments, environment)
        .map(|run| run.docker.engine)
        .map_err(told)
}

fn at(text: &str, certificates: Option<&str>) -> Choice {
    Choice::At(Address::parse(text, certificates.map(Path::new)).expect("an address"))
}

#[test]
fn auto_is_docker_host_and_else_the_socket_of_this_machine() {
    let host = ("DOCKER_HOST", "tcp://engine:2375");
    let auto = ("AUTH_RECONCILER_DOCKER", "auto");
    assert_eq!(engine(&[], &[]), Ok(Choice::Local));
    assert_eq!(engine(&[], &[auto]), Ok(Choice::Local));
    assert_eq!(engine(&[], &[host]), Ok(at("tcp://engine:2375", None)));
    assert_eq!(engine(&[], &[("DOCKER_HOST", " ")]), Ok(Choice::Local));
    assert_eq!(engine(&["--docker", "off"], &[host]), Ok(Choice::Off));
    let named = ["--docker", "unix:///run/engine.sock"];
    assert_eq!(
        engine(&named, &[host]),
        Ok(at("unix:///run/engine.sock", None))
    );
    assert_eq!(Choice::Off.address(), None);
}

#[test]
fn a_docker_host_that_cannot_be_used_says_where_it_comes_from() {
    let error = engine(&[], &[("DOCKER_HOST", "ssh://somebody:secret@engine")]);
    let error = error.expect_err("ssh is not spoken");
    assert!(
        error.contains("DOCKER_HOST") && error.contains("ssh://engine") && error.contains("tcp://"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn tls_is_used_with_our_folder_or_where_docker_s_own_client_would() {
    let host = "tcp://engine";
    let named = ["--docker", host];
    let verify = ("DOCKER_TLS_VERIFY", "1");
    let path = ("DOCKER_CERT_PATH", "/certificates");
    let home = ("HOME", "/home/daemon");
    let ours = ("AUTH_RECONCILER_DOCKER_CERTS", "/ours");
    assert_eq!(engine(&named, &[path, home]), Ok(at(host, None)));
    assert_eq!(
        engine(&named, &[verify, path, home]),
        Ok(at(host, Some("/certificates")))
    );
    assert_eq!(
        engine(&named, &[verify, home]),
        Ok(at(host, Some("/home/daemon/.docker")))
    );
    assert_eq!(
        engine(&named, &[ours, verify, path]),
        Ok(at(host, Some("/ours")))
    );
}

#[test]
fn labels_are_the_manager_s_unless_others_are_named() {
    let docker = run(&[], &[]).map_err(told).expect("settings").docker;
    assert_eq!(
        (docker.labels.instance.as_str(), docker.labels.kind.as_str()),
        ("wweb.instance.id", "wweb.instance.type")
    );
    assert_eq!(docker.follow.places, 64);
    let error = run(&["--docker-label-id", "a=b"], &[]).map_err(told);
    let error = error.expect_err("a key has no value");
    assert!(
        error.contains("AUTH_RECONCILER_DOCKER_LABEL_ID") && error.contains("`a=b`"),
        "{error}"
    );
}

#[test]
fn the_container_s_address_needs_an_engine() {
    let url = ["--probe-url", "http://{container_ip}:{port}"];
    assert!(run(&url, &[]).is_ok());
    let off = run(&url, &[("AUTH_RECONCILER_DOCKER", "off")]).map_err(told);
    let error = off.expect_err("nobody knows the address");
    assert!(
        error.contains("AUTH_RECONCILER_PROBE_URL") && error.contains("AUTH_RECONCILER_DOCKER"),
        "{error}"
    );
}
