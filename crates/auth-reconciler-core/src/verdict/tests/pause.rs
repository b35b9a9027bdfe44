//! A pause wins: over every cause, every state of row and container, and a hold.

use chrono::TimeDelta;

use super::*;

#[test]
fn a_paused_instance_is_left_alone_whatever_else_is_the_case() {
    let paused = |facts: Facts| Facts {
        paused: Some("alice: moving its number".to_owned()),
        ..facts
    };
    let contested = Recorded {
        status: Some(AuthStatus::ClientReady),
        corrections: Corrections {
            contested: 3,
            hold_until: Some(at(0) + TimeDelta::minutes(1)),
            ..Corrections::default()
        },
        ..Recorded::default()
    };
    let worlds = [
        facts(at(0)),
        changed(facts(at(0)), Cause::ApiKey, 0),
        changed(facts(at(0)), Cause::Operator, 0),
        Facts {
            container: Container::Removed,
            ..facts(at(0))
        },
        Facts {
            recorded: Some(contested),
            ..changed(facts(at(0)), Cause::Drift, 0)
        },
    ];
    for world in worlds {
        let verdict = settled(&paused(world));
        assert_eq!((verdict.status, verdict.reason), (None, Reason::Paused));
        assert_eq!(
            verdict.message,
            "paused by alice: moving its number; its status is left alone until resume()"
        );
        assert_eq!((verdict.retry, verdict.trouble_after), (None, None));
        assert!(verdict.last && !verdict.memory.corrections.is_contested());
    }
    let gone = Facts {
        row: None,
        ..paused(facts(at(0)))
    };
    assert_eq!(plan(&POLICY(), &gone, 0.0), Plan::Forget);
}

#[test]
fn the_engine_is_not_asked_about_one_that_is_left_alone() {
    let mut facts = facts(at(0));
    assert!(concerns_container(&facts));
    facts.paused = Some("by somebody".to_owned());
    assert!(!concerns_container(&facts));
}
