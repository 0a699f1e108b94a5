//! A store without threads, for the seeded simulation: every step is taken by hand.

use std::sync::Arc;

use super::{
    Store, finish_writing,
    shared::Shared,
    thread::refresh_reserve,
    writer::{Checkpoint, Writer},
};
use crate::{
    segment::StoreFailed,
    wal::{Wal, WalDriver, WalStep},
};

/// Drives a store that was opened with [`Store::open_inline`]. The order of steps is the
/// caller's; each may be left out as long as he likes.
#[derive(Debug)]
pub struct StoreDriver {
    writer: Writer,
    wal: InlineWal,
    checkpoint: Option<Checkpoint>,
    _end: End,
}

/// The WAL's driver. Entries that nobody will write hold segments, and those the WAL: at the end
/// they are taken out of its queue, as if a crash came right after.
#[derive(Debug)]
struct InlineWal(WalDriver);

impl Drop for InlineWal {
    fn drop(&mut self) {
        self.0.take(WalStep::Begin);
    }
}

/// Dropped last: lets go of segments that nobody will write.
#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.progress.forget_all();
    }
}

impl StoreDriver {
    pub(super) fn new(writer: Writer, wal: WalDriver) -> Self {
        let end = End(Arc::clone(writer.shared()));
        Self { writer, wal: InlineWal(wal), checkpoint: None, _end: end }
    }

    /// Lets the WAL do whatever comes next; whether there was anything.
    pub fn step_wal(&mut self) -> bool {
        self.wal.0.step()
    }

    /// Lets the WAL do one thing; whether it could be done.
    pub fn take_wal(&mut self, step: WalStep) -> bool {
        self.wal.0.take(step)
    }

    /// Writes everything durable into segment files.
    ///
    /// # Errors
    /// The store has failed then.
    pub fn flush(&mut self) -> Result<(), StoreFailed> {
        let flushed = self.writer.flush_all();
        self.judge(flushed)
    }

    /// The first half of a checkpoint: writes everything, and notes what is to be flushed. The
    /// one before is finished first.
    ///
    /// # Errors
    /// The store has failed then.
    pub fn begin_checkpoint(&mut self) -> Result<(), StoreFailed> {
        self.finish_checkpoint()?;
        let begun = self.writer.begin_checkpoint();
        self.checkpoint = Some(self.judge(begun)?);
        Ok(())
    }

    /// The second half: flushes, and frees the WAL behind it.
    ///
    /// # Errors
    /// The store has failed then.
    pub fn finish_checkpoint(&mut self) -> Result<(), StoreFailed> {
        let Some(checkpoint) = self.checkpoint.take() else {
            return Ok(());
        };
        let finished = checkpoint.finish(self.writer.shared());
        self.judge(finished)
    }

    /// Gives memory of unused segments back.
    ///
    /// # Errors
    /// The store has failed then.
    pub fn sweep(&mut self) -> Result<(), StoreFailed> {
        let swept = self.writer.sweep();
        self.judge(swept)
    }

    /// Looks how much disk is free.
    pub fn refresh_reserve(&mut self) {
        refresh_reserve(self.writer.shared());
    }

    /// As [`Store::close`].
    ///
    /// # Errors
    /// As [`Store::close`].
    pub fn close(mut self, store: Store) -> Result<(), StoreFailed> {
        let shared = Arc::clone(store.shared());
        shared.closed.store(true, std::sync::atomic::Ordering::Release);
        // A full ring takes what is queued only behind a checkpoint.
        while !drain(&shared.wal, &mut self.wal.0) && shared.wal.failed().is_none() {
            self.begin_checkpoint()?;
            self.finish_checkpoint()?;
        }
        self.finish_checkpoint()?;
        finish_writing(&mut self.writer)?;
        shared.wal.clone().close();
        drain(&shared.wal, &mut self.wal.0);
        Ok(())
    }

    fn judge<T>(&self, result: Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        if let Err(failed) = &result {
            self.writer.shared().fail(failed.clone());
        }
        result
    }
}

/// Steps until nothing is queued or under way. A step may do nothing while the disk is slow.
/// Answers whether it came so far.
fn drain(wal: &Wal, driver: &mut WalDriver) -> bool {
    let mut waits = 0;
    while waits < 1000 {
        if driver.step() {
            waits = 0;
            continue;
        }
        let stats = wal.stats();
        if stats.queued_bytes == 0 && stats.oldest_flush_age.is_none() {
            return true;
        }
        waits += 1;
    }
    false
}
