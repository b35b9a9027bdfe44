//! What the simulated daemon and its world do about containers.

use auth_reconciler_core::Cause;
use auth_reconciler_core::controller::{EngineNews, Input};
use auth_reconciler_core::follow::Sound;

use crate::daemon::{id, key};
use crate::dock::Fate;
use crate::sim::{Event, Op, Sim};
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
            // By chance its record meets a lock, and it comes again.
            for _ in 0..5 {
                if sim.db.said(i) != Some("client_ready") {
                    sim.apply(Op::Wait(60_000));
                    sim.settle();
                }
            }
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
        if !heard {
            return;
        }
        if !self.dock.as_ref().is_some_and(|dock| dock.heard(i)) {
            self.output_is_over(i);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.engine_says(EngineNews {
                instances: [(id(i), cause)].into(),
                ..EngineNews::default()
            });
        }
    }

    /// This engine comes into sight, or none is any more.
    pub(crate) fn sees(&mut self, engine: Option<usize>) {
        let Some(dock) = &mut self.dock else { return };
        // What was in sight goes out of it first.
        dock.seen = None;
        self.look_for_engine();
        if let Some(dock) = &mut self.dock
            && engine.is_some()
        {
            dock.seen = engine;
            self.look_for_engine();
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

    /// What the container of an instance writes of a request: as it comes, before its answer goes, or after that.
    pub(crate) fn chats(&mut self, i: usize, part: usize) {
        let chatter = self.world.chatter;
        let lines = chatter.lines[part];
        let Some(dock) = self.dock.as_ref().filter(|_| lines > 0) else {
            return;
        };
        let life = dock.ship(i).filter(|_| dock.runs(i)).map(|ship| ship.life);
        let heard = self.world.reaches(i);
        match (part, life) {
            (2, Some(life)) if heard => self.after(chatter.after, Event::Lines { i, life, lines }),
            (_, Some(_)) if heard => self.hear(i, lines),
            (_, _) => {}
        }
    }

    /// Its container writes lines that are about no request.
    pub(crate) fn says(&mut self, i: usize, lines: u32) {
        self.said(i, lines, 0);
    }

    /// Its container writes lines about a request.
    pub(crate) fn hear(&mut self, i: usize, lines: u32) {
        let with_path = if self.world.chatter.with_path {
            lines
        } else {
            0
        };
        self.said(i, lines, with_path);
    }

    fn said(&mut self, i: usize, lines: u32, with_path: u32) {
        let heard = self.dock.as_ref().is_some_and(|dock| dock.heard(i));
        let daemon = self.daemon.as_ref();
        if heard && daemon.is_some_and(|daemon| daemon.following.contains_key(&i)) {
            self.sound(i, Sound::Said { lines, with_path });
        }
    }

    pub(crate) fn sound(&mut self, i: usize, sound: Sound) {
        let sounds = [(key(i), vec![(self.moment(), sound)])].into();
        self.tell(Input::Sounds(sounds));
    }
}
