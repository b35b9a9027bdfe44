//! Chance as an argument: numbers that look random, and are the same for the same seed.

/// A sequence of draws (SplitMix64). Good enough to keep instances apart in time, and for nothing else.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that belongs to this seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next draw from `[0, 1)`.
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let upper = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_in_their_range_and_are_spread_over_it() {
        let mut chance = Chance::seeded(7);
        let draws: Vec<f64> = (0..10_000).map(|_| chance.draw()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let within = |draw: &&f64| (from..from + 0.1).contains(*draw);
            let count = draws.iter().filter(within).count();
            assert!((800..1_200).contains(&count), "{count} from {from}");
        }
    }

    /// What the authors of SplitMix64 publish for this seed: a generator that is nearly it may be far from random.
    #[test]
    fn the_draws_are_those_of_the_published_generator() {
        let mut chance = Chance::seeded(0);
        for published in [0xe220_a839_u32, 0x6e78_9e6a, 0x06c4_5d18, 0xf88b_b8a8] {
            let right = f64::from(published) / 4_294_967_296.0;
            assert_eq!(chance.draw().to_bits(), right.to_bits());
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut other) = (Chance::seeded(3), Chance::seeded(3));
        assert!((0..10).all(|_| one.draw().to_bits() == other.draw().to_bits()));
    }
}
