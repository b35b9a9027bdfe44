//! What each step makes of a situation.

use super::{Bell, Daemon, Doorbell, Failure, Flaw, Situation, Step, Writer};

impl Doorbell {
    fn has(&self, flaw: Flaw) -> bool {
        self.0.contains(&flaw)
    }

    pub(super) fn take(&self, before: &Situation, step: Step) -> Option<Situation> {
        let mut after = *before;
        let possible = match step {
            Step::Insert(_)
            | Step::Ask(_)
            | Step::Look(_)
            | Step::Decide(_)
            | Step::DecideDeceived(_)
            | Step::Commit(_)
            | Step::RollBack(_) => self.write(&mut after, step),
            Step::Fail(failure) => self.fail(&mut after, failure),
            Step::Start(index) => !std::mem::replace(&mut after.daemons[index].alive, true),
            Step::Listen(index) => {
                let daemon = &mut after.daemons[index];
                daemon.alive && !std::mem::replace(&mut daemon.listens, true)
            }
            Step::TakeOver(index) => self.take_over(&mut after, index),
            Step::Rob(index) => {
                let daemon = &mut after.daemons[index];
                let asks = daemon.leads && daemon.bell == Bell::Owed && after.robberies > 0;
                after.robberies -= u8::from(asks);
                asks && !std::mem::replace(&mut daemon.robbed, true)
            }
            Step::AskAgain(index) => {
                let daemon = &mut after.daemons[index];
                let rings = daemon.bell == Bell::Rings && !self.has(Flaw::NotAskedAgain);
                if rings {
                    daemon.bell = Bell::Owed;
                }
                rings && std::mem::take(&mut daemon.robbed)
            }
            Step::Hear(index) => {
                let daemon = &mut after.daemons[index];
                daemon.owes_read |= daemon.leads;
                std::mem::take(&mut daemon.ringing) && daemon.leads
            }
            Step::Read(index) => {
                let daemon = &mut after.daemons[index];
                let begins = daemon.reading.is_none() && std::mem::take(&mut daemon.owes_read);
                daemon.reading = Some(before.unread);
                begins
            }
            Step::Answer(index) => {
                let read = after.daemons[index].reading.take();
                after.unread &= !read.unwrap_or(0);
                read.is_some()
            }
            Step::Hush(_) | Step::Resound(_) | Step::Await(_) | Step::Granted(_) => {
                self.attend(&mut after, step)
            }
        };
        possible.then_some(after)
    }

    fn write(&self, state: &mut Situation, step: Step) -> bool {
        let may_be_silent = !state
            .daemons
            .iter()
            .any(|daemon| daemon.bell == Bell::Awaiting);
        let nobody_sleeps = !state
            .daemons
            .iter()
            .any(|daemon| daemon.leads && !daemon.alone && !daemon.robbed)
            || self.has(Flaw::SleeperNotAsked);
        let is_read = state.daemons.iter().any(|daemon| daemon.alone)
            || matches!(step, Step::DecideDeceived(_));
        let (Step::Insert(index)
        | Step::Ask(index)
        | Step::Look(index)
        | Step::Decide(index)
        | Step::DecideDeceived(index)
        | Step::Commit(index)
        | Step::RollBack(index)) = step
        else {
            return false;
        };
        let writer = state.writers[index];
        let next = match (step, writer) {
            (Step::Insert(_), Writer::NotBegun) => Writer::Inserted,
            (Step::Ask(_), Writer::Inserted) => Writer::Asking {
                has_lock: may_be_silent && !self.has(Flaw::SilentLockLast),
            },
            (Step::Look(_), Writer::Asking { has_lock }) => Writer::Looked {
                has_lock,
                // What is found of the reader's lock at the same time only matters where it is taken last.
                nobody_sleeps: nobody_sleeps && (is_read || !self.has(Flaw::SilentLockLast)),
            },
            (
                Step::Decide(_) | Step::DecideDeceived(_),
                Writer::Looked {
                    has_lock,
                    nobody_sleeps,
                },
            ) => self.decided((has_lock, may_be_silent), nobody_sleeps, is_read),
            (Step::Commit(_), Writer::Decided { rings, .. }) => {
                state.unread |= 1 << index;
                for daemon in &mut state.daemons {
                    daemon.ringing |= rings && daemon.listens;
                }
                Writer::Ended
            }
            (Step::RollBack(_), Writer::Decided { .. }) => Writer::Ended,
            _ => return false,
        };
        state.writers[index] = next;
        true
    }

    /// `locks`: whether the writer has the lock of the silent ones, and whether it could have it now.
    fn decided(&self, locks: (bool, bool), nobody_sleeps: bool, is_read: bool) -> Writer {
        let (has_lock, is_read) = if self.has(Flaw::SilentLockLast) {
            (locks.1, true)
        } else {
            (locks.0, is_read)
        };
        let rings = !has_lock || !nobody_sleeps || !is_read;
        let keeps = !rings && !self.has(Flaw::SilentWithoutLock) && !self.has(Flaw::LockEndsEarly);
        Writer::Decided {
            rings,
            has_lock: has_lock && (keeps || rings),
        }
    }

    fn take_over(&self, state: &mut Situation, index: usize) -> bool {
        let free = !state.daemons.iter().any(|daemon| daemon.leads);
        let daemon = &mut state.daemons[index];
        if !free || !daemon.listens {
            return false;
        }
        daemon.leads = true;
        // What was committed before is in the read that follows the wait.
        daemon.bell = if self.has(Flaw::TakeOverWaitsForNobody) {
            Bell::Rings
        } else {
            Bell::Owed
        };
        true
    }

    fn attend(&self, state: &mut Situation, step: Step) -> bool {
        let locked = state.writers.iter().any(|writer| {
            matches!(
                writer,
                Writer::Asking { has_lock: true }
                    | Writer::Looked { has_lock: true, .. }
                    | Writer::Decided { has_lock: true, .. }
            )
        }) && !self.has(Flaw::SilentWithoutLock);
        let (Step::Hush(index) | Step::Resound(index) | Step::Await(index) | Step::Granted(index)) =
            step
        else {
            return false;
        };
        let daemon = &mut state.daemons[index];
        match (step, daemon.bell) {
            (Step::Hush(_), Bell::Rings) if daemon.leads && state.hushes > 0 => {
                state.hushes -= 1;
                (daemon.bell, daemon.alone) = (Bell::Silent, true);
            }
            (Step::Resound(_), Bell::Silent) => {
                daemon.alone =
                    self.has(Flaw::NeverResounds) || self.has(Flaw::AwaitedBeforeResounding);
                daemon.bell = Bell::Owed;
                daemon.robbed = false;
                daemon.owes_read |= self.has(Flaw::LastReadBeforeWait);
            }
            (Step::Resound(_), Bell::Rings) if self.has(Flaw::AwaitedBeforeResounding) => {
                return std::mem::take(&mut daemon.alone);
            }
            (Step::Await(_), Bell::Owed) if daemon.leads => daemon.bell = Bell::Awaiting,
            (Step::Granted(_), Bell::Awaiting) if !locked || self.has(Flaw::NobodyAwaited) => {
                daemon.bell = Bell::Rings;
                daemon.alone &=
                    self.has(Flaw::NeverResounds) || self.has(Flaw::AwaitedBeforeResounding);
                daemon.owes_read |=
                    !self.has(Flaw::NoLastRead) && !self.has(Flaw::LastReadBeforeWait);
            }
            _ => return false,
        }
        true
    }

    fn fail(&self, state: &mut Situation, failure: Failure) -> bool {
        let which = match failure {
            Failure::Kill(index) | Failure::LoseEar(index) => Some(index),
            Failure::Crash => None,
        };
        if state.failures == 0 || which.is_some_and(|index| !state.daemons[index].listens) {
            return false;
        }
        state.failures -= 1;
        for (index, daemon) in state.daemons.iter_mut().enumerate() {
            if which.is_some_and(|which| which != index) {
                continue;
            }
            *daemon = Daemon {
                alive: failure != Failure::Kill(index) && daemon.alive,
                ..Daemon::default()
            };
        }
        if which.is_none() {
            for writer in &mut state.writers {
                if !matches!(writer, Writer::NotBegun) {
                    *writer = Writer::Ended;
                }
            }
        }
        true
    }
}
