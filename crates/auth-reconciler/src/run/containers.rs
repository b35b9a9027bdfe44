//! The containers' part in a term: the engine in sight, what was recorded of it, whose output is followed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::container::{self, Listed, Sighting};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::look::Context;
use crate::docker::lines::Counted;
use crate::docker::sightings::{Ended, Sightings, Sound, View};
use crate::docker::watch::Watch;
use crate::docker::{Engine, EngineError};
use crate::postgres::error::StoreError;
use crate::postgres::store;
use crate::postgres::tables::Key;

/// How long the first looks of a term wait for the engine's first answer: without it they would say of a
/// container that its state is unknown, and once more what it is a moment later.
const FIRST_SIGHT: Duration = Duration::from_millis(500);

/// What a term knows of the engine.
#[derive(Debug)]
pub(super) struct Containers {
    /// Absent when no engine is asked.
    pub(super) watch: Option<Watch>,
    /// Whether the engine is seen; `None` until it is known, and where none is asked.
    view: Option<View>,
    /// The view is not in the database yet.
    unnoted: bool,
    /// A view is on its way there; of two at once the older might come last.
    noting: bool,
    /// Until then the first looks wait.
    hold_until: Option<Instant>,
}

/// What the database is to be told.
#[derive(Debug)]
pub(super) struct Note {
    address: String,
    view: Option<View>,
}

impl Containers {
    pub(super) fn begin(context: &Context, check: Duration) -> Self {
        let watch = context
            .engine
            .as_ref()
            .map(|engine| Watch::begin(Arc::clone(engine), check));
        Self {
            hold_until: watch.as_ref().map(|_| Instant::now() + FIRST_SIGHT),
            // That none is asked is known at once.
            unnoted: watch.is_none(),
            noting: false,
            view: None,
            watch,
        }
    }

    /// Where it is told what is heard.
    pub(super) fn sightings(&self) -> Option<Arc<Sightings>> {
        let watch = self.watch.as_ref()?;
        Some(Arc::clone(watch.sightings()))
    }

    /// The engine came into sight, or went out of it.
    pub(super) fn saw(&mut self, view: View) {
        self.hold_until = None;
        let view = Some(view);
        // Not with each try to find it again.
        self.unnoted |= self.view != view;
        self.view = view;
    }

    /// What the database does not know yet; the caller tells it.
    pub(super) fn take_note(&mut self) -> Option<Note> {
        if self.noting || !std::mem::take(&mut self.unnoted) {
            return None;
        }
        self.noting = true;
        Some(Note {
            address: self.watch.as_ref().map_or_else(
                || "off".to_owned(),
                |watch| watch.engine().address().to_string(),
            ),
            view: self.view.clone(),
        })
    }

    /// It was told, or could not be.
    pub(super) const fn noted(&mut self) {
        self.noting = false;
    }

    /// It could not be told.
    pub(super) const fn note_again(&mut self) {
        self.unnoted = true;
    }

    /// Until when no look is to begin, if that is not now.
    pub(super) fn held(&self, now: Instant) -> Option<Instant> {
        self.hold_until.filter(|until| *until > now)
    }
}

impl Note {
    pub(super) async fn write(&self, context: &Context, epoch: Uuid) -> Result<(), StoreError> {
        let (seen, why) = match &self.view {
            Some(View::Seen) => (true, None),
            Some(View::NotSeen(why)) => (false, Some(why.as_str())),
            None => (false, None),
        };
        // False: another process leads, and it has told its own.
        store::note_engine(&context.pool, epoch, &self.address, why, seen).await?;
        Ok(())
    }
}

/// Whatever the engine shows otherwise than it was recorded, and every running container of an instance that
/// is not final: its output is to be followed again.
pub(super) async fn compare(
    context: &Context,
    engine: &Engine,
    list: Vec<(Uuid, Listed)>,
) -> Result<Vec<(Key, Cause)>, StoreError> {
    let mut by_instance: HashMap<Uuid, Vec<Listed>> = HashMap::new();
    for (instance, listed) in list {
        by_instance.entry(instance).or_default().push(listed);
    }
    let recorded = store::recorded_containers(&context.pool).await?;
    let ours = |recorded: &store::RecordedContainer| {
        let seen_here = |seen: &Sighting| seen.engine == engine.id();
        recorded.sighting.as_ref().is_some_and(seen_here)
            || by_instance.contains_key(&recorded.key.instance_id)
    };
    if recorded.iter().any(ours) {
        engine.note_ours();
    }
    let concerned = recorded.into_iter().filter(|recorded| {
        let listed = by_instance
            .get(&recorded.key.instance_id)
            .map_or(&[][..], Vec::as_slice);
        let converges = !recorded.settled
            && container::counting(listed).is_some_and(|listed| listed.state == "running");
        converges || container::differs(engine.id(), recorded.sighting.as_ref(), listed)
    });
    Ok(concerned
        .map(|recorded| (recorded.key, Cause::Compared))
        .collect())
}

/// Follows the output of one container; dropping it ends that.
#[derive(Debug)]
pub(super) struct Follower {
    serial: u64,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    pub(super) fn begin(
        watch: &Watch,
        (key, serial): (Key, u64),
        container: String,
        path: &'static str,
    ) -> Self {
        let follow = follow(
            Arc::clone(watch.engine()),
            Arc::clone(watch.sightings()),
            (key, serial),
            container,
            path,
        );
        Self {
            serial,
            task: tokio::spawn(follow),
        }
    }

    /// Whether it is this one that has ended.
    pub(super) const fn is(&self, ended: &Ended) -> bool {
        self.serial == ended.serial
    }
}

async fn follow(
    engine: Arc<Engine>,
    sightings: Arc<Sightings>,
    (key, serial): (Key, u64),
    container: String,
    path: &'static str,
) {
    let unreadable = match engine.output(&container, path).await {
        Ok(mut output) => {
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
        Err(EngineError::Refused { status, message })
            if matches!(status, 400 | 409 | 500 | 501) =>
        {
            Some(format!("{status}: {message}"))
        }
        // Gone, or the way to the engine: it is followed again if a look says so.
        Err(_) => None,
    };
    sightings.ended(Ended {
        key,
        serial,
        unreadable,
    });
}
