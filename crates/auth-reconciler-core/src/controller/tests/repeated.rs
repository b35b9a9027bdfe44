//! What asked for a look that came to nothing is told of the one that follows it.

use super::steps::{became, next_all, probed, proposals, read, reads, snapshot};
use super::*;
use crate::record::{Proposal, Recorded, Recording};

/// Its look is brought to its proposal, all at this moment; nothing of it is in the log.
fn look(controller: &mut Controller, now: Moment) -> Proposal {
    let batches = reads(&next_all(controller, now));
    let (batch, keys) = batches.first().expect("a read").clone();
    assert_eq!(keys, [key(1)]);
    let mut snapshot = snapshot(1);
    snapshot.facts.changes.clear();
    snapshot.changes.clear();
    snapshot.unread.clear();
    controller.handle(read(batch, vec![(key(1), snapshot)], now), now);
    next_all(controller, now);
    controller.handle(probed(key(1), Some(crate::Answer::Ready), now), now);
    let mut proposed = proposals(next_all(controller, now));
    assert_eq!(proposed.len(), 1);
    proposed.remove(0)
}

fn recorded(recordings: Vec<(Key, Result<Recording, Failure>)>) -> Input {
    Input::Recorded {
        recordings,
        transactions: Vec::new(),
    }
}

#[test]
fn a_look_whose_record_meets_a_lock_or_fails_comes_again_under_its_own_name_and_time() {
    let met = [
        became(key(1), Recorded::Busy),
        (key(1), Err(failure(FailureKind::Busy))),
        (key(1), Err(failure(FailureKind::Passing))),
    ];
    for met in met {
        let mut controller = serving(settings());
        controller.wake(key(1), Cause::Died, ms(1));
        let first = look(&mut controller, ms(3));
        assert_eq!((first.cause, first.waited), (Cause::Died, ms(2)));
        for tries in 1..=3 {
            let now = ECHO * tries;
            controller.handle(recorded(vec![met.clone()]), now - ms(1_000));
            // Longer than any of these waits; echoes do not matter.
            let again = look(&mut controller, now);
            let told = (again.cause, again.waited);
            assert_eq!(told, (Cause::Died, now - ms(1)), "{met:?}");
        }
    }
}

#[test]
fn a_look_that_was_recorded_leaves_its_name_to_none_that_follows() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Died, ms(1));
    look(&mut controller, ms(3));
    controller.handle(recorded(vec![became(key(1), Recorded::Unwritable)]), ms(4));
    next_all(&mut controller, ms(4));
    let again = look(&mut controller, 3 * ECHO);
    assert_eq!(again.cause, Cause::Backoff);
}

/// What overtook it asks for the next one.
#[test]
fn a_look_that_was_overtaken_leaves_its_name_to_none_that_follows() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Died, ms(1));
    look(&mut controller, ms(3));
    let overtaken = became(key(1), Recorded::Overtaken("change"));
    controller.handle(recorded(vec![overtaken]), ms(4));
    assert_eq!(look(&mut controller, ms(5)).cause, Cause::Backoff);
}
