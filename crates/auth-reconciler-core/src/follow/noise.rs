//! Which output of one container is news, and which is the noise of our own looks.
//!
//! A server that logs the requests it serves would otherwise make each look lead to the next. Lines are
//! therefore counted within a *window* of each look, from the sending of its probe to a [tail](super::tail) after the
//! answer. How many lines a probe causes is learnt per life of the container and kind of answer; what is
//! beyond that number, and what comes outside windows, is news. When in doubt (nothing learnt yet, or
//! another number than usual) the window's end leads to one look: whatever was told in the window,
//! that look sees. Nothing is missed by a wrong guess; it costs a token (see [`super::tokens`]). Where counts contradict
//! each other they tell nothing: what is said in a window leads to a look only while tokens are plenty.

use std::time::Duration;

use super::own::{Kind, Own, Says};
use super::tail::Tail;
use super::tokens::Tokens;
use super::window::{Hint, Window};
use crate::queue::Moment;

/// A probe that is not answered by then is one of an API that hangs, or is slow.
const UNANSWERED: Duration = Duration::from_millis(90);
/// A line that comes when a probe has been out for so long may be news that the probe never sees …
const OUT: Duration = Duration::from_millis(35);
/// … so it is given up if it is not answered so long after that line.
const GIVE_UP: Duration = Duration::from_millis(55);
/// Shortest time between two looks that output leads to.
pub(super) const SPACING: Duration = Duration::from_millis(20);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Look,
    GiveUp,
}

/// How far the present look has come.
#[derive(Clone, Copy, Debug)]
enum Look {
    Idle,
    /// Asked for; not begun. What is said meanwhile it will see.
    Asked {
        to_its_end: bool,
    },
    /// Begun; its probe is not sent yet. What is said meanwhile it will see, if it sends one.
    Begun {
        to_its_end: bool,
        heard: bool,
    },
    /// Its probe is out.
    Out {
        since: Moment,
    },
    /// Its probe has ended; it has not.
    Ending,
}

/// What is known of one container's output in this life of it.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    own: Own,
    met: Vec<Kind>,
    last: Option<Kind>,
    look: Look,
    window: Option<Window>,
    hint: Option<Hint>,
    give_up: Option<Moment>,
    looked_at: Option<Moment>,
    tail: Tail,
    tokens: Tokens,
    refill: Duration,
    /// Its last look found it ready: it is left in peace unless it says more than its being asked makes it say.
    pub(super) rests: bool,
    heard: bool,
}

impl Noise {
    /// A new life.
    pub(super) const fn new(now: Moment, refill: Duration) -> Self {
        Self {
            own: Own::new(),
            met: Vec::new(),
            last: None,
            look: Look::Idle,
            window: None,
            hint: None,
            give_up: None,
            looked_at: None,
            tail: Tail::new(),
            tokens: Tokens::fresh(now, refill),
            refill,
            rests: false,
            heard: false,
        }
    }

    /// It is ready: what led up to that is over.
    pub(super) fn rests(&mut self, now: Moment) {
        self.advance(now);
        if !self.rests {
            self.rests = true;
            self.hint = None;
            self.tokens = Tokens::ready(now);
        }
    }

    /// It is ready no longer.
    pub(super) fn converges(&mut self, now: Moment) {
        self.advance(now);
        if self.rests {
            self.rests = false;
            self.tokens = Tokens::fresh(now, self.refill);
        }
    }

    /// Its output is followed from now on; what it said last may have been said since the last look.
    pub(super) fn heard_again(&mut self, now: Moment) {
        self.advance(now);
        if let Some(window) = &mut self.window {
            window.part = true;
        }
        if !std::mem::replace(&mut self.heard, true) || !self.rests {
            self.news(Says::News, false);
        }
    }

    /// Its output is followed no longer.
    pub(super) const fn unheard(&mut self) {
        self.window = None;
        self.give_up = None;
    }

    /// Its output has ended by itself. If it is ready no other look is to come.
    pub(super) fn over(&mut self, now: Moment) {
        self.advance(now);
        if self.rests {
            self.news(Says::News, false);
        }
    }

    /// Its output is lost with the engine: what it says meanwhile is looked for once it is heard again.
    pub(super) const fn lost(&mut self) {
        self.unheard();
        self.heard = false;
    }

    /// It wrote so many lines that do not hold the status path, and so many that do.
    pub(super) fn said(&mut self, lines: u32, with_path: u32, now: Moment) {
        self.advance(now);
        if with_path > 0 {
            self.tail.path();
        }
        if lines == 0 {
            return;
        }
        if let Look::Begun { heard, .. } = &mut self.look {
            *heard = true;
        }
        if let Look::Out { since } = self.look
            && now >= since + OUT
        {
            self.give_up.get_or_insert(now + GIVE_UP);
        }
        match &mut self.window {
            Some(window) => {
                window.lines = window.lines.saturating_add(lines);
                self.check_surplus();
            }
            None => {
                self.tail.outside(now);
                self.news(Says::News, false);
            }
        }
    }

    /// A look has begun.
    pub(super) fn begun(&mut self, now: Moment) {
        self.advance(now);
        let asked = matches!(self.look, Look::Asked { to_its_end: true });
        let hint = self.hint.take();
        self.look = Look::Begun {
            to_its_end: asked || hint.is_some_and(|hint| hint.to_its_end),
            heard: hint.is_some(),
        };
    }

    /// Its probe is sent, and whether its container is heard meanwhile.
    pub(super) fn sent(&mut self, now: Moment, heard: bool) {
        self.advance(now);
        let to_its_end = matches!(
            self.look,
            Look::Begun {
                to_its_end: true,
                ..
            }
        );
        // One whose window is still open teaches nothing more, nor does this one, into which lines of both fall.
        let cuts_short = self.window.is_some();
        self.window = heard.then_some(Window {
            lines: 0,
            ends: Some(now + UNANSWERED),
            kind: None,
            late: false,
            to_its_end,
            part: cuts_short,
        });
        self.hint = None;
        self.give_up = None;
        self.looked_at = Some(now);
        self.tail.sent();
        self.look = Look::Out { since: now };
    }

    /// What its probe met.
    pub(super) fn answered(&mut self, kind: Kind, now: Moment) {
        self.advance(now);
        if !matches!(self.look, Look::Out { .. }) {
            return;
        }
        self.look = Look::Ending;
        self.give_up = None;
        if self.tail.answered(kind, now) {
            self.own = Own::new();
        }
        if self.last != Some(kind) {
            let met_before = self.met.contains(&kind);
            if !self.rests {
                self.tokens.changed_answer(now, met_before);
            }
            self.last = Some(kind);
            if !met_before {
                self.met.push(kind);
            }
        }
        let Some(window) = &mut self.window else {
            return;
        };
        if kind.is_answer() {
            window.ends = Some(now + self.tail.length());
            window.kind = Some(kind);
            self.check_surplus();
        } else {
            let told = window.lines > 0;
            self.window = None;
            if told {
                self.news(Says::News, false);
            }
        }
    }

    /// The look has ended.
    pub(super) fn finished(&mut self, now: Moment) {
        self.advance(now);
        let untold = match self.look {
            Look::Begun { heard, .. } => heard,
            // Given up, or overtaken: what it was to see it has not seen.
            Look::Out { .. } => {
                let told = self.window.is_some_and(|window| window.lines > 0);
                self.window = None;
                told || self.give_up.is_some()
            }
            Look::Asked { to_its_end } => {
                // Another one, of which nobody was told, has ended; it is still to come.
                self.hint = Some(Hint {
                    to_its_end,
                    paid: true,
                    vague: false,
                });
                false
            }
            Look::Idle | Look::Ending => false,
        };
        self.give_up = None;
        self.look = Look::Idle;
        if untold {
            self.news(Says::News, false);
        }
    }

    /// What is to be done now, if anything.
    pub(super) fn next(&mut self, now: Moment) -> Option<Act> {
        self.advance(now);
        if self.due(now)? > now {
            return None;
        }
        match self.look {
            Look::Idle => {
                let hint = self.hint?;
                if !hint.paid && !self.tokens.take(now, hint.keep()) {
                    return None;
                }
                self.hint = None;
                self.looked_at = Some(now);
                self.look = Look::Asked {
                    to_its_end: hint.to_its_end,
                };
                Some(Act::Look)
            }
            Look::Out { .. } => {
                if !self.tokens.take(now, 0) {
                    return None;
                }
                self.give_up = None;
                self.hint = Some(Hint {
                    to_its_end: true,
                    paid: true,
                    vague: false,
                });
                Some(Act::GiveUp)
            }
            Look::Asked { .. } | Look::Begun { .. } | Look::Ending => None,
        }
    }

    /// When [`Noise::next`] has something to do, or to count, though nothing happens until then.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let ends = self.window.and_then(|window| window.ends);
        ends.into_iter().chain(self.due(now)).min()
    }

    fn due(&self, now: Moment) -> Option<Moment> {
        match self.look {
            Look::Idle => {
                let hint = self.hint?;
                if hint.paid {
                    return Some(now);
                }
                let spaced = self.looked_at.map_or(now, |at| at + SPACING);
                Some(spaced.max(self.tokens.next(now, hint.keep())))
            }
            Look::Out { .. } => self.give_up.map(|at| at.max(self.tokens.next(now, 0))),
            Look::Asked { .. } | Look::Begun { .. } | Look::Ending => None,
        }
    }

    /// Something was told that no look has seen.
    fn news(&mut self, says: Says, to_its_end: bool) {
        if says == Says::Nothing {
            return;
        }
        let vague = says == Says::Maybe && !self.rests;
        match &mut self.look {
            Look::Asked { .. } => {}
            Look::Begun { heard, .. } => *heard = true,
            Look::Idle | Look::Out { .. } | Look::Ending => {
                let hint = self.hint.get_or_insert(Hint {
                    to_its_end,
                    paid: false,
                    vague,
                });
                hint.to_its_end |= to_its_end;
                hint.vague &= vague;
            }
        }
    }

    /// The first line beyond what such a probe causes is news at once.
    fn check_surplus(&mut self) {
        let Some(window) = self.window else { return };
        let Some(kind) = window.kind.filter(|_| !window.to_its_end) else {
            return;
        };
        let says = self.own.so_far(kind, window.late, window.lines);
        self.news(says, true);
    }

    /// Ends the window whose time is over.
    fn advance(&mut self, now: Moment) {
        let Some(window) = self.window else { return };
        if window.ends.is_none_or(|ends| ends > now) {
            return;
        }
        self.window = None;
        let kind = window.kind.unwrap_or(Kind::Unanswered);
        let (late, lines) = (window.late, window.lines);
        // One that rests is not asked for what asking causes.
        let says = if self.rests {
            self.own.so_far(kind, late, lines)
        } else {
            self.own.in_all(kind, late, lines)
        };
        self.news(says, true);
        if window.part && !self.rests {
            self.news(self.own.in_part(kind, late, lines), true);
        }
        if !window.part {
            self.own.learn(kind, late, lines);
        }
        if let Look::Out { .. } = self.look {
            if says == Says::News {
                self.give_up = Some(window.ends.unwrap_or(now));
            }
            self.window = Some(Window {
                lines: 0,
                ends: None,
                kind: None,
                late: true,
                ..window
            });
        }
    }
}
