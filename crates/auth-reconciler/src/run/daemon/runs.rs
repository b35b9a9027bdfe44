//! What can be told to a run while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use auth_reconciler_core::witness::{Known, Reading, Word};
use tokio::sync::{Notify, watch};

use crate::run::news::{Marks, News};
use crate::run::patience::End;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run {
    end: watch::Sender<End>,
    drifted: Arc<Notify>,
    overtaken: Arc<AtomicBool>,
    heard: Arc<OnceLock<(Word, Instant)>>,
    reading: Arc<OnceLock<Reading>>,
    known: Known,
    news: Arc<News>,
    rung: bool,
}

impl Run {
    /// Its handle, and what fires when it is to end its probe without an answer. `before` is what the look before it has
    /// read and not answered for.
    pub(super) fn new(
        known: Known,
        before: Option<Marks>,
        rung: bool,
    ) -> (Self, watch::Receiver<End>) {
        let (end, receiver) = watch::channel(End::No);
        let run = Self {
            end,
            drifted: Arc::default(),
            overtaken: Arc::new(AtomicBool::new(false)),
            heard: Arc::default(),
            reading: Arc::default(),
            known,
            news: Arc::new(News::after(before)),
            rung,
        };
        (run, receiver)
    }

    /// Set when something happens to its container, so that what it saw of it may no longer be so.
    pub(super) fn overtaken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.overtaken)
    }

    /// Holds what its API said that is of weight for others, and when.
    pub(super) fn heard(&self) -> Arc<OnceLock<(Word, Instant)>> {
        Arc::clone(&self.heard)
    }

    /// The same: the record of it may take long, and the way may be lost meanwhile.
    pub(super) fn word(&self) -> Option<(Word, Instant)> {
        self.heard.get().copied()
    }

    /// What it knows of the look before it, and tells the next.
    pub(super) fn news(&self) -> Arc<News> {
        Arc::clone(&self.news)
    }

    /// What it has read and not answered for, if it has ended without a record that is final.
    pub(super) fn left(&self) -> Option<Marks> {
        self.news.read()
    }

    /// Whether nothing but rings led to it, and it could not read whether there is a change.
    pub(super) fn was_for_nothing(&self) -> bool {
        self.rung && self.left().is_none()
    }

    /// Holds the database's time and ours, once it has read them.
    pub(super) fn reading(&self) -> Arc<OnceLock<Reading>> {
        Arc::clone(&self.reading)
    }

    /// Both clocks as it read them.
    pub(super) fn clocks(&self) -> Option<Reading> {
        self.reading.get().copied()
    }

    /// What was known of our own way when it began.
    pub(super) const fn known(&self) -> Known {
        self.known
    }

    /// Its answer would be dropped, so it is not waited for: one that hangs would keep the status as it is.
    pub(super) fn overtake(&self) {
        self.overtaken.store(true, Ordering::Release);
        self.give_up();
    }

    /// Rings when somebody else may have written the status since it read it.
    pub(super) fn drifted(&self) -> Arc<Notify> {
        Arc::clone(&self.drifted)
    }

    /// A first look waits for its slot: its probe is to end, once the API has had its time.
    pub(super) fn give_way(&self) {
        self.ask_to(End::InTime);
    }

    /// Its probe is to end at once: something was told that it may never see.
    pub(super) fn give_up(&self) {
        self.ask_to(End::Now);
    }

    fn ask_to(&self, wanted: End) {
        // It may have ended meanwhile; and what it is asked to do at once is not put off.
        self.end.send_modify(|end| *end = wanted.max(*end));
    }
}
