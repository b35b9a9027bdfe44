//! Fleets by the clock: every probe takes its time, instances have events of their own, and a manager like the
//! real one writes what it found out a while ago.

use std::time::Duration;

use crate::dock::Fate;
use crate::rng::Rng;
use crate::sim::{Event, Op, Sim};
use crate::world::{Api, Net};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

/// How often the manager's loop comes by.
const LOOP: u64 = 15 * SECOND;

impl Sim {
    /// A fleet that was found ready, each with an event of its own every five minutes, and the manager.
    pub(crate) fn fleet(seed: u64, instances: usize, docked: bool) -> Self {
        let base = if docked {
            Self::docked(instances)
        } else {
            Self::new(instances)
        };
        let mut sim = Self {
            timed: true,
            slots: 32,
            rng: Rng::new(seed),
            ..base
        };
        sim.apply(Op::Start);
        for i in 0..instances {
            sim.apply(Op::Container(i, Fate::Create(0)));
            sim.apply(Op::Container(i, Fate::Start));
            sim.apply(Op::World(i, Api::Ready));
            sim.apply(Op::NewKey(i));
            let first = MINUTE + SECOND + sim.rng.below(5 * MINUTE);
            sim.after(first, Event::Own(i, 5 * MINUTE));
        }
        sim.after(LOOP, Event::Manager);
        sim.run_until(MINUTE);
        sim.assert_normal();
        sim
    }

    /// At a moment from now on.
    pub(crate) fn at(&mut self, ms: u64, op: Op) {
        self.after(ms, Event::Op(op));
    }

    /// Nothing happens by itself any more, and whatever is under way comes to its end.
    pub(crate) fn still(&mut self) {
        self.agenda.retain(|_, event| {
            !matches!(event, Event::Own(..) | Event::Manager | Event::Writes(..))
        });
        self.seconds(6);
    }

    /// Every row says what is so, and nothing is left to be answered for.
    pub(crate) fn assert_normal(&self) {
        let wrong: Vec<String> = (0..self.instances())
            .filter_map(|i| self.wrong(i))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} of {} rows are wrong at {} s, the first: {}",
            wrong.len(),
            self.instances(),
            self.now / SECOND,
            wrong[0]
        );
        assert!(!self.in_doubt(), "it is still doubted");
        assert_eq!(self.unobserved(), 0, "every change was answered for");
    }

    /// The manager's loop: it looks at what it has not written for a while, and writes what it found later.
    pub(crate) fn manager_looks(&mut self) {
        for i in 0..self.instances() {
            let Some(row) = &self.db.rows[i] else {
                continue;
            };
            let age = self.now - row.updated;
            let skipped = match row.status.as_deref() {
                Some("failed") => age < 5 * MINUTE,
                Some("client_ready") => age < 10 * MINUTE,
                Some(_) | None => false,
            };
            if skipped || row.key.is_none() {
                continue;
            }
            let runs = self.dock.as_ref().is_none_or(|dock| dock.runs(i));
            let (status, took) = match self.world.apis[i] {
                _ if self.manager_shares_fault && self.world.net != Net::Fine => {
                    (self.rng.of(&["pending", "failed"]), 10 * SECOND)
                }
                _ if !runs => ("failed", 5),
                Api::Silent | Api::Rejecting => ("failed", 5),
                Api::Hanging => ("pending", 10 * SECOND),
                Api::Odd | Api::Error | Api::NotConnected => ("pending", 10),
                Api::Ready => ("client_ready", 10),
            };
            // It is busy with others meanwhile.
            let late = self.rng.below(200);
            self.after(took + late, Event::Writes(i, status));
        }
        self.after(LOOP, Event::Manager);
    }

    /// Without comparing.
    pub(crate) fn manager_writes(&mut self, i: usize, status: &'static str) {
        self.write_status(i, status);
    }

    pub(crate) fn minutes(&mut self, minutes: u64) {
        self.run_until(self.now + minutes * MINUTE);
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.run_until(self.now + Duration::from_secs(seconds).as_secs() * SECOND);
    }
}
