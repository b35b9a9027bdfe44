//! What belongs to one term of leading, and to no other.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::bell::Bell;
use super::engine::Engine;
use crate::queue::Moment;

/// What is known and under way while one term of leading lasts.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) epoch: Uuid,
    /// Numbers of the tables that are served, as of the last scan.
    pub(super) tables: BTreeSet<i32>,
    /// A scan is under way.
    pub(super) scanning: bool,
    /// Another scan is wanted.
    pub(super) scan_wanted: bool,
    /// The next one finds also what was not recorded as final, as after every gap in hearing.
    pub(super) unsettled: bool,
    /// And what was put off: then, and when a table was not served for a while.
    pub(super) put_off: bool,
    /// Whether it was said that this term serves.
    pub(super) announced: bool,
    /// The engine, and what is known of it.
    pub(super) engine: Engine,
    /// What `watch()` and `unwatch()` left to do.
    pub(super) owed: Owed,
    /// When the next echo is due; `None` while one is under way.
    pub(super) echo_due: Option<Moment>,
    /// Instances that count as ready are to be found.
    pub(super) ready_wanted: bool,
    /// Whether writers have to ring.
    pub(super) bell: Bell,
}

impl Term {
    pub(super) fn begin(
        epoch: Uuid,
        tables: BTreeSet<i32>,
        has_engine: bool,
        echo_interval: Duration,
        now: Moment,
    ) -> Self {
        Self {
            epoch,
            tables,
            scanning: false,
            // Whatever happened while nobody heard is found by this first one.
            scan_wanted: true,
            unsettled: true,
            put_off: true,
            announced: false,
            engine: Engine::begin(has_engine, now),
            owed: Owed::default(),
            echo_due: Some(now + echo_interval),
            ready_wanted: false,
            bell: Bell::default(),
        }
    }
}

/// Where a term is with what is owed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Something may be owed.
    pub(super) wanted: bool,
    /// A round is under way.
    under_way: bool,
    /// Something could not be done now, and is tried with the next echo.
    later: bool,
}

impl Owed {
    /// Whether a round is to begin; it has then.
    pub(super) fn begin(&mut self) -> bool {
        if self.under_way || !std::mem::take(&mut self.wanted) {
            return false;
        }
        self.under_way = true;
        true
    }

    /// A round has ended; there is more to do at once, or later.
    pub(super) fn ended(&mut self, more: bool, later: bool) {
        self.under_way = false;
        self.wanted |= more;
        self.later |= later;
    }

    /// Has what could not be done be tried again.
    pub(super) fn try_again(&mut self) {
        self.wanted |= std::mem::take(&mut self.later);
    }
}
