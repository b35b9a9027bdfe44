//! The change log is the queue: a read takes out of it instances with unread changes, as many as there is room for. Rings
//! only say that there may be some.
//!
//! * After every end of a reconciliation that a read has passed over, as it was under way, a read is owed; else what
//!   changed meanwhile would be lost.
//! * What a look has read and could not answer for is put off: no read brings it again in this term, but the queue's own
//!   deadline, an answer that ends a doubt, or whatever else the instance waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::batch::Batches;
use super::horizon::Horizon;
use super::phase::Phase;
use super::run::Run;
use super::{
    Command, Controller, Failure, FailureKind, LogRead, MOST_READ, Notice, Outcome, Taken,
    TakenInstance,
};
use crate::Cause;
use crate::backoff::Backoff;
use crate::instance::Key;
use crate::queue::{Claim, Moment};

/// What a term knows of the change log.
#[derive(Debug, Default)]
pub(super) struct Log {
    horizon: Horizon,
    /// It is to be read.
    pub(super) owed: bool,
    /// Somebody rang since the last read of it began.
    pub(super) rang: bool,
    /// There may be something in it that nobody has rung for.
    unheard: bool,
    /// The last read of it has left some.
    more: bool,
    /// The read of it that is under way.
    reading: Option<Reading>,
    /// Number of the last batch that it was read with.
    last: u64,
    /// Changes that are to be put off, by instance. Until they are, no read is to bring these instances.
    put_offs: Batches<(Key, Vec<i64>)>,
    /// Nor these, of which some are on their way.
    being_put_off: Vec<Key>,
    /// Nor these before that moment: they were brought and may not begin yet, and somebody may write ever on.
    resting: BTreeMap<Key, Moment>,
    /// Somebody holds the log: it is not read before then.
    held_until: Option<Moment>,
    /// For so many reads of it in a row.
    holds: u32,
    /// Who is to be read again with the next read of it, as somebody rang: any role may, and it is read at a pace.
    pub(super) written: BTreeSet<Key>,
}

/// Between reads of a log that somebody holds.
const HELD: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(1),
};

/// So many in a row are no moment any more.
const MOST_HOLDS: u32 = 10;

/// An instance with more unread changes has them put off as soon as they are read: else each read of the log would walk
/// past all of them while it is under way.
pub(super) const MANY: usize = 1_000;

/// Most instances that rest at once; each read names them all.
const MOST_RESTING: usize = 64;

/// A read of the log that is under way.
#[derive(Debug)]
struct Reading {
    batch: u64,
    after: i64,
    /// Places that are kept free for what it brings.
    room: usize,
    /// It answers for somebody's ring.
    rang: bool,
    /// It answers for what nobody has rung for.
    unheard: bool,
    /// What it sees says where the next one begins.
    counts: bool,
}

impl Log {
    /// The term has ended. What was read in it, and what is on its way, the next one finds again.
    pub(super) fn clear(&mut self) {
        let mut put_offs = std::mem::take(&mut self.put_offs);
        put_offs.clear();
        *self = Self {
            put_offs,
            ..Self::default()
        };
    }

    #[cfg(test)]
    pub(super) const fn begin_test(&mut self) {
        self.last = 0;
    }

    /// All of it is to be read again.
    pub(super) fn begin_anew(&mut self) {
        self.horizon = Horizon::default();
        if let Some(reading) = &mut self.reading {
            reading.counts = false;
        }
    }

    /// Somebody rang for it.
    pub(super) const fn rang(&mut self) {
        self.rang = true;
        self.owed = true;
    }

    /// There may be something in it that nobody has rung for.
    pub(super) const fn unheard(&mut self) {
        self.owed = true;
        self.unheard = true;
    }

    /// The last id was this one when an echo was heard. Whatever has kept a change from being rung for, it is read by now.
    pub(super) fn echoed(&mut self, last_id: i64) {
        if self.horizon.may_have_missed(last_id) {
            self.unheard();
        }
    }

    /// Whether some are put off just now.
    pub(super) fn is_putting_off(&self) -> bool {
        self.put_offs.is_busy()
    }

    /// When the rest of some is over, or that of the log.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let all = self.resting.values().copied().chain(self.held_until);
        all.min()
    }

    /// Those that have rested may be brought again.
    pub(super) fn end_rest(&mut self, now: Moment) {
        let before = self.resting.len();
        self.resting.retain(|_, until| *until > now);
        let held = self.held_until.take_if(|until| *until <= now).is_some();
        self.owed |= held || self.resting.len() < before;
    }

    /// Somebody holds it, as a reindex does: it is read again soon. Returns whether that is no moment any more.
    fn held(&mut self, rang: bool, chance: f64, now: Moment) -> bool {
        self.rang |= rang;
        self.held_until = Some(now + HELD.delay(self.holds, chance));
        self.holds += 1;
        self.holds > MOST_HOLDS
    }

    /// Who is not under way, and not to be brought all the same.
    fn passed_over(&self) -> impl Iterator<Item = &Key> {
        let waiting = self.put_offs.waiting().map(|(key, _)| key);
        waiting
            .chain(&self.being_put_off)
            .chain(self.resting.keys())
    }

    /// What it asks of the queue: places that are spoken for, and instances that wait for one.
    pub(super) fn claim(&self, slots: usize) -> Claim {
        Claim {
            reserved: self.reading.as_ref().map_or(0, |reading| reading.room),
            waiting: match (self.owed && self.held_until.is_none(), self.more) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => slots,
            },
        }
    }
}

impl Controller {
    /// Whether a read of the log is owed, and there is room for what it brings.
    pub(super) fn may_read_log(&self, now: Moment) -> bool {
        let Phase::Leading(term) = &self.phase else {
            return false;
        };
        let held = self.log.held_until.or(term.engine.held_until(now));
        self.log.owed && self.queue.free() > 0 && held.is_none()
    }

    /// A read of the log, if one is owed and there is room for what it brings. Call it when no read is under way.
    pub(super) fn begin_log_read(&mut self, batch: u64, now: Moment) -> Option<LogRead> {
        if !self.may_read_log(now) {
            return None;
        }
        let room = self.queue.free().min(MOST_READ);
        // Whoever wrote in silence has told of no key.
        let unheard = std::mem::take(&mut self.log.unheard);
        if unheard {
            let all: Vec<Key> = self.running.keys().copied().collect();
            for key in all {
                self.overwritten(key);
            }
        }
        let under_way: BTreeSet<Key> = self
            .running
            .keys()
            .chain(self.log.passed_over())
            .copied()
            .collect();
        let after = self.log.horizon.begin();
        // A fresh change waits behind no backlog.
        let newest = if room == 1 {
            usize::from(batch.is_multiple_of(2))
        } else {
            room.div_ceil(4)
        };
        self.log.owed = false;
        self.log.last = batch;
        self.log.reading = Some(Reading {
            batch,
            after,
            room,
            rang: std::mem::take(&mut self.log.rang),
            unheard,
            counts: true,
        });
        Some(LogRead {
            after,
            oldest: room - newest,
            newest,
            under_way: under_way.into_iter().collect(),
        })
    }

    /// A batch was read, and this of the log with it.
    pub(super) fn log_read(
        &mut self,
        batch: u64,
        at: Moment,
        taken: Result<Taken, Failure>,
        now: Moment,
    ) {
        // One of an earlier term may have begun elsewhere, and found what this term finds again.
        let Some(reading) = self.log.reading.take_if(|reading| reading.batch == batch) else {
            return;
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(failure) if failure.kind == FailureKind::Busy => {
                self.log.unheard |= reading.unheard;
                let long = self.log.held(reading.rang, self.chance.draw(), now);
                if long {
                    self.missed(failure, now);
                }
                return;
            }
            Err(failure) => return self.missed(failure, now),
        };
        self.log.holds = 0;
        if reading.counts {
            self.log.horizon.seen(reading.after, &taken.seen);
        }
        self.log.more = taken.more;
        if !taken.instances.is_empty() {
            self.read_on();
        }
        // Somebody may have committed whose changes lie where this read did not look.
        let told = reading.rang || reading.unheard;
        self.log.owed |= taken.more || (told && self.log.horizon.owes());
        if reading.rang && !taken.instances.is_empty() {
            self.rings.brought();
            self.rung_for_changes(now);
        }
        for taken in taken.instances {
            self.take(taken, batch, at, now);
        }
    }

    /// An instance that the log has brought begins at once, unless it is to wait for something: then its changes do.
    fn take(&mut self, taken: TakenInstance, batch: u64, at: Moment, now: Moment) {
        let TakenInstance {
            key,
            unread,
            snapshot,
        } = taken;
        let Phase::Leading(term) = &self.phase else {
            return;
        };
        // It has begun meanwhile, and is read later than this.
        if self.running.contains_key(&key) || !term.tables.contains(&key.watched_id) {
            return;
        }
        let epoch = term.epoch;
        let cause = snapshot
            .as_ref()
            .map_or(Cause::Other, |snapshot| snapshot.cause(Cause::Other));
        let Some(wake) = self.queue.begin(&key, cause, now) else {
            let until = now + self.settings.limits.interval;
            if self.log.resting.len() < MOST_RESTING {
                self.log.resting.insert(key, until);
            }
            return self.put_off(key, unread);
        };
        self.begin_with(key, wake, epoch, batch, now);
        if let Some(run) = self.running.get_mut(&key) {
            run.unread = unread;
        }
        self.first_read(key, snapshot, (batch, at), now);
    }

    /// Its changes were read and are not answered for: it is looked at again by other means than the log.
    pub(super) fn put_off(&mut self, key: Key, unread: Vec<i64>) {
        if !unread.is_empty() {
            self.log.put_offs.want((key, unread));
        }
    }

    /// The changes that one under way has read are put off before their time; it is remembered by that it is under way.
    pub(super) fn put_off_what_is_under_way(&mut self, key: Key) {
        let leads_in = self
            .running
            .get(&key)
            .is_some_and(|run| self.leads(run.epoch));
        if leads_in && let Some(run) = self.running.get_mut(&key) {
            let unread = std::mem::take(&mut run.unread);
            self.put_off(key, unread);
        }
    }

    /// The next changes that are to be put off.
    pub(super) fn begin_put_off(&mut self) -> Option<Command> {
        let Phase::Leading(term) = &self.phase else {
            return None;
        };
        let all = self
            .log
            .put_offs
            .begin(|waiting| waiting.len().min(MOST_READ))?;
        let (keys, changes): (Vec<Key>, Vec<Vec<i64>>) = all.into_iter().unzip();
        self.log.being_put_off = keys;
        Some(Command::PutOff {
            epoch: term.epoch,
            changes: changes.concat(),
        })
    }

    /// They are put off, or could not be: then the log brings them again.
    pub(super) fn was_put_off(&mut self, result: Result<bool, Failure>, now: Moment) {
        self.log.put_offs.ended();
        self.read_on();
        // Of an earlier term nobody is waited for.
        let keys = std::mem::take(&mut self.log.being_put_off);
        if keys.is_empty() {
            return;
        }
        // What is new of them was passed over meanwhile.
        self.log.owed = true;
        match result {
            Ok(true) => {}
            Ok(false) => self.leave("another process has taken over".to_owned(), false, now),
            Err(failure) if failure.kind == FailureKind::Busy => {
                if let Some(key) = keys.first() {
                    self.say(Notice::Busy(*key, failure));
                }
            }
            Err(failure) => self.missed(failure, now),
        }
    }

    /// Its changes that no record has answered for are put off, so that the log does not bring them again at once.
    pub(super) fn put_off_unanswered(&mut self, key: Key, run: &mut Run, outcome: &Outcome) {
        let unread = std::mem::take(&mut run.unread);
        // The log may hold what it was passed over for.
        self.log.owed |= self.log.last > run.read_in;
        if run.answered || !self.leads(run.epoch) {
            return;
        }
        match outcome {
            // It is looked at again at once, or its table is not there, or not ours to look at.
            Outcome::Overtaken | Outcome::UnknownTable | Outcome::EpochEnded => {}
            Outcome::Failed(failure) if failure.kind == FailureKind::NoTable => {}
            Outcome::Final
            | Outcome::Ready(_)
            | Outcome::Again { .. }
            | Outcome::Transient
            | Outcome::Failed(_)
            | Outcome::Unsure
            | Outcome::NotAsked(_)
            | Outcome::Doubted(_) => self.put_off(key, unread),
        }
    }
}
