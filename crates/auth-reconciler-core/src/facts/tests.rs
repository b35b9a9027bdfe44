//! What is read of an instance, as the questions that decisions ask of it.

use chrono::TimeDelta;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// Of an instance with these changes, each a second after the one before.
pub(crate) fn with(causes: &[Cause]) -> Facts {
    let changes = (1..).zip(causes);
    Facts {
        now: at(100),
        row: None,
        changes: changes
            .map(|(second, cause)| Change {
                cause: *cause,
                at: at(second),
            })
            .collect(),
        recorded: None,
        container: Container::Unknown,
        sighting: None,
        engine_has_shown_ours: true,
        way: Way::default(),
        followed: false,
        paused: None,
    }
}

/// A row without a key, whose column says this.
pub(crate) fn row(said: Option<&str>) -> Row {
    Row {
        provider: Some("telegram".to_owned()),
        serves_api: true,
        api_key: Ok(None),
        port: None,
        auth_status: said.map(ToOwned::to_owned),
        put_aside: false,
    }
}

/// A container that runs since then.
pub(crate) fn seen(started_at: Option<i64>) -> Option<Sighting> {
    Some(Sighting {
        engine: "here".to_owned(),
        id: "a".to_owned(),
        name: "wweb-a-api".to_owned(),
        state: "running".to_owned(),
        started_at: started_at.map(at),
        network: String::new(),
    })
}

/// How often somebody else wrote, whether that is all that happened, and whether an operator asked.
#[test]
fn changes_are_told_apart_by_who_made_them() {
    use Cause::{Account, Backoff, Drift, Operator};
    let cases: [(&[Cause], usize, bool, bool); 7] = [
        (&[], 0, false, false),
        (&[Drift], 1, true, false),
        (&[Drift, Drift, Drift], 3, true, false),
        (&[Account, Account], 0, false, false),
        (&[Operator], 0, false, true),
        (&[Drift, Operator, Drift], 2, false, true),
        (&[Backoff, Drift], 1, false, false),
    ];
    for (causes, writes, only, asked) in cases {
        let facts = with(causes);
        assert_eq!(facts.foreign_writes(), writes, "{causes:?}");
        assert_eq!(facts.foreign(), writes > 0, "{causes:?}");
        assert_eq!(facts.only_foreign(), only, "{causes:?}");
        assert_eq!(facts.asked(), asked, "{causes:?}");
    }
}

/// News of the instance itself begins its patience anew; what others wrote or its clock brought does not.
#[test]
fn news_is_what_its_row_its_container_or_an_operator_says() {
    for (cause, news) in [
        (Cause::Insert, true),
        (Cause::ApiKey, true),
        (Cause::Account, true),
        (Cause::Operator, true),
        (Cause::Drift, false),
        (Cause::Backoff, false),
        (Cause::Resync, false),
        (Cause::Watch, false),
    ] {
        assert_eq!(with(&[cause]).news(), news, "{cause}");
    }
    let mut started = with(&[]);
    assert!(!started.news());
    started.container = Container::Running;
    started.sighting = seen(Some(1));
    assert!(started.news(), "its container was started");
}

#[test]
fn the_last_of_several_changes_says_when_it_began_anew() {
    use Cause::{Account, ApiKey, Drift, Port};
    let facts = with(&[ApiKey, Account, Port, Account, Drift]);
    assert_eq!(facts.began_anew(), Some(at(3)));
    assert_eq!(facts.account_written(), Some(at(4)));
    let none = with(&[Drift]);
    assert_eq!((none.began_anew(), none.account_written()), (None, None));
}

/// The deadline itself is no early look.
#[test]
fn a_look_is_early_before_its_deadline_if_nothing_is_new() {
    for (due, cause, early) in [
        (None, None, false),
        (Some(99), None, false),
        (Some(100), None, false),
        (Some(101), None, true),
        (Some(101), Some(Cause::Drift), true),
        (Some(101), Some(Cause::Account), false),
    ] {
        let mut facts = with(cause.as_slice());
        facts.recorded = Some(Recorded {
            next_attempt_at: due.map(at),
            ..Recorded::default()
        });
        assert_eq!(facts.early(), early, "{due:?} {cause:?}");
    }
}

#[test]
fn only_a_container_that_was_seen_before_was_started_again() {
    let runs = |known: Option<Sighting>, started| Facts {
        container: Container::Running,
        sighting: seen(started),
        recorded: Some(Recorded {
            sighting: known,
            ..Recorded::default()
        }),
        ..with(&[])
    };
    let found = |facts: &Facts| (facts.started(), facts.restarted(), facts.never_ran());
    assert_eq!(found(&runs(None, Some(1))), (true, false, false));
    assert_eq!(found(&runs(seen(Some(1)), Some(1))), (false, false, false));
    assert_eq!(found(&runs(seen(Some(1)), Some(2))), (true, true, false));
    let made = Facts {
        container: Container::Created,
        ..runs(seen(Some(1)), None)
    };
    assert_eq!(found(&made), (false, false, true));
    assert_eq!(found(&with(&[])), (false, false, false), "none is seen");
}

/// A look that something else asked for is not put off by a hold, but what an operator asked for needs no such help.
#[test]
fn a_hold_is_lifted_where_foreign_writes_are_all_that_is_in_the_log() {
    let held = |causes| {
        let mut facts = with(causes);
        let mut recorded = Recorded::default();
        recorded.corrections.hold_until = Some(at(130));
        facts.recorded = Some(recorded);
        facts.lift_hold();
        facts
            .recorded
            .and_then(|recorded| recorded.corrections.hold_until)
    };
    assert_eq!(held(&[Cause::Drift]), None);
    assert_eq!(held(&[Cause::Drift, Cause::Account]), Some(at(130)));
    assert_eq!(held(&[]), Some(at(130)));
}
