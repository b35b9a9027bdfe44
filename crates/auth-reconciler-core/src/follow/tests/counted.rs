//! What of a look is counted, and what of it is not.

use super::*;

const ANSWER: Kind = Kind::NotConnected;

/// A probe that ends without an answer has not seen what was told meanwhile.
#[test]
fn what_was_told_to_a_look_that_was_given_up_is_seen_by_another() {
    for (lines, looks) in [(0, vec![]), (1, vec![look("a")])] {
        let key = "a".to_owned();
        let mut followers = following(&["a"], ms(0));
        followers.begun(&key, ms(10));
        followers.sent(&key, ms(10));
        followers.said(&key, lines, 0, ms(15));
        followers.finished(&key, ms(20));
        assert_eq!(all(&mut followers, ms(100)), looks, "{lines} lines");
    }
}

/// Else it would be learnt that a look causes no line, and the line of each later look would be news.
#[test]
fn a_look_whose_output_was_not_heard_to_its_end_teaches_nothing() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    for second in 1_u64..=3 {
        let now = |millis: u64| ms(second * 1_000 + millis);
        followers.begun(&key, now(0));
        followers.sent(&key, now(0));
        followers.over(&key);
        followers.answered(&key, ANSWER, now(5));
        followers.finished(&key, now(5));
        followers.want(&key, &life("container of a"), profile(), now(500));
        all(&mut followers, now(500));
    }
    followers.begun(&key, ms(10_000));
    followers.sent(&key, ms(10_000));
    followers.said(&key, 1, 0, ms(10_002));
    followers.answered(&key, ANSWER, ms(10_005));
    followers.finished(&key, ms(10_005));
    assert_eq!(all(&mut followers, ms(10_040)), []);
}

/// For how long after the next answer lines are taken for those of its probe, in ms.
fn tail_after_late_lines(with_path: u32) -> Option<Moment> {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    for second in 1_u64..=8 {
        let now = |millis: u64| ms(second * 1_000 + millis);
        followers.begun(&key, now(0));
        followers.sent(&key, now(0));
        followers.said(&key, 1 + with_path, with_path, now(5));
        followers.answered(&key, ANSWER, now(10));
        followers.finished(&key, now(10));
        followers.said(&key, 1, 0, now(110));
        all(&mut followers, now(500));
    }
    followers.begun(&key, ms(10_000));
    followers.sent(&key, ms(10_000));
    followers.answered(&key, ANSWER, ms(10_010));
    followers.deadline().map(|ends| ends - ms(10_010))
}

/// Where a line that holds our own path came in time, what comes late is not of our probe.
#[test]
fn late_lines_are_of_our_probe_only_where_none_holds_its_path() {
    assert_eq!(tail_after_late_lines(0), Some(ms(150)));
    assert_eq!(tail_after_late_lines(1), Some(ms(55)));
}
