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
        followers.over(&key, now(1));
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

/// For how long after the next answer lines are taken for those of its probe, where each of eight looks before was
/// followed by a late line, and by so many that hold its path.
fn tail_after_late_lines(with_path: impl Fn(u64) -> u32) -> Option<Moment> {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    for second in 1_u64..=8 {
        let now = |millis: u64| ms(second * 1_000 + millis);
        followers.begun(&key, now(0));
        followers.sent(&key, now(0));
        followers.said(&key, 1 + with_path(second), with_path(second), now(5));
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
    assert_eq!(tail_after_late_lines(|_| 0), Some(ms(150)));
    assert_eq!(tail_after_late_lines(|_| 1), Some(ms(55)));
    let first = |second| u32::from(second == 1);
    assert_eq!(tail_after_late_lines(first), Some(ms(150)), "long ago");
}

/// Where a probe follows while lines of the one before may still come, as many as ever may be one of each, or news.
#[test]
fn lines_that_may_be_of_two_looks_lead_to_another() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    let look_with_a_line = |followers: &mut Followers<String>, at: u64| {
        followers.begun(&key, ms(at));
        followers.sent(&key, ms(at));
        followers.said(&key, 1, 0, ms(at + 2));
        followers.answered(&key, ANSWER, ms(at + 5));
        followers.finished(&key, ms(at + 5));
    };
    for second in 1..=4 {
        look_with_a_line(&mut followers, second * 1_000);
        all(&mut followers, ms(second * 1_000 + 500));
    }
    // Its line is known by now.
    look_with_a_line(&mut followers, 10_000);
    assert_eq!(all(&mut followers, ms(10_500)), []);
    look_with_a_line(&mut followers, 11_000);
    look_with_a_line(&mut followers, 11_030);
    assert_eq!(all(&mut followers, ms(11_500)), [look("a")]);
}

/// What is heard is told one by one, as it comes.
#[test]
fn what_is_heard_leads_to_a_look() {
    let key = "a".to_owned();
    let said = |lines, with_path| Sound::Said { lines, with_path };
    for (sounds, looks) in [
        (vec![], vec![]),
        (vec![Sound::Began], vec![look("a")]),
        (vec![said(1, 0)], vec![look("a")]),
        (vec![said(2, 1)], vec![look("a")]),
        // It holds the path of our own request.
        (vec![said(1, 1)], vec![]),
        (vec![Sound::Sent], vec![]),
        (vec![Sound::Answered(ANSWER)], vec![]),
    ] {
        let mut followers = following(&["a"], ms(0));
        for sound in &sounds {
            followers.heard(&key, *sound, ms(1));
        }
        assert_eq!(all(&mut followers, ms(1)), looks, "{sounds:?}");
    }
}
