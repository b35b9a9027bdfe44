//! Records: what waits for one, and the batches under way.
//!
//! One batch at a time, and what is wanted meanwhile goes with the next: so nobody waits for company. But a write runs the
//! triggers of the manager's table, and one of them may sleep. Then nobody is to wait but for his own:
//!
//! * a batch is of one table, and either writes its rows or none;
//! * one that takes longer than [`PATIENCE`] keeps the next one no longer; while it lasts no other row of its table is
//!   written, for that would last as long;
//! * an instance whose write took longer than [`LONG`] goes alone from then on, beside the others and one at a time, until it
//!   was written in less. That is known of a write that was one row's alone, and by the server's clock: else whatever delays
//!   a batch, a slow network among it, would be laid to each of its rows. A batch of several that takes long makes those
//!   after it smaller, so whose fault it is comes to light;
//! * where the rows of a table go one by one for that reason, the one that was woken last goes first, and each
//!   [`OLDEST_EVERY`]th time the oldest: a fresh change waits for one that turns out to be slow, and not for all of them;
//! * there are never more batches under way than [`Settings::record_lanes`](super::Settings::record_lanes): with one, none
//!   of this is so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::batch::Bound;
use crate::instance::Key;
use crate::queue::{Moment, PATIENCE};
use crate::record::{Proposal, Transaction};

/// Most that are recorded at once.
const MOST: usize = 256;

/// Whose write takes longer than this is slow.
const LONG: Duration = Duration::from_secs(1);

/// Most that are known to be slow. Of more some are met anew.
const MOST_SLOW: usize = 256;

/// How often the oldest goes where the latest go first.
const OLDEST_EVERY: u32 = 4;

/// What waits to be recorded, and what is.
#[derive(Debug)]
pub(super) struct Records {
    lanes: usize,
    /// The oldest first.
    waiting: VecDeque<Waiting>,
    under_way: Vec<Batch>,
    /// Whose last write by itself was slow.
    slow: BTreeSet<Key>,
    /// How many rows of each table a batch may lock.
    bounds: BTreeMap<i32, Bound>,
    /// How often one was chosen among those that go one by one.
    chosen: u32,
}

/// One that waits.
#[derive(Debug)]
struct Waiting {
    /// When it was woken.
    since: Moment,
    proposal: Proposal,
}

/// A batch under way.
#[derive(Debug)]
struct Batch {
    keys: BTreeSet<Key>,
    watched_id: i32,
    writes: bool,
    /// It is of one that is known to be slow.
    of_slow: bool,
    since: Moment,
}

impl Batch {
    /// Whether the next one waits for it.
    fn keeps_others(&self, now: Moment) -> bool {
        !self.of_slow && now < self.since + PATIENCE
    }

    /// Whether it has turned out to take long, and what writes to its table would, too.
    fn holds(&self, one: &Proposal, now: Moment) -> bool {
        let same = self.watched_id == one.key.watched_id;
        same && self.writes && !self.of_slow && !self.keeps_others(now) && one.writes()
    }
}

impl Records {
    /// None waits, and none is under way; so many batches may be.
    pub(super) fn with_lanes(lanes: usize) -> Self {
        Self {
            lanes: lanes.max(1),
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            slow: BTreeSet::new(),
            bounds: BTreeMap::new(),
            chosen: 0,
        }
    }

    /// Has it recorded with the next batch that it may be in. It was woken at `since`.
    pub(super) fn want(&mut self, proposal: Proposal, since: Moment) {
        self.waiting.push_back(Waiting { since, proposal });
    }

    /// Takes out of those that wait whom `unwanted` names.
    pub(super) fn take_out(&mut self, unwanted: impl Fn(&Proposal) -> bool) -> Vec<Proposal> {
        let unwanted = |one: &Waiting| unwanted(&one.proposal);
        if !self.waiting.iter().any(unwanted) {
            return Vec::new();
        }
        let (out, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(unwanted);
        self.waiting = kept;
        out.into_iter().map(|one| one.proposal).collect()
    }

    /// Whether a batch may begin now, if there is something for it.
    pub(super) fn may_begin(&self, now: Moment) -> bool {
        let free = self.under_way.len() < self.lanes && !self.waiting.is_empty();
        free && (self.is_free(now) || self.slow_may_begin(now))
    }

    /// The next batch; it is under way then. Call it again until there is none.
    pub(super) fn begin(&mut self, now: Moment) -> Option<Vec<Proposal>> {
        if !self.may_begin(now) {
            return None;
        }
        if self.is_free(now)
            && let Some(first) = self.first(now)
        {
            let proposals = self.with_company(first, now);
            return Some(self.begun(proposals, false, now));
        }
        if !self.slow_may_begin(now) {
            return None;
        }
        let is_slow = |one: &Waiting| self.is_slow(&one.proposal);
        let slow = self.waiting.iter().position(is_slow)?;
        let alone = self.waiting.remove(slow)?.proposal;
        Some(self.begun(vec![alone], true, now))
    }

    /// A batch with this one in it has ended. These were its transactions.
    pub(super) fn ended(&mut self, key: Option<&Key>, transactions: &[Transaction]) {
        let of_it = |batch: &Batch| key.is_some_and(|key| batch.keys.contains(key));
        let place = self.under_way.iter().position(of_it).unwrap_or_default();
        if place >= self.under_way.len() {
            return;
        }
        let batch = self.under_way.remove(place);
        if !batch.of_slow {
            let bound = self.bounds.entry(batch.watched_id).or_default();
            for transaction in transactions {
                bound.observe(transaction.rows, transaction.held);
            }
        }
        for transaction in transactions {
            let Some(key) = transaction.alone else {
                continue;
            };
            if transaction.held > LONG {
                self.slow.insert(key);
            } else {
                self.slow.remove(&key);
            }
        }
        while self.slow.len() > MOST_SLOW {
            self.slow.pop_first();
        }
    }

    /// Takes out one that waits for a slow one, of several the one that came last, so that its slot is free for others.
    pub(super) fn give_up_one(&mut self, now: Moment) -> Option<Key> {
        let waits = |one: &Waiting| !self.may_go(&one.proposal, now);
        let place = self.waiting.iter().rposition(waits)?;
        self.waiting.remove(place).map(|one| one.proposal.key)
    }

    /// Whether a batch is under way, or about to be, whose end is near.
    pub(super) fn is_busy(&self, now: Moment) -> bool {
        let begins = self.under_way.len() < self.lanes
            && self
                .waiting
                .iter()
                .any(|one| self.may_go(&one.proposal, now));
        begins || self.end_is_near_until(now).is_some()
    }

    /// Until when the end of a batch counts as near: what takes longer may take very long.
    pub(super) fn end_is_near_until(&self, now: Moment) -> Option<Moment> {
        let near = self
            .under_way
            .iter()
            .filter(|batch| batch.keeps_others(now));
        near.map(|batch| batch.since + PATIENCE).max()
    }

    /// When a batch may begin that may not yet.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        if self.waiting.is_empty() || self.under_way.len() >= self.lanes {
            return None;
        }
        self.end_is_near_until(now)
    }

    /// Whether no batch keeps the next one waiting.
    fn is_free(&self, now: Moment) -> bool {
        self.end_is_near_until(now).is_none()
    }

    /// Whether one that is known to be slow may begin: no other one is under way, and a lane is left for the others.
    fn slow_may_begin(&self, now: Moment) -> bool {
        let beside = self
            .under_way
            .iter()
            .filter(|batch| !batch.keeps_others(now));
        !self.slow.is_empty()
            && !self.under_way.iter().any(|batch| batch.of_slow)
            && beside.count() + 1 < self.lanes
    }

    fn is_slow(&self, one: &Proposal) -> bool {
        self.lanes > 1 && self.slow.contains(&one.key) && one.writes()
    }

    /// Whether it waits for no slow one.
    fn may_go(&self, one: &Proposal, now: Moment) -> bool {
        !self.is_slow(one) && !self.under_way.iter().any(|batch| batch.holds(one, now))
    }

    /// Who goes next, of those that wait for no slow one.
    fn first(&mut self, now: Moment) -> Option<usize> {
        let may_go = |one: &Waiting| self.may_go(&one.proposal, now);
        let oldest = self.waiting.iter().position(may_go)?;
        let table = class(&self.waiting[oldest].proposal);
        if !self.go_one_by_one(table) {
            return Some(oldest);
        }
        let alike = |one: &Waiting| class(&one.proposal) == table && may_go(one);
        let all = self.waiting.iter().enumerate();
        let alike = all.filter(|(_, one)| alike(one));
        let latest = alike.min_by_key(|(place, one)| (Reverse(one.since), *place));
        let latest = latest.map(|(place, _)| place);
        self.chosen = self.chosen.wrapping_add(1);
        if self.chosen.is_multiple_of(OLDEST_EVERY) {
            return Some(oldest);
        }
        latest
    }

    /// Whether rows of this table are written, and take so long that none has company.
    fn go_one_by_one(&self, (watched_id, writes): (i32, bool)) -> bool {
        let bound = self.bounds.get(&watched_id);
        writes && bound.is_some_and(|bound| bound.rows() == 1)
    }

    /// The one at this place, and those after it that may be recorded with it: no more than the rows that may be locked.
    fn with_company(&mut self, first: usize, now: Moment) -> Vec<Proposal> {
        let (watched_id, writes) = class(&self.waiting[first].proposal);
        let bound = self.bounds.get(&watched_id).copied().unwrap_or_default();
        let most = if writes { bound.rows().min(MOST) } else { MOST };
        let mut taken = BTreeSet::new();
        for (place, one) in self.waiting.iter().enumerate().skip(first) {
            if taken.len() == most {
                break;
            }
            let one = &one.proposal;
            if class(one) == (watched_id, writes) && self.may_go(one, now) {
                taken.insert(place);
            }
        }
        let all = std::mem::take(&mut self.waiting).into_iter().enumerate();
        let (with_it, kept): (Vec<_>, Vec<_>) = all.partition(|(place, _)| taken.contains(place));
        self.waiting = kept.into_iter().map(|(_, one)| one).collect();
        with_it.into_iter().map(|(_, one)| one.proposal).collect()
    }

    fn begun(&mut self, proposals: Vec<Proposal>, of_slow: bool, now: Moment) -> Vec<Proposal> {
        if let Some(first) = proposals.first() {
            self.under_way.push(Batch {
                keys: proposals.iter().map(|one| one.key).collect(),
                watched_id: first.key.watched_id,
                writes: first.writes(),
                of_slow,
                since: now,
            });
        }
        proposals
    }
}

/// Those of one class may be in one batch: their table, and whether they write to it.
fn class(one: &Proposal) -> (i32, bool) {
    (one.key.watched_id, one.writes())
}
