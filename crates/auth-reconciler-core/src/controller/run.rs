//! One reconciliation, step by step.
//!
//! ```text
//!   read ──▶ inspect ──▶ plan ──▶ probe ──▶ conclude ──▶ record ──▶ ended
//!    │          (where the container        │   (where nothing          ▲
//!    │           matters)                   │    is to be known)        │
//!    └── failed, nothing new, no such row ──┴── not asked, doubted, ended without an answer
//! ```
//!
//! Reads and records go in batches with those of others, one batch of each at a time, but for
//! [records](super::records) that take long; containers and APIs are asked each for itself. What a step brings is answered for in order: a snapshot of a batch that began before the reconciliation
//! is never taken, as it may be older than what led to it.

use uuid::Uuid;

use super::{ChangeSet, Command, Controller, Outcome, Reconciled, Stop};
use crate::Cause;
use crate::instance::Key;
use crate::profile::Profile;
use crate::queue::{Moment, Wake};
use crate::snapshot::Snapshot;
use crate::witness::{Known, Reading, Word};

/// A reconciliation under way.
#[derive(Debug)]
pub(super) struct Run {
    /// The term in which it began; it may have ended since.
    pub(super) epoch: Uuid,
    /// Why it is reconciled, and since when it waited.
    pub(super) wake: Wake,
    /// What was known of our own way when it began.
    pub(super) known: Known,
    /// The container whose output led to looks when it began.
    pub(super) followed: Option<String>,
    /// Why its probe is to end without an answer, or has ended.
    pub(super) stop: Option<Stop>,
    /// Somebody rang for a foreign write before its probe began.
    pub(super) write_rung: bool,
    /// Number of the batch that it was read with; 0 until then.
    pub(super) read_in: u64,
    /// Which changes it has read.
    pub(super) changes: Option<ChangeSet>,
    /// Ids of those of its changes that were not put off.
    pub(super) unread: Vec<i64>,
    /// A record has answered for them.
    pub(super) answered: bool,
    /// The database's time and ours, as it read them.
    pub(super) clocks: Option<Reading>,
    /// What its API said that is of weight for others, and when.
    pub(super) word: Option<(Word, Moment)>,
    pub(super) step: Step,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Step {
    /// It is read with this batch or a later one.
    Read { batch: u64 },
    /// The engine is asked for its container.
    Inspect(Box<Seen>),
    /// Its API is asked.
    Probe {
        seen: Box<Seen>,
        profile: &'static Profile,
        /// Somebody rang for a foreign write: it is read once more, and was last wanted for this batch.
        reread: Option<u64>,
    },
    /// It is recorded.
    Record(Box<Proposed>),
    /// Between two of them; it never stays there.
    Between,
}

/// What was seen of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) snapshot: Box<Snapshot>,
    pub(super) cause: Cause,
    /// The engine did not answer for its container, and is to be asked again.
    pub(super) unanswered: bool,
}

/// What is known of a proposal beside what is sent.
#[derive(Debug)]
pub(super) struct Proposed {
    /// What follows if it is recorded.
    pub(super) then: Outcome,
    /// How it ends all the same where what is recorded is not of this instance's making.
    pub(super) instead: Option<Outcome>,
    /// For the words that are said of it.
    pub(super) said: super::Said,
    /// After what time it is tried again if the table refuses the status.
    pub(super) unwritable_retry: Moment,
}

impl Run {
    /// Whether what asked for it is still to be answered for, by the next one. What it was given up for, as its container
    /// told something new, or was overtaken by asks anew.
    fn is_to_be_repeated(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Transient | Outcome::Failed(_) | Outcome::NotAsked(_) => {
                self.stop != Some(Stop::GiveUp)
            }
            Outcome::Final
            | Outcome::Ready(_)
            | Outcome::Again { .. }
            | Outcome::Overtaken
            | Outcome::Unsure
            | Outcome::Doubted(_)
            | Outcome::UnknownTable
            | Outcome::EpochEnded => false,
        }
    }
}

impl Controller {
    /// Has a reconciliation begin.
    pub(super) fn begin(&mut self, key: Key, wake: Wake, epoch: Uuid, now: Moment) {
        let batch = self.reads.want(key);
        self.begin_with(key, wake, epoch, batch, now);
    }

    /// The same for one that is read with this batch.
    pub(super) fn begin_with(
        &mut self,
        key: Key,
        wake: Wake,
        epoch: Uuid,
        batch: u64,
        now: Moment,
    ) {
        let run = Run {
            epoch,
            wake,
            known: self.witnesses.known(&key),
            followed: self.followers.followed(&key).map(str::to_owned),
            stop: None,
            write_rung: false,
            read_in: 0,
            changes: None,
            unread: Vec::new(),
            answered: false,
            clocks: None,
            word: None,
            step: Step::Read { batch },
        };
        self.followers.begun(&key, now);
        self.running.insert(key, run);
    }

    /// It has come to its end like this.
    pub(super) fn end_run(&mut self, key: Key, outcome: Outcome, now: Moment) {
        let Some(mut run) = self.running.remove(&key) else {
            return;
        };
        self.put_off_unanswered(key, &mut run, &outcome);
        if run.is_to_be_repeated(&outcome) {
            self.queue.carry(&key);
        }
        let ended = Reconciled {
            key,
            epoch: run.epoch,
            known: run.known,
            clocks: run.clocks,
            word: run.word,
            outcome,
        };
        self.reconciled(ended, now);
    }

    /// Its probe is to end without an answer, whether it has begun or not. Of two reasons the greater one counts.
    pub(super) fn ask_to_end(&mut self, key: Key, stop: Stop) {
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        run.stop = run.stop.max(Some(stop));
        if matches!(run.step, Step::Probe { .. }) {
            self.out.push_back(Command::EndProbe { key, stop });
        }
    }

    /// Somebody else may have written the status since it was read: any role may ring, so it is read once more before
    /// that ends the probe of one that is to be restored.
    /// Before there is a probe it is only noted: the snapshot may be older than the write.
    pub(super) fn overwritten(&mut self, key: Key) {
        let Some(run) = self.running.get_mut(&key) else {
            return;
        };
        match &mut run.step {
            Step::Read { .. } | Step::Inspect(_) => run.write_rung = true,
            Step::Probe { seen, reread, .. } => {
                // Once for each batch, however often somebody rings.
                let wanted = *reread == Some(self.reads.next());
                if !wanted && crate::verdict::is_ours_to_restore(&seen.snapshot.facts) {
                    *reread = Some(self.reads.want(key));
                }
            }
            Step::Record(_) | Step::Between => {}
        }
    }
}
