//! What is counted of one look, and what was told that no look has seen.

use super::own::Kind;
use super::tokens::LASTING;
use crate::queue::Moment;

/// What may as well be our own noise leads to a look while tokens of a beginning are left. Those that a lasting state has are
/// for what is surely news: a look for the other kind opens a window of its own, and is followed by the next, until none
/// is left when it is needed.
const KEPT: u32 = LASTING;

/// The lines of one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) lines: u32,
    /// When it ends; while its probe is out, only the first part of one has an end.
    pub(super) ends: Option<Moment>,
    pub(super) kind: Option<Kind>,
    /// The second part of one, which begins while its probe is out for long.
    pub(super) late: bool,
    /// A surplus or an unusual count led to its look: it is counted to its end before it leads to another.
    pub(super) to_its_end: bool,
    /// Not all of it was heard, or more than is its own, so it teaches nothing.
    pub(super) part: bool,
}

/// Something was told that no look has seen yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    /// The look that it leads to is counted to its end before it leads to another.
    pub(super) to_its_end: bool,
    /// Its token was taken when a probe was given up for it.
    pub(super) paid: bool,
    /// It may as well be our own noise.
    pub(super) vague: bool,
}

impl Hint {
    /// The tokens that are not for this one.
    pub(super) const fn keep(self) -> u32 {
        if self.vague { KEPT } else { 0 }
    }
}
