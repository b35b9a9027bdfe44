use uuid::Uuid;

use super::*;
use crate::Cause;

fn key(number: u128) -> Key {
    Key {
        watched_id: 1,
        instance_id: Uuid::from_u128(number),
    }
}

#[test]
fn a_shortage_is_told_once_and_its_end_when_everybody_was_asked() {
    let mut troubles = Troubles::default();
    let now = Moment::from_secs(1_000);
    for number in 0..10 {
        let (wait, _) = troubles.not_asked(key(number), Shortage::Resolver, now, 0.99);
        assert!(wait >= STEP && wait < 3 * STEP, "{wait:?}");
    }
    let note = troubles.begin_note().expect("a note");
    assert_eq!(note.problem, NOT_ASKED);
    let short = Trouble::NotAsked(vec![Shortage::Resolver]);
    assert_eq!(note.trouble, Some(short));
    assert!(troubles.begin_note().is_none(), "one at a time");
    troubles.noted(true);
    assert!(troubles.begin_note().is_none(), "said once");
    // One is asked: the others are tried at once, but not with each of them.
    assert_eq!(troubles.looked(&key(3), now).0.len(), 9);
    assert!(troubles.looked(&key(4), now).0.is_empty());
    for number in 0..10 {
        troubles.looked(&key(number), now);
    }
    assert!(troubles.begin_note().expect("a note").trouble.is_none());
}

#[test]
fn a_crowd_comes_less_often_and_never_too_rarely() {
    let mut troubles = Troubles::default();
    let now = Moment::from_secs(1_000);
    let longest = (0..10_000)
        .map(|number| {
            troubles
                .not_asked(key(number), Shortage::Network, now, 0.99)
                .0
        })
        .max();
    assert_eq!(longest, Some(LONGEST));
}

#[test]
fn what_could_not_be_told_is_told_with_the_next_echo_unless_it_is_old() {
    let mut troubles = Troubles::default();
    let now = Moment::from_secs(1_000);
    troubles.not_asked(key(1), Shortage::Memory, now, 0.0);
    troubles.begin_note().expect("a note");
    troubles.looked(&key(1), now);
    troubles.noted(false);
    assert!(troubles.begin_note().is_none());
    troubles.may_note_again();
    assert!(troubles.begin_note().expect("a note").trouble.is_none());
    troubles.noted(true);
    assert!(troubles.begin_note().is_none());
}

#[test]
fn a_failure_that_meets_every_look_is_said_once_until_it_was_gone_for_a_while() {
    let mut troubles = Troubles::default();
    let mut now = Moment::from_secs(1_000);
    assert!(troubles.failed("no descriptor", now));
    for _ in 0..600 {
        now += STEP;
        assert!(!troubles.failed("no descriptor", now));
    }
    assert!(troubles.failed("another", now), "another one is news");
    troubles.clear();
    assert!(!troubles.failed("no descriptor", now), "a term later, too");
    now += 2 * SAME;
    assert!(troubles.failed("no descriptor", now));
    for number in 0..10_000 {
        troubles.failed(&number.to_string(), now);
    }
    assert!(troubles.failures.len() <= REMEMBERED);
}

fn of_table(watched_id: i32, status: AuthStatus) -> Said {
    Said {
        key: Key {
            watched_id,
            ..key(1)
        },
        status: Some(status),
        reason: None,
        cause: Cause::Backoff,
        contested: false,
    }
}

fn became(outcome: Outcome, refusal: Option<&str>) -> Recording {
    Recording {
        outcome,
        from: None,
        reaction_ms: None,
        refusal: refusal.map(str::to_owned),
    }
}

#[test]
fn what_a_table_makes_of_a_status_is_said_once_until_it_takes_that_status() {
    let mut troubles = Troubles::default();
    let refused = became(Outcome::Unwritable, Some("constraint few refuses it"));
    let ready = of_table(1, AuthStatus::ClientReady);
    assert!(troubles.recorded(&ready, &refused));
    let another_row = Said {
        key: key(2),
        ..ready.clone()
    };
    assert!(!troubles.recorded(&another_row, &refused), "of every row");
    let otherwise = became(Outcome::Unwritable, Some("constraint many refuses it"));
    assert!(troubles.recorded(&ready, &otherwise), "another reason");
    let replaced = became(Outcome::Overridden, None);
    assert!(troubles.recorded(&ready, &replaced), "another way");
    assert!(!troubles.recorded(&ready, &replaced));
    assert!(troubles.recorded(&of_table(2, AuthStatus::ClientReady), &refused));
    assert!(troubles.recorded(&of_table(1, AuthStatus::Pending), &refused));
    troubles.clear();
    assert!(!troubles.recorded(&ready, &refused), "a term later, too");
    // It takes another status, and one is right that nobody had to write.
    let written = became(Outcome::Written, None);
    assert!(troubles.recorded(&of_table(1, AuthStatus::Failed), &written));
    assert!(troubles.recorded(&ready, &became(Outcome::Right, None)));
    assert!(!troubles.recorded(&ready, &refused));
    assert!(troubles.recorded(&ready, &written));
    assert!(
        troubles.recorded(&ready, &refused),
        "again, after it was mended"
    );
    assert!(!troubles.recorded(&of_table(2, AuthStatus::ClientReady), &refused));
    for number in 0..10_000 {
        let why = format!("constraint {number} refuses it");
        troubles.recorded(&ready, &became(Outcome::Unwritable, Some(&why)));
    }
    assert!(troubles.refused.len() <= REMEMBERED);
}

#[test]
fn a_shortage_is_news_again_a_while_after_its_end_and_not_for_another_term() {
    let mut troubles = Troubles::default();
    let began = Moment::from_secs(1_000);
    let short = |troubles: &mut Troubles, at| {
        let (_, news) = troubles.not_asked(key(1), Shortage::Resolver, at, 0.0);
        news
    };
    assert_eq!(short(&mut troubles, began), Some(true));
    assert_eq!(short(&mut troubles, began + STEP), None, "it lasts");
    let ended = began + 10 * SAME;
    assert!(troubles.looked(&key(1), ended).1);
    assert_eq!(short(&mut troubles, ended + SAME), Some(false));
    troubles.clear();
    assert_eq!(short(&mut troubles, ended + SAME + STEP), Some(false));
    let ended = ended + 2 * SAME;
    assert!(troubles.looked(&key(1), ended).1);
    assert_eq!(short(&mut troubles, ended + SAME + STEP), Some(true));
}

#[test]
fn the_others_are_tried_when_one_of_them_was_asked_and_once_in_a_while() {
    let mut troubles = Troubles::default();
    let now = Moment::from_secs(1_000);
    for number in 1..=4 {
        troubles.not_asked(key(number), Shortage::Resolver, now, 0.0);
    }
    let one_of_no_wait = troubles.looked(&key(9), now);
    assert_eq!(one_of_no_wait, (Vec::new(), false));
    assert_eq!(troubles.looked(&key(1), now).0.len(), 3);
    let soon = now + STEP - Duration::from_millis(1);
    assert_eq!(troubles.looked(&key(2), soon).0, []);
    assert_eq!(troubles.looked(&key(3), now + STEP).0, [key(4)]);
}

#[test]
fn however_many_failures_are_known_those_that_go_on_stay_known_and_old_ones_make_room() {
    let mut troubles = Troubles::default();
    let mut now = Moment::from_secs(1_000);
    for number in 0..REMEMBERED {
        assert!(troubles.failed(&number.to_string(), now));
    }
    assert!(!troubles.failed("one too many", now));
    for _ in 0..20 {
        now += SAME / 6;
        assert!(!troubles.failed("0", now), "it goes on");
    }
    assert!(troubles.failed("there is room again", now));
}
