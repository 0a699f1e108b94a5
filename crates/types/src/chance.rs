//! Numbers by chance that a seed repeats: what simulations, tests and load programs draw from.
//! Not for secrets and not for ids.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
/// small, seeded, the same everywhere.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The draws of this seed from the first one on.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none. One draw.
    pub const fn below(&mut self, end: u64) -> u64 {
        let drawn = self.draw();
        if end == 0 { 0 } else { drawn % end }
    }

    /// A place in something of this length; 0 where it is empty. One draw.
    #[expect(clippy::cast_possible_truncation, reason = "it is below a usize, so it is one")]
    pub const fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True once in so many calls. One draw.
    pub const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// From `least` to `most`, both included. One draw.
    ///
    /// # Panics
    /// When `most` is below `least`, or they are all there is.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw() % (most - least + 1)
    }

    /// True in this share of calls, from 0 to 1. A share of nothing draws nothing.
    pub fn share(&mut self, share: f64) -> bool {
        share > 0.0 && (self.draw() >> 11) as f64 / ((1_u64 << 53) as f64) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_draws() {
        // The first outputs of the reference generator from seed 0.
        let mut chance = Chance::seeded(0);
        assert_eq!(chance.draw(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(chance.draw(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn draws_stay_within_what_was_asked() {
        let mut chance = Chance::seeded(7);
        for _ in 0..1_000 {
            assert!(chance.below(3) < 3);
            assert!((5..=6).contains(&chance.between(5, 6)));
        }
        assert_eq!((chance.below(0), chance.index(0)), (0, 0));
        assert!(!chance.share(0.0) && chance.share(1.0));
    }
}
