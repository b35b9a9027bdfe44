//! The two that are measured in turn: the floor and the daemon, each with a database of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::process::Process;
use uuid::Uuid;

use crate::floor;
use crate::place::Place;
use crate::usage;
use crate::world::World;

const RECORDED: Duration = Duration::from_secs(60);

enum Worker {
    Floor(Process),
    Daemon(Daemon),
}

/// One of the two.
pub(crate) struct Side {
    // Ends before its database.
    worker: Worker,
    pub(crate) place: Place,
}

/// Processor seconds used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) worker: f64,
    pub(crate) server: f64,
}

impl Side {
    pub(crate) async fn floor(world: &World) -> Result<Self> {
        let place = Place::open(world).await?;
        let worker = Worker::Floor(floor::start(&place).await?);
        place.forget_statements(world).await?;
        Ok(Self { worker, place })
    }

    /// The daemon, which has looked at one row that waits for its key and at one that is ready.
    pub(crate) async fn daemon(world: &World) -> Result<Self> {
        let mut place = Place::open(world).await?;
        let daemon = Daemon::start(&place.database, &[]).await?;
        let (waiting, ready) = (Uuid::new_v4(), Uuid::new_v4());
        let ports = world.fleet.ports();
        let port = ports.first().copied();
        place
            .table
            .insert(&place.client, waiting, port, None)
            .await?;
        let key = Some("a-key");
        place.table.insert(&place.client, ready, port, key).await?;
        let recorded = format!(
            "select count(*) = 2 from auth_reconciler.instance
             where (instance_id, reason) in (('{waiting}', 'AwaitingApiKey'), ('{ready}', 'Ready'))"
        );
        place
            .until("the first two records", &recorded, RECORDED)
            .await?;
        place.templates = Some((waiting, ready));
        place.forget_statements(world).await?;
        Ok(Self {
            worker: Worker::Daemon(daemon),
            place,
        })
    }

    /// Both, the floor first.
    pub(crate) async fn both(world: &World) -> Result<[Self; 2]> {
        Ok([Self::floor(world).await?, Self::daemon(world).await?])
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.worker {
            Worker::Floor(process) => process.pid(),
            Worker::Daemon(daemon) => daemon.pid(),
        }
    }

    pub(crate) async fn used(&self, world: &World) -> Result<Used> {
        let own = self.place.own_processes().await?;
        let server = world.cluster.pid().context("the server has ended")?;
        Ok(Used {
            worker: usage::seconds(self.pid())?,
            server: usage::server_seconds(server, &own)?,
        })
    }

    /// Ends the daemon in good order and starts it again; the time from its start until it serves.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let Worker::Daemon(daemon) = &self.worker else {
            bail!("the floor has nothing to find again");
        };
        daemon.sigterm()?;
        daemon.ended().await?;
        let begin = Instant::now();
        let daemon = Daemon::start(&self.place.database, &[]).await?;
        let needed = begin.elapsed();
        self.worker = Worker::Daemon(daemon);
        Ok(needed)
    }

    pub(crate) async fn close(self, world: &World) -> Result<()> {
        drop(self.worker);
        self.place.close(world).await
    }
}

/// The order of a round: who was first the last time is second now.
pub(crate) fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}
