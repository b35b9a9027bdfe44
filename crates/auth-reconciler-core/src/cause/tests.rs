//! What every cause is called and what it does, as an operator and an engine know it.

use super::*;

#[test]
fn every_word_is_read_as_what_it_was_written_for() {
    for cause in Cause::ALL {
        assert_eq!(Cause::parse(cause.as_str()), *cause);
        assert_eq!(cause.to_string(), cause.as_str());
    }
    assert_eq!(Cause::parse("a word of a newer version"), Cause::Other);
}

/// In the order of telling: of several the last one is told.
#[test]
fn an_operator_reads_these_words() {
    let words: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let right = "backoff, witness, container output, resync, other, watch, drift, operator, container change, \
         container create, container rename, container health, container oom, container kill, container stop, \
         container destroy, container pause, container unpause, container die, container restart, container start, \
         truncate, delete, id, assigned, type_instance, provider, port_api, insert, api_key, account";
    assert_eq!(words.join(", "), right);
}

/// The words of the triggers, which write them in SQL.
#[test]
fn the_words_of_the_change_log_are_those_of_its_triggers() {
    for (word, cause) in [
        ("insert", Cause::Insert),
        ("delete", Cause::Delete),
        ("truncate", Cause::Truncate),
        ("id", Cause::Id),
        ("api_key", Cause::ApiKey),
        ("account", Cause::Account),
        ("port_api", Cause::Port),
        ("provider", Cause::Provider),
        ("type_instance", Cause::Type),
        ("assigned", Cause::Assigned),
        ("drift", Cause::Drift),
        ("operator", Cause::Operator),
        ("watch", Cause::Watch),
        ("resync", Cause::Resync),
    ] {
        assert_eq!(Cause::parse(word), cause, "{word}");
    }
}

#[test]
fn an_engine_s_event_is_told_in_one_s_own_words() {
    for (action, word) in [
        ("create", "container create"),
        ("rename", "container rename"),
        ("health_status: unhealthy", "container health"),
        ("oom", "container oom"),
        ("kill", "container kill"),
        ("stop", "container stop"),
        ("destroy", "container destroy"),
        ("remove", "container destroy"),
        ("pause", "container pause"),
        ("unpause", "container unpause"),
        ("die", "container die"),
        ("died", "container die"),
        ("restart", "container restart"),
        ("start", "container start"),
        ("restore", "container start"),
    ] {
        let told = Cause::of_event(action).map(Cause::as_str);
        assert_eq!(told, Some(word), "{action}");
    }
    for action in ["exec_start: sh", "attach", "top", "resize", "container", ""] {
        assert_eq!(Cause::of_event(action), None, "{action}");
    }
}

/// `e` its process ended or was held, `g` it goes on, `a` the row speaks of another API, `-` nothing of these.
#[test]
fn what_was_known_ends_with_the_process_or_with_the_row_s_address_and_key() {
    let right = "- - - - - - - - - - - - e e e e e g e g g - - a a a a a a a -";
    for (cause, right) in Cause::ALL.iter().zip(right.split(' ')) {
        let found = (
            cause.changes_container(),
            cause.goes_on(),
            cause.begins_anew(),
        );
        let right = match right {
            "e" => (true, false, false),
            "g" => (true, true, false),
            "a" => (false, false, true),
            _ => (false, false, false),
        };
        assert_eq!(found, right, "{cause}");
    }
}

#[test]
fn of_whom_something_is_new_goes_first() {
    let retries: Vec<_> = Cause::ALL.iter().filter(|cause| cause.is_retry()).collect();
    assert_eq!(retries, [&Cause::Backoff, &Cause::Resync]);
}
