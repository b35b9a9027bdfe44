use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::time::Duration;

use auth_reconciler_core::verdict::Policy;

mod commands;
mod containers;
mod document;
mod manager;
mod secrets;

use super::all::ALL;
use super::{Command, LogFormat, RunSettings, Settings, SettingsError, cli};

const URL: (&str, &str) = ("DATABASE_URL", "postgres://manager:hunter2@db:5433/wweb");

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment: HashMap<String, OsString> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect();
    let arguments = std::iter::once("auth-reconciler").chain(arguments.iter().copied());
    Settings::parse(arguments.map(OsString::from), &|name| {
        environment.get(name).cloned()
    })
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<RunSettings, SettingsError> {
    let mut all = vec![URL];
    all.extend(environment);
    let mut command = vec!["run"];
    command.extend(arguments);
    let Command::Run(run) = parse(&command, &all)?.command else {
        panic!("run became another command");
    };
    Ok(*run)
}

/// The error as the operator reads it, its sources with it.
fn told(error: SettingsError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    told(run(arguments, environment).unwrap_err())
}

#[test]
fn without_settings_the_defaults_hold() {
    let settings = parse(&["run"], &[URL]).unwrap();
    assert_eq!(
        settings
            .tables
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["public.message_instances"]
    );
    assert_eq!(settings.log_format, LogFormat::Human);
    let run = run(&[], &[]).unwrap();
    assert!(!run.migrate && run.listen.is_none());
    assert_eq!(run.prober.url.to_string(), "http://127.0.0.1:{port}");
    assert_eq!(run.prober.limit, Duration::from_secs(5));
    assert_eq!(run.prober.connect_limit, Duration::from_millis(200));
    assert_eq!((run.limits.slots, run.pool_size), (64, 6));
    assert_eq!(
        (run.echo_interval, run.echo_timeout),
        (Duration::from_secs(20), Duration::from_secs(5))
    );
    assert_eq!(run.policy.backoff.min, Duration::from_millis(50));
    assert_eq!(run.policy.backoff.max, Duration::from_secs(60));
    assert_eq!(run.policy.grace, Duration::from_secs(30));
    assert_eq!(run.policy.not_connected_limit, Duration::from_secs(30));
    assert_eq!(run.policy.phone_limit, Duration::from_secs(600));
    assert_eq!(run.policy.believe_silence_after, None);
    assert_eq!(
        (run.policy.misses, run.policy.miss_window),
        (3, Duration::from_secs(10))
    );
    assert_eq!(run.policy.corrections, 10);
    // The core's own tests are about the same policy.
    assert_eq!(run.policy, Policy::default());
    assert_eq!(
        (run.limits.burst, run.limits.interval),
        (60, Duration::from_millis(500))
    );
    assert_eq!(run.record.history_per_instance, 200);
    let days = Duration::from_secs(30 * 24 * 60 * 60);
    assert_eq!(u128::from(run.record.history_max_age_ms), days.as_millis());
    assert_eq!(run.record.overridden_retry_ms, 60_000);
    assert_eq!(run.shutdown_timeout, Duration::from_secs(10));
}

#[test]
fn the_flag_wins_over_the_environment_and_that_over_the_default() {
    let environment = [("AUTH_RECONCILER_PROBE_TIMEOUT", "7s")];
    assert_eq!(
        run(&[], &environment).unwrap().prober.limit,
        Duration::from_secs(7)
    );
    assert_eq!(
        run(&["--probe-timeout", "9s"], &environment)
            .unwrap()
            .prober
            .limit,
        Duration::from_secs(9)
    );
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let empty = [
        ("AUTH_RECONCILER_PROBE_TIMEOUT", ""),
        ("AUTH_RECONCILER_LISTEN_URL", ""),
    ];
    let run = run(&["--pool-size", ""], &empty).unwrap();
    assert_eq!(
        (run.prober.limit, run.pool_size),
        (Duration::from_secs(5), 6)
    );
    assert!(run.listen.is_none());
    let error = parse(&["migrate"], &[("DATABASE_URL", ""), ("DATABASE_USER", "")]).unwrap_err();
    assert!(matches!(error, SettingsError::NoDatabase), "{error}");
}

#[test]
fn every_setting_can_be_given_both_ways_and_says_so() {
    let command = cli::command();
    for setting in ALL {
        let named = setting.commands.iter();
        let mut takers: Vec<_> = named
            .map(|name| command.find_subcommand(name).unwrap())
            .collect();
        if takers.is_empty() {
            takers.push(&command);
        }
        for taker in takers {
            let mut flags = taker.get_arguments();
            let flag = flags.find(|flag| flag.get_long() == Some(setting.flag));
            let help = flag.unwrap().get_help().unwrap().to_string();
            let told = [
                ("env", setting.env.to_owned()),
                ("default", setting.default.to_owned()),
                ("range", setting.range.to_string()),
            ];
            for (what, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
                assert!(help.contains(&format!("[{what}: {value}]")), "{help}");
            }
        }
        let tail = setting.flag.replace('-', "_").to_uppercase();
        let regular = [tail.clone(), format!("AUTH_RECONCILER_{tail}")];
        assert!(
            regular.iter().any(|name| name == setting.env) || setting.env == "DATABASE_SSL_CA",
            "{setting}"
        );
    }
    let flags: std::collections::HashSet<_> = ALL.iter().map(|setting| setting.flag).collect();
    assert_eq!(flags.len(), ALL.len(), "two settings have one name");
    command.debug_assert();
}

#[test]
fn each_default_is_a_value_that_its_own_setting_accepts() {
    for setting in ALL.iter().filter(|setting| !setting.default.is_empty()) {
        let command = setting.commands.first().unwrap_or(&"run");
        let given = [URL, (setting.env, setting.default)];
        if let Err(error) = parse(&[command], &given) {
            panic!("{}", told(error));
        }
    }
}

#[test]
fn a_global_setting_may_stand_before_or_after_the_command() {
    for arguments in [["--table", "a.b", "migrate"], ["migrate", "--table", "a.b"]] {
        assert_eq!(
            parse(&arguments, &[URL]).unwrap().tables[0].to_string(),
            "a.b"
        );
    }
}

/// Flag, a value that it does not accept, and the whole of what is said then.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "--probe-timeout",
        "5",
        "setting --probe-timeout (AUTH_RECONCILER_PROBE_TIMEOUT) does not accept `5`: give a duration from 100ms \
             to 5m with its unit (ms, s, m, h, d), for example 5s",
    ),
    (
        "--probe-connect-timeout",
        "fast",
        "setting --probe-connect-timeout (AUTH_RECONCILER_PROBE_CONNECT_TIMEOUT) does not accept `fast`: give a \
             duration from 10ms to 1m with its unit (ms, s, m, h, d)",
    ),
    (
        "--backoff-min",
        "0s",
        "setting --backoff-min (AUTH_RECONCILER_BACKOFF_MIN) does not accept `0s`: give a duration from 1ms to 1h \
             with its unit (ms, s, m, h, d)",
    ),
    (
        "--probe-concurrency",
        "5000",
        "setting --probe-concurrency (AUTH_RECONCILER_PROBE_CONCURRENCY) does not accept `5000`: give a whole \
             number from 1 to 4096",
    ),
    (
        "--pool-size",
        "-1",
        "setting --pool-size (AUTH_RECONCILER_POOL_SIZE) does not accept `-1`: give a whole number from 1 to 256",
    ),
    (
        "--docker",
        "on",
        "setting --docker (AUTH_RECONCILER_DOCKER) does not accept `on`: give \
             unix:///path/to/docker.sock or tcp://host:2375, auto, or off",
    ),
    (
        "--log-format",
        "xml",
        "setting --log-format (AUTH_RECONCILER_LOG_FORMAT) does not accept `xml`: give human or json",
    ),
    (
        "--table",
        "a b",
        "setting --table (AUTH_RECONCILER_TABLE) does not accept `a b`: an unquoted name cannot hold 'b' there: \
             put the name in double quotes",
    ),
    (
        "--probe-url",
        "https://h:{port}",
        "setting --probe-url (AUTH_RECONCILER_PROBE_URL) does not accept `https://h:{port}`: only http:// is accepted",
    ),
    (
        "--database-ssl",
        "maybe",
        "setting --database-ssl (DATABASE_SSL) does not accept `maybe`: give true, false, disable, allow, prefer, \
             require, no-verify, verify-ca or verify-full",
    ),
];

#[test]
fn a_mistake_names_the_setting_the_value_and_what_is_accepted() {
    for &(flag, value, expected) in MISTAKES {
        assert_eq!(refused(&[&format!("{flag}={value}")], &[]), expected);
    }
}

#[test]
fn every_range_is_held_at_both_ends() {
    for (flag, inside, outside) in [
        ("probe-timeout", ["200ms", "5m"], ["99ms", "301s"]),
        ("probe-connect-timeout", ["10ms", "5s"], ["9ms", "61s"]),
        ("probe-concurrency", ["1", "4096"], ["0", "4097"]),
        ("pool-size", ["1", "256"], ["0", "257"]),
        ("echo-interval", ["100ms", "1h"], ["99ms", "3601s"]),
        ("echo-timeout", ["100ms", "5m"], ["99ms", "301s"]),
        ("backoff-min", ["1ms", "60s"], ["0ms", "2h"]),
        ("backoff-max", ["50ms", "1h"], ["0ms", "2h"]),
        ("awaiting-grace", ["1ms", "1d"], ["0s", "2d"]),
        ("not-connected-limit", ["1ms", "1d"], ["0s", "2d"]),
        ("whatsapp-not-connected-limit", ["1ms", "1d"], ["0s", "2d"]),
        ("believe-silence-after", ["1s", "30d"], ["999ms", "31d"]),
        ("believe-silence-after", ["off", "Off"], ["never", "on"]),
        ("misses", ["1", "100"], ["0", "101"]),
        ("miss-window", ["1ms", "1h"], ["0s", "2h"]),
        ("corrections-per-minute", ["1", "600"], ["0", "601"]),
        ("look-burst", ["1", "10000"], ["0", "10001"]),
        ("look-interval", ["1ms", "1h"], ["0s", "2h"]),
        ("history-per-instance", ["1", "100000"], ["0", "100001"]),
        ("history-max-age", ["1m", "10y"], ["59s", "20y"]),
        ("shutdown-timeout", ["100ms", "10m"], ["99ms", "601s"]),
    ] {
        for value in inside {
            assert!(
                run(&[&format!("--{flag}={value}")], &[]).is_ok(),
                "{flag}={value}"
            );
        }
        for value in outside {
            let text = refused(&[&format!("--{flag}={value}")], &[]);
            assert!(text.contains(flag) && text.contains(value), "{text}");
        }
    }
}

#[test]
fn two_values_that_exclude_each_other_are_named_both() {
    assert_eq!(
        refused(
            &["--backoff-min", "2m"],
            &[("AUTH_RECONCILER_BACKOFF_MAX", "90s")]
        ),
        "setting --backoff-min (AUTH_RECONCILER_BACKOFF_MIN) is 2m, which is more than --backoff-max \
         (AUTH_RECONCILER_BACKOFF_MAX) with 1m 30s"
    );
    assert!(refused(&["--probe-timeout", "100ms"], &[]).contains("--probe-connect-timeout"));
}

#[test]
fn the_url_wins_and_takes_from_the_separate_names_what_it_lacks() {
    let names = [
        ("DATABASE_HOST", "elsewhere"),
        ("DATABASE_PORT", "6000"),
        ("DATABASE_NAME", "other"),
        ("DATABASE_USER", "someone"),
        ("DATABASE_PASSWORD", "lent"),
        ("DATABASE_SSL", "false"),
    ];
    let mut both = names.to_vec();
    both.push(URL);
    let database = parse(&["migrate"], &both).unwrap().database;
    assert_eq!(
        database.describe(),
        "postgres://manager@db:5433/wweb (sslmode=disable)"
    );
    assert_eq!(database.config().get_password(), Some(&b"hunter2"[..]));
    let database = parse(&["migrate"], &names).unwrap().database;
    assert_eq!(
        database.describe(),
        "postgres://someone@elsewhere:6000/other (sslmode=disable)"
    );
    assert_eq!(database.config().get_password(), Some(&b"lent"[..]));
}

#[test]
fn the_ear_may_have_its_own_url() {
    let environment = [
        ("AUTH_RECONCILER_LISTEN_URL", "postgres://ear@direct/wweb"),
        ("DATABASE_PASSWORD", "lent"),
    ];
    let listen = run(&[], &environment).unwrap().listen.unwrap();
    assert_eq!(
        listen.describe(),
        "postgres://ear@direct:5432/wweb (sslmode=prefer)"
    );
    assert_eq!(listen.config().get_password(), Some(&b"lent"[..]));
    let text = refused(&["--listen-url", "mysql://x:hunter2@y/z"], &[]);
    assert_eq!(
        text,
        "setting --listen-url (AUTH_RECONCILER_LISTEN_URL) cannot be used: only postgres:// and postgresql:// are accepted"
    );
}
