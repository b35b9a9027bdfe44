//! From one phase to the next: connecting, standing by, leading.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::bell::Bell;
use super::term::Term;
use super::{
    Command, Controller, Ending, Failure, FailureKind, Notice, RECONNECT, Session, Settings, Sight,
};
use crate::queue::Moment;
use crate::standby::{Act, Vigil};

/// Where this process is.
#[derive(Debug)]
pub(super) enum Phase {
    /// A listener is being made.
    Connecting,
    /// Another process leads, and the lock is waited for.
    StandingBy(Standby),
    /// The lock is ours.
    Leading(Box<Term>),
}

/// What a process that stands by remembers.
#[derive(Debug, Default)]
pub(super) struct Standby {
    vigil: Vigil,
    /// Who holds the lock and is no daemon, as it was said last.
    foreign: Vec<String>,
    /// Whose session was to be ended last: that it is, or cannot be, is said once.
    deposed: Option<Session>,
}

impl Controller {
    pub(super) fn led(
        &mut self,
        epoch: Uuid,
        tables: BTreeSet<i32>,
        has_sleeper_lock: bool,
        now: Moment,
    ) {
        self.has_led = true;
        self.stood_by = false;
        self.has_listener();
        self.witnesses.began_term(now);
        let Settings {
            has_engine,
            echo_interval,
            ..
        } = self.settings;
        let mut term = Term::begin(epoch, tables, has_engine, echo_interval, now);
        term.bell = Bell::begin(has_sleeper_lock);
        self.phase = Phase::Leading(Box::new(term));
    }

    pub(super) fn stands_by(&mut self, sight: Sight, now: Moment) {
        let mut standby = match std::mem::replace(&mut self.phase, Phase::Connecting) {
            Phase::StandingBy(standby) => {
                self.say(Notice::StillStandingBy);
                standby
            }
            Phase::Connecting | Phase::Leading(_) => {
                self.has_listener();
                self.say(Notice::StandingBy);
                Standby::default()
            }
        };
        self.stood_by = true;
        if let Some(foreign) = sight.foreign
            && standby.foreign != foreign
        {
            for why in &foreign {
                self.say(Notice::ForeignLock(why.clone()));
            }
            standby.foreign = foreign;
        }
        if let Some(seen) = sight.leader {
            let leader = seen.as_ref().map(|seen| seen.leader);
            match (standby.vigil.observe(now, seen), leader) {
                (Act::Ring, _) => self.out.push_back(Command::RingLeader),
                (Act::Depose, Some(leader)) => {
                    let news = standby.deposed.replace(leader) != Some(leader);
                    if news {
                        self.say(Notice::Deposing(leader));
                    }
                    self.out.push_back(Command::Depose { leader, news });
                }
                (Act::Wait | Act::Depose, _) => {}
            }
        }
        self.phase = Phase::StandingBy(standby);
        if !self.stopping {
            self.out.push_back(Command::WaitForLock);
        }
    }

    pub(super) fn not_led(&mut self, failure: Failure, now: Moment) {
        // What passes is waited for from the beginning; a mistake in the settings ends it at once.
        if !self.has_led && failure.kind != FailureKind::Passing {
            self.end(Ending::NotStarted(failure));
            return;
        }
        let Some(failure) = self.unless_final(failure) else {
            return;
        };
        let after = self.pause();
        self.tries = self.tries.saturating_add(1);
        // A server that starts up says so in other words each time: what mends it is the same.
        let cause = failure.advice.unwrap_or(&failure.error);
        let news = self.troubles.failed(cause, now);
        self.say(Notice::NoListener {
            failure,
            retry_in: after,
            news,
            stood_by: self.stood_by,
        });
        self.phase = Phase::Connecting;
        self.connect(after);
    }

    /// The listener is gone, or no longer ours: make another. What was queued is found again by its first scan.
    pub(super) fn leave(&mut self, why: String, end_session: bool, now: Moment) {
        // Terms that end before they serve are one trouble, however many of them.
        let served = self.failures == 0;
        let after = self.pause();
        let news = self.troubles.failed(&why, now) || served;
        self.say(Notice::ListenerLost {
            why,
            retry_in: after,
            news,
        });
        self.queue.clear();
        self.log.clear();
        self.transient.clear();
        self.troubles.clear();
        self.witnesses.give_up();
        self.followers.clear();
        self.phase = Phase::Connecting;
        self.out.push_back(Command::Leave { end_session });
        self.connect(after);
    }

    /// What was to be found was not: a gap in knowing, so all of it is done again.
    pub(super) fn missed(&mut self, failure: Failure, now: Moment) {
        if let Some(failure) = self.unless_final(failure) {
            self.leave(failure.error, false, now);
        }
    }

    /// The failure itself if it may pass; if not, that ends the process.
    pub(super) fn unless_final(&mut self, failure: Failure) -> Option<Failure> {
        match failure.kind {
            FailureKind::Final(advice) => {
                self.end(Ending::CannotGoOn { advice, failure });
                None
            }
            FailureKind::Busy
            | FailureKind::NoTable
            | FailureKind::Refused
            | FailureKind::Passing
            | FailureKind::Unclear => Some(failure),
        }
    }

    fn has_listener(&mut self) {
        let failed = std::mem::take(&mut self.tries);
        if failed > 0 {
            self.say(Notice::ListenerAgain(failed));
        }
    }

    fn connect(&mut self, after: Duration) {
        if !self.stopping {
            self.out.push_back(Command::Connect { after });
        }
    }

    fn end(&mut self, ending: Ending) {
        self.out.push_back(Command::End(ending));
    }

    /// The pause before the next listener: none after a term that served, growing after those that did not.
    fn pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(step) => RECONNECT.delay(step, self.chance.draw()),
        }
    }
}
