//! Where the lines go: standard output, coloured where that is wanted.

use std::io::{self, IsTerminal, Write};

use tokio::io::Interest;
use tokio::net::unix::pipe;
use tracing::debug;

use super::event::{Event, Tone};
use crate::command::Unwritten;
use crate::settings::Color;

/// Standard output.
pub(super) struct Screen {
    json: bool,
    colored: bool,
}

impl Screen {
    pub(super) fn new(json: bool, color: Color) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            json,
            colored: !json
                && match color {
                    Color::Auto => io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
                    Color::Always => true,
                    Color::Never => false,
                },
        }
    }

    /// Writes these. On a thread of its own: a terminal that is stopped must keep nobody from ending the program.
    ///
    /// # Errors
    /// They could not be written, for nobody reads any more or for another reason.
    pub(super) async fn show(&self, events: &[Event]) -> Result<(), Unwritten> {
        let mut lines = String::new();
        for event in events {
            if self.json {
                match serde_json::to_string(event) {
                    Ok(line) => lines.push_str(&(line + "\n")),
                    Err(error) => debug!(%error, "an event is no JSON"),
                }
            } else {
                for (tone, line) in event.lines() {
                    lines.push_str(&self.painted(tone, &line));
                    lines.push('\n');
                }
            }
        }
        let written = tokio::task::spawn_blocking(move || {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(lines.as_bytes())
                .and_then(|()| stdout.flush())
        });
        written.await.map_err(io::Error::other)??;
        Ok(())
    }

    /// Resolves when standard output is a pipe and its reader is gone; else never. The kernel tells it without a write.
    pub(super) fn unread(&self) -> impl Future<Output = ()> + use<> {
        async {
            // Opened anew: what makes it asynchronous would hold for everybody who shares ours.
            if let Ok(pipe) = pipe::OpenOptions::new().open_sender("/dev/stdout") {
                while let Ok(ready) = pipe.ready(Interest::ERROR).await {
                    if ready.is_error() || ready.is_write_closed() {
                        return;
                    }
                }
            }
            std::future::pending().await
        }
    }

    fn painted(&self, tone: Tone, line: &str) -> String {
        if !self.colored {
            return line.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Under => "33",
            Tone::Aside => "2",
            Tone::Alarm => "1;35",
        };
        format!("\x1b[{code}m{line}\x1b[0m")
    }
}
