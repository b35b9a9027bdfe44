//! What earlier looks say about this one: the life of the instance, its streaks, and when "not yet"
//! is no evidence.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Policy;
use crate::container::Container;
use crate::facts::Facts;
use crate::reason::Streak;
use crate::{AuthStatus, Reason};

/// For how long after a beginning or an account write "not yet" says nothing.
const NO_EVIDENCE: TimeDelta = TimeDelta::seconds(1);

/// For how long the refusals of others, and the end of a doubt, speak against the word of a refusal: twice the longest
/// pause between two looks at one that is not final.
const LATELY: TimeDelta = TimeDelta::seconds(120);

/// For how long after an account write looks follow each other in short steps: the container was
/// ready 2–50 ms after it.
const EAGER: TimeDelta = TimeDelta::milliseconds(400);

/// The reason of a recorded verdict about a container that was down when it was last seen, while it is
/// not known what has become of it.
pub(super) fn down_when_last_seen(facts: &Facts) -> Option<Reason> {
    let down = [Reason::ContainerStopped, Reason::ContainerPaused];
    let reason = facts
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.reason)?;
    (facts.container == Container::Unknown && down.contains(&reason)).then_some(reason)
}

/// What stands of an instance before an answer is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The engine says that its process began (or goes on after a pause) and it was not ready since.
    NewLife,
    /// It was ready, or its row said so when we met it.
    Ready,
    /// We failed it on evidence.
    OursFailed,
    /// Anything else.
    Other,
}

pub(super) fn standing(facts: &Facts) -> Standing {
    if new_life(facts) {
        return Standing::NewLife;
    }
    let failed = facts.recorded.as_ref().is_some_and(|recorded| {
        recorded.established && recorded.status == Some(AuthStatus::Failed)
    });
    if failed && facts.began_anew().is_none() {
        return Standing::OursFailed;
    }
    if ready_since_start(facts).is_some() || facts.said() == Some(AuthStatus::ClientReady) {
        Standing::Ready
    } else {
        Standing::Other
    }
}

/// The engine's word that the process of the recorded verdict has ended, was held, or began and has not
/// been ready since.
fn new_life(facts: &Facts) -> bool {
    let Some(recorded) = &facts.recorded else {
        return false;
    };
    if facts.restarted() {
        return true;
    }
    let down = [Reason::ContainerStopped, Reason::ContainerPaused];
    facts.container == Container::Running
        && recorded.reason.is_some_and(|reason| {
            down.contains(&reason)
                || recorded.established
                    && recorded.status == Some(AuthStatus::Pending)
                    && reason == Reason::ApiStarting
        })
}

/// The last moment at which the instance began anew, or its account was written. That a container was
/// started counts from when it was noticed: the engine's clock is not the database's.
pub(super) fn started_at(facts: &Facts) -> Option<DateTime<Utc>> {
    let recorded = facts
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.started_at);
    let started = facts.started().then_some(facts.now);
    [
        recorded,
        started,
        facts.began_anew(),
        facts.account_written(),
    ]
    .into_iter()
    .flatten()
    .max()
}

pub(super) fn no_evidence(facts: &Facts) -> bool {
    // Far ahead of now is no moment ago either: the database's clock was set back.
    started_at(facts).is_some_and(|start| (facts.now - start).abs() < NO_EVIDENCE)
}

pub(super) fn account_at(facts: &Facts) -> Option<DateTime<Utc>> {
    let recorded = facts
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.account_at);
    recorded.max(facts.account_written())
}

/// Last READY of this life of the instance: one before it began anew is of another life. A change that is not
/// answered for came after whatever was recorded, though its statement may have run before, and the clock may have
/// been set back.
pub(super) fn ready_since_start(facts: &Facts) -> Option<DateTime<Utc>> {
    facts
        .recorded
        .as_ref()
        .filter(|_| !facts.restarted() && facts.began_anew().is_none())
        .and_then(|recorded| recorded.ready_at)
}

/// The streak that an answer of this kind makes: how many in a row, and since when.
pub(super) fn streak(facts: &Facts, kind: Streak) -> (u32, DateTime<Utc>) {
    match &facts.recorded {
        Some(recorded)
            if recorded.reason.and_then(Reason::streak) == Some(kind)
                && recorded.misses > 0
                // Else the clock was set back, and it would last until that has caught up.
                && recorded.first_miss_at.is_none_or(|first| first <= facts.now)
                && !(kind == Streak::NotReady && void(facts, recorded.first_miss_at))
                && facts.began_anew().is_none()
                && !facts.restarted() =>
        {
            let another = u32::from(!facts.early());
            (
                recorded.misses.saturating_add(another),
                recorded.first_miss_at.unwrap_or(facts.now),
            )
        }
        Some(_) | None => (1, facts.now),
    }
}

/// Since when this life of the instance has said that it is not ready, as far as was recorded: silence in between, ours
/// or its own, says nothing else. A write of its account is a sign that it is about to be ready, so it ends that, too.
pub(super) fn not_ready_since(facts: &Facts) -> Option<DateTime<Utc>> {
    let ended = facts.restarted()
        || facts.began_anew().is_some()
        || facts.account_written().is_some()
        || no_evidence(facts);
    facts
        .recorded
        .as_ref()
        .filter(|_| !ended)
        .and_then(|recorded| recorded.not_ready_since)
        // Else the clock was set back, and the limit would be far away until that has caught up.
        .filter(|since| *since <= facts.now)
}

/// Whether a streak that began then may have begun while our own way was at fault.
fn void(facts: &Facts, first_miss_at: Option<DateTime<Utc>>) -> bool {
    match (facts.way.void_until, first_miss_at) {
        (Some(until), Some(first)) => first <= until,
        (Some(_) | None, _) => false,
    }
}

/// Whether another instance was answered after this moment and before the probe was sent.
pub(super) fn witnessed(facts: &Facts, since: DateTime<Utc>, sent: DateTime<Utc>) -> bool {
    let at = facts.way.witness_at;
    at.is_some_and(|at| at > since && at <= sent)
}

/// Whether the refusal of a key that began then is the instance's own word: others were asked since, one of them was
/// answered in its own words, and none is refused as well. Somebody in between who refuses everybody may let one of
/// them through first, and that one's answer proves nothing of the others.
pub(super) fn refused_alone(facts: &Facts, since: DateTime<Utc>, sent: DateTime<Utc>) -> bool {
    witnessed(facts, since, sent)
        && facts.way.asked_at.is_some_and(|at| at >= since)
        && !lately(facts, facts.way.refused_at)
        && !doubted_lately(facts)
}

/// Whether a doubt has just ended: what was in between may be going away from one instance after the other.
pub(super) fn doubted_lately(facts: &Facts) -> bool {
    lately(facts, facts.way.doubt_ended)
}

fn lately(facts: &Facts, at: Option<DateTime<Utc>>) -> bool {
    at.is_some_and(|at| (facts.now - at).abs() < LATELY)
}

/// Whether an instance whose container was never seen, and which does not answer now, is nevertheless somewhere:
/// it was heard a moment ago, or its account was written. No event would tell when it answers again.
pub(super) fn lives_unseen(policy: &Policy, facts: &Facts) -> bool {
    let heard = facts
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.reason)
        .is_some_and(|reason| {
            reason.streak().is_some()
                || matches!(
                    reason,
                    Reason::Ready | Reason::Authenticated | Reason::AwaitingScan
                )
        });
    let (_, silent_since) = streak(facts, Streak::NotReady);
    account_at(facts).is_some()
        || heard && elapsed(silent_since, facts.now) < policy.not_connected_limit
}

pub(super) fn elapsed(since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

/// Whether the account was written just now, and nothing but short steps tells what comes of it.
pub(super) fn eager(facts: &Facts) -> bool {
    !facts.followed && account_at(facts).is_some_and(|at| (facts.now - at).abs() < EAGER)
}
