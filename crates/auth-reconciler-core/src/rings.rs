//! What a ring may cost. Any role may send one, so it is believed only to say that there may be something to read in the
//! change log, where what really happened stands. Reads that bring something cost nothing here; those that bring nothing keep
//! to a pace.
//! A change that could not be logged was counted outside its transaction, and is answered for by that count. A ring for
//! everything without a count is heeded as well, should it come from triggers of an earlier version, but at a pace at
//! which it harms nobody.

use std::time::Duration;

use crate::queue::Moment;

#[cfg(test)]
mod tests;

/// So many at once, and then one each time this long has passed.
#[derive(Clone, Copy, Debug)]
struct Pace {
    burst: u32,
    every: Duration,
    /// When all of the burst can be had again.
    full: Moment,
}

impl Pace {
    const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            full: Moment::ZERO,
        }
    }

    /// When the next one may be had.
    fn next(&self) -> Moment {
        self.full
            .saturating_sub(self.every * self.burst.saturating_sub(1))
    }

    fn take(&mut self, now: Moment) -> bool {
        let free = self.next() <= now;
        if free {
            self.full = self.full.max(now) + self.every;
        }
        free
    }

    fn give_back(&mut self) {
        self.full = self.full.saturating_sub(self.every);
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Read the change log.
    pub log: bool,
    /// List the watched tables anew.
    pub scan: bool,
    /// Have looks at all rows be owed.
    pub everything: bool,
}

/// The rings of a channel that anybody may ring, and what is owed because of them.
#[derive(Clone, Debug)]
pub struct Rings {
    readings: Pace,
    scans: Pace,
    counted: Pace,
    uncounted: Pace,
    log_owed: bool,
    scan_owed: bool,
    counted_owed: bool,
    uncounted_owed: bool,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            // A short read each, that brings nothing.
            readings: Pace::new(512, Duration::from_millis(4)),
            scans: Pace::new(2, Duration::from_millis(250)),
            // Each costs a probe of every instance. While changes cannot be logged, every write of the manager's counts.
            counted: Pace::new(2, Duration::from_secs(30)),
            uncounted: Pace::new(2, Duration::from_secs(60)),
            log_owed: false,
            scan_owed: false,
            counted_owed: false,
            uncounted_owed: false,
        }
    }
}

impl Rings {
    /// Somebody rang.
    pub fn log(&mut self) {
        self.log_owed = true;
    }

    /// What was read because somebody rang has brought something.
    pub fn brought(&mut self) {
        self.readings.give_back();
    }

    /// Somebody rang for a list of the tables, or in words that are not understood.
    pub fn scan(&mut self) {
        self.scan_owed = true;
    }

    /// Somebody rang for everything. Whether it was counted is found with a scan.
    pub fn everything(&mut self) {
        self.scan_owed = true;
        self.uncounted_owed = true;
    }

    /// A scan found that changes were counted and not answered for.
    pub fn counted(&mut self) {
        self.counted_owed = true;
    }

    /// What may be done now of what is owed; it is owed no longer. One look at everything answers for all rings for it.
    pub fn due(&mut self, now: Moment) -> Due {
        let counted = self.counted_owed && self.counted.take(now);
        let everything = counted || (self.uncounted_owed && self.uncounted.take(now));
        let log = self.log_owed && self.readings.take(now);
        let scan = self.scan_owed && self.scans.take(now);
        self.log_owed &= !log;
        self.scan_owed &= !scan;
        self.counted_owed &= !everything;
        self.uncounted_owed &= !everything;
        Due {
            log,
            scan,
            everything,
        }
    }

    /// Whether somebody rang for the log and was not heeded yet.
    #[must_use]
    pub const fn owes_log(&self) -> bool {
        self.log_owed
    }

    /// Whether somebody rang for everything and was not heeded yet.
    #[must_use]
    pub const fn owes_everything(&self) -> bool {
        self.counted_owed || self.uncounted_owed
    }

    /// When [`Rings::due`] has something to say though nobody rings until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let log = self.log_owed.then(|| self.readings.next());
        let scan = self.scan_owed.then(|| self.scans.next());
        let counted = self.counted_owed.then(|| self.counted.next());
        let uncounted = self.uncounted_owed.then(|| self.uncounted.next());
        [log, scan, counted, uncounted].into_iter().flatten().min()
    }
}
