//! What rings may cost, and that none is lost.

use proptest::prelude::*;

use super::*;

const fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

#[test]
fn a_flood_for_nothing_costs_a_bounded_number_of_reads_and_scans() {
    let mut rings = Rings::default();
    let (mut reads, mut scans) = (0, 0);
    for millis in 0..10_000 {
        rings.log();
        rings.scan();
        let due = rings.due(at(millis));
        reads += u32::from(due.log);
        scans += u32::from(due.scan);
    }
    assert_eq!(reads, 512 + 2_499, "the burst, and then one in 4 ms");
    assert_eq!(scans, 41);
}

#[test]
fn rings_for_everything_are_merged_and_none_is_dropped() {
    let mut rings = Rings::default();
    let mut heeded = Vec::new();
    for millis in 0..200_000 {
        if millis <= 130_000 {
            rings.everything();
        }
        if rings.due(at(millis)).everything {
            heeded.push(millis);
        }
    }
    assert_eq!(heeded, [0, 1, 60_000, 120_000, 180_000]);
    assert_eq!(rings.deadline(), None);
}

#[test]
fn a_change_that_was_counted_does_not_wait_for_what_others_ring() {
    let mut rings = Rings::default();
    for millis in 0..5_000 {
        rings.everything();
        rings.due(at(millis));
    }
    rings.counted();
    assert!(rings.due(at(5_000)).everything);
    assert!(!rings.owes_everything(), "one look answers for all");
}

#[test]
fn rings_of_which_each_brings_something_never_wait() {
    let mut rings = Rings::default();
    for n in 0..10_000 {
        rings.log();
        assert!(rings.due(at(n / 10)).log, "ring {n}");
        rings.brought();
    }
    assert_eq!(rings.deadline(), None);
    rings.log();
    assert_eq!(rings.deadline(), Some(Moment::ZERO));
}

#[derive(Clone, Copy, Debug)]
enum Rung {
    Log,
    Scan,
    Everything,
    Counted,
}

fn rung() -> impl Strategy<Value = (u64, Rung)> {
    let act = prop_oneof![
        Just(Rung::Scan),
        Just(Rung::Log),
        Just(Rung::Everything),
        Just(Rung::Counted),
    ];
    (0..3_000_u64, act)
}

proptest! {
    /// Whatever rings, and whenever: it leads to a read of the log in no time, to a scan within a quarter of a second, and
    /// what rang for everything to a look at everything within its pace; and when all was heeded nothing is left to wake
    /// for.
    #[test]
    fn what_rings_is_heeded_within_its_limit(script in prop::collection::vec(rung(), 1..60)) {
        let mut rings = Rings::default();
        let mut now = at(1);
        let (mut log, mut scan, mut counted, mut everything) = (None, None, None, None);
        let mut script = script.into_iter();
        let mut next = script.next();
        let mut until = now;
        loop {
            // The shell asks after each event, and at each deadline.
            let due = rings.due(now);
            if due.log { log = None; }
            if due.scan { scan = None; }
            if due.everything { (counted, everything) = (None, None); }
            let waited = |since: Option<Moment>| since.map_or(Moment::ZERO, |since| now - since);
            prop_assert!(waited(log) <= at(4));
            prop_assert!(waited(scan) <= at(250));
            prop_assert!(waited(counted) <= at(30_000));
            prop_assert!(waited(everything) <= at(60_000));
            prop_assert_eq!(rings.owes_everything(), counted.or(everything).is_some());
            match (rings.deadline(), next) {
                (Some(deadline), Some(_)) if deadline <= until => {
                    prop_assert!(deadline > now, "what is due is done");
                    now = deadline;
                }
                (Some(deadline), None) => {
                    prop_assert!(deadline > now, "what is due is done");
                    now = deadline;
                }
                (_, Some((pause, act))) => {
                    now = until.max(now);
                    match act {
                        Rung::Scan => { rings.scan(); scan.get_or_insert(now); }
                        Rung::Log => { rings.log(); log.get_or_insert(now); }
                        Rung::Everything => {
                            rings.everything();
                            scan.get_or_insert(now);
                            everything.get_or_insert(now);
                        }
                        Rung::Counted => { rings.counted(); counted.get_or_insert(now); }
                    }
                    until = now + at(pause);
                    next = script.next();
                }
                (None, None) => break,
            }
        }
        prop_assert!(log.or(scan).or(counted).or(everything).is_none());
    }
}
