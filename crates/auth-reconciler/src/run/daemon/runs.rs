//! What can be told to a run while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use auth_reconciler_core::witness::Known;
use tokio::sync::oneshot;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run {
    give_way: Option<oneshot::Sender<()>>,
    drifted: Option<oneshot::Sender<()>>,
    overtaken: Arc<AtomicBool>,
    heard: Arc<OnceLock<Instant>>,
    known: Known,
}

impl Run {
    /// Its handle, and what fires when it is to end its probe without an answer, and when somebody else has
    /// written the status meanwhile.
    pub(super) fn new(known: Known) -> (Self, oneshot::Receiver<()>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let (drift, drifted) = oneshot::channel();
        let run = Self {
            give_way: Some(sender),
            drifted: Some(drift),
            overtaken: Arc::new(AtomicBool::new(false)),
            heard: Arc::default(),
            known,
        };
        (run, receiver, drifted)
    }

    /// Set when something happens to its container, so that what it saw of it may no longer be so.
    pub(super) fn overtaken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.overtaken)
    }

    /// Holds when its API answered, if in the words of its profile.
    pub(super) fn heard(&self) -> Arc<OnceLock<Instant>> {
        Arc::clone(&self.heard)
    }

    /// When it did: the record of it may take long, and the way may be lost meanwhile.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard.get().copied()
    }

    /// What was known of our own way when it began.
    pub(super) const fn known(&self) -> Known {
        self.known
    }

    /// Its answer would be dropped, so it is not waited for: one that hangs would keep the status as it is.
    pub(super) fn overtake(&mut self) {
        self.overtaken.store(true, Ordering::Release);
        self.give_way();
    }

    /// Somebody else has written the status since it read it.
    pub(super) fn drifted(&mut self) {
        if let Some(sender) = self.drifted.take() {
            // It may have ended meanwhile.
            let _ = sender.send(());
        }
    }

    pub(super) fn give_way(&mut self) {
        if let Some(sender) = self.give_way.take() {
            // It may have ended meanwhile.
            let _ = sender.send(());
        }
    }
}
