//! A breadth-first search over every reachable state of a model.
//!
//! The first violation met is therefore one of the shortest, and the steps that lead to it are
//! its explanation. Besides what a step itself may break, each state is asked what happens next
//! when nothing more comes from outside: a state that is at rest must be right, and (asked at the
//! end, when every state is known) whoever follows these quiet steps must come to rest.

use std::collections::HashMap;
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
    /// Adds each step that is possible in `state`, with its result.
    fn steps(&self, state: &Self::State, possible: &mut Vec<Possible<Self>>);
    /// What happens next when nothing more comes from outside.
    fn quiet(&self, state: &Self::State, possible: &[Possible<Self>]) -> Quiet<Self::Promise>;
}

/// A possible step and what comes of it.
pub(crate) struct Possible<M: Model + ?Sized> {
    pub(crate) step: M::Step,
    pub(crate) result: Result<M::State, M::Promise>,
}

/// What happens in a state when nothing more comes from outside.
pub(crate) enum Quiet<P> {
    /// It is at rest, and right.
    Right,
    /// It is at rest, but wrong.
    Broken(P),
    /// This one of the possible steps is next.
    Next(usize),
}

/// What a search saw.
pub(crate) struct Explored<P> {
    /// How many different states.
    pub(crate) states: usize,
    /// The first broken promise, with the steps that lead to it, one a line.
    pub(crate) broken: Option<(P, String)>,
}

/// Visits every reachable state, or stops at the first broken promise.
pub(crate) fn explore<M: Model>(model: &M) -> Explored<M::Promise> {
    let mut search = Search::<M> {
        nodes: Vec::new(),
        known: HashMap::default(),
    };
    search.node(model.initial(), None);
    let mut quiet = Vec::new();
    let mut possible = Vec::new();
    let mut broken = None;
    while broken.is_none() && quiet.len() < search.nodes.len() {
        let at = quiet.len();
        let state = search.nodes[at].state;
        possible.clear();
        model.steps(&state, &mut possible);
        let next = model.quiet(&state, &possible);
        if let Quiet::Broken(promise) = next {
            broken = Some((promise, search.trace(at, None)));
        }
        let mut rest = at;
        for (index, Possible { step, result }) in possible.iter().enumerate() {
            match result {
                Ok(state) => {
                    let to = search.node(*state, Some((at, *step)));
                    if matches!(next, Quiet::Next(chosen) if chosen == index) {
                        rest = to;
                    }
                }
                Err(promise) => {
                    broken = broken.or_else(|| Some((*promise, search.trace(at, Some(*step)))));
                }
            }
        }
        quiet.push(rest);
    }
    if broken.is_none() {
        comes_to_rest(&quiet);
    }
    Explored {
        states: search.nodes.len(),
        broken,
    }
}

/// Follows the quiet step of every state (itself, if it is at rest) and meets no circle.
fn comes_to_rest(quiet: &[usize]) {
    const UNSEEN: usize = usize::MAX;
    let mut seen_from = vec![UNSEEN; quiet.len()];
    for start in 0..quiet.len() {
        let mut at = start;
        while seen_from[at] == UNSEEN {
            seen_from[at] = start;
            at = quiet[at];
        }
        let circle = seen_from[at] == start && quiet[at] != at;
        assert!(!circle, "a history that never comes to rest");
    }
}

struct Node<M: Model> {
    state: M::State,
    from: Option<(usize, M::Step)>,
}

struct Search<M: Model> {
    nodes: Vec<Node<M>>,
    known: HashMap<M::State, usize, BuildHasherDefault<Fnv>>,
}

impl<M: Model> Search<M> {
    /// The node of this state, a new one if it was never met.
    fn node(&mut self, state: M::State, from: Option<(usize, M::Step)>) -> usize {
        let new = self.nodes.len();
        let node = *self.known.entry(state).or_insert(new);
        if node == new {
            self.nodes.push(Node { state, from });
        }
        node
    }

    fn trace(&self, node: usize, last: Option<M::Step>) -> String {
        let mut steps: Vec<M::Step> = last.into_iter().collect();
        let mut at = node;
        while let Some((before, step)) = self.nodes[at].from {
            steps.push(step);
            at = before;
        }
        steps
            .iter()
            .rev()
            .map(|step| format!("  {step}\n"))
            .collect()
    }
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

#[test]
#[should_panic(expected = "never comes to rest")]
fn going_round_in_circles_is_not_rest() {
    comes_to_rest(&[1, 2, 1]);
}
