//! Whatever may happen, in any order.

use auth_reconciler_core::answer::Shortage;
use proptest::prelude::*;

use crate::by_the_clock::times;
use crate::dock::Fate;
use crate::rng::Rng;
use crate::sim::{Op, Sim};
use crate::world::{Api, Chatter, Net};

const INSTANCES: usize = 4;

/// Looks at one instance in an hour in which nothing happens: one a minute of the net, one that its output leads to,
/// and the canaries of a doubt.
const LOOKS_IN_A_QUIET_HOUR: usize = 400;

fn fates() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        2 => (0..2usize).prop_map(Fate::Create),
        5 => Just(Fate::Start),
        3 => Just(Fate::Die),
        1 => Just(Fate::Pause),
        2 => Just(Fate::Unpause),
        1 => Just(Fate::Remove),
    ];
    prop_oneof![
        8 => (0..INSTANCES, fate).prop_map(|(i, fate)| Op::Container(i, fate)),
        3 => (0..INSTANCES).prop_map(Op::Output),
        1 => Just(Op::Sees(None)),
        1 => Just(Op::Sees(Some(0))),
        1 => Just(Op::Sees(Some(1))),
    ]
}

fn apis() -> impl Strategy<Value = Api> {
    prop_oneof![
        2 => Just(Api::Silent),
        1 => Just(Api::Hanging),
        1 => Just(Api::Odd),
        1 => Just(Api::Rejecting),
        2 => Just(Api::NotConnected),
        2 => Just(Api::Error),
        4 => Just(Api::Ready),
    ]
}

fn nets() -> impl Strategy<Value = Op> {
    let chatter = |(lines, after, with_path)| {
        Op::Chatter(Chatter {
            lines,
            after,
            with_path,
        })
    };
    prop_oneof![
        3 => Just(Op::Net(Net::Fine)),
        2 => Just(Op::Net(Net::Lost)),
        1 => Just(Op::Net(Net::Refusing)),
        1 => Just(Op::Net(Net::Nameless)),
        1 => Just(Op::Net(Net::Proxy(403))),
        1 => Just(Op::Net(Net::Proxy(404))),
        1 => Just(Op::Net(Net::Short(Shortage::Resolver))),
        1 => Just(Op::Net(Net::Scarce)),
        1 => (prop::array::uniform3(0u32..3), 0u64..=50, any::<bool>()).prop_map(chatter),
        1 => (10i64..7_200, any::<bool>()).prop_map(|(by, back)| Op::Clock(if back { -by } else { by })),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let instance = 0..INSTANCES;
    let status = proptest::sample::select(vec!["pending", "client_ready", "failed", "nonsense"]);
    let op = prop_oneof![
        3 => instance.clone().prop_map(Op::NewKey),
        2 => instance.clone().prop_map(Op::Open),
        2 => any::<bool>().prop_map(Op::EndOpen),
        1 => instance.clone().prop_map(Op::ClearKey),
        2 => instance.clone().prop_map(Op::WriteAccount),
        3 => (instance.clone(), status).prop_map(|(i, status)| Op::ForeignStatus(i, status)),
        4 => (instance.clone(), apis()).prop_map(|(i, api)| Op::World(i, api)),
        1 => instance.clone().prop_map(Op::Delete),
        8 => Just(Op::Dispatch),
        8 => instance.prop_map(Op::Probe),
        8 => Just(Op::Record),
        4 => (1u64..30_000).prop_map(Op::Wait),
        1 => Just(Op::Kill),
        2 => Just(Op::Start),
        3 => (1usize..4).prop_map(Op::Step),
        4 => (0usize..4).prop_map(Op::Finish),
        1 => Just(Op::LoseListener),
        1 => Just(Op::Deafen),
        1 => any::<bool>().prop_map(Op::OtherLeads),
        1 => any::<bool>().prop_map(Op::BreakLog),
        1 => Just(Op::LoseRings),
    ];
    let all = prop_oneof![12 => op, 4 => fates(), 2 => nets()];
    proptest::collection::vec(all, 0..140)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400 * times::<u32>(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_truth_is_told_once_it_is_quiet(
        ops in ops(), docked in any::<bool>(), seed in any::<u64>()
    ) {
        let mut sim = if docked { Sim::with_engine(INSTANCES) } else { Sim::new(INSTANCES) };
        sim.rng = Rng::new(seed);
        sim.prompt = seed % 2 == 0;
        for op in ops {
            sim.apply(op);
        }
        let before = sim.probes.clone();
        sim.quiet();
        for (instance, before) in before.into_iter().enumerate() {
            prop_assert_eq!(sim.wrong(instance), None);
            let looks = sim.probes[instance] - before;
            prop_assert!(looks <= LOOKS_IN_A_QUIET_HOUR, "{} looks in a quiet hour", looks);
        }
        prop_assert_eq!(sim.unjustified_doubt(), None, "it is doubted though this one answers");
        prop_assert_eq!(sim.unobserved(), 0, "every change was answered for");
        prop_assert_eq!(sim.timers_of_final_instances(), 0, "nothing is armed in final states");
    }
}

/// The answer came while all was well, and its record when the way was lost already: no witness of what came between.
#[test]
fn an_answer_is_a_witness_from_when_it_came() {
    let mut sim = Sim::new(4);
    sim.apply(Op::Start);
    for i in 0..4 {
        sim.apply(Op::World(i, Api::Ready));
        sim.apply(Op::NewKey(i));
        sim.settle();
    }
    sim.apply(Op::Wait(60_000));
    for i in [1, 0] {
        sim.apply(Op::WriteAccount(i));
        sim.apply(Op::Dispatch);
        sim.apply(Op::Probe(i));
        sim.apply(Op::Net(Net::Lost));
        sim.apply(Op::Wait(1_500));
    }
    sim.apply(Op::Record);
    sim.apply(Op::Dispatch);
    sim.apply(Op::Record);
    for _ in 0..100 {
        sim.settle();
        sim.apply(Op::Wait(250));
        assert_eq!(sim.db.said(0), Some("client_ready"), "at {} ms", sim.now);
    }
}

#[test]
fn a_mad_writer_causes_a_bounded_number_of_probes() {
    let mut sim = Sim::new(3);
    sim.apply(Op::Start);
    sim.apply(Op::World(0, Api::Ready));
    sim.apply(Op::NewKey(0));
    sim.settle();
    let before = sim.probes[0];
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
    let probes = sim.probes[0] - before;
    assert!(
        probes <= 25,
        "{probes} probes in a minute of 1,000 foreign writes a second"
    );
    sim.quiet();
    assert_eq!(sim.db.said(0), Some("client_ready"));
}
