//! As much HTTP/1.1 as a stub needs, by hand, because a proper server would not misbehave.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request's head may hold a key of 100 kB.
const HEAD_LIMIT: usize = 256 * 1024;

const DRIP: Duration = Duration::from_millis(200);

/// The head of a request.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<Vec<u8>>,
    pub(super) close: bool,
}

/// Reads one head; `None` when the connection ended or what came is no request.
pub(super) async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> Option<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() > HEAD_LIMIT {
            return None;
        }
        bytes.push(from.read_u8().await.ok()?);
    }
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let request = String::from_utf8_lossy(lines.next()?).into_owned();
    let mut words = request.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut authorization, mut close) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (
            line[..colon].to_ascii_lowercase(),
            line[colon + 1..].trim_ascii(),
        );
        match name.as_slice() {
            b"authorization" => authorization = Some(value.to_vec()),
            b"connection" => close = value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
    }
    Some(Head {
        method,
        path,
        authorization,
        close,
    })
}

/// What is sent back, and how.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
    /// Instead of `body`: a JSON string of so many bytes.
    pub(super) filler: usize,
    pub(super) drip_head: bool,
    pub(super) drip_body: bool,
}

impl Answer {
    pub(super) fn json(text: &str) -> Self {
        let body = text.as_bytes().to_vec();
        Self {
            status: 200,
            content_type: "application/json; charset=utf-8",
            body,
            ..Self::default()
        }
    }

    /// Sends it; an error means that the other side has gone, which is its right.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let Self {
            status,
            content_type,
            ..
        } = self;
        let length = self.body.len().max(self.filler);
        let mut head = format!(
            "HTTP/1.1 {status} Stub\r\ncontent-length: {length}\r\nkeep-alive: timeout=5\r\n"
        );
        if !content_type.is_empty() {
            head.push_str(&format!("content-type: {content_type}\r\n"));
        }
        if let Some(location) = &self.location {
            head.push_str(&format!("location: {location}\r\n"));
        }
        head.push_str("\r\n");
        if !self.drip_head && !self.drip_body && self.filler == 0 {
            return to.write_all(&[head.as_bytes(), &self.body].concat()).await;
        }
        write(to, head.as_bytes(), self.drip_head).await?;
        write(to, &self.body, self.drip_body).await?;
        self.fill(to).await
    }

    async fn fill(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.filler < 2 {
            return Ok(());
        }
        let chunk = vec![b'x'; 64 * 1024];
        let mut left = self.filler - 2;
        to.write_all(b"\"").await?;
        while left > 0 {
            let size = left.min(chunk.len());
            to.write_all(&chunk[..size]).await?;
            left -= size;
        }
        to.write_all(b"\"").await
    }
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    drip: bool,
) -> std::io::Result<()> {
    if !drip {
        return to.write_all(bytes).await;
    }
    for byte in bytes {
        to.write_all(&[*byte]).await?;
        to.flush().await?;
        tokio::time::sleep(DRIP).await;
    }
    Ok(())
}
