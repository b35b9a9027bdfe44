//! Whether instances answer where the settings say that they are.

use deadpool_postgres::Pool;

use super::{Finding, Report};
use crate::postgres::store;
use crate::settings::RunSettings;
use crate::witness::{self, REMEDY, SOME, Testimony};

impl Report {
    /// Asks up to three rows that count as ready.
    pub(super) async fn instances(&mut self, pool: &Pool, run: &RunSettings) {
        let prober = &run.prober;
        if prober.url.needs_container() {
            let what = "not asked: only the running daemon knows the addresses of containers";
            return self.line("instances", Finding::Fine(what.to_owned()));
        }
        let asked = async {
            let (tables, _) = store::watched_tables(pool).await?;
            witness::ask_some(pool, prober, &tables).await
        };
        let Some(said) = self.asked("instances", asked.await) else {
            return;
        };
        self.line("instances", judge(&said, &prober.url.to_string()));
    }
}

fn judge(said: &[Testimony], url: &str) -> Finding {
    if said.is_empty() {
        return Finding::Fine("none counts as ready, so none was asked".to_owned());
    }
    let answered = said.iter().filter(|one| one.answer.in_own_words()).count();
    if answered > 0 {
        return Finding::Fine(format!(
            "{answered} of {} that count as ready answer at {url}",
            said.len()
        ));
    }
    let what = format!(
        "none of {} that count as ready answers at {url}: {}",
        said.len(),
        witness::tried(said)
    );
    let remedy = REMEDY.to_owned();
    // One or two may be down by themselves.
    if said.len() < SOME {
        Finding::Warning { what, remedy }
    } else {
        Finding::Wrong { what, remedy }
    }
}
