//! Where a log read begins, so that it finds what commits late and does not walk through what was
//! answered long ago.
//!
//! Ids commit out of order: below the last one that was given out there may be one of a transaction
//! that is still in progress. So a read begins after an id below which everything had been
//! committed and answered for when the read before it took its snapshot, or after the bound of a
//! transaction that was in progress then; and if one has ended whose bound is not near, one more
//! read begins there.

use crate::protocol::{Flaw, Protocol};
use crate::state::{CHANGES, LogPart};

/// What a process knows of the log, from the log reads of its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Horizon {
    /// Up to here nothing is unread, but for what the transactions in `open` may still commit.
    floor: u8,
    /// The last id when the last read answered.
    last: u8,
    /// One more read is to begin after this id.
    pub(crate) owed: Option<u8>,
    /// For each transaction that was in progress: all of its ids are beyond this one.
    open: [Option<u8>; CHANGES],
}

impl Horizon {
    /// The id after which the next log read begins; bounds at most `near` below the floor are kept to.
    pub(crate) fn begins_after(&self, near: u8) -> u8 {
        self.open
            .iter()
            .flatten()
            .filter(|lower| self.floor <= **lower + near)
            .chain(&self.owed)
            .fold(self.floor, |least, after| least.min(*after))
    }

    /// Takes the answer to a log read.
    pub(crate) fn absorb(&mut self, protocol: Protocol, read: &LogPart, last_id: u8) {
        let Some(in_progress) = self.listed(protocol, read) else {
            return;
        };
        let before = self.floor;
        // With the last id that the read before had seen: it was given out before this snapshot.
        let known = if protocol.has(Flaw::LastIdAfterSnapshot) {
            last_id
        } else {
            self.last
        };
        self.last = last_id;
        if protocol.has(Flaw::AfterLastId) {
            self.floor = last_id;
            return;
        }
        self.floor = read
            .first_unread
            .map_or(known, |first| known.min(first - 1));
        if self.owed.is_some_and(|owed| read.after <= owed) {
            self.owed = None;
        }
        let bound_of_new_ones = if protocol.has(Flaw::BoundAtNewFloor) {
            self.floor
        } else {
            before
        };
        for transaction in 0..CHANGES {
            let lower = self.open[transaction];
            let goes_on = in_progress & (1 << transaction) != 0;
            self.open[transaction] = match lower {
                _ if protocol.has(Flaw::OpenIgnored) => None,
                Some(lower) if goes_on => Some(lower.min(self.floor)),
                None if goes_on => Some(bound_of_new_ones),
                Some(_) | None => None,
            };
            // What it committed may be below where this read began.
            let missed = lower.filter(|lower| !goes_on && *lower < read.after);
            if !protocol.has(Flaw::LateCommitsNotOwed) {
                self.owed = self.owed.into_iter().chain(missed).min();
            }
        }
    }

    /// The transactions in progress, if the read can tell. If not, any of those that were may have
    /// ended, and all that was known before is still true.
    fn listed(&mut self, protocol: Protocol, read: &LogPart) -> Option<u8> {
        if protocol.has(Flaw::UnlistedAreNone) {
            return read.in_progress.or(Some(0));
        }
        if read.in_progress.is_none() {
            let below_unread = read.first_unread.map(|first| first - 1);
            self.floor = self.floor.min(below_unread.unwrap_or(u8::MAX));
            let owed = self.owed.filter(|owed| *owed < read.after);
            let open = self.open.iter().flatten().copied();
            let maybe_missed = open.filter(|lower| *lower < read.after);
            if protocol.has(Flaw::UnlistedAreOpen) {
                self.owed = owed;
            } else {
                self.owed = owed.into_iter().chain(maybe_missed).min();
            }
        }
        read.in_progress
    }
}
