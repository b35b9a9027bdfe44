use uuid::Uuid;

use super::*;

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
