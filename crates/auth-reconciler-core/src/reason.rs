//! The closed list of reasons that stand beside a status.

use std::fmt;

use crate::AuthStatus;

/// Why an instance has the status it has: one CamelCase word for programs and people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The API answered READY with proof of who it is.
    Ready,
    /// Logged in at the provider, not able to send yet.
    Authenticated,
    /// A QR code waits to be scanned.
    AwaitingScan,
    /// The row has no API key.
    AwaitingApiKey,
    /// The row has no port, or no container was seen yet.
    AwaitingContainer,
    /// The container exited, died or was removed.
    ContainerStopped,
    /// The container is paused.
    ContainerPaused,
    /// The API does not answer yet.
    ApiStarting,
    /// The API was ready and does not answer any more.
    ApiUnresponsive,
    /// The API answered 404: something else listens there, or the path is unknown to it.
    ApiNotFound,
    /// The API answered another 4xx.
    ApiClientError,
    /// The API answered 5xx.
    ApiServerError,
    /// The API answered with a redirect; it is never followed, as it would carry the key elsewhere.
    ApiRedirected,
    /// The answer is not what the provider's API says.
    ApiMalformed,
    /// The answer is larger than the cap.
    ApiTooLarge,
    /// The API answered 401 or 403.
    ApiKeyRejected,
    /// Telegram: answering, not connected yet.
    TelegramConnecting,
    /// Telegram: not connected for longer than a start can take.
    TelegramNotConnected,
    /// Telegram: the API reports an error of Telegram.
    TelegramError,
    /// WhatsApp: answering, not connected yet.
    WhatsappConnecting,
    /// WhatsApp: not connected for longer than a start can take.
    WhatsappNotConnected,
    /// WhatsApp: the API reports an error of WhatsApp.
    WhatsappError,
    /// The key cannot be sent in an HTTP header.
    InvalidApiKey,
    /// The port is not one.
    InvalidPort,
    /// No profile for this provider: hands off.
    UnsupportedProvider,
    /// The row is not of type `api`: hands off.
    UnsupportedType,
    /// An operator paused it: hands off.
    Paused,
    /// The table refuses the status: a check, a type, a trigger.
    Unwritable,
}

/// What kind of not-being-ready a reason is. A streak of the same kind is what patience is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// No usable answer, or one that says that the provider has an error: in turn, too, they are one
    /// streak, else an API that fails in two ways would never be failed.
    NotReady,
    /// An answer that says: not connected.
    NotConnected,
}

impl Reason {
    const ALL: [Self; 28] = [
        Self::Ready,
        Self::Authenticated,
        Self::AwaitingScan,
        Self::AwaitingApiKey,
        Self::AwaitingContainer,
        Self::ContainerStopped,
        Self::ContainerPaused,
        Self::ApiStarting,
        Self::ApiUnresponsive,
        Self::ApiNotFound,
        Self::ApiClientError,
        Self::ApiServerError,
        Self::ApiRedirected,
        Self::ApiMalformed,
        Self::ApiTooLarge,
        Self::ApiKeyRejected,
        Self::TelegramConnecting,
        Self::TelegramNotConnected,
        Self::TelegramError,
        Self::WhatsappConnecting,
        Self::WhatsappNotConnected,
        Self::WhatsappError,
        Self::InvalidApiKey,
        Self::InvalidPort,
        Self::UnsupportedProvider,
        Self::UnsupportedType,
        Self::Paused,
        Self::Unwritable,
    ];

    /// The word as it stands in views and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Authenticated => "Authenticated",
            Self::AwaitingScan => "AwaitingScan",
            Self::AwaitingApiKey => "AwaitingApiKey",
            Self::AwaitingContainer => "AwaitingContainer",
            Self::ContainerStopped => "ContainerStopped",
            Self::ContainerPaused => "ContainerPaused",
            Self::ApiStarting => "ApiStarting",
            Self::ApiUnresponsive => "ApiUnresponsive",
            Self::ApiNotFound => "ApiNotFound",
            Self::ApiClientError => "ApiClientError",
            Self::ApiServerError => "ApiServerError",
            Self::ApiRedirected => "ApiRedirected",
            Self::ApiMalformed => "ApiMalformed",
            Self::ApiTooLarge => "ApiTooLarge",
            Self::ApiKeyRejected => "ApiKeyRejected",
            Self::TelegramConnecting => "TelegramConnecting",
            Self::TelegramNotConnected => "TelegramNotConnected",
            Self::TelegramError => "TelegramError",
            Self::WhatsappConnecting => "WhatsappConnecting",
            Self::WhatsappNotConnected => "WhatsappNotConnected",
            Self::WhatsappError => "WhatsappError",
            Self::InvalidApiKey => "InvalidApiKey",
            Self::InvalidPort => "InvalidPort",
            Self::UnsupportedProvider => "UnsupportedProvider",
            Self::UnsupportedType => "UnsupportedType",
            Self::Paused => "Paused",
            Self::Unwritable => "Unwritable",
        }
    }

    /// Reads a recorded word; `None` for one that a newer version wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The kind of streak that this reason continues, if it is one.
    #[must_use]
    pub const fn streak(self) -> Option<Streak> {
        match self {
            Self::ApiStarting
            | Self::ApiUnresponsive
            | Self::ApiNotFound
            | Self::ApiClientError
            | Self::ApiServerError
            | Self::ApiRedirected
            | Self::ApiMalformed
            | Self::ApiTooLarge
            | Self::ApiKeyRejected
            | Self::TelegramError
            | Self::WhatsappError => Some(Streak::NotReady),
            Self::TelegramConnecting
            | Self::TelegramNotConnected
            | Self::WhatsappConnecting
            | Self::WhatsappNotConnected => Some(Streak::NotConnected),
            Self::Ready
            | Self::Authenticated
            | Self::AwaitingScan
            | Self::AwaitingApiKey
            | Self::AwaitingContainer
            | Self::ContainerStopped
            | Self::ContainerPaused
            | Self::InvalidApiKey
            | Self::InvalidPort
            | Self::UnsupportedProvider
            | Self::UnsupportedType
            | Self::Paused
            | Self::Unwritable => None,
        }
    }

    /// Whether the API told of an error of its provider.
    #[must_use]
    pub fn is_provider_error(self) -> bool {
        matches!(self, Self::TelegramError | Self::WhatsappError)
    }

    /// Whether the column is left alone.
    #[must_use]
    pub fn is_hands_off(self) -> bool {
        matches!(
            self,
            Self::UnsupportedProvider | Self::UnsupportedType | Self::Paused
        )
    }

    /// Whether it is what everything converges to.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether it speaks of the container alone: once the container runs it says nothing any more.
    #[must_use]
    pub const fn of_container(self) -> bool {
        match self {
            Self::AwaitingContainer | Self::ContainerStopped | Self::ContainerPaused => true,
            Self::Ready
            | Self::Authenticated
            | Self::AwaitingScan
            | Self::AwaitingApiKey
            | Self::ApiStarting
            | Self::ApiUnresponsive
            | Self::ApiNotFound
            | Self::ApiClientError
            | Self::ApiServerError
            | Self::ApiRedirected
            | Self::ApiMalformed
            | Self::ApiTooLarge
            | Self::ApiKeyRejected
            | Self::TelegramConnecting
            | Self::TelegramNotConnected
            | Self::TelegramError
            | Self::WhatsappConnecting
            | Self::WhatsappNotConnected
            | Self::WhatsappError
            | Self::InvalidApiKey
            | Self::InvalidPort
            | Self::UnsupportedProvider
            | Self::UnsupportedType
            | Self::Paused
            | Self::Unwritable => false,
        }
    }

    /// Whether an instance with this reason and `status` is in trouble at once (`Some(false)` means
    /// only after the grace time, `None` never).
    #[must_use]
    pub fn trouble_at_once(self, status: Option<AuthStatus>) -> Option<bool> {
        if status == Some(AuthStatus::Failed) {
            return Some(true);
        }
        match self {
            Self::Ready
            | Self::Authenticated
            | Self::AwaitingScan
            | Self::UnsupportedProvider
            | Self::UnsupportedType
            | Self::Paused => None,
            Self::AwaitingApiKey
            | Self::AwaitingContainer
            | Self::ContainerStopped
            | Self::ContainerPaused
            | Self::ApiStarting
            | Self::ApiUnresponsive
            | Self::ApiNotFound
            | Self::ApiClientError
            | Self::ApiServerError
            | Self::ApiRedirected
            | Self::ApiMalformed
            | Self::ApiTooLarge
            | Self::ApiKeyRejected
            | Self::TelegramConnecting
            | Self::TelegramNotConnected
            | Self::TelegramError
            | Self::WhatsappConnecting
            | Self::WhatsappNotConnected
            | Self::WhatsappError
            | Self::InvalidApiKey
            | Self::InvalidPort
            | Self::Unwritable => Some(false),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
