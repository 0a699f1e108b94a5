//! The record store: segments on one disk behind one write-ahead log.
//!
//! An append is durable with the WAL's next flush, whatever its segment; the segment's file is
//! written later, in large pieces, by the background writer (`writer.rs`, `thread.rs`), and the
//! WAL is freed behind it. `recovery.rs` is the way back. Memory is bounded by `budget.rs`, the
//! disk by `reserve.rs`, open files by `files.rs`; `control.rs` keeps small facts in the WAL.
//! `remove.rs` unlinks, `gone.rs` says what somebody holds of that.
//!
//! Knows nothing of leases, quorums or who may write: whoever holds a segment may append to it.

mod budget;
mod buffers;
mod config;
mod control;
mod driver;
pub(crate) mod entry;
mod files;
mod gone;
mod open;
mod pace;
mod progress;
mod recovery;
mod remove;
mod reserve;
pub(crate) mod shared;
mod stats;
mod thread;
mod unsynced;
mod writer;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
};

use bytes::Bytes;
use parking_lot::Mutex;
use walrus_types::SegmentId;

pub use self::{
    budget::Room,
    config::{StoreConfig, StoreConfigError},
    control::{CONTROL_BYTES_MAX, CONTROLS_MAX, ControlError},
    driver::StoreDriver,
    gone::{GoneStats, LEFTOVERS_MAX, Leftover, PrunedHeld, Removal},
    open::{StoreOpenError, StoreOpened},
    recovery::Damage,
    remove::RemoveError,
    stats::StoreStats,
};
use self::{shared::Shared, thread::Threads, writer::Writer};
use crate::{
    disk::Disk,
    segment::{Held, Purpose, Segment, StoreFailed, Whose},
    wal::{Done, Lsn},
};

/// The record store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// None when it is driven by hand, or closed.
    threads: Mutex<Option<Threads>>,
}

impl Store {
    /// Opens the store in `dir` and brings its segment files up to what the WAL holds.
    ///
    /// Damage is reported and is no error. Looks only at segments that have entries in the WAL.
    ///
    /// # Errors
    /// [`StoreOpenError`], when the settings or the disk do not allow it.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: StoreConfig,
    ) -> Result<(Self, StoreOpened), StoreOpenError> {
        let (writer, opened) = open::open(disk, dir, config)?;
        let shared = Arc::clone(writer.shared());
        let threads = Threads::start(writer).map_err(|source| StoreOpenError::Io {
            doing: "starting the threads of",
            path: dir.to_path_buf(),
            source,
        })?;
        Ok((Self::new(shared, Some(threads)), opened))
    }

    /// As [`Store::open`], without threads: everything happens when the driver is told to. For
    /// the seeded simulation.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_inline(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: StoreConfig,
    ) -> Result<(Self, StoreDriver, StoreOpened), StoreOpenError> {
        let (writer, wal, opened) = open::open_inline(disk, dir, config)?;
        let store = Self::new(Arc::clone(writer.shared()), None);
        Ok((store, StoreDriver::new(writer, wal), opened))
    }

    fn new(shared: Arc<Shared>, threads: Option<Threads>) -> Self {
        Self { inner: Arc::new(Inner { shared, threads: Mutex::new(threads) }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The handle of a segment. Does not touch the disk: a segment that was never written to has
    /// no files, and what is there of one is found out at its first use.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Arc<Segment> {
        self.shared().segment(id)
    }

    /// As [`Store::segment`], held by name: who prunes it can say whom it waits for.
    #[must_use]
    pub fn segment_for(&self, id: SegmentId, purpose: Purpose, whose: Option<Whose>) -> Held {
        self.segment(id).held_for(purpose, whose)
    }

    /// Resolves when the hot tail is under its budget: whoever appends waits for this first.
    pub const fn room(&self) -> Room<'_> {
        Room { store: self }
    }

    /// Keeps a small fact under `key`, in the place of what was there; `done` is called when it
    /// is durable. It stays however often the ring turns.
    ///
    /// # Errors
    /// [`ControlError`]; nothing was changed then.
    pub fn put_control(&self, key: u32, value: Bytes, done: Done) -> Result<(), ControlError> {
        self.shared().put_control(key, value, done)
    }

    /// The newest value that was put under `key`, durable or not.
    #[must_use]
    pub fn control(&self, key: u32) -> Option<Bytes> {
        self.shared().controls.get(key)
    }

    /// Why the store takes nothing any more, if it does not.
    #[must_use]
    pub fn failed(&self) -> Option<StoreFailed> {
        let wal = || self.shared().wal.failed().map(StoreFailed::Wal);
        self.shared().failed().or_else(wal)
    }

    /// Whether appends are refused because the disk is full up to its reserve.
    #[must_use]
    pub fn disk_full(&self) -> bool {
        self.shared().reserve.is_used_up()
    }

    /// Where the store stands.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let shared = self.shared();
        StoreStats {
            wal: shared.wal.stats(),
            tail_bytes: shared.budget.held(),
            unwritten_bytes: shared.budget.unwritten(),
            open_files: shared.files.count(),
            handles: shared.handles(),
            disk_full: self.disk_full(),
            gone: shared.gone.stats(),
        }
    }

    /// Ends cleanly: takes nothing any more, writes and flushes what there is, and leaves a WAL
    /// of which the next start replays nothing. Other clones find a closed store.
    ///
    /// # Errors
    /// Why not everything could be written. The next start recovers the rest from the WAL.
    pub fn close(self) -> Result<(), StoreFailed> {
        let Some(threads) = self.inner.threads.lock().take() else {
            return Err(StoreFailed::Closed);
        };
        let shared = Arc::clone(self.shared());
        shared.closed.store(true, Ordering::Release);
        shared.budget.wake_all();
        let drained = wait_for_wal(&shared);
        shared.progress.stop();
        let writer = threads.join();
        drained?;
        let mut writer = writer.ok_or(StoreFailed::Closed)?;
        finish_writing(&mut writer)?;
        drop(writer);
        shared.wal.clone().close();
        Ok(())
    }
}

/// Waits until everything that was appended is durable.
fn wait_for_wal(shared: &Shared) -> Result<Lsn, StoreFailed> {
    let (tell, told) = mpsc::sync_channel(1);
    shared.append_mark(|| {
        let tell = tell.clone();
        Box::new(move |result| {
            // Nobody waits any more when the receiver is gone.
            let _sent = tell.send(result);
        })
    })?;
    drop(tell);
    // The WAL calls `done`, or drops it when its thread ends.
    let result = told.recv().map_err(|_dropped| StoreFailed::Closed)?;
    let lsn = result?;
    shared.progress.durable_up_to(lsn);
    Ok(lsn)
}

/// The last checkpoint of a store that takes nothing any more and whose WAL has told all it has.
fn finish_writing(writer: &mut Writer) -> Result<(), StoreFailed> {
    writer.flush_all()?;
    writer.store_indexes()?;
    let checkpoint = writer.begin_checkpoint()?.free_all();
    checkpoint.finish(writer.shared())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.get_mut().take() {
            self.shared.closed.store(true, Ordering::Release);
            self.shared.progress.stop();
            // Not closed cleanly: what the writer still had comes from the WAL at the next start.
            drop(threads.join());
            // Entries on their way hold segments, and those the WAL: it would never end by itself,
            // and whoever opens the folder next must be alone with it.
            self.shared.wal.clone().close();
        }
        self.shared.progress.forget_all();
    }
}
