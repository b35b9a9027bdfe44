//! For how long an instance has said that it is not ready, whatever else was or was not answered in between.

use super::containers::sighting;
use super::*;

const ERROR: Answer = Answer::ProviderError;
const APART: Answer = Answer::NotConnected;

/// An instance whose container runs.
fn seen(now: i64) -> Facts {
    Facts {
        container: Container::Running,
        sighting: Some(sighting("a", "running", 0)),
        ..facts(at(now))
    }
}

/// It has been seen for a minute, and says so at 0 for the first time.
fn first_said() -> Verdict {
    let silent = ask(&seen(-60_000), REFUSED);
    ask(&after(&silent, seen(0)), APART)
}

/// Asked every five seconds, and answered these in turn: when it is failed, in ms since the first of them.
fn failed_after(profile: &Profile, turn: &[Answer]) -> Option<i64> {
    let mut world = facts(at(0));
    for (look, answer) in turn.iter().cycle().take(250).enumerate() {
        let ms = i64::try_from(look).expect("few") * 5_000;
        world.now = at(ms);
        let verdict = recorded(conclude(&POLICY(), &world, profile, answer, world.now, 0.0));
        if verdict.status == Some(AuthStatus::Failed) {
            assert_eq!(verdict.reason, profile.not_connected, "{turn:?}");
            assert_eq!(*answer, APART, "{turn:?}");
            return Some(ms);
        }
        world = after(&verdict, world);
    }
    None
}

#[test]
fn it_is_failed_at_the_limit_whatever_comes_in_turn_with_not_connected() {
    let hanging = Answer::Silent(Silence::TimedOut);
    let odd = Answer::Http { code: 500 };
    let cases: [(&[Answer], i64); 8] = [
        (&[APART], 30_000),
        (&[APART, ERROR], 30_000),
        // The limit goes by from the first that was said, but only "not connected" is failed by it.
        (&[ERROR, APART], 35_000),
        (&[APART, REFUSED], 30_000),
        (&[APART, hanging.clone(), odd.clone()], 30_000),
        (&[APART, ERROR, hanging], 30_000),
        // Silence before says nothing.
        (&[REFUSED, odd.clone(), APART], 40_000),
        (&[odd, ERROR, REFUSED, APART], 35_000),
    ];
    for (turn, right) in cases {
        let found = failed_after(telegram(), turn);
        assert_eq!(found, Some(right), "{turn:?}");
    }
    let whatsapp = Profile::of(Some("whatsappweb")).expect("profile");
    let turn = [APART, ERROR, REFUSED];
    assert_eq!(failed_after(whatsapp, &turn), Some(600_000));
}

/// One that said so at 0, and 40 s later once more, after something else in between.
fn after_this(between: impl Fn(Facts) -> Verdict) -> Option<AuthStatus> {
    let first = first_said();
    let second = between(after(&first, seen(20_000)));
    let mut later = after(&second, seen(40_000));
    later.sighting.clone_from(&second.memory.sighting);
    ask(&later, APART).status
}

#[test]
fn what_says_nothing_of_its_readiness_leaves_the_limit_as_it_was() {
    let failed = Some(AuthStatus::Failed);
    for answer in [
        APART,
        ERROR,
        REFUSED,
        Answer::Http { code: 502 },
        Answer::Malformed { what: "words" },
    ] {
        let found = after_this(|world| ask(&world, answer.clone()));
        assert_eq!(found, failed, "{answer:?}");
    }
    let written_over = |world| ask(&changed(world, Cause::Drift, 19_000), REFUSED);
    assert_eq!(
        after_this(written_over),
        failed,
        "somebody wrote the column"
    );
    let asked = |world| ask(&changed(world, Cause::Operator, 19_000), REFUSED);
    assert_eq!(after_this(asked), failed, "an operator asked");
}

#[test]
fn a_good_answer_or_another_life_begins_it_anew() {
    let pending = Some(AuthStatus::Pending);
    for good in [Answer::Ready, Answer::QrReady, Answer::Authenticated] {
        let found = after_this(|world| ask(&world, good.clone()));
        assert_eq!(found, pending, "{good:?}");
    }
    for cause in [
        Cause::ApiKey,
        Cause::Port,
        Cause::Provider,
        Cause::Insert,
        // Its container writes it when it is about to be ready.
        Cause::Account,
    ] {
        let found = after_this(|world| ask(&changed(world, cause, 19_000), REFUSED));
        assert_eq!(found, pending, "{cause}");
    }
    let restarted = |world: Facts| {
        let sighting = Some(sighting("a", "running", 19_000));
        ask(&Facts { sighting, ..world }, REFUSED)
    };
    assert_eq!(after_this(restarted), pending, "started again");
    for (container, state) in [
        (Container::Removed, "removed"),
        (Container::Paused, "paused"),
    ] {
        let found = after_this(|world| {
            let sighting = Some(sighting("a", state, 0));
            settled(&Facts {
                container,
                sighting,
                ..world
            })
        });
        assert_eq!(found, pending, "{state}");
    }
    let on_hold = |mut world: Facts| {
        world.paused = Some("somebody: repairs it".to_owned());
        settled(&world)
    };
    assert_eq!(after_this(on_hold), pending, "an operator worked on it");
}

/// A failure that is put back without a probe, and what is given back, say nothing of it, either.
#[test]
fn what_nobody_answered_neither_begins_nor_ends_it() {
    let first = first_said();
    let failed = ask(&after(&first, seen(40_000)), APART);
    assert_eq!(failed.memory.not_ready_since, Some(at(0)));
    let mut written = changed(after(&failed, seen(41_000)), Cause::Drift, 41_000);
    written.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
    assert_eq!(settled(&written).memory.not_ready_since, Some(at(0)));

    let mut unsaid = failed.clone();
    unsaid.memory.not_ready_since = None;
    unsaid.memory.reason = Some(Reason::TelegramError);
    let mut written = changed(after(&unsaid, seen(41_000)), Cause::Drift, 41_000);
    written.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
    assert_eq!(settled(&written).memory.not_ready_since, None);
}

#[test]
fn the_first_second_of_a_life_says_nothing() {
    let began = ask(&changed(seen(500), Cause::ApiKey, 0), APART);
    assert_eq!(began.memory.not_ready_since, None);
    let later = ask(&after(&began, seen(1_500)), APART);
    assert_eq!(later.memory.not_ready_since, Some(at(1_500)));
}

/// Not a moment that is yet to come: it would be far away for as long as the clock was set back.
#[test]
fn with_the_clock_set_back_it_begins_anew() {
    let said = ask(&facts(at(7_200_000)), APART);
    let back = ask(&after(&said, facts(at(0))), ERROR);
    assert_eq!(back.memory.not_ready_since, Some(at(0)));
    let late = ask(&after(&back, facts(at(30_000))), APART);
    assert_eq!(late.status, Some(AuthStatus::Failed));
}
