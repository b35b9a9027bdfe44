//! From facts to a verdict.
//!
//! A run asks [`plan`] first: some facts decide alone (no key, a dead container), the others need
//! the API's answer. [`conclude`] turns facts and answer into a [`Verdict`]. Both are functions of
//! their arguments; an event's name is none of them. Changes of the row count only as rows that were
//! read from the change log, so a run after a crash decides as the run before it would have.
//!
//! "Not yet" in the first second after a beginning or an account write is no evidence: the real
//! container commits its account before it calls itself ready. Only READY is.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::backoff::Backoff;
use crate::container::Container;
use crate::corrections::Corrections;
use crate::facts::{Facts, Recorded, Row};
use crate::profile::Profile;
use crate::reason::Streak;
use crate::{Answer, AuthStatus, Reason};
use draft::{Draft, http_reason, not_connected, provider_error, silent};
use past::{account_at, eager, elapsed, no_evidence, ready_since_start, started_at, streak};

mod draft;
mod message;
mod past;
#[cfg(test)]
mod tests;

/// Shortest and longest of the steps that follow an account write.
const EAGER_STEP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));

/// The settings that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Steps between looks at an instance that is not final.
    pub backoff: Backoff,
    /// How long an instance may wait or start without being in trouble.
    pub grace: Duration,
    /// How long an API may answer "not connected" before it is failed: it will not recover alone.
    pub not_connected_limit: Duration,
    /// Misses in a row before an API that was ready is failed …
    pub misses: u32,
    /// … and the time over which they must have happened.
    pub miss_window: Duration,
    /// Corrections of foreign writes a minute.
    pub corrections: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff {
                min: Duration::from_millis(50),
                max: Duration::from_secs(60),
            },
            grace: Duration::from_secs(30),
            not_connected_limit: Duration::from_secs(30),
            misses: 3,
            miss_window: Duration::from_secs(10),
            corrections: 10,
        }
    }
}

/// What a run does after its read.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// The facts decide alone: record this.
    Settle(Box<Verdict>),
    /// Ask the API on this port, then [`conclude`].
    Probe {
        /// Where on the instance's host.
        port: u16,
        /// What to ask, and how to read the answer.
        profile: &'static Profile,
    },
    /// The instance is contested and only foreign writes happened: look again then, record nothing.
    Defer {
        /// The end of the hold.
        until: DateTime<Utc>,
    },
    /// There is no such row: forget what was recorded of it.
    Forget,
}

/// What is to be recorded of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The value that `auth_status` must have; `None` leaves the column alone.
    pub status: Option<AuthStatus>,
    /// Why.
    pub reason: Reason,
    /// The same for a person, with what to do about it.
    pub message: String,
    /// Only an event can change it, the hold of a contested instance aside.
    pub last: bool,
    /// When to look again without an event; `None` is final: events only.
    pub retry: Option<Duration>,
    /// How long after `since` of this status and reason the instance counts as in trouble; `None`
    /// is never.
    pub trouble_after: Option<Duration>,
    /// What the next decision builds on.
    pub memory: Recorded,
}

/// Whether the instance's container matters to what [`plan`] will say, so that the engine is to be asked.
#[must_use]
pub fn concerns_container(facts: &Facts) -> bool {
    facts.row.as_ref().is_some_and(|row| {
        row.serves_api
            && Profile::of(row.provider.as_deref()).is_some()
            && facts.paused.is_none()
            && hold(facts).is_none()
    })
}

/// Decides what a run does after it read its facts. `chance` is from `[0, 1)`.
#[must_use]
pub fn plan(policy: &Policy, facts: &Facts, chance: f64) -> Plan {
    let Some(row) = &facts.row else {
        return Plan::Forget;
    };
    let settle = |status, reason, message| {
        Plan::Settle(Box::new(finish(
            policy,
            facts,
            Draft::last(status, reason, message),
            chance,
        )))
    };
    // Before anything else, a hold included: whoever works on it is not to wait for us.
    if let Some(words) = &facts.paused {
        return settle(None, Reason::Paused, message::on_hold(words));
    }
    if let Some(until) = hold(facts) {
        return Plan::Defer { until };
    }
    let Some(profile) = Profile::of(row.provider.as_deref()) else {
        return settle(None, Reason::UnsupportedProvider, message::unsupported(row));
    };
    if !row.serves_api {
        return settle(None, Reason::UnsupportedType, message::NOT_API.to_owned());
    }
    if let Some((status, reason, message)) = container_verdict(facts) {
        return settle(Some(status), reason, message);
    }
    match (&row.api_key, checked_port(row)) {
        (Ok(None), _) => settle(
            Some(AuthStatus::Pending),
            Reason::AwaitingApiKey,
            message::AWAITING_KEY.to_owned(),
        ),
        (Err(fault), _) => settle(
            Some(AuthStatus::Failed),
            Reason::InvalidApiKey,
            message::key_fault(*fault),
        ),
        (Ok(Some(_)), Ok(None)) => settle(
            Some(AuthStatus::Pending),
            Reason::AwaitingContainer,
            message::AWAITING_PORT.to_owned(),
        ),
        (Ok(Some(_)), Err(port)) => settle(
            Some(AuthStatus::Failed),
            Reason::InvalidPort,
            message::port_fault(port),
        ),
        (Ok(Some(_)), Ok(Some(_))) if facts.container == Container::Created => settle(
            Some(AuthStatus::Pending),
            Reason::AwaitingContainer,
            message::CREATED.to_owned(),
        ),
        (Ok(Some(_)), Ok(Some(port))) => Plan::Probe { port, profile },
    }
}

/// Decides from the facts of a run and the answer that its probe saw at `now` (the database's time:
/// the time of the read plus what went by since). `chance` is from `[0, 1)`. `None` where there is
/// nothing to record: it was not asked, so nothing is known that was not known before.
#[must_use]
pub fn conclude(
    policy: &Policy,
    facts: &Facts,
    profile: &Profile,
    answer: &Answer,
    now: DateTime<Utc>,
    chance: f64,
) -> Option<Verdict> {
    let facts = &Facts {
        now,
        ..facts.clone()
    };
    let draft = match answer {
        Answer::Ready => Draft::last(
            Some(AuthStatus::ClientReady),
            Reason::Ready,
            message::ready(profile),
        ),
        Answer::Authenticated => Draft {
            status: Some(AuthStatus::Authenticated),
            reason: Reason::Authenticated,
            message: message::AUTHENTICATED.to_owned(),
            last: false,
        },
        Answer::QrReady => Draft {
            status: Some(AuthStatus::QrReady),
            reason: Reason::AwaitingScan,
            message: message::AWAITING_SCAN.to_owned(),
            last: false,
        },
        Answer::Rejected { code } => Draft::last(
            Some(AuthStatus::Failed),
            Reason::ApiKeyRejected,
            message::rejected(*code),
        ),
        Answer::NotConnected => not_connected(policy, facts, profile),
        Answer::ProviderError => provider_error(facts, profile),
        Answer::Http { code } => silent(
            policy,
            facts,
            Some(http_reason(*code)),
            &message::http(*code),
        ),
        Answer::Malformed { what } => silent(
            policy,
            facts,
            Some(Reason::ApiMalformed),
            &message::malformed(what),
        ),
        Answer::TooLarge { cap } => silent(
            policy,
            facts,
            Some(Reason::ApiTooLarge),
            &message::too_large(*cap),
        ),
        Answer::Silent(silence) => silent(policy, facts, None, &message::silence(*silence)),
        Answer::NotAsked(_) => return None,
    };
    Some(finish(policy, facts, draft, chance))
}

fn hold(facts: &Facts) -> Option<DateTime<Utc>> {
    let recorded = facts.recorded.as_ref()?;
    if facts.only_foreign() {
        recorded.corrections.held(facts.now)
    } else {
        None
    }
}

fn checked_port(row: &Row) -> Result<Option<u16>, i64> {
    match row.port {
        None => Ok(None),
        Some(port) => match u16::try_from(port) {
            Ok(0) | Err(_) => Err(port),
            Ok(port) => Ok(Some(port)),
        },
    }
}

fn container_verdict(facts: &Facts) -> Option<(AuthStatus, Reason, String)> {
    match facts.container {
        // That none was seen yet proves nothing: it may be where this engine does not see it. Its API is
        // asked, and silence decides.
        Container::Unknown | Container::NeverSeen | Container::Created | Container::Running => None,
        Container::Paused => Some((
            AuthStatus::Failed,
            Reason::ContainerPaused,
            message::PAUSED.to_owned(),
        )),
        Container::Stopped {
            exit_code,
            out_of_memory,
            restarting,
        } => Some((
            AuthStatus::Failed,
            Reason::ContainerStopped,
            if facts.never_ran() {
                message::not_started(exit_code)
            } else {
                message::stopped(exit_code, out_of_memory, restarting)
            },
        )),
        Container::Removed => Some((
            AuthStatus::Failed,
            Reason::ContainerStopped,
            message::REMOVED.to_owned(),
        )),
    }
}

/// The bookkeeping of every verdict: streaks, backoff, corrections, trouble.
fn finish(policy: &Policy, facts: &Facts, draft: Draft, chance: f64) -> Verdict {
    let before = facts.recorded.clone().unwrap_or_default();
    let corrections = match draft.status {
        Some(_) => {
            before
                .corrections
                .after_look(facts.foreign(), policy.corrections, facts.now, chance)
        }
        // Hands off: there is nothing to correct.
        None => Corrections::default(),
    };
    let spent = if facts.news() { 0 } else { before.attempts };
    let (misses, first_miss_at) = match draft.reason.streak() {
        Some(kind) if !no_evidence(facts) || kind == Streak::ProviderError => {
            let (misses, since) = streak(facts, kind);
            (misses, Some(since))
        }
        Some(_) | None => (0, None),
    };
    let (retry, attempts) = if draft.last {
        (None, 0)
    } else if eager(facts) {
        let (shortest, longest) = EAGER_STEP;
        (
            Some(shortest + (longest - shortest).mul_f64(chance.clamp(0.0, 1.0))),
            spent,
        )
    } else if let Some(due) = before.next_attempt_at.filter(|_| facts.early()) {
        // Never longer than a step: it would be, were the database's clock set back.
        let left = elapsed(facts.now, due).min(policy.backoff.max);
        (Some(left), spent)
    } else {
        (
            Some(policy.backoff.delay(spent, chance)),
            spent.saturating_add(1),
        )
    };
    let hold = corrections
        .held(facts.now)
        .map(|until| elapsed(facts.now, until));
    let ready_at = if draft.reason == Reason::Ready {
        Some(facts.now)
    } else {
        ready_since_start(facts)
    };
    let trouble_after = if corrections.is_contested() {
        Some(Duration::ZERO)
    } else {
        draft
            .reason
            .trouble_at_once(draft.status)
            .map(|now| if now { Duration::ZERO } else { policy.grace })
    };
    // A contested instance is looked at when its hold ends, final or not.
    let retry = retry.into_iter().chain(hold).min();
    Verdict {
        status: draft.status,
        reason: draft.reason,
        message: draft.message,
        last: draft.last,
        retry,
        trouble_after,
        memory: Recorded {
            status: draft.status,
            reason: Some(draft.reason),
            ready_at,
            started_at: started_at(facts),
            account_at: account_at(facts),
            attempts,
            misses,
            first_miss_at,
            corrections,
            next_attempt_at: retry
                .and_then(|retry| TimeDelta::from_std(retry).ok())
                .map(|retry| facts.now + retry),
            sighting: facts.sighting.clone(),
        },
    }
}
