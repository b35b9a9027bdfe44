//! How many lines a probe of ours causes in a container's output.

use crate::Answer;
use crate::answer::Silence;

/// What kind of answer a probe met: probes that meet the same kind cause the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// READY, with proof of who it is.
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

/// What is known of the lines that a probe causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Too little was counted.
    Nothing,
    /// So many: another number is news.
    Number(u32),
    /// Now so many and now so many: only more than ever before is surely news.
    Varies {
        /// The most that was counted.
        most: u32,
    },
}

/// What a number of lines says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is our own noise.
    Nothing,
    /// It may be news, or our own noise as well.
    Maybe,
    /// It is news.
    News,
}

/// A whole count that is another number than the known one counts for so much, one that is this number for one less …
const CONTRADICTION: u32 = 2;

/// … and this many say that the number varies: three contradictions in a row, or some more among counts that agree.
const ENOUGH: u32 = 6;

/// So many equal counts in a row are a number, whatever was before …
const EQUAL: u32 = 3;

/// … and so many where it varied: chance does not make them.
const EQUAL_AGAIN: u32 = 8;

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
    /// The most of all.
    most: u32,
    /// How many of the last were the same.
    same: u32,
    /// How much speaks against there being a number.
    suspicion: u32,
}

impl Counts {
    const fn new(kind: Kind, late: bool) -> Self {
        Self {
            kind,
            late,
            last: Vec::new(),
            none: false,
            most: 0,
            same: 0,
            suspicion: 0,
        }
    }

    fn known(&self) -> (Known, Says) {
        let otherwise = if self.suspicion > 0 {
            Says::Maybe
        } else {
            Says::News
        };
        (self.number(), otherwise)
    }

    /// The smallest of the last three counts; unknown before there are two, but where one was zero.
    fn number(&self) -> Known {
        if self.suspicion >= ENOUGH {
            return Known::Varies { most: self.most };
        }
        if self.none {
            return Known::Number(0);
        }
        match self.last.iter().min() {
            Some(least) if self.last.len() > 1 => Known::Number(*least),
            Some(_) | None => Known::Nothing,
        }
    }

    fn learn(&mut self, lines: u32) {
        self.same = if self.last.last() == Some(&lines) {
            self.same.saturating_add(1)
        } else {
            1
        };
        self.suspicion = match self.number() {
            Known::Number(_) if self.same >= EQUAL => 0,
            Known::Number(own) if own == lines => self.suspicion.saturating_sub(1),
            Known::Number(_) => self.suspicion + CONTRADICTION,
            Known::Nothing | Known::Varies { .. } => self.suspicion,
        };
        if self.last.len() == 3 {
            self.last.remove(0);
        }
        self.last.push(lines);
        self.none |= lines == 0;
        self.most = self.most.max(lines);
        if self.suspicion >= ENOUGH && self.same >= EQUAL_AGAIN {
            self.suspicion = 0;
            self.none = lines == 0;
            self.most = lines;
        }
    }
}

impl Own {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What is known of such probes, and what it says where they contradict it.
    pub(super) fn known(&self, kind: Kind, late: bool) -> (Known, Says) {
        let mut all = self.0.iter();
        all.find(|counts| counts.kind == kind && counts.late == late)
            .map_or((Known::Nothing, Says::News), Counts::known)
    }

    /// What so many lines say while more may come: those beyond what such a probe causes are news.
    pub(super) fn so_far(&self, kind: Kind, late: bool, lines: u32) -> Says {
        match self.known(kind, late) {
            (Known::Number(own), otherwise) if lines > own => otherwise,
            (Known::Varies { most }, _) if lines > most => Says::News,
            (Known::Nothing | Known::Number(_) | Known::Varies { .. }, _) => Says::Nothing,
        }
    }

    /// What so many lines say when they are all: another number than the known one may hide news.
    pub(super) fn in_all(&self, kind: Kind, late: bool, lines: u32) -> Says {
        match self.known(kind, late) {
            (Known::Number(own), otherwise) if lines != own => otherwise,
            (Known::Varies { most }, _) if lines > most => Says::News,
            (Known::Nothing | Known::Varies { .. }, otherwise) if lines > 0 => otherwise,
            (Known::Nothing | Known::Number(_) | Known::Varies { .. }, _) => Says::Nothing,
        }
    }

    /// What lines say that may belong to more than one probe.
    pub(super) fn in_part(&self, kind: Kind, late: bool, lines: u32) -> Says {
        let (_, otherwise) = self.known(kind, late);
        if lines > 0 { otherwise } else { Says::Nothing }
    }

    /// Such a probe was followed by so many lines, all that there were.
    pub(super) fn learn(&mut self, kind: Kind, late: bool, lines: u32) {
        let mut all = self.0.iter_mut();
        if let Some(counts) = all.find(|counts| counts.kind == kind && counts.late == late) {
            return counts.learn(lines);
        }
        let mut counts = Counts::new(kind, late);
        counts.learn(lines);
        self.0.push(counts);
    }
}
