//! PostgreSQL's own load generator, as the manager.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::postgres::program;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::rows::id_of;

/// How long one measurement lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Seconds(u32),
    /// Of each client.
    Transactions(u32),
}

/// What the manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Columns that no verdict is made from.
    Others,
    ApiKey,
}

impl Write {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Others => "other columns",
            Self::ApiKey => "api_key",
        }
    }

    fn script(self, table: &str) -> String {
        let set = match self {
            Self::Others => "whatsapp_state = md5(random()::text)",
            Self::ApiKey => "api_key = md5(random()::text)",
        };
        format!(
            "\\set n random(1, :rows)\nupdate {table} set {set}, updated_at = localtimestamp where id = {};\n",
            id_of(":n")
        )
    }
}

/// One measurement.
pub(crate) struct Load<'a> {
    pub(crate) url: &'a str,
    pub(crate) table: &'a str,
    pub(crate) write: Write,
    pub(crate) rows: usize,
    pub(crate) clients: usize,
    pub(crate) length: Length,
}

impl Load<'_> {
    /// Writes a second of all clients together.
    pub(crate) async fn rate(&self) -> Result<f64> {
        const LIMIT: Duration = Duration::from_secs(120);
        let (how, long) = match self.length {
            Length::Seconds(seconds) => ("-T", seconds),
            Length::Transactions(count) => ("-t", count),
        };
        let threads = self.clients.min(2);
        let mut pgbench = Command::new(program("pgbench")?)
            .args(["-n", "-M", "prepared", "-f", "-"])
            .args(["-c", &self.clients.to_string(), "-j", &threads.to_string()])
            .args([how, &long.to_string(), "-D", &format!("rows={}", self.rows)])
            .arg(self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start pgbench")?;
        let mut script = pgbench.stdin.take().context("pgbench has no input")?;
        script
            .write_all(self.write.script(self.table).as_bytes())
            .await?;
        drop(script);
        let output = tokio::time::timeout(LIMIT, pgbench.wait_with_output())
            .await
            .context("pgbench does not end")??;
        // A write that failed because of us would be the worst of all figures.
        ensure!(
            output.status.success(),
            "pgbench failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        rate(&String::from_utf8_lossy(&output.stdout))
    }
}

fn rate(text: &str) -> Result<f64> {
    let told = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let figure = told.and_then(|rest| rest.split(' ').next());
    figure
        .with_context(|| format!("pgbench told no rate:\n{text}"))?
        .parse()
        .context("pgbench's rate is no number")
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_rate_is_the_one_without_the_time_to_connect() {
        let text = "latency average = 0.5 ms\ninitial connection time = 4.1 ms\ntps = 1999.5 (without initial connection time)\n";
        assert!(rate(text).is_ok_and(|rate| rate == 1999.5));
        assert!(rate("pgbench: error").is_err());
    }
}
