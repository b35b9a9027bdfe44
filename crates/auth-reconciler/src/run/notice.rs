//! What the controller has to say, in the words that operators know.

use std::time::Duration;

use auth_reconciler_core::Key;
use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::controller::{Failure, Fault, Hindrance, Notice, Trouble};
use auth_reconciler_core::problem::{FOREIGN_LOCK, SCHEMA_ALTERED};
use tracing::{debug, error, info, warn};

use crate::postgres::tables::Tables;
use crate::probe::url::ProbeUrl;
use crate::witness::REMEDY;

pub(super) mod look;

const DOUBT: &str = "instances that were ready are silent and nobody else answers, so our own way to them is doubted: \
     nothing is written until one answers";

const BELIEVED: &str = "instances that were ready are silent and nobody else answers, for longer than \
     AUTH_RECONCILER_BELIEVE_SILENCE_AFTER: their silence is believed until one answers";

/// What stands in the database while it lasts.
pub(super) fn words(trouble: &Trouble, url: &ProbeUrl) -> String {
    match trouble {
        Trouble::NotAsked(short) => {
            let words: Vec<_> = short.iter().map(|short| short.as_str()).collect();
            format!("instances cannot be asked: {}", words.join("; "))
        }
        Trouble::Doubt { tried } => {
            format!("{DOUBT}; asked at {url}, the last at {tried}; {REMEDY}")
        }
        Trouble::LogRefuses(why) => format!(
            "the change log takes no changes: {why}; every row is looked at instead; mend table auth_reconciler.change, or the disk"
        ),
        Trouble::Believed => format!("{BELIEVED}; asked at {url}; {REMEDY}"),
    }
}

/// Writes this notice to the log, in words for an operator.
pub(super) fn say(notice: Notice, url: &ProbeUrl, tables: &Tables) {
    match notice {
        Notice::StandingBy => info!("standing by: another process leads"),
        Notice::StillStandingBy => debug!("still standing by"),
        Notice::ForeignLock(why) => {
            warn!(why, "somebody else holds the lock of whoever leads");
        }
        Notice::Deposing((session, _)) => warn!(
            session,
            "the process that leads answers for nothing, and does not move when it is rung for: ending its session"
        ),
        Notice::NoListener {
            failure,
            retry_in,
            news,
            stood_by,
        } => say_no_listener(failure, retry_in, news, stood_by),
        Notice::ListenerAgain(failed_tries) => info!(failed_tries, "an ear again"),
        Notice::ListenerLost {
            why,
            retry_in,
            news,
        } => say_lost(why, retry_in, news),
        Notice::Serving(instances) => info!(instances, "serving"),
        Notice::Scanned(instances) => debug!(instances, "change log scanned"),
        Notice::Doubt(tried) => warn!(%url, tried, advice = REMEDY, "{DOUBT}"),
        Notice::Believed(silent) => warn!(%url, silent, advice = REMEDY, "{BELIEVED}"),
        Notice::DoubtOver(looked_at) => info!(looked_at, "somebody answers: the doubt is over"),
        Notice::NobodySilent => say_nobody_silent(),
        Notice::AllAsked => info!("every instance that could not be asked was asked"),
        Notice::Hindered { hindrance, news } => say_hindered(hindrance, news),
        Notice::Fault(fault) => say_fault(fault),
        Notice::FaultOver(fault) => say_fault_over(fault),
        Notice::LogAgain => info!("changes can be logged again"),
        Notice::NotAsked { shortage, news } => say_not_asked(shortage, news),
        Notice::Busy(key, Failure { error, .. }) => {
            debug!(instance = %key.instance_id, error, "somebody holds what this look needs");
        }
        Notice::ReconcileFailed { key, failure, news } => say_failed(key, failure, news),
        Notice::Unreadable { key, why, first } => say_unreadable(key, why, first),
        Notice::ReadFresh {
            key,
            generation,
            has_api_key,
            cause,
        } => look::read_fresh(key, generation, has_api_key, cause, tables),
        Notice::Deferred(key, after) => look::deferred(key, after, tables),
        Notice::Dropped(key) => look::dropped(key, tables),
        Notice::NotQueued { failure, news } => say_not_queued(failure, news),
        Notice::Recorded {
            said,
            recording,
            news,
            retry_in,
        } => look::recorded(&said, recording, (retry_in, news), tables),
    }
}

fn say_no_listener(
    Failure { error, advice, .. }: Failure,
    retry_in: Duration,
    news: bool,
    stood_by: bool,
) {
    if news && stood_by {
        warn!(
            error,
            advice,
            ?retry_in,
            "cannot stand by: another process led when it was last seen"
        );
    } else if news {
        warn!(
            error,
            advice,
            ?retry_in,
            "no ear: changes are kept in the log until there is one"
        );
    } else {
        debug!(error, ?retry_in, "still no ear");
    }
}

fn say_lost(why: String, retry_in: Duration, news: bool) {
    if news {
        warn!(why, ?retry_in, "lost the ear, making another");
    } else {
        debug!(why, ?retry_in, "lost the ear as before, making another");
    }
}

fn say_nobody_silent() {
    info!("nobody is silent without a reason any more: the doubt is over");
}

fn say_not_asked(shortage: Shortage, news: bool) {
    let shortage = shortage.as_str();
    if news {
        warn!(
            shortage,
            "instances cannot be asked; nothing is believed of them meanwhile, and they are tried again (said once)"
        );
    } else {
        debug!(shortage, "instances cannot be asked");
    }
}

fn say_failed(key: Key, Failure { error, advice, .. }: Failure, news: bool) {
    let instance = key.instance_id;
    if news {
        warn!(%instance, error, advice, "look failed, will be repeated");
    } else {
        debug!(%instance, error, "look failed as before, will be repeated");
    }
}

fn say_not_queued(Failure { error, advice, .. }: Failure, news: bool) {
    if news {
        warn!(
            error,
            advice, "looks at all rows could not be queued; tried again with the next echo"
        );
    } else {
        debug!(error, "looks at all rows could still not be queued");
    }
}

fn say_hindered(hindrance: Hindrance, news: bool) {
    if !news {
        debug!(?hindrance, "what is owed is still not done");
        return;
    }
    match hindrance {
        Hindrance::Unlisted(Failure { error, advice, .. }) => warn!(
            error,
            advice, "what is owed is not known; asked again with the next echo"
        ),
        Hindrance::Undone(Failure { error, advice, .. }) => warn!(
            error,
            advice, "what is owed could not be done; tried again with the next echo"
        ),
        Hindrance::Unlogged(error) => warn!(
            error,
            "changes cannot be logged: every row is looked at, and again with each echo until they can"
        ),
    }
}

fn say_unreadable(key: Key, why: String, first: bool) {
    let instance = key.instance_id;
    if first {
        info!(
            %instance,
            why,
            "output of this container cannot be followed, so its readiness is found by backoff; use the log driver json-file or local (said once)"
        );
    } else {
        debug!(%instance, why, "output cannot be followed");
    }
}

fn say_fault(Fault { problem, why }: Fault) {
    if problem == SCHEMA_ALTERED {
        error!(
            problem,
            why, "the schema auth_reconciler is not as it was made"
        );
    } else if problem == FOREIGN_LOCK {
        warn!(problem, why, "somebody else holds a lock of ours");
    } else {
        error!(problem, why, "a watched table is not as it was");
    }
}

fn say_fault_over(Fault { problem, why }: Fault) {
    if problem == SCHEMA_ALTERED {
        info!(problem, why, "no longer so of the schema auth_reconciler");
    } else if problem == FOREIGN_LOCK {
        info!(problem, why, "that lock of ours is free again");
    } else {
        info!(problem, why, "no longer so of a watched table");
    }
}
