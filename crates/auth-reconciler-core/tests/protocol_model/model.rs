//! What is promised, the pieces of the world in which it is tried, and the steps that there are.

use crate::outside::Outside;
use crate::protocol::{Protocol, SessionStep};
use crate::record::{Owner, run_of};
use crate::state::{Api, Budget, State};
use crate::writers::Write;

/// What must hold; design invariants in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A verdict is recorded only while all that it was computed from still stands (I2).
    Fenced,
    /// A committed change leaves the log, or is put off, only with a run that read it (I3).
    NothingLost,
    /// Never two runs of a key at once in one process (I4).
    OneRun,
    /// Once inputs are quiet the row comes to say the truth, and no change is left over (I3).
    Converges,
}

/// How a history starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The row is new, its change is in the log, its API is starting, and nobody leads.
    New,
    /// The row is recorded as ready, nothing is in the log, and the first process leads.
    Ready,
    /// The row is new, its table is not watched yet, and the first process leads.
    Unwatched,
}

/// One bounded piece of the world, and the protocol to try in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daemons {
    pub(crate) protocol: Protocol,
    /// How many processes there are, all of them alive at first.
    pub(crate) processes: usize,
    /// How the history starts.
    pub(crate) start: Beginning,
    pub(crate) writes: &'static [Write],
    /// Whether foreign writers commit asynchronously.
    pub(crate) async_writers: bool,
    /// Whether foreign transactions go on after they have drawn their id.
    pub(crate) writers_stay_open: bool,
    /// Whether something may happen between the snapshot of a read and its answer.
    pub(crate) answers_take_time: bool,
    /// How far below the floor a log read still begins for the sake of an open transaction.
    /// `None`: every log read begins with the log. That is as safe, only dearer in the real world,
    /// and has fewer states.
    pub(crate) near: Option<u8>,
    /// Whether a crash may take back even synchronous commits (fail-over to a lagging standby).
    pub(crate) standby_lags: bool,
    pub(crate) budget: Budget,
    /// Watch only how histories end: a verdict that no longer stands, or a change that is put off
    /// unread, is let pass, to see whether it does lasting harm.
    pub(crate) only_the_end: bool,
}

/// One atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Outside(Outside),
    HiccupEnds,
    Identify(usize),
    CommitWrite(usize),
    Start(usize),
    Session(usize, SessionStep),
    Ring(usize),
    Timer(usize),
    List(usize),
    Read(usize),
    Answer(usize),
    Probe(usize),
    EnterPutOff,
    CommitPutOff,
    Enter(Owner),
    Begin(Owner),
    Commit(Owner),
}

/// `None`: not possible. A step that breaks a promise has no result.
pub(crate) type Outcome = Option<Result<State, Promise>>;

impl Daemons {
    /// What `step` makes of a state; `None` if it is not possible there.
    pub(crate) fn take(&self, before: &State, step: Step) -> Outcome {
        if !self.conceivable(before, step) {
            return None;
        }
        let mut after = *before;
        let done = match step {
            Step::Outside(event) => self.happen(&mut after, event),
            Step::HiccupEnds => {
                after.api = Api::Ready;
                true
            }
            Step::Identify(slot) => self.identify(&mut after, slot),
            Step::CommitWrite(slot) => self.commit_write(&mut after, slot),
            Step::Start(process) => {
                after.processes[process].alive = true;
                true
            }
            Step::Session(process, next) => self.session_step(&mut after, process, next),
            Step::Ring(process) => {
                self.hear(&mut after, process);
                true
            }
            Step::Timer(process) => {
                after.processes[process].armed = false;
                self.wake(&mut after.processes[process]);
                true
            }
            Step::List(process) => {
                self.list(&mut after, process);
                true
            }
            Step::Read(process) => return self.read(before, process),
            Step::Answer(process) => self.answer(&mut after, process),
            Step::Probe(process) => self.probe(&mut after, process),
            Step::EnterPutOff => self.enter_put_off(&mut after),
            Step::CommitPutOff => return self.commit_put_off(before),
            Step::Enter(owner) => return self.enter(before, owner).map(Ok),
            Step::Begin(owner) => return self.begin(before, owner).map(Ok),
            Step::Commit(owner) => return self.commit(before, owner),
        };
        done.then_some(Ok(after))
    }

    /// Makes equal what differs in nothing that can ever matter, for fewer states.
    pub(crate) fn simplify(&self, state: &mut State) {
        for process in &mut state.processes {
            // Of one key all is read that its log read would find.
            process.owes_log &= self.near.is_some() || !process.queued;
            let owed_anyway = process.owes_log || (self.near.is_none() && process.queued);
            if let Some(run) = process.run.as_mut().filter(|_| owed_anyway) {
                run.passed_over = false;
            }
        }
    }

    /// Whether `step` is worth a copy of the state: what can be told at a glance.
    fn conceivable(&self, state: &State, step: Step) -> bool {
        let at = |index: usize| &state.processes[index];
        match step {
            Step::Outside(event) => event.may_happen(state),
            Step::HiccupEnds => state.api == Api::Hiccup,
            Step::Identify(slot) | Step::CommitWrite(slot) => state.open[slot].is_some(),
            Step::Start(index) => !at(index).alive,
            Step::Session(index, next) => {
                let done = at(index).ear.map_or(0, usize::from);
                at(index).alive && self.protocol.session().get(done) == Some(&next)
            }
            Step::Ring(index) => at(index).ringing && self.did(state, index, SessionStep::TakeOver),
            Step::Timer(index) => at(index).armed,
            Step::List(index) => at(index).lists,
            Step::Read(index) => at(index).queued || at(index).owes_log,
            Step::Answer(index) => at(index).reading.is_some(),
            Step::Probe(index) => at(index).run.is_some(),
            Step::EnterPutOff | Step::CommitPutOff => state.put_off.is_some(),
            Step::Enter(owner) | Step::Begin(owner) | Step::Commit(owner) => {
                run_of(state, owner).is_some()
            }
        }
    }

    /// A synchronous commit makes durable all that came before it.
    pub(crate) fn flush(&self, state: &mut State) {
        if !self.standby_lags {
            state.doomed = None;
        }
    }
}
