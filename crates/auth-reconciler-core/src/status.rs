//! The vocabulary of the `auth_status` column. It is the manager's, not ours.

use std::fmt;

use serde::Serialize;

/// A value that the manager and its users know in `auth_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthStatus {
    /// Not ready, and nothing says that it will not become so.
    Pending,
    /// Waits for somebody to scan a QR code (WhatsApp).
    QrReady,
    /// Logged in, not yet able to send (WhatsApp).
    Authenticated,
    /// Ready: its API said so about itself.
    ClientReady,
    /// Not working, and it will not recover by waiting alone.
    Failed,
}

impl AuthStatus {
    /// Every status, in the order of a successful start.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::QrReady,
        Self::Authenticated,
        Self::ClientReady,
        Self::Failed,
    ];

    /// Whether it says that something of the instance works: good news, which needs an answer.
    #[must_use]
    pub const fn is_good(self) -> bool {
        match self {
            Self::QrReady | Self::Authenticated | Self::ClientReady => true,
            Self::Pending | Self::Failed => false,
        }
    }

    /// The value as it stands in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::QrReady => "qr_ready",
            Self::Authenticated => "authenticated",
            Self::ClientReady => "client_ready",
            Self::Failed => "failed",
        }
    }

    /// Reads a column value; `None` for one outside the vocabulary (the split layout of the manager
    /// starts with `ready`, for example).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for AuthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manager's words, and which of them are good news.
    #[test]
    fn every_status_is_written_and_read_as_the_manager_knows_it() {
        for (status, word, good) in [
            (AuthStatus::Pending, "pending", false),
            (AuthStatus::QrReady, "qr_ready", true),
            (AuthStatus::Authenticated, "authenticated", true),
            (AuthStatus::ClientReady, "client_ready", true),
            (AuthStatus::Failed, "failed", false),
        ] {
            assert_eq!((status.as_str(), status.is_good()), (word, good));
            assert_eq!(status.to_string(), word);
            assert_eq!(AuthStatus::parse(word), Some(status));
        }
        for word in ["ready", "Pending", "failed ", ""] {
            assert_eq!(AuthStatus::parse(word), None, "{word}");
        }
    }
}
