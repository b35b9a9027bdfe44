//! Where in the change log a read begins.
//!
//! A read should not walk over what was answered for long ago: behind an old snapshot, whoever holds it, 200,000 such
//! changes cost 13.5 ms. But ids are drawn before their changes are committed, so "after the last id" loses changes.
//!
//! What holds: once the log's last id was known *before* a snapshot was taken, whatever that snapshot does not show below
//! that id belongs to a transaction that it shows in progress (whoever appends has its transaction id before it draws one).
//! So the next read begins behind whatever of that is answered for or put off; and when one of those transactions has ended,
//! one read begins where its changes may begin.

use std::collections::BTreeMap;

use super::LogSeen;

/// A transaction whose changes may begin so few ids below the others is not waited for: each read begins there. So a busy
/// server, which always has some in progress, asks for no second read.
const NEAR: i64 = 1_000;

/// The least id that matters, and why.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// Changes up to this id are answered for or put off, but for those of `open` transactions.
    floor: i64,
    /// The last id that was drawn, as the last read knew it.
    last: i64,
    /// Transactions that were in progress, each with an id that all of its changes are beyond.
    open: BTreeMap<u64, i64>,
    /// Some have ended whose changes may begin here, where the last read did not look.
    owed: Option<i64>,
}

impl Horizon {
    /// After which id a read begins now.
    pub(super) fn begin(&self) -> i64 {
        let near = |lower: &i64| *lower >= self.floor.saturating_sub(NEAR);
        let open = self.open.values().copied().filter(near).min();
        let earlier = [self.owed, open].into_iter().flatten();
        earlier.fold(self.floor, i64::min)
    }

    /// A read that began after this id has seen this.
    pub(super) fn seen(&mut self, after: i64, seen: &LogSeen) {
        if seen.last_id < self.last {
            // Somebody has set the numbers back: what is known of them holds for none of those that follow.
            *self = Self::default();
            self.owed = (after > 0).then_some(0);
            return;
        }
        let first_unread = seen.first_unread.map(|first| first.saturating_sub(1));
        self.owed = self.owed.filter(|owed| *owed < after);
        let Some(in_progress) = &seen.in_progress else {
            // Any of those that were open may have ended, and none is known to have. Else all stays as it was known: a last
            // id is none the worse for being an old one.
            self.floor = first_unread.map_or(self.floor, |first| self.floor.min(first));
            let unseen = self.open.values().copied().filter(|lower| *lower < after);
            self.owed = unseen.chain(self.owed).min();
            return;
        };
        let before = self.floor;
        // What is not shown up to the last id that was known before this snapshot, those in progress hold.
        let known = std::mem::replace(&mut self.last, seen.last_id);
        self.floor = first_unread.map_or(known, |first| known.min(first));
        let open = std::mem::take(&mut self.open);
        // One that is new had no id at the snapshot before: its changes are beyond what was known then.
        let lower = |id: &u64| open.get(id).copied().unwrap_or(before).min(self.floor);
        self.open = in_progress.iter().map(|id| (*id, lower(id))).collect();
        let ended = open.iter().filter(|(id, _)| !self.open.contains_key(id));
        let unseen = ended
            .map(|(_, lower)| *lower)
            .filter(|lower| *lower < after);
        self.owed = unseen.chain(self.owed).min();
    }

    /// Whether ids were drawn since the last read, when this is the last one. (Transactions in progress say nothing: a
    /// server always has some, of whatever database.)
    pub(super) const fn may_have_missed(&self, last_id: i64) -> bool {
        last_id > self.last
    }

    /// Whether a transaction has ended whose changes may lie where no read has looked since.
    pub(super) const fn owes(&self) -> bool {
        self.owed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(first_unread: Option<i64>, last_id: i64, in_progress: &[u64]) -> LogSeen {
        LogSeen {
            first_unread,
            last_id,
            in_progress: Some(in_progress.to_vec()),
        }
    }

    /// One read, as the controller makes it. Where it began.
    fn read(horizon: &mut Horizon, saw: &LogSeen) -> i64 {
        let after = horizon.begin();
        horizon.seen(after, saw);
        after
    }

    #[test]
    fn what_is_answered_for_is_passed_and_what_is_not_never_is() {
        let mut horizon = Horizon::default();
        assert_eq!(read(&mut horizon, &seen(Some(7), 9, &[])), 0);
        // The last id was not known before the first snapshot: nothing is passed yet.
        assert_eq!(read(&mut horizon, &seen(Some(7), 9, &[])), 0);
        assert_eq!(read(&mut horizon, &seen(Some(9), 12, &[])), 6);
        assert_eq!(read(&mut horizon, &seen(None, 12, &[])), 8);
        assert_eq!(horizon.begin(), 12);
    }

    #[test]
    fn what_was_drawn_since_the_last_read_may_have_been_missed() {
        let mut horizon = Horizon::default();
        read(&mut horizon, &seen(None, 9, &[77]));
        assert!(!horizon.may_have_missed(9));
        assert!(horizon.may_have_missed(10));
    }

    /// Else it would be looked for with one read after the other.
    #[test]
    fn what_is_owed_is_no_longer_once_a_read_began_before_it() {
        let mut horizon = Horizon::default();
        for (last_id, open) in [(100, &[][..]), (101, &[]), (9_000, &[77]), (9_001, &[77])] {
            read(&mut horizon, &seen(None, last_id, open));
        }
        let unknown = LogSeen {
            in_progress: None,
            ..seen(Some(51), 9_001, &[])
        };
        assert_eq!(read(&mut horizon, &unknown), 9_000);
        assert!(horizon.owes(), "the open one may have ended");
        assert_eq!(read(&mut horizon, &seen(Some(51), 9_001, &[77])), 50);
        assert!(!horizon.owes());
    }

    #[test]
    fn a_transaction_of_long_ago_is_looked_for_once_when_it_has_ended_and_not_before() {
        let mut horizon = Horizon::default();
        read(&mut horizon, &seen(None, 1, &[]));
        read(&mut horizon, &seen(None, 9_000, &[77]));
        read(&mut horizon, &seen(None, 9_001, &[77]));
        // It may hold ids from the beginning on, and does not keep others from being passed.
        assert_eq!(read(&mut horizon, &seen(None, 9_001, &[77])), 9_000);
        assert!(!horizon.owes());
        assert_eq!(read(&mut horizon, &seen(None, 9_001, &[])), 9_001);
        assert!(horizon.owes());
        assert_eq!(read(&mut horizon, &seen(Some(5), 9_001, &[])), 0);
        assert!(!horizon.owes());
        assert_eq!(horizon.begin(), 4, "what it held is not answered for yet");
    }

    #[test]
    fn a_read_that_cannot_tell_who_is_in_progress_passes_nothing() {
        let mut horizon = Horizon::default();
        read(&mut horizon, &seen(None, 5, &[]));
        read(&mut horizon, &seen(None, 6, &[77]));
        let unknown = |first_unread| LogSeen {
            first_unread,
            last_id: 900,
            in_progress: None,
        };
        assert_eq!(read(&mut horizon, &unknown(None)), 0);
        assert_eq!(read(&mut horizon, &unknown(Some(3))), 0);
        read(&mut horizon, &seen(None, 900, &[]));
        assert_eq!(horizon.begin(), 6, "the last id that is sure");
    }

    /// The ring of its commit is answered by a read that cannot tell.
    #[test]
    fn a_read_that_cannot_tell_owes_another_one_to_whatever_was_open() {
        let mut horizon = Horizon::default();
        read(&mut horizon, &seen(None, 9_000, &[77]));
        read(&mut horizon, &seen(None, 9_000, &[77]));
        read(&mut horizon, &seen(None, 9_000, &[77]));
        let unknown = LogSeen {
            first_unread: None,
            last_id: 9_000,
            in_progress: None,
        };
        assert_eq!(read(&mut horizon, &unknown), 9_000);
        assert!(horizon.owes());
        assert_eq!(read(&mut horizon, &unknown), 0);
        assert!(!horizon.owes(), "all of it was read");
        // It has not ended, and is not forgotten.
        read(&mut horizon, &seen(None, 9_000, &[]));
        assert!(horizon.owes());
    }

    /// As by `truncate … restart identity`.
    #[test]
    fn numbers_that_were_set_back_have_all_of_the_log_read_again() {
        let mut horizon = Horizon::default();
        read(&mut horizon, &seen(None, 9_000, &[]));
        read(&mut horizon, &seen(None, 9_000, &[]));
        assert_eq!(read(&mut horizon, &seen(None, 1, &[])), 9_000);
        assert!(horizon.owes());
        assert_eq!(read(&mut horizon, &seen(Some(1), 1, &[])), 0);
        assert!(!horizon.owes());
        assert_eq!(horizon.begin(), 0);
    }

    #[test]
    fn on_a_busy_server_no_second_read_is_owed() {
        let mut horizon = Horizon::default();
        for turn in 0_u32..1_000 {
            let first = u64::from(turn) * 3;
            let saw = seen(None, i64::from(turn) * 2, &[first, first + 2, first + 4]);
            let after = read(&mut horizon, &saw);
            assert!(!horizon.owes(), "turn {turn}");
            assert!(i64::from(turn) * 2 - after <= 10, "turn {turn}: {after}");
        }
    }
}
