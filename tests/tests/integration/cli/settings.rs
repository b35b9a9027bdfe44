//! Mistakes in settings, and the help that prevents them. Nothing here reaches a server.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::TestDatabase;

use super::expect;

/// Port 1 is nobody's; whoever tried to connect would say so.
const URL: &str = "postgres://me:se-cret@127.0.0.1:1/db";

/// Name, flag, a value that is not accepted, and what is said of those that are.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        "AUTH_RECONCILER_PROBE_TIMEOUT",
        "--probe-timeout",
        "5",
        "for example 5s",
    ),
    (
        "AUTH_RECONCILER_PROBE_TIMEOUT",
        "--probe-timeout",
        "10m",
        "from 100ms to 5m",
    ),
    (
        "AUTH_RECONCILER_BACKOFF_MAX",
        "--backoff-max",
        "soon",
        "ms, s, m, h, d",
    ),
    (
        "AUTH_RECONCILER_PROBE_URL",
        "--probe-url",
        "https://h:{port}",
        "only http://",
    ),
    (
        "AUTH_RECONCILER_PROBE_URL",
        "--probe-url",
        "http://h:{prot}",
        "{port}, {id} and {container_ip}",
    ),
    (
        "AUTH_RECONCILER_PROBE_URL",
        "--probe-url",
        "http://h:80",
        "none of {port}, {id} and {container_ip}",
    ),
    ("AUTH_RECONCILER_DOCKER", "--docker", "on", "auto, or off"),
    (
        "AUTH_RECONCILER_PROBE_CONCURRENCY",
        "--probe-concurrency",
        "0",
        "from 1 to 4096",
    ),
    (
        "AUTH_RECONCILER_POOL_SIZE",
        "--pool-size",
        "-1",
        "from 1 to 256",
    ),
    (
        "AUTH_RECONCILER_MIGRATE",
        "--migrate",
        "perhaps",
        "true or false",
    ),
    (
        "AUTH_RECONCILER_LOG_FORMAT",
        "--log-format",
        "xml",
        "human or json",
    ),
    ("DATABASE_SSL", "--database-ssl", "maybe", "verify-full"),
    ("AUTH_RECONCILER_TABLE", "--table", "a.b.c", "a.b.c"),
];

/// What every command takes.
const COMMON: &[&str] = &[
    "DATABASE_URL",
    "DATABASE_HOST",
    "DATABASE_PORT",
    "DATABASE_NAME",
    "DATABASE_USER",
    "DATABASE_PASSWORD",
    "DATABASE_SSL",
    "DATABASE_SSL_CA",
    "DATABASE_SCHEMA",
    "AUTH_RECONCILER_TABLE",
    "AUTH_RECONCILER_LOG_FORMAT",
];

/// What the daemon takes beside that, each after `AUTH_RECONCILER_`.
const DAEMON: &[&str] = &[
    "LISTEN_URL",
    "DOCKER",
    "DOCKER_CERTS",
    "DOCKER_LABEL_ID",
    "DOCKER_LABEL_TYPE",
    "FOLLOWERS",
    "PROBE_URL",
    "PROBE_TIMEOUT",
    "PROBE_CONNECT_TIMEOUT",
    "PROBE_CONCURRENCY",
    "POOL_SIZE",
    "ECHO_INTERVAL",
    "ECHO_TIMEOUT",
    "BACKOFF_MIN",
    "BACKOFF_MAX",
    "AWAITING_GRACE",
    "NOT_CONNECTED_LIMIT",
    "WHATSAPP_NOT_CONNECTED_LIMIT",
    "BELIEVE_SILENCE_AFTER",
    "MISSES",
    "MISS_WINDOW",
    "CORRECTIONS_PER_MINUTE",
    "LOOK_BURST",
    "LOOK_INTERVAL",
    "HISTORY_PER_INSTANCE",
    "HISTORY_MAX_AGE",
    "SHUTDOWN_TIMEOUT",
    "MIGRATE",
];

#[tokio::test]
async fn a_mistake_names_setting_value_and_what_is_accepted() -> Result<()> {
    for &(name, flag, value, accepted) in MISTAKES {
        for command in ["run", "doctor"] {
            let output = run_command(URL, &[command], &[(name, value)]).await?;
            expect(&output, 2, &[name, flag, &format!("`{value}`"), accepted])?;
            ensure!(
                !output.stderr.contains("se-cret"),
                "{name} shows the password"
            );
            ensure!(output.stdout.is_empty());
        }
        if name != "AUTH_RECONCILER_MIGRATE" {
            let by_flag = format!("{flag}={value}");
            let output = run_command(URL, &["run", &by_flag], &[]).await?;
            expect(&output, 2, &[name, flag, accepted])?;
        }
    }
    let order = [
        ("AUTH_RECONCILER_BACKOFF_MIN", "2s"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "1s"),
    ];
    let output = run_command(URL, &["run"], &order).await?;
    expect(
        &output,
        2,
        &[
            "AUTH_RECONCILER_BACKOFF_MIN",
            "2s",
            "AUTH_RECONCILER_BACKOFF_MAX",
            "1s",
        ],
    )
}

#[tokio::test]
async fn a_bad_url_is_named_and_not_shown() -> Result<()> {
    for url in [
        "postgres://me:se-cret@h:99999/db",
        "postgres://me:se-cret@h/db?sslmode=maybe",
        "mysql://me:se-cret@h/db",
    ] {
        let output = run_command(url, &["run"], &[]).await?;
        ensure!(output.code != Some(0), "{output:?}");
        expect(&output, output.code.unwrap_or_default(), &["error: "])?;
        ensure!(!output.stderr.contains("se-cret"), "{}", output.stderr);
        let listen = [("AUTH_RECONCILER_LISTEN_URL", url)];
        let output = run_command(URL, &["run"], &listen).await?;
        ensure!(!output.stderr.contains("se-cret"), "{}", output.stderr);
    }
    // An empty value is none: no mistake, but a host that is not there, which ends a command and not the daemon.
    let nowhere = "postgres://me:se-cret@h/db?sslrootcert=";
    let output = run_command(nowhere, &["status"], &[]).await?;
    expect(&output, 3, &["error: "])?;
    ensure!(!output.stderr.contains("se-cret"), "{}", output.stderr);
    let output = run_command("mysql://me:se-cret@h/db", &["status"], &[]).await?;
    expect(&output, 2, &["DATABASE_URL"])?;
    let output = run_command("", &["status"], &[]).await?;
    expect(
        &output,
        2,
        &["no database is named", "DATABASE_URL", "DATABASE_USER"],
    )?;
    let output = run_command(URL, &["status"], &[("RUST_LOG", "=5=")]).await?;
    expect(&output, 2, &["RUST_LOG", "=5=", "info"])?;
    let output = run_command(URL, &["run", "se-cret"], &[]).await?;
    expect(&output, 2, &["not repeated"])?;
    ensure!(!output.stderr.contains("se-cret"));
    Ok(())
}

#[tokio::test]
async fn the_help_of_each_command_tells_every_setting_of_it() -> Result<()> {
    for command in ["migrate", "run", "status", "doctor", "uninstall"] {
        // Help needs no settings at all.
        let output = run_command("", &[command, "--help"], &[]).await?;
        expect(&output, 0, &["Usage: auth-reconciler"])?;
        // Lines are wrapped to the terminal's width.
        let help = output
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for name in COMMON {
            ensure!(
                help.contains(&format!("[env: {name}]")),
                "{command}: no {name}"
            );
        }
        let whole = matches!(command, "run" | "doctor");
        for name in DAEMON {
            let told = help.contains(&format!("[env: AUTH_RECONCILER_{name}]"));
            ensure!(told == whole, "{command}: {name} is told: {told}");
        }
        let migrates = whole || command == "migrate";
        let told = help.contains("[env: AUTH_RECONCILER_INTO_PUBLICATION]");
        ensure!(
            told == migrates,
            "{command}: INTO_PUBLICATION is told: {told}"
        );
        // What it tells is all that there is: a setting that this list lacks is found here.
        let told = help.matches("[env: ").count();
        let expected = COMMON.len() + if whole { DAEMON.len() } else { 0 } + usize::from(migrates);
        ensure!(
            told == expected,
            "{command} tells {told} settings, not {expected}"
        );
    }
    expect(
        &run_command("", &["--help"], &[]).await?,
        0,
        &["migrate", "run", "RUST_LOG"],
    )?;
    expect(
        &run_command("", &["--version"], &[]).await?,
        0,
        &["auth-reconciler ", "(schema "],
    )
}

#[tokio::test]
async fn a_variable_that_nobody_heeds_is_told_without_its_value() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let misspelt = [("AUTH_RECONCILER_PROBE_ULR", "hunter2")];
    let output = run_command(database.url(), &["health"], &misspelt).await?;
    let told = ["AUTH_RECONCILER_PROBE_ULR", "AUTH_RECONCILER_PROBE_URL"];
    expect(&output, 1, &told)?;
    ensure!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    let silent = run_command(database.url(), &["health"], &[]).await?;
    ensure!(!silent.stderr.contains("not heeded"), "{}", silent.stderr);
    database.close().await
}
