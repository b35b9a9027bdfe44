use super::*;

const LIMITS: Limits = Limits::with_places(2);

fn ms(milliseconds: u64) -> Moment {
    Moment::from_millis(milliseconds)
}

fn attach(key: &str, container: &str) -> Command<String> {
    Command::Attach {
        key: key.to_owned(),
        container: container.to_owned(),
    }
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
        followers.want(&(*key).to_owned(), &format!("container of {key}"));
    }
    all(&mut followers, now);
    followers
}

#[test]
fn the_first_output_leads_to_a_look_at_once_and_the_next_at_the_end_of_the_spacing() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.output(&key, ms(100));
    assert_eq!(followers.deadline(), Some(ms(100)));
    assert_eq!(all(&mut followers, ms(100)), [look("a")]);
    followers.output(&key, ms(101));
    followers.output(&key, ms(105));
    assert_eq!(all(&mut followers, ms(119)), []);
    assert_eq!(followers.deadline(), Some(ms(120)));
    assert_eq!(all(&mut followers, ms(120)), [look("a")]);
    assert_eq!(followers.deadline(), None, "all that was said is answered");
}

#[test]
fn a_container_that_never_stops_writing_costs_a_bounded_number_of_looks() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    let mut looks = 0;
    for now in 0..60_000 {
        followers.output(&key, ms(now));
        looks += all(&mut followers, ms(now)).len();
    }
    assert!(looks <= 40 + 60, "{looks} looks in a minute");
    assert!(looks >= 90, "{looks} looks: it is still heard");
}

#[test]
fn one_that_writes_now_and_then_is_always_heard_at_once() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    for second in 1..600 {
        let now = ms(second * 1_000);
        followers.output(&key, now);
        assert_eq!(all(&mut followers, now), [look("a")], "second {second}");
    }
}

#[test]
fn places_are_bounded_and_shared_in_turns() {
    let mut followers = Followers::new(LIMITS);
    for key in ["a", "b", "c"] {
        followers.want(&key.to_owned(), key);
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
    followers.output(&key, ms(1));
    followers.want(&key, "another");
    let detach = Command::Detach { key: key.clone() };
    assert_eq!(all(&mut followers, ms(1)), [detach, attach("a", "another")]);
    assert_eq!(followers.followed(&key), Some("another"));
}

#[test]
fn one_whose_output_cannot_be_read_is_not_tried_again() {
    let key = "a".to_owned();
    let mut followers = following(&["a", "b"], ms(0));
    followers.want(&"c".to_owned(), "c");
    followers.unreadable(&key);
    assert_eq!(followers.followed(&key), None);
    assert_eq!(
        all(&mut followers, ms(1)),
        [attach("c", "c")],
        "its place is free"
    );
    followers.release(&"c".to_owned());
    followers.want(&key, "container of a");
    assert_eq!(
        all(&mut followers, ms(2)).len(),
        1,
        "c is let go of, no more"
    );
    followers.want(&key, "another");
    assert_eq!(all(&mut followers, ms(3)), [attach("a", "another")]);
}

#[test]
fn one_whose_output_was_cut_is_followed_again_when_it_is_wanted_again() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.over(&key);
    assert_eq!(all(&mut followers, ms(1)), []);
    followers.want(&key, "container of a");
    assert_eq!(all(&mut followers, ms(2)), [attach("a", "container of a")]);
}

#[test]
fn what_is_released_leaves_nothing_behind() {
    let mut followers = following(&["a", "b"], ms(0));
    followers.want(&"c".to_owned(), "c");
    for key in ["a", "b"] {
        followers.output(&key.to_owned(), ms(5));
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
    assert!(followers.entries.is_empty() && followers.waiting.is_empty());
    followers.output(&"a".to_owned(), ms(6));
    assert_eq!(all(&mut followers, ms(6)), []);
}

#[test]
fn without_places_nobody_is_followed() {
    let mut followers = Followers::new(Limits::with_places(0));
    followers.want(&"a".to_owned(), "a");
    assert_eq!(all(&mut followers, ms(0)), []);
    assert_eq!(followers.deadline(), None);
}

#[test]
fn output_that_ends_is_a_hint_all_the_same_and_earns_no_new_burst() {
    let key = "a".to_owned();
    let mut followers = following(&["a"], ms(0));
    followers.output(&key, ms(1));
    followers.over(&key);
    assert_eq!(followers.followed(&key), None);
    assert_eq!(all(&mut followers, ms(1)), [look("a")], "what it said last");
    // It says its last line and ends, each time that it is followed, for ten minutes.
    let (mut looks, mut now) = (0, 1);
    while now < 600_000 {
        now += 5;
        followers.want(&key, "container of a");
        for command in all(&mut followers, ms(now)) {
            match command {
                Command::Attach { .. } => followers.output(&key, ms(now)),
                Command::Look { .. } => looks += 1,
                Command::Detach { .. } => {}
            }
        }
        followers.over(&key);
    }
    assert!(looks <= 650, "{looks} looks in 600 s");
    followers.release(&key);
    assert_eq!(followers.deadline(), None);
}
