//! What each key means, and what is said about one that means nothing here.

use std::time::Duration;

use tokio_postgres::config::{
    ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs,
};

use super::{read, refused};
use crate::DatabaseError;

#[test]
fn a_dead_peer_is_noticed_by_default_and_a_standby_refused() {
    let config = read("postgres://u@h/d").unwrap().config();
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(10)));
    assert!(config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(30));
    assert_eq!(
        config.get_keepalives_interval(),
        Some(Duration::from_secs(10))
    );
    assert_eq!(config.get_keepalives_retries(), Some(3));
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_secs(30))
    );
    assert_eq!(
        config.get_target_session_attrs(),
        TargetSessionAttrs::ReadWrite
    );
    assert_eq!(config.get_application_name(), None);
}

#[test]
fn libpqs_units_and_names_are_meant() {
    let config = read(
        "postgres://u@h/d?connect_timeout=3&tcp_user_timeout=1500&keepalives_idle=5&keepalives_interval=6\
         &keepalives_count=7&target_session_attrs=any&channel_binding=require&load_balance_hosts=random\
         &sslnegotiation=direct&sslmode=require&options=-c+search_path%3Dx%20-c+work_mem=1MB",
    )
    .unwrap()
    .config();
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_millis(1500))
    );
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(5));
    assert_eq!(
        config.get_keepalives_interval(),
        Some(Duration::from_secs(6))
    );
    assert_eq!(config.get_keepalives_retries(), Some(7));
    assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
    assert_eq!(config.get_channel_binding(), ChannelBinding::Require);
    assert_eq!(config.get_load_balance_hosts(), LoadBalanceHosts::Random);
    assert_eq!(config.get_ssl_negotiation(), SslNegotiation::Direct);
    assert_eq!(
        config.get_options(),
        Some("-c search_path=x -c work_mem=1MB")
    );
    let config = read("postgres://u@h/d?keepalives=0&connect_timeout=0&tcp_user_timeout=0")
        .unwrap()
        .config();
    assert!(!config.get_keepalives());
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(10)));
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_secs(30))
    );
}

#[test]
fn a_known_key_with_an_impossible_value_says_what_is_accepted() {
    for (query, words) in [
        ("connect_timeout=soon", "whole number"),
        ("keepalives_count=3.5", "whole number"),
        ("target_session_attrs=standby", "this program writes"),
        ("target_session_attrs=read-only", "this program writes"),
        ("channel_binding=maybe", "disable, prefer or require"),
        ("client_encoding=latin1", "only utf8"),
        ("gssencmode=require", "Kerberos"),
        ("replication=database", "leave it out"),
        ("ssl_min_protocol_version=TLSv1.3", "TLSv1.2"),
        ("sslaccept=strict", "verify-full"),
        ("sslnegotiation=direct", "sslmode=require"),
        ("ssl=maybe", "true, false"),
    ] {
        let (key, value) = query.split_once('=').unwrap();
        let text = refused(&format!("postgres://u@h/d?{query}")).to_string();
        assert!(
            text.contains(words) && text.contains(key) && text.contains(value),
            "{query}: {text}"
        );
    }
}

#[test]
fn what_others_put_into_a_url_is_passed_over_with_a_reason_or_refused_by_name() {
    let database = read(
        "postgres://u@h/d?schema=public&connection_limit=5&pool_timeout=10&pgbouncer=true&uselibpqcompat=true\
         &statement_cache_size=0&fallback_application_name=x&application_name=y&gssencmode=disable&client_encoding=UTF8\
         &sslaccept=accept_invalid_certs",
    )
    .unwrap();
    let ignored: Vec<_> = database
        .ignored()
        .iter()
        .map(|ignored| ignored.key)
        .collect();
    assert_eq!(
        ignored,
        [
            "schema",
            "connection_limit",
            "pool_timeout",
            "pgbouncer",
            "uselibpqcompat",
            "statement_cache_size",
            "fallback_application_name",
            "application_name"
        ]
    );
    assert!(
        database
            .ignored()
            .iter()
            .all(|ignored| !ignored.reason.is_empty())
    );
    for key in [
        "service",
        "sslpassword",
        "sslidentity",
        "sslcrl",
        "require_auth",
    ] {
        let text = refused(&format!("postgres://u@h/d?{key}=secret")).to_string();
        assert!(
            text.contains(&format!("`{key}`")) && !text.contains("secret"),
            "{text}"
        );
    }
    let text = refused("postgres://u@h/d?passfile=secret").to_string();
    assert!(
        text.contains("give the password with DATABASE_PASSWORD"),
        "{text}"
    );
    let text = refused("postgres://u@h/d?colour=secret").to_string();
    assert!(
        text.starts_with("key `colour` is not understood; accepted are: host, ")
            && !text.contains("secret")
    );
}

#[test]
fn a_key_that_may_be_a_piece_of_a_password_is_not_named() {
    for url in [
        "postgres://h/d?user=u&password=a&piece=b",
        "user=u password=a piece=b",
    ] {
        assert_eq!(refused(url), DatabaseError::UnknownKey(None), "{url}");
    }
    assert_eq!(
        refused("user=u password='a' typo=b"),
        DatabaseError::UnknownKey(Some("typo".to_owned()))
    );
}
