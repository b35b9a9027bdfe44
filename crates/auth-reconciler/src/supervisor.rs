//! What whoever started the daemon is told of it, by the protocol of systemd's `sd_notify`: that it is ready, that it
//! lives, what it does, and that its end has begun.
//!
//! Where no `NOTIFY_SOCKET` is named nothing is sent and no timer runs. Ready is who leads and serves, or stands by; until
//! then the time for the start is extended again and again, because a database that is not there yet is waited for as
//! long as it takes. Signs of life come from the daemon's own loop and from nowhere else: if that is stuck, they end.

use std::time::Duration;

use auth_reconciler_core::controller::{Failure, Notice};
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::debug;

/// Time between two signs of life while it is not ready yet.
const WHILE_STARTING: Duration = Duration::from_secs(10);

/// How long the start may take beyond each of them.
const TO_START: Duration = Duration::from_secs(60);

/// How long the end may take beyond the limit of work in flight.
const TO_END: Duration = Duration::from_secs(5);

/// Whoever started the daemon, if that wants to be told.
#[derive(Debug)]
pub(crate) struct Supervisor {
    listens: bool,
    ready: bool,
    pulse: Option<Interval>,
}

impl Supervisor {
    /// As the environment names it. Needs the runtime, for its timer.
    pub(crate) fn of_environment() -> Self {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        Self {
            listens,
            ready: false,
            pulse: listens.then(|| every(WHILE_STARTING)),
        }
    }

    /// Waits for the time of the next sign of life and gives it; for ever where none is wanted.
    pub(crate) async fn beat(&mut self) {
        let Some(pulse) = &mut self.pulse else {
            return std::future::pending().await;
        };
        pulse.tick().await;
        if self.ready {
            self.send(&[NotifyState::Watchdog]);
        } else {
            self.send(&[NotifyState::ExtendTimeoutUsec(microseconds(TO_START))]);
        }
    }

    /// Gives signs of life as long as it is polled, beside something that must be done before the daemon's loop begins.
    pub(crate) async fn keep_waiting(&mut self, for_what: &str) {
        self.says(for_what);
        loop {
            self.beat().await;
        }
    }

    /// Takes from what operators are told what concerns whoever started the daemon.
    pub(crate) fn hears(&mut self, notice: &Notice) {
        if !self.listens {
            return;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "what else is said is of no concern here"
        )]
        match notice {
            Notice::Serving(_) => self.is_ready("leads and serves"),
            Notice::StandingBy | Notice::StillStandingBy => {
                self.is_ready("stands by: another process leads");
            }
            Notice::NoListener {
                failure: Failure { error, .. },
                ..
            } => self.says(&format!("has no connection that listens: {error}")),
            Notice::ListenerLost { why, .. } => {
                self.says(&format!("has lost the connection that listens: {why}"));
            }
            _ => {}
        }
    }

    /// Its end has begun; what is in flight may take so long.
    pub(crate) fn stops(&self, limit: Duration) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status("stops"),
            NotifyState::ExtendTimeoutUsec(microseconds(limit + TO_END)),
        ]);
    }

    fn is_ready(&mut self, state: &str) {
        if self.ready {
            return self.says(state);
        }
        self.ready = true;
        self.send(&[NotifyState::Ready, NotifyState::Status(state)]);
        // Twice in the time after which silence counts as death, as systemd advises.
        self.pulse = sd_notify::watchdog_enabled()
            .filter(|limit| !limit.is_zero())
            .map(|limit| every(limit / 2));
    }

    fn says(&self, state: &str) {
        // A line break would begin another variable of the protocol.
        let line: String = state
            .chars()
            .map(|character| {
                if character.is_control() {
                    ' '
                } else {
                    character
                }
            })
            .collect();
        self.send(&[NotifyState::Status(&line)]);
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if self.listens
            && let Err(error) = sd_notify::notify(states)
        {
            debug!(%error, "could not notify whoever started the daemon");
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
