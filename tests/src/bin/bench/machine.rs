//! Where the figures come from: without it they mean little.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// Server, processors and how busy they were before anything was measured.
#[derive(Default)]
pub(crate) struct Machine {
    server: String,
    cores: usize,
    load: f64,
    debug: bool,
}

impl Machine {
    pub(crate) async fn look(client: &Client) -> Result<Self> {
        let server = client.query_one("show server_version", &[]).await?;
        let load = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
        let load = load.split(' ').next().context("no load")?;
        Ok(Self {
            server: server.try_get(0)?,
            cores: std::thread::available_parallelism()?.get(),
            load: load.parse().context("the load is no number")?,
            debug: cfg!(debug_assertions),
        })
    }

    /// Half of the cores taken by others is too much for milliseconds.
    fn is_busy(&self) -> bool {
        self.load > self.cores as f64 / 2.0
    }

    pub(crate) fn is_debug_build(&self) -> bool {
        self.debug
    }

    pub(crate) fn warn(&self) {
        if self.is_busy() {
            eprintln!(
                "warning: the machine is busy (load {} on {} cores): believe ratios, not milliseconds",
                self.load, self.cores
            );
        }
        if self.debug {
            eprintln!("warning: this is a debug build: its figures say nothing");
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "server_version": self.server,
            "cores": self.cores,
            "load_at_start": self.load,
            "busy": self.is_busy(),
            "debug_build": self.debug,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PostgreSQL {}, fsync on, {} cores, load at start {}",
            self.server, self.cores, self.load
        )?;
        if self.is_busy() {
            write!(f, " (busy: believe ratios, not milliseconds)")?;
        }
        if self.debug {
            write!(f, ", DEBUG BUILD")?;
        }
        Ok(())
    }
}
