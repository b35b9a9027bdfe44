//! The command line as clap sees it: commands, and flags as plain text, made of the table of settings.
//!
//! clap looks up no variable and judges no value. Its errors would repeat a value, and a database URL holds a
//! password; its help would show what a variable holds; and an empty variable, which compose files produce, would
//! count as given. So values are looked up in [`super::given`] and read, by the type that the table gives them, in
//! [`super::value`].

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::all::{ALL, DATABASE_PASSWORD};
use super::setting::{Range, Setting};
use crate::exit::Exit;
use crate::postgres::schema::needed_version;

/// The program's version, the version of the schema that it works with, and the commit, where who built it told that.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (version, schema) = (env!("CARGO_PKG_VERSION"), needed_version());
    match option_env!("AUTH_RECONCILER_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} (schema {schema}, commit {commit})"),
        None => format!("{version} (schema {schema})"),
    }
});

/// What stands below the commands in the help.
static AFTER: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\n\nEvery setting may be given by flag or by environment; the flag wins, and an empty value counts as not \
         given. Durations carry their unit: 200ms, 5s, 10m, 30d. RUST_LOG sets the log levels.",
        Exit::help()
    )
});

/// Keeps the auth_status column of a fleet of messaging instances true, by events.
#[derive(Parser)]
#[command(
    name = "auth-reconciler",
    version = VERSION.as_str(),
    next_line_help = true,
    after_help = AFTER.as_str()
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: AnyCommand,
}

/// Every command.
#[derive(Subcommand)]
pub(super) enum AnyCommand {
    #[command(flatten)]
    Work(CommandArgs),
    #[command(flatten)]
    Pages(PagesArgs),
}

/// The commands that need no database.
#[derive(Subcommand)]
pub(super) enum PagesArgs {
    /// Prints what makes a shell complete commands and flags with the tab key
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// The commands, and what is no setting but a word on the way.
#[derive(Subcommand)]
pub(super) enum CommandArgs {
    /// Brings the schema auth_reconciler to this version and attaches the triggers to every watched table
    Migrate {
        /// Only prints the SQL that it would run, for psql; changes nothing, and needs no right to
        #[arg(long)]
        dry_run: bool,
    },
    /// The daemon: keeps auth_status true until it is told to stop
    Run,
    /// Shows the status of every instance; exits with 1 if one is in trouble or a table is not seen as it was watched,
    /// with 4 if no daemon leads
    Status {
        /// Prints JSON for programs instead of a table
        #[arg(long)]
        json: bool,
        /// Shows only the instances that are in trouble
        #[arg(long, conflicts_with = "summary")]
        trouble: bool,
        /// Shows how many instances there are of each status and reason, and for how long they are so
        #[arg(long)]
        summary: bool,
    },
    /// Follows the transitions of all instances, or of one, as they happen, until Ctrl-C
    Watch {
        /// Prints JSON for programs, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Checks everything that `run` needs, one line each, with a remedy
    Doctor,
    /// Asks PostgreSQL whether the daemon on this host (or in this container) leads or stands by; exits with 0 if it does,
    /// with 1 if it does not, with 3 if PostgreSQL could not be asked
    Health {
        /// Only the daemon with this process number, where several run under one host name
        #[arg(long, value_name = "NUMBER")]
        process: Option<u32>,
    },
    /// Removes triggers and schema and leaves no trace; takes back what deploy/grants.sql gave
    Uninstall(UninstallArgs),
}

/// What `uninstall` takes.
#[derive(Args)]
pub(super) struct UninstallArgs {
    /// Does not ask first; needed where standard input is no terminal
    #[arg(long)]
    pub(super) yes: bool,
    /// Goes on although a daemon leads, which then ends
    #[arg(long)]
    pub(super) force: bool,
    /// Removes what somebody built on the schema (views, functions, foreign keys, …) with it
    #[arg(long)]
    pub(super) with_dependents: bool,
}

/// The command line with a flag for each setting.
pub(super) fn command() -> clap::Command {
    ALL.iter().fold(Cli::command(), |command, setting| {
        if setting.commands.is_empty() {
            return command.arg(flag(setting).global(true));
        }
        setting.commands.iter().fold(command, |command, name| {
            command.mut_subcommand(name, |command| command.arg(flag(setting)))
        })
    })
}

fn flag(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.env);
    if !setting.default.is_empty() {
        help.push_str(&format!(" [default: {}]", setting.default));
    }
    if setting.range != Range::Any {
        help.push_str(&format!(" [range: {}]", setting.range));
    }
    let flag = Arg::new(setting.flag)
        .long(setting.flag)
        .help(help)
        .help_heading(setting.heading)
        // A password may begin with one.
        .allow_hyphen_values(setting.flag == DATABASE_PASSWORD.flag);
    if setting.shown.is_empty() {
        flag.action(ArgAction::SetTrue)
    } else {
        flag.value_name(setting.shown)
    }
}
