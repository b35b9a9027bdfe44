//! For how long after an answer lines may still come that its request caused.
//!
//! The container writes them within [`TAIL`]; a busy machine or engine may bring them later than that, and
//! then each look would lead to the next until there are no tokens left. So where looks in a row found
//! nothing new, and after the answer of each of them lines came late, the tail of this life grows: what is
//! said then is seen a little later, instead of a minute.

use std::time::Duration;

use super::own::Kind;
use crate::queue::Moment;

/// Lines that a probe causes come no later than this after its answer.
pub(super) const TAIL: Duration = Duration::from_millis(55);

/// A line that comes later than this is no late one, however slow the way.
const LATEST: Duration = Duration::from_millis(300);

/// A look after whose answer lines came late counts for so much, one after which they did not for one less …
const LATE: u32 = 2;

/// … and this is no accident any more: four looks in a row, or some more where half of them are late.
const ENOUGH: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Tail {
    length: Duration,
    /// The last answer.
    last: Option<Last>,
    /// Lines with the status path came since the probe was sent: those come in time, and there are no others.
    path: bool,
    suspicion: u32,
    /// The latest of the lines that led to it.
    latest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    kind: Kind,
    at: Moment,
    late: bool,
    path: bool,
}

impl Tail {
    pub(super) const fn new() -> Self {
        Self {
            length: TAIL,
            last: None,
            path: false,
            suspicion: 0,
            latest: Duration::ZERO,
        }
    }

    pub(super) const fn length(&self) -> Duration {
        self.length
    }

    pub(super) const fn sent(&mut self) {
        self.path = false;
    }

    /// There was a line that holds the status path.
    pub(super) fn path(&mut self) {
        self.path = true;
        if let Some(last) = &mut self.last {
            last.path = true;
        }
    }

    /// A line came when no window was open.
    pub(super) fn outside(&mut self, now: Moment) {
        if let Some(last) = &mut self.last
            && now <= last.at + LATEST
        {
            last.late = true;
            self.latest = self.latest.max(now.saturating_sub(last.at));
        }
    }

    /// A probe was answered. Returns true if the tail has grown, so that what was counted was counted short.
    pub(super) fn answered(&mut self, kind: Kind, now: Moment) -> bool {
        if let Some(last) = self.last.take() {
            let same = last.kind == kind && !last.path;
            if same && last.late {
                self.suspicion += LATE;
            } else if same && now > last.at + LATEST {
                self.suspicion = self.suspicion.saturating_sub(1);
            } else if !same {
                self.suspicion = 0;
            }
            if self.suspicion == 0 {
                self.latest = Duration::ZERO;
            }
        }
        if kind.is_answer() {
            self.last = Some(Last {
                kind,
                at: now,
                late: false,
                path: self.path,
            });
        }
        if self.suspicion < ENOUGH {
            return false;
        }
        self.suspicion = 0;
        let enough = self.latest + self.latest / 2;
        self.length = enough.min(LATEST).max(self.length);
        true
    }
}
