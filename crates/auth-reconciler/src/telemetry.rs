//! Logs: for people on a terminal, as JSON for machines. Never a payload, never a secret.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Human => builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        source = cause.source();
    }
    text
}
