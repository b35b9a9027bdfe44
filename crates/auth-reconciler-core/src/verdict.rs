//! From facts to a verdict.
//!
//! A run asks [`plan`] first: some facts decide alone (no key, a dead container), the others need
//! the API's answer. [`conclude`] turns facts and answer into a [`Verdict`]. Both are functions of
//! their arguments; an event's name is none of them. Changes of the row count only as rows that were
//! read from the change log, so a run after a crash decides as the run before it would have.
//!
//! "Not yet" in the first second after a beginning or an account write is no evidence: the real
//! container commits its account before it calls itself ready. Nor is a refused key: the container may
//! still know the one before. Only READY is.
//!
//! A status changes only on evidence: an answer in the words of the provider's profile, the engine's word,
//! or silence that was established, which takes misses over a time and the word of another instance that
//! our own way works (see [`crate::witness`]). A look without an answer leaves what the row says, whoever
//! wrote it, unless we failed it before.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::answer::Shortage;
use crate::container::{Container, Sighting};
use crate::facts::{Facts, Recorded, Row};
use crate::profile::Profile;
use crate::{Answer, AuthStatus, Reason};
use draft::{Draft, Unheard, http_reason, key_refused, not_connected, provider_error, silent};
use finish::finish;
use past::{Standing, standing};
pub use policy::Policy;

mod draft;
mod finish;
mod message;
mod past;
mod policy;
#[cfg(test)]
mod tests;

/// The step after a failure was put back without a probe.
const RESTORED_NET: Duration = Duration::from_secs(1);

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
    /// Why the status is that, in one word.
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
    /// Whether others are to be asked, so that the silence of this one can be told from ours.
    pub wants_witness: bool,
    /// What the next decision builds on.
    pub memory: Recorded,
}

/// What an answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Record this.
    Record(Box<Verdict>),
    /// It was not asked, so nothing is known that was not known before.
    NotAsked(Shortage),
    /// It does not answer, and nobody who could be a witness does: leave it as if we were not there, until
    /// somebody answers.
    Doubted,
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
        if let Some(verdict) = given_back(policy, facts, chance) {
            return Plan::Settle(Box::new(verdict));
        }
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
        (Ok(Some(_)), Ok(Some(port))) => match restored(policy, facts) {
            Some(draft) => Plan::Settle(Box::new(finish(policy, facts, draft, chance))),
            None => Plan::Probe { port, profile },
        },
    }
}

/// Our established failure over which somebody wrote what is no good news: it stands until an answer says
/// otherwise, so it is put back before the probe, which may take long. Else two would write in turn for ever.
fn restored(policy: &Policy, facts: &Facts) -> Option<Draft> {
    let recorded = facts.recorded.as_ref()?;
    let good = facts.said().is_some_and(AuthStatus::is_good);
    let differs = facts.said() != Some(AuthStatus::Failed);
    let apply = facts.only_foreign()
        && standing(facts) == Standing::OursFailed
        && differs
        && !good
        && !facts.started()
        && !policy.in_doubt(facts);
    let message = message::RESTORED.to_owned();
    apply.then_some(Draft {
        net: Some(RESTORED_NET),
        ..Draft::established(AuthStatus::Failed, recorded.reason?, message, false)
    })
}

/// Decides from the facts of a run and the answer that its probe saw at `now` (the database's time:
/// the time of the read plus what went by since). `chance` is from `[0, 1)`.
#[must_use]
pub fn conclude(
    policy: &Policy,
    facts: &Facts,
    profile: &Profile,
    answer: &Answer,
    now: DateTime<Utc>,
    chance: f64,
) -> Conclusion {
    let sent = facts.now;
    let facts = &Facts {
        now,
        ..facts.clone()
    };
    let unheard = |named, what: &str| {
        let unheard = Unheard {
            answer,
            named,
            what,
            sent,
        };
        silent(policy, facts, &unheard)
    };
    let told = |status, reason, message| Some(Draft::established(status, reason, message, false));
    let draft = match answer {
        Answer::Ready => Some(Draft::last(
            Some(AuthStatus::ClientReady),
            Reason::Ready,
            message::ready(profile),
        )),
        Answer::Authenticated => told(
            AuthStatus::Authenticated,
            Reason::Authenticated,
            message::AUTHENTICATED.to_owned(),
        ),
        Answer::QrReady => told(
            AuthStatus::QrReady,
            Reason::AwaitingScan,
            message::AWAITING_SCAN.to_owned(),
        ),
        Answer::Rejected { code } => key_refused(policy, facts, *code, answer, sent),
        Answer::NotConnected => Some(not_connected(policy, facts, profile)),
        Answer::ProviderError => Some(provider_error(policy, facts, profile, sent)),
        Answer::Http { code } => unheard(Some(http_reason(*code)), &message::http(*code)),
        Answer::Malformed { what } => {
            unheard(Some(Reason::ApiMalformed), &message::malformed(what))
        }
        Answer::TooLarge { cap } => unheard(Some(Reason::ApiTooLarge), &message::too_large(*cap)),
        Answer::Silent(silence) => unheard(None, silence.as_str()),
        Answer::NotAsked(shortage) => return Conclusion::NotAsked(*shortage),
    };
    match draft {
        Some(draft) => Conclusion::Record(Box::new(finish(policy, facts, draft, chance))),
        None => Conclusion::Doubted,
    }
}

/// Whether a failure of ours that was established stands, so that somebody else's write over it is not to wait
/// for an answer.
#[must_use]
pub fn is_ours_to_restore(facts: &Facts) -> bool {
    standing(facts) == Standing::OursFailed
}

/// What is to be recorded where nothing is known of an instance, but the database has put aside what somebody
/// wrote: its write stands, as it would without us.
#[must_use]
pub fn given_back(policy: &Policy, facts: &Facts, chance: f64) -> Option<Verdict> {
    let row = facts.row.as_ref().filter(|row| row.put_aside)?;
    AuthStatus::parse(row.auth_status.as_deref()?)?;
    let message = message::GIVEN_BACK.to_owned();
    let draft = Draft {
        net: Some(RESTORED_NET),
        ..Draft::left(facts, Reason::ApiUnresponsive, message)
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
            if facts.sighting.as_ref().is_some_and(Sighting::is_gone) {
                message::stopped_and_removed(exit_code, out_of_memory)
            } else if facts.never_ran() {
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
