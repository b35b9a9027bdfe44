//! The rules one by one.

use super::*;
use crate::follow::noise::SPACING;
use crate::follow::own::{Known, Own, Says};
use crate::follow::tail::TAIL;
use crate::follow::tokens::{FRESH, LASTING};

/// One container that is followed, and whose first look, at the beginning of that, is over.
struct One {
    followers: Followers<String>,
    key: String,
}

impl One {
    fn new() -> Self {
        let mut one = Self {
            followers: following(&["a"], ms(0)),
            key: "a".to_owned(),
        };
        one.followers.began(&one.key, ms(0));
        assert_eq!(one.acts(0), [look("a")], "its beginning is a hint itself");
        one.look(0, 2, Kind::NotConnected);
        assert_eq!(one.acts(60), []);
        one
    }

    fn acts(&mut self, now: u64) -> Vec<Command<String>> {
        all(&mut self.followers, ms(now))
    }

    /// A look that sends its probe now and is answered so much later.
    fn look(&mut self, now: u64, takes: u64, kind: Kind) {
        self.followers.begun(&self.key, ms(now));
        self.followers.sent(&self.key, ms(now));
        self.followers.answered(&self.key, kind, ms(now + takes));
        self.followers.finished(&self.key, ms(now + takes));
    }

    fn says(&mut self, lines: u32, now: u64) {
        self.followers.said(&self.key, lines, 0, ms(now));
    }

    /// Looks each of which is followed by so many lines, until their number is known; ends at rest.
    fn learn(&mut self, lines: u32, mut now: u64) -> u64 {
        for _ in 0..3 {
            self.look(now, 2, Kind::QrReady);
            self.says(lines, now + 3);
            now += 60;
            while !self.acts(now).is_empty() {
                self.look(now, 2, Kind::QrReady);
                self.says(lines, now + 3);
                now += 60;
            }
        }
        now
    }
}

#[test]
fn a_line_outside_windows_is_a_hint_at_once() {
    let mut one = One::new();
    one.says(1, 1_000);
    assert_eq!(one.followers.deadline(), Some(ms(1_000)));
    assert_eq!(one.acts(1_000), [look("a")]);
    one.says(5, 1_001);
    assert_eq!(one.acts(1_100), [], "the look that was asked for sees it");
}

#[test]
fn looks_that_output_leads_to_are_apart() {
    let mut one = One::new();
    one.says(1, 1_000);
    assert_eq!(one.acts(1_000), [look("a")]);
    one.look(1_001, 1, Kind::Unheard);
    one.says(1, 1_003);
    assert_eq!(one.acts(1_003), []);
    let due = ms(1_001) + SPACING;
    assert_eq!(one.followers.deadline(), Some(due));
    assert_eq!(all(&mut one.followers, due), [look("a")]);
}

#[test]
fn lines_with_the_status_path_are_nobody_s_news() {
    let mut one = One::new();
    for second in 1..100 {
        one.followers.said(&one.key, 2, 2, ms(second * 1_000));
        assert_eq!(one.acts(second * 1_000), []);
    }
}

#[test]
fn the_number_of_own_lines_is_learnt_and_one_more_is_news_at_once() {
    let mut one = One::new();
    let now = one.learn(3, 1_000) + 1_000;
    one.look(now, 2, Kind::QrReady);
    one.says(3, now + 3);
    assert_eq!(one.acts(now + 25), []);
    one.says(1, now + 26);
    assert_eq!(one.acts(now + 26), [look("a")]);
}

#[test]
fn a_look_that_an_unusual_count_led_to_is_counted_to_its_end() {
    let mut one = One::new();
    let now = one.learn(3, 1_000) + 1_000;
    one.look(now, 2, Kind::QrReady);
    one.says(2, now + 3);
    assert_eq!(one.acts(now + 56), []);
    assert_eq!(one.acts(now + 57), [look("a")], "one fewer than ever");
    one.look(now + 58, 2, Kind::QrReady);
    one.says(4, now + 61);
    assert_eq!(one.acts(now + 114), [], "and this one to its end");
    assert_eq!(one.acts(now + 115), [look("a")]);
}

#[test]
fn own_noise_is_the_smallest_of_the_last_three_counts_and_unknown_before_two() {
    let mut own = Own::new();
    let kind = Kind::QrReady;
    let mut known = Vec::new();
    for counted in [4, 3, 5, 3, 3, 6, 6, 6] {
        own.learn(kind, false, counted);
        known.push(own.known(kind, false).0);
    }
    let right = [0, 3, 3, 3, 3, 3, 3, 6].map(|number| match number {
        0 => Known::Nothing,
        number => Known::Number(number),
    });
    assert_eq!(known, right);
    assert_eq!(
        own.known(kind, true).0,
        Known::Nothing,
        "the late part is another"
    );
    own.learn(kind, false, 0);
    own.learn(kind, false, 9);
    assert_eq!(
        own.known(kind, false).0,
        Known::Number(0),
        "none at all, once"
    );
}

#[test]
fn counts_that_contradict_each_other_say_that_there_is_no_number_until_many_agree() {
    let mut own = Own::new();
    let kind = Kind::QrReady;
    let mut learn = |counted: u32| {
        own.learn(kind, false, counted);
        own.known(kind, false)
    };
    assert_eq!(learn(2), (Known::Nothing, Says::News));
    assert_eq!(learn(3), (Known::Number(2), Says::News));
    assert_eq!(learn(4), (Known::Number(2), Says::Maybe));
    assert_eq!(learn(2), (Known::Number(2), Says::Maybe));
    assert_eq!(learn(3), (Known::Number(2), Says::Maybe));
    assert_eq!(learn(2), (Known::Number(2), Says::Maybe));
    assert_eq!(learn(4), (Known::Number(2), Says::Maybe));
    assert_eq!(learn(0), (Known::Varies { most: 4 }, Says::Maybe));
    assert_eq!(learn(5), (Known::Varies { most: 5 }, Says::Maybe));
    let says = |lines| {
        (
            own.so_far(kind, false, lines),
            own.in_all(kind, false, lines),
        )
    };
    assert_eq!(says(0), (Says::Nothing, Says::Nothing));
    assert_eq!(says(5), (Says::Nothing, Says::Maybe));
    assert_eq!(says(6), (Says::News, Says::News), "more than ever before");
    let mut learn = |counted: u32| {
        own.learn(kind, false, counted);
        own.known(kind, false)
    };
    for _ in 0..7 {
        assert_eq!(learn(3), (Known::Varies { most: 5 }, Says::Maybe));
    }
    assert_eq!(learn(3), (Known::Number(3), Says::News));
}

#[test]
fn another_kind_of_answer_has_another_number() {
    let mut one = One::new();
    let now = one.learn(3, 1_000) + 1_000;
    one.look(now, 2, Kind::ProviderError);
    one.says(2, now + 3);
    let end = ms(now + 2) + TAIL;
    assert_eq!(one.followers.deadline(), Some(end));
    assert_eq!(all(&mut one.followers, end), [look("a")], "not known yet");
}

#[test]
fn a_count_of_none_is_known_at_once_and_stays() {
    let mut one = One::new();
    for now in [1_000, 2_000, 3_000, 4_000] {
        one.look(now, 2, Kind::NotConnected);
        one.says(1, now + 10);
        assert_eq!(one.acts(now + 20), [look("a")], "{now}");
        one.look(now + 20, 2, Kind::NotConnected);
        one.says(1, now + 23);
        assert_eq!(one.acts(now + 76), [], "that one is counted to its end");
        assert_eq!(one.acts(now + 77), [look("a")]);
        one.look(now + 78, 2, Kind::NotConnected);
        assert_eq!(one.acts(now + 200), []);
    }
}

#[test]
fn what_is_told_to_a_refused_probe_is_heard_at_once() {
    let mut one = One::new();
    one.followers.begun(&one.key, ms(1_000));
    one.followers.sent(&one.key, ms(1_000));
    one.says(1, 1_001);
    one.followers.answered(&one.key, Kind::Unheard, ms(1_002));
    one.followers.finished(&one.key, ms(1_003));
    assert_eq!(one.acts(1_020), [look("a")]);
}

#[test]
fn a_probe_that_may_never_see_what_was_told_is_given_up() {
    let mut one = One::new();
    one.followers.begun(&one.key, ms(1_000));
    one.followers.sent(&one.key, ms(1_000));
    assert_eq!(one.acts(1_090), [], "nothing was told");
    one.says(1, 3_000);
    assert_eq!(one.acts(3_054), []);
    let give_up = Command::GiveUp {
        key: one.key.clone(),
    };
    assert_eq!(one.acts(3_055), [give_up]);
    one.followers.finished(&one.key, ms(3_056));
    assert_eq!(one.acts(3_056), [look("a")], "at once");
}

#[test]
fn the_clock_never_asks_while_a_look_is_out() {
    let mut one = One::new();
    one.says(1, 1_000);
    assert_eq!(one.acts(1_000), [look("a")]);
    one.followers.begun(&one.key, ms(1_000));
    one.followers.sent(&one.key, ms(1_000));
    one.says(1, 1_034);
    assert_eq!(one.acts(1_089), []);
}

#[test]
fn what_a_run_without_a_probe_was_to_see_is_looked_at_again() {
    let mut one = One::new();
    one.followers.begun(&one.key, ms(1_000));
    one.says(1, 1_001);
    one.followers.finished(&one.key, ms(1_002));
    assert_eq!(one.acts(1_002), [look("a")]);
}

#[test]
fn tokens_are_bounded_and_begin_anew_with_a_life() {
    let mut one = One::new();
    let looks = |one: &mut One, from: u64, to: u64| {
        let mut looks: u32 = 0;
        for now in from..to {
            one.says(1, now);
            for _ in one.acts(now) {
                looks += 1;
                one.look(now, 0, Kind::Unheard);
            }
        }
        looks
    };
    let first = looks(&mut one, 1_000, 60_000);
    assert!((FRESH..=2 * FRESH).contains(&first), "{first} in a minute");
    let then = looks(&mut one, 61_000, 660_000);
    assert!((9..=12).contains(&then), "{then} in ten minutes");
    // A life of its own, under the same id.
    let started_at = DateTime::from_timestamp(1, 0);
    let again = Life {
        started_at,
        ..life("container of a")
    };
    one.followers.want(&one.key, &again, profile(), ms(700_000));
    let anew = looks(&mut one, 700_000, 760_000);
    assert!((FRESH..=2 * FRESH).contains(&anew), "{anew} in a new life");
    // What is at rest for long has few.
    let rested = looks(&mut one, 7_200_000, 7_201_000);
    assert!((1..=LASTING).contains(&rested), "{rested} after a rest");
}

#[test]
fn what_was_granted_and_not_spent_is_gone_after_a_minute() {
    for (at, most) in [(50_000, FRESH), (70_000, LASTING), (3_600_000, LASTING)] {
        let mut one = One::new();
        let mut looks = 0;
        for now in at..at + 3_000 {
            one.says(1, now);
            for _ in one.acts(now) {
                looks += 1;
                // Always the same answer: another one would be a grant of its own.
                look_at(&mut one.followers, &one.key, ms(now));
            }
        }
        assert!(
            (most - 2..=most).contains(&looks),
            "{looks} of {most} at {at}"
        );
    }
}

/// A request to Telegram's costs one to Telegram; WhatsApp's container alone is asked, and somebody waits for its QR.
#[test]
fn what_talk_costs_is_said_by_the_profile() {
    for (provider, a_minute) in [("telegram", 1), ("whatsappweb", 6)] {
        let (key, profile) = ("a".to_owned(), Profile::of(Some(provider)).expect("one"));
        let mut followers = Followers::new(LIMITS);
        followers.want(&key, &life("a"), profile, ms(0));
        let mut looks = Vec::new();
        for now in (0..660_000).step_by(50) {
            followers.said(&key, 1, 0, ms(now));
            for command in all(&mut followers, ms(now)) {
                if command == look("a") {
                    looks.push(now);
                    look_at(&mut followers, &key, ms(now));
                }
            }
        }
        let lasting = looks.iter().filter(|at| **at >= 60_000).count();
        let right = a_minute * 10;
        assert!(
            (right - 1..=right + 4).contains(&lasting),
            "{provider}: {lasting}"
        );
    }
}

#[test]
fn answers_that_alternate_earn_no_tokens_without_end() {
    let mut one = One::new();
    let mut looks = 0;
    for now in 1_000..61_000 {
        one.says(1, now);
        for _ in one.acts(now) {
            looks += 1;
            let kinds = [Kind::NotConnected, Kind::ProviderError];
            one.look(now, 0, kinds[looks % 2]);
        }
    }
    assert!(looks <= 40, "{looks}");
}

/// The account is written, its look comes into the window of another, and a moment later the container is ready.
#[test]
fn a_line_beyond_the_known_number_is_news_at_once_in_the_window_of_a_look_that_cut_another_short_too()
 {
    let mut one = One::new();
    one.look(1_000, 2, Kind::NotConnected);
    assert_eq!(one.acts(1_060), [], "it causes no lines");
    one.look(2_000, 2, Kind::NotConnected);
    one.look(2_030, 2, Kind::NotConnected);
    one.says(1, 2_036);
    assert_eq!(one.followers.deadline(), Some(ms(2_030) + SPACING));
    assert_eq!(one.acts(2_050), [look("a")]);
}
