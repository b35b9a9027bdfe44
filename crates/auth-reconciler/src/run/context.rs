//! What every step of a reconciliation is done with.

use std::sync::Arc;

use auth_reconciler_core::verdict::Policy;
use deadpool_postgres::Pool;

use crate::docker::Engine;
use crate::postgres::record::RecordSettings;
use crate::probe::Prober;

/// What every step is done with.
#[derive(Debug)]
pub(crate) struct Context {
    /// Connections for short statements beside the looks.
    pub(crate) pool: Pool,
    /// The direct sessions of the looks.
    pub(crate) sessions: Pool,
    /// The engine of the containers, where one is asked.
    pub(crate) engine: Option<Arc<Engine>>,
    /// Asks the APIs.
    pub(crate) prober: Prober,
    /// Settings of the decision.
    pub(crate) policy: Policy,
    /// Settings of the record.
    pub(crate) record: RecordSettings,
}

impl Context {
    /// Gives up every connection: those that belong to one outage would each be found dead one by one.
    pub(crate) fn give_up_connections(&self) {
        self.pool.retain(|_, _| false);
        self.sessions.retain(|_, _| false);
    }
}
