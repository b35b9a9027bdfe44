//! What each kind of answer means, before the bookkeeping that all verdicts share.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Policy;
use super::message;
use super::past::{
    Standing, doubted_lately, down_when_last_seen, elapsed, lives_unseen, no_evidence,
    not_ready_since, refused_alone, standing, streak, witnessed,
};
use crate::container::Container;
use crate::facts::Facts;
use crate::profile::Profile;
use crate::reason::Streak;
use crate::{Answer, AuthStatus, Reason};

/// How much later than the first not-ready answer an error of the provider must be told again.
const SECOND_ERROR: TimeDelta = TimeDelta::seconds(1);

/// A verdict before the bookkeeping that all of them share.
pub(super) struct Draft {
    pub(super) status: Option<AuthStatus>,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Final: only an event can change it.
    pub(super) last: bool,
    /// An answer or the engine's word stands behind the status; else it is what the row says anyhow.
    pub(super) established: bool,
    /// Others are to be asked, so that this one's silence can be told from ours.
    pub(super) wants_witness: bool,
    /// When to look again, where backoff is not to say.
    pub(super) net: Option<Duration>,
}

impl Draft {
    /// One on which an answer or the engine's word stands.
    pub(super) const fn established(
        status: AuthStatus,
        reason: Reason,
        message: String,
        last: bool,
    ) -> Self {
        Self {
            status: Some(status),
            reason,
            message,
            last,
            established: true,
            wants_witness: false,
            net: None,
        }
    }

    pub(super) const fn last(status: Option<AuthStatus>, reason: Reason, message: String) -> Self {
        Self {
            status,
            reason,
            message,
            last: true,
            established: true,
            wants_witness: false,
            net: None,
        }
    }

    /// Leaves the column as it is, whoever wrote it.
    pub(super) fn left(facts: &Facts, reason: Reason, message: String) -> Self {
        Self {
            status: facts.said(),
            reason,
            message,
            last: false,
            established: false,
            wants_witness: false,
            net: None,
        }
    }
}

pub(super) const fn http_reason(code: u16) -> Reason {
    match code {
        300..=399 => Reason::ApiRedirected,
        404 => Reason::ApiNotFound,
        400..=499 => Reason::ApiClientError,
        500..=599 => Reason::ApiServerError,
        _ => Reason::ApiMalformed,
    }
}

/// The API refuses the key, or somebody in between does; `None` where nobody can say who.
pub(super) fn key_refused(
    policy: &Policy,
    facts: &Facts,
    code: u16,
    answer: &Answer,
    sent: DateTime<Utc>,
) -> Option<Draft> {
    let doubted = policy.in_doubt(facts);
    let heard_as = |named| {
        let unheard = Unheard {
            answer,
            named,
            what: &message::http(code),
            sent,
        };
        silent(policy, facts, &unheard)
    };
    match standing(facts) {
        // That its process began is the engine's word, and needs no other.
        Standing::OursFailed | Standing::Other if doubted => None,
        // Somebody in between may refuse everything.
        Standing::Ready => heard_as(Some(Reason::ApiKeyRejected)),
        Standing::NewLife if doubted => heard_as(None),
        // A container that has just begun may not know its key yet.
        Standing::NewLife | Standing::Other if no_evidence(facts) => {
            heard_as(Some(Reason::ApiStarting))
        }
        Standing::OursFailed if no_evidence(facts) => heard_as(None),
        Standing::NewLife | Standing::OursFailed | Standing::Other => {
            Some(rejected(facts, code, sent))
        }
    }
}

/// The key is refused, and so it stands as failed. Final, unless it may be the word of somebody in between, who would
/// let us through again without an event: just after a doubt, or where that was so when it was failed and nothing has
/// proven since that it is the instance's own.
fn rejected(facts: &Facts, code: u16, sent: DateTime<Utc>) -> Draft {
    let unproven = standing(facts) == Standing::OursFailed
        && facts.recorded.as_ref().is_some_and(|recorded| {
            recorded.reason == Some(Reason::ApiKeyRejected) && recorded.next_attempt_at.is_some()
        });
    let (_, since) = streak(facts, Streak::NotReady);
    let last = if unproven {
        refused_alone(facts, since, sent)
    } else {
        !doubted_lately(facts)
    };
    let message = message::rejected(code);
    Draft {
        wants_witness: !last,
        ..Draft::established(AuthStatus::Failed, Reason::ApiKeyRejected, message, last)
    }
}

/// The API answers, and says that it is not connected.
pub(super) fn not_connected(policy: &Policy, facts: &Facts, profile: &Profile) -> Draft {
    let connecting = || message::connecting(profile);
    let early = no_evidence(facts);
    match standing(facts) {
        Standing::NewLife if early => {
            let reason = Reason::ApiStarting;
            return Draft::established(AuthStatus::Pending, reason, connecting(), false);
        }
        Standing::Ready | Standing::OursFailed | Standing::Other if early => {
            return kept(facts, profile.connecting, connecting());
        }
        Standing::NewLife | Standing::Ready | Standing::OursFailed | Standing::Other => {}
    }
    let since = not_ready_since(facts).unwrap_or(facts.now);
    let limit = if profile.by_phone {
        policy.phone_limit
    } else {
        policy.not_connected_limit
    };
    if elapsed(since, facts.now) >= limit {
        let (reason, message) = (profile.not_connected, message::not_connected(profile));
        Draft::established(AuthStatus::Failed, reason, message, false)
    } else if standing(facts) == Standing::OursFailed {
        kept(facts, profile.connecting, connecting())
    } else {
        Draft::established(AuthStatus::Pending, profile.connecting, connecting(), false)
    }
}

/// The API answers, and says that its provider has an error: once is a hiccup.
pub(super) fn provider_error(
    policy: &Policy,
    facts: &Facts,
    profile: &Profile,
    sent: DateTime<Utc>,
) -> Draft {
    let (reason, message) = (profile.error, message::provider_error(profile));
    if no_evidence(facts) {
        return kept(facts, reason, message);
    }
    let (misses, since) = streak(facts, Streak::NotReady);
    let told_before = facts
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.reason)
        .is_some_and(Reason::is_provider_error);
    let again = told_before && misses >= 2 && facts.now - since >= SECOND_ERROR;
    // In turn with silence, which may have been ours.
    let believed = witnessed(facts, since, sent) || facts.way.few || policy.believes_silence(facts);
    let long = standing(facts) == Standing::Ready
        && enough(policy, facts, (misses, since))
        && believed
        && !policy.in_doubt(facts);
    if again || long {
        Draft::established(AuthStatus::Failed, reason, message, false)
    } else {
        kept(facts, reason, message)
    }
}

/// Our established failure stands, and the engine's word on a new life; anything else stays as it is.
fn kept(facts: &Facts, reason: Reason, message: String) -> Draft {
    match standing(facts) {
        Standing::OursFailed => Draft::established(AuthStatus::Failed, reason, message, false),
        Standing::NewLife => Draft {
            status: Some(AuthStatus::Pending),
            ..Draft::left(facts, reason, message)
        },
        Standing::Ready | Standing::Other => Draft::left(facts, reason, message),
    }
}

fn enough(policy: &Policy, facts: &Facts, (misses, since): (u32, DateTime<Utc>)) -> bool {
    misses >= policy.misses && elapsed(since, facts.now) >= policy.miss_window
}

/// An answer that says nothing of the instance.
pub(super) struct Unheard<'a> {
    pub(super) answer: &'a Answer,
    /// The reason where this kind of answer has one of its own.
    pub(super) named: Option<Reason>,
    /// The end of the sentence "its API …".
    pub(super) what: &'a str,
    /// When it was asked.
    pub(super) sent: DateTime<Utc>,
}

/// No usable answer; `None` where nobody can say whose fault that is.
pub(super) fn silent(policy: &Policy, facts: &Facts, unheard: &Unheard<'_>) -> Option<Draft> {
    let Unheard { named, what, .. } = *unheard;
    let standing = standing(facts);
    let doubted = policy.in_doubt(facts);
    match standing {
        Standing::NewLife => Some(Draft::established(
            AuthStatus::Pending,
            Reason::ApiStarting,
            message::starting(what),
            false,
        )),
        Standing::Other => Some(never_ready(policy, facts, unheard)),
        Standing::OursFailed | Standing::Ready if doubted => None,
        Standing::OursFailed => {
            let (reason, message) = match (named, down_when_last_seen(facts)) {
                (None, Some(reason)) => (reason, message::OUT_OF_SIGHT.to_owned()),
                (Some(reason), _) => (reason, message::still_failed(what)),
                (None, None) => (Reason::ApiUnresponsive, message::still_failed(what)),
            };
            Some(Draft::established(
                AuthStatus::Failed,
                reason,
                message,
                false,
            ))
        }
        Standing::Ready => was_ready(policy, facts, unheard),
    }
}

fn never_ready(policy: &Policy, facts: &Facts, unheard: &Unheard<'_>) -> Draft {
    let named = unheard.named;
    let absent = facts.container == Container::NeverSeen && facts.engine_has_shown_ours;
    if absent && named.is_none() && !lives_unseen(policy, facts) {
        return Draft {
            last: true,
            ..Draft::left(
                facts,
                Reason::AwaitingContainer,
                message::AWAITING_CONTAINER.to_owned(),
            )
        };
    }
    let reason = named.unwrap_or(Reason::ApiStarting);
    Draft::left(facts, reason, message::starting(unheard.what))
}

fn was_ready(policy: &Policy, facts: &Facts, unheard: &Unheard<'_>) -> Option<Draft> {
    let Unheard { named, what, .. } = *unheard;
    let reason = named.unwrap_or(Reason::ApiUnresponsive);
    let (misses, since) = streak(facts, Streak::NotReady);
    let rejected = reason == Reason::ApiKeyRejected;
    let witness = witnessed(facts, since, unheard.sent);
    let early = no_evidence(facts);
    let enough = enough(policy, facts, (misses, since)) && !early;
    let alone = facts.way.few && unheard.answer.speaks();
    let refused = rejected && !early && refused_alone(facts, since, unheard.sent);
    if enough && (witness || alone || policy.believes_silence(facts)) || refused {
        let message = if let Answer::Rejected { code } = unheard.answer {
            message::rejected(*code)
        } else {
            message::unresponsive(what, misses)
        };
        // Where it may have been somebody in between who refused the key, no event would tell when they let us
        // through again.
        return Some(Draft::established(
            AuthStatus::Failed,
            reason,
            message,
            refused,
        ));
    }
    // They were asked after it fell silent, and nobody could say a word.
    if enough && facts.way.asked_at.is_some_and(|at| at >= since) {
        return None;
    }
    let left = Draft::left(facts, reason, message::missed(what, misses, policy.misses));
    Some(Draft {
        wants_witness: rejected || !witness && (misses >= 2 || policy.misses < 2),
        ..left
    })
}
