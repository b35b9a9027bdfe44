//! A busy machine, or engine: what a request causes is heard later than it may be.

use super::interleavings::{Logging, Run};
use super::*;

/// Lines that come whole, so much later than they were written.
fn slow(provider: &str, lines: u32, way: u64) -> Run {
    let logging = Logging {
        lines: [0, 0, lines],
        after: 50 + way,
        with_path: false,
        takes: 2,
    };
    Run::of(Profile::of(Some(provider)).expect("a profile"), logging)
}

#[test]
fn lines_that_come_late_each_time_lead_to_no_looks_for_ever_and_use_up_no_tokens() {
    for provider in ["telegram", "whatsappweb"] {
        for (lines, way) in (1..=5).flat_map(|lines| [0, 20, 50, 100, 150].map(|way| (lines, way)))
        {
            let mut run = slow(provider, lines, way);
            run.until(300_000);
            let what = format!("{provider} {lines} {way}");
            let first = run.sent_in(0..60_000);
            assert!(first <= 11 + 12 + 5, "{what}: {first} in a minute");
            for minute in 1..5 {
                let sent = run.sent_in(minute * 60_000..(minute + 1) * 60_000);
                assert!(sent <= 2, "{what}: {sent} in minute {minute}");
            }
            // And what it tells is not heard a minute late, three times in a row.
            for told in [310_000, 330_000, 350_000] {
                run.until(told);
                run.to_come.push((told, 1, false));
                run.until(told + 100);
                let seen = run.sent.iter().any(|sent| *sent >= told);
                assert!(seen, "{what} {told}");
            }
        }
    }
}

/// Half of them do, as the machine is busy or not: enough for one look to lead to the next.
#[test]
fn lines_that_come_late_now_and_then_are_learnt_of_too() {
    let mut run = slow("whatsappweb", 3, 2);
    for second in 0..600 {
        run.logging.after = if second % 2 == 0 { 51 } else { 70 };
        run.until(second * 1_000);
    }
    for minute in 5..10 {
        let sent = run.sent_in(minute * 60_000..(minute + 1) * 60_000);
        assert!(sent <= 2, "{sent} in minute {minute}");
    }
}

/// A container that talks of its own start, and whose lines with the path come in time, is none whose lines come
/// late: what it tells right after an answer must not wait for a longer window.
#[test]
fn talk_is_not_taken_for_lines_that_come_late() {
    let mut run = Run::new(Logging {
        lines: [1, 1, 0],
        after: 0,
        with_path: true,
        takes: 2,
    });
    for _ in 0..8 {
        let last = run.sent.last().copied().unwrap_or_default();
        run.to_come.push((last + 80, 1, false));
        run.until(last + 1_000);
    }
    let look = run.sent.last().copied().unwrap_or_default() + 120_000;
    run.until(look);
    run.to_come.push((look, 1, false));
    run.until(look + 1);
    run.to_come.push((look + 20, 1, false));
    run.until(look + 101);
    let seen = run.sent.iter().any(|sent| *sent >= look + 20);
    assert!(seen, "{:?}", run.sent);
}
