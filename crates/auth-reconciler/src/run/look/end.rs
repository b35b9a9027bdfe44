//! How a run ended, and what follows from it.

use std::time::Duration;

use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::Facts;
use auth_reconciler_core::follow::Life;
use auth_reconciler_core::profile::Profile;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// Recorded, and final.
    Settled,
    /// The same, as it is ready: what its container says is heard where there is a place for that.
    Ready(Follow),
    /// Look again after this time.
    Again {
        /// After what time.
        after: Duration,
        /// Whether foreign writes wait until then.
        hold_drift: bool,
        /// Whether others are to be asked, so that the silence of this one can be told from ours.
        wants_witness: bool,
        /// The container whose output is to be followed meanwhile.
        follow: Option<Follow>,
        /// The engine did not show the container, which may have ended: sooner, with backoff of its own.
        unsure: bool,
    },
    /// Something came in between; look again at once.
    Overtaken,
    /// Not recorded, for a reason that may pass: look again with backoff.
    Stumbled,
    /// Recorded, and final as far as is known, but the engine did not show the container: look again with
    /// backoff.
    Unsure,
    /// The API could not be asked, for want of something of ours: nothing is recorded, look again later.
    NotAsked(Shortage),
    /// Neither this API nor any other that could be a witness answers: nothing is recorded until one does. Where it
    /// was asked and what came of it, in words.
    Doubted(String),
    /// Somebody rang, and nothing is new: all is as before it.
    NothingNew,
    /// The table is not known here: list the watched tables anew.
    UnknownTable,
    /// Another process leads.
    EpochEnded,
}

/// Whose output is to be followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Follow {
    /// The process.
    pub(crate) life: Life,
    /// How it is asked.
    pub(crate) profile: &'static Profile,
}

impl Follow {
    /// The container that these facts are of, if it runs.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let seen = facts
            .sighting
            .as_ref()
            .filter(|_| facts.container == Container::Running)?;
        let provider = facts.row.as_ref()?.provider.as_deref();
        Some(Self {
            life: Life {
                container: seen.id.clone(),
                started_at: seen.started_at,
            },
            profile: Profile::of(provider)?,
        })
    }
}
