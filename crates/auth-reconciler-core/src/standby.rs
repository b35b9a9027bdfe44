//! When a process that stands by takes the place of one that leads and does not move.
//!
//! A frozen leader keeps its session, and with it the lock: nothing ends by itself. What tells it from a slow one (an
//! API that hangs, a row that somebody has locked) is that a slow one answers when it is rung for: it reads the log,
//! and that is a statement of its own. So work that waits is not enough; it must wait, *and* the leader must have been
//! rung for, *and* nothing of it must have moved all the while. Times are counted from when this process saw it
//! itself: other clocks, and the time at which a long transaction began, say nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// For how long a leader may not move while work waits.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The same where its statements cannot be seen: then only what waits tells of it, and a look may take long.
const BLIND_PATIENCE: Duration = Duration::from_secs(300);

/// For how long it is given to answer by itself before it is rung for.
const RING_AFTER: Duration = Duration::from_secs(5);

/// What is seen of the leader and of what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The server process of its ear, and its start.
    pub leader: (i32, DateTime<Utc>),
    /// The oldest change that it has not answered for, of what is neither held nor paused.
    pub oldest_change: Option<i64>,
    /// The earliest look that is overdue.
    pub oldest_due: Option<DateTime<Utc>>,
    /// Its last statement beside the ear; `None` if that cannot be seen.
    pub last_sign: Option<DateTime<Utc>>,
}

impl Seen {
    const fn waits(&self) -> bool {
        self.oldest_change.is_some() || self.oldest_due.is_some()
    }
}

/// What the process that stands by does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing is to be done yet.
    Wait,
    /// Ring for the leader: if it lives, it reads the log.
    Ring,
    /// End the leader's session, and so its term.
    Depose,
}

/// What a process that stands by remembers.
#[derive(Debug, Default)]
pub struct Vigil {
    unmoved: Option<(Seen, Duration)>,
    rung: bool,
}

impl Vigil {
    /// Takes in what is seen now (`None` if nobody leads), and says what to do.
    pub fn observe(&mut self, now: Duration, seen: Option<Seen>) -> Act {
        let Some(seen) = seen.filter(Seen::waits) else {
            *self = Self::default();
            return Act::Wait;
        };
        let since = match &self.unmoved {
            Some((before, since)) if *before == seen => *since,
            Some(_) | None => {
                self.unmoved = Some((seen, now));
                self.rung = false;
                return Act::Wait;
            }
        };
        let patience = match &self.unmoved {
            Some((before, _)) if before.last_sign.is_none() => BLIND_PATIENCE,
            Some(_) | None => PATIENCE,
        };
        let unmoved = now.saturating_sub(since);
        if unmoved >= patience && self.rung {
            *self = Self::default();
            Act::Depose
        } else if unmoved >= RING_AFTER {
            self.rung = true;
            Act::Ring
        } else {
            Act::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(change: Option<i64>, sign: Option<i64>) -> Option<Seen> {
        let at = |seconds| DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds);
        Some(Seen {
            leader: (7, at(0)),
            oldest_change: change,
            oldest_due: None,
            last_sign: sign.map(at),
        })
    }

    fn observe(vigil: &mut Vigil, second: u64, seen: Option<Seen>) -> Act {
        vigil.observe(Duration::from_secs(second), seen)
    }

    #[test]
    fn one_that_does_not_move_though_rung_for_is_deposed() {
        let mut vigil = Vigil::default();
        let acts: Vec<Act> = [0, 10, 20, 30]
            .map(|second| observe(&mut vigil, second, seen(Some(1), Some(0))))
            .into();
        assert_eq!(acts, [Act::Wait, Act::Ring, Act::Ring, Act::Depose]);
        // Once: then it begins anew.
        assert_eq!(observe(&mut vigil, 40, seen(Some(1), Some(0))), Act::Wait);
    }

    #[test]
    fn whoever_answers_a_ring_leads_on_however_long_its_work_waits() {
        let mut vigil = Vigil::default();
        for second in (0..3_600).step_by(10) {
            // Each ring is answered with a statement.
            let sign = i64::try_from(second / 20).ok();
            let act = observe(&mut vigil, second, seen(Some(1), sign));
            assert_ne!(act, Act::Depose, "after {second} s");
        }
    }

    #[test]
    fn work_that_goes_on_is_a_sign_and_so_is_none_at_all() {
        let mut vigil = Vigil::default();
        for (second, change) in (0..600).step_by(10).zip(0..) {
            let change = (change % 4 != 3).then_some(change / 2);
            let act = observe(&mut vigil, second, seen(change, Some(0)));
            assert_ne!(act, Act::Depose, "after {second} s");
        }
    }

    #[test]
    fn a_leader_for_whom_nothing_waits_may_stand_still() {
        let mut vigil = Vigil::default();
        for second in (0..3_600).step_by(10) {
            let act = observe(&mut vigil, second, seen(None, Some(0)));
            assert_eq!(act, Act::Wait, "after {second} s");
        }
    }

    #[test]
    fn another_leader_is_given_its_own_time() {
        let mut vigil = Vigil::default();
        observe(&mut vigil, 0, seen(Some(1), Some(0)));
        observe(&mut vigil, 20, seen(Some(1), Some(0)));
        let next = seen(Some(1), Some(0)).map(|seen| Seen {
            leader: (8, seen.leader.1),
            ..seen
        });
        assert_eq!(observe(&mut vigil, 40, next), Act::Wait);
        assert_eq!(observe(&mut vigil, 50, None), Act::Wait);
    }

    #[test]
    fn whose_statements_cannot_be_seen_is_given_longer() {
        let mut vigil = Vigil::default();
        let deposed = (0..600)
            .step_by(10)
            .find(|second| observe(&mut vigil, *second, seen(Some(1), None)) == Act::Depose);
        assert_eq!(deposed, Some(300));
    }

    /// A ring for what waited before says nothing of what waits now.
    #[test]
    fn each_stretch_of_standing_still_is_rung_for_anew() {
        let mut vigil = Vigil::default();
        observe(&mut vigil, 0, seen(Some(1), Some(0)));
        assert_eq!(observe(&mut vigil, 5, seen(Some(1), Some(0))), Act::Ring);
        observe(&mut vigil, 10, seen(Some(2), Some(0)));
        assert_eq!(observe(&mut vigil, 60, seen(Some(2), Some(0))), Act::Ring);
    }

    #[test]
    fn a_look_that_is_overdue_waits_like_a_change() {
        let mut vigil = Vigil::default();
        let due = || {
            seen(None, Some(0)).map(|seen| Seen {
                oldest_due: Some(DateTime::UNIX_EPOCH),
                ..seen
            })
        };
        let acts = [0, 10, 40].map(|second| observe(&mut vigil, second, due()));
        assert_eq!(acts, [Act::Wait, Act::Ring, Act::Depose]);
    }

    /// A machine that slept, or one observation only: no ring, no end.
    #[test]
    fn nobody_is_deposed_without_a_ring() {
        let mut vigil = Vigil::default();
        observe(&mut vigil, 0, seen(Some(1), Some(0)));
        assert_eq!(observe(&mut vigil, 900, seen(Some(1), Some(0))), Act::Ring);
    }
}
