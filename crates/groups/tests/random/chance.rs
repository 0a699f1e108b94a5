//! What happens by chance, and what came of it.

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a run came to: without these it says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reached {
    pub(crate) generations: u64,
    pub(crate) commits: u64,
    pub(crate) stale_commits_refused: u64,
    pub(crate) moves: u64,
    pub(crate) replaced: u64,
    pub(crate) appends_refused: u64,
    pub(crate) snapshots: u64,
    pub(crate) deleted: u64,
}

impl Reached {
    pub(crate) fn add(&mut self, more: Self) {
        self.generations += more.generations;
        self.commits += more.commits;
        self.stale_commits_refused += more.stale_commits_refused;
        self.moves += more.moves;
        self.replaced += more.replaced;
        self.appends_refused += more.appends_refused;
        self.snapshots += more.snapshots;
        self.deleted += more.deleted;
    }

    pub(crate) fn assert_all(&self) {
        let all = [
            self.generations,
            self.commits,
            self.stale_commits_refused,
            self.moves,
            self.replaced,
            self.appends_refused,
            self.snapshots,
            self.deleted,
        ];
        assert!(all.iter().all(|count| *count > 0), "something never happened: {self:?}");
    }
}
