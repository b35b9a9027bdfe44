//! What is ready: followed where a place is left, and asked no more than it says.

use super::*;

/// One that has just become ready, and causes so many lines each time that it is asked.
struct Bot {
    followers: Followers<String>,
    key: String,
    own: u32,
    looks: u32,
}

impl Bot {
    fn new(own: u32) -> Self {
        let key = "a".to_owned();
        let mut followers = following(&["a"], ms(0));
        followers.began(&key, ms(0));
        all(&mut followers, ms(0));
        let mut bot = Self {
            followers,
            key,
            own,
            looks: 0,
        };
        bot.ask(0);
        // It says so after its answer, with what else it has to say at its start.
        bot.followers.said(&bot.key, 2, 0, ms(4));
        bot
    }

    /// A look that finds it ready.
    fn ask(&mut self, now: u64) {
        let key = &self.key;
        self.followers.begun(key, ms(now));
        self.followers.sent(key, ms(now));
        self.followers.said(key, self.own, 0, ms(now + 1));
        self.followers.answered(key, Kind::Ready, ms(now + 2));
        self.followers.finished(key, ms(now + 2));
        let life = life("container of a");
        self.followers.rest(key, &life, profile(), ms(now + 2));
    }

    /// What its output leads to at this moment.
    fn step(&mut self, now: u64) {
        for command in all(&mut self.followers, ms(now)) {
            assert_eq!(command, look("a"));
            self.looks += 1;
            self.ask(now);
        }
    }

    fn says(&mut self, now: u64) {
        self.followers.said(&self.key, 1, 0, ms(now));
        self.step(now);
    }
}

#[test]
fn a_silent_one_costs_nothing_whatever_its_start_said() {
    for own in 0..=5 {
        let mut bot = Bot::new(own);
        // Events of its start come late.
        bot.ask(300);
        bot.ask(700);
        for second in 1..3_600 {
            bot.step(second * 1_000);
        }
        assert_eq!(bot.looks, 0, "{own}");
        assert_eq!(bot.followers.deadline(), None, "no timer");
    }
}

/// An event of its own every two minutes leads to a look: what that makes it write is another number each time, and leads
/// to no others.
#[test]
fn a_silent_one_whose_own_lines_vary_costs_no_more() {
    let mut bot = Bot::new(3);
    let mut lines = [2, 4, 1, 5, 3].into_iter().cycle();
    for second in 10..7_200 {
        bot.own = lines.next().unwrap_or_default();
        if second % 121 == 10 {
            bot.ask(second * 1_000);
        }
        bot.step(second * 1_000 + 100);
    }
    assert!(bot.looks <= 10, "{} in two hours", bot.looks);
}

#[test]
fn a_talking_one_costs_one_look_a_minute() {
    for own in 0..=5 {
        let mut bot = Bot::new(own);
        for tenth in 10..36_000 {
            bot.says(tenth * 100);
        }
        assert!((58..=60).contains(&bot.looks), "{own}: {}", bot.looks);
    }
}

/// It was ready at its first look: what it told before it was heard is asked for, once.
#[test]
fn one_that_comes_to_be_heard_when_it_is_ready_is_asked_once() {
    let key = "a".to_owned();
    let mut followers = Followers::new(LIMITS);
    followers.rest(&key, &life("a"), profile(), ms(0));
    all(&mut followers, ms(0));
    followers.began(&key, ms(100));
    assert_eq!(followers.deadline(), Some(ms(60_000)));
    assert_eq!(all(&mut followers, ms(60_000)), [look("a")]);
    followers.begun(&key, ms(60_000));
    followers.sent(&key, ms(60_000));
    followers.answered(&key, Kind::Ready, ms(60_001));
    followers.finished(&key, ms(60_001));
    assert_eq!(all(&mut followers, ms(60_100)), []);
    followers.rest(&key, &life("a"), profile(), ms(60_101));
    followers.began(&key, ms(70_000));
    assert_eq!(followers.deadline(), None, "another place");
}

#[test]
fn a_long_rest_saves_up_one_look_and_no_more() {
    let mut bot = Bot::new(0);
    for tenth in 36_000..36_050 {
        bot.says(tenth * 100);
    }
    assert_eq!(bot.looks, 1);
}

#[test]
fn what_it_tells_is_seen_within_a_minute_and_at_once_after_a_rest() {
    for (told, seen) in [(100, 60_002), (30_000, 60_002), (90_000, 90_000)] {
        let mut bot = Bot::new(2);
        bot.step(60);
        bot.followers.said(&bot.key, 1, 0, ms(told));
        assert_eq!(all(&mut bot.followers, ms(told)).is_empty(), told != seen);
        if told != seen {
            assert_eq!(bot.followers.deadline(), Some(ms(seen)));
            assert_eq!(all(&mut bot.followers, ms(seen)), [look("a")]);
        }
    }
}

#[test]
fn one_that_ceases_to_be_ready_is_followed_like_a_new_one() {
    let mut bot = Bot::new(2);
    bot.says(100_000);
    assert_eq!(bot.looks, 1);
    let now = 100_100;
    bot.followers.begun(&bot.key, ms(now));
    bot.followers.sent(&bot.key, ms(now));
    bot.followers
        .answered(&bot.key, Kind::NotConnected, ms(now));
    bot.followers.finished(&bot.key, ms(now));
    let life = life("container of a");
    bot.followers.want(&bot.key, &life, profile(), ms(now));
    for line in 1..=5 {
        let told = now + line * 1_000;
        bot.followers.said(&bot.key, 1, 0, ms(told));
        assert_eq!(all(&mut bot.followers, ms(told)), [look("a")], "{line}");
        look_at(&mut bot.followers, &bot.key, ms(told));
    }
}

#[test]
fn those_that_converge_go_before_those_that_are_ready() {
    let (attached, detached) = (
        |key: &str| attach(key, &format!("container of {key}")),
        |key: &str| Command::Detach {
            key: key.to_owned(),
        },
    );
    let of = |key: &str| life(&format!("container of {key}"));
    let mut followers = Followers::new(LIMITS);
    for key in ["a", "b", "c"] {
        followers.rest(&key.to_owned(), &of(key), profile(), ms(0));
    }
    assert_eq!(all(&mut followers, ms(0)), [attached("a"), attached("b")]);
    assert_eq!(all(&mut followers, ms(3_600_000)), [], "no turns");
    assert_eq!(followers.deadline(), None, "and no timer");
    followers.want(&"d".to_owned(), &of("d"), profile(), ms(1));
    assert_eq!(all(&mut followers, ms(1)), [detached("a"), attached("d")]);
    // One that was ready and is not keeps its place.
    followers.want(&"b".to_owned(), &of("b"), profile(), ms(2));
    assert_eq!(all(&mut followers, ms(2)), []);
    followers.want(&"e".to_owned(), &of("e"), profile(), ms(3));
    assert_eq!(all(&mut followers, ms(3)), [], "its turn comes");
    followers.rest(&"d".to_owned(), &of("d"), profile(), ms(4));
    assert_eq!(all(&mut followers, ms(4)), [detached("d"), attached("e")]);
    // What is left goes to those that are ready.
    followers.release(&"e".to_owned());
    followers.release(&"b".to_owned());
    let last = all(&mut followers, ms(5));
    assert_eq!(last.len(), 4, "{last:?}");
    assert_eq!((followers.following(), followers.waiting()), (2, 1));
}

/// No other look of it is to come, and what it says is heard by nobody until one has it followed again.
#[test]
fn one_whose_output_ends_by_itself_is_looked_at_and_followed_again() {
    let mut bot = Bot::new(2);
    bot.step(61_000);
    assert_eq!(bot.looks, 0);
    bot.followers.over(&bot.key, ms(100_000));
    assert_eq!(all(&mut bot.followers, ms(100_000)), [look("a")]);
    bot.ask(100_000);
    let again = attach("a", "container of a");
    assert_eq!(all(&mut bot.followers, ms(100_010)), [again]);
    // A proxy in between cuts each stream after 10 s: one look a minute, no more.
    let mut looks = 0;
    for second in 101..1_000 {
        for command in all(&mut bot.followers, ms(second * 1_000)) {
            if command == look("a") {
                looks += 1;
                bot.ask(second * 1_000);
            }
        }
        if second % 10 == 0 {
            bot.followers.over(&bot.key, ms(second * 1_000));
        }
    }
    assert!((13..=15).contains(&looks), "{looks} in 15 minutes");
}

/// What they said meanwhile is looked for, as soon as they may be looked at.
#[test]
fn who_was_followed_is_so_again_when_the_engine_is_back_whether_it_is_ready_or_not() {
    let (ready, converging, unwanted) = ("a".to_owned(), "b".to_owned(), "c".to_owned());
    let mut followers = Followers::new(Limits::with_places(3));
    followers.rest(&ready, &life("a"), profile(), ms(0));
    followers.want(&converging, &life("b"), profile(), ms(0));
    followers.want(&unwanted, &life("c"), profile(), ms(0));
    assert_eq!(all(&mut followers, ms(0)).len(), 3);
    for key in [&ready, &converging] {
        followers.began(key, ms(1));
        look_at(&mut followers, key, ms(2));
    }
    followers.unwant(&unwanted);
    all(&mut followers, ms(100_000));

    followers.lost();
    let mut told = all(&mut followers, ms(100_000));
    told.sort_by_key(|command| format!("{command:?}"));
    let detach = |key: &String| Command::Detach { key: key.clone() };
    assert_eq!(told, [detach(&ready), detach(&converging)]);
    assert_eq!((followers.following(), followers.waiting()), (0, 0));

    followers.back(ms(110_000));
    let begins = all(&mut followers, ms(110_000));
    assert_eq!(begins, [attach("b", "b"), attach("a", "a")]);
    for key in [&ready, &converging] {
        followers.began(key, ms(110_001));
    }
    let looks = all(&mut followers, ms(110_100));
    assert!(looks.contains(&look("a")), "{looks:?}");
    assert!(looks.contains(&look("b")), "{looks:?}");
    followers.lost();
    followers.back(ms(110_200));
    followers.release(&ready);
    followers.release(&converging);
    assert_eq!((followers.following(), followers.waiting()), (0, 0));
}
