//! The work of a term beside its reconciliations: what is begun when, and what comes of it.

use super::phase::Phase;
use super::{Command, Controller, Done, Hindrance, Notice, Round, Work};
use crate::Cause;
use crate::queue::Moment;

impl Controller {
    /// The next work that is wanted and not under way.
    pub(super) fn next_work(&mut self, now: Moment) -> Option<Command> {
        let wanted = self.begin_scan().map(Work::Scan);
        let work = wanted.or_else(|| self.begin_bell(now));
        let Phase::Leading(term) = &mut self.phase else {
            return None;
        };
        let epoch = term.epoch;
        let work = if let Some(work) = work {
            work
        } else if let Some(note) = term.engine.begin_note() {
            note
        } else if let Some(note) = self.troubles.begin_note() {
            Work::NoteTrouble(note)
        } else if let Some(compare) = term.engine.begin_compare() {
            compare
        } else if std::mem::take(&mut term.ready_wanted) {
            Work::FindReady
        } else if term.owed.begin() {
            Work::WorkOff
        } else if term.echo_due.is_some_and(|due| due <= now) {
            term.echo_due = None;
            Work::Echo
        } else {
            return None;
        };
        Some(Command::Do { epoch, work })
    }

    /// Work of this term has ended.
    pub(super) fn done(&mut self, done: Done, now: Moment) {
        match done {
            Done::Scanned { wanted: _, result } => self.scanned(result, now),
            Done::Echoed(result) => self.echoed(result, now),
            Done::Compared(result) => self.compared(result, now),
            Done::WorkedOff(round) => self.worked_off(round, now),
            Done::FoundReady(found) => self.found_ready(found, now),
            Done::NotedEngine(done) => {
                if let Phase::Leading(term) = &mut self.phase {
                    term.engine.noted(done);
                }
            }
            Done::NotedTrouble(done) => self.troubles.noted(done),
            Done::Hushed(done) => self.hushed(done, now),
            Done::Resounds(done) => self.resounds(done, now),
            Done::Awaited(done) => self.awaited(done, now),
        }
    }

    fn worked_off(&mut self, round: Round, now: Moment) {
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        term.owed.ended(round.more, round.later);
        let unlogged = round.hindered.iter().find_map(Hindrance::unlogged);
        if let Some(why) = unlogged {
            self.troubles.log_refuses(Some(why));
        } else if !round.more && !round.later && self.troubles.log_refuses(None) {
            self.say(Notice::LogAgain);
        }
        for hindrance in round.hindered {
            let news = self.troubles.failed(hindrance.error(), now);
            self.say(Notice::Hindered { hindrance, news });
        }
        for key in round.keys {
            self.wake(key, Cause::Watch, now);
        }
    }
}
