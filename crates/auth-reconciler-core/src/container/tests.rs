use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::instance::Key;

const HERE: &str = "here";

fn listed(id: &str, state: &str, created: i64) -> Listed {
    Listed {
        id: id.to_owned(),
        state: state.to_owned(),
        created,
        network: format!("endpoint of {id}"),
    }
}

fn sighting(id: &str, state: &str) -> Sighting {
    Sighting {
        engine: HERE.to_owned(),
        id: id.to_owned(),
        name: format!("wweb-{id}-api"),
        state: state.to_owned(),
        started_at: Some(DateTime::UNIX_EPOCH),
        network: format!("endpoint of {id}"),
    }
}

fn unheard(_: &str) -> Option<Ending> {
    None
}

fn shown(state: &str, exit_code: i64) -> Inspected {
    Inspected {
        sighting: sighting("a", state),
        exit_code,
        out_of_memory: exit_code == 137,
    }
}

#[test]
fn of_several_the_newest_running_one_counts() {
    let of = |containers: &[Listed]| counting(containers).map(|listed| listed.id.clone());
    assert_eq!(of(&[]), None);
    let old = listed("old", "running", 1);
    let newer = listed("newer", "running", 2);
    let dead = listed("dead", "exited", 3);
    assert_eq!(
        of(&[dead.clone(), old.clone(), newer]).as_deref(),
        Some("newer")
    );
    assert_eq!(of(&[old, dead.clone()]).as_deref(), Some("old"));
    let deader = listed("deader", "exited", 3);
    assert_eq!(of(&[dead.clone(), deader.clone()]), of(&[deader, dead]));
}

#[test]
fn what_a_state_means() {
    let stopped = |exit_code, out_of_memory, restarting| Container::Stopped {
        exit_code,
        out_of_memory,
        restarting,
    };
    for (state, exit_code, meant) in [
        ("running", 0, Container::Running),
        ("paused", 0, Container::Paused),
        ("created", 0, Container::Created),
        // The engine could not start it.
        ("created", 128, stopped(128, false, false)),
        ("exited", 0, stopped(0, false, false)),
        ("exited", 137, stopped(137, true, false)),
        ("dead", 1, stopped(1, false, false)),
        ("restarting", 1, stopped(1, false, true)),
        ("removing", 0, Container::Removed),
        ("removing", 9, stopped(9, false, false)),
        // Podman's.
        ("configured", 0, Container::Created),
        ("initialized", 0, Container::Created),
        ("stopped", 3, stopped(3, false, false)),
        ("stopping", 0, Container::Running),
    ] {
        let (container, recorded) = resolve(HERE, None, Some(shown(state, exit_code)), unheard);
        assert_eq!(container, meant, "{state}");
        assert_eq!(recorded, Some(sighting("a", state)), "{state}");
    }
}

#[test]
fn that_the_kernel_killed_it_may_be_told_after_its_end_is_shown() {
    let told = |out_of_memory| {
        let ending = Ending {
            exit_code: 137,
            out_of_memory,
        };
        let mut shown = shown("exited", 137);
        shown.out_of_memory = false;
        resolve(HERE, None, Some(shown), |_| Some(ending)).0
    };
    for out_of_memory in [false, true] {
        let stopped = Container::Stopped {
            exit_code: 137,
            out_of_memory,
            restarting: false,
        };
        assert_eq!(told(out_of_memory), stopped);
    }
}

#[test]
fn a_state_that_is_not_known_is_recorded_over_none_that_is() {
    for word in ["a word of tomorrow", "", "RUNNING", "unknown"] {
        for known in [None, Some(sighting("a", "running"))] {
            let seen = resolve(HERE, known.as_ref(), Some(shown(word, 0)), unheard);
            assert_eq!(seen, (Container::Unknown, known), "{word}");
        }
    }
}

#[test]
fn two_words_for_one_state_differ_in_nothing() {
    for (one, other) in [
        ("exited", "stopped"),
        ("created", "configured"),
        ("initialized", "configured"),
        ("running", "stopping"),
    ] {
        let known = sighting("a", one);
        assert!(!differs(HERE, Some(&known), &[listed("a", other, 1)]));
    }
    let halting = [listed("new", "stopping", 2), listed("old", "running", 1)];
    let counts = counting(&halting).map(|listed| listed.id.as_str());
    assert_eq!(counts, Some("new"), "it runs until it has ended");
}

#[test]
fn of_a_container_that_is_gone_stands_how_it_ended_if_that_was_heard() {
    let known = sighting("a", "running");
    let ending = Ending {
        exit_code: 9,
        out_of_memory: false,
    };
    let of = |id: &'static str| move |asked: &str| (asked == id).then_some(ending);
    let ended = Container::Stopped {
        exit_code: 9,
        out_of_memory: false,
        restarting: false,
    };
    let gone = Some(sighting("a", REMOVED));
    let told = sighting("a", "removed, exit code 9");
    assert_eq!(
        resolve(HERE, Some(&known), None, of("a")),
        (ended, Some(told.clone()))
    );
    // Who comes later has it from the record.
    assert_eq!(
        resolve(HERE, Some(&told), None, unheard),
        (ended, Some(told.clone()))
    );
    assert!(told.is_gone() && !differs(HERE, Some(&told), &[]));
    let killed = |_: &str| {
        Some(Ending {
            exit_code: 137,
            out_of_memory: true,
        })
    };
    let (killed, sighting_of_it) = resolve(HERE, Some(&known), None, killed);
    let again = resolve(HERE, sighting_of_it.as_ref(), None, unheard);
    assert_eq!(again, (killed, sighting_of_it));
    assert_eq!(
        resolve(HERE, Some(&known), None, of("b")),
        (Container::Removed, gone)
    );
    let (going, _) = resolve(HERE, Some(&known), Some(shown("removing", 0)), of("a"));
    assert_eq!(going, ended);
    // One that was started again since has not ended.
    let (again, _) = resolve(HERE, Some(&known), Some(shown("running", 0)), of("a"));
    assert_eq!(again, Container::Running);
}

#[test]
fn absence_is_believed_only_of_the_engine_that_showed_it() {
    let known = sighting("a", "running");
    assert_eq!(
        resolve(HERE, None, None, unheard),
        (Container::NeverSeen, None)
    );
    assert_eq!(
        resolve(HERE, Some(&known), None, unheard),
        (Container::Removed, Some(sighting("a", REMOVED)))
    );
    assert_eq!(
        resolve("elsewhere", Some(&known), None, unheard),
        (Container::Unknown, Some(known.clone()))
    );
    assert!(differs(HERE, Some(&known), &[]));
    assert!(
        differs("elsewhere", Some(&known), &[]),
        "its API is to say what has become of it"
    );
    assert!(!differs(HERE, Some(&sighting("a", REMOVED)), &[]));
}

#[test]
fn a_list_shows_what_happened_while_nobody_looked() {
    let known = sighting("a", "running");
    assert!(!differs(HERE, None, &[]));
    assert!(differs(HERE, None, &[listed("a", "running", 1)]));
    assert!(!differs(HERE, Some(&known), &[listed("a", "running", 1)]));
    // An older one beside it changes nothing.
    let beside = [listed("a", "running", 1), listed("z", "exited", 0)];
    assert!(!differs(HERE, Some(&known), &beside));
    assert!(differs(HERE, Some(&known), &[listed("a", "exited", 1)]));
    assert!(differs(HERE, Some(&known), &[listed("a", "paused", 1)]));
    assert!(differs(HERE, Some(&known), &[listed("b", "running", 2)]));
    assert!(differs(
        "elsewhere",
        Some(&known),
        &[listed("a", "running", 1)]
    ));
    let again = Listed {
        network: "another endpoint".to_owned(),
        ..listed("a", "running", 1)
    };
    assert!(differs(HERE, Some(&known), &[again]), "it was restarted");
    let alone = Listed {
        network: String::new(),
        ..listed("a", "running", 1)
    };
    let known_alone = Sighting {
        network: String::new(),
        ..known
    };
    assert!(
        differs(HERE, Some(&known_alone), &[alone]),
        "it may have been restarted"
    );
}

#[test]
fn one_life_is_one_start_of_one_container() {
    let known = sighting("a", "running");
    assert!(known.same_life(&sighting("a", "paused")));
    assert!(!known.same_life(&sighting("b", "running")));
    let later = Sighting {
        started_at: Some(DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1)),
        ..sighting("a", "running")
    };
    assert!(!known.same_life(&later));
}

/// Of one instance: whether it is settled, the state that was recorded, what is listed, and whether it is looked at.
#[test]
fn after_a_gap_whoever_changed_or_converges_while_it_runs_is_looked_at() {
    let key = Key {
        watched_id: 1,
        instance_id: Uuid::from_u128(1),
    };
    for (settled, recorded, shown, concerned) in [
        (true, Some("running"), Some("running"), false),
        (true, Some("running"), Some("exited"), true),
        (true, Some("running"), None, true),
        (true, None, Some("running"), true),
        (true, None, None, false),
        // Its output is to be followed again.
        (false, Some("running"), Some("running"), true),
        (false, Some("exited"), Some("exited"), false),
        (false, None, None, false),
    ] {
        let known = RecordedContainer {
            key,
            settled,
            sighting: recorded.map(|state| sighting("a", state)),
        };
        let list = shown.map(|state| (key.instance_id, listed("a", state, 1)));
        let found = compare(HERE, list.into_iter().collect(), vec![known]);
        let right = if concerned { vec![key] } else { vec![] };
        assert_eq!(found.concerned, right, "{settled} {recorded:?} {shown:?}");
    }
}

/// One that has never shown a container of ours may be the wrong engine.
#[test]
fn an_engine_shows_ours_if_it_does_now_or_did_before() {
    let ours = Uuid::from_u128(1);
    let shows_ours = |seen_on: Option<&str>, listed_is: Option<Uuid>| {
        let known = RecordedContainer {
            key: Key {
                watched_id: 1,
                instance_id: ours,
            },
            settled: true,
            sighting: seen_on.map(|engine| Sighting {
                engine: engine.to_owned(),
                ..sighting("a", "running")
            }),
        };
        let list = listed_is.map(|instance| (instance, listed("a", "running", 1)));
        compare(HERE, list.into_iter().collect(), vec![known]).shows_ours
    };
    assert!(shows_ours(None, Some(ours)));
    assert!(shows_ours(Some(HERE), None));
    assert!(!shows_ours(Some("elsewhere"), None));
    assert!(
        !shows_ours(None, Some(Uuid::from_u128(2))),
        "somebody else's"
    );
}
