//! What each kind of answer means, before the bookkeeping that all verdicts share.

use super::Policy;
use super::message;
use super::past::{
    down_when_last_seen, elapsed, lives_unseen, no_evidence, ready_since_start, standing, streak,
};
use crate::container::Container;
use crate::facts::Facts;
use crate::profile::Profile;
use crate::reason::Streak;
use crate::{AuthStatus, Reason};

/// A verdict before the bookkeeping that all of them share.
pub(super) struct Draft {
    pub(super) status: Option<AuthStatus>,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Final: only an event can change it.
    pub(super) last: bool,
}

impl Draft {
    pub(super) const fn last(status: Option<AuthStatus>, reason: Reason, message: String) -> Self {
        Self {
            status,
            reason,
            message,
            last: true,
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

/// The API answers, and says that it is not connected.
pub(super) fn not_connected(policy: &Policy, facts: &Facts, profile: &Profile) -> Draft {
    if no_evidence(facts) {
        return Draft {
            status: Some(standing(facts)),
            reason: profile.connecting,
            message: message::connecting(profile),
            last: false,
        };
    }
    let (_, since) = streak(facts, Streak::NotConnected);
    let too_long = elapsed(since, facts.now) >= policy.not_connected_limit;
    let (status, reason, message) = if too_long {
        (
            AuthStatus::Failed,
            profile.not_connected,
            message::not_connected(profile),
        )
    } else {
        (
            AuthStatus::Pending,
            profile.connecting,
            message::connecting(profile),
        )
    };
    Draft {
        status: Some(status),
        reason,
        message,
        last: false,
    }
}

/// The API answers, and says that its provider has an error: once is a hiccup.
pub(super) fn provider_error(facts: &Facts, profile: &Profile) -> Draft {
    let (misses, _) = streak(facts, Streak::ProviderError);
    let status = if misses <= 1 {
        standing(facts)
    } else {
        AuthStatus::Failed
    };
    Draft {
        status: Some(status),
        reason: profile.error,
        message: message::provider_error(profile),
        last: false,
    }
}

/// No usable answer. `named` is the reason where the kind of answer has one of its own.
pub(super) fn silent(policy: &Policy, facts: &Facts, named: Option<Reason>, what: &str) -> Draft {
    let draft = |status, reason, message| Draft {
        status: Some(status),
        reason,
        message,
        last: false,
    };
    if named.is_none()
        && let Some(reason) = down_when_last_seen(facts)
    {
        return draft(standing(facts), reason, message::OUT_OF_SIGHT.to_owned());
    }
    if ready_since_start(facts).is_none() {
        if facts.container == Container::NeverSeen
            && named.is_none()
            && !lives_unseen(policy, facts)
        {
            return Draft::last(
                Some(AuthStatus::Pending),
                Reason::AwaitingContainer,
                message::AWAITING_CONTAINER.to_owned(),
            );
        }
        let status = if no_evidence(facts) {
            standing(facts)
        } else {
            AuthStatus::Pending
        };
        return draft(
            status,
            named.unwrap_or(Reason::ApiStarting),
            message::starting(what),
        );
    }
    let reason = named.unwrap_or(Reason::ApiUnresponsive);
    let (misses, since) = streak(facts, Streak::Silent);
    if misses >= policy.misses && elapsed(since, facts.now) >= policy.miss_window {
        draft(
            AuthStatus::Failed,
            reason,
            message::unresponsive(what, misses),
        )
    } else {
        draft(
            standing(facts),
            reason,
            message::missed(what, misses, policy.misses),
        )
    }
}
