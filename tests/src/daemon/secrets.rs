//! What of a daemon's settings must not be shown when a test fails.

use super::Setting;
use crate::connection_url;

/// The passwords in these settings, as written in a URL and as the server gets them.
pub(super) fn secrets(url: &str, settings: &[Setting<'_>]) -> Vec<String> {
    let urls: Vec<&str> = settings
        .iter()
        .map(|(_, value)| *value)
        .chain([url])
        .collect();
    // As written in the URL, and as the server gets it.
    let written = urls
        .iter()
        .filter_map(|url| connection_url::password(url))
        .map(str::to_owned);
    let configs = urls
        .iter()
        .filter_map(|url| url.parse::<tokio_postgres::Config>().ok());
    let decoded = configs
        .filter_map(|config| Some(String::from_utf8_lossy(config.get_password()?).into_owned()));
    let named = settings
        .iter()
        .filter(|(name, _)| name.ends_with("PASSWORD"))
        .map(|(_, value)| *value);
    let named = named.map(str::to_owned);
    written
        .chain(decoded)
        .chain(named)
        .filter(|secret| !secret.is_empty())
        .collect()
}

/// The text without the passwords in these settings, for what is shown to people.
#[must_use]
pub fn without_secrets(text: &str, url: &str, settings: &[Setting<'_>]) -> String {
    redact(text, &secrets(url, settings))
}

/// The text with each of these replaced.
pub(super) fn redact(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret, "[secret]")
    })
}
