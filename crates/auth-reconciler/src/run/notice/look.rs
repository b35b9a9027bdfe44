//! What is said of one look, within its span.

use std::time::Duration;

use auth_reconciler_core::controller::Said;
use auth_reconciler_core::record::{Recorded, Recording};
use auth_reconciler_core::{AuthStatus, Cause, Key, Reason};
use tracing::{Span, debug, info, info_span, warn};

use crate::postgres::tables::Tables;

/// The span of a look at this instance.
pub(in crate::run) fn of(key: Key, tables: &Tables) -> Span {
    let table = relation(key, tables);
    info_span!("look", instance = %key.instance_id, table)
}

fn relation(key: Key, tables: &Tables) -> &str {
    let table = tables.get(&key.watched_id);
    table.map_or("", |table| table.relation.as_str())
}

/// It has read its row, from which it decides.
pub(super) fn read_fresh(
    key: Key,
    generation: i64,
    has_api_key: bool,
    cause: Cause,
    tables: &Tables,
) {
    let _span = of(key, tables).entered();
    let cause = cause.as_str();
    info!(generation, has_api_key, cause, "row read fresh");
}

/// It found only what others wrote, for which it is too early.
pub(super) fn deferred(key: Key, after: Duration, tables: &Tables) {
    let _span = of(key, tables).entered();
    debug!(?after, "contested: foreign writes wait");
}

/// It came to a verdict that is worth nothing.
pub(super) fn dropped(key: Key, tables: &Tables) {
    let _span = of(key, tables).entered();
    debug!("verdict dropped: something happened to the container meanwhile");
}

/// What became of a proposal. `retry_in`: when the status is tried again if the table refuses it; `news`: that was not said
/// before.
pub(super) fn recorded(
    said: &Said,
    recording: Recording,
    (retry_in, news): (Duration, bool),
    tables: &Tables,
) {
    let _span = of(said.key, tables).entered();
    let wanted = said.status.map_or("untouched", AuthStatus::as_str);
    let table = relation(said.key, tables);
    match recording.outcome {
        Recorded::Overtaken(part) if said.reason.is_none() => {
            debug!(part, "forgetting refused: something came in between");
        }
        Recorded::Overtaken(part) => debug!(
            part,
            "verdict refused: what it was computed from no longer stands"
        ),
        Recorded::EpochEnded => {}
        Recorded::Busy => debug!("somebody holds the row"),
        _ if said.reason.is_none() => info!("row is gone, forgotten"),
        Recorded::Written => info!(
            from = recording.from.as_deref().unwrap_or("null"),
            to = wanted,
            reason = said.reason.map(Reason::as_str),
            cause = said.cause.as_str(),
            reaction_ms = recording.reaction_ms.map(|ms| (ms * 10.0).round() / 10.0),
            contested = said.contested,
            "status written"
        ),
        Recorded::Right => debug!(
            status = wanted,
            reason = said.reason.map(Reason::as_str),
            "status is right"
        ),
        Recorded::Overridden | Recorded::Unwritable if !news => debug!(
            table,
            wanted, "the table refuses or replaces the status as before"
        ),
        Recorded::Overridden => warn!(
            table,
            wanted, "a trigger of the table replaced the status; remove it or unwatch the table"
        ),
        Recorded::Unwritable => warn!(
            table,
            wanted,
            why = recording.refusal,
            ?retry_in,
            "the table refuses the status; correct the table or unwatch it"
        ),
        Recorded::Gone | Recorded::Unwatched => {}
    }
}
