//! What `watch` shows: each as a line for people, and as an object for programs, whose field names stay.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::status::text;

/// One transition, as the view has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transition {
    pub(super) id: i64,
    pub(super) at: DateTime<Utc>,
    instance_id: Uuid,
    from_status: Option<String>,
    to_status: Option<String>,
    reason: String,
    cause: String,
    reaction_ms: f64,
    message: String,
    watched_table: String,
}

/// Foreign writes of one kind, as the view has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Drift {
    /// The view calls it so; beside transitions it would be taken for a number.
    #[serde(rename(serialize = "instance_id"))]
    pub(super) id: Uuid,
    pub(super) last_at: DateTime<Utc>,
    application: Option<String>,
    role: Option<String>,
    from_status: Option<String>,
    to_status: Option<String>,
    times: i64,
    guarded: i64,
    contested: bool,
}

/// When a transition was, as the watcher sees it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Moment {
    /// Before it began.
    Before,
    /// While it was not connected.
    Missed,
    /// It was committed just now, while the watcher was connected.
    Now,
}

/// What one line tells; the names are those of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The watcher is connected, and shows what happens from here on.
    Connected {
        at: DateTime<Utc>,
        leads: bool,
        instance: Option<Uuid>,
    },
    /// A status moved.
    Transition {
        moment: Moment,
        #[serde(flatten)]
        transition: Transition,
    },
    /// One was committed and is gone already.
    Gone { id: i64 },
    /// Somebody else wrote a status.
    Drift(Drift),
    /// The session has ended.
    Disconnected {
        at: DateTime<Utc>,
        after: i64,
        why: String,
    },
    /// And there is no other yet.
    StillDisconnected { at: DateTime<Utc>, why: String },
    /// There is another.
    Reconnected {
        at: DateTime<Utc>,
        leads: bool,
        away_ms: u64,
        after: i64,
        missed: usize,
    },
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Under,
    Aside,
    Alarm,
}

const NOBODY: &str = "nobody leads: no status moves until a daemon is started (auth-reconciler run); changes are kept. \
     Who led last: select * from auth_reconciler.reconcilers";

impl Event {
    pub(super) fn of(transition: Transition, moment: Moment) -> Self {
        Self::Transition { moment, transition }
    }

    /// In words, one or more lines, each with how much it matters. Nothing in them does anything to a terminal.
    pub(super) fn lines(&self) -> Vec<(Tone, String)> {
        match self {
            Self::Connected {
                at,
                leads,
                instance,
            } => {
                let what = instance.map_or_else(|| "all instances".to_owned(), |id| id.to_string());
                let said = format!("{} watching {what}; Ctrl-C ends", time(*at));
                leading(*leads, (Tone::Aside, said))
            }
            Self::Transition { moment, transition } => {
                vec![(tone(transition), transition.line(*moment))]
            }
            Self::Gone { id } => vec![(
                Tone::Alarm,
                format!(
                    "transition {id} is gone before it could be read: history keeps too few of an instance, raise \
                     AUTH_RECONCILER_HISTORY_PER_INSTANCE"
                ),
            )],
            Self::Drift(drift) => vec![(
                if drift.contested {
                    Tone::Alarm
                } else {
                    Tone::Aside
                },
                drift.line(),
            )],
            Self::Disconnected { at, after, why } => vec![(
                Tone::Alarm,
                format!(
                    "{} disconnected: {}; connecting again, what comes after transition {after} will be shown then",
                    time(*at),
                    text(Some(why))
                ),
            )],
            Self::StillDisconnected { at, why } => vec![(
                Tone::Alarm,
                format!("{} not connected yet: {}", time(*at), text(Some(why))),
            )],
            Self::Reconnected {
                at,
                leads,
                away_ms,
                after,
                missed,
            } => {
                let said = format!(
                    "{} connected again after {}: {} since transition {after}",
                    time(*at),
                    humantime::format_duration(std::time::Duration::from_millis(*away_ms)),
                    how_many_missed(*missed)
                );
                leading(*leads, (Tone::Alarm, said))
            }
        }
    }
}

fn how_many_missed(transitions: usize) -> String {
    match transitions {
        0 => "nothing was missed".to_owned(),
        1 => "one transition was missed".to_owned(),
        more => format!("{more} transitions were missed"),
    }
}

impl Transition {
    fn line(&self, moment: Moment) -> String {
        format!(
            "{} {} {} -> {} {} ({} ms after {}{}): {}",
            time(self.at),
            self.instance_id,
            text(self.from_status.as_deref()),
            text(self.to_status.as_deref()),
            text(Some(&self.reason)),
            self.reaction_ms,
            text(Some(&self.cause)),
            match moment {
                Moment::Missed => format!(", missed: transition {}", self.id),
                Moment::Before | Moment::Now => String::new(),
            },
            text(Some(&self.message))
        )
    }
}

impl Drift {
    fn line(&self) -> String {
        let application = self.application.as_deref().filter(|name| !name.is_empty());
        format!(
            "{} {} {} (role {}) wrote {} over {}{}{}{}",
            time(self.last_at),
            self.id,
            text(application.or(Some("a nameless application"))),
            text(self.role.as_deref()),
            text(self.to_status.as_deref()),
            text(self.from_status.as_deref()),
            if self.times > 1 {
                format!(", {} times so far", self.times)
            } else {
                String::new()
            },
            match self.guarded {
                0 => String::new(),
                all if all == self.times => ": put aside by guard".to_owned(),
                some => format!(": {some} of them put aside by guard"),
            },
            if self.contested {
                "; contested: find that writer and stop it, see auth_reconciler.drift"
            } else {
                ""
            }
        )
    }
}

fn leading(leads: bool, first: (Tone, String)) -> Vec<(Tone, String)> {
    let mut lines = vec![first];
    if !leads {
        lines.push((Tone::Alarm, NOBODY.to_owned()));
    }
    lines
}

fn tone(transition: &Transition) -> Tone {
    match transition.to_status.as_deref() {
        Some("client_ready") => Tone::Good,
        Some("failed") => Tone::Bad,
        Some(_) | None => Tone::Under,
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(3)
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
