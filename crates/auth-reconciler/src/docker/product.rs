//! Which engine it is, and whether this version was tried with it.

use std::fmt;

/// The engines that this version was tried with, each from which version on.
const KNOWN: [(&str, (u32, u32)); 2] = [("Docker", (20, 10)), ("Libpod", (4, 3))];

/// What an engine calls itself, as `Docker/20.10.24 (linux)` or `Libpod/4.3.1 (linux)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Product(pub(super) String);

impl Product {
    /// The sentence that says which engines are supported.
    pub(crate) const SUPPORTED: &str =
        "supported are Docker Engine from 20.10 on and Podman from 4.3 on";

    /// Whether it is one of those.
    pub(crate) fn is_supported(&self) -> bool {
        let Some((name, version)) = self.0.split_once('/') else {
            return false;
        };
        let mut numbers = version
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|digits| digits.parse().ok());
        let (Some(major), minor) = (numbers.next(), numbers.next().unwrap_or(0)) else {
            return false;
        };
        KNOWN
            .iter()
            .any(|(known, least)| *known == name && (major, minor) >= *least)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_known_by_name_and_version() {
        for (told, supported) in [
            ("Docker/20.10.24+dfsg1 (linux)", true),
            ("Docker/29.0.1 (linux)", true),
            ("Docker/19.03.15 (linux)", false),
            ("Libpod/4.3.1 (linux)", true),
            ("Libpod/5.2.0 (linux)", true),
            ("Libpod/3.4.4 (linux)", false),
            ("nginx/1.25", false),
            ("Docker", false),
            ("Docker/x", false),
            ("", false),
        ] {
            assert_eq!(Product(told.to_owned()).is_supported(), supported, "{told}");
        }
    }
}
