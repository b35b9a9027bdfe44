//! Fleets of 1 to 1,000 by the clock. Set `SIMULATION_SEED` to the number that a failure names to see it again, and
//! `SIMULATION_TIMES` to have so many times as many runs.

use auth_reconciler_core::answer::Shortage;

use crate::dock::Fate;
use crate::fleet::{MINUTE, SECOND};
use crate::rng::Rng;
use crate::sim::{Op, Sim};
use crate::world::{Api, Chatter, Net};

/// Within this after the end of any fault all is normal: the longest pause of the canaries or of a shortage, a look of
/// everybody, and the manager's next loop, whose last stale write is answered.
const BOUND: u64 = 75;

/// Runs it with many seeds, or the one that is asked for.
fn seeds(count: u64, run: impl Fn(u64)) {
    let wanted = std::env::var("SIMULATION_SEED").ok();
    if let Some(seed) = wanted.and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    for seed in 1..=count * times::<u64>() {
        let told = Told(seed);
        run(seed);
        std::mem::forget(told);
    }
}

/// How many times as many runs as usual are asked for.
pub(crate) fn times<N: std::str::FromStr + From<u8>>() -> N {
    let wanted = std::env::var("SIMULATION_TIMES").ok();
    wanted
        .and_then(|times| times.parse().ok())
        .unwrap_or_else(|| 1.into())
}

/// Says which seed it was when a run panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("to see it again: SIMULATION_SEED={}", self.0);
    }
}

/// The network is lost for 20 minutes, and each instance falls silent alone, at its own event.
fn outage(seed: u64, instances: usize, net: Net, shared: bool) {
    let mut sim = Sim::fleet(seed, instances, false);
    sim.manager_shares_fault = shared;
    sim.minutes(3);
    sim.apply(Op::Net(net));
    sim.minutes(20);
    assert_eq!(sim.ledger.false_failed, 0, "{instances} rows, {net:?}");
    sim.apply(Op::Net(Net::Fine));
    // Nobody but us puts right what the manager wrote in a fault that was its own, too.
    sim.still();
    sim.seconds(BOUND - 6);
    sim.assert_normal();
    assert_eq!(
        sim.ledger.false_failed, 0,
        "{instances} rows, after {net:?}"
    );
}

#[test]
fn a_lost_network_fails_nobody_of_a_thousand() {
    seeds(1, |seed| outage(seed, 1_000, Net::Lost, false));
}

#[test]
fn a_fault_of_our_own_fails_nobody() {
    let silent = [Net::Lost, Net::Nameless];
    let short = [
        Net::Short(Shortage::Descriptors),
        Net::Short(Shortage::Resolver),
        Net::Scarce,
    ];
    // Of one or two nobody can tell a tunnel of ours that refuses from APIs that are dead.
    let speaks = [Net::Refusing, Net::Proxy(403), Net::Proxy(404)];
    seeds(2, |seed| {
        for instances in [1, 2, 3, 7, 60] {
            for net in silent.into_iter().chain(short) {
                outage(seed, instances, net, seed % 2 == 0);
            }
        }
        for instances in [4, 7, 60] {
            for net in speaks {
                outage(seed, instances, net, seed % 2 == 0);
            }
        }
    });
}

/// It refuses everybody, and then lets through one after the other: the first is a witness, and yet nothing is the fault
/// of the others.
#[test]
fn a_proxy_that_lets_one_through_first_fails_nobody_for_good() {
    seeds(3, |seed| {
        for (instances, lasts) in [(7, 1), (60, 1), (7, 180), (60, 180)] {
            let mut sim = Sim::fleet(seed, instances, false);
            sim.minutes(1);
            sim.apply(Op::Net(Net::Proxy(403)));
            sim.minutes(10);
            assert_eq!(sim.ledger.false_failed, 0, "{instances} rows");
            for first in 1..=5 {
                sim.apply(Op::Net(Net::ProxyAfter(first)));
                sim.seconds(lasts);
            }
            sim.apply(Op::Net(Net::Fine));
            sim.still();
            sim.seconds(BOUND - 6);
            sim.assert_normal();
            // As with silence, it takes a witness and ten seconds.
            if lasts < 2 {
                assert_eq!(sim.ledger.false_failed, 0, "{instances} rows, let through");
            }
        }
    });
}

#[test]
fn one_that_is_really_silent_is_failed_while_others_answer() {
    seeds(10, |seed| {
        for api in [Api::Silent, Api::Hanging, Api::Odd, Api::Rejecting] {
            let mut sim = Sim::fleet(seed, 7, false);
            sim.apply(Op::World(3, api));
            sim.apply(Op::WriteAccount(3));
            sim.seconds(40);
            assert_eq!(sim.db.said(3), Some("failed"), "{api:?}");
            sim.apply(Op::World(3, Api::Ready));
            sim.seconds(61);
            // A refused key is final: somebody has to change it.
            if api != Api::Rejecting {
                assert_eq!(sim.db.said(3), Some("client_ready"), "{api:?}");
            }
        }
    });
}

/// Everything at once, at any moment.
fn storm(seed: u64, docked: bool) {
    let mut sim = Sim::fleet(seed, 5, docked);
    let instances = sim.instances();
    for _ in 0..40 {
        let at = sim.rng.below(20 * MINUTE);
        let i = sim.rng.index(instances);
        let apis = [
            Api::Silent,
            Api::Hanging,
            Api::Odd,
            Api::NotConnected,
            Api::Error,
            Api::Ready,
        ];
        let nets = [
            Net::Lost,
            Net::Refusing,
            Net::Nameless,
            Net::Proxy(403),
            Net::Scarce,
        ];
        let op = match sim.rng.below(8) {
            0 | 1 => Op::World(i, sim.rng.of(&apis)),
            2 => Op::NewKey(i),
            3 => Op::ForeignStatus(
                i,
                sim.rng.of(&["pending", "client_ready", "failed", "ready"]),
            ),
            4 => Op::LoseListener,
            5 => Op::Container(i, sim.rng.of(&fates())),
            _ => {
                let lasts = sim.rng.below(2 * MINUTE);
                sim.at(at + lasts, Op::Net(Net::Fine));
                Op::Net(sim.rng.of(&nets))
            }
        };
        sim.at(at, op);
        if sim.rng.below(10) == 0 {
            sim.at(at, Op::Kill);
            sim.at(at + SECOND, Op::Start);
        }
    }
    sim.minutes(22);
    for i in 0..instances {
        sim.apply(Op::Container(i, Fate::Create(0)));
        sim.apply(Op::Container(i, Fate::Unpause));
        sim.apply(Op::Container(i, Fate::Start));
        sim.apply(Op::World(i, Api::Ready));
        sim.apply(Op::NewKey(i));
    }
    sim.apply(Op::Net(Net::Fine));
    sim.seconds(BOUND);
    sim.still();
    sim.assert_normal();
}

fn fates() -> Vec<Fate> {
    vec![
        Fate::Die,
        Fate::Start,
        Fate::Start,
        Fate::Pause,
        Fate::Unpause,
        Fate::Remove,
        Fate::Create(0),
    ]
}

/// The engine in sight runs none of the containers: what it does not show is no evidence, neither against a row that
/// says ready nor of an instance that is yet to start.
#[test]
fn an_engine_that_runs_none_of_ours_says_nothing() {
    seeds(5, |seed| {
        let mut sim = Sim::docked(5);
        sim.timed = true;
        sim.slots = 32;
        sim.rng = Rng::new(seed);
        sim.apply(Op::Sees(Some(1)));
        sim.apply(Op::Start);
        for i in 0..5 {
            sim.apply(Op::Container(i, Fate::Create(0)));
            sim.apply(Op::NewKey(i));
            // Its API is there, or comes up minutes after the row.
            let later = sim.rng.below(5 * MINUTE);
            sim.at(later, Op::Container(i, Fate::Start));
            sim.at(later + 1, Op::World(i, Api::Ready));
        }
        sim.minutes(7);
        sim.assert_normal();
        sim.apply(Op::World(0, Api::Silent));
        sim.apply(Op::WriteAccount(0));
        sim.minutes(1);
        sim.assert_normal();
        assert_eq!(sim.db.said(0), Some("failed"));
        assert_eq!(sim.ledger.false_failed, 0);
        // The engine that ran them comes into sight, and goes again.
        for (seen, right) in [
            (Some(0), "client_ready"),
            (Some(1), "client_ready"),
            (None, "client_ready"),
        ] {
            sim.apply(Op::Sees(seen));
            sim.minutes(1);
            assert_eq!(sim.db.said(1), Some(right), "{seen:?}");
        }
        assert_eq!(sim.ledger.false_failed, 0);
    });
}

/// Containers that are restarted over and over, in sight of the engine or not, before or after their time is over to become
/// ready: what one life has said counts for no later one. The ledger sees to that.
#[test]
fn nothing_is_believed_of_an_earlier_life() {
    seeds(10, |seed| {
        let mut sim = Sim::fleet(seed, 5, true);
        let apis = [Api::NotConnected, Api::Error, Api::Hanging, Api::Silent];
        for (i, api) in (1..).zip(apis) {
            let mut at = 0;
            while at < 5 * MINUTE {
                let life = 2 * SECOND + sim.rng.below(40 * SECOND);
                let unseen = sim.rng.below(3) == 0;
                if unseen {
                    sim.at(at, Op::Sees(None));
                }
                sim.at(at, Op::Container(i, Fate::Die));
                sim.at(at + 10, Op::Container(i, Fate::Start));
                sim.at(at + 20, Op::World(i, api));
                if unseen {
                    sim.at(at + SECOND, Op::Sees(Some(0)));
                }
                at += life;
            }
        }
        sim.minutes(6);
        for i in 1..=apis.len() {
            sim.apply(Op::World(i, Api::Ready));
        }
        sim.seconds(BOUND);
        sim.still();
        sim.assert_normal();
    });
}

/// Whatever a container logs of our own requests, we do not hear ourselves.
#[test]
fn our_own_noise_leads_to_few_looks_and_hides_no_ready() {
    seeds(8, |seed| {
        let lasting = [Api::NotConnected, Api::Error, Api::Odd, Api::Hanging];
        let mut sim = Sim::fleet(seed, 6, true);
        // Neither events of their own nor a manager: nothing but the noise.
        sim.agenda.clear();
        let chatter = Chatter {
            lines: [0, 1, 2].map(|_| u32::try_from(sim.rng.below(3)).expect("fits")),
            after: sim.rng.below(51),
            with_path: seed % 2 == 0,
        };
        sim.apply(Op::Chatter(chatter));
        for (i, api) in (1..).zip(lasting) {
            sim.apply(Op::Container(i, Fate::Die));
            sim.apply(Op::Container(i, Fate::Start));
            sim.at(500, Op::World(i, api));
        }
        sim.minutes(1);
        let before = sim.probes.clone();
        sim.minutes(10);
        for (i, before) in before.into_iter().enumerate().skip(1).take(lasting.len()) {
            let looks = sim.probes[i] - before;
            // Two of them are for its own event, and the manager's writes are answered.
            assert!(
                looks <= 10 * 2 + 4,
                "{looks} looks in ten minutes at {:?}",
                sim.world.apis[i]
            );
        }
        for i in 1..=lasting.len() {
            sim.apply(Op::World(i, Api::Ready));
            sim.apply(Op::Output(i));
        }
        sim.seconds(61);
        sim.assert_normal();
    });
}

#[test]
fn after_a_storm_all_is_normal() {
    seeds(40, |seed| storm(seed, seed % 2 == 0));
}
