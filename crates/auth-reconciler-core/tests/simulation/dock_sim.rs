//! What the simulated daemon and its world do about containers.

use auth_reconciler_core::Cause;

use crate::dock::Fate;
use crate::sim::{Op, Sim};
use crate::world::Api;

impl Sim {
    /// A world in which all but the last instance are containers that were found ready.
    pub(crate) fn with_engine(instances: usize) -> Self {
        let mut sim = Self::docked(instances);
        sim.apply(Op::Start);
        for i in 0..instances - 1 {
            sim.apply(Op::NewKey(i));
            sim.apply(Op::Container(i, Fate::Create(0)));
            sim.apply(Op::Container(i, Fate::Start));
            sim.settle();
            sim.apply(Op::World(i, Api::Ready));
            sim.apply(Op::Wait(60_000));
            sim.settle();
            assert_eq!(sim.db.said(i), Some("client_ready"));
        }
        sim
    }

    pub(crate) fn container(&mut self, i: usize, fate: Fate) {
        let Some((cause, heard)) = self.dock.as_mut().and_then(|dock| dock.happen(i, fate)) else {
            return;
        };
        if cause == Cause::Started {
            // A process that has just begun says nothing.
            self.world.apis[i] = Api::Silent;
        }
        let Some(daemon) = self.daemon.as_mut().filter(|_| heard) else {
            return;
        };
        daemon.rings.push((i, cause));
        if !self.dock.as_ref().is_some_and(|dock| dock.heard(i)) {
            daemon.followers.over(&i);
        }
        if cause.changes_container()
            && let Some(run) = daemon.runs.get_mut(&i)
        {
            run.overtaken = true;
            self.give_up(i);
        }
    }

    /// The list of an engine that came into sight, against what was recorded.
    pub(crate) fn compare(&mut self) {
        let now = self.moment();
        let (Some(dock), Some(daemon)) = (&self.dock, &mut self.daemon) else {
            return;
        };
        if dock.seen.is_none() {
            return;
        }
        for i in 0..self.db.rows.len() {
            // One that runs may have begun without the engine, and is not recorded yet.
            let recorded = self.db.memory(i);
            let differs = self.db.instances[i].is_some()
                && dock.differs(i, recorded.and_then(|known| known.sighting.as_ref()));
            if differs || daemon.runs.contains_key(&i) {
                daemon.queue.wake(i, Cause::Compared, now);
            }
        }
    }

    /// Whether its API would say now that it is ready, were it asked with the key of its row.
    pub(crate) fn truly_ready(&self, i: usize) -> bool {
        let serves = self.dock.as_ref().is_none_or(|dock| dock.runs(i));
        let asked = self.db.rows[i]
            .as_ref()
            .is_some_and(|row| row.key.is_some());
        serves && asked && self.world.apis[i] == Api::Ready
    }
}
