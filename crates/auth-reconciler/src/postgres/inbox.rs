//! What the ear heard and nobody has fetched yet.
//!
//! A ring says that there may be something new in the change log. The words:
//!
//! * `watched/id/cause`: the first row of a transaction; for people who listen. What happened to it, and to others, stands in
//!   the log. Only a table that is not known yet leads to more.
//! * `log`: the same without a row.
//! * `scan`, and whatever is not understood (triggers of an earlier or a later version): the watched tables may be others,
//!   too.
//! * `resync`: a change could not be logged.
//!
//! Bounded by [`MAX_HINTS`], for any role may ring.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::Notified;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::listener::Hears;
use crate::mailbox::Mailbox;

/// Keys that are kept apart between two fetches.
const MAX_HINTS: usize = 1_024;

/// Shared by the ear's connection, which fills it, and the loop, which empties it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    heard: Mailbox<Notified>,
    echoes: Mutex<HashMap<Uuid, oneshot::Sender<()>>>,
}

impl Inbox {
    /// Takes in the payload of one notification.
    fn notification(&self, payload: &str) {
        if let Some(nonce) = payload.strip_prefix("echo/") {
            // Those of other processes are for their ears.
            let expected = Uuid::parse_str(nonce)
                .ok()
                .and_then(|nonce| self.forget_echo(nonce));
            if let Some(expected) = expected {
                // Nobody waits any more if it came too late.
                let _ = expected.send(());
            }
            return;
        }
        self.heard.put(|heard| {
            heard.rang = true;
            match (parse_key(payload), payload) {
                (Some(key), _) if heard.hints.len() < MAX_HINTS => {
                    heard.hints.insert(key);
                }
                (Some(_), _) | (None, "log") => {}
                (None, "resync") => heard.resync = true,
                (None, _) => heard.scan = true,
            }
        });
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn fetch(&self) -> Notified {
        self.heard.fetch().await
    }

    /// Resolves when the echo with this nonce is heard; call it before the echo is sent.
    pub(crate) fn expect_echo(&self, nonce: Uuid) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.echoes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(nonce, sender);
        receiver
    }

    /// The echo with this nonce is no longer waited for.
    pub(crate) fn forget_echo(&self, nonce: Uuid) -> Option<oneshot::Sender<()>> {
        self.echoes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&nonce)
    }

    /// Whether a look at everything was asked for and not fetched; taken with the answer.
    pub(crate) fn take_resync(&self) -> bool {
        self.heard.take(|heard| &mut heard.resync)
    }
}

impl Hears for Inbox {
    fn rang(&self, _channel: &str, payload: &str) {
        self.notification(payload);
    }

    fn lost(&self, why: String) {
        self.heard.put(|heard| heard.lost = Some(why));
    }
}

/// `watched_id/instance_id/cause`
fn parse_key(payload: &str) -> Option<Key> {
    let mut parts = payload.splitn(3, '/');
    let watched_id = parts.next()?.parse().ok()?;
    let instance_id = Uuid::parse_str(parts.next()?).ok()?;
    parts.next().map(|_cause| Key {
        watched_id,
        instance_id,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn the_first_rows_of_transactions_are_hints_and_nothing_else() {
        let inbox = Inbox::default();
        let id = Uuid::from_u128(7);
        inbox.notification(&format!("3/{id}/drift"));
        inbox.notification(&format!("3/{id}/account"));
        let heard = inbox.fetch().await;
        let key = Key {
            watched_id: 3,
            instance_id: id,
        };
        let expected = Notified {
            rang: true,
            hints: BTreeSet::from([key]),
            ..Notified::default()
        };
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn further_rows_tell_nothing_but_that_there_are_some() {
        let inbox = Inbox::default();
        inbox.notification("log");
        let expected = Notified {
            rang: true,
            ..Notified::default()
        };
        assert_eq!(inbox.fetch().await, expected);
    }

    #[tokio::test]
    async fn a_change_that_could_not_be_logged_asks_for_everything() {
        let inbox = Inbox::default();
        inbox.notification("resync");
        let expected = Notified {
            rang: true,
            resync: true,
            ..Notified::default()
        };
        assert_eq!(inbox.fetch().await, expected);
    }

    #[tokio::test]
    async fn of_a_flood_no_more_is_kept_than_that_there_was_one() {
        let inbox = Inbox::default();
        for id in 0..400_000 {
            inbox.notification(&format!("1/{}/drift", Uuid::from_u128(id)));
        }
        let heard = inbox.fetch().await;
        assert!(heard.rang && !heard.scan);
        assert!(heard.hints.len() <= MAX_HINTS);
    }

    #[tokio::test]
    async fn what_is_not_understood_asks_for_a_scan() {
        for payload in ["", "scan", "x/y/z", "3/not-a-uuid/drift", "3"] {
            let inbox = Inbox::default();
            inbox.notification(payload);
            let heard = inbox.fetch().await;
            assert!(heard.rang && heard.scan, "{payload}");
        }
    }
}
