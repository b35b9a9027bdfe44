//! A session that listens, for whoever witnesses what is rung.

use std::future::poll_fn;

use anyhow::{Context, Result};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Connects, and gives each payload that the session hears to `hear`, until that fails or the session ends, which it
/// does with its client; then `ended` is told why. The caller says LISTEN.
///
/// # Errors
/// When the server cannot be reached or refuses; the message does not show the URL.
pub async fn connect(
    url: &str,
    mut hear: impl FnMut(&str) -> Result<()> + Send + 'static,
    ended: impl FnOnce(String) + Send + 'static,
) -> Result<Client> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("cannot connect to listen")?;
    tokio::spawn(async move {
        let why = loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(ring))) => {
                    if let Err(error) = hear(ring.payload()) {
                        break format!("{error:#}");
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.to_string(),
                None => break "closed".to_owned(),
            }
        };
        ended(why);
    });
    Ok(client)
}
