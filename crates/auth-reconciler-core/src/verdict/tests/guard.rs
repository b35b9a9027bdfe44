//! What guard has put aside is worth what an answer says, and stands where there is none.

use super::*;

fn put_aside(status: &str, answer_before: &Answer) -> Facts {
    let world = after(
        &ask(&facts(at(0)), answer_before.clone()),
        facts(at(60_000)),
    );
    let mut world = changed(world, Cause::Drift, 59_990);
    let row = world.row.as_mut().expect("row");
    row.auth_status = Some(status.to_owned());
    row.put_aside = true;
    world
}

#[test]
fn without_an_answer_what_was_put_aside_is_given_back() {
    for status in ["failed", "pending"] {
        let world = put_aside(status, &Answer::Ready);
        let given = AuthStatus::parse(status);
        for silence in [
            REFUSED,
            Answer::Http { code: 500 },
            Answer::Malformed { what: "x" },
        ] {
            let verdict = ask(&world, silence);
            assert_eq!((verdict.status, verdict.memory.established), (given, false));
            assert!(!verdict.last, "guard keeps nothing");
        }
        // Nobody was asked, nobody is a witness, or an operator has it paused.
        let verdict = given_back(&POLICY(), &world, 0.0).expect("given back");
        assert_eq!((verdict.status, verdict.memory.established), (given, false));
        assert!(!verdict.last);
        assert_eq!(
            verdict.retry,
            Some(Duration::from_secs(1)),
            "then it is asked"
        );
        let paused = Facts {
            paused: Some("alice: by hand".to_owned()),
            ..world.clone()
        };
        assert_eq!(settled(&paused).status, given);
        let verdict = ask(&world, Answer::Ready);
        assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
    }
}

#[test]
fn what_was_not_put_aside_or_is_no_status_is_not_given_back() {
    let mut world = put_aside("failed", &Answer::Ready);
    world.row.as_mut().expect("row").put_aside = false;
    assert_eq!(given_back(&POLICY(), &world, 0.0), None);
    let world = put_aside("a word", &Answer::Ready);
    assert_eq!(given_back(&POLICY(), &world, 0.0), None);
}

/// A failure that was established stands over bad news, put aside or not.
#[test]
fn an_established_failure_takes_nothing_back() {
    let world = put_aside("pending", &Answer::Rejected { code: 401 });
    assert_eq!(settled(&world).status, Some(AuthStatus::Failed));
}

/// Whoever wrote over it is answered at once; what nobody of us established is left to the next look.
#[test]
fn only_a_failure_of_ours_that_was_established_is_ours_to_restore() {
    let now = facts(at(60_000));
    assert!(!is_ours_to_restore(&now), "nothing is recorded");
    let rejected = ask(&facts(at(0)), Answer::Rejected { code: 401 });
    assert!(is_ours_to_restore(&after(&rejected, now.clone())));
    let ready = ask(&facts(at(0)), Answer::Ready);
    assert!(!is_ours_to_restore(&after(&ready, now.clone())));
    let mut theirs = facts(at(0));
    theirs.row.as_mut().expect("row").auth_status = Some("failed".to_owned());
    let left = ask(&theirs, REFUSED);
    assert_eq!(left.status, Some(AuthStatus::Failed));
    assert!(
        !is_ours_to_restore(&after(&left, now)),
        "it was left as it was"
    );
}
