//! How many lines a probe of ours causes in a container's output.

use crate::Answer;
use crate::answer::Silence;

/// What kind of answer a probe met: probes that meet the same kind cause the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// READY.
    Ready,
    /// Logged in, not ready to send.
    Authenticated,
    /// A QR code waits.
    QrReady,
    /// Not connected.
    NotConnected,
    /// An error of its provider.
    ProviderError,
    /// 401 or 403.
    Rejected,
    /// Another status than 200.
    Http,
    /// Something that the profile cannot read.
    Unreadable,
    /// No answer in time.
    Unanswered,
    /// It reached nobody who would log it: refused, reset, not sent.
    Unheard,
}

impl Kind {
    /// The kind of an answer.
    #[must_use]
    pub const fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Ready => Self::Ready,
            Answer::Authenticated => Self::Authenticated,
            Answer::QrReady => Self::QrReady,
            Answer::NotConnected => Self::NotConnected,
            Answer::ProviderError => Self::ProviderError,
            Answer::Rejected { .. } => Self::Rejected,
            Answer::Http { .. } => Self::Http,
            Answer::Malformed { .. }
            | Answer::TooLarge { .. }
            | Answer::Silent(Silence::NotHttp) => Self::Unreadable,
            Answer::Silent(Silence::TimedOut) => Self::Unanswered,
            Answer::Silent(_) | Answer::NotAsked(_) => Self::Unheard,
        }
    }

    /// Whether an API that logs its requests has gone through with this one.
    pub(super) const fn is_answer(self) -> bool {
        !matches!(self, Self::Unanswered | Self::Unheard)
    }
}

/// What is known of it in one life of a container.
#[derive(Clone, Debug)]
pub(super) struct Own(Vec<Counts>);

/// The lines that probes of one kind caused.
#[derive(Clone, Debug)]
struct Counts {
    kind: Kind,
    /// Of the part of a look that came long after its probe was sent.
    late: bool,
    /// The last whole counts, at most three.
    last: Vec<u32>,
    /// One of all was zero: whatever else was counted was news, or an accident.
    none: bool,
}

impl Own {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many lines such a probe causes: the smallest of the last three counts; unknown before there are
    /// two, but where one was zero.
    pub(super) fn lines(&self, kind: Kind, late: bool) -> Option<u32> {
        let counts = self
            .0
            .iter()
            .find(|counts| counts.kind == kind && counts.late == late)?;
        if counts.none {
            return Some(0);
        }
        counts
            .last
            .iter()
            .min()
            .copied()
            .filter(|_| counts.last.len() > 1)
    }

    /// Such a probe was followed by so many lines, all that there were.
    pub(super) fn learn(&mut self, kind: Kind, late: bool, lines: u32) {
        let known = self
            .0
            .iter_mut()
            .find(|counts| counts.kind == kind && counts.late == late);
        if let Some(counts) = known {
            if counts.last.len() == 3 {
                counts.last.remove(0);
            }
            counts.last.push(lines);
            counts.none |= lines == 0;
        } else {
            self.0.push(Counts {
                kind,
                late,
                last: vec![lines],
                none: lines == 0,
            });
        }
    }
}
