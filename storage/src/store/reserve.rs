//! The part of the disk that appends leave free.
//!
//! The free space is asked for now and then, not at each append: in between, what was appended
//! since is counted against it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far appends may go.
///
/// Both counters only grow, so that an answer of the file system that is a little old errs on
/// the safe side: what was written meanwhile is counted twice for a moment, never not at all.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Bytes ever taken by appends.
    taken: AtomicU64,
    /// Bytes that may be taken, ever.
    limit: AtomicU64,
}

impl Reserve {
    pub(crate) const fn new() -> Self {
        Self { taken: AtomicU64::new(0), limit: AtomicU64::new(0) }
    }

    /// Takes `bytes` if they fit before the reserve.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let fits = |taken: u64| taken.checked_add(bytes).filter(|after| *after <= limit);
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// What was taken is not used after all.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What was taken and not written yet.
    pub(crate) fn refresh(&self, free: u64, reserve: u64, unwritten: u64) {
        // What is taken but not written is not missing from `free` yet.
        let taken = self.taken.load(Ordering::Relaxed);
        let room = free.saturating_sub(reserve).saturating_sub(unwritten);
        self.limit.store(taken.saturating_add(room), Ordering::Relaxed);
    }

    /// Whether a batch of a few kilobytes would be refused.
    pub(crate) fn is_used_up(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.taken.load(Ordering::Relaxed).saturating_add(64 << 10) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_stop_before_the_reserve_and_go_on_when_there_is_room() {
        let reserve = Reserve::new();
        reserve.refresh(1000, 400, 0);
        assert!(reserve.take(600) && !reserve.take(1));
        // Nothing of it is written yet: free is as it was, and all of it is spoken for.
        reserve.refresh(1000, 400, 600);
        assert!(!reserve.take(1));
        reserve.refresh(400, 400, 0);
        assert!(!reserve.take(1));
        reserve.refresh(500, 400, 0);
        assert!(reserve.take(100) && !reserve.take(1));
        reserve.give_back(100);
        assert!(reserve.take(50));
    }
}
