//! What was measured, beside what is quoted, and whether it is better.

use std::time::Duration;

use crate::incident::{
    NO_KEY_BEFORE_FIX, READY, SHOWN_BEFORE_FIX, SHOWN_WITH_FIX, STALE_BEFORE_FIX,
};

/// What was seen with auth-reconciler at work; times are since the start of the container.
#[derive(Debug)]
pub(crate) struct Measured {
    /// When the stub began to answer READY.
    pub(crate) ready: Duration,
    /// When `client_ready` was committed after that.
    pub(crate) shown: Option<Duration>,
    /// How long the stale `pending` stood.
    pub(crate) stale: Option<Duration>,
    /// The status at the end.
    pub(crate) last: Option<String>,
    /// Log lines after readiness that say that there is no API key.
    pub(crate) no_key: usize,
    /// Log lines that say that the row was read fresh.
    pub(crate) fresh: usize,
}

impl Measured {
    fn delay(&self) -> Option<Duration> {
        self.shown.map(|shown| shown.saturating_sub(self.ready))
    }

    /// What is wrong with it; empty if it is a success.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut expect = |holds: bool, failure: String| {
            if !holds {
                failures.push(failure);
            }
        };
        expect(
            self.last.as_deref() == Some("client_ready"),
            format!("auth_status is {:?} at the end", self.last),
        );
        expect(
            self.shown.is_some_and(|shown| shown < SHOWN_WITH_FIX),
            "client_ready was not shown earlier than by the manager with its fix".to_owned(),
        );
        expect(
            self.delay()
                .is_some_and(|delay| delay < SHOWN_WITH_FIX - READY),
            "the reaction was not faster than that of the manager with its fix".to_owned(),
        );
        expect(
            self.stale
                .is_some_and(|stale| stale < SHOWN_WITH_FIX - READY),
            "the stale pending was not corrected in time".to_owned(),
        );
        expect(
            self.no_key == 0,
            format!("{} log lines deny the API key after readiness", self.no_key),
        );
        expect(
            self.fresh > 0,
            "no log line says that the row was read fresh".to_owned(),
        );
        failures
    }

    /// The table with three columns.
    pub(crate) fn table(&self) -> String {
        let missing = || "never".to_owned();
        let rows = [
            [
                "",
                "manager before its fix",
                "manager with its fix",
                "with auth-reconciler",
            ]
            .map(str::to_owned),
            ["", "(quoted)", "(quoted)", "(measured)"].map(str::to_owned),
            [
                "bot ready".to_owned(),
                at(READY),
                at(READY),
                at_millis(self.ready),
            ],
            [
                "client_ready shown".to_owned(),
                at(SHOWN_BEFORE_FIX),
                at(SHOWN_WITH_FIX),
                self.shown.map_or_else(missing, at_millis),
            ],
            [
                "after ready by".to_owned(),
                seconds(SHOWN_BEFORE_FIX - READY),
                seconds(SHOWN_WITH_FIX - READY),
                self.delay().map_or_else(missing, millis),
            ],
            [
                "stale pending stood".to_owned(),
                seconds(STALE_BEFORE_FIX),
                "-".to_owned(),
                self.stale
                    .map_or_else(|| "until the end".to_owned(), millis),
            ],
            [
                "'no API key' logged after ready".to_owned(),
                times(NO_KEY_BEFORE_FIX),
                "-".to_owned(),
                times(self.no_key),
            ],
            [
                "'row read fresh' logged".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                times(self.fresh),
            ],
        ];
        let lines = rows
            .iter()
            .map(|[name, before, with, ours]| format!("{name:<33}{before:<25}{with:<23}{ours}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn at(time: Duration) -> String {
    format!("T+{} s", time.as_secs())
}

/// A time since the start of the container, to the millisecond.
pub(crate) fn at_millis(time: Duration) -> String {
    format!("T+{:.3} s", time.as_secs_f64())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn times(count: usize) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Measured {
        Measured {
            ready: Duration::from_millis(6001),
            shown: Some(Duration::from_millis(6410)),
            stale: Some(Duration::from_millis(9)),
            last: Some("client_ready".to_owned()),
            no_key: 0,
            fresh: 7,
        }
    }

    #[test]
    fn a_good_run_passes_and_is_told() {
        assert_eq!(good().failures(), Vec::<String>::new());
        let table = good().table();
        for expected in [
            "T+6.410 s",
            "409.0 ms",
            "9.0 ms",
            "7 times",
            "T+47 s",
            "41 s",
            "37 s",
            "T+12 s",
        ] {
            assert!(
                table.contains(expected),
                "{expected} is missing in\n{table}"
            );
        }
    }

    #[test]
    fn every_flaw_fails() {
        let flaws: [fn(&mut Measured); 8] = [
            |run| run.shown = None,
            |run| run.shown = Some(SHOWN_WITH_FIX),
            |run| run.stale = None,
            |run| run.stale = Some(STALE_BEFORE_FIX),
            |run| run.last = Some("pending".to_owned()),
            |run| run.last = None,
            |run| run.no_key = 1,
            |run| run.fresh = 0,
        ];
        for (number, flaw) in flaws.iter().enumerate() {
            let mut run = good();
            flaw(&mut run);
            assert!(!run.failures().is_empty(), "flaw {number}");
        }
    }
}
