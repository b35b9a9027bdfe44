//! What was measured, and how it is printed.

use std::collections::BTreeMap;

use auth_reconciler_tests::docker::InstanceCounts;
use chrono::TimeDelta;

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) lateness: Vec<TimeDelta>,
    pub(crate) floor: Vec<TimeDelta>,
    /// Requests of each start, and those that were answered READY.
    pub(crate) asked: Vec<u64>,
    pub(crate) ready: Vec<u64>,
    pub(crate) causes: BTreeMap<String, usize>,
}

pub(crate) fn head() {
    println!(
        "{:<38} {:>3} | {:>7} {:>7} {:>7} | {:>7} {:>7} | {:>9} {:>7} | found by",
        "ms", "n", "median", "p90", "worst", "floor", "worst", "asked", "READY"
    );
}

impl Figures {
    pub(crate) fn count(&mut self, counts: &InstanceCounts) {
        self.asked.push(counts.total());
        self.ready.push(counts.ready());
    }

    pub(crate) fn found_by(&mut self, cause: String) {
        *self.causes.entry(cause).or_default() += 1;
    }

    pub(crate) fn print(mut self, what: &str) {
        let [median, p90, worst] = quantiles(&mut self.lateness);
        let [floor, _, floor_worst] = quantiles(&mut self.floor);
        self.asked.sort_unstable();
        let middle = self.asked.get(self.asked.len() / 2).copied();
        let most = |all: &[u64]| all.iter().max().copied().unwrap_or_default();
        let causes: Vec<String> = self
            .causes
            .iter()
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        println!(
            "{what:<38} {:>3} | {median:>7.1} {p90:>7.1} {worst:>7.1} | {floor:>7.1} {floor_worst:>7.1} | {:>9} {:>7} | {}",
            self.lateness.len(),
            format!("{} ≤ {}", middle.unwrap_or_default(), most(&self.asked)),
            format!("≤ {}", most(&self.ready)),
            causes.join(", ")
        );
    }
}

/// Median, the ninth of ten, and the worst, in ms; zero of none.
fn quantiles(all: &mut [TimeDelta]) -> [f64; 3] {
    all.sort();
    let last = all.len().saturating_sub(1);
    [last.div_ceil(2), last * 9 / 10, last].map(|index| {
        let late = all.get(index).copied().unwrap_or_default();
        late.num_microseconds().unwrap_or(i64::MAX) as f64 / 1_000.0
    })
}
