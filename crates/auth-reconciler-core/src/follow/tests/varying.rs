//! A container whose requests cause none to five lines, another number each time: no count tells those from news.

use std::ops::Range;

use super::interleavings::{Logging, Run};

const MINUTE: u64 = 60_000;

fn run(seed: u64) -> Run {
    let any = Logging {
        lines: [0; 3],
        after: 0,
        with_path: false,
        takes: 1 + seed % 20,
    };
    Run::varying(any, seed)
}

/// In each of a thousand runs it says something at some moment: how many of those are seen later than 100 ms, and how
/// late the worst, in ms.
fn late(told: &Range<u64>) -> (usize, u64) {
    let mut all: Vec<u64> = (1..=1_000)
        .map(|seed| {
            let mut run = run(seed);
            let told = told.start + seed * 7_919 % (told.end - told.start);
            run.until(told);
            run.to_come.push((told, 1, false));
            run.until(told + 2 * MINUTE);
            let seen = run.sent.iter().find(|sent| **sent >= told);
            seen.map_or(u64::MAX, |seen| seen - told)
        })
        .collect();
    all.sort_unstable();
    let late = all.iter().filter(|late| **late > 100).count();
    (late, all.last().copied().unwrap_or_default())
}

#[test]
fn what_it_tells_is_found_at_once_but_for_what_falls_into_a_window_that_none_can_follow() {
    // Of a thousand. Steps of the backoff are short at first, so a window is often open then, and the next look soon.
    for (told, most) in [
        (500..2_000, 120),
        (2_000..10_000, 30),
        (10_000..MINUTE, 30),
        (MINUTE..5 * MINUTE, 5),
        (5 * MINUTE..30 * MINUTE, 5),
    ] {
        let (late, worst) = late(&told);
        assert!(late <= most, "{late} late, told in {told:?}");
        assert!(worst <= MINUTE + 100, "{worst} ms, told in {told:?}");
    }
}

#[test]
fn a_state_that_lasts_is_asked_about_twice_a_minute_at_most() {
    let runs = 1_000;
    let mut all = 0;
    for seed in 1..=runs {
        let mut run = run(seed);
        run.until(13 * MINUTE);
        let first = run.sent_in(0..MINUTE);
        assert!(first <= 11 + 12 + 1, "{seed}: {first} in the first minute");
        for minute in 1..13 {
            // More lines than ever before are news, a few times.
            let sent = run.sent_in(minute * MINUTE..(minute + 1) * MINUTE);
            assert!(sent <= 4, "{seed}: {sent} in minute {minute}");
        }
        let then = run.sent_in(3 * MINUTE..13 * MINUTE);
        assert!(then <= 20, "{seed}: {then} in ten minutes");
        all += then;
    }
    // As a rule it is the backoff alone.
    assert!(all <= 11 * 1_000, "{all} in ten minutes of a thousand");
}
