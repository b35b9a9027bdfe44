//! One run: read the row fresh, ask its API, decide, record. Nothing of it outlives it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::container::Container;
use auth_reconciler_core::facts::Row;
use auth_reconciler_core::follow::Kind;
use auth_reconciler_core::profile::Profile;
use auth_reconciler_core::queue::Wake;
use auth_reconciler_core::verdict::{self, Conclusion, Plan, Policy, Verdict};
use auth_reconciler_core::witness::{Known, Reading, Word};
use auth_reconciler_core::{AuthStatus, Cause};
use chrono::TimeDelta;
use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::docker::Engine;
use crate::docker::sightings::{Sightings, Sound};
use crate::postgres::error::StoreError;
use crate::postgres::look::{Look, read};
use crate::postgres::record::{self, Outcome, Proposal, RecordSettings};
use crate::postgres::tables::{Key, Table, Tables};
use crate::probe::{self, Prober};
use crate::run::news::{News, overwritten};
use crate::run::patience::{self, asked_to_end};
use crate::witness;

mod end;

pub(crate) use end::{End, Follow};

/// What every run is done with.
#[derive(Debug)]
pub(crate) struct Context {
    /// Connections for short statements.
    pub(crate) pool: Pool,
    /// The engine of the containers, where one is asked.
    pub(crate) engine: Option<Arc<Engine>>,
    /// Asks the APIs.
    pub(crate) prober: Prober,
    /// Settings of the decision.
    pub(crate) policy: Policy,
    /// Settings of the record.
    pub(crate) record: RecordSettings,
}

/// What one run is about.
#[derive(Debug)]
pub(crate) struct Task {
    /// The instance.
    pub(crate) key: Key,
    /// Why it is looked at.
    pub(crate) wake: Wake,
    /// When it was woken.
    pub(crate) woken: Instant,
    /// The epoch in which this process leads.
    pub(crate) epoch: Uuid,
    /// The watched tables.
    pub(crate) tables: Tables,
    /// Tells whether the probe is to end without an answer.
    pub(crate) end: watch::Receiver<patience::End>,
    /// Rings when somebody else may have written the status since.
    pub(crate) drifted: Arc<Notify>,
    /// Set when something happens to the instance's container.
    pub(crate) overtaken: Arc<AtomicBool>,
    /// Holds what the API said that is of weight for others, and when.
    pub(crate) heard: Arc<OnceLock<(Word, Instant)>>,
    /// Holds the database's time and ours, once it has read them.
    pub(crate) reading: Arc<OnceLock<Reading>>,
    /// What was known of our own way to the APIs when it began, in moments since `origin`.
    pub(crate) known: Known,
    /// The zero of those moments.
    pub(crate) origin: Instant,
    /// Where it is told when a probe is sent and answered.
    pub(crate) sightings: Option<Arc<Sightings>>,
    /// The container whose output leads to looks at the moment.
    pub(crate) followed: Option<String>,
    /// What the look before it has left.
    pub(crate) news: Arc<News>,
}

/// Runs one look.
///
/// # Errors
/// The database failed. Nothing is lost by it: the changes are still in the log.
pub(crate) async fn look(context: Arc<Context>, mut task: Task) -> Result<End, StoreError> {
    let tables = Tables::clone(&task.tables);
    let Some(table) = tables.get(&task.key.watched_id) else {
        return Ok(End::UnknownTable);
    };
    let mut look = read(&context.pool, table, task.key).await?;
    let read_at = Instant::now();
    let rung = task.wake.rung;
    let cause = look.cause(task.wake.cause);
    // Of a ring only what was read is believed.
    if cause > Cause::Drift || (!rung && task.wake.cause > Cause::Drift) {
        look.facts.lift_hold();
    }
    if !task.news.note(&look) && rung {
        debug!("rung for, and nothing is new");
        return Ok(End::NothingNew);
    }
    if look.is_of_nothing() {
        // A container without a row, or with its row in another of the watched tables.
        debug!(cause = cause.as_str(), "no such row");
        return Ok(End::Settled);
    }
    info!(
        generation = look.generation,
        has_api_key = look.facts.row.as_ref().is_some_and(Row::has_api_key),
        cause = cause.as_str(),
        "row read fresh"
    );
    let seen = see_container(&context, &task, &mut look).await;
    let reading = (
        read_at.saturating_duration_since(task.origin),
        look.facts.now,
    );
    task.reading.get_or_init(|| reading);
    look.facts.way = task.known.by_database(reading);
    let Task { key, epoch, .. } = task;
    // How it ends where what is recorded is not of this instance's making.
    let mut instead = None;
    let verdict = match verdict::plan(&context.policy, &look.facts, fastrand::f64()) {
        Plan::Forget => return forget(&context, epoch, key, &look).await,
        Plan::Defer { until } => {
            let after = (until - look.facts.now).to_std().unwrap_or_default();
            debug!(?after, "contested: foreign writes wait");
            return Ok(End::Again {
                after,
                hold_drift: true,
                follow: None,
                wants_witness: false,
                unsure: false,
            });
        }
        Plan::Settle(verdict) => *verdict,
        Plan::Probe { port, profile } => {
            let instance = probe::Instance {
                id: key.instance_id,
                port,
                container: seen.address,
            };
            match ask(&context, &mut task, &look, read_at, (&instance, profile)).await {
                Ok(verdict) => verdict,
                Err(end @ (End::NotAsked(_) | End::Doubted(_))) => {
                    match verdict::given_back(&context.policy, &look.facts, fastrand::f64()) {
                        Some(verdict) => {
                            instead = Some(end);
                            verdict
                        }
                        None => return Ok(end),
                    }
                }
                Err(end) => return Ok(end),
            }
        }
    };
    if task.overtaken.load(Ordering::Acquire) {
        debug!("verdict dropped: something happened to the container meanwhile");
        return Ok(End::Overtaken);
    }
    let waited = task.woken.elapsed();
    let proposal = Proposal {
        epoch,
        key,
        look: &look,
        verdict: &verdict,
        cause,
        waited,
    };
    let end = record(&context, table, &proposal, seen.unanswered).await?;
    Ok(match (end, instead) {
        (End::Again { .. }, Some(instead)) => instead,
        (end, _) => end,
    })
}

/// Asks the API and concludes; how the run ends where there is nothing to conclude.
async fn ask(
    context: &Context,
    task: &mut Task,
    look: &Look,
    read_at: Instant,
    (instance, profile): (&probe::Instance, &Profile),
) -> Result<Verdict, End> {
    let facts = &look.facts;
    let Some(Ok(Some(api_key))) = facts.row.as_ref().map(|row| &row.api_key) else {
        return Err(End::Stumbled);
    };
    let url = &context.prober.url;
    if url.needs_container()
        && facts.container == Container::Unknown
        && (instance.container.is_none() || !url.tells_apart())
    {
        return Err(End::NotAsked(Shortage::Engine));
    }
    let sounded = |sound| {
        if let Some(sightings) = &task.sightings {
            sightings.sounded(task.key, sound);
        }
    };
    sounded(Sound::Sent);
    let sent = Instant::now();
    let answer = tokio::select! {
        answer = context.prober.ask(instance, profile, api_key) => answer,
        Some(()) = asked_to_end(&mut task.end, sent) => {
            if task.overtaken.load(Ordering::Acquire) {
                debug!("probe ended: something happened to the container meanwhile");
                return Err(End::Overtaken);
            }
            if *task.end.borrow() == patience::End::Now {
                debug!("probe ended: something was told since it was sent");
            } else {
                debug!("gave way to a first look");
            }
            return Err(End::Stumbled);
        }
        // What it waits for may come late, and what was established is put back before it is asked.
        () = overwritten(&context.pool, &task.tables, task.key, &task.drifted, &task.news), if verdict::is_ours_to_restore(facts) => {
            debug!("probe ended: somebody else wrote over a failure that was established");
            return Err(End::Overtaken);
        }
    };
    sounded(Sound::Answered(Kind::of(&answer)));
    debug!(?answer, elapsed = ?read_at.elapsed(), "api asked");
    if let Some(word) = Word::of(&answer) {
        task.heard.get_or_init(|| (word, Instant::now()));
    }
    let now = facts.now + TimeDelta::from_std(read_at.elapsed()).unwrap_or_default();
    let chance = fastrand::f64();
    match verdict::conclude(&context.policy, facts, profile, &answer, now, chance) {
        Conclusion::Record(verdict) => Ok(*verdict),
        Conclusion::NotAsked(shortage) => Err(End::NotAsked(shortage)),
        Conclusion::Doubted => Err(End::Doubted(witness::tried_one(
            &context.prober,
            instance,
            &answer,
        ))),
    }
}

/// What of the engine's answer is no fact.
#[derive(Default)]
struct Seen {
    /// The container's address.
    address: Option<IpAddr>,
    /// There was no answer.
    unanswered: bool,
}

/// Adds to the facts what the engine shows, where that matters.
async fn see_container(context: &Context, task: &Task, look: &mut Look) -> Seen {
    let facts = &mut look.facts;
    let Some(engine) = &context.engine else {
        return Seen::default();
    };
    if !verdict::concerns_container(facts) {
        return Seen::default();
    }
    let sight = engine
        .sight(task.key.instance_id, facts.sighting.as_ref())
        .await;
    facts.container = sight.container;
    facts.engine_has_shown_ours = engine.has_shown_ours();
    facts.sighting = sight.sighting;
    facts.followed = task.followed.is_some()
        && task.followed.as_deref() == facts.sighting.as_ref().map(|seen| seen.id.as_str());
    Seen {
        address: sight.address,
        unanswered: sight.unanswered,
    }
}

async fn forget(context: &Context, epoch: Uuid, key: Key, look: &Look) -> Result<End, StoreError> {
    Ok(
        match record::forget(&context.pool, epoch, key, look).await? {
            Outcome::EpochEnded => End::EpochEnded,
            Outcome::Overtaken(part) => {
                debug!(part, "forgetting refused: something came in between");
                End::Overtaken
            }
            Outcome::Gone
            | Outcome::Unwatched
            | Outcome::Written
            | Outcome::Right
            | Outcome::Overridden
            | Outcome::Unwritable
            | Outcome::Busy => {
                info!("row is gone, forgotten");
                End::Settled
            }
        },
    )
}

async fn record(
    context: &Context,
    table: &Table,
    proposal: &Proposal<'_>,
    unanswered: bool,
) -> Result<End, StoreError> {
    let verdict = proposal.verdict;
    let recording = record::record(&context.pool, &context.record, proposal).await?;
    let contested = verdict.memory.corrections.is_contested();
    let facts = &proposal.look.facts;
    let ready = verdict.reason.is_ready();
    let again = match (verdict.retry, Follow::of(facts)) {
        (None, Some(follow)) if ready => End::Ready(follow),
        // It was concluded without knowing whether the container runs.
        (None, _) if unanswered => End::Unsure,
        (None, _) => End::Settled,
        (Some(after), follow) => End::Again {
            after,
            hold_drift: contested,
            // One that is final but for the end of a hold converges no longer.
            follow: follow.filter(|_| !ready),
            wants_witness: verdict.wants_witness,
            unsure: unanswered && !contested,
        },
    };
    let wanted = verdict.status.map_or("untouched", AuthStatus::as_str);
    Ok(match recording.outcome {
        Outcome::Written => {
            info!(
                from = recording.from.as_deref().unwrap_or("null"),
                to = wanted,
                reason = verdict.reason.as_str(),
                cause = proposal.cause.as_str(),
                reaction_ms = recording.reaction_ms.map(|ms| (ms * 10.0).round() / 10.0),
                contested,
                "status written"
            );
            again
        }
        Outcome::Right => {
            debug!(
                status = wanted,
                reason = verdict.reason.as_str(),
                "status is right"
            );
            again
        }
        Outcome::Overridden => {
            warn!(
                table = table.relation,
                wanted,
                "a trigger of the table replaced the status; remove it or unwatch the table"
            );
            let limit = Duration::from_millis(context.record.overridden_retry_ms);
            End::Again {
                after: verdict.retry.map_or(limit, |retry| retry.min(limit)),
                hold_drift: true,
                follow: None,
                wants_witness: false,
                unsure: false,
            }
        }
        Outcome::Unwritable => {
            let after = proposal.look.unwritable_retry();
            warn!(
                table = table.relation,
                wanted,
                why = recording.refusal,
                retry_in = ?after,
                "the table refuses the status; correct the table or unwatch it"
            );
            End::Again {
                after,
                hold_drift: false,
                follow: None,
                wants_witness: false,
                unsure: false,
            }
        }
        Outcome::Busy => {
            debug!("somebody holds the row");
            End::Stumbled
        }
        Outcome::Gone => End::Overtaken,
        Outcome::Unwatched => End::UnknownTable,
        Outcome::EpochEnded => End::EpochEnded,
        Outcome::Overtaken(part) => {
            debug!(
                part,
                "verdict refused: what it was computed from no longer stands"
            );
            End::Overtaken
        }
    })
}
