//! The ways in which containers log the requests that they serve.

use std::time::Duration;

use auth_reconciler_tests::instance::RequestLog;

const fn log(before: u32, with: u32, after: u32, later: u64, with_path: bool) -> RequestLog {
    RequestLog {
        before,
        with,
        after,
        later: Duration::from_millis(later),
        with_path,
    }
}

/// Each with its name.
pub(crate) const SHAPES: [(&str, RequestLog); 8] = [
    ("2 lines, path (real)", RequestLog::REAL),
    ("none", log(0, 0, 0, 0, true)),
    ("1 before", log(1, 0, 0, 0, false)),
    ("2, no path", log(1, 1, 0, 0, false)),
    ("3, 50 ms after", log(0, 0, 3, 50, false)),
    ("1 + 1 + 3 at 25 ms", log(1, 1, 3, 25, false)),
    ("5 with the answer", log(0, 5, 0, 0, false)),
    ("5, path, 50 ms after", log(0, 0, 5, 50, true)),
];
