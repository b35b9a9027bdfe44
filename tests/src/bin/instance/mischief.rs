//! What no instance should do to its machine: print without end, eat memory.

use std::io::Write;
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(10);

/// Output at a steady rate.
pub(crate) struct Flood {
    pub(crate) bytes_per_second: u64,
    pub(crate) seconds: u64,
    /// Whether it comes in lines of 100 bytes or as one line without an end.
    pub(crate) newlines: bool,
    /// Whether it is every byte in turn, those that frame a log among them, rather than one letter.
    pub(crate) binary: bool,
}

impl Flood {
    /// Prints until its time is over; a full pipe slows it down, as it would any program.
    pub(crate) fn run(&self) {
        let begin = Instant::now();
        let end = Duration::from_secs(self.seconds);
        let mut printed = 0;
        loop {
            let elapsed = begin.elapsed().min(end);
            let due = u128::from(self.bytes_per_second) * elapsed.as_micros() / 1_000_000;
            let size = usize::try_from(due.saturating_sub(printed)).unwrap_or(usize::MAX);
            let bytes: Vec<u8> = (0..size.min(1 << 20))
                .map(|index| {
                    if self.newlines && index % 100 == 99 {
                        b'\n'
                    } else if self.binary {
                        (index % 256) as u8
                    } else {
                        b'x'
                    }
                })
                .collect();
            if std::io::stdout().lock().write_all(&bytes).is_err() {
                return;
            }
            printed += bytes.len() as u128;
            if elapsed == end && bytes.len() == size {
                break;
            }
            std::thread::sleep(BEAT);
        }
        let _ = std::io::stdout().lock().flush();
    }
}

/// Takes so much memory and keeps it.
pub(crate) fn eat(mib: u64) {
    let mut eaten = Vec::new();
    for _ in 0..mib {
        // Not zeroes: those would cost no memory until they are written.
        eaten.push(vec![1_u8; 1 << 20]);
    }
    std::mem::forget(eaten);
}
