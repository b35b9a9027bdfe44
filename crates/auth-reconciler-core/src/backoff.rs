//! How long to wait before looking again when no event says so.

use std::time::Duration;

/// Growth per attempt: the third root of two, about a quarter. Small, because when nothing but the clock can
/// tell, a look is late by up to one step, and a step is about a fifth of the time waited so far (with the
/// usual 2 it would be half). From 50 ms to 60 s it takes 31 looks, and four to five minutes.
const FACTOR: f64 = 1.259_921_049_894_873_2;

/// What a look adds to the attempts where an event is expected to tell and the clock is the net below it, or where
/// the next look would most likely fail like this one: each step is twice the one before. One scale for both, for an
/// instance may come to be heard at any step, and cease to be.
const DOUBLING: u32 = 3;

/// Share of a step by which chance may lengthen it, so that instances that fell together do not
/// come back together.
const JITTER: f64 = 0.2;

/// Exponential backoff: `min`, growing by a quarter each attempt, up to exactly `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// Longest step; reached, never passed.
    pub max: Duration,
}

impl Backoff {
    /// The attempt whose step is at least `wanted`, to go on from there.
    #[must_use]
    pub fn attempt_of(&self, wanted: Duration) -> u32 {
        let wanted = wanted.min(self.max);
        (0..u32::MAX)
            .find(|attempt| self.delay(*attempt, 0.0) >= wanted)
            .unwrap_or(0)
    }

    /// The attempts once a look has been made after so many. One that is to be followed by few more counts for three:
    /// its container is heard, or the database refuses what it needs.
    #[must_use]
    pub const fn after(attempts: u32, few_more: bool) -> u32 {
        attempts.saturating_add(if few_more { DOUBLING } else { 1 })
    }

    /// The step after so many attempts without success. `chance` is drawn by the caller from `[0, 1)`.
    #[must_use]
    pub fn delay(&self, attempts: u32, chance: f64) -> Duration {
        let max = self.max.as_secs_f64();
        let exponent = f64::from(attempts.min(1_000));
        let step = (self.min.as_secs_f64() * FACTOR.powf(exponent)).min(max);
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
        for attempt in [31, 40, 1_000, u32::MAX] {
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
        let (mut waited, mut attempts, mut looks) = (Duration::ZERO, 0, 0);
        let mut last = Duration::ZERO;
        while waited < Duration::from_secs(60) {
            let step = BACKOFF.delay(attempts, 0.0);
            if !last.is_zero() {
                assert!(
                    (1.999..2.001).contains(&step.div_duration_f64(last)),
                    "{step:?}"
                );
            }
            waited += step;
            last = step;
            attempts = Backoff::after(attempts, true);
            looks += 1;
        }
        assert_eq!(looks, 11, "looks in the first minute");
        for attempts in [31, 1_000, u32::MAX] {
            assert_eq!(BACKOFF.delay(attempts, 0.0), BACKOFF.max);
        }
    }

    /// Its follower gets its place, or loses it; the engine comes into sight, or goes out of it.
    #[test]
    fn a_step_is_at_most_twice_the_one_before_whenever_it_comes_to_be_heard() {
        for heard_from in 0..40 {
            for unheard_from in 0..40 {
                let (mut attempts, mut last) = (0, BACKOFF.delay(0, 0.0));
                for look in 0..40 {
                    let heard = look >= heard_from && look < heard_from + unheard_from;
                    attempts = Backoff::after(attempts, heard);
                    let step = BACKOFF.delay(attempts, 0.0);
                    assert!(
                        step >= last && step <= last.mul_f64(2.001),
                        "{last:?} {step:?}"
                    );
                    last = step;
                }
            }
        }
    }

    #[test]
    fn a_wait_of_one_s_own_is_gone_on_from() {
        for wanted in [1, 50, 1_000, 59_999, 60_000, 600_000].map(Duration::from_millis) {
            let step = BACKOFF.delay(BACKOFF.attempt_of(wanted), 0.0);
            assert!(step >= wanted.min(BACKOFF.max), "{wanted:?} {step:?}");
            let enough = wanted.max(BACKOFF.min).mul_f64(1.26);
            assert!(step <= enough, "{wanted:?} {step:?}");
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
