//! A breadth-first search over every reachable state of a model.
//!
//! The first violation met is therefore one of the shortest, and the steps that lead to it are
//! its explanation. Besides what a step itself may break, each state is asked whether it would
//! *settle* well if nothing more came from outside: the search follows the model's own schedule
//! from there and remembers every state that was seen to end well.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What the search needs to know of a model.
pub(crate) trait Model {
    /// Everything that tells two situations apart.
    type State: Copy + Eq + Hash;
    /// One atomic step, by whomever.
    type Step: Copy + Display;
    /// A promise that a step or a state can break.
    type Promise: Copy + Debug;

    /// Where every history starts.
    fn initial(&self) -> Self::State;
    /// Calls `visit` with each step possible in `state` and with its result.
    fn steps(
        &self,
        state: &Self::State,
        visit: &mut dyn FnMut(Self::Step, Result<Self::State, Self::Promise>),
    );
    /// What happens next when nothing more comes from outside.
    fn settle(&self, state: &Self::State) -> Settle<Self>;
}

/// One step of the quiet schedule.
pub(crate) enum Settle<M: Model + ?Sized> {
    /// At rest, and right.
    Right,
    /// At rest, but wrong.
    Broken(M::Promise),
    /// Not at rest yet.
    Next(M::Step, M::State),
}

/// What a search saw.
pub(crate) struct Explored<P> {
    /// How many different states.
    pub(crate) states: usize,
    /// The first broken promise, with the steps that lead to it, one a line.
    pub(crate) broken: Option<(P, String)>,
}

/// More quiet steps than any history of these models needs to come to rest.
const PATIENCE: usize = 300;

/// Visits every reachable state, or stops at the first broken promise.
pub(crate) fn explore<M: Model>(model: &M) -> Explored<M::Promise> {
    let mut search = Search {
        nodes: Vec::new(),
        known: HashSet::default(),
        calm: HashSet::default(),
    };
    let mut next = 0;
    let mut broken = search.add(model, model.initial(), None);
    while broken.is_none() && next < search.nodes.len() {
        let state = search.nodes[next].state;
        model.steps(&state, &mut |step, result| {
            if broken.is_some() {
                return;
            }
            broken = match result {
                Ok(state) => search.add(model, state, Some((next, step))),
                Err(promise) => Some((promise, search.trace(next, &[step]))),
            };
        });
        next += 1;
    }
    Explored {
        states: search.nodes.len(),
        broken,
    }
}

struct Node<M: Model> {
    state: M::State,
    from: Option<(usize, M::Step)>,
}

struct Search<M: Model> {
    nodes: Vec<Node<M>>,
    known: HashSet<M::State, BuildHasherDefault<Fnv>>,
    calm: HashSet<M::State, BuildHasherDefault<Fnv>>,
}

impl<M: Model> Search<M> {
    fn add(
        &mut self,
        model: &M,
        state: M::State,
        from: Option<(usize, M::Step)>,
    ) -> Option<(M::Promise, String)> {
        if !self.known.insert(state) {
            return None;
        }
        self.nodes.push(Node { state, from });
        let (promise, quiet) = self.unsettled(model, state)?;
        let trace = self.trace(self.nodes.len() - 1, &[]);
        Some((promise, format!("{trace}{}", lines("quiet: ", &quiet))))
    }

    /// Follows the quiet schedule from `state`; the promise that its end breaks, and the way.
    fn unsettled(&mut self, model: &M, state: M::State) -> Option<(M::Promise, Vec<M::Step>)> {
        let mut way = Vec::new();
        let mut at = state;
        while self.calm.insert(at) {
            assert!(way.len() < PATIENCE, "never at rest: {}", lines("", &way));
            match model.settle(&at) {
                Settle::Right => break,
                Settle::Broken(promise) => return Some((promise, way)),
                Settle::Next(step, then) => {
                    way.push(step);
                    at = then;
                }
            }
        }
        None
    }

    fn trace(&self, node: usize, last: &[M::Step]) -> String {
        let mut steps = Vec::new();
        let mut at = node;
        while let Some((before, step)) = self.nodes[at].from {
            steps.push(step);
            at = before;
        }
        steps.reverse();
        steps.extend_from_slice(last);
        lines("", &steps)
    }
}

fn lines<S: Display>(lead: &str, steps: &[S]) -> String {
    steps
        .iter()
        .map(|step| format!("  {lead}{step}\n"))
        .collect()
}

/// FNV-1a: the default hasher resists attackers, which costs half the run in a debug build.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    fn write_isize(&mut self, word: isize) {
        // Enum discriminants: one round instead of eight.
        self.0 = (self.0 ^ word.cast_unsigned() as u64).wrapping_mul(0x0100_0000_01b3);
    }
}
