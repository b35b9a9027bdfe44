//! Carries out the work of a term in the database, beside the reconciliations.

use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::Key;
use auth_reconciler_core::container::{self, Listed};
use auth_reconciler_core::controller::{Done, Echo, EngineStatus, Failure, Input, Note, Work};
use tracing::debug;
use uuid::Uuid;

use super::context::Context;
use super::lead::Leader;
use super::{notice, owed, scan};
use crate::docker::Engine;
use crate::postgres::ear::{self, Doorbell, EarError};
use crate::postgres::error::StoreError;
use crate::postgres::inbox::Inbox;
use crate::postgres::ready::ready_instances;
use crate::postgres::tables::{Expected, Tables};
use crate::postgres::{faults, store};
use crate::telemetry::chain;

/// What of a term its work needs.
#[derive(Debug)]
pub(super) struct Place {
    context: Arc<Context>,
    epoch: Uuid,
    inbox: Arc<Inbox>,
    doorbell: Doorbell,
    expected: Arc<Expected>,
    engine: Option<Arc<Engine>>,
    echo_limit: Duration,
}

/// What came of it: for the controller, and for the shell.
pub(super) struct Outcome {
    /// For the controller.
    pub(super) input: Input,
    /// The watched tables as a scan found them.
    pub(super) tables: Option<(Uuid, Tables, Expected)>,
}

impl Place {
    pub(super) fn of(leader: &Leader, context: &Arc<Context>, echo_limit: Duration) -> Self {
        Self {
            context: Arc::clone(context),
            epoch: leader.epoch,
            inbox: Arc::clone(&leader.inbox),
            doorbell: leader.doorbell.clone(),
            expected: Arc::clone(&leader.expected),
            engine: context.engine.clone(),
            echo_limit,
        }
    }

    /// Does this work of the term, and returns what came of it.
    pub(super) async fn carry_out(self, work: Work) -> Outcome {
        let (context, epoch) = (&self.context, self.epoch);
        let mut tables = None;
        let done = match work {
            Work::Scan(wanted) => {
                let result = match scan::scan(context, epoch, wanted).await {
                    Ok(scanned) => {
                        tables = Some((epoch, scanned.tables, scanned.expected));
                        Ok(scanned.backlog)
                    }
                    Err(failure) => Err(Failure::from(&failure)),
                };
                Done::Scanned { wanted, result }
            }
            Work::Echo => Done::Echoed(self.echo().await.map_err(|failure| chain(&failure))),
            Work::Compare(list) => {
                let result = self.compare(list).await;
                Done::Compared(result.map_err(|failure| Failure::from(&failure)))
            }
            Work::WorkOff => Done::WorkedOff(owed::round(&context.pool, epoch).await),
            Work::FindReady => Done::FoundReady(self.find_ready().await),
            Work::NoteEngine(status) => Done::NotedEngine(self.note_engine(status).await),
            Work::NoteTrouble(note) => Done::NotedTrouble(self.note_trouble(note).await),
            Work::Hush => Done::Hushed(told(self.doorbell.silence().await)),
            Work::Resound => Done::Resounds(told(self.doorbell.resound().await)),
            Work::AwaitSilent => Done::Awaited(told(store::await_silent(&context.pool).await)),
        };
        Outcome {
            input: Input::Done { epoch, done },
            tables,
        }
    }

    async fn echo(&self) -> Result<Echo, EarError> {
        let pool = &self.context.pool;
        let last_id = ear::echo_of_log(pool, &self.inbox, self.echo_limit).await?;
        debug!("echo heard");
        Ok(Echo {
            last_id,
            faults: faults::faults(pool, &self.expected).await?,
        })
    }

    async fn compare(&self, list: Vec<(Uuid, Listed)>) -> Result<Vec<Key>, StoreError> {
        let Some(engine) = &self.engine else {
            return Ok(Vec::new());
        };
        let recorded = store::recorded_containers(&self.context.pool).await?;
        let compared = container::compare(engine.id(), list, recorded);
        if compared.shows_ours {
            engine.note_ours();
        }
        debug!(
            instances = compared.concerned.len(),
            "containers compared with the record"
        );
        Ok(compared.concerned)
    }

    async fn find_ready(&self) -> Option<Vec<Key>> {
        match ready_instances(&self.context.pool).await {
            Ok(keys) => Some(keys),
            Err(failure) => {
                debug!(error = chain(&failure), "could not find out whom to ask");
                None
            }
        }
    }

    async fn note_engine(&self, status: Option<EngineStatus>) -> bool {
        let address = self
            .engine
            .as_ref()
            .map_or_else(|| "off".to_owned(), |engine| engine.address().to_string());
        let (seen, why) = match &status {
            Some(EngineStatus::InSight) => (true, None),
            Some(EngineStatus::OutOfSight(why)) => (false, Some(why.as_str())),
            None => (false, None),
        };
        let pool = &self.context.pool;
        // False: another process leads, and it has told its own.
        let noted = store::note_engine(pool, self.epoch, &address, why, seen).await;
        if let Err(failure) = &noted {
            debug!(
                error = chain(failure),
                "could not note whether the engine is seen"
            );
        }
        noted.is_ok()
    }

    async fn note_trouble(&self, note: Note) -> bool {
        let url = &self.context.prober.url;
        let detail = note.trouble.map(|trouble| notice::words(&trouble, url));
        let pool = &self.context.pool;
        // False: another process leads, and tells its own.
        let noted = store::note_trouble(pool, self.epoch, note.problem, detail.as_deref()).await;
        if let Err(failure) = &noted {
            debug!(
                error = chain(failure),
                "could not note what keeps us from knowing"
            );
        }
        noted.is_ok()
    }
}

fn told<T>(done: Result<T, StoreError>) -> Result<T, Failure> {
    done.map_err(|failure| Failure::from(&failure))
}
