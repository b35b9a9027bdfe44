//! Why a look happens. A cause goes to the log and the history; the key alone says what to do.

use std::fmt;

/// What asked for a look. The order is the order of telling: when several causes merge, the
/// greatest one is the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The backoff deadline of an instance that is not final, or the retry after a passing error.
    Backoff,
    /// Another instance is silent, and this one's word is wanted: is it our own way that is at fault?
    Witness,
    /// Its container wrote something while it was not final yet.
    Output,
    /// The daemon compared everything after a gap in hearing (start, take-over, new ear session).
    Resync,
    /// A change row whose cause this version does not know.
    Other,
    /// `watch()` attached the triggers; every existing row is looked at once.
    Watch,
    /// Somebody else changed `auth_status`.
    Drift,
    /// An operator called `reconcile` or `reconcile_all`.
    Operator,
    /// The engine shows another container, or another state of it, than what was recorded: found after a gap in hearing.
    Compared,
    /// Its container was made.
    Created,
    /// Its container was renamed.
    Renamed,
    /// The health check of its container changed its mind.
    Health,
    /// Its container ran out of memory.
    OutOfMemory,
    /// Its container was sent a signal.
    Killed,
    /// Its container was stopped.
    Stopped,
    /// Its container was removed.
    Destroyed,
    /// Its container was paused.
    Paused,
    /// Its container goes on.
    Unpaused,
    /// Its container ended.
    Died,
    /// Its container was restarted.
    Restarted,
    /// Its container was started.
    Started,
    /// The table was truncated.
    Truncate,
    /// The row was deleted.
    Delete,
    /// The primary key of the row was changed.
    Id,
    /// A write repeated the value of `api_key` or `account` (watched with `assigned => true` only): a
    /// sign that the container started again.
    Assigned,
    /// `type_instance` changed.
    Type,
    /// `provider` changed.
    Provider,
    /// `port_api` changed.
    Port,
    /// The row was inserted.
    Insert,
    /// `api_key` changed.
    ApiKey,
    /// `account` changed.
    Account,
}

impl Cause {
    const ALL: [Self; 31] = [
        Self::Backoff,
        Self::Witness,
        Self::Output,
        Self::Resync,
        Self::Other,
        Self::Watch,
        Self::Drift,
        Self::Operator,
        Self::Compared,
        Self::Created,
        Self::Renamed,
        Self::Health,
        Self::OutOfMemory,
        Self::Killed,
        Self::Stopped,
        Self::Destroyed,
        Self::Paused,
        Self::Unpaused,
        Self::Died,
        Self::Restarted,
        Self::Started,
        Self::Truncate,
        Self::Delete,
        Self::Id,
        Self::Assigned,
        Self::Type,
        Self::Provider,
        Self::Port,
        Self::Insert,
        Self::ApiKey,
        Self::Account,
    ];

    /// The word that stands in the change log, in the history and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Witness => "witness",
            Self::Output => "container output",
            Self::Resync => "resync",
            Self::Other => "other",
            Self::Watch => "watch",
            Self::Drift => "drift",
            Self::Operator => "operator",
            Self::Compared => "container change",
            Self::Created => "container create",
            Self::Renamed => "container rename",
            Self::Health => "container health",
            Self::OutOfMemory => "container oom",
            Self::Killed => "container kill",
            Self::Stopped => "container stop",
            Self::Destroyed => "container destroy",
            Self::Paused => "container pause",
            Self::Unpaused => "container unpause",
            Self::Died => "container die",
            Self::Restarted => "container restart",
            Self::Started => "container start",
            Self::Truncate => "truncate",
            Self::Delete => "delete",
            Self::Id => "id",
            Self::Assigned => "assigned",
            Self::Type => "type_instance",
            Self::Provider => "provider",
            Self::Port => "port_api",
            Self::Insert => "insert",
            Self::ApiKey => "api_key",
            Self::Account => "account",
        }
    }

    /// Reads a word of the change log; one that is not known is [`Cause::Other`], never an error:
    /// a change is a change whatever it is called.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .unwrap_or(Self::Other)
    }

    /// Whether the container's process began, ended or was held with it, so that what a run has seen or
    /// been answered before says nothing any more.
    #[must_use]
    pub const fn changes_container(self) -> bool {
        match self {
            Self::OutOfMemory
            | Self::Killed
            | Self::Stopped
            | Self::Destroyed
            | Self::Paused
            | Self::Unpaused
            | Self::Died
            | Self::Restarted
            | Self::Started => true,
            Self::Backoff
            | Self::Witness
            | Self::Output
            | Self::Resync
            | Self::Other
            | Self::Watch
            | Self::Drift
            | Self::Operator
            | Self::Compared
            | Self::Created
            | Self::Renamed
            | Self::Health
            | Self::Truncate
            | Self::Delete
            | Self::Id
            | Self::Assigned
            | Self::Type
            | Self::Provider
            | Self::Port
            | Self::Insert
            | Self::ApiKey
            | Self::Account => false,
        }
    }

    /// Whether the container's process goes on, from its beginning or from where it was held: what was spent
    /// on it before is not to be missing now.
    #[must_use]
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Started | Self::Restarted | Self::Unpaused)
    }

    /// Reads the name of an engine's event; `None` for one that says nothing about an instance.
    #[must_use]
    pub fn of_event(action: &str) -> Option<Self> {
        // `health_status: healthy`
        let name = action.split(':').next().unwrap_or(action);
        Some(match name {
            "create" => Self::Created,
            "rename" => Self::Renamed,
            "health_status" => Self::Health,
            "oom" => Self::OutOfMemory,
            "kill" => Self::Killed,
            "stop" => Self::Stopped,
            // Podman's words beside Docker's.
            "destroy" | "remove" => Self::Destroyed,
            "pause" => Self::Paused,
            "unpause" => Self::Unpaused,
            "die" | "died" => Self::Died,
            "restart" => Self::Restarted,
            "start" | "restore" => Self::Started,
            _ => return None,
        })
    }

    /// Whether this change of the row begins a new life of the instance: what was known of the API
    /// behind the old key, port or provider says nothing about the new one.
    #[must_use]
    pub const fn begins_anew(self) -> bool {
        match self {
            Self::Insert
            | Self::ApiKey
            | Self::Port
            | Self::Provider
            | Self::Assigned
            | Self::Type
            | Self::Id => true,
            Self::Backoff
            | Self::Witness
            | Self::Output
            | Self::Resync
            | Self::Other
            | Self::Watch
            | Self::Drift
            | Self::Operator
            | Self::Compared
            | Self::Created
            | Self::Renamed
            | Self::Health
            | Self::OutOfMemory
            | Self::Killed
            | Self::Stopped
            | Self::Destroyed
            | Self::Paused
            | Self::Unpaused
            | Self::Died
            | Self::Restarted
            | Self::Started
            | Self::Truncate
            | Self::Delete
            | Self::Account => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
