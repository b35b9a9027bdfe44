//! What an instance's container says about its status, before and beside its API.

use super::*;
use crate::container::{REMOVED, Sighting};

pub(super) fn sighting(id: &str, state: &str, started: i64) -> Sighting {
    Sighting {
        engine: "here".to_owned(),
        id: id.to_owned(),
        name: "wweb-x-api".to_owned(),
        state: state.to_owned(),
        started_at: Some(at(started)),
        network: "endpoint".to_owned(),
    }
}

/// A container that was started at `started`, by the engine's clock.
pub(super) fn running(now: DateTime<Utc>, id: &str, started: i64) -> Facts {
    Facts {
        container: Container::Running,
        sighting: Some(sighting(id, "running", started)),
        ..facts(now)
    }
}

pub(super) fn stopped(now: DateTime<Utc>, exit_code: i64, out_of_memory: bool) -> Facts {
    Facts {
        container: Container::Stopped {
            exit_code,
            out_of_memory,
            restarting: false,
        },
        sighting: Some(sighting("a", "exited", 0)),
        ..facts(now)
    }
}

pub(super) fn told(verdict: &Verdict) -> (Option<AuthStatus>, Reason) {
    (verdict.status, verdict.reason)
}

pub(super) const FAILED: Option<AuthStatus> = Some(AuthStatus::Failed);
pub(super) const PENDING: Option<AuthStatus> = Some(AuthStatus::Pending);
pub(super) const READY: (Option<AuthStatus>, Reason) =
    (Some(AuthStatus::ClientReady), Reason::Ready);

#[test]
fn one_that_is_gone_is_told_with_how_it_ended() {
    for (state, out_of_memory, message) in [
        (
            REMOVED,
            false,
            "its container stopped with exit code 9 and was removed; start the instance again",
        ),
        (
            "removing",
            true,
            "its container was killed for using too much memory (exit code 9) and was removed; start the instance again",
        ),
        (
            "exited",
            false,
            "its container stopped with exit code 9; start it",
        ),
    ] {
        let mut facts = stopped(at(0), 9, out_of_memory);
        if let Some(seen) = &mut facts.sighting {
            seen.state = state.to_owned();
        }
        let verdict = settled(&facts);
        assert_eq!(verdict.message, message);
        assert_eq!(verdict.status, Some(AuthStatus::Failed));
    }
}

#[test]
fn a_start_that_failed_is_not_told_as_an_end() {
    let mut refused = stopped(at(0), 128, false);
    refused.sighting.as_mut().expect("seen").started_at = None;
    let refused = settled(&refused);
    assert_eq!(told(&refused), (FAILED, Reason::ContainerStopped));
    assert_eq!(
        refused.message,
        "its container could not be started (exit code 128); see why and start it"
    );
}

#[test]
fn a_container_that_cannot_answer_decides_without_a_probe() {
    let with = |container| {
        settled(&Facts {
            container,
            ..facts(at(0))
        })
    };
    let killed = settled(&stopped(at(0), 137, true));
    assert_eq!(told(&killed), (FAILED, Reason::ContainerStopped));
    assert!(
        killed.message.contains("memory") && killed.message.contains("137"),
        "{}",
        killed.message
    );
    assert_eq!(killed.retry, None);
    assert!(
        settled(&stopped(at(0), 3, false))
            .message
            .contains("exit code 3")
    );
    let looping = with(Container::Stopped {
        exit_code: 1,
        out_of_memory: false,
        restarting: true,
    });
    assert_eq!(told(&looping), (FAILED, Reason::ContainerStopped));
    assert!(
        looping.message.contains("start it again"),
        "{}",
        looping.message
    );
    assert_eq!(
        told(&with(Container::Paused)),
        (FAILED, Reason::ContainerPaused)
    );
    assert_eq!(
        told(&with(Container::Removed)),
        (FAILED, Reason::ContainerStopped)
    );
    assert_eq!(
        told(&with(Container::Created)),
        (PENDING, Reason::AwaitingContainer)
    );
}

#[test]
fn what_is_not_known_or_never_seen_is_asked() {
    for container in [Container::Unknown, Container::NeverSeen, Container::Running] {
        let facts = Facts {
            container,
            ..facts(at(0))
        };
        assert!(concerns_container(&facts));
        assert!(matches!(
            plan(&POLICY(), &facts, 0.0),
            Plan::Probe { port: 4001, .. }
        ));
        assert_eq!(told(&ask(&facts, Answer::Ready)), READY);
    }
}

#[test]
fn silence_where_no_container_was_ever_seen_waits_for_one() {
    let unseen = Facts {
        container: Container::NeverSeen,
        ..facts(at(0))
    };
    let verdict = ask(&unseen, REFUSED);
    assert_eq!(told(&verdict), (PENDING, Reason::AwaitingContainer));
    assert_eq!(verdict.retry, None, "its start is an event");
    // Somebody answers: it is where this engine does not see it, and no event will come.
    assert!(ask(&unseen, Answer::NotConnected).retry.is_some());
    // It was ready there: silence is counted as ever.
    let later = Facts {
        container: Container::NeverSeen,
        ..facts(at(60_000))
    };
    let missed = ask(&after(&ask(&unseen, Answer::Ready), later), REFUSED);
    assert_eq!(missed.status, Some(AuthStatus::ClientReady));
    assert!(missed.retry.is_some());
}

#[test]
fn the_absence_of_containers_says_nothing_on_an_engine_that_never_showed_ours() {
    for answer in [REFUSED, Answer::Silent(Silence::TimedOut)] {
        let mut verdict = ask(&elsewhere(0), answer.clone());
        let mut now = 0;
        // The backoff has grown and never ends.
        for _ in 0..40 {
            assert_eq!(told(&verdict), (PENDING, Reason::ApiStarting));
            let retry = verdict.retry.expect("no event would tell");
            now += i64::try_from(retry.as_millis()).expect("short") + 1;
            verdict = ask(&after(&verdict, elsewhere(now)), answer.clone());
        }
        let ready = ask(&after(&verdict, elsewhere(now)), Answer::Ready);
        assert_eq!(told(&ready), READY);
    }
    let ours = Facts {
        engine_has_shown_ours: true,
        ..elsewhere(0)
    };
    assert_eq!(ask(&ours, REFUSED).retry, None, "its start is an event");
}

/// Of a row without a container on an engine that runs none of ours.
fn elsewhere(ms: i64) -> Facts {
    Facts {
        container: Container::NeverSeen,
        engine_has_shown_ours: false,
        ..facts(at(ms))
    }
}

#[test]
fn while_its_output_is_followed_no_short_steps_are_needed() {
    let written = changed(running(at(5), "a", -2_000), Cause::Account, 0);
    let blind = ask(&written, Answer::NotConnected);
    assert_eq!(blind.retry, Some(Duration::from_millis(5)));
    let followed = ask(
        &Facts {
            followed: true,
            ..written
        },
        Answer::NotConnected,
    );
    assert_eq!(
        followed.retry,
        Some(POLICY().backoff.min),
        "the net below it"
    );
}

/// A minute at once, as if the second before had been grown by quarters, would be a minute without a clock.
#[test]
fn the_net_below_output_doubles_from_whatever_step_was_the_last() {
    let mut facts = Facts {
        followed: true,
        ..running(at(0), "a", -60_000)
    };
    facts.recorded = Some(Recorded {
        attempts: Backoff::after(POLICY().backoff.attempt_of(Duration::from_secs(1)), true),
        sighting: facts.sighting.clone(),
        ..Recorded::default()
    });
    let mut last = Duration::from_secs(1);
    for _ in 0..5 {
        let verdict = ask(&facts, Answer::NotConnected);
        let step = verdict.retry.expect("not final");
        assert!(
            step >= last.mul_f64(1.9) && step <= last.mul_f64(2.1),
            "{step:?} after {last:?}"
        );
        last = step;
        facts = after(&verdict, facts);
        facts.now = verdict.memory.next_attempt_at.expect("not final");
    }
}

#[test]
fn a_look_before_the_deadline_uses_up_neither_patience_nor_backoff() {
    let started = ask(&running(at(0), "a", 0), REFUSED);
    let waiting = repeated(running(at(0), "a", 0), &Answer::ProviderError, at(60_000));
    let due = waiting.memory.next_attempt_at.expect("a deadline");
    let early = ask(
        &after(&waiting, running(due - TimeDelta::milliseconds(7), "a", 0)),
        Answer::ProviderError,
    );
    assert_eq!(
        early.retry,
        Some(Duration::from_millis(7)),
        "the deadline stands"
    );
    assert_eq!(
        (early.memory.attempts, early.memory.misses),
        (waiting.memory.attempts, waiting.memory.misses)
    );

    // One error of the provider is a hiccup, however often the container says so before the deadline.
    let ready = ask(&after(&started, running(at(3_000), "a", 0)), Answer::Ready);
    let hiccup = ask(
        &after(&ready, running(at(10_000), "a", 0)),
        Answer::ProviderError,
    );
    let again = ask(
        &after(&hiccup, running(at(10_020), "a", 0)),
        Answer::ProviderError,
    );
    assert_eq!(again.status, Some(AuthStatus::ClientReady));
    let in_time = ask(
        &after(&again, running(at(11_001), "a", 0)),
        Answer::ProviderError,
    );
    assert_eq!(in_time.status, FAILED);

    // News of the row is no early look.
    let woken = changed(running(at(60_001), "a", 0), Cause::Account, 60_000);
    assert_eq!(
        ask(
            &after(
                &waiting,
                Facts {
                    followed: true,
                    ..woken
                }
            ),
            Answer::NotConnected
        )
        .memory
        .attempts,
        Backoff::after(0, true)
    );
}

#[test]
fn hands_off_rows_do_not_concern_the_engine() {
    for change in [
        |row: &mut Row| row.provider = None,
        |row: &mut Row| row.serves_api = false,
    ] {
        let mut unsupported = facts(at(0));
        change(unsupported.row.as_mut().expect("row"));
        assert!(!concerns_container(&unsupported));
    }
    assert!(!concerns_container(&Facts {
        row: None,
        ..facts(at(0))
    }));
}

#[test]
fn a_hold_puts_off_no_look_that_its_container_asked_for() {
    let contested = Recorded {
        status: Some(AuthStatus::ClientReady),
        reason: Some(Reason::Ready),
        corrections: Corrections {
            contested: 3,
            hold_until: Some(at(40_000)),
            ..Corrections::default()
        },
        sighting: Some(sighting("a", "running", 0)),
        ..Recorded::default()
    };
    let mut dead = Facts {
        recorded: Some(contested),
        ..changed(stopped(at(0), 137, false), Cause::Drift, 0)
    };
    assert!(matches!(plan(&POLICY(), &dead, 0.0), Plan::Defer { .. }));
    dead.lift_hold();
    assert!(concerns_container(&dead));
    let verdict = settled(&dead);
    assert_eq!(told(&verdict), (FAILED, Reason::ContainerStopped));
    assert!(
        verdict.memory.corrections.held(at(0)).is_some(),
        "the fight goes on"
    );
}
