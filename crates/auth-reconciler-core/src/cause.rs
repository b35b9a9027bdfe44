//! Why a look happens. A cause goes to the log and the history; the key alone says what to do.

use std::fmt;

/// What a cause does to what was known of the instance before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// What was known stays known.
    None,
    /// The container's process ended or was held, or is about to be.
    Ends,
    /// The container's process goes on, from its beginning or from where it was held.
    GoesOn,
    /// The row speaks of another API than before.
    Anew,
}

/// One line a cause: its name, the word that stands in the change log, in the history and in logs, what it does, and
/// the engine's words for it. The order is the order of telling: when several causes merge, the greatest one is named.
macro_rules! causes {
    ($($(#[$doc:meta])+ $name:ident = $word:literal, $effect:ident, [$($action:literal),*];)+) => {
        /// What asked for a look. The order is the order of telling: when several causes merge, the
        /// greatest one is the one that is named.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $($(#[$doc])+ $name,)+
        }

        impl Cause {
            /// Every cause, the least first.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word that stands in the change log, in the history and in logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            const fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect,)+
                }
            }

            const fn actions(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($action),*],)+
                }
            }
        }
    };
}

causes! {
    /// The backoff deadline of an instance that is not final, the turn of one that is silent in a doubt, or the retry
    /// after a passing error.
    Backoff = "backoff", None, [];
    /// Another instance is silent, and this one's word is wanted: is it our own way that is at fault?
    Witness = "witness", None, [];
    /// Its container wrote something while it was not final yet.
    Output = "container output", None, [];
    /// The daemon compared everything after a gap in hearing (start, take-over, new ear session).
    Resync = "resync", None, [];
    /// A change row whose cause this version does not know.
    Other = "other", None, [];
    /// `watch()` attached the triggers; every existing row is looked at once.
    Watch = "watch", None, [];
    /// Somebody else changed `auth_status`.
    Drift = "drift", None, [];
    /// An operator called `reconcile` or `reconcile_all`.
    Operator = "operator", None, [];
    /// The engine shows another container, or another state of it, than what was recorded: found after a gap in hearing.
    Compared = "container change", None, [];
    /// Its container was made.
    Created = "container create", None, ["create"];
    /// Its container was renamed.
    Renamed = "container rename", None, ["rename"];
    /// The health check of its container changed its mind.
    Health = "container health", None, ["health_status"];
    /// Its container ran out of memory.
    OutOfMemory = "container oom", Ends, ["oom"];
    /// Its container was sent a signal.
    Killed = "container kill", Ends, ["kill"];
    /// Its container was stopped.
    Stopped = "container stop", Ends, ["stop"];
    /// Its container was removed. The second word is Podman's, here and below.
    Destroyed = "container destroy", Ends, ["destroy", "remove"];
    /// Its container was paused.
    Paused = "container pause", Ends, ["pause"];
    /// Its container goes on.
    Unpaused = "container unpause", GoesOn, ["unpause"];
    /// Its container ended.
    Died = "container die", Ends, ["die", "died"];
    /// Its container was restarted.
    Restarted = "container restart", GoesOn, ["restart"];
    /// Its container was started.
    Started = "container start", GoesOn, ["start", "restore"];
    /// The table was truncated.
    Truncate = "truncate", None, [];
    /// The row was deleted.
    Delete = "delete", None, [];
    /// The primary key of the row was changed.
    Id = "id", Anew, [];
    /// A write repeated the value of `api_key` or `account` (watched with `assigned => true` only): a
    /// sign that the container started again.
    Assigned = "assigned", Anew, [];
    /// `type_instance` changed.
    Type = "type_instance", Anew, [];
    /// `provider` changed.
    Provider = "provider", Anew, [];
    /// `port_api` changed.
    Port = "port_api", Anew, [];
    /// The row was inserted.
    Insert = "insert", Anew, [];
    /// `api_key` changed.
    ApiKey = "api_key", Anew, [];
    /// `account` changed.
    Account = "account", None, [];
}

impl Cause {
    /// Reads a word of the change log; one that is not known is [`Cause::Other`], never an error:
    /// a change is a change whatever it is called.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::find(|cause| cause.as_str() == text).unwrap_or(Self::Other)
    }

    /// Reads the name of an engine's event; `None` for one that says nothing about an instance.
    #[must_use]
    pub fn of_event(action: &str) -> Option<Self> {
        // `health_status: healthy`
        let name = action.split(':').next().unwrap_or(action);
        Self::find(|cause| cause.actions().contains(&name))
    }

    fn find(wanted: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| wanted(*cause))
    }

    /// Whether what is looked at was failing or silent before, so that whatever is new goes before it.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        matches!(self, Self::Backoff | Self::Resync)
    }

    /// Whether the container's process began, ended or was held with it, so that what a run has seen or
    /// been answered before says nothing any more.
    #[must_use]
    pub const fn changes_container(self) -> bool {
        match self.effect() {
            Effect::Ends | Effect::GoesOn => true,
            Effect::None | Effect::Anew => false,
        }
    }

    /// Whether the container's process goes on, from its beginning or from where it was held: what was spent
    /// on it before is not to be missing now.
    #[must_use]
    pub const fn goes_on(self) -> bool {
        matches!(self.effect(), Effect::GoesOn)
    }

    /// Whether this change of the row begins a new life of the instance: what was known of the API
    /// behind the old key, port or provider says nothing about the new one.
    #[must_use]
    pub const fn begins_anew(self) -> bool {
        matches!(self.effect(), Effect::Anew)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
