//! The API key: carried, never shown.

use std::fmt;

/// Longest key that is sent, in bytes. Node's HTTP server refuses headers over 16 KiB in all, so a
/// longer key could never be accepted by the containers.
pub const MAX_KEY_BYTES: usize = 8 * 1024;

/// A key that can stand in an HTTP header. Its debug output is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Why a key cannot be sent. Says what is wrong, never what the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It holds a control character (a line break, for example) or one outside ASCII.
    NotPrintable,
    /// It begins or ends with a blank, which HTTP would strip: another key would arrive.
    OuterBlank,
    /// It is longer than [`MAX_KEY_BYTES`].
    TooLong,
}

impl KeyFault {
    /// The end of the sentence "the API key …".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPrintable => {
                "holds a character that an HTTP header cannot carry (only printable ASCII can)"
            }
            Self::OuterBlank => "begins or ends with a blank, which HTTP would strip",
            Self::TooLong => "is longer than 8192 bytes",
        }
    }
}

impl ApiKey {
    /// Checks a column value. An empty one is no key: `Ok(None)`.
    ///
    /// # Errors
    /// What makes the key unusable in a header.
    pub fn parse(text: &str) -> Result<Option<Self>, KeyFault> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyFault::TooLong);
        }
        if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(KeyFault::NotPrintable);
        }
        if text.trim_matches(' ').len() != text.len() {
            return Err(KeyFault::OuterBlank);
        }
        Ok(Some(Self(text.to_owned())))
    }

    /// The key itself, for the one place that puts it into a request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_cannot_carry_is_named_and_nothing_is_shown() {
        assert_eq!(ApiKey::parse(""), Ok(None));
        for bad in [
            "a\r\nHost: evil",
            "a\nb",
            "a\0",
            "schlüssel",
            "tab\tbed",
            "\u{7f}",
        ] {
            assert_eq!(ApiKey::parse(bad), Err(KeyFault::NotPrintable));
        }
        assert_eq!(ApiKey::parse(" key"), Err(KeyFault::OuterBlank));
        assert_eq!(ApiKey::parse("   "), Err(KeyFault::OuterBlank));
        assert_eq!(ApiKey::parse(&"k".repeat(100_000)), Err(KeyFault::TooLong));
        let key = ApiKey::parse("a plain-key_1")
            .expect("usable")
            .expect("present");
        assert_eq!(key.expose(), "a plain-key_1");
        assert_eq!(format!("{key:?}"), "ApiKey(redacted)");
    }

    #[test]
    fn the_longest_key_that_is_sent_has_8192_bytes() {
        let key = |bytes| ApiKey::parse(&"k".repeat(bytes)).map(|key| key.is_some());
        assert_eq!(key(8_192), Ok(true));
        assert_eq!(key(8_193), Err(KeyFault::TooLong));
    }
}
