//! The sentences beside the reasons: what is the case, and what to do if it stays so.

use crate::facts::Row;
use crate::key::KeyFault;
use crate::profile::Profile;

pub(super) const NOT_API: &str = "the row is not of type api, so its status is left alone";
pub(super) const AWAITING_KEY: &str =
    "waits for its API key; if it stays so, see why the manager did not start it";
pub(super) const AWAITING_PORT: &str =
    "has a key and waits for its port; if it stays so, see why the manager did not start it";
pub(super) const AWAITING_CONTAINER: &str =
    "no container was seen yet; if it stays so, see why the manager did not start it";
pub(super) const CREATED: &str = "its container was made and not started yet; if it stays so, see why the manager did not start it";
pub(super) const PAUSED: &str = "its container is paused; unpause it";
pub(super) const OUT_OF_SIGHT: &str = "its container was down when it was last seen and its API does not answer; the engine is out of sight: see the view reconcilers";
pub(super) const REMOVED: &str = "its container was removed; start the instance again";
pub(super) const AUTHENTICATED: &str = "logged in, not ready to send yet";
pub(super) const AWAITING_SCAN: &str = "waits until somebody scans the QR code";

pub(super) fn unsupported(row: &Row) -> String {
    // A provider is a word of the manager's configuration; it is cut because it comes from a column
    // that anybody may fill.
    match &row.provider {
        None => "the row has no provider, so its status is left alone".to_owned(),
        Some(provider) => {
            let shown: String = provider
                .chars()
                .filter(|c| !c.is_control())
                .take(40)
                .collect();
            format!(
                "provider \"{shown}\" is not one that this version can ask, so its status is left alone"
            )
        }
    }
}

pub(super) fn on_hold(words: &str) -> String {
    format!("paused by {words}; its status is left alone until resume()")
}

pub(super) fn key_fault(fault: KeyFault) -> String {
    format!(
        "the API key {}; give the instance another key",
        fault.as_str()
    )
}

pub(super) fn port_fault(port: i64) -> String {
    format!("port {port} is not between 1 and 65535; correct port_api")
}

pub(super) fn not_started(exit_code: i64) -> String {
    format!("its container could not be started (exit code {exit_code}); see why and start it")
}

pub(super) fn stopped(exit_code: i64, out_of_memory: bool, restarting: bool) -> String {
    let what = how_it_stopped(exit_code, out_of_memory);
    match (restarting, out_of_memory) {
        (true, _) => format!("{what} and the engine is to start it again; see why it stops"),
        (false, true) => format!("{what}; raise its limit and start it"),
        (false, false) => format!("{what}; start it"),
    }
}

/// As [`stopped`], of one that is gone.
pub(super) fn stopped_and_removed(exit_code: i64, out_of_memory: bool) -> String {
    format!(
        "{} and was removed; start the instance again",
        how_it_stopped(exit_code, out_of_memory)
    )
}

fn how_it_stopped(exit_code: i64, out_of_memory: bool) -> String {
    if out_of_memory {
        format!("its container was killed for using too much memory (exit code {exit_code})")
    } else {
        format!("its container stopped with exit code {exit_code}")
    }
}

pub(super) fn ready(profile: &Profile) -> String {
    format!(
        "its API answers READY and knows who it is on {}",
        profile.name
    )
}

pub(super) fn rejected(code: u16) -> String {
    format!(
        "the API answered {code} to the key of this row; make the key of row and container agree"
    )
}

pub(super) fn connecting(profile: &Profile) -> String {
    if profile.by_phone {
        return format!(
            "its API answers and is not connected to {} yet; a phone takes minutes to synchronise",
            profile.name
        );
    }
    format!(
        "its API answers and is not connected to {} yet",
        profile.name
    )
}

pub(super) fn not_connected(profile: &Profile) -> String {
    if profile.by_phone {
        return format!(
            "its API answers and has not been connected to {name} for longer than a phone takes to synchronise; see whether the phone is online and {name} is open on it",
            name = profile.name
        );
    }
    format!(
        "its API answers and has not been connected to {} for longer than a start can take; it will not recover alone: restart the instance",
        profile.name
    )
}

pub(super) fn provider_error(profile: &Profile) -> String {
    format!(
        "its API reports an error of {name}; if it stays so, see whether {name} is reachable and the token valid",
        name = profile.name
    )
}

pub(super) fn http(code: u16) -> String {
    match code {
        300..=399 => format!(
            "answered {code}, a redirect, which is not followed because it would carry the key elsewhere"
        ),
        404 => "answered 404; see whether something else listens on this port".to_owned(),
        other => format!("answered {other}"),
    }
}

pub(super) fn malformed(what: &str) -> String {
    format!("answered something else than a status: {what}")
}

pub(super) fn too_large(cap: usize) -> String {
    format!("answered with more than {cap} bytes")
}

pub(super) fn starting(what: &str) -> String {
    format!("not ready since it started: its API {what}")
}

pub(super) fn missed(what: &str, misses: u32, allowed: u32) -> String {
    if misses < allowed {
        format!("was ready, and now its API {what} ({misses} of {allowed} misses before it counts)")
    } else {
        // They may not span the time yet, and whose fault it is, another instance's answer must show.
        format!(
            "was ready, and now its API {what} ({misses} misses; they count once they have lasted and another instance has answered since)"
        )
    }
}

pub(super) fn unresponsive(what: &str, misses: u32) -> String {
    format!(
        "was ready, and now its API {what} ({misses} times in a row); see the container, restart it if it hangs"
    )
}

pub(super) const RESTORED: &str = "it was failed before, and no answer has said otherwise since: what somebody else wrote over it was put right before the next look";

pub(super) const GIVEN_BACK: &str =
    "whether it answers is not known, so what somebody else wrote stands until it is";

pub(super) fn still_failed(what: &str) -> String {
    format!(
        "stays failed until it answers: its API {what}; see the container, restart it if it hangs"
    )
}
