//! How long to wait before looking again when no event says so.

use std::time::Duration;

/// Growth per attempt. Small, because when nothing but the clock can tell, a look is late by up to
/// one step, and a step is about a fifth of the time waited so far (with the usual 2 it would be
/// half). From 50 ms to 60 s it takes 32 looks, and five minutes.
const FACTOR: f64 = 1.25;

/// Growth where an event is expected to tell, and the clock is the net below it.
const NET_FACTOR: f64 = 2.0;

/// Share of a step by which chance may lengthen it, so that instances that fell together do not
/// come back together.
const JITTER: f64 = 0.2;

/// Exponential backoff: `min`, growing by a quarter each attempt, up to exactly `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First step.
    pub min: Duration,
    /// Longest step; reached, never passed.
    pub max: Duration,
}

impl Backoff {
    /// The attempt whose step is at least `wanted`, to go on from there.
    #[must_use]
    pub fn attempt_of(&self, wanted: Duration) -> u32 {
        let steps = wanted.as_secs_f64() / self.min.as_secs_f64().max(f64::MIN_POSITIVE);
        (0..64)
            .find(|attempt| FACTOR.powf(f64::from(*attempt)) >= steps)
            .unwrap_or(64)
    }

    /// The step after `attempt` attempts without success. `chance` is drawn by the caller from
    /// `[0, 1)`.
    #[must_use]
    pub fn delay(&self, attempt: u32, chance: f64) -> Duration {
        self.step(FACTOR, attempt, chance)
    }

    /// The same for an instance whose container is heard: each step is twice the one before, so that the
    /// looks that nothing asked for are few.
    #[must_use]
    pub fn net(&self, attempt: u32, chance: f64) -> Duration {
        self.step(NET_FACTOR, attempt, chance)
    }

    fn step(&self, factor: f64, attempt: u32, chance: f64) -> Duration {
        let max = self.max.as_secs_f64();
        let exponent = f64::from(attempt.min(1_000));
        let step = (self.min.as_secs_f64() * factor.powf(exponent)).min(max);
        let jittered = (step * (1.0 + JITTER * chance.clamp(0.0, 1.0))).min(max);
        Duration::try_from_secs_f64(jittered).unwrap_or(self.max)
    }
}

/// How long to wait before a status that the table refused is written again, after `last` was waited: a
/// minute, twice as long each time, up to an hour. Only somebody who changes the table can make it succeed.
#[must_use]
pub fn after_refusal(last: Option<Duration>) -> Duration {
    let (first, longest) = (Duration::from_secs(60), Duration::from_secs(3_600));
    last.map_or(first, |last| last.saturating_mul(2).clamp(first, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        min: Duration::from_millis(50),
        max: Duration::from_secs(60),
    };

    #[test]
    fn starts_at_the_minimum_and_ends_at_exactly_the_maximum() {
        assert_eq!(BACKOFF.delay(0, 0.0), Duration::from_millis(50));
        assert!(BACKOFF.delay(0, 0.999) < Duration::from_millis(63));
        for attempt in [32, 40, 1_000, u32::MAX] {
            assert_eq!(
                BACKOFF.delay(attempt, 0.0),
                BACKOFF.max,
                "one look a minute at most"
            );
            assert_eq!(BACKOFF.delay(attempt, 0.999), BACKOFF.max);
        }
    }

    #[test]
    fn a_refusal_is_tried_again_after_a_minute_and_ever_more_rarely() {
        let mut last = None;
        let waits: Vec<_> = std::iter::repeat_with(|| {
            last = Some(after_refusal(last));
            last.map_or(0, |wait| wait.as_secs())
        })
        .take(8)
        .collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    }

    #[test]
    fn below_events_the_steps_double_and_a_minute_holds_few() {
        let (mut waited, mut attempts) = (Duration::ZERO, 0);
        while waited < Duration::from_secs(60) {
            waited += BACKOFF.net(attempts, 0.0);
            attempts += 1;
        }
        assert_eq!(attempts, 11, "looks in the first minute");
        assert!(BACKOFF.net(attempts - 1, 0.0) > Duration::from_secs(30));
        for attempt in [11, 1_000, u32::MAX] {
            assert_eq!(BACKOFF.net(attempt, 0.0), BACKOFF.max);
        }
    }

    #[test]
    fn a_step_is_a_bounded_share_of_the_time_waited_before_it() {
        let mut waited = Duration::ZERO;
        for attempt in 0..32 {
            let step = BACKOFF.delay(attempt, 0.0);
            if attempt > 8 {
                assert!(
                    step < waited.mul_f64(0.3),
                    "attempt {attempt}: {step:?} after {waited:?}"
                );
            }
            waited += step;
        }
    }
}
