//! What every reason is called and leads to, as programs that read the views know it.

use super::*;

/// The streak (`n` not ready, `c` not connected), whether it is trouble after a while (`t`), whether it speaks of the
/// container (`k`), of an error of the provider (`e`), or that hands are off (`h`).
const RIGHT: [(&str, &str); 28] = [
    ("Ready", ""),
    ("Authenticated", ""),
    ("AwaitingScan", ""),
    ("AwaitingApiKey", "t"),
    ("AwaitingContainer", "t k"),
    ("ContainerStopped", "t k"),
    ("ContainerPaused", "t k"),
    ("ApiStarting", "n t"),
    ("ApiUnresponsive", "n t"),
    ("ApiNotFound", "n t"),
    ("ApiClientError", "n t"),
    ("ApiServerError", "n t"),
    ("ApiRedirected", "n t"),
    ("ApiMalformed", "n t"),
    ("ApiTooLarge", "n t"),
    ("ApiKeyRejected", "n t"),
    ("TelegramConnecting", "c t"),
    ("TelegramNotConnected", "c t"),
    ("TelegramError", "n t e"),
    ("WhatsappConnecting", "c t"),
    ("WhatsappNotConnected", "c t"),
    ("WhatsappError", "n t e"),
    ("InvalidApiKey", "t"),
    ("InvalidPort", "t"),
    ("UnsupportedProvider", "h"),
    ("UnsupportedType", "h"),
    ("Paused", "h"),
    ("Unwritable", "t"),
];

#[test]
fn every_reason_is_worth_what_its_word_says() {
    assert_eq!(Reason::ALL.len(), RIGHT.len());
    for (word, right) in RIGHT {
        let reason = Reason::parse(word).unwrap_or_else(|| panic!("{word}"));
        assert_eq!(reason.to_string(), word);
        let is = |mark| right.contains(mark);
        let streak = match reason.streak() {
            Some(Streak::NotReady) => 'n',
            Some(Streak::NotConnected) => 'c',
            None => '-',
        };
        assert_eq!(streak != '-', is('n') || is('c'), "{word}");
        assert!(streak == '-' || is(streak), "{word}");
        assert_eq!(reason.is_provider_error(), is('e'), "{word}");
        assert_eq!(reason.of_container(), is('k'), "{word}");
        assert_eq!(reason.is_hands_off(), is('h'), "{word}");
        assert_eq!(reason.is_ready(), word == "Ready", "{word}");
        let pending = reason.trouble_at_once(Some(AuthStatus::Pending));
        assert_eq!(pending, is('t').then_some(false), "{word}");
        let failed = reason.trouble_at_once(Some(AuthStatus::Failed));
        assert_eq!(failed, Some(true), "{word}: a failure is trouble at once");
    }
    assert_eq!(Reason::parse("AWordOfANewerVersion"), None);
}
