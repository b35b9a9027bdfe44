//! How long an API is left to answer before its look gives way.

use std::time::Instant;

use auth_reconciler_core::queue::PATIENCE;
use tokio::sync::watch;

/// Whether the probe of a run is to end without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It is waited for.
    #[default]
    No,
    /// A first look waits for its slot: once the API has had its time.
    InTime,
    /// Its answer would be worth nothing: something happened since it was sent.
    Now,
}

/// Returns when a probe that was sent at `sent` is to end without an answer: at once if its answer would be worth
/// nothing, and for a first look not before its API has had [`PATIENCE`] to answer. The queue counts from the beginning
/// of the run, and where the database is slow that much is over before anything was sent: nobody would be asked at all.
/// `None` if nobody can want it any more.
pub(super) async fn asked_to_end(end: &mut watch::Receiver<End>, sent: Instant) -> Option<()> {
    let asked = *end.wait_for(|end| *end != End::No).await.ok()?;
    if asked == End::InTime {
        let sooner = end.wait_for(|end| *end == End::Now);
        // Whether it was, or nobody can say so any more, or the time is over: it ends.
        let _ = tokio::time::timeout_at((sent + PATIENCE).into(), sooner).await;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_api_has_its_time_unless_its_answer_is_worth_nothing() {
        let (asked, mut end) = watch::channel(End::No);
        let just_sent = Instant::now() + Duration::from_secs(3_600);
        let long_ago = Instant::now() - PATIENCE;
        assert_eq!(asked_to_end(&mut end, long_ago).now_or_never(), None);
        asked.send_replace(End::InTime);
        assert_eq!(asked_to_end(&mut end, just_sent).now_or_never(), None);
        assert_eq!(asked_to_end(&mut end, long_ago).await, Some(()));
        // Also for one that is being waited for already.
        let mut waited_for = Box::pin(asked_to_end(&mut end, just_sent));
        assert_eq!(waited_for.as_mut().now_or_never(), None);
        asked.send_replace(End::Now);
        assert_eq!(waited_for.now_or_never(), Some(Some(())));
    }

    #[tokio::test]
    async fn a_run_that_nobody_follows_any_more_is_not_ended() {
        let (asked, mut end) = watch::channel(End::No);
        drop(asked);
        assert_eq!(
            asked_to_end(&mut end, Instant::now()).now_or_never(),
            Some(None)
        );
    }
}
