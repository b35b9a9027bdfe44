//! Figures of several rounds: the middle one, and how far they lie apart.

/// Median, lowest and highest of some figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` of none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        // Of an even number of rounds the two in the middle count alike.
        let from_above: Vec<f64> = figures.iter().map(|figure| -figure).collect();
        Some(Self {
            median: (percentile(figures, 50)? - percentile(&from_above, 50)?) / 2.0,
            low: percentile(figures, 0)?,
            high: percentile(figures, 100)?,
        })
    }
}

/// The figure at this nearest rank, so one that was really measured; `None` of none.
pub(crate) fn percentile(figures: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// How each round's figure compares with the same round's base; nothing where a base is nothing.
pub(crate) fn ratios(base: &[f64], measured: &[f64]) -> Vec<f64> {
    let pairs = base.iter().zip(measured);
    let comparable = pairs.filter(|(base, _)| **base > 0.0);
    comparable.map(|(base, measured)| measured / base).collect()
}

#[cfg(test)]
mod tests {
    use super::{Spread, percentile, ratios};

    #[test]
    fn a_percentile_is_a_figure_that_was_measured() {
        let figures = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&figures, 0), Some(1.0));
        assert_eq!(percentile(&figures, 50), Some(3.0));
        assert_eq!(percentile(&figures, 99), Some(5.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let median = |figures: &[f64]| Spread::of(figures).map(|spread| spread.median);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 9.0]), Some(4.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(ratios(&[0.0, 2.0], &[1.0, 3.0]), [1.5]);
    }
}
