//! What the ear heard and nobody has fetched yet.
//!
//! A set, not a channel: the task that polls the ear's connection must never wait for a consumer,
//! and doubles cost nothing. It is bounded by [`MAX_KEYS`].

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

use auth_reconciler_core::Cause;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::tables::Key;

/// Keys that are kept apart between two fetches; more than are read without a reading of the log.
const MAX_KEYS: usize = 1_024;

/// Shared by the ear's connection, which fills it, and the loop, which empties it.
#[derive(Debug)]
pub(crate) struct Inbox {
    heard: Mutex<Heard>,
    arrived: Notify,
    echoes: Mutex<HashMap<Uuid, oneshot::Sender<()>>>,
}

/// One emptying of the inbox.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Keys that rang, each with its greatest cause.
    pub(crate) keys: HashMap<Key, Cause>,
    /// Read the change log: more happened than was rung for.
    pub(crate) scan: bool,
    /// Look at everything: a change could not be logged.
    pub(crate) resync: bool,
    /// The connection has ended, and why.
    pub(crate) lost: Option<String>,
}

impl Inbox {
    /// An empty inbox.
    pub(crate) fn new() -> Self {
        Self {
            heard: Mutex::default(),
            arrived: Notify::new(),
            echoes: Mutex::default(),
        }
    }

    /// Takes in the payload of one notification. What is not understood asks for a scan: somebody
    /// rang.
    pub(crate) fn notification(&self, payload: &str) {
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
        self.change(|heard| match parse_key(payload) {
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

    /// The connection has ended.
    pub(crate) fn lost(&self, why: String) {
        self.change(|heard| heard.lost = Some(why));
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn fetch(&self) -> Heard {
        loop {
            let arrived = self.arrived.notified();
            let heard = mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
            if !heard.keys.is_empty() || heard.scan || heard.resync || heard.lost.is_some() {
                return heard;
            }
            arrived.await;
        }
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
        mem::take(
            &mut self
                .heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .resync,
        )
    }

    fn change(&self, act: impl FnOnce(&mut Heard)) {
        act(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
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
        let inbox = Inbox::new();
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
        let inbox = Inbox::new();
        for id in 0..400_000 {
            inbox.notification(&format!("1/{}/drift", Uuid::from_u128(id)));
        }
        let heard = inbox.fetch().await;
        assert!(heard.scan && heard.keys.len() <= MAX_KEYS);
    }

    #[tokio::test]
    async fn what_is_not_understood_asks_for_a_scan() {
        for payload in ["", "scan", "x/y/z", "3/not-a-uuid/drift", "3"] {
            let inbox = Inbox::new();
            inbox.notification(payload);
            assert!(inbox.fetch().await.scan, "{payload}");
        }
    }
}
