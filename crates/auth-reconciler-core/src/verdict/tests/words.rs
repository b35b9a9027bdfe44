//! What an operator reads beside a status: what is the case and what to do, word by word.

use super::containers::sighting;
use super::*;

/// Of one that has just been read, and that needs no probe.
fn of_row(change: impl FnOnce(&mut Row)) -> String {
    let mut facts = facts(at(0));
    change(facts.row.as_mut().expect("row"));
    settled(&facts).message
}

fn of_container(container: Container) -> String {
    settled(&Facts {
        container,
        ..facts(at(0))
    })
    .message
}

fn whatsapp() -> &'static Profile {
    Profile::of(Some("whatsappweb")).expect("profile")
}

/// Of one that was never ready and has given this answer, and again later.
fn of_answers(profile: &Profile, answer: &Answer, later: i64) -> [String; 2] {
    let witnessed = |now: i64| Facts {
        way: Way {
            witness_at: Some(at(now)),
            ..Way::default()
        },
        ..facts(at(now))
    };
    let ask = |facts: &Facts| recorded(conclude(&POLICY(), facts, profile, answer, facts.now, 0.0));
    let first = ask(&witnessed(0));
    let second = ask(&after(&first, witnessed(later)));
    [first.message, second.message]
}

#[test]
fn of_a_row_that_is_not_to_be_asked() {
    assert_eq!(
        of_row(|row| row.provider = None),
        "the row has no provider, so its status is left alone"
    );
    assert_eq!(
        of_row(|row| row.provider = Some("smoke".to_owned())),
        "provider \"smoke\" is not one that this version can ask, so its status is left alone"
    );
    let long = format!("\u{7}{}", "y".repeat(41));
    let shown = format!(
        "provider \"{}\" is not one that this version can ask, so its status is left alone",
        "y".repeat(40)
    );
    assert_eq!(of_row(|row| row.provider = Some(long)), shown);
    assert_eq!(
        of_row(|row| row.serves_api = false),
        "the row is not of type api, so its status is left alone"
    );
}

#[test]
fn of_a_row_that_lacks_something_or_holds_what_cannot_be_used() {
    assert_eq!(
        of_row(|row| row.api_key = Ok(None)),
        "waits for its API key; if it stays so, see why the manager did not start it"
    );
    assert_eq!(
        of_row(|row| row.port = None),
        "has a key and waits for its port; if it stays so, see why the manager did not start it"
    );
    for port in [0, 65_536] {
        assert_eq!(
            of_row(|row| row.port = Some(port)),
            format!("port {port} is not between 1 and 65535; correct port_api")
        );
    }
    for (key, right) in [
        (
            "a\nb".to_owned(),
            "the API key holds a character that an HTTP header cannot carry (only printable ASCII can); give the instance another key",
        ),
        (
            " a".to_owned(),
            "the API key begins or ends with a blank, which HTTP would strip; give the instance another key",
        ),
        (
            "k".repeat(8_193),
            "the API key is longer than 8192 bytes; give the instance another key",
        ),
    ] {
        assert_eq!(of_row(|row| row.api_key = ApiKey::parse(&key)), right);
    }
}

#[test]
fn of_a_container_that_cannot_answer() {
    let stopped = |exit_code, out_of_memory, restarting| {
        of_container(Container::Stopped {
            exit_code,
            out_of_memory,
            restarting,
        })
    };
    for (found, right) in [
        (
            of_container(Container::Created),
            "its container was made and not started yet; if it stays so, see why the manager did not start it",
        ),
        (
            of_container(Container::Paused),
            "its container is paused; unpause it",
        ),
        (
            of_container(Container::Removed),
            "its container was removed; start the instance again",
        ),
        (
            stopped(3, false, false),
            "its container stopped with exit code 3; start it",
        ),
        (
            stopped(137, true, false),
            "its container was killed for using too much memory (exit code 137); raise its limit and start it",
        ),
        (
            stopped(1, false, true),
            "its container stopped with exit code 1 and the engine is to start it again; see why it stops",
        ),
        (
            stopped(137, true, true),
            "its container was killed for using too much memory (exit code 137) and the engine is to start it again; see why it stops",
        ),
    ] {
        assert_eq!(found, right);
    }
}

#[test]
fn of_an_answer_in_the_words_of_the_provider() {
    for (profile, answer, right) in [
        (
            telegram(),
            Answer::Ready,
            "its API answers READY and knows who it is on Telegram",
        ),
        (
            whatsapp(),
            Answer::Ready,
            "its API answers READY and knows who it is on WhatsApp",
        ),
        (
            whatsapp(),
            Answer::Authenticated,
            "logged in, not ready to send yet",
        ),
        (
            whatsapp(),
            Answer::QrReady,
            "waits until somebody scans the QR code",
        ),
        (
            telegram(),
            Answer::ProviderError,
            "its API reports an error of Telegram; if it stays so, see whether Telegram is reachable and the token valid",
        ),
        (
            telegram(),
            Answer::Rejected { code: 403 },
            "the API answered 403 to the key of this row; make the key of row and container agree",
        ),
    ] {
        assert_eq!(of_answers(profile, &answer, 1)[0], right);
    }
    assert_eq!(
        of_answers(telegram(), &Answer::NotConnected, 30_000),
        [
            "its API answers and is not connected to Telegram yet",
            "its API answers and has not been connected to Telegram for longer than a start can take; it will not recover alone: restart the instance",
        ]
    );
    assert_eq!(
        of_answers(whatsapp(), &Answer::NotConnected, 600_000),
        [
            "its API answers and is not connected to WhatsApp yet; a phone takes minutes to synchronise",
            "its API answers and has not been connected to WhatsApp for longer than a phone takes to synchronise; see whether the phone is online and WhatsApp is open on it",
        ]
    );
}

/// Each of these is the end of a sentence that says what stands.
#[test]
fn of_an_answer_that_says_nothing_of_the_instance() {
    for (answer, right) in [
        (
            Answer::Http { code: 302 },
            "answered 302, a redirect, which is not followed because it would carry the key elsewhere",
        ),
        (
            Answer::Http { code: 404 },
            "answered 404; see whether something else listens on this port",
        ),
        (Answer::Http { code: 500 }, "answered 500"),
        (
            Answer::Malformed {
                what: "the body is not JSON",
            },
            "answered something else than a status: the body is not JSON",
        ),
        (
            Answer::TooLarge { cap: 65_536 },
            "answered with more than 65536 bytes",
        ),
        (REFUSED, "refuses the connection"),
    ] {
        let starting = format!("not ready since it started: its API {right}");
        assert_eq!(ask(&facts(at(0)), answer.clone()).message, starting);

        let ready = ask(&facts(at(0)), Answer::Ready);
        let missed = ask(&after(&ready, facts(at(60_000))), answer.clone());
        let counted = "1 of 3 misses before it counts";
        let right_then = format!("was ready, and now its API {right} ({counted})");
        assert_eq!(missed.message, right_then);

        let failed = repeated(after(&ready, facts(at(60_000))), &answer, at(71_000));
        let times = failed.memory.misses;
        let right_then = format!(
            "was ready, and now its API {right} ({times} times in a row); see the container, restart it if it hangs"
        );
        assert_eq!(failed.message, right_then);

        let still = ask(&after(&failed, facts(at(200_000))), answer);
        let right_then = format!(
            "stays failed until it answers: its API {right}; see the container, restart it if it hangs"
        );
        assert_eq!(still.message, right_then);
    }
}

#[test]
fn of_misses_that_do_not_count_yet() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    let mut verdict = ask(&after(&ready, facts(at(60_000))), REFUSED);
    for look in 1..=2 {
        verdict = ask(&after(&verdict, facts(at(60_000 + look * 100))), REFUSED);
    }
    assert_eq!(
        verdict.message,
        "was ready, and now its API refuses the connection (3 misses; they count once they have lasted and another instance has answered since)"
    );
}

#[test]
fn of_what_nobody_was_asked_for() {
    let unseen = Facts {
        container: Container::NeverSeen,
        ..facts(at(0))
    };
    assert_eq!(
        ask(&unseen, REFUSED).message,
        "no container was seen yet; if it stays so, see why the manager did not start it"
    );

    let down = settled(&Facts {
        container: Container::Paused,
        sighting: Some(sighting("a", "paused", 0)),
        ..facts(at(0))
    });
    let out_of_sight = Facts {
        sighting: down.memory.sighting.clone(),
        ..facts(at(60_000))
    };
    assert_eq!(
        ask(&after(&down, out_of_sight), REFUSED).message,
        "its container was down when it was last seen and its API does not answer; the engine is out of sight: see the view reconcilers"
    );

    let rejected = ask(&facts(at(0)), Answer::Rejected { code: 401 });
    let world = after(&rejected, facts(at(60_000)));
    let mut written = changed(world, Cause::Drift, 60_000);
    written.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
    assert_eq!(
        settled(&written).message,
        "it was failed before, and no answer has said otherwise since: what somebody else wrote over it was put right before the next look"
    );

    let ready = ask(&facts(at(0)), Answer::Ready);
    let mut kept = changed(after(&ready, facts(at(60_000))), Cause::Drift, 60_000);
    let row = kept.row.as_mut().expect("row");
    row.auth_status = Some("failed".to_owned());
    row.put_aside = true;
    let given = given_back(&POLICY(), &kept, 0.0).expect("given back");
    assert_eq!(
        given.message,
        "whether it answers is not known, so what somebody else wrote stands until it is"
    );
}
