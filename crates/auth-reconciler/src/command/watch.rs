//! `auth-reconciler watch`: transitions as they happen, for people and for programs.
//!
//! One session hears and reads them ([`crate::postgres::watcher`]); when it ends, another one is made, and what was
//! missed meanwhile is found by the numbers that transitions have. Numbers are not taken in the order of commits, and
//! after a crash of the server some may be given out again; so what was shown is remembered by number and time, and
//! each new session reads again from well before the newest.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use postgres_url::Database;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use self::event::{Drift, Event, Moment, Transition};
use self::screen::Screen;
use super::Unwritten;
use crate::postgres::watcher::{Rings, Watcher, WatcherError};
use crate::settings::WatchSettings;

mod event;
mod screen;

/// How many numbers before the newest are read again by a new session, and how many are remembered at least. Far more
/// than can be under way at a time, or than a crash can take back.
const REMEMBERED: i64 = 1000;

/// Instances whose last foreign write is remembered.
const WRITERS: usize = 10_000;

/// Pauses between tries to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Follows transitions until a signal comes or nobody reads any more: as it never ends by itself, either is its end.
///
/// # Errors
/// It could not begin, or nothing can be written. What else happens later is shown, and tried again.
pub(crate) async fn follow(database: &Database, settings: &WatchSettings) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("could not wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for SIGINT")?;
    let screen = Screen::new(settings.json, settings.color);
    let unread = screen.unread();
    let server = settings.listen.as_ref().unwrap_or(database);
    let follower = Follower {
        server,
        settings,
        screen,
        shown: BTreeMap::new(),
        newest: 0,
        writes: HashMap::new(),
    };
    tokio::select! {
        ended = follower.run() => match ended {
            Ok(never) => match never {},
            Err(WatcherError::Unwritten(error)) if error.is_unread() => Ok(()),
            Err(WatcherError::Unwritten(error)) => Err(error.into()),
            Err(error) => {
                Err(error).with_context(|| format!("nothing to watch in {}", server.describe()))
            }
        },
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = unread => Ok(()),
    }
}

struct Follower<'a> {
    server: &'a Database,
    settings: &'a WatchSettings,
    screen: Screen,
    /// Number and time of the newest transitions that were shown, or passed over because they are old.
    shown: BTreeMap<i64, DateTime<Utc>>,
    /// The highest number of them.
    newest: i64,
    /// The last foreign write that was shown of each instance.
    writes: HashMap<Uuid, DateTime<Utc>>,
}

impl Follower<'_> {
    /// Ends when it cannot begin, or when nothing can be written any more.
    async fn run(mut self) -> Result<Infallible, WatcherError> {
        let mut watcher = Watcher::start(self.server).await?;
        let mut since = self.begin(&watcher).await?;
        loop {
            let why = match self.serve(&watcher, since).await {
                Ok(never) => match never {},
                Err(WatcherError::Unwritten(error)) => return Err(error.into()),
                Err(why) => why,
            };
            drop(watcher);
            let lost = Instant::now();
            let event = Event::Disconnected {
                at: Utc::now(),
                after: self.newest,
                why: crate::telemetry::chain(&why),
            };
            self.screen.show(&[event]).await?;
            (watcher, since) = self.again(lost).await?;
        }
    }

    /// The first session: what was before, and who leads.
    async fn begin(&mut self, watcher: &Watcher) -> Result<DateTime<Utc>, WatcherError> {
        let (leaderless, now) = watcher.nobody_leads().await?;
        let mut old = self.read(watcher, -1, &[], Some(REMEMBERED)).await?;
        for transition in &old {
            self.remember(transition);
        }
        // One whose row is gone is watched as long as its history is kept. Of a misspelt one nothing would ever be shown.
        if let Some(wanted) = self.settings.instance
            && old.is_empty()
            && !watcher.has(wanted).await?
        {
            return Err(WatcherError::NoInstance(wanted));
        }
        let last = usize::try_from(self.settings.last).unwrap_or(usize::MAX);
        let old = old.split_off(old.len().saturating_sub(last));
        let mut events = vec![Event::Connected {
            at: now,
            leads: !leaderless,
            instance: self.settings.instance,
        }];
        events.extend(old.into_iter().map(|t| Event::of(t, Moment::Before)));
        self.screen.show(&events).await?;
        Ok(now)
    }

    /// Another session after one that ended, and what was missed.
    async fn again(&mut self, lost: Instant) -> Result<(Watcher, DateTime<Utc>), Unwritten> {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            // Nothing tells that a server is there again.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
            let begun = async {
                let watcher = Watcher::start(self.server).await?;
                let (leaderless, now) = watcher.nobody_leads().await?;
                let from = self.newest.saturating_sub(REMEMBERED);
                let missed = self.read(&watcher, from, &[], None).await?;
                Ok::<_, WatcherError>((watcher, leaderless, now, missed))
            };
            let (watcher, leaderless, now, missed) = match begun.await {
                Ok(begun) => begun,
                Err(why) => {
                    let advice = why.advice();
                    let why = crate::telemetry::chain(&why);
                    // Each reason once; what one advice mends is one, in whatever words.
                    let cause = advice.unwrap_or(&why).to_owned();
                    if cause != told {
                        let event = Event::StillDisconnected {
                            at: Utc::now(),
                            why,
                        };
                        self.screen.show(&[event]).await?;
                        told = cause;
                    }
                    continue;
                }
            };
            let after = self.newest;
            let missed = self.new_ones(missed, Moment::Missed);
            let mut events = vec![Event::Reconnected {
                at: now,
                leads: !leaderless,
                away_ms: u64::try_from(lost.elapsed().as_millis()).unwrap_or(u64::MAX),
                after,
                missed: missed.len(),
            }];
            events.extend(missed);
            self.screen.show(&events).await?;
            return Ok((watcher, now));
        }
    }

    /// Shows what rings, until the session ends or nothing can be written any more.
    async fn serve(
        &mut self,
        watcher: &Watcher,
        since: DateTime<Utc>,
    ) -> Result<Infallible, WatcherError> {
        loop {
            let rings = watcher.rings().await;
            let mut events = self.drift(watcher, &rings, since).await?;
            let from = if rings.all {
                self.newest.saturating_sub(REMEMBERED)
            } else {
                i64::MAX
            };
            let these: Vec<i64> = rings.transitions.into_iter().collect();
            if rings.all || !these.is_empty() {
                let read = self.read(watcher, from, &these, None).await?;
                if self.settings.instance.is_none() {
                    let gone = these.iter().filter(|id| {
                        !self.shown.contains_key(id) && !read.iter().any(|t| t.id == **id)
                    });
                    events.extend(gone.map(|id| Event::Gone { id: *id }));
                }
                events.extend(self.new_ones(read, Moment::Now));
            }
            self.screen.show(&events).await?;
            if let Some(why) = rings.lost {
                return Err(WatcherError::Lost(why));
            }
        }
    }

    async fn read(
        &self,
        watcher: &Watcher,
        after: i64,
        these: &[i64],
        limit: Option<i64>,
    ) -> Result<Vec<Transition>, WatcherError> {
        watcher
            .transitions(self.settings.instance, after, these, limit)
            .await
    }

    /// Who wrote `auth_status` beside us, since this session began.
    async fn drift(
        &mut self,
        watcher: &Watcher,
        rings: &Rings,
        since: DateTime<Utc>,
    ) -> Result<Vec<Event>, WatcherError> {
        let wanted = |id: &Uuid| self.settings.instance.is_none_or(|wanted| wanted == *id);
        let ids: Vec<Uuid> = rings.drift.iter().copied().filter(wanted).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let written: Vec<Drift> = watcher.drift(&ids, since).await?;
        if self.writes.len() > WRITERS {
            self.writes.clear();
        }
        let mut events = Vec::new();
        for write in written {
            let known = self.writes.get(&write.id);
            if known.is_none_or(|known| *known < write.last_at) {
                self.writes.insert(write.id, write.last_at);
                events.push(Event::Drift(write));
            }
        }
        Ok(events)
    }

    fn new_ones(&mut self, read: Vec<Transition>, moment: Moment) -> Vec<Event> {
        let mut new = Vec::new();
        for transition in read {
            if self.remember(&transition) {
                new.push(Event::of(transition, moment));
            }
        }
        new
    }

    /// Whether it is new.
    fn remember(&mut self, transition: &Transition) -> bool {
        let known = self.shown.insert(transition.id, transition.at);
        self.newest = transition.id.max(self.newest);
        while self.shown.len() > 2 * usize::try_from(REMEMBERED).unwrap_or(usize::MAX) {
            self.shown.pop_first();
        }
        known != Some(transition.at)
    }
}
