//! How long an API is left to answer before its look gives way.

use std::sync::atomic::{AtomicBool, Ordering};

use auth_reconciler_core::queue::PATIENCE;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// Returns when a probe that was sent at `sent` is to end without an answer: at once if something happened to the
/// container, and else not before its API has had [`PATIENCE`] to answer. The queue counts from the beginning of the
/// run, and where the database is slow that much is over before anything was sent: nobody would be asked at all.
/// `None` if nobody can want it any more.
pub(super) async fn asked_to_end(
    give_way: &mut oneshot::Receiver<()>,
    overtaken: &AtomicBool,
    sent: Instant,
) -> Option<()> {
    give_way.await.ok()?;
    if !overtaken.load(Ordering::Acquire) {
        sleep_until(sent + PATIENCE).await;
    }
    Some(())
}
