//! What is known of our own way, and the same by the database's clock.

use chrono::TimeDelta;

use super::{Moment, Reading};
use crate::facts::Way;

/// By how much the process's clock and the database's may drift apart between two looks; where it is more, one of
/// them was set, or its machine slept.
const DRIFT: TimeDelta = TimeDelta::seconds(5);

/// What is known of our own way for one instance, at one moment; see [`crate::facts::Way`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When another instance was last answered in the words of its profile.
    pub witness_at: Option<Moment>,
    /// When the last round that has ended began.
    pub asked_at: Option<Moment>,
    /// There are too few to have a witness, and somebody was answered before.
    pub few: bool,
    /// Since when it is doubted.
    pub doubt_since: Option<Moment>,
    /// Streaks that began before prove nothing.
    pub void_until: Option<Moment>,
    /// When another instance was last answered that its key is refused; one that has spoken in its own words since
    /// does not count.
    pub refused_at: Option<Moment>,
    /// When the last doubt ended.
    pub doubt_ended: Option<Moment>,
    /// When a look last read the database's clock.
    pub clock: Option<Reading>,
}

impl Known {
    /// The same by the database's clock, for a look that reads it now. Where a clock has jumped since the last look,
    /// nothing that was counted before can be set against what is counted now.
    #[must_use]
    pub fn by_database(&self, reading: Reading) -> Way {
        let (at, time) = reading;
        let moment = |moment: Moment| {
            time - TimeDelta::from_std(at.saturating_sub(moment)).unwrap_or_default()
        };
        let way = Way {
            witness_at: self.witness_at.map(moment),
            asked_at: self.asked_at.map(moment),
            few: self.few,
            doubt_since: self.doubt_since.map(moment),
            void_until: self.void_until.map(moment),
            refused_at: self.refused_at.map(moment),
            doubt_ended: self.doubt_ended.map(moment),
        };
        if self.clock.is_some_and(|before| jumped(before, reading)) {
            Way {
                witness_at: None,
                asked_at: None,
                void_until: Some(time),
                ..way
            }
        } else {
            way
        }
    }
}

/// Whether one of the clocks has jumped between these two.
pub(super) fn jumped((at, time): Reading, (then_at, then_time): Reading) -> bool {
    let signed = |moment: Moment| TimeDelta::from_std(moment).unwrap_or_default();
    ((then_time - time) - (signed(then_at) - signed(at))).abs() > DRIFT
}
