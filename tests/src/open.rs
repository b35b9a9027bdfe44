//! The connections that a link has open, and how they are cut.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;

/// The connections that are open, each with the number of cuts when it began.
#[derive(Debug)]
pub(crate) struct Connections {
    open: watch::Sender<Vec<u64>>,
    cuts: watch::Sender<u64>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            open: watch::Sender::new(Vec::new()),
            cuts: watch::Sender::new(0),
        }
    }
}

impl Connections {
    /// Another one, which is open until this is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        let cuts = *self.cuts.borrow();
        self.open.send_modify(|open| open.push(cuts));
        Open {
            connections: Arc::clone(self),
            cuts,
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Cuts those that are open, at once; the result waits until they are gone. One that begins meanwhile goes on:
    /// who is cut off tries again, and would be waited for without end.
    pub(crate) fn cut(&self) -> impl Future<Output = Result<()>> + use<> {
        let mut cuts = 0;
        self.cuts.send_modify(|count| {
            *count += 1;
            cuts = *count;
        });
        let mut open = self.open.subscribe();
        async move {
            open.wait_for(|open| open.iter().all(|began| *began >= cuts))
                .await?;
            Ok(())
        }
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Open {
    connections: Arc<Connections>,
    cuts: u64,
}

impl Open {
    /// Waits until it is cut.
    pub(crate) async fn cut(&self) {
        let mut cuts = self.connections.cuts.subscribe();
        let _ = cuts.wait_for(|cuts| *cuts != self.cuts).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.send_modify(|open| {
            if let Some(place) = open.iter().position(|began| *began == self.cuts) {
                open.swap_remove(place);
            }
        });
    }
}
