//! Natural batching: one batch is under way, and what is wanted meanwhile goes with the next. When nothing is under way a
//! batch begins at once with what there is, so nobody waits for company.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// Hands items, one by one, to a task that works them off in batches. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Batcher<T, R> {
    sender: mpsc::UnboundedSender<Wanted<T, R>>,
}

/// An item, and who waits for what becomes of it. Bounded by those who wait: whoever no longer does has left it behind.
type Wanted<T, R> = (T, oneshot::Sender<R>);

impl<T, R> Batcher<T, R>
where
    T: Send + 'static,
    R: Send + 'static,
{
    /// `bound` says how many of those that wait, the oldest first, go with the next batch; `work` returns a result for each,
    /// in their order.
    pub(super) fn start<F>(
        bound: impl FnMut(&VecDeque<T>) -> usize + Send + 'static,
        work: impl FnMut(Vec<T>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(work_off(receiver, bound, work));
        Self { sender }
    }

    /// Has one item worked off; `None` if its batch ended without a result for it.
    pub(super) async fn run(&self, item: T) -> Option<R> {
        let (result, wanted) = oneshot::channel();
        self.sender.send((item, result)).ok()?;
        wanted.await.ok()
    }
}

async fn work_off<T, R, F: Future<Output = Vec<R>>>(
    mut receiver: mpsc::UnboundedReceiver<Wanted<T, R>>,
    mut bound: impl FnMut(&VecDeque<T>) -> usize,
    mut work: impl FnMut(Vec<T>) -> F,
) {
    let (mut items, mut results) = (VecDeque::new(), VecDeque::new());
    loop {
        if items.is_empty() {
            let Some((item, result)) = receiver.recv().await else {
                return;
            };
            items.push_back(item);
            results.push_back(result);
        }
        while let Ok((item, result)) = receiver.try_recv() {
            items.push_back(item);
            results.push_back(result);
        }
        let many = bound(&items).clamp(1, items.len());
        let batch: Vec<T> = items.drain(..many).collect();
        let waiting: Vec<_> = results.drain(..many).collect();
        match AssertUnwindSafe(work(batch)).catch_unwind().await {
            Ok(done) => {
                for (result, done) in waiting.into_iter().zip(done) {
                    // Whoever gave up waiting needs none.
                    let _ = result.send(done);
                }
            }
            Err(_) => error!("a batch panicked; its looks will be repeated, please report this"),
        }
    }
}

#[cfg(test)]
mod tests;
