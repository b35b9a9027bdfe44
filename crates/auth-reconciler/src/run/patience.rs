//! How long an API is left to answer before its look gives way.

use std::time::Instant;

use auth_reconciler_core::controller::Stop;
use auth_reconciler_core::queue::PATIENCE;
use tokio::sync::watch;

/// Returns when a probe that was sent at `sent` is to end without an answer: at once if its answer would be worth
/// nothing, and for a first look not before its API has had [`PATIENCE`] to answer. The queue counts from the beginning
/// of the run, and where the database is slow that much is over before anything was sent: nobody would be asked at all.
/// `None` if nobody can want it any more.
pub(super) async fn asked_to_end(
    asked: &mut watch::Receiver<Option<Stop>>,
    sent: Instant,
) -> Option<()> {
    let stop = *asked.wait_for(Option::is_some).await.ok()?;
    if stop == Some(Stop::GiveWay) {
        let sooner = asked.wait_for(|stop| *stop > Some(Stop::GiveWay));
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
        let (asked, mut end) = watch::channel(None);
        let just_sent = Instant::now() + Duration::from_secs(3_600);
        let long_ago = Instant::now() - PATIENCE;
        assert_eq!(asked_to_end(&mut end, long_ago).now_or_never(), None);
        asked.send_replace(Some(Stop::GiveWay));
        assert_eq!(asked_to_end(&mut end, just_sent).now_or_never(), None);
        assert_eq!(asked_to_end(&mut end, long_ago).await, Some(()));
        // Also for one that is being waited for already.
        let mut waited_for = Box::pin(asked_to_end(&mut end, just_sent));
        assert_eq!(waited_for.as_mut().now_or_never(), None);
        asked.send_replace(Some(Stop::GiveUp));
        assert_eq!(waited_for.now_or_never(), Some(Some(())));
    }

    #[tokio::test]
    async fn one_that_nobody_follows_any_more_is_not_ended() {
        let (asked, mut end) = watch::channel(None);
        drop(asked);
        assert_eq!(
            asked_to_end(&mut end, Instant::now()).now_or_never(),
            Some(None)
        );
    }
}
