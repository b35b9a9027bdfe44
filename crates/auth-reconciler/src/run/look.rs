//! One run: read the row fresh, ask its API, decide, record. Nothing of it outlives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::container::Container;
use auth_reconciler_core::controller::{ChangeSet, Outcome, Output, Stop, Task};
use auth_reconciler_core::facts::Row;
use auth_reconciler_core::follow::{Kind, Sound};
use auth_reconciler_core::profile::Profile;
use auth_reconciler_core::queue::Moment;
use auth_reconciler_core::verdict::{self, Conclusion, Plan, Verdict};
use auth_reconciler_core::witness::{Reading, Word};
use auth_reconciler_core::{AuthStatus, Cause, Key};
use chrono::TimeDelta;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::patience::asked_to_end;
use crate::clock::Clock;
use crate::docker::sightings::Sightings;
use crate::postgres::error::StoreError;
use crate::postgres::look::{Look, Reads};
use crate::postgres::record::{self, Proposal};
use crate::postgres::tables::{Table, Tables};
use crate::probe;
use crate::witness;
use container::see_container;

mod container;
mod context;

pub(crate) use context::Context;

/// What one run is about, and how it is told something while it runs.
#[derive(Debug)]
pub(crate) struct Job {
    /// What the controller said of it.
    pub(crate) task: Task,
    /// The watched tables.
    pub(crate) tables: Tables,
    /// Why its probe is to end without an answer, if it is.
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// Rings when somebody else may have written the status since.
    pub(crate) overwritten: Arc<Notify>,
    /// Where it is told when a probe is sent and answered.
    pub(crate) sightings: Option<Arc<Sightings>>,
    /// Whose moments are told.
    pub(crate) clock: Clock,
}

/// What is known of a run however it ends.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Which changes it has read.
    pub(crate) changes: Option<ChangeSet>,
    /// The database's time and ours, as it read them.
    pub(crate) clocks: Option<Reading>,
    /// What its API said that is of weight for others, and when.
    pub(crate) word: Option<(Word, Moment)>,
}

/// Runs one look.
///
/// # Errors
/// The database failed. Nothing is lost by it: the changes are still in the log.
pub(crate) async fn look(
    context: &Context,
    job: &mut Job,
    report: &mut Report,
) -> Result<Outcome, StoreError> {
    let tables = Tables::clone(&job.tables);
    let (key, epoch, wake) = (job.task.key, job.task.epoch, job.task.wake);
    let Some(table) = tables.get(&key.watched_id) else {
        return Ok(Outcome::UnknownTable);
    };
    let mut look = context.reads.read(&tables, key).await?;
    let read_at = Instant::now();
    let changes = ChangeSet::of(&look.changes);
    report.changes = Some(changes);
    let cause = look.cause(wake.cause);
    // Of a ring only what was read is believed.
    if cause > Cause::Drift || (!wake.rung && wake.cause > Cause::Drift) {
        look.facts.lift_hold();
    }
    let anything = !changes.is_empty() || (look.version.is_none() && !look.is_of_nothing());
    if wake.rung && !(anything && job.task.before != Some(changes)) {
        debug!("rung for, and nothing is new");
        return Ok(Outcome::NothingNew);
    }
    if look.is_of_nothing() {
        // A container without a row, or with its row in another of the watched tables.
        debug!(cause = cause.as_str(), "no such row");
        return Ok(Outcome::Final);
    }
    info!(
        generation = look.generation,
        has_api_key = look.facts.row.as_ref().is_some_and(Row::has_api_key),
        cause = cause.as_str(),
        "row read fresh"
    );
    let seen = see_container(context, &job.task, &mut look).await;
    let clocks = (job.clock.moment(read_at), look.facts.now);
    report.clocks = Some(clocks);
    look.facts.way = job.task.known.by_database(clocks);
    // How it ends where what is recorded is not of this instance's making.
    let mut instead = None;
    let verdict = match verdict::plan(&context.policy, &look.facts, fastrand::f64()) {
        Plan::Forget => return forget(context, epoch, key, &look).await,
        Plan::Defer { until } => {
            let after = (until - look.facts.now).to_std().unwrap_or_default();
            debug!(?after, "contested: foreign writes wait");
            return Ok(Outcome::Again {
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
            let asked = (&instance, profile);
            match ask(context, job, report, (&look, read_at), asked).await {
                Ok(verdict) => verdict,
                Err(end @ (Outcome::NotAsked(_) | Outcome::Doubted(_))) => {
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
    if *job.stop.borrow() == Some(Stop::Overtaken) {
        debug!("verdict dropped: something happened to the container meanwhile");
        return Ok(Outcome::Overtaken);
    }
    let proposal = Proposal {
        epoch,
        key,
        look: &look,
        verdict: &verdict,
        cause,
        waited: job.clock.now().saturating_sub(wake.since),
    };
    let end = record(context, table, &proposal, seen.unanswered).await?;
    Ok(match (end, instead) {
        (Outcome::Again { .. }, Some(instead)) => instead,
        (end, _) => end,
    })
}

/// Asks the API and concludes; how the run ends where there is nothing to conclude.
async fn ask(
    context: &Context,
    job: &mut Job,
    report: &mut Report,
    (look, read_at): (&Look, Instant),
    (instance, profile): (&probe::Instance, &Profile),
) -> Result<Verdict, Outcome> {
    let facts = &look.facts;
    let Some(Ok(Some(api_key))) = facts.row.as_ref().map(|row| &row.api_key) else {
        return Err(Outcome::Transient);
    };
    let url = &context.prober.url;
    if url.needs_container()
        && facts.container == Container::Unknown
        && (instance.container.is_none() || !url.tells_apart())
    {
        return Err(Outcome::NotAsked(Shortage::Engine));
    }
    let key = job.task.key;
    let sightings = job.sightings.clone();
    let sounded = |sound| {
        if let Some(sightings) = &sightings {
            sightings.sounded(key, sound);
        }
    };
    sounded(Sound::Sent);
    let sent = Instant::now();
    let answer = tokio::select! {
        answer = context.prober.ask(instance, profile, api_key) => answer,
        Some(()) = asked_to_end(&mut job.stop, sent) => return Err(ended(*job.stop.borrow())),
        // What it waits for may come late, and what was established is put back before it is asked.
        () = overwritten(&context.reads, &job.tables, key, &job.overwritten, report.changes),
            if verdict::is_ours_to_restore(facts) =>
        {
            debug!("probe ended: somebody else wrote over a failure that was established");
            return Err(Outcome::Overtaken);
        }
    };
    sounded(Sound::Answered(Kind::of(&answer)));
    debug!(?answer, elapsed = ?read_at.elapsed(), "api asked");
    report.word = Word::of(&answer).map(|word| (word, job.clock.now()));
    let now = facts.now + TimeDelta::from_std(read_at.elapsed()).unwrap_or_default();
    let chance = fastrand::f64();
    match verdict::conclude(&context.policy, facts, profile, &answer, now, chance) {
        Conclusion::Record(verdict) => Ok(*verdict),
        Conclusion::NotAsked(shortage) => Err(Outcome::NotAsked(shortage)),
        Conclusion::Doubted => Err(Outcome::Doubted(witness::tried_one(
            &context.prober,
            instance,
            &answer,
        ))),
    }
}

/// What a run comes to whose probe was ended without an answer.
fn ended(stop: Option<Stop>) -> Outcome {
    match stop {
        Some(Stop::Overtaken) => {
            debug!("probe ended: something happened to the container meanwhile");
            Outcome::Overtaken
        }
        Some(Stop::GiveUp) => {
            debug!("probe ended: something was told since it was sent");
            Outcome::Transient
        }
        Some(Stop::GiveWay) | None => {
            debug!("gave way to a first look");
            Outcome::Transient
        }
    }
}

/// Resolves when somebody rings for a foreign write and the log has a change that the look has not read: any role may
/// ring, so a ring alone ends no probe. One that cannot be read is found after the probe.
async fn overwritten(
    reads: &Reads,
    tables: &Tables,
    key: Key,
    rung: &Notify,
    known: Option<ChangeSet>,
) {
    loop {
        rung.notified().await;
        let read = reads.read(tables, key).await;
        if read.is_ok_and(|look| known != Some(ChangeSet::of(&look.changes))) {
            return;
        }
    }
}

async fn forget(
    context: &Context,
    epoch: Uuid,
    key: Key,
    look: &Look,
) -> Result<Outcome, StoreError> {
    Ok(match context.records.forget(epoch, key, look).await? {
        record::Outcome::EpochEnded => Outcome::EpochEnded,
        record::Outcome::Overtaken(part) => {
            debug!(part, "forgetting refused: something came in between");
            Outcome::Overtaken
        }
        record::Outcome::Busy => {
            debug!("somebody else records it");
            Outcome::Transient
        }
        record::Outcome::Gone
        | record::Outcome::Unwatched
        | record::Outcome::Written
        | record::Outcome::Right
        | record::Outcome::Overridden
        | record::Outcome::Unwritable => {
            info!("row is gone, forgotten");
            Outcome::Final
        }
    })
}

async fn record(
    context: &Context,
    table: &Table,
    proposal: &Proposal<'_>,
    unanswered: bool,
) -> Result<Outcome, StoreError> {
    let verdict = proposal.verdict;
    let recording = context.records.record(proposal).await?;
    let contested = verdict.memory.corrections.is_contested();
    let facts = &proposal.look.facts;
    let ready = verdict.reason.is_ready();
    let again = match (verdict.retry, Output::of(facts)) {
        (None, Some(follow)) if ready => Outcome::Ready(follow),
        // It was concluded without knowing whether the container runs.
        (None, _) if unanswered => Outcome::Unsure,
        (None, _) => Outcome::Final,
        (Some(after), follow) => Outcome::Again {
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
        record::Outcome::Written => {
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
        record::Outcome::Right => {
            debug!(
                status = wanted,
                reason = verdict.reason.as_str(),
                "status is right"
            );
            again
        }
        record::Outcome::Overridden => {
            warn!(
                table = table.relation,
                wanted,
                "a trigger of the table replaced the status; remove it or unwatch the table"
            );
            let limit = Duration::from_millis(context.record.overridden_retry_ms);
            Outcome::Again {
                after: verdict.retry.map_or(limit, |retry| retry.min(limit)),
                hold_drift: true,
                follow: None,
                wants_witness: false,
                unsure: false,
            }
        }
        record::Outcome::Unwritable => {
            let after = proposal.look.unwritable_retry();
            warn!(
                table = table.relation,
                wanted,
                why = recording.refusal,
                retry_in = ?after,
                "the table refuses the status; correct the table or unwatch it"
            );
            Outcome::Again {
                after,
                hold_drift: false,
                follow: None,
                wants_witness: false,
                unsure: false,
            }
        }
        record::Outcome::Busy => {
            debug!("somebody holds the row");
            Outcome::Transient
        }
        record::Outcome::Gone => Outcome::Overtaken,
        record::Outcome::Unwatched => Outcome::UnknownTable,
        record::Outcome::EpochEnded => Outcome::EpochEnded,
        record::Outcome::Overtaken(part) => {
            debug!(
                part,
                "verdict refused: what it was computed from no longer stands"
            );
            Outcome::Overtaken
        }
    })
}
