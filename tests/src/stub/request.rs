//! The course of a request, and who is told of it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Shared;

/// How far a request that is not of the control has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It has come.
    Came,
    /// Its answer is about to go.
    Answers,
    /// Its answer has gone.
    Answered,
}

/// Is told of each request and its path, as a server's request log is.
pub type Journal = Arc<dyn Fn(Served, &str) + Send + Sync>;

/// Ends a request's being open, whatever ends it.
pub(super) struct Open<'a>(pub(super) &'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0
            .counts
            .send_modify(|counts| counts.open = counts.open.saturating_sub(1));
    }
}

/// Waits until the other side has closed the connection; whatever else it says meanwhile is dropped.
pub(super) async fn gone(read: &mut (impl AsyncRead + Unpin)) {
    while read.read_u8().await.is_ok() {}
}
