//! How large a batch of records may be.
//!
//! The rows that a batch writes are locked from its first step to its commit, so a batch of twice the rows keeps twice the
//! rows for twice the time. A statement that passes over locked rows (the manager has one, which looks for a free port)
//! misses rows in proportion to rows times time. That product is bounded; how long a row takes is known from earlier
//! batches.

use std::time::Duration;

/// Rows times milliseconds that a batch may keep from others.
const ROW_MS: f64 = 60.0;

/// Most rows, however fast they are.
const MOST: f64 = 256.0;

/// What the last batch counts for, beside all those before it.
const WEIGHT: f64 = 0.25;

/// What was learnt of the time that a row takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    ms_a_row: f64,
}

impl Default for Bound {
    /// Before anything was measured: a time that any server keeps.
    fn default() -> Self {
        Self { ms_a_row: 1.0 }
    }
}

impl Bound {
    /// Most rows that the next batch may lock.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows = (ROW_MS / self.ms_a_row).sqrt().clamp(1.0, MOST);
        // Positive, and small.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rows = rows as usize;
        rows
    }

    /// A batch has held so many rows for so long.
    pub fn observe(&mut self, rows: usize, held: Duration) {
        let Some(rows) = u32::try_from(rows).ok().filter(|rows| *rows > 0) else {
            return;
        };
        let measured = held.as_secs_f64() * 1_000.0 / f64::from(rows);
        self.ms_a_row += (measured - self.ms_a_row) * WEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What batches of this size come to when a row takes `a_row` and a batch `base` beside its rows.
    fn settled(base: Duration, a_row: Duration) -> (usize, f64) {
        let mut bound = Bound::default();
        let time = |rows: usize| base + a_row * u32::try_from(rows).unwrap();
        for _ in 0..100 {
            let rows = bound.rows();
            bound.observe(rows, time(rows));
        }
        let rows = bound.rows();
        (rows, rows as f64 * time(rows).as_secs_f64() * 1_000.0)
    }

    #[test]
    fn the_product_of_rows_and_time_stays_within_its_bound() {
        for base in [Duration::ZERO, MS / 2, 3 * MS] {
            for a_row in [MS / 1_000, MS / 10, MS, 5 * MS] {
                let (rows, product) = settled(base, a_row);
                assert!(
                    product <= ROW_MS * 1.05,
                    "{rows} rows at {base:?} and {a_row:?} each: {product} row ms"
                );
                let larger = rows as f64 + 1.5;
                let next = larger * (base + a_row.mul_f64(larger)).as_secs_f64() * 1_000.0;
                assert!(
                    rows == 256 || next > ROW_MS * 0.9,
                    "no smaller than need be: {rows} at {base:?} and {a_row:?}"
                );
            }
        }
    }

    #[test]
    fn rows_that_take_longer_than_the_bound_go_alone() {
        assert_eq!(settled(Duration::ZERO, 100 * MS).0, 1);
    }

    #[test]
    fn a_batch_that_locked_nothing_says_nothing() {
        let mut bound = Bound::default();
        bound.observe(0, 1_000 * MS);
        assert_eq!(bound, Bound::default());
    }
}
