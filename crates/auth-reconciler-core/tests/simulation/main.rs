//! The pure core against a small world, in any order of events.
//!
//! Proptest makes up histories: rows change, APIs change, somebody else writes statuses, probes and
//! records finish early or late, the daemon is killed and started, its ear is lost. [`sim::Sim`]
//! holds a database with the change log and the fence of the SQL, and a daemon that is the real
//! queue and the real verdicts. Afterwards the inputs are quiet, time goes on, and:
//!
//! * every row says what is true, the change log is empty, and nothing final keeps a timer;
//! * at no moment did a key run twice at once, nor more runs than slots;
//! * no verdict was accepted though the key it was asked with was no longer the row's;
//! * an instance was probed no more often than its pace allows.

// Helpers of a test: an impossible state ends it, and clippy knows only #[test] functions as tests.
#![allow(clippy::expect_used, clippy::panic)]

mod dock;
mod dock_sim;
mod parts;
mod sim;

use auth_reconciler_core::AuthStatus;
use dock::Fate;
use parts::{Api, Op};
use proptest::prelude::*;
use sim::{INSTANCES, Sim};

fn fates() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        2 => Just(Fate::Create),
        5 => Just(Fate::Start),
        3 => Just(Fate::Die),
        1 => Just(Fate::Pause),
        2 => Just(Fate::Unpause),
        1 => Just(Fate::Remove),
    ];
    prop_oneof![
        8 => (0..INSTANCES, fate).prop_map(|(i, fate)| Op::Container(i, fate)),
        3 => (0..INSTANCES).prop_map(Op::Output),
        1 => Just(Op::EngineLost),
        1 => Just(Op::EngineBack),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let instance = 0..INSTANCES;
    let api = prop_oneof![
        Just(Api::Silent),
        Just(Api::NotConnected),
        Just(Api::Error),
        Just(Api::Ready),
    ];
    let status = proptest::sample::select(vec!["pending", "client_ready", "failed", "nonsense"]);
    let op = prop_oneof![
        3 => instance.clone().prop_map(Op::NewKey),
        1 => instance.clone().prop_map(Op::ClearKey),
        2 => instance.clone().prop_map(Op::WriteAccount),
        3 => (instance.clone(), status).prop_map(|(i, status)| Op::ForeignStatus(i, status)),
        4 => (instance.clone(), api).prop_map(|(i, api)| Op::World(i, api)),
        1 => instance.clone().prop_map(Op::Delete),
        6 => Just(Op::Dispatch),
        6 => instance.clone().prop_map(Op::Probe),
        6 => instance.prop_map(Op::Record),
        4 => (1u64..30_000).prop_map(Op::Wait),
        1 => Just(Op::Kill),
        2 => Just(Op::Start),
        1 => Just(Op::LoseEar),
        1 => Just(Op::LoseRings),
    ];
    proptest::collection::vec(prop_oneof![3 => op, 1 => fates()], 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_truth_is_told_once_it_is_quiet(ops in ops(), docked in any::<bool>()) {
        let mut sim = if docked { Sim::with_engine() } else { Sim::new() };
        for op in ops {
            sim.apply(op);
        }
        sim.quiet();
        for instance in 0..INSTANCES {
            let said = sim.status(instance);
            let expected = sim.truth(instance);
            prop_assert!(
                expected.contains(&said.as_deref()),
                "instance {} says {:?}, true is one of {:?}", instance, said, expected
            );
        }
        prop_assert_eq!(sim.unobserved(), 0, "every change was answered for");
        prop_assert_eq!(sim.timers_of_final_instances(), 0, "nothing is armed in final states");
    }
}

#[test]
fn a_mad_writer_causes_a_bounded_number_of_probes() {
    let mut sim = Sim::new();
    sim.apply(Op::Start);
    sim.apply(Op::World(0, Api::Ready));
    sim.apply(Op::NewKey(0));
    sim.settle();
    let before = sim.probes();
    for turn in 0..60_000 {
        let status = if turn % 2 == 0 {
            "pending"
        } else {
            "client_ready"
        };
        sim.apply(Op::ForeignStatus(0, status));
        sim.apply(Op::Wait(1));
        sim.settle();
    }
    let probes = sim.probes() - before;
    assert!(
        probes <= 25,
        "{probes} probes in a minute of 1,000 foreign writes a second"
    );
    sim.quiet();
    assert_eq!(
        sim.status(0).as_deref(),
        Some(AuthStatus::ClientReady.as_str())
    );
}
