//! What arrived and nobody has fetched yet.
//!
//! Filled by tasks that poll a session or follow a stream, emptied by one that waits for it. Who fills it never waits,
//! however late it is emptied: a server's queue of notifications must not stand still because a terminal does. So it is
//! no channel but one value into which what arrives is merged; doubles cost nothing, and the value bounds itself.

use std::mem;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Holds an `M` between two fetches; its default is to be empty.
#[derive(Debug, Default)]
pub(crate) struct Mailbox<M> {
    mail: Mutex<M>,
    arrived: Notify,
}

impl<M: Default + PartialEq> Mailbox<M> {
    /// Merges something in, and wakes whoever waits.
    pub(crate) fn put(&self, merge: impl FnOnce(&mut M)) {
        self.with(merge);
        self.arrived.notify_one();
    }

    /// Takes a part of what is there, without waiting.
    pub(crate) fn take<P: Default>(&self, part: impl FnOnce(&mut M) -> &mut P) -> P {
        self.with(|mail| mem::take(part(mail)))
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn fetch(&self) -> M {
        loop {
            let arrived = self.arrived.notified();
            let mail = self.take(|mail| mail);
            if mail != M::default() {
                return mail;
            }
            arrived.await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut M) -> T) -> T {
        act(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn what_arrives_before_a_fetch_is_fetched_at_once_and_only_once() {
        let mailbox = Mailbox::<BTreeSet<u8>>::default();
        for number in [3, 1, 3] {
            mailbox.put(|numbers| {
                numbers.insert(number);
            });
        }
        assert_eq!(mailbox.fetch().await, BTreeSet::from([1, 3]));
        assert!(mailbox.take(|numbers| numbers).is_empty());
    }

    #[tokio::test]
    async fn a_fetch_waits_for_what_arrives_and_not_for_what_was_taken_before() {
        let mailbox = Mailbox::<BTreeSet<u8>>::default();
        mailbox.put(|numbers| {
            numbers.insert(1);
        });
        // Taken without a fetch: the wake that is left over finds nothing, and waits on.
        mailbox.take(|numbers| numbers);
        let (fetched, ()) = tokio::join!(mailbox.fetch(), async {
            tokio::task::yield_now().await;
            mailbox.put(|numbers| {
                numbers.insert(2);
            });
        });
        assert_eq!(fetched, BTreeSet::from([2]));
    }
}
