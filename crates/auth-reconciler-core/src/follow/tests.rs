use super::*;

mod counted;
mod interleavings;
mod late;
mod own_noise;
mod ready;
mod varying;

const LIMITS: Limits = Limits::with_places(2);

fn life(container: &str) -> Life {
    Life {
        container: container.to_owned(),
        started_at: None,
    }
}

fn ms(milliseconds: u64) -> Moment {
    Moment::from_millis(milliseconds)
}

fn attach(key: &str, container: &str) -> Command<String> {
    Command::Attach {
        key: key.to_owned(),
        container: container.to_owned(),
        path: profile().path,
    }
}

fn profile() -> &'static Profile {
    Profile::of(Some("telegram")).expect("there is one")
}

fn look(key: &str) -> Command<String> {
    Command::Look {
        key: key.to_owned(),
    }
}

fn all(followers: &mut Followers<String>, now: Moment) -> Vec<Command<String>> {
    std::iter::from_fn(|| followers.next(now)).collect()
}

fn following(keys: &[&str], now: Moment) -> Followers<String> {
    let mut followers = Followers::new(LIMITS);
    for key in keys {
        let life = life(&format!("container of {key}"));
        followers.want(&(*key).to_owned(), &life, profile(), now);
    }
    all(&mut followers, now);
    followers
}

#[test]
fn places_are_bounded_and_shared_in_turns() {
    let mut followers = Followers::new(LIMITS);
    for key in ["a", "b", "c"] {
        followers.want(&key.to_owned(), &life(key), profile(), ms(0));
    }
    assert_eq!(
        all(&mut followers, ms(0)),
        [attach("a", "a"), attach("b", "b")]
    );
    assert_eq!(all(&mut followers, ms(1_999)), []);
    assert_eq!(followers.deadline(), Some(ms(2_000)));
    let detach = |key: &str| Command::Detach {
        key: key.to_owned(),
    };
    assert_eq!(
        all(&mut followers, ms(2_000)),
        [detach("a"), attach("c", "c"), detach("b"), attach("a", "a")]
    );
    assert_eq!(followers.followed(&"b".to_owned()), None);
    let mut turns: HashMap<String, u32> = HashMap::new();
    for turn in 2..302 {
        for command in all(&mut followers, ms(turn * 2_000)) {
            if let Command::Attach { key, .. } = command {
                *turns.entry(key).or_default() += 1;
            }
        }
        assert!(followers.following() <= 2);
    }
    let (least, most) = (turns.values().min(), turns.values().max());
    assert!(
        turns.len() == 3
            && most
                .zip(least)
                .is_some_and(|(most, least)| most - least <= 1),
        "{turns:?}"
    );
}

#[test]
fn nobody_gives_up_its_place_while_nobody_waits() {
    let mut followers = following(&["a", "b"], ms(0));
    assert_eq!(all(&mut followers, ms(3_600_000)), []);
    assert_eq!(followers.deadline(), None);
}

#[test]
fn a_new_container_takes_the_place_of_the_old_one() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.said(&key, 1, 0, ms(1));
    followers.want(&key, &life("another"), profile(), ms(1));
    let detach = Command::Detach { key: key.clone() };
    assert_eq!(all(&mut followers, ms(1)), [detach, attach("a", "another")]);
    assert_eq!(followers.followed(&key), Some("another"));
}

#[test]
fn one_whose_output_cannot_be_read_is_not_tried_again() {
    let key = "a".to_owned();
    let mut followers = following(&["a", "b"], ms(0));
    followers.want(&"c".to_owned(), &life("c"), profile(), ms(0));
    followers.unreadable(&key);
    assert_eq!(followers.followed(&key), None);
    assert_eq!(
        all(&mut followers, ms(1)),
        [attach("c", "c")],
        "its place is free"
    );
    followers.release(&"c".to_owned());
    followers.want(&key, &life("container of a"), profile(), ms(1));
    assert_eq!(
        all(&mut followers, ms(2)).len(),
        1,
        "c is let go of, no more"
    );
    followers.want(&key, &life("another"), profile(), ms(1));
    assert_eq!(all(&mut followers, ms(3)), [attach("a", "another")]);
}

/// Another process of the same container: its output goes on, and is worth another try if it could not be read.
#[test]
fn a_container_that_is_started_again_keeps_its_place_or_is_tried_again() {
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let again = |key: &str| Life {
        started_at: Some(DateTime::UNIX_EPOCH),
        ..life(&format!("container of {key}"))
    };
    let mut followers = following(&["a", "b"], ms(0));
    followers.unreadable(&b);
    for key in [&a, &b] {
        followers.want(key, &again(key), profile(), ms(1));
    }
    let told = all(&mut followers, ms(100));
    assert!(told.contains(&attach("b", "container of b")), "{told:?}");
    assert!(!told.contains(&attach("a", "container of a")), "{told:?}");
    assert_eq!(followers.followed(&a), Some("container of a"));
    assert_eq!(followers.following(), 2);
}

/// Not wanted for now: its place is for another, and it is followed again when it is wanted again, unless its output
/// cannot be read.
#[test]
fn one_that_is_not_wanted_for_now_makes_room() {
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let mut followers = following(&["a", "b"], ms(0));
    followers.want(&"c".to_owned(), &life("c"), profile(), ms(0));
    assert_eq!((followers.following(), followers.waiting()), (2, 1));
    followers.unwant(&a);
    let detach = Command::Detach { key: a.clone() };
    assert_eq!(all(&mut followers, ms(1)), [detach, attach("c", "c")]);
    assert_eq!((followers.following(), followers.waiting()), (2, 0));
    followers.release(&"c".to_owned());
    followers.want(&a, &life("container of a"), profile(), ms(2));
    let told = all(&mut followers, ms(2));
    assert!(told.contains(&attach("a", "container of a")), "{told:?}");

    followers.unreadable(&b);
    followers.unwant(&b);
    followers.want(&b, &life("container of b"), profile(), ms(3));
    assert_eq!(all(&mut followers, ms(100)), []);
}

#[test]
fn one_whose_output_was_cut_is_followed_again_when_it_is_wanted_again() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.over(&key, ms(1));
    assert_eq!(all(&mut followers, ms(1)), []);
    followers.want(&key, &life("container of a"), profile(), ms(1));
    assert_eq!(all(&mut followers, ms(2)), [attach("a", "container of a")]);
}

#[test]
fn what_is_released_leaves_nothing_behind() {
    let mut followers = following(&["a", "b"], ms(0));
    followers.want(&"c".to_owned(), &life("c"), profile(), ms(0));
    for key in ["a", "b"] {
        followers.said(&key.to_owned(), 1, 0, ms(5));
    }
    followers.clear();
    let commands = all(&mut followers, ms(5));
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands
            .iter()
            .all(|command| matches!(command, Command::Detach { .. }))
    );
    assert_eq!(followers.deadline(), None);
    assert!(followers.entries.is_empty() && followers.waiting() == 0);
    followers.said(&"a".to_owned(), 1, 0, ms(6));
    assert_eq!(all(&mut followers, ms(6)), []);
}

#[test]
fn without_places_nobody_is_followed() {
    let mut followers = Followers::new(Limits::with_places(0));
    followers.want(&"a".to_owned(), &life("a"), profile(), ms(0));
    assert_eq!(all(&mut followers, ms(0)), []);
    assert_eq!(followers.waiting(), 0, "nobody waits for what never comes");
    assert_eq!(followers.deadline(), None);
}

#[test]
fn output_that_ends_is_a_hint_all_the_same_and_earns_no_new_burst() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.said(&key, 1, 0, ms(1));
    followers.over(&key, ms(1));
    assert_eq!(followers.followed(&key), None);
    assert_eq!(all(&mut followers, ms(1)), [look("a")], "what it said last");
    look_at(&mut followers, &key, ms(1));
    // It says its last line and ends, each time that it is followed, for ten minutes.
    let (mut looks, mut now) = (0, 1);
    while now < 600_000 {
        now += 5;
        followers.want(&key, &life("container of a"), profile(), ms(1));
        for command in all(&mut followers, ms(now)) {
            match command {
                Command::Attach { .. } => followers.said(&key, 1, 0, ms(now)),
                Command::Look { .. } => {
                    looks += 1;
                    look_at(&mut followers, &key, ms(now));
                }
                Command::Detach { .. } | Command::GiveUp { .. } => {}
            }
        }
        followers.over(&key, ms(now));
    }
    assert!(
        (10..=12 + 12 + 10).contains(&looks),
        "{looks} looks in 600 s"
    );
    followers.release(&key);
    assert_eq!(followers.deadline(), None);
}

fn look_at(followers: &mut Followers<String>, key: &String, now: Moment) {
    followers.begun(key, now);
    followers.sent(key, now);
    followers.answered(key, Kind::NotConnected, now);
    followers.finished(key, now);
}
