//! `auth-reconciler health`: whether the daemon beside which it is run does its work, in one line and an exit code, for
//! the health check of a container and for scripts.
//!
//! The daemon opens no port, so PostgreSQL is asked: it knows which sessions live and who holds the lock of whoever leads.
//! Which daemon is meant follows from where the command is run. Each session of a daemon bears the name of its host,
//! which in a container is the container's own, so a check that runs in the same container finds exactly that daemon.
//! Where several run under one host name, the number of the process tells them apart.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres_url::Database;
use tokio_postgres::types::{ToSql, Type};

use super::{Unwritten, complain, say};
use crate::exit::Exit;
use crate::postgres::pool;
use crate::settings::HealthSettings;
use crate::telemetry::chain;

/// Longest time for the whole of it. Docker gives a check 30 s by default, and one that is cut off says nothing.
const LIMIT: Duration = Duration::from_secs(8);

/// One daemon as the server's list of sessions shows it.
#[derive(Clone, Debug)]
struct Process {
    number: String,
    version: String,
    listens: bool,
    leads: bool,
    /// How long ago its last statement began, where this role may see it.
    silent_for: Option<Duration>,
}

/// Asks, and says what came of it in one line.
///
/// # Errors
/// That line could not be written.
pub(crate) async fn check(
    database: &Database,
    settings: &HealthSettings,
) -> Result<Exit, Unwritten> {
    let host = pool::host();
    let number = settings.process.map(|number| number.to_string());
    let asked = tokio::time::timeout(LIMIT, processes(database, &host, number.as_deref()));
    let found = match asked.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            complain(format_args!(
                "PostgreSQL could not be asked: {}",
                chain(error.as_ref())
            ));
            return Ok(Exit::Unanswered);
        }
        Err(_) => {
            complain(format_args!(
                "PostgreSQL could not be asked: {} does not answer within {LIMIT:?}",
                database.describe()
            ));
            return Ok(Exit::Unanswered);
        }
    };
    match judge(&found, settings) {
        Ok(words) => {
            say(format_args!("{words} on {host}"))?;
            Ok(Exit::Well)
        }
        Err(words) => {
            complain(format_args!("{words} on {host}"));
            Ok(Exit::Trouble)
        }
    }
}

async fn processes(database: &Database, host: &str, number: Option<&str>) -> Result<Vec<Process>> {
    let pool = pool::open(&database.for_reading(), 1, pool::Session::Command)?;
    let rows = pool::with(&pool, "see who leads", async |client| {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&host, Type::TEXT), (&number, Type::TEXT)];
        let query = include_str!("../../../../sql/queries/processes_of_host.sql");
        client.query_typed(query, &parameters).await
    })
    .await
    .with_context(|| database.describe())?;
    let process = |row: &tokio_postgres::Row| Process {
        number: row.get("process"),
        version: row.get("version"),
        listens: row.get("listens"),
        leads: row.get("leads"),
        silent_for: row
            .get::<_, Option<f64>>("silent_for")
            // The clock of the server may have been set back.
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
    };
    Ok(rows.iter().map(process).collect())
}

/// What is said of these daemons, the one that counts first: `Ok` if it leads or stands by.
fn judge(found: &[Process], settings: &HealthSettings) -> Result<String, String> {
    let Some(process) = found.first() else {
        return Err("no daemon has a session in this database".to_owned());
    };
    let silent_for = process.silent_for.map_or_else(
        || "an unknown time".to_owned(),
        |silent| format!("{} s", silent.as_secs()),
    );
    let Process {
        number, version, ..
    } = process;
    let patience = if process.leads {
        settings.leading
    } else {
        settings.standing_by
    };
    let moves = process.silent_for.is_none_or(|silent| silent <= patience);
    let state = match process {
        Process { listens: false, .. } => {
            "hears nothing, for its listening session has ended, and makes another"
        }
        Process { .. } if !moves => "does not move: end it, and have it started again",
        Process { leads: true, .. } => "leads",
        Process { leads: false, .. } => "stands by",
    };
    let words =
        format!("{state} (last statement {silent_for} ago): process {number}, version {version},");
    if process.listens && moves {
        Ok(words)
    } else {
        Err(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: HealthSettings = HealthSettings {
        process: None,
        leading: Duration::from_secs(50),
        standing_by: Duration::from_secs(40),
    };

    fn process(listens: bool, leads: bool, silent_for: Option<u64>) -> Process {
        Process {
            number: "7".to_owned(),
            version: "1.2.3".to_owned(),
            listens,
            leads,
            silent_for: silent_for.map(Duration::from_secs),
        }
    }

    #[test]
    fn who_leads_or_stands_by_is_well() {
        let said = |leads, silent| judge(&[process(true, leads, silent)], &SETTINGS);
        assert_eq!(
            said(true, Some(3)).unwrap(),
            "leads (last statement 3 s ago): process 7, version 1.2.3,"
        );
        assert!(said(false, Some(40)).unwrap().starts_with("stands by "));
        assert!(said(true, None).unwrap().contains("an unknown time ago"));
    }

    #[test]
    fn who_has_no_session_hears_nothing_or_does_not_move_is_not() {
        assert!(judge(&[], &SETTINGS).unwrap_err().starts_with("no daemon"));
        let deaf = judge(&[process(false, false, Some(1))], &SETTINGS).unwrap_err();
        assert!(deaf.starts_with("hears nothing"), "{deaf}");
        for (leads, silent) in [(true, 51), (false, 41)] {
            let frozen = judge(&[process(true, leads, Some(silent))], &SETTINGS).unwrap_err();
            assert!(frozen.starts_with("does not move"), "{frozen}");
        }
    }
}
