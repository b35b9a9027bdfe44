//! What of one life of a container says something about the next, and what out of sight.

use super::containers::{FAILED, PENDING, READY, running, sighting, stopped, told};
use super::*;

#[test]
fn a_container_that_started_after_the_last_ready_is_of_another_life() {
    let ready = ask(&running(at(0), "a", -5_000), Answer::Ready);
    let same = ask(&after(&ready, running(at(100_000), "a", -5_000)), REFUSED);
    assert_eq!(
        told(&same),
        (Some(AuthStatus::ClientReady), Reason::ApiUnresponsive)
    );
    for (id, started) in [("a", 90_000), ("b", -5_000)] {
        let restarted = ask(&after(&ready, running(at(100_000), id, started)), REFUSED);
        assert_eq!(told(&restarted), (PENDING, Reason::ApiStarting), "{id}");
        assert_eq!(restarted.memory.ready_at, None);
        assert_eq!(restarted.memory.started_at, Some(at(100_000)));
        // And stays so when the first second is over.
        let later = ask(
            &after(&restarted, running(at(102_000), id, started)),
            REFUSED,
        );
        assert_eq!(told(&later), (PENDING, Reason::ApiStarting), "{id}");
    }
}

#[test]
fn the_engine_s_clock_does_not_matter() {
    let ready = ask(&running(at(0), "a", 0), Answer::Ready);
    for started in [-86_400_000, 86_400_000] {
        let restarted = ask(&after(&ready, running(at(10_000), "a", started)), REFUSED);
        let later = ask(
            &after(&restarted, running(at(12_000), "a", started)),
            Answer::NotConnected,
        );
        assert_eq!(
            later.memory.misses, 1,
            "an answer two seconds after the start is evidence"
        );
    }
}

#[test]
fn a_container_that_runs_again_is_no_longer_failed_for_having_stopped() {
    let ready = ask(&running(at(0), "a", 0), Answer::Ready);
    let dead = settled(&after(&ready, stopped(at(10_000), 137, false)));
    let started = ask(&after(&dead, running(at(10_300), "a", 10_200)), REFUSED);
    assert_eq!(told(&started), (PENDING, Reason::ApiStarting));
    assert_eq!(
        told(&ask(
            &after(&started, running(at(12_000), "a", 10_200)),
            Answer::Ready
        )),
        READY
    );

    let paused = settled(&after(
        &ready,
        Facts {
            container: Container::Paused,
            sighting: Some(sighting("a", "paused", 0)),
            ..facts(at(10_000))
        },
    ));
    let goes_on = running(at(20_000), "a", 0);
    assert_eq!(
        told(&ask(&after(&paused, goes_on.clone()), Answer::Ready)),
        READY
    );
    assert_eq!(
        ask(&after(&paused, goes_on), REFUSED).status,
        PENDING,
        "failed for nothing that is so now"
    );
}

#[test]
fn out_of_sight_a_good_status_stays_good() {
    let ready = ask(&running(at(0), "a", 0), Answer::Ready);
    let unknown = Facts {
        sighting: ready.memory.sighting.clone(),
        ..facts(at(60_000))
    };
    assert_eq!(
        told(&ask(&after(&ready, unknown.clone()), Answer::Ready)),
        READY
    );
    let missed = ask(&after(&ready, unknown), REFUSED);
    assert_eq!(missed.status, Some(AuthStatus::ClientReady));
    assert_eq!(
        missed.memory.sighting, ready.memory.sighting,
        "what is unknown is not recorded over it"
    );
}

#[test]
fn out_of_sight_a_stopped_container_stays_failed_until_its_api_says_otherwise() {
    let ready = ask(&running(at(0), "a", 0), Answer::Ready);
    for before in [
        settled(&stopped(at(0), 1, false)),
        settled(&after(&ready, stopped(at(5_000), 1, false))),
    ] {
        let unseen = Facts {
            sighting: before.memory.sighting.clone(),
            ..facts(at(60_000))
        };
        let verdict = ask(&after(&before, unseen.clone()), REFUSED);
        assert_eq!(told(&verdict), (FAILED, Reason::ContainerStopped));
        assert!(verdict.retry.is_some(), "no event will tell");
        assert_eq!(told(&ask(&after(&verdict, unseen), Answer::Ready)), READY);
    }
}

#[test]
fn silence_of_one_that_was_heard_where_no_container_is_seen_is_not_the_end() {
    let unseen = |ms| Facts {
        container: Container::NeverSeen,
        ..facts(at(ms))
    };
    // It answered, and once it does not.
    let heard = ask(&unseen(0), Answer::NotConnected);
    let mut verdict = ask(&after(&heard, unseen(60_000)), REFUSED);
    assert_eq!(told(&verdict), (PENDING, Reason::ApiStarting));
    assert!(
        verdict.retry.is_some(),
        "no event would tell that it answers again"
    );
    assert_eq!(
        told(&ask(&after(&verdict, unseen(61_000)), Answer::Ready)),
        READY
    );
    // Its key was changed, and it is started with the new one where nobody sees it.
    let ready = ask(&unseen(0), Answer::Ready);
    let anew = changed(unseen(60_000), Cause::ApiKey, 60_000);
    assert!(ask(&after(&ready, anew), REFUSED).retry.is_some());
    // It stays silent.
    let mut now = 60_000;
    while let Some(retry) = verdict.retry {
        now += i64::try_from(retry.as_millis()).expect("short") + 1;
        assert!(now < 120_000, "it waits for a container in the end");
        verdict = ask(&after(&verdict, unseen(now)), REFUSED);
    }
    assert_eq!(told(&verdict), (PENDING, Reason::AwaitingContainer));
    // Its account was written: it has run somewhere.
    let account = changed(unseen(0), Cause::Account, 0);
    let verdict = ask(&account, REFUSED);
    assert_eq!(told(&verdict), (PENDING, Reason::ApiStarting));
    assert!(verdict.retry.is_some());
}

/// In its first second it is starting; one that goes on after a pause is in no first second.
#[test]
fn not_connected_in_the_first_second_of_a_life_is_told_as_starting() {
    let ready = ask(&running(at(0), "a", 0), Answer::Ready);
    let restarted = after(&ready, running(at(60_000), "a", 59_900));
    let verdict = ask(&restarted, Answer::NotConnected);
    assert_eq!(told(&verdict), (PENDING, Reason::ApiStarting));
    let paused = settled(&after(
        &ready,
        Facts {
            container: Container::Paused,
            sighting: Some(sighting("a", "paused", 0)),
            ..facts(at(50_000))
        },
    ));
    let goes_on = after(&paused, running(at(60_000), "a", 0));
    let verdict = ask(&goes_on, Answer::NotConnected);
    assert_eq!(told(&verdict), (PENDING, Reason::TelegramConnecting));
}
