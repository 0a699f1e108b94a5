//! How much of the hot tail may be in memory, and who waits for less of it to be there.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// The hot tail's accounts.
///
/// Invariant: `unwritten <= held`. Batches that are written can be dropped at any time, so only
/// `unwritten` slows anyone down.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    /// Bytes of all batches in memory.
    held: AtomicU64,
    /// Those of them that are not in a segment file yet.
    unwritten: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Budget {
    pub(crate) const fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            held: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Whether more written batches are kept than half the budget. The other half, and what may
    /// come on top of it, is for what waits to be written: while the disk is slow nobody has the
    /// time to drop anything.
    pub(crate) fn keeps_too_much(&self) -> bool {
        self.held().saturating_sub(self.unwritten()) > self.bytes_max / 2
    }

    /// Whether a batch of `bytes` may come on top, at the hard limit of twice the budget. One
    /// batch may always come into an empty tail.
    pub(crate) fn may_hold(&self, bytes: u64) -> bool {
        let unwritten = self.unwritten();
        unwritten == 0 || unwritten + bytes <= self.bytes_max.saturating_mul(2)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.unwritten.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are in their file now.
    pub(crate) fn written(&self, bytes: u64) {
        self.forget(0, bytes);
    }

    /// So many bytes left memory, and so many of the unwritten ones will not or need not be
    /// written.
    pub(crate) fn forget(&self, held: u64, unwritten: u64) {
        self.held.fetch_sub(held, Ordering::Relaxed);
        let before = self.unwritten.fetch_sub(unwritten, Ordering::Relaxed);
        if before >= self.bytes_max && before - unwritten < self.bytes_max {
            self.wake_all();
        }
    }

    /// Lets everybody look again: there is room, or the store has failed.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for waker in waiting {
            waker.wake();
        }
    }

    fn has_room(&self) -> bool {
        self.unwritten() < self.bytes_max
    }
}

/// Resolves when the hot tail is under its budget, or the store has failed. Needs no runtime.
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Room<'a> {
    pub(super) store: &'a super::Store,
}

impl Future for Room<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let budget = &self.store.shared().budget;
        let ready = || budget.has_room() || self.store.shared().failed().is_some();
        if ready() {
            return Poll::Ready(());
        }
        budget.waiting.lock().push(context.waker().clone());
        // The writer may have made room between the look and the push, and seen nobody waiting.
        if ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_batches_are_kept_in_half_the_budget() {
        let budget = Budget::new(100);
        budget.add(130);
        assert!(!budget.keeps_too_much(), "nothing of it can be dropped");
        budget.written(50);
        assert!(!budget.keeps_too_much());
        budget.written(1);
        assert!(budget.keeps_too_much());
        budget.forget(1, 0);
        assert!(!budget.keeps_too_much());
    }

    #[test]
    fn a_batch_is_refused_past_twice_the_budget_and_always_taken_when_nothing_waits() {
        let budget = Budget::new(100);
        assert!(budget.may_hold(1000));
        budget.add(150);
        assert!(budget.may_hold(50) && !budget.may_hold(51));
        budget.written(150);
        assert!(budget.may_hold(1000) && budget.held() == 150);
    }
}
