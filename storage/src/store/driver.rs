//! A store without threads, for the seeded simulation: every step is taken by hand.

use super::{
    Store, finish_writing,
    thread::refresh_reserve,
    writer::{Checkpoint, Writer},
};
use crate::{segment::StoreFailed, wal::WalDriver};

/// Drives a store that was opened with [`Store::open_inline`]. The order of steps is the
/// caller's; each may be left out as long as he likes.
#[derive(Debug)]
pub struct StoreDriver {
    writer: Writer,
    wal: WalDriver,
    checkpoint: Option<Checkpoint>,
}

impl StoreDriver {
    pub(super) const fn new(writer: Writer, wal: WalDriver) -> Self {
        Self { writer, wal, checkpoint: None }
    }

    /// Lets the WAL do one thing; whether it did anything.
    pub fn step_wal(&mut self) -> bool {
        self.wal.step()
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
        let shared = std::sync::Arc::clone(store.shared());
        shared.closed.store(true, std::sync::atomic::Ordering::Release);
        while self.wal.step() {}
        self.finish_checkpoint()?;
        let Self { mut writer, mut wal, checkpoint: _ } = self;
        finish_writing(&mut writer, || {
            while wal.step() {}
            match shared.wal.failed() {
                None => Ok(()),
                Some(failed) => Err(failed.into()),
            }
        })?;
        drop(writer);
        shared.wal.clone().close();
        while wal.step() {}
        Ok(())
    }

    fn judge<T>(&self, result: Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        if let Err(failed) = &result {
            self.writer.shared().fail(failed.clone());
        }
        result
    }
}
