//! A run of a key, from its begin to its end.

use std::hash::Hash;

use super::entry::{Lane, Running};
use super::{Command, Moment, Next, Queue, Wake};
use crate::Cause;

impl<K: Clone + Ord + Hash> Queue<K> {
    pub(super) fn start(&mut self, key: K, lane: Lane, now: Moment) -> Option<Command<K>> {
        let entry = self.entries.get_mut(&key)?;
        entry.waiting = None;
        let wake = entry.take_wake()?;
        self.run(&key, wake, (lane, false), now);
        Some(Command::Start { key, wake })
    }

    /// Notes that it runs: for what, and in which lane, and whether it came from the log.
    pub(super) fn run(&mut self, key: &K, wake: Wake, (lane, from_log): (Lane, bool), now: Moment) {
        let limits = self.limits;
        let entry = self.entry(key, now);
        entry.running = Some(Running {
            wake,
            lane,
            from_log,
            since: now,
            asked_to_give_way: false,
        });
        entry.pace.spend(now, &limits);
        self.active.insert(key.clone());
        self.running_from_log += usize::from(from_log);
        if lane == Lane::Retry {
            self.running_retries += 1;
        }
        // The run answers for whatever the deadline was for.
        self.disarm(key);
    }

    /// The run of `key` comes to nothing, as somebody holds what it needs: what asked for it is told with the next one, if
    /// one follows by the clock.
    pub fn carry(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.carried = entry.running.map(|run| run.wake);
        }
    }

    /// The run of `key` was asked to give way and cannot, and another one does in its place: it may be asked again.
    pub fn spare(&mut self, key: &K) {
        let entry = self.entries.get_mut(key);
        if let Some(run) = entry.and_then(|entry| entry.running.as_mut()) {
            run.asked_to_give_way = false;
        }
    }

    /// The run of `key` has ended.
    pub fn finish(&mut self, key: &K, next: Next, now: Moment) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Some(run) = entry.running.take() else {
            return;
        };
        self.active.remove(key);
        if run.lane == Lane::Retry {
            self.running_retries -= 1;
        }
        self.running_from_log -= usize::from(run.from_log);
        entry.drift_held = None;
        match next {
            Next::Settled => {
                entry.carried = None;
                // What the container said before it converged: nothing that the run has not seen.
                entry.wake = entry.wake.filter(|wake| wake.cause != Cause::Output);
                self.disarm(key);
            }
            Next::At { due, hold_drift } => {
                if hold_drift {
                    entry.drift_held = Some(due);
                    // Kept wakes of the run that were foreign writes alone wait for the end of the hold.
                    entry.wake = entry.wake.filter(|wake| wake.cause > Cause::Drift);
                }
                self.arm(key, due, Cause::Backoff);
            }
        }
        self.line_up(key, now);
    }
}
