//! Many stubs at once, and what they see together.

use std::panic::Location;

use anyhow::Result;
use futures_util::future::{select_all, try_join_all};

use super::{Behaviour, Counts, Stub};
use crate::patience::{PATIENCE, within};

/// Many stubs with the same behaviour.
pub struct Fleet {
    /// The stubs.
    pub stubs: Vec<Stub>,
}

impl Fleet {
    /// Starts `count` Telegram instances.
    ///
    /// # Errors
    /// When there are not enough free ports.
    pub async fn start(count: usize, behaviour: Behaviour) -> Result<Self> {
        let stubs = try_join_all((0..count).map(|_| Stub::start(behaviour.clone()))).await?;
        Ok(Self { stubs })
    }

    /// Changes the behaviour of all.
    ///
    /// # Errors
    /// When a port cannot be opened again.
    pub async fn set(&self, behaviour: &Behaviour) -> Result<()> {
        try_join_all(self.stubs.iter().map(|stub| stub.set(behaviour.clone()))).await?;
        Ok(())
    }

    /// All requests that all stubs have seen.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sum(|stub| stub.shared.counts.borrow().total())
    }

    /// Requests at all stubs that are neither answered nor given up at the moment.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.sum(|stub| stub.shared.counts.borrow().open)
    }

    /// Waits until a figure of all stubs, added up, is `sum`.
    ///
    /// # Errors
    /// When that does not happen within the usual patience.
    #[track_caller]
    pub fn until_sum(
        &self,
        what: &str,
        sum: u64,
        of: impl Fn(&Counts) -> u64,
    ) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let mut changes: Vec<_> = (self.stubs.iter())
            .map(|stub| stub.shared.counts.subscribe())
            .collect();
        let reached = async move {
            // Looking marks them as seen, so whatever changes after a look ends the wait that follows it.
            loop {
                let seen = changes
                    .iter_mut()
                    .map(|counts| of(&counts.borrow_and_update()));
                if seen.sum::<u64>() == sum {
                    return;
                }
                let any = changes.iter_mut().map(|counts| Box::pin(counts.changed()));
                let _ = select_all(any).await;
            }
        };
        let what = format!("{sum} {what} at {} stubs", self.stubs.len());
        async move { within(PATIENCE, caller, &what, reached).await }
    }

    /// The ports, in order.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.stubs.iter().map(Stub::port).collect()
    }

    fn sum(&self, of: impl Fn(&Stub) -> u64) -> u64 {
        self.stubs.iter().map(of).sum()
    }
}
