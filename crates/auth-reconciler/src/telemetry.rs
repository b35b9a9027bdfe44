//! Logs: for people on a terminal, as JSON for machines. Never a payload, never a secret.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use tokio_postgres::error::DbError;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines of text, for people.
    Human,
    /// For programs, one object a line.
    Json,
}

/// Starts logging to standard error; levels by `RUST_LOG`, default `info`.
///
/// # Errors
/// `RUST_LOG` is not a filter.
pub(crate) fn start(format: LogFormat) -> Result<(), String> {
    let directives = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let directives = directives.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        format!("RUST_LOG is \"{directives}\", which is no filter: {error}; accepted are levels like info, or auth_reconciler=debug")
    })?;
    // A pooled session that the server ended is replaced, and whoever needed it says so with the cause; the pool's
    // own line names none.
    let filter = match "deadpool.postgres=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // That nobody reads the log any more must not end the daemon: it would be told on the same
        // closed stream, by a macro that panics.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // Not `init`, which would take in the records of the `log` crate, too: libraries write there what they
    // like, at level debug whole answers, and so secrets.
    let set = match format {
        LogFormat::Human => tracing::subscriber::set_global_default(
            builder
                .with_ansi(io::stderr().is_terminal())
                .with_target(false)
                .finish(),
        ),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
    set.map_err(|error| error.to_string())
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let (said, source) = match cause.downcast_ref::<DbError>() {
            Some(error) => (server_said(error), None),
            None => (cause.to_string(), cause.source()),
        };
        // Some libraries repeat their source in their own text.
        if !text.contains(&said) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{said}");
        }
        next = source;
    }
    text
}

/// What the server said, as far as it cannot hold a row of the manager's, with its key and token: a
/// DETAIL shows the row, a data exception (class 22) the value, and what a trigger of somebody else
/// raises may hold anything.
fn server_said(error: &DbError) -> String {
    let raised_by_others = error.routine() == Some("exec_stmt_raise")
        && !error
            .where_()
            .and_then(|context| context.lines().next())
            .is_some_and(is_of_ours);
    let code = error.code().code();
    if raised_by_others || in_their_code(error) || code.starts_with("22") {
        return format!(
            "{}: SQLSTATE {code}; the server's log has the message, which is not repeated here because it may hold \
             values of the row",
            error.severity()
        );
    }
    let mut text = format!("{}: {}", error.severity(), error.message());
    if let Some(hint) = error.hint() {
        let _ = write!(text, " ({hint})");
    }
    text
}

/// Whether a line of an error's context tells a function of ours. Its words are in the language of the server, in which none
/// need stand before the name; a name that is not of lower-case ASCII is quoted in all of them.
fn is_of_ours(line: &str) -> bool {
    let within_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'"');
    line.split_once("auth_reconciler.")
        .is_some_and(|(before, _)| {
            !before.contains('"') && !before.bytes().next_back().is_some_and(within_name)
        })
}

/// Whether it comes out of what the watched table's own triggers and checks call, inside our write:
/// then a missing table or function is not one of ours, and its text may hold anything of the row. The
/// server tells the innermost place first.
pub(crate) fn in_their_code(error: &DbError) -> bool {
    error
        .where_()
        .and_then(|context| context.split_once(" set auth_status = ($2)["))
        .is_some_and(|(inner, _)| inner.contains('\n'))
}

#[cfg(test)]
mod tests {
    use super::is_of_ours;

    #[test]
    fn a_function_of_ours_is_known_in_any_language() {
        for ours in [
            "PL/pgSQL function auth_reconciler.watch(regclass,boolean) line 3 at RAISE",
            "PL/pgSQL-Funktion auth_reconciler.watch(regclass,boolean) Zeile 3 bei RAISE",
            "PL/pgSQL関数auth_reconciler.watch(regclass,boolean)の3行目 - RAISE",
            "在RAISE的第3行的PL/pgSQL函数auth_reconciler.watch(regclass,boolean)",
        ] {
            assert!(is_of_ours(ours), "{ours}");
        }
        for theirs in [
            "PL/pgSQL function public.refuse() line 3 at RAISE",
            "PL/pgSQL function not_auth_reconciler.refuse() line 3 at RAISE",
            "PL/pgSQL function public.\"auth_reconciler.refuse\"() line 3 at RAISE",
            "PL/pgSQL関数public.\"éauth_reconciler.refuse\"()の3行目 - RAISE",
        ] {
            assert!(!is_of_ours(theirs), "{theirs}");
        }
    }
}
