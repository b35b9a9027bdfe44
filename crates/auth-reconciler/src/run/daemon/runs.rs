//! What can be told to a run while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run {
    give_way: Option<oneshot::Sender<()>>,
    overtaken: Arc<AtomicBool>,
}

impl Run {
    /// Its handle, and what fires when it is to end its probe without an answer.
    pub(super) fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let run = Self {
            give_way: Some(sender),
            overtaken: Arc::new(AtomicBool::new(false)),
        };
        (run, receiver)
    }

    /// Set when something happens to its container, so that what it saw of it may no longer be so.
    pub(super) fn overtaken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.overtaken)
    }

    /// Its answer would be dropped, so it is not waited for: one that hangs would keep the status as it is.
    pub(super) fn overtake(&mut self) {
        self.overtaken.store(true, Ordering::Release);
        self.give_way();
    }

    pub(super) fn give_way(&mut self) {
        if let Some(sender) = self.give_way.take() {
            // It may have ended meanwhile.
            let _ = sender.send(());
        }
    }
}
