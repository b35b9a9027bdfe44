//! What the column may say once it is quiet.

use auth_reconciler_core::{AuthStatus, Reason};

use crate::sim::Sim;
use crate::world::Api;

impl Sim {
    /// What is wrong with what a row says; `None` if it says what is so.
    pub(crate) fn wrong(&self, i: usize) -> Option<String> {
        let said = self.db.said(i);
        let right = self.right(i);
        if said == right || self.excused(i, said) {
            return None;
        }
        Some(format!(
            "instance {i} says {said:?}, right is {right:?}: {:?}, {:?}, container {:?}, in doubt {}, {:?}",
            self.world.apis[i],
            self.db.rows[i],
            self.dock.as_ref().and_then(|dock| dock.ship(i)),
            self.in_doubt(),
            self.db.memory(i),
        ))
    }

    pub(crate) fn in_doubt(&self) -> bool {
        let daemon = self.daemon.as_ref();
        daemon.is_some_and(|daemon| daemon.controller.in_doubt())
    }

    fn right(&self, i: usize) -> Option<&'static str> {
        let row = self.db.rows[i].as_ref()?;
        if self.db.instances[i].is_none() {
            // Nothing ever happened to it, so nobody was asked to look: it says what it said.
            return Some("pending");
        }
        if let Some(status) = self.truth_of_container(i) {
            return Some(status);
        }
        if row.key.is_none() {
            return Some("pending");
        }
        match self.api(i) {
            Api::Ready => Some("client_ready"),
            Api::NotConnected | Api::Error | Api::Rejecting => Some("failed"),
            Api::Silent | Api::Hanging | Api::Odd if self.was_ready(i) => Some("failed"),
            Api::Silent | Api::Hanging | Api::Odd => Some("pending"),
        }
    }

    fn api(&self, i: usize) -> Api {
        if self.dock.as_ref().is_some_and(|dock| !dock.runs(i)) {
            Api::Silent
        } else {
            self.world.apis[i]
        }
    }

    fn was_ready(&self, i: usize) -> bool {
        let memory = self.db.memory(i);
        memory.is_some_and(|memory| memory.ready_at.is_some())
    }

    /// What the container alone says, once it is quiet; `None` where the API decides.
    fn truth_of_container(&self, i: usize) -> Option<&'static str> {
        let dock = self.dock.as_ref()?;
        let recorded = self
            .db
            .memory(i)
            .and_then(|memory| memory.sighting.as_ref());
        match dock.shown_state(i) {
            Some("running") => None,
            Some("created") => Some("pending"),
            Some(_) => Some("failed"),
            None if dock.knows(recorded) => Some("failed"),
            None => None,
        }
    }

    /// What may stand though it is not so.
    fn excused(&self, i: usize, said: Option<&str>) -> bool {
        let Some(known) = &self.db.instances[i] else {
            // Its change could not be logged, and since it was found it is doubted that anybody could answer.
            return self.in_doubt() && !self.api(i).speaks();
        };
        let (memory, api) = (&known.memory, self.api(i));
        // Without a key it waits for one, if no engine was in sight when that was found.
        if known.settled && memory.reason == Some(Reason::AwaitingApiKey) {
            return said == Some("pending");
        }
        if self.truth_of_container(i).is_some() {
            return false;
        }
        // A final verdict is not probed by the clock: an API that went bad without a word to anybody is found by
        // the next event.
        let went_bad = known.settled && memory.status == Some(AuthStatus::ClientReady);
        // Its container runs where nobody sees it, and no event tells of it.
        let elsewhere = known.settled
            && memory.reason == Some(Reason::AwaitingContainer)
            && self
                .dock
                .as_ref()
                .is_some_and(|dock| dock.ship(i).is_some());
        // Nobody says that its key is right now: its refusal was final.
        let refused = known.settled && memory.reason == Some(Reason::ApiKeyRejected);
        if said == memory.status.map(AuthStatus::as_str) && (went_bad || elsewhere || refused) {
            return true;
        }
        if api.speaks() {
            return false;
        }
        // Where nobody answers and nothing is known, what stands is left, whoever wrote it; in doubt in any case.
        let left = said != Some("client_ready") && !self.was_ready(i);
        let ours = memory.established && memory.status.map(AuthStatus::as_str) == said;
        self.in_doubt() || left || ours
    }

    /// In doubt at the end nobody answers who would end it.
    pub(crate) fn unjustified_doubt(&self) -> Option<usize> {
        let asked = |i: &usize| {
            let known = self.db.instances[*i].as_ref();
            let row = self.db.rows[*i].as_ref();
            let open = known.is_some_and(|known| {
                !known.settled || known.memory.status == Some(AuthStatus::ClientReady)
            });
            open && row.is_some_and(|row| row.key.is_some())
                && self.truth_of_container(*i).is_none()
                && self.api(*i).speaks()
        };
        (0..self.instances()).find(|i| self.in_doubt() && asked(i))
    }

    /// Changes that nobody has answered for: in a doubt those of the silent wait for its end.
    pub(crate) fn unobserved(&self) -> usize {
        let answers = |i: &usize| !self.in_doubt() || self.api(*i).speaks();
        let waiting = |i: usize| self.db.log[i].len();
        (0..self.instances()).filter(answers).map(waiting).sum()
    }

    pub(crate) fn timers_of_final_instances(&self) -> usize {
        let mut known = self.db.instances.iter().flatten();
        let all_final = known.all(|known| known.settled);
        match &self.daemon {
            Some(daemon) if all_final => daemon.controller.armed(),
            Some(_) | None => 0,
        }
    }
}
