//! What the ear heard and nobody has fetched yet.
//!
//! Bounded by [`MAX_KEYS`], for any role may ring.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use auth_reconciler_core::controller::Notified;
use auth_reconciler_core::{Cause, Key};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::listener::Hears;
use crate::mailbox::Mailbox;

/// Keys that are kept apart between two fetches; more than are read without a reading of the log.
const MAX_KEYS: usize = 1_024;

/// Shared by the ear's connection, which fills it, and the loop, which empties it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    heard: Mailbox<Notified>,
    echoes: Mutex<HashMap<Uuid, oneshot::Sender<()>>>,
}

impl Inbox {
    /// Takes in the payload of one notification. What is not understood asks for a scan: somebody
    /// rang.
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
        self.heard.put(|heard| match parse_key(payload) {
            // Any role may ring: beyond what a fleet can mean, one scan takes the place of all others.
            Some((key, _)) if heard.keys.len() >= MAX_KEYS && !heard.keys.contains_key(&key) => {
                heard.scan = true;
            }
            Some((key, cause)) => {
                heard
                    .keys
                    .entry(key)
                    .and_modify(|kept| *kept = (*kept).max(cause))
                    .or_insert(cause);
            }
            None if payload == "resync" => heard.resync = true,
            None => heard.scan = true,
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
fn parse_key(payload: &str) -> Option<(Key, Cause)> {
    let mut parts = payload.splitn(3, '/');
    let watched_id = parts.next()?.parse().ok()?;
    let instance_id = Uuid::parse_str(parts.next()?).ok()?;
    Some((
        Key {
            watched_id,
            instance_id,
        },
        Cause::parse(parts.next()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn doubles_merge_and_the_greatest_cause_stays() {
        let inbox = Inbox::default();
        let id = Uuid::from_u128(7);
        inbox.notification(&format!("3/{id}/drift"));
        inbox.notification(&format!("3/{id}/account"));
        inbox.notification(&format!("3/{id}/drift"));
        let heard = inbox.fetch().await;
        let expected = HashMap::from([(
            Key {
                watched_id: 3,
                instance_id: id,
            },
            Cause::Account,
        )]);
        assert_eq!(heard.keys, expected);
        assert!(!heard.scan && !heard.resync && heard.lost.is_none());
    }

    #[tokio::test]
    async fn a_flood_is_kept_as_one_ring_for_the_log() {
        let inbox = Inbox::default();
        for id in 0..400_000 {
            inbox.notification(&format!("1/{}/drift", Uuid::from_u128(id)));
        }
        let heard = inbox.fetch().await;
        assert!(heard.scan && heard.keys.len() <= MAX_KEYS);
    }

    #[tokio::test]
    async fn what_is_not_understood_asks_for_a_scan() {
        for payload in ["", "scan", "x/y/z", "3/not-a-uuid/drift", "3"] {
            let inbox = Inbox::default();
            inbox.notification(payload);
            assert!(inbox.fetch().await.scan, "{payload}");
        }
    }
}
