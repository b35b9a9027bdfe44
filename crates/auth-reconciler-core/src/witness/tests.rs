use chrono::TimeDelta;

use super::*;

fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

#[test]
fn an_instance_is_no_witness_of_itself() {
    let mut witnesses = Witnesses::default();
    assert_eq!(witnesses.heard(&1, at(5)), Heard::Noted);
    assert_eq!(witnesses.known(&1).witness_at, None);
    assert_eq!(witnesses.known(&2).witness_at, Some(at(5)));
    witnesses.heard(&2, at(6));
    witnesses.heard(&2, at(7));
    assert_eq!(witnesses.known(&2).witness_at, Some(at(5)));
    assert_eq!(witnesses.known(&1).witness_at, Some(at(7)));
}

#[test]
fn a_round_has_ended_when_all_of_it_were_looked_at() {
    let mut witnesses = Witnesses::default();
    assert!(witnesses.want(at(1)));
    assert!(!witnesses.want(at(1)), "one at a time");
    assert_eq!(witnesses.ask(vec![1, 2, 3, 4]), [1, 2, 3, 4]);
    for key in [1, 2, 3] {
        witnesses.looked(&key);
        assert_eq!(witnesses.known(&9).asked_at, None);
    }
    witnesses.looked(&4);
    assert_eq!(witnesses.known(&9).asked_at, Some(at(1)));
    assert!(!witnesses.known(&9).few);
    // Two of which one is the silent one: nobody to ask in the end, and whoever answered before counts.
    assert!(witnesses.want(at(3)));
    witnesses.ask(vec![9]);
    witnesses.looked(&9);
    assert!(!witnesses.known(&9).few, "nobody was ever answered");
    witnesses.heard(&9, at(4));
    assert!(witnesses.known(&9).few);
}

#[test]
fn the_first_answer_ends_the_doubt_and_wakes_all_who_were_silent() {
    let mut witnesses = Witnesses::default();
    assert!(witnesses.silent(&0, at(0)));
    for key in 1..10 {
        assert!(!witnesses.silent(&key, at(0)));
    }
    let mut asked = Vec::new();
    let mut rounds = 0;
    while let Some(due) = witnesses.deadline().filter(|due| *due < at(1_200)) {
        assert!(
            witnesses
                .canaries(due - Duration::from_millis(1))
                .is_empty()
        );
        let canaries = witnesses.canaries(due);
        assert!((ASKED..=5).contains(&canaries.len()), "{canaries:?}");
        for key in &canaries {
            witnesses.looked(key);
        }
        asked.extend(canaries);
        rounds += 1;
    }
    assert!((40..120).contains(&rounds), "{rounds} rounds in 20 minutes");
    assert!((0..10).all(|key| asked.contains(&key)), "each in turn");
    assert!(!witnesses.settled(&3, at(1_200)), "its container died");
    let Heard::DoubtEnded(woken) = witnesses.heard(&77, at(1_201)) else {
        panic!("the doubt goes on");
    };
    assert_eq!(woken.len(), 9);
    assert_eq!(witnesses.known(&0).void_until, Some(at(1_201)));
    assert_eq!((witnesses.in_doubt(), witnesses.deadline()), (false, None));
}

#[test]
fn a_doubt_of_nobody_is_over() {
    let mut witnesses = Witnesses::default();
    witnesses.silent(&1, at(0));
    assert!(witnesses.settled(&1, at(9)));
    assert!(!witnesses.in_doubt());
}

/// Once, by the clock, and until somebody answers: what is failed by it is no end of it.
#[test]
fn silence_is_believed_at_the_limit_where_there_is_one() {
    let mut never = Witnesses::default();
    never.silent(&1, at(0));
    assert!(never.believe(at(1_000_000)).is_empty());
    let mut witnesses = Witnesses::believing_after(Some(Duration::from_secs(60)));
    for key in 1..=5 {
        witnesses.silent(&key, at(key));
    }
    let mut now = at(5);
    while now < at(61) {
        assert!(witnesses.believe(now).is_empty());
        now = witnesses.deadline().expect("in doubt");
        witnesses.canaries(now);
    }
    assert_eq!(now, at(61), "since the first fell silent");
    let mut believed = witnesses.believe(now);
    believed.sort_unstable();
    assert_eq!(believed, [1, 2, 3, 4, 5]);
    assert_eq!(
        (witnesses.believe(now), witnesses.deadline()),
        (vec![], None)
    );
    for key in 1..=5 {
        assert!(!witnesses.settled(&key, at(62)));
    }
    let known = witnesses.known(&1);
    assert_eq!((known.doubt_since, known.void_until), (Some(at(1)), None));
    assert_eq!(witnesses.heard(&9, at(70)), Heard::DoubtEnded(Vec::new()));
    assert!(!witnesses.in_doubt());
    // The next doubt has its own limit.
    witnesses.silent(&1, at(80));
    assert_eq!(witnesses.deadline(), Some(at(81)));
    assert!(witnesses.believe(at(139)).is_empty());
    assert_eq!(witnesses.believe(at(140)), [1]);
}

#[test]
fn the_latest_of_the_others_is_the_witness() {
    let mut witnesses = Witnesses::default();
    for key in [1, 2, 3] {
        witnesses.heard(&key, at(key));
    }
    assert_eq!(witnesses.known(&9).witness_at, Some(at(3)));
    assert_eq!(witnesses.known(&3).witness_at, Some(at(2)));
}

#[test]
fn fewer_than_three_that_count_as_ready_are_few() {
    for (ready, few) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
        let mut witnesses = Witnesses::default();
        witnesses.heard(&77, at(0));
        assert!(!witnesses.known(&9).few, "nobody was asked yet");
        assert!(witnesses.want(at(1)));
        for key in witnesses.ask((0..ready).collect()) {
            witnesses.looked(&key);
        }
        let known = witnesses.known(&9);
        assert_eq!((known.few, known.asked_at), (few, Some(at(1))), "{ready}");
    }
}

#[test]
fn others_are_asked_once_a_second_and_not_waited_for_without_end() {
    let mut witnesses = Witnesses::default();
    assert!(witnesses.want(at(10)));
    witnesses.ask(vec![1]);
    witnesses.looked(&1);
    assert!(!witnesses.want(at(10) + Duration::from_millis(999)));
    assert!(witnesses.want(at(11)));
    witnesses.give_up();
    assert!(witnesses.want(at(11)), "whom to ask was not found out");
    witnesses.ask(vec![1]);
    assert!(!witnesses.want(at(71)), "its look is waited for");
    assert!(witnesses.want(at(72)), "but got lost");
    witnesses.began_term(at(73));
    assert!(
        witnesses.want(at(73)),
        "who was to look is of an earlier term"
    );
    witnesses.give_up();
    witnesses.silent(&5, at(80));
    assert!(!witnesses.want(at(90)), "in a doubt the canaries are asked");
}

#[test]
fn whoever_is_silent_again_is_one_canary() {
    let mut witnesses = Witnesses::default();
    assert!(witnesses.silent(&1, at(0)));
    assert!(!witnesses.silent(&1, at(1)));
    assert_eq!(witnesses.silent_ones(), 1);
    assert_eq!(witnesses.canaries(at(2)), [1]);
}

#[test]
fn what_a_term_before_has_counted_proves_nothing() {
    let mut witnesses = Witnesses::<u64>::default();
    assert_eq!(witnesses.known(&1).void_until, None);
    witnesses.began_term(at(7));
    assert_eq!(witnesses.known(&1).void_until, Some(at(7)));
}

/// A machine slept for an hour, or a clock was set: a witness of before is none of after, and no streak goes on.
#[test]
fn where_a_clock_jumps_nothing_counted_before_is_set_against_what_comes_after() {
    let time =
        |seconds| DateTime::UNIX_EPOCH + TimeDelta::days(9_000) + TimeDelta::seconds(seconds);
    let mut witnesses = Witnesses::default();
    assert!(witnesses.want(at(100)));
    witnesses.ask(Vec::new());
    witnesses.heard(&1, at(100));
    witnesses.read((at(100), time(100)));
    let known = witnesses.known(&2);
    for (seconds, jumped) in [
        (110, false),
        (115, false),
        (105, false),
        (116, true),
        (104, true),
        (3_710, true),
        (-3_490, true),
    ] {
        let way = known.by_database((at(110), time(seconds)));
        let witness = (!jumped).then(|| time(seconds - 10));
        let void = jumped.then(|| time(seconds));
        assert_eq!(
            (way.witness_at, way.asked_at, way.void_until),
            (witness, witness, void),
            "{seconds}"
        );
    }
    witnesses.read((at(110), time(111)));
    assert_eq!(witnesses.known(&2).void_until, None);
    witnesses.read((at(120), time(3_720)));
    assert_eq!(witnesses.known(&2).void_until, Some(at(120)));
    let later = witnesses.known(&2).by_database((at(130), time(3_730)));
    assert_eq!(
        later.void_until,
        Some(time(3_720)),
        "for all who are looked at later, too"
    );
    assert_eq!(later.witness_at, Some(time(3_700)));
}

/// Each look at one of a fleet that is silent joins or leaves; walking along all of them each time would take minutes.
#[test]
fn a_large_fleet_that_is_silent_is_asked_in_turn_and_leaves_one_by_one() {
    const FLEET: u32 = 200_000;
    let mut witnesses: Witnesses<u32> = Witnesses::default();
    for key in (0..FLEET).chain(0..FLEET) {
        witnesses.silent(&key, at(0));
    }
    assert_eq!(witnesses.silent_ones(), FLEET as usize);
    let out = CANARIES_OUT;
    assert_eq!(witnesses.canaries(at(10)), (0..out).collect::<Vec<_>>());
    assert!(witnesses.canaries(at(20)).is_empty(), "the first are out");
    for key in 0..out / 2 {
        witnesses.looked(&key);
    }
    let next: Vec<_> = (out..out + out / 2).collect();
    assert_eq!(witnesses.canaries(at(30)), next);
    for key in (0..FLEET).rev() {
        let last = key == 0;
        assert_eq!(witnesses.settled(&key, at(30)), last);
    }
    assert!(!witnesses.in_doubt());
}

/// One that is back alone is noticed within about a minute, and no silent one is asked much more than once in it.
#[test]
fn each_of_the_silent_is_asked_about_once_a_minute_if_they_are_not_too_many() {
    for (fleet, turn) in [(4, 60), (60, 60), (1_000, 60), (1_900, 60), (20_000, 626)] {
        let mut witnesses = Witnesses::default();
        for key in 0..fleet {
            witnesses.silent(&key, at(0));
        }
        let mut last = vec![at(0); fleet];
        let (mut asked, mut rounds) = (0, 0);
        while let Some(due) = witnesses.deadline().filter(|due| *due < at(1_800)) {
            let canaries = witnesses.canaries(due);
            let most = CANARIES_OUT as usize;
            assert!((ASKED..=most).contains(&canaries.len()), "{fleet}");
            for key in canaries {
                let waited = due - last[key];
                assert!(waited <= at(turn), "{fleet}: {key} waited for {waited:?}");
                last[key] = due;
                asked += 1;
                witnesses.looked(&key);
                witnesses.silent(&key, due);
            }
            rounds += 1;
        }
        assert!(
            last.iter()
                .all(|at| *at + Duration::from_secs(turn) >= Duration::from_secs(1_799)),
            "{fleet}"
        );
        // Three a round, or about as many as there are, a minute; and some more while the doubt is young.
        let most = 31 * fleet + rounds * ASKED;
        assert!(asked <= most, "{fleet}: {asked} of {most} in half an hour");
    }
}

/// The longer a doubt has lasted the longer is the pause between two rounds: a tenth of its age, from a second to half
/// a minute.
#[test]
fn the_older_a_doubt_is_the_more_rarely_a_single_one_is_asked() {
    for (age, pause) in [(1, 1), (9, 1), (20, 2), (290, 29), (310, 30), (3_600, 30)] {
        let mut witnesses = Witnesses::default();
        witnesses.silent(&1, at(0));
        assert_eq!(witnesses.canaries(at(age)), [1]);
        assert_eq!(witnesses.deadline(), Some(at(age + pause)), "at {age}");
    }
}

/// The look at a canary is waited for a minute; then its place is free.
#[test]
fn a_canary_that_is_not_looked_at_is_waited_for_a_minute() {
    for (waited, free) in [(59_999, 0), (60_000, 17)] {
        let mut witnesses = Witnesses::default();
        for key in 0..1_000 {
            witnesses.silent(&key, at(0));
        }
        let rounds = [100, 101].map(|second| witnesses.canaries(at(second)).len());
        assert_eq!(rounds, [17, 15], "all places are taken");
        let later = at(100) + Duration::from_millis(waited);
        assert_eq!(witnesses.canaries(later).len(), free, "{waited}");
    }
}

/// Their probes hang, so the places for probes are not to be theirs alone; one whose look got lost keeps none for ever.
#[test]
fn canaries_that_do_not_come_back_are_followed_by_few() {
    let mut witnesses = Witnesses::default();
    for key in 0..1_000 {
        witnesses.silent(&key, at(0));
    }
    let mut out = 0;
    while let Some(due) = witnesses.deadline().filter(|due| *due < at(50)) {
        out += witnesses.canaries(due).len();
    }
    assert_eq!(out, CANARIES_OUT as usize);
    assert!(!witnesses.canaries(at(62)).is_empty(), "lost");
    witnesses.began_term(at(63));
    assert_eq!(
        witnesses.canaries(at(64)).len(),
        17,
        "those of another term are not waited for"
    );
}

#[test]
fn who_else_is_refused_is_known_until_it_speaks_for_itself() {
    let mut witnesses = Witnesses::default();
    witnesses.refused(&1, at(5));
    assert_eq!(witnesses.known(&1).refused_at, None, "itself");
    assert_eq!(witnesses.known(&2).refused_at, Some(at(5)));
    witnesses.refused(&2, at(6));
    witnesses.refused(&2, at(7));
    assert_eq!(witnesses.known(&2).refused_at, Some(at(5)));
    assert_eq!(witnesses.known(&3).refused_at, Some(at(7)));
    witnesses.heard(&2, at(8));
    assert_eq!(witnesses.known(&3).refused_at, Some(at(5)));
    witnesses.heard(&1, at(9));
    assert_eq!(witnesses.known(&3).refused_at, None);
    assert_eq!(witnesses.known(&3).doubt_ended, None);
    witnesses.silent(&1, at(10));
    witnesses.heard(&2, at(11));
    assert_eq!(witnesses.known(&3).doubt_ended, Some(at(11)));
}

/// What an answer says to the others.
#[test]
fn a_refusal_is_a_word_of_its_own_and_silence_is_none() {
    for (answer, word) in [
        (Answer::Ready, Some(Word::Own)),
        (Answer::NotConnected, Some(Word::Own)),
        (Answer::ProviderError, Some(Word::Own)),
        (Answer::Rejected { code: 403 }, Some(Word::Refusal)),
        (Answer::Http { code: 404 }, None),
        (Answer::Malformed { what: "words" }, None),
    ] {
        assert_eq!(Word::of(&answer), word, "{answer:?}");
        assert_eq!(answer.in_own_words(), word == Some(Word::Own));
    }
}
