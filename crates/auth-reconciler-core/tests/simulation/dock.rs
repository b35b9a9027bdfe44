//! The containers of the simulated world, and the engine that shows them.
//!
//! What happens to a container is told at once if the engine is in sight; otherwise nobody hears of it, and when the
//! engine is back a list is compared with what was recorded.

use auth_reconciler_core::Cause;
use auth_reconciler_core::container::{self, Container, Inspected, Listed, Sighting};
use chrono::{DateTime, TimeDelta, Utc};

const ENGINE: &str = "the engine";

/// What may happen to the container of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Create,
    Start,
    Die,
    Pause,
    Unpause,
    Remove,
}

#[derive(Clone, Debug)]
pub(crate) struct Ship {
    id: u64,
    life: u64,
    state: &'static str,
}

/// The containers of all instances; `None` for a world without an engine.
#[derive(Debug)]
pub(crate) struct Dock {
    pub(crate) in_sight: bool,
    ships: Vec<Option<Ship>>,
    numbers: u64,
}

impl Dock {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            in_sight: true,
            ships: vec![None; instances],
            numbers: 0,
        }
    }

    /// Lets it happen, if it can; returns the event.
    pub(crate) fn happen(&mut self, i: usize, fate: Fate) -> Option<Cause> {
        self.numbers += 1;
        let number = self.numbers;
        let ship = &mut self.ships[i];
        let state = ship.as_ref().map(|ship| ship.state);
        match (fate, state) {
            (Fate::Create, None | Some("exited")) => {
                *ship = Some(Ship {
                    id: number,
                    life: 0,
                    state: "created",
                });
                Some(Cause::Created)
            }
            (Fate::Start, Some("created" | "exited")) => {
                let ship = ship.as_mut()?;
                ship.life = number;
                ship.state = "running";
                Some(Cause::Started)
            }
            (Fate::Die, Some("running" | "paused")) => {
                ship.as_mut()?.state = "exited";
                Some(Cause::Died)
            }
            (Fate::Pause, Some("running")) => {
                ship.as_mut()?.state = "paused";
                Some(Cause::Paused)
            }
            (Fate::Unpause, Some("paused")) => {
                ship.as_mut()?.state = "running";
                Some(Cause::Unpaused)
            }
            (Fate::Remove, Some(_)) => {
                *ship = None;
                Some(Cause::Destroyed)
            }
            _ => None,
        }
    }

    pub(crate) fn state(&self, i: usize) -> Option<&'static str> {
        self.ships[i].as_ref().map(|ship| ship.state)
    }

    /// What a look sees.
    pub(crate) fn sight(
        &self,
        i: usize,
        recorded: Option<&Sighting>,
    ) -> (Container, Option<Sighting>) {
        if !self.in_sight {
            return (Container::Unknown, recorded.cloned());
        }
        let shown = self.ships[i].as_ref().map(|ship| Inspected {
            sighting: Sighting {
                engine: ENGINE.to_owned(),
                id: ship.id.to_string(),
                name: String::new(),
                state: ship.state.to_owned(),
                started_at: (ship.life > 0).then(|| moment(ship.life)),
                network: ship.life.to_string(),
            },
            exit_code: i64::from(ship.state == "exited"),
            out_of_memory: false,
        });
        container::resolve(ENGINE, recorded, shown, |_| None)
    }

    /// Whether a list shows this instance otherwise than it was recorded.
    pub(crate) fn differs(&self, i: usize, recorded: Option<&Sighting>) -> bool {
        let listed: Vec<Listed> = self.ships[i]
            .iter()
            .map(|ship| Listed {
                id: ship.id.to_string(),
                state: ship.state.to_owned(),
                created: 0,
                network: ship.life.to_string(),
            })
            .collect();
        container::differs(ENGINE, recorded, &listed)
    }
}

/// By a clock of the engine's own, far from the database's.
fn moment(life: u64) -> DateTime<Utc> {
    let life = i64::try_from(life).expect("fits");
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(life)
}
