//! What is outside of the daemon: APIs, the way to them, and what a container writes when it is asked.

use auth_reconciler_core::Answer;
use auth_reconciler_core::answer::{Shortage, Silence};

/// What an instance's API would say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Silent,
    Hanging,
    /// Something that is not in the words of the profile.
    Odd,
    Rejecting,
    NotConnected,
    Error,
    Ready,
}

impl Api {
    /// Whether it answers in the words of its profile.
    pub(crate) const fn speaks(self) -> bool {
        match self {
            Self::NotConnected | Self::Error | Self::Ready => true,
            Self::Silent | Self::Hanging | Self::Odd | Self::Rejecting => false,
        }
    }
}

/// Our own way to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    Fine,
    /// Nothing comes back.
    Lost,
    /// A tunnel of ours refuses everything.
    Refusing,
    /// The resolver says that there is no such name.
    Nameless,
    /// Somebody in between answers everything with this code.
    Proxy(u16),
    /// The same with 403, but for so many who come first.
    ProxyAfter(usize),
    /// Something of ours is short.
    Short(Shortage),
    /// It is short for every second probe.
    Scarce,
}

/// What each request makes a container write: lines as it comes, before its answer goes, and after that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chatter {
    pub(crate) lines: [u32; 3],
    /// How long after the answer the last of these come, in ms.
    pub(crate) after: u64,
    pub(crate) with_path: bool,
}

impl Chatter {
    pub(crate) const NONE: Self = Self {
        lines: [0; 3],
        after: 0,
        with_path: false,
    };
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) apis: Vec<Api>,
    pub(crate) net: Net,
    pub(crate) chatter: Chatter,
    asked: u64,
}

impl World {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            apis: vec![Api::Silent; instances],
            net: Net::Fine,
            chatter: Chatter::NONE,
            asked: 0,
        }
    }

    /// Whether a request comes to an API that would log it.
    pub(crate) fn reaches(&self, i: usize) -> bool {
        matches!(self.way(i), Net::Fine | Net::Scarce) && self.apis[i] != Api::Silent
    }

    /// The way to this one.
    fn way(&self, i: usize) -> Net {
        let Net::ProxyAfter(first) = self.net else {
            return self.net;
        };
        if i < first {
            Net::Fine
        } else {
            Net::Proxy(403)
        }
    }

    /// What a probe meets, and after how many ms. `serves` says whether its process runs, `fits` whether it was
    /// asked with the key that it knows.
    pub(crate) fn meet(&mut self, i: usize, serves: bool, fits: bool) -> (Answer, u64) {
        self.asked += 1;
        match self.way(i) {
            Net::Lost => (Answer::Silent(Silence::NoReply), 1_000),
            Net::Refusing => (Answer::Silent(Silence::Refused), 1),
            Net::Nameless => (Answer::Silent(Silence::UnknownHost), 5),
            Net::Proxy(code @ (401 | 403)) => (Answer::Rejected { code }, 3),
            Net::Proxy(code) => (Answer::Http { code }, 3),
            Net::ProxyAfter(_) => (Answer::Rejected { code: 403 }, 3),
            Net::Short(shortage) => (Answer::NotAsked(shortage), 0),
            Net::Scarce if self.asked.is_multiple_of(2) => {
                (Answer::NotAsked(Shortage::Descriptors), 0)
            }
            Net::Fine | Net::Scarce if !serves => (Answer::Silent(Silence::Refused), 1),
            Net::Fine | Net::Scarce if !fits => (Answer::Rejected { code: 401 }, 3),
            Net::Fine | Net::Scarce => match self.apis[i] {
                Api::Silent => (Answer::Silent(Silence::Refused), 1),
                Api::Hanging => (Answer::Silent(Silence::TimedOut), 5_000),
                Api::Odd => (Answer::Http { code: 500 }, 3),
                Api::Rejecting => (Answer::Rejected { code: 403 }, 3),
                Api::NotConnected => (Answer::NotConnected, 3),
                Api::Error => (Answer::ProviderError, 8),
                Api::Ready => (Answer::Ready, 5),
            },
        }
    }
}
