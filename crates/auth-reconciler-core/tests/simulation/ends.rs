//! What the simulated daemon makes of the end of a look: step by step as `run/daemon/outcome.rs` and `way.rs` of
//! the real one.

use std::time::Duration;

use auth_reconciler_core::Cause;
use auth_reconciler_core::follow::{Command, Life};
use auth_reconciler_core::queue::Next;
use auth_reconciler_core::witness::{Heard, Word};

use crate::daemon::{Daemon, End, Run, STUMBLE, telegram};
use crate::sim::{Event, Sim};

impl Sim {
    pub(crate) fn looked(&mut self, i: usize, end: End) {
        let (now, chance) = (self.moment(), self.rng.chance());
        let Some(run) = self.daemon.as_mut().and_then(|d| d.runs.remove(&i)) else {
            return;
        };
        let again = self.weigh(i, &run, &end);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.followers.finished(&i, now);
        if !matches!(end, End::Stumbled | End::Unsure | End::NotAsked) {
            daemon.stumbles.remove(&i);
        }
        if matches!(end, End::Settled | End::Unsure | End::Again { .. }) {
            daemon.asked_again(i, self.now, now);
        }
        let at = |after: Duration, hold_drift| Next::At {
            due: now + after,
            hold_drift,
        };
        let next = match end {
            End::Settled => {
                daemon.followers.release(&i);
                Next::Settled
            }
            End::Again {
                after,
                hold_drift,
                follow,
                ..
            } => {
                daemon.follow_next(i, follow, now);
                at(after, hold_drift)
            }
            End::Overtaken => at(Duration::ZERO, false),
            End::Stumbled | End::Unsure => {
                let stumbles = daemon.stumbles.entry(i).or_default();
                let wait = STUMBLE.delay(*stumbles, chance);
                *stumbles += 1;
                at(wait, false)
            }
            End::Doubted if again => at(Duration::ZERO, false),
            End::Doubted => {
                daemon.followers.release(&i);
                Next::Settled
            }
            End::NotAsked => {
                daemon.unasked.insert(i);
                let crowd = u32::try_from(daemon.unasked.len()).expect("fits");
                let spread = Duration::from_secs_f64(f64::from(crowd) / 8.0 * chance);
                at(
                    (Duration::from_secs(1) + spread).min(Duration::from_secs(60)),
                    true,
                )
            }
        };
        daemon.queue.finish(&i, next, now);
    }

    /// What the end of a look says of our own way. Returns whether it is to be repeated at once.
    fn weigh(&mut self, i: usize, run: &Run, end: &End) -> bool {
        let now = self.moment();
        let Some(daemon) = &mut self.daemon else {
            return false;
        };
        daemon.witnesses.looked(&i);
        daemon
            .witnesses
            .read((Duration::from_millis(run.sent), run.facts.now));
        match run.heard {
            Some((Word::Own, heard)) => {
                let at = Duration::from_millis(heard);
                if let Heard::DoubtEnded(silent) = daemon.witnesses.heard(&i, at) {
                    self.ledger.void(heard);
                    for i in silent {
                        daemon.queue.wake(i, Cause::Witness, now);
                    }
                }
            }
            Some((Word::Refusal, heard)) => {
                daemon.witnesses.refused(&i, Duration::from_millis(heard));
            }
            None => {}
        }
        match end {
            End::Doubted => {
                let (before, known) = (run.known, daemon.witnesses.known(&i));
                if (known.witness_at, known.void_until) != (before.witness_at, before.void_until) {
                    return true;
                }
                daemon.witnesses.silent(&i, now);
            }
            End::Settled | End::Unsure | End::Again { .. } => {
                daemon.witnesses.settled(&i, now);
                if matches!(
                    end,
                    End::Again {
                        wants_witness: true,
                        ..
                    }
                ) && daemon.witnesses.want(now)
                {
                    for i in daemon.witnesses.ask(self.db.ready_ones()) {
                        daemon.queue.wake(i, Cause::Witness, now);
                    }
                }
            }
            End::Overtaken | End::Stumbled | End::NotAsked => {}
        }
        false
    }

    /// Begins and ends following, and makes looks of what was said.
    pub(crate) fn follow(&mut self) {
        let now = self.moment();
        while let Some(command) = self.daemon.as_mut().and_then(|d| d.followers.next(now)) {
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            match command {
                Command::Attach { key, .. } => {
                    if self.dock.as_ref().is_some_and(|dock| dock.heard(key)) {
                        daemon.followers.began(&key, now);
                    } else {
                        daemon.followers.over(&key);
                    }
                }
                Command::Detach { .. } => {}
                Command::Look { key } => daemon.queue.wake(key, Cause::Output, now),
                Command::GiveUp { key } => self.give_up(key),
            }
        }
    }

    pub(crate) fn unfollow_all(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.followers.clear();
        }
        self.follow();
    }

    /// What the container of an instance writes of a request: as it comes, before its answer goes, or after that.
    pub(crate) fn chats(&mut self, i: usize, part: usize) {
        let chatter = self.world.chatter;
        let lines = chatter.lines[part];
        let Some(dock) = self.dock.as_ref().filter(|_| lines > 0) else {
            return;
        };
        let life = dock.ship(i).filter(|_| dock.runs(i)).map(|ship| ship.life);
        let heard = self.world.reaches(i);
        match (part, life) {
            (2, Some(life)) if heard => self.after(chatter.after, Event::Lines { i, life, lines }),
            (_, Some(_)) if heard => self.hear(i, lines),
            (_, _) => {}
        }
    }

    /// Its container writes lines that are about no request.
    pub(crate) fn says(&mut self, i: usize, lines: u32) {
        self.said(i, lines, 0);
    }

    /// Its container writes lines about a request.
    pub(crate) fn hear(&mut self, i: usize, lines: u32) {
        let with_path = if self.world.chatter.with_path {
            lines
        } else {
            0
        };
        self.said(i, lines, with_path);
    }

    fn said(&mut self, i: usize, lines: u32, with_path: u32) {
        let now = self.moment();
        if self.dock.as_ref().is_some_and(|dock| dock.heard(i))
            && let Some(daemon) = &mut self.daemon
            && daemon.followers.followed(&i).is_some()
        {
            daemon.followers.said(&i, lines, with_path, now);
        }
    }
}

impl Daemon {
    fn follow_next(&mut self, i: usize, life: Option<Life>, now: Duration) {
        match life {
            Some(life) => self.followers.want(&i, &life, telegram(), now),
            None => self.followers.unwant(&i),
        }
    }

    /// One could be asked: so may others who could not.
    fn asked_again(&mut self, i: usize, ms: u64, now: Duration) {
        if !self.unasked.remove(&i) || self.tried_all.is_some_and(|last| ms - last < 1_000) {
            return;
        }
        self.tried_all = Some(ms);
        for waiting in self.unasked.clone() {
            self.queue.wake(waiting, Cause::Backoff, now);
        }
    }
}
