//! From a draft to what is recorded.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::Draft;
use super::past::{
    Standing, account_at, eager, elapsed, no_evidence, not_ready_since, ready_since_start,
    standing, started_at, streak,
};
use super::{Policy, Verdict};
use crate::Reason;
use crate::backoff::Backoff;
use crate::corrections::Corrections;
use crate::facts::{Facts, Recorded};
use crate::reason::Streak;

/// Shortest and longest of the steps that follow an account write.
const EAGER_STEP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));

/// The bookkeeping of every verdict: streaks, backoff, corrections, trouble.
pub(super) fn finish(policy: &Policy, facts: &Facts, draft: Draft, chance: f64) -> Verdict {
    let before = facts.recorded.clone().unwrap_or_default();
    let corrections = corrections_after(policy, facts, &before, &draft, chance);
    let (misses, first_miss_at) = misses_after(facts, &before, &draft);
    let not_ready_since = still_not_ready(facts, &draft);
    let (step, attempts) = next_step(policy, facts, &before, &draft, chance);
    let hold = corrections
        .held(facts.now)
        .map(|until| elapsed(facts.now, until));
    // A contested instance is looked at when its hold ends, final or not.
    let retry = step.into_iter().chain(hold).min();
    Verdict {
        status: draft.status,
        reason: draft.reason,
        last: draft.last,
        retry,
        trouble_after: trouble_after(policy, &draft, &corrections),
        wants_witness: draft.wants_witness,
        memory: Recorded {
            status: draft.status,
            reason: Some(draft.reason),
            ready_at: ready_at(facts, &draft),
            started_at: started_at(facts),
            account_at: account_at(facts),
            attempts,
            misses,
            first_miss_at,
            not_ready_since,
            established: draft.established,
            corrections,
            next_attempt_at: retry
                .and_then(|retry| TimeDelta::from_std(retry).ok())
                .map(|retry| facts.now + retry),
            sighting: facts.sighting.clone(),
        },
        message: draft.message,
    }
}

/// What is left of the budget of corrections after this look.
fn corrections_after(
    policy: &Policy,
    facts: &Facts,
    before: &Recorded,
    draft: &Draft,
    chance: f64,
) -> Corrections {
    if draft.reason.is_hands_off() {
        // There is nothing to correct.
        return Corrections::default();
    }
    before
        .corrections
        .noted(facts.foreign_writes(), facts.now)
        .after_look(facts.foreign(), policy.corrections, facts.now, chance)
}

/// How many looks in a row have missed it with this one, and when the first of them did.
fn misses_after(facts: &Facts, before: &Recorded, draft: &Draft) -> (u32, Option<DateTime<Utc>>) {
    match draft.reason.streak() {
        // It was not asked.
        Some(_) if draft.net.is_some() => (before.misses, before.first_miss_at),
        Some(kind) if !no_evidence(facts) => {
            let (misses, since) = streak(facts, kind);
            (misses, Some(since))
        }
        Some(_) | None => (0, None),
    }
}

/// How long until it is looked at without an event (`None` is never), and the attempts that have then been made.
fn next_step(
    policy: &Policy,
    facts: &Facts,
    before: &Recorded,
    draft: &Draft,
    chance: f64,
) -> (Option<Duration>, u32) {
    if draft.last {
        return (None, 0);
    }
    if let Some(net) = draft.net {
        let spent = policy.backoff.attempt_of(net);
        return (Some(net), Backoff::after(spent, facts.followed));
    }
    let spent = if facts.news() { 0 } else { before.attempts };
    if eager(facts) {
        let (shortest, longest) = EAGER_STEP;
        let step = shortest + (longest - shortest).mul_f64(chance.clamp(0.0, 1.0));
        return (Some(step), spent);
    }
    if let Some(due) = before.next_attempt_at.filter(|_| facts.early()) {
        // Never longer than a step: it would be, were the database's clock set back.
        let left = elapsed(facts.now, due).min(policy.backoff.max);
        return (Some(left), spent);
    }
    let step = policy.backoff.delay(spent, chance);
    (Some(step), Backoff::after(spent, facts.followed))
}

/// When it was last known to be ready in this life of its container.
fn ready_at(facts: &Facts, draft: &Draft) -> Option<DateTime<Utc>> {
    if draft.reason == Reason::Ready {
        Some(facts.now)
    } else if standing(facts) == Standing::Ready {
        // Whoever wrote it: it takes misses, or an answer, to unsay it.
        ready_since_start(facts).or(Some(facts.now))
    } else {
        ready_since_start(facts)
    }
}

/// How long it may stay so before it counts as in trouble; `None` is for ever.
fn trouble_after(policy: &Policy, draft: &Draft, corrections: &Corrections) -> Option<Duration> {
    if corrections.is_contested() {
        return Some(Duration::ZERO);
    }
    draft
        .reason
        .trouble_at_once(draft.status)
        .map(|now| if now { Duration::ZERO } else { policy.grace })
}

/// Since when it has said that it is not ready, with what this look heard.
fn still_not_ready(facts: &Facts, draft: &Draft) -> Option<DateTime<Utc>> {
    let since = not_ready_since(facts);
    let said = match draft.reason.streak() {
        Some(Streak::NotConnected) => true,
        Some(Streak::NotReady) => draft.reason.is_provider_error(),
        // A good answer, or what says more of it than an answer: its container, its row, or somebody who works on it.
        None => return None,
    };
    // Without a probe nobody said it, and in its first second it says nothing.
    let heard = said && draft.net.is_none() && !no_evidence(facts);
    since.or(heard.then_some(facts.now))
}
