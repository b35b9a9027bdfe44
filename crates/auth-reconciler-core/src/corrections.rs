//! The budget that keeps two writers of one column from spinning.
//!
//! Each look that finds a foreign write of `auth_status` spends one correction. When a minute's
//! budget is spent the instance is *contested*: foreign writes alone no longer cause a look until a
//! growing hold is over, then it is corrected once, and so on until a hold passes in which nobody
//! wrote. Looks are what is counted, not writes: a writer that flips the value back and forth would
//! otherwise make us read and probe without end though there is nothing to correct.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::facts::columns;

/// The time that one budget is for.
const WINDOW: TimeDelta = TimeDelta::seconds(60);

/// More foreign writes than this within [`SLOW_WINDOW`] are a fight, however slow. A manager that comes back
/// to a hanging bot every five minutes makes eleven.
const SLOW_FIGHT: usize = 12;

/// So many of the last foreign writes are remembered: one more than is no fight yet.
pub(crate) const RECENT: usize = SLOW_FIGHT + 1;

/// The time in which a slow fight is counted.
const SLOW_WINDOW: TimeDelta = TimeDelta::hours(1);

/// How holds grow while an instance is contested.
const HOLD: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(60),
};

/// What was spent so far on one instance. Kept in the database, under the names of its columns, so that a restart does
/// not refill it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Corrections {
    /// Corrections spent in the current window.
    #[serde(rename = "corrections_spent", deserialize_with = "columns::count")]
    pub spent: u32,
    /// When the current window began.
    #[serde(rename = "corrections_since")]
    pub window_start: Option<DateTime<Utc>>,
    /// Zero while the budget lasts; then how often the hold has grown.
    #[serde(deserialize_with = "columns::count")]
    pub contested: u32,
    /// Until when a foreign write alone causes no look.
    pub hold_until: Option<DateTime<Utc>>,
    /// When the last looks found foreign writes, the newest first.
    #[serde(
        rename = "foreign_at",
        serialize_with = "columns::write_recent",
        deserialize_with = "columns::recent"
    )]
    pub recent: [Option<DateTime<Utc>>; RECENT],
}

impl Corrections {
    /// Whether the budget is spent and somebody keeps writing.
    #[must_use]
    pub const fn is_contested(&self) -> bool {
        self.contested > 0
    }

    /// [`Self::recent`] from what was recorded of it, the newest first.
    #[must_use]
    pub fn recent(times: Vec<DateTime<Utc>>) -> [Option<DateTime<Utc>>; RECENT] {
        let mut times = times.into_iter();
        std::array::from_fn(|_| times.next())
    }

    /// The state after a look at `now` that found this many foreign writes.
    #[must_use]
    pub fn noted(mut self, writes: usize, now: DateTime<Utc>) -> Self {
        for _ in 0..writes.min(self.recent.len()) {
            self.recent.rotate_right(1);
            self.recent[0] = Some(now);
        }
        self
    }

    /// Whether somebody else writes the column over and over, if too slowly to be contested: more than
    /// twelve times within the last hour.
    #[must_use]
    pub fn is_slow_fight(&self, now: DateTime<Utc>) -> bool {
        let oldest = self.recent[SLOW_FIGHT];
        oldest.is_some_and(|oldest| (now - oldest).abs() < SLOW_WINDOW)
    }

    /// The end of the hold, if one is in force at `now`. One that ends later than any hold can is of a clock that
    /// was set back since, and in force no more.
    #[must_use]
    pub fn held(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.hold_until
            .filter(|until| *until > now && *until - now <= WINDOW)
    }

    /// The state after a look at `now`. `foreign` says whether somebody else wrote the column since
    /// the last look; `budget` is the number of corrections a minute; `chance` is from `[0, 1)`.
    #[must_use]
    pub fn after_look(self, foreign: bool, budget: u32, now: DateTime<Utc>, chance: f64) -> Self {
        if !foreign {
            // A hold that ended without a foreign write is peace. One still in force goes on: the
            // look had another cause.
            return if self.is_contested() && self.held(now).is_none() {
                Self::default()
            } else {
                self
            };
        }
        if self.is_contested() {
            return self.contest(now, chance);
        }
        let in_window = self
            .window_start
            .filter(|start| (now - *start).abs() < WINDOW);
        let spent = if in_window.is_some() {
            self.spent.saturating_add(1)
        } else {
            1
        };
        let next = Self {
            spent,
            window_start: in_window.or(Some(now)),
            ..self
        };
        if spent >= budget {
            next.contest(now, chance)
        } else {
            next
        }
    }

    fn contest(self, now: DateTime<Utc>, chance: f64) -> Self {
        let hold = TimeDelta::from_std(HOLD.delay(self.contested, chance)).unwrap_or(WINDOW);
        Self {
            contested: self.contested.saturating_add(1),
            hold_until: Some(now + hold),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn the_budget_is_spent_by_looks_then_the_instance_is_contested() {
        let mut state = Corrections::default();
        for _ in 0..9 {
            state = state.after_look(true, 10, at(5), 0.0);
            assert!(!state.is_contested());
        }
        state = state.after_look(true, 10, at(6), 0.0);
        assert!(state.is_contested());
        assert_eq!(state.held(at(6)), Some(at(7)));
        assert_eq!(state.held(at(7)), None);
    }

    #[test]
    fn a_budget_is_for_a_minute_and_the_next_begins_when_it_is_over() {
        let spent = Corrections::default().after_look(true, 10, at(0), 0.0);
        let last = spent.after_look(true, 10, at(59), 0.0);
        assert_eq!((last.spent, last.window_start), (2, Some(at(0))));
        let next = spent.after_look(true, 10, at(60), 0.0);
        assert_eq!((next.spent, next.window_start), (1, Some(at(60))));
    }

    /// A hold of a minute is the longest that there is; the end of a longer one was written by another clock.
    #[test]
    fn no_hold_is_longer_than_a_minute() {
        let until = |hold| Corrections {
            contested: 1,
            hold_until: Some(at(hold)),
            ..Corrections::default()
        };
        assert_eq!(until(1).held(at(1)), None, "it is over");
        assert_eq!(until(2).held(at(1)), Some(at(2)));
        assert_eq!(until(61).held(at(1)), Some(at(61)));
        assert_eq!(until(62).held(at(1)), None);
    }

    #[test]
    fn of_recorded_times_the_newest_are_kept_in_their_order() {
        let recorded: Vec<_> = (0..20).rev().map(at).collect();
        let kept = Corrections::recent(recorded);
        assert_eq!(kept, std::array::from_fn(|n| Some(at(19 - n as i64))));
        let one = Corrections::recent(vec![at(7)]);
        assert_eq!((one[0], one[1]), (Some(at(7)), None));
    }

    #[test]
    fn a_mad_writer_is_corrected_ever_more_rarely() {
        let mut state = Corrections::default();
        let (mut now, mut looks) = (at(0), 0);
        while now < at(3_600) {
            state = state.after_look(true, 10, now, 0.0);
            looks += 1;
            now = state.held(now).unwrap_or(now);
        }
        assert!(looks < 90, "{looks} looks in an hour of madness");
    }

    #[test]
    fn a_hold_without_a_foreign_write_is_peace() {
        let mut state = Corrections::default();
        for _ in 0..10 {
            state = state.after_look(true, 10, at(0), 0.0);
        }
        assert!(
            state.after_look(false, 10, at(0), 0.0).is_contested(),
            "another cause, hold in force"
        );
        assert_eq!(
            state.after_look(false, 10, at(2), 0.0),
            Corrections::default()
        );
    }

    #[test]
    fn more_than_twelve_foreign_writes_within_an_hour_are_a_slow_fight() {
        let mut state = Corrections::default();
        for turn in 0..200 {
            state = state.noted(1, at(turn * 300));
            assert!(
                !state.is_slow_fight(at(turn * 300)),
                "every five minutes is none"
            );
        }
        let mut state = Corrections::default();
        for turn in 0..12 {
            state = state.noted(1, at(turn * 250));
            assert!(!state.is_slow_fight(at(turn * 250)));
        }
        state = state.noted(1, at(3_000));
        assert!(state.is_slow_fight(at(3_000)));
        assert!(!state.is_contested(), "it is told, not held");
        assert!(!state.is_slow_fight(at(3_601)), "an hour later it is over");
        assert!(Corrections::default().noted(40, at(0)).is_slow_fight(at(0)));
    }

    #[test]
    fn a_slow_writer_never_spends_the_budget() {
        let mut state = Corrections::default();
        for turn in 0..100 {
            state = state.after_look(true, 10, at(turn * 15), 0.0);
            assert!(
                !state.is_contested(),
                "the manager's own loop of 15 s is no fight"
            );
        }
    }
}
