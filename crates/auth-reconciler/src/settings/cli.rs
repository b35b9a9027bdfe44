//! The command line as clap sees it: flags as plain text, nothing judged.
//!
//! clap knows neither the environment nor any type here. A value that clap judged would be repeated in clap's error,
//! and a database URL holds a password; an empty variable, which compose files produce, would count as given. Both
//! are decided where the values are resolved. The help still tells names and defaults: they come from the one table
//! of settings.

use clap::{Arg, Args, CommandFactory, Parser, Subcommand};

use super::setting;

/// Keeps the auth_status column of a fleet of messaging instances true, by events.
#[derive(Parser)]
#[command(
    name = "auth-reconciler",
    version,
    next_line_help = true,
    after_help = "Every setting may be given by flag or by environment; the flag wins, and an empty value counts as \
                  not given. Durations carry their unit: 200ms, 5s, 10m, 30d. RUST_LOG sets the log levels."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    pub(crate) command: CommandArgs,
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct CommonArgs {
    /// Where the manager's database is: postgres://user:password@host:port/name?sslmode=… or key=value pairs. It wins
    /// over the separate names; what it leaves out of password, sslmode and CA is taken from those. Prefer the
    /// environment: arguments are visible in the process list
    #[arg(long, global = true, value_name = "URL", help_heading = "Database")]
    pub(crate) database_url: Option<String>,
    /// Host name, address or directory of the Unix socket; used when there is no URL
    #[arg(long, global = true, value_name = "HOST", help_heading = "Database")]
    pub(crate) database_host: Option<String>,
    /// TCP port, 1 to 65535; used when there is no URL
    #[arg(long, global = true, value_name = "PORT", help_heading = "Database")]
    pub(crate) database_port: Option<String>,
    /// Name of the database, by default the user's; used when there is no URL
    #[arg(long, global = true, value_name = "NAME", help_heading = "Database")]
    pub(crate) database_name: Option<String>,
    /// User to connect as; used when there is no URL
    #[arg(long, global = true, value_name = "USER", help_heading = "Database")]
    pub(crate) database_user: Option<String>,
    /// Password, where the URL has none. Prefer the environment: arguments are visible in the process list
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        help_heading = "Database",
        allow_hyphen_values = true
    )]
    pub(crate) database_password: Option<String>,
    /// TLS, where the URL says nothing: disable, allow, prefer, require, no-verify, verify-ca or verify-full; true
    /// means require, false means disable; prefer if not given
    #[arg(long, global = true, value_name = "MODE", help_heading = "Database")]
    pub(crate) database_ssl: Option<String>,
    /// PEM file of the authority that signed the server's certificate, for verify-ca and verify-full, where the URL
    /// has no sslrootcert; with it require checks like verify-ca
    #[arg(long, global = true, value_name = "FILE", help_heading = "Database")]
    pub(crate) database_ca: Option<String>,
    /// Tables to watch, comma separated, written as in SQL; without a schema, public is meant. `status`, `watch`
    /// and `uninstall` concern every table that is watched and refuse the flag
    #[arg(long, global = true, value_name = "TABLES")]
    pub(crate) table: Option<String>,
    /// How log lines look: human or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum CommandArgs {
    /// Brings the schema auth_reconciler to this version and attaches the triggers to every watched table
    Migrate(MigrateArgs),
    /// The daemon: keeps auth_status true until it is told to stop
    Run(Box<RunArgs>),
    /// Shows the status of every instance; exits with 1 if one is in trouble or a table is not seen as it was watched,
    /// with 3 if no daemon leads
    Status {
        /// Prints JSON for programs instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Follows the transitions of all instances, or of one, as they happen, until Ctrl-C
    Watch(Box<WatchArgs>),
    /// Checks everything that `run` needs, one line each, with a remedy
    Doctor(Box<RunArgs>),
    /// Removes triggers and schema and leaves no trace; takes back what deploy/grants.sql gave
    Uninstall(UninstallArgs),
}

/// What `uninstall` takes.
#[derive(Args)]
pub(crate) struct UninstallArgs {
    /// Does not ask first; needed where standard input is no terminal
    #[arg(long)]
    pub(crate) yes: bool,
    /// Goes on although a daemon leads, which then ends
    #[arg(long)]
    pub(crate) force: bool,
    /// Removes what somebody built on the schema (views, functions, foreign keys, …) with it
    #[arg(long)]
    pub(crate) with_dependents: bool,
}

/// What `migrate` takes.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// Makes our tables although a publication takes them in, so that every subscriber needs them too; in the
    /// environment true or false
    #[arg(long)]
    pub(crate) into_publication: bool,
}

/// What the daemon takes, and `doctor` checks.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Does what `migrate` does before it starts; in the environment true or false
    #[arg(long)]
    pub(crate) migrate: bool,
    #[command(flatten)]
    pub(crate) migration: MigrateArgs,
    /// Database URL for the listening connection alone, where the other one leads through a transaction pooler; by
    /// default the same as the database URL. Prefer the environment: arguments are visible in the process list
    #[arg(long, value_name = "URL")]
    pub(crate) listen_url: Option<String>,
    /// The Docker Engine that runs the containers: auto (DOCKER_HOST, else the socket of this machine, else none), off,
    /// unix://PATH or tcp://HOST:PORT. Only events, list, inspect and logs are asked for
    #[arg(long, value_name = "ENGINE", help_heading = "Containers")]
    pub(crate) docker: Option<String>,
    /// Folder with ca.pem, cert.pem and key.pem for TLS to the engine; by default DOCKER_CERT_PATH where DOCKER_TLS_VERIFY
    /// is set
    #[arg(long, value_name = "FOLDER", help_heading = "Containers")]
    pub(crate) docker_certs: Option<String>,
    /// Key of the label that holds an instance's id
    #[arg(long, value_name = "KEY", help_heading = "Containers")]
    pub(crate) docker_label_id: Option<String>,
    /// Key of the label that holds a container's type; only those of type api count
    #[arg(long, value_name = "KEY", help_heading = "Containers")]
    pub(crate) docker_label_type: Option<String>,
    /// Containers whose output is followed at a time while they are not ready, 0 to 1024; 0 follows none
    #[arg(long, value_name = "COUNT", help_heading = "Containers")]
    pub(crate) followers: Option<String>,
    /// Where an instance's API answers, plain http, with {port} and {id} of the instance or {container_ip} of its
    /// container in place
    #[arg(long, value_name = "TEMPLATE", help_heading = "Probes")]
    pub(crate) probe_url: Option<String>,
    /// Longest time for one whole probe, body included, 100ms to 5m
    #[arg(long, value_name = "DURATION", help_heading = "Probes")]
    pub(crate) probe_timeout: Option<String>,
    /// Longest time for its connect, 10ms to 1m, at most the probe's
    #[arg(long, value_name = "DURATION", help_heading = "Probes")]
    pub(crate) probe_connect_timeout: Option<String>,
    /// Probes at a time, 1 to 4096
    #[arg(long, value_name = "COUNT", help_heading = "Probes")]
    pub(crate) probe_concurrency: Option<String>,
    /// Database connections beside the listening one, 1 to 256
    #[arg(long, value_name = "COUNT", help_heading = "Database")]
    pub(crate) pool_size: Option<String>,
    /// Time between two echoes on the listening connection, 100ms to 1h
    #[arg(long, value_name = "DURATION", help_heading = "Database")]
    pub(crate) echo_interval: Option<String>,
    /// How long an echo may take before the connection counts as deaf, 100ms to 5m
    #[arg(long, value_name = "DURATION", help_heading = "Database")]
    pub(crate) echo_timeout: Option<String>,
    /// First pause before an instance that is not final is looked at again, 1ms to 1h
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) backoff_min: Option<String>,
    /// Longest such pause, 1ms to 1h, not below the first
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) backoff_max: Option<String>,
    /// How long an instance may wait for key, port or its first answer before it is in trouble, 1ms to 1d
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) awaiting_grace: Option<String>,
    /// How long an API may answer "not connected" before that is a failure, 1ms to 1d
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) not_connected_limit: Option<String>,
    /// The same for WhatsApp, where a phone has to synchronise first, 1ms to 1d
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) whatsapp_not_connected_limit: Option<String>,
    /// Misses in a row before an instance that was ready has failed, 1 to 100
    #[arg(long, value_name = "COUNT", help_heading = "Verdicts")]
    pub(crate) misses: Option<String>,
    /// Shortest time that those misses must span, 1ms to 1h
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) miss_window: Option<String>,
    /// How long nobody may answer before that is believed without a witness and becomes a failure of all who are
    /// silent, 1s to 30d, or off: never, for it may be the way from here to them that fails
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) believe_silence_after: Option<String>,
    /// Foreign writes of auth_status that are corrected at once, per instance and minute, 1 to 600
    #[arg(long, value_name = "COUNT", help_heading = "Verdicts")]
    pub(crate) corrections_per_minute: Option<String>,
    /// Looks at one instance that may follow each other freely, 1 to 10000
    #[arg(long, value_name = "COUNT", help_heading = "Verdicts")]
    pub(crate) look_burst: Option<String>,
    /// Once those are spent, one more look per this time, 1ms to 1h
    #[arg(long, value_name = "DURATION", help_heading = "Verdicts")]
    pub(crate) look_interval: Option<String>,
    /// Transitions kept for each instance, 1 to 100000
    #[arg(long, value_name = "COUNT", help_heading = "History")]
    pub(crate) history_per_instance: Option<String>,
    /// Age beyond which transitions are removed, 1m to 10y
    #[arg(long, value_name = "DURATION", help_heading = "History")]
    pub(crate) history_max_age: Option<String>,
    /// How long work in flight may take once the daemon was told to stop, 100ms to 10m
    #[arg(long, value_name = "DURATION")]
    pub(crate) shutdown_timeout: Option<String>,
}

/// What `watch` takes.
#[derive(Args)]
pub(crate) struct WatchArgs {
    /// Prints JSON for programs, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Only the instance with this id
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
    /// How many earlier transitions are shown first, 0 to 1000
    #[arg(long, value_name = "COUNT")]
    pub(crate) last: Option<String>,
    /// Colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN")]
    pub(crate) color: Option<String>,
    /// Database URL to listen on, where the other one leads through a transaction pooler; by default the same as the
    /// database URL. Prefer the environment: arguments are visible in the process list
    #[arg(long, value_name = "URL")]
    pub(crate) listen_url: Option<String>,
}

/// The command line with the environment names and defaults in its help.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command().mut_args(told);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| sub.mut_args(told))
    })
}

fn told(arg: Arg) -> Arg {
    let Some(setting) = setting::ALL
        .iter()
        .find(|setting| arg.get_long() == Some(setting.flag))
    else {
        return arg;
    };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.push_str(&format!(" [env: {}]", setting.env));
    if let Some(default) = setting.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    arg.help(help)
}
