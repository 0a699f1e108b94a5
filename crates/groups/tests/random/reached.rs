//! What came of a run.

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
