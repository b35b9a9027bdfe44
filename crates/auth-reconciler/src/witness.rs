//! Where nobody answers: what was tried, and what to do, in the same words for doctor and for the doubt of the daemon.
//!
//! For the command doctor it asks instances that count as ready, and records nothing: whether *anybody* answers where
//! instances are probed is a fact about that address and our way to it.

use auth_reconciler_core::Answer;
use auth_reconciler_core::verdict::{self, Plan, Policy};
use deadpool_postgres::Pool;
use futures_util::future::join_all;

use crate::postgres::error::StoreError;
use crate::postgres::ready::ready_rows;
use crate::postgres::snapshot;
use crate::postgres::tables::Tables;
use crate::probe::{Instance, Prober};

/// What to do where nobody answers.
pub(crate) const REMEDY: &str = "set AUTH_RECONCILER_PROBE_URL to where their APIs are reached from here: http://localhost:{port} \
     on their host, http://wweb-{id}-api:{port} in a container on their network; if it is right, mend the network from \
     here to them";

/// How many are asked.
pub(crate) const SOME: usize = 3;

/// What one of them said.
#[derive(Debug)]
pub(crate) struct Testimony {
    /// Where it was asked: host and port.
    pub(crate) place: String,
    /// What came back.
    pub(crate) answer: Answer,
}

/// Asks up to three rows that say `client_ready`.
///
/// # Errors
/// The database failed.
pub(crate) async fn ask_some(
    pool: &Pool,
    prober: &Prober,
    tables: &Tables,
) -> Result<Vec<Testimony>, StoreError> {
    let mut looks = Vec::new();
    for key in ready_rows(pool).await? {
        if let Some(table) = tables.get(&key.watched_id) {
            looks.push((key, snapshot::read_one(pool, table, key).await?));
        }
    }
    let asked = looks.iter().filter_map(|(key, look)| {
        let id = key.instance_id;
        let row = look.facts.row.as_ref()?;
        let Plan::Probe { port, profile } = verdict::plan(&Policy::default(), &look.facts, 0.0)
        else {
            return None;
        };
        let api_key = row.api_key.as_ref().ok()?.as_ref()?;
        let instance = Instance {
            id,
            port,
            container: None,
        };
        let place = prober.url.for_instance(port, id, None).ok()?.authority();
        Some(async move {
            let answer = prober.ask(&instance, profile, api_key).await;
            Testimony { place, answer }
        })
    });
    Ok(join_all(asked.take(SOME)).await)
}

/// Where this instance was asked and what came of it, in words.
pub(crate) fn tried_one(prober: &Prober, instance: &Instance, answer: &Answer) -> String {
    let target = prober
        .url
        .for_instance(instance.port, instance.id, instance.container);
    let place = target.map_or_else(|_| "no address".to_owned(), |target| target.authority());
    format!("{place} {}", words(answer))
}

/// What was tried and what came of it, in words.
pub(crate) fn tried(said: &[Testimony]) -> String {
    let tried: Vec<_> = said
        .iter()
        .map(|one| format!("{} {}", one.place, words(&one.answer)))
        .collect();
    tried.join("; ")
}

/// What an answer was, as the end of a sentence that begins with where it was asked.
fn words(answer: &Answer) -> String {
    match answer {
        Answer::Ready
        | Answer::Authenticated
        | Answer::QrReady
        | Answer::NotConnected
        | Answer::ProviderError => "answers".to_owned(),
        Answer::Rejected { code } | Answer::Http { code } => {
            format!("answers with HTTP status {code}")
        }
        Answer::Malformed { what } => format!("answers otherwise than an instance does: {what}"),
        Answer::TooLarge { .. } => "answers with more than an instance does".to_owned(),
        Answer::Silent(silence) => silence.as_str().to_owned(),
        Answer::NotAsked(shortage) => format!("was not asked: {}", shortage.as_str()),
    }
}
