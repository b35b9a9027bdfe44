//! The containers of the simulated world, and the engines that show them.
//!
//! There are two engines, and the daemon sees one of them or none. What happens to a container is told at once if
//! its engine is in sight; otherwise nobody hears of it, and when an engine comes into sight its list is compared
//! with what was recorded.

use auth_reconciler_core::Cause;
use auth_reconciler_core::container::{self, Container, Inspected, Listed, Sighting};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::daemon::id;

const ENGINES: [&str; 2] = ["the engine", "another engine"];

/// What may happen to the container of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is made, on this engine.
    Create(usize),
    Start,
    Die,
    Pause,
    Unpause,
    Remove,
}

#[derive(Clone, Debug)]
pub(crate) struct Ship {
    id: u64,
    engine: usize,
    pub(crate) life: u64,
    state: &'static str,
}

/// The containers of all instances.
#[derive(Debug)]
pub(crate) struct Dock {
    /// Which engine the daemon sees.
    pub(crate) seen: Option<usize>,
    /// Which of them have shown this process a container of ours.
    shown: [bool; ENGINES.len()],
    ships: Vec<Option<Ship>>,
    numbers: u64,
}

impl Dock {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            seen: Some(0),
            shown: [false; ENGINES.len()],
            ships: vec![None; instances],
            numbers: 0,
        }
    }

    /// Lets it happen, if it can; returns the event, and whether the daemon hears it.
    pub(crate) fn happen(&mut self, i: usize, fate: Fate) -> Option<(Cause, bool)> {
        self.numbers += 1;
        let number = self.numbers;
        let ship = &mut self.ships[i];
        let state = ship.as_ref().map(|ship| ship.state);
        let before = ship.as_ref().map(|ship| ship.engine);
        let cause = match (fate, state) {
            (Fate::Create(engine), None | Some("exited")) => {
                *ship = Some(Ship {
                    id: number,
                    engine,
                    life: 0,
                    state: "created",
                });
                Cause::Created
            }
            (Fate::Start, Some("created" | "exited")) => {
                let ship = ship.as_mut()?;
                ship.life = number;
                ship.state = "running";
                Cause::Started
            }
            (Fate::Die, Some("running" | "paused")) => {
                ship.as_mut()?.state = "exited";
                Cause::Died
            }
            (Fate::Pause, Some("running")) => {
                ship.as_mut()?.state = "paused";
                Cause::Paused
            }
            (Fate::Unpause, Some("paused")) => {
                ship.as_mut()?.state = "running";
                Cause::Unpaused
            }
            (Fate::Remove, Some(_)) => {
                *ship = None;
                Cause::Destroyed
            }
            _ => return None,
        };
        let engine = ship.as_ref().map(|ship| ship.engine).or(before);
        // One that is made in place of another takes that away, too.
        let heard = self.seen.is_some() && (self.seen == engine || self.seen == before);
        Some((cause, heard))
    }

    /// A daemon that starts has not been shown anything yet.
    pub(crate) fn forget(&mut self) {
        self.shown = [false; ENGINES.len()];
    }

    pub(crate) fn ship(&self, i: usize) -> Option<&Ship> {
        self.ships[i].as_ref()
    }

    /// Whether its process serves.
    pub(crate) fn runs(&self, i: usize) -> bool {
        self.ship(i).is_some_and(|ship| ship.state == "running")
    }

    /// The state of its container where the daemon sees it; `None` where that engine shows none.
    pub(crate) fn shown_state(&self, i: usize) -> Option<&'static str> {
        self.seen_ship(i).map(|ship| ship.state)
    }

    /// Whether it runs and can be heard.
    pub(crate) fn heard(&self, i: usize) -> bool {
        self.shown_state(i) == Some("running")
    }

    /// Whether this was seen on the engine that is in sight now.
    pub(crate) fn knows(&self, recorded: Option<&Sighting>) -> bool {
        let engine = self.seen.map(|seen| ENGINES[seen]);
        recorded.is_some_and(|known| Some(known.engine.as_str()) == engine)
    }

    /// Whether the engine in sight has shown a container of ours.
    pub(crate) fn has_shown_ours(&self) -> bool {
        self.seen.is_some_and(|seen| self.shown[seen])
    }

    fn seen_ship(&self, i: usize) -> Option<&Ship> {
        self.ships[i]
            .as_ref()
            .filter(|ship| self.seen == Some(ship.engine))
    }

    /// What a look sees.
    pub(crate) fn sight(
        &mut self,
        i: usize,
        recorded: Option<&Sighting>,
    ) -> (Container, Option<Sighting>) {
        let Some(seen) = self.seen else {
            return (Container::Unknown, recorded.cloned());
        };
        let shown = self.seen_ship(i).map(|ship| Inspected {
            sighting: Sighting {
                engine: ENGINES[seen].to_owned(),
                id: ship.id.to_string(),
                name: String::new(),
                state: ship.state.to_owned(),
                started_at: (ship.life > 0).then(|| moment(ship.life)),
                network: ship.life.to_string(),
            },
            exit_code: i64::from(ship.state == "exited"),
            out_of_memory: false,
        });
        self.shown[seen] |= shown.is_some();
        container::resolve(ENGINES[seen], recorded, shown, |_| None)
    }

    /// The identity of the engine in sight.
    pub(crate) fn engine(&self) -> Option<&'static str> {
        self.seen.map(|seen| ENGINES[seen])
    }

    /// What it lists.
    pub(crate) fn list(&self) -> Vec<(Uuid, Listed)> {
        let listed = (0..self.ships.len()).filter_map(|i| {
            let ship = self.seen_ship(i)?;
            let listed = Listed {
                id: ship.id.to_string(),
                state: ship.state.to_owned(),
                created: 0,
                network: ship.life.to_string(),
            };
            Some((id(i), listed))
        });
        listed.collect()
    }
}

/// By a clock of the engine's own, far from the database's.
fn moment(life: u64) -> DateTime<Utc> {
    let life = i64::try_from(life).expect("fits");
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(life)
}
