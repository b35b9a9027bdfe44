//! Plays one of the manager's containers, inside a real container: the phases of its start, its writes, its log and its
//! answers, as measured on the real one; and every way in which one can fail, on demand.
//!
//! It is told everything by environment ([`auth_reconciler_tests::instance`]) and steered over its own port
//! (`POST /control/…`, see [`control`]). It runs as process 1, which gets no signal that it does not ask for, so it
//! handles SIGTERM itself: it refuses connections at once and exits when its time has come.

mod control;
mod life;
mod mischief;

use std::process::ExitCode;

use anyhow::{Context, Result};
use auth_reconciler_tests::instance::InstanceSettings;
use tokio::signal::unix::{SignalKind, signal};

use crate::life::{Life, say};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let settings = InstanceSettings::from_environment(|name| std::env::var(name).ok())?;
    if std::env::args().any(|argument| argument == "--health") {
        // The container's health check, run beside the instance itself.
        tokio::net::TcpStream::connect(("127.0.0.1", settings.port)).await?;
        return Ok(());
    }
    let exits_after = settings.exits_after;
    let life = Life::begin(settings).await.context("cannot begin")?;
    let control = std::sync::Arc::clone(&life);
    life.stub().control_by(std::sync::Arc::new(move |call| {
        Box::pin(control::handle(std::sync::Arc::clone(&control), call))
    }));
    tokio::spawn(std::sync::Arc::clone(&life).live());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    say("received a signal, shutting down");
    life.change(|state| state.stopping = true).await?;
    tokio::time::sleep(exits_after).await;
    say("bye");
    Ok(())
}
