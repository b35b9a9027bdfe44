//! The server and the stub APIs that all parts share.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Fleet};

use crate::machine::Machine;
use crate::options::{Options, Sizes};

/// Ends with everything in it when it is dropped.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) fleet: Fleet,
    pub(crate) sizes: Sizes,
    pub(crate) profile: bool,
    /// How many rows were given ports so far.
    given: AtomicUsize,
}

impl World {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        // Everything by default but for what measures, and for what would make one round unlike the next: a
        // checkpoint in the middle, or tables that do not fit.
        let mut settings = ClusterOptions::default()
            .set("track_commit_timestamp", "on")
            .set("max_connections", "200")
            .set("shared_buffers", "256MB")
            .set("max_wal_size", "8GB")
            .set("checkpoint_timeout", "1h");
        if options.profile {
            settings = settings
                .set("shared_preload_libraries", "pg_stat_statements")
                .set("pg_stat_statements.track", "all");
        }
        Ok(Self {
            cluster: Cluster::start(settings).await?,
            fleet: Fleet::start(options.sizes.stubs, Behaviour::Ready).await?,
            sizes: options.sizes.clone(),
            profile: options.profile,
            given: AtomicUsize::new(0),
        })
    }

    /// The ports of the stubs, beginning behind those that `rows` rows get now: a stub's turn comes again as late as can
    /// be, and by then nobody has a connection to it any more, as with as many instances.
    pub(crate) fn next_ports(&self, rows: usize) -> Vec<u16> {
        let mut ports = self.fleet.ports();
        let given = self.given.fetch_add(rows, Ordering::Relaxed);
        let all = ports.len().max(1);
        ports.rotate_left(given % all);
        ports
    }

    pub(crate) async fn machine(&self) -> Result<Machine> {
        Machine::look(&connect(&self.cluster.url("postgres")).await?).await
    }
}
