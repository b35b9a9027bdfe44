//! The closed list of reasons that stand beside a status.

use std::fmt;

use crate::AuthStatus;

/// What kind of not-being-ready a reason is. A streak of the same kind is what patience is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// No usable answer, or one that says that the provider has an error: in turn, too, they are one
    /// streak, else an API that fails in two ways would never be failed.
    NotReady,
    /// An answer that says: not connected.
    NotConnected,
}

/// What a reason speaks of; everything that depends on a reason depends on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The API is ready.
    Ready,
    /// The API is on its way, and says how far it is.
    OnTheWay,
    /// The row is not complete, not usable, or cannot be written.
    Row,
    /// The container.
    Container,
    /// The API, which gives no usable answer.
    NoAnswer,
    /// The API, which says that its provider has an error.
    ProviderError,
    /// The API, which says that it is not connected.
    NotConnected,
    /// Hands are off it.
    HandsOff,
}

/// One line a reason: its name, which is the word for programs and people, and what it speaks of.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident: $kind:ident;)+) => {
        /// Why an instance has the status it has: one CamelCase word for programs and people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word as it stands in views and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)+
                }
            }
        }
    };
}

reasons! {
    /// The API answered READY with proof of who it is.
    Ready: Ready;
    /// Logged in at the provider, not able to send yet.
    Authenticated: OnTheWay;
    /// A QR code waits to be scanned.
    AwaitingScan: OnTheWay;
    /// The row has no API key.
    AwaitingApiKey: Row;
    /// The row has no port, or no container was seen yet.
    AwaitingContainer: Container;
    /// The container exited, died or was removed.
    ContainerStopped: Container;
    /// The container is paused.
    ContainerPaused: Container;
    /// The API does not answer yet.
    ApiStarting: NoAnswer;
    /// The API was ready and does not answer any more.
    ApiUnresponsive: NoAnswer;
    /// The API answered 404: something else listens there, or the path is unknown to it.
    ApiNotFound: NoAnswer;
    /// The API answered another 4xx.
    ApiClientError: NoAnswer;
    /// The API answered 5xx.
    ApiServerError: NoAnswer;
    /// The API answered with a redirect; it is never followed, as it would carry the key elsewhere.
    ApiRedirected: NoAnswer;
    /// The answer is not what the provider's API says.
    ApiMalformed: NoAnswer;
    /// The answer is larger than the cap.
    ApiTooLarge: NoAnswer;
    /// The API answered 401 or 403.
    ApiKeyRejected: NoAnswer;
    /// Telegram: answering, not connected yet.
    TelegramConnecting: NotConnected;
    /// Telegram: not connected for longer than a start can take.
    TelegramNotConnected: NotConnected;
    /// Telegram: the API reports an error of Telegram.
    TelegramError: ProviderError;
    /// WhatsApp: answering, not connected yet.
    WhatsappConnecting: NotConnected;
    /// WhatsApp: not connected for longer than a start can take.
    WhatsappNotConnected: NotConnected;
    /// WhatsApp: the API reports an error of WhatsApp.
    WhatsappError: ProviderError;
    /// The key cannot be sent in an HTTP header.
    InvalidApiKey: Row;
    /// The port is not one.
    InvalidPort: Row;
    /// No profile for this provider: hands off.
    UnsupportedProvider: HandsOff;
    /// The row is not of type `api`: hands off.
    UnsupportedType: HandsOff;
    /// An operator paused it: hands off.
    Paused: HandsOff;
    /// The table refuses the status: a check, a type, a trigger.
    Unwritable: Row;
}

impl Reason {
    /// Reads a recorded word; `None` for one that a newer version wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.as_str() == text)
    }

    /// The kind of streak that this reason continues, if it is one.
    #[must_use]
    pub const fn streak(self) -> Option<Streak> {
        match self.kind() {
            Kind::NoAnswer | Kind::ProviderError => Some(Streak::NotReady),
            Kind::NotConnected => Some(Streak::NotConnected),
            Kind::Ready | Kind::OnTheWay | Kind::Row | Kind::Container | Kind::HandsOff => None,
        }
    }

    /// Whether the API told of an error of its provider.
    #[must_use]
    pub const fn is_provider_error(self) -> bool {
        matches!(self.kind(), Kind::ProviderError)
    }

    /// Whether the column is left alone.
    #[must_use]
    pub const fn is_hands_off(self) -> bool {
        matches!(self.kind(), Kind::HandsOff)
    }

    /// Whether it is what everything converges to.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self.kind(), Kind::Ready)
    }

    /// Whether it speaks of the container alone: once the container runs it says nothing any more.
    #[must_use]
    pub const fn of_container(self) -> bool {
        matches!(self.kind(), Kind::Container)
    }

    /// Whether an instance with this reason and `status` is in trouble at once (`Some(false)` means
    /// only after the grace time, `None` never).
    #[must_use]
    pub fn trouble_at_once(self, status: Option<AuthStatus>) -> Option<bool> {
        if status == Some(AuthStatus::Failed) {
            return Some(true);
        }
        match self.kind() {
            Kind::Ready | Kind::OnTheWay | Kind::HandsOff => None,
            Kind::Row
            | Kind::Container
            | Kind::NoAnswer
            | Kind::ProviderError
            | Kind::NotConnected => Some(false),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
