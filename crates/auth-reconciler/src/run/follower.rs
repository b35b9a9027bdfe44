//! Follows the output of one container.

use std::sync::Arc;

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::FollowerEnded;
use auth_reconciler_core::follow::Sound;
use tokio::task::JoinHandle;

use crate::docker::lines::Counted;
use crate::docker::sightings::Sightings;
use crate::docker::watch::Watch;
use crate::docker::{Engine, EngineError};

/// A task that follows; dropping it ends that.
#[derive(Debug)]
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follower {
    /// Begins; `serial` is told with its end. Lines that hold `path` are counted for themselves.
    pub(super) fn begin(
        watch: &Watch,
        key: Key,
        serial: u64,
        container: String,
        path: &'static str,
    ) -> Self {
        let (engine, sightings) = (Arc::clone(watch.engine()), Arc::clone(watch.sightings()));
        Self(tokio::spawn(async move {
            let unreadable = follow(&engine, &sightings, key, &container, path).await;
            sightings.ended(FollowerEnded {
                key,
                serial,
                unreadable,
            });
        }))
    }
}

/// Until its end; why it cannot be followed at all, if so.
async fn follow(
    engine: &Engine,
    sightings: &Sightings,
    key: Key,
    container: &str,
    path: &'static str,
) -> Option<String> {
    let mut output = match engine.output(container, path).await {
        Ok(output) => output,
        Err(EngineError::Refused { status, message })
            if matches!(status, 400 | 409 | 500 | 501) =>
        {
            return Some(format!("{status}: {message}"));
        }
        // Gone, or the way to the engine: it is followed again if a look says so.
        Err(_) => return None,
    };
    let mut began = false;
    while let Some(mut said) = output.more().await {
        if !began {
            began = true;
            // Its last line of before, unless it has said nothing yet: a look follows all the same. That
            // line may be one with the path, and is not to be counted for one that came after it.
            said = Counted {
                lines: said.lines.saturating_sub(1),
                with_path: 0,
            };
            sightings.sounded(key, Sound::Began);
        }
        if said.lines > 0 {
            let Counted { lines, with_path } = said;
            sightings.sounded(key, Sound::Said { lines, with_path });
        }
    }
    None
}
