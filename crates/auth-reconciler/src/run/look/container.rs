//! The container's part in a look: asked for between the read and the plan, where it matters.

use std::net::IpAddr;

use auth_reconciler_core::controller::Task;
use auth_reconciler_core::verdict;

use super::Context;
use crate::postgres::look::Look;

/// What of the engine's answer is no fact.
#[derive(Default)]
pub(super) struct Seen {
    /// The container's address.
    pub(super) address: Option<IpAddr>,
    /// There was no answer.
    pub(super) unanswered: bool,
}

/// Adds to the facts what the engine shows, where that matters.
pub(super) async fn see_container(context: &Context, task: &Task, look: &mut Look) -> Seen {
    let facts = &mut look.facts;
    let Some(engine) = &context.engine else {
        return Seen::default();
    };
    if !verdict::concerns_container(facts) {
        return Seen::default();
    }
    let sight = engine
        .sight(task.key.instance_id, facts.sighting.as_ref())
        .await;
    facts.container = sight.container;
    facts.engine_has_shown_ours = engine.has_shown_ours();
    facts.sighting = sight.sighting;
    facts.followed = task.followed.is_some()
        && task.followed.as_deref() == facts.sighting.as_ref().map(|seen| seen.id.as_str());
    Seen {
        address: sight.address,
        unanswered: sight.unanswered,
    }
}
