//! What the simulated daemon and its world do about containers.

use std::time::Duration;

use auth_reconciler_core::Cause;

use crate::dock::Fate;
use crate::parts::{Api, Op};
use crate::sim::{INSTANCES, Sim};

impl Sim {
    /// A world in which all but the last instance are containers that were found ready.
    pub(crate) fn with_engine() -> Self {
        let mut sim = Self::docked();
        sim.apply(Op::Start);
        for i in 0..INSTANCES - 1 {
            sim.apply(Op::NewKey(i));
            sim.apply(Op::Container(i, Fate::Create));
            sim.apply(Op::Container(i, Fate::Start));
            sim.settle();
            sim.apply(Op::World(i, Api::Ready));
            sim.apply(Op::Output(i));
            sim.settle();
            assert_eq!(sim.status(i).as_deref(), Some("client_ready"));
        }
        sim
    }

    pub(crate) fn container(&mut self, i: usize, fate: Fate) {
        let Some(dock) = &mut self.dock else {
            return;
        };
        let Some(cause) = dock.happen(i, fate) else {
            return;
        };
        if cause == Cause::Started {
            // A process that has just begun says nothing.
            self.world[i] = Api::Silent;
        }
        if dock.in_sight
            && let Some(daemon) = &mut self.daemon
        {
            daemon.rings.push((i, cause));
            if let Some(run) = daemon.runs.get_mut(&i) {
                run.overtaken |= cause.changes_container();
            }
        }
    }

    pub(crate) fn output(&mut self, i: usize) {
        let seen = self
            .dock
            .as_ref()
            .is_some_and(|dock| dock.in_sight && dock.state(i) == Some("running"));
        let converges = self.instances[i]
            .as_ref()
            .is_some_and(|instance| !instance.settled);
        if seen
            && converges
            && let Some(daemon) = &mut self.daemon
        {
            daemon.rings.push((i, Cause::Output));
        }
    }

    /// The list of an engine that came into sight, against what was recorded.
    pub(crate) fn compare(&mut self) {
        let now = Duration::from_millis(self.now);
        let (Some(dock), Some(daemon)) = (&self.dock, &mut self.daemon) else {
            return;
        };
        if !dock.in_sight {
            return;
        }
        for (i, instance) in self.instances.iter().enumerate() {
            // One that runs may have begun without the engine, and is not recorded yet.
            let differs = instance
                .as_ref()
                .is_some_and(|known| dock.differs(i, known.memory.sighting.as_ref()));
            if differs || daemon.runs.contains_key(&i) {
                daemon.queue.wake(i, Cause::Compared, now);
            }
        }
    }

    /// What the container alone says, once it is quiet; `None` where the API decides.
    pub(crate) fn truth_of_container(&self, i: usize) -> Option<&'static str> {
        let known = self.instances[i]
            .as_ref()
            .is_some_and(|known| known.memory.sighting.is_some());
        match self.dock.as_ref()?.state(i) {
            Some("running") => None,
            Some("created") => Some("pending"),
            Some(_) => Some("failed"),
            None if known => Some("failed"),
            None => None,
        }
    }
}
