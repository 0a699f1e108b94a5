//! The handle of one segment: who it is, how far it goes, what it costs.
//!
//! Cheap while idle: a handle that nobody uses holds no file, no index and no batch. Appends are
//! in `append.rs`, reads in `read.rs`, seals and truncations in `cut.rs`; `load.rs` finds out
//! what is on disk at first use, `flush.rs` is what the background writer calls.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use walrus_types::{Offset, SegmentId, TimestampMs};

use super::{
    error::{ReadError, StoreFailed},
    hold::Holders,
    path::{self, FileKind},
    state::{Known, State, Work},
    state_file,
};
use crate::{
    store::{entry, shared::Shared},
    wal::{AppendRefused, Done},
};

/// One segment of one partition. Get it from [`Store::segment`](crate::store::Store::segment).
pub struct Segment {
    pub(super) id: SegmentId,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<State>,
    /// Held while the disk is asked what is there, so that it is asked once.
    pub(super) loading: Mutex<()>,
    pub(super) holders: Mutex<Holders>,
}

/// What is known of a segment once it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset after its last one.
    pub end: Offset,
    /// The length of its log.
    pub bytes: u64,
    /// The greatest timestamp of its batches, [`TimestampMs::NONE`] when it has none.
    pub max_timestamp: TimestampMs,
    /// Whether the end is fixed for good.
    pub sealed: bool,
    /// XXH3-128 of the log of a sealed segment, where the background writer saw all of it.
    pub digest: Option<u128>,
}

/// Why a state was not taken. Nothing was written, and its `done` is not called.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The WAL's queue is full; try again.
    #[error("the write-ahead log's queue is full; try again")]
    Busy,
    /// It can never be taken.
    #[error("a state of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The files were pruned.
    #[error("{0} was pruned")]
    Gone(SegmentId),
    /// What is on disk could not be found out.
    #[error(transparent)]
    Unreadable(ReadError),
    /// Final.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

impl From<ReadError> for StateError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone(segment) => Self::Gone(segment),
            error => Self::Unreadable(error),
        }
    }
}

impl Segment {
    pub(crate) fn new(id: SegmentId, shared: Arc<Shared>, state: State) -> Self {
        let (state, loading, holders) = (Mutex::new(state), Mutex::new(()), Mutex::default());
        Self { id, shared, state, loading, holders }
    }

    /// Which one it is.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.id
    }

    /// The end of what was appended, durable or not. The first call after a restart may read the
    /// disk.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the last bytes on disk do not tell where they end: a replica
    /// that gets this must not vote for an end. Else as [`Segment::load`].
    pub fn end(&self) -> Result<Offset, ReadError> {
        let known = self.known()?;
        if known.end_damaged { Err(self.damaged_end(&known)) } else { Ok(known.end.offset) }
    }

    /// The length of the log, as [`Segment::end`].
    ///
    /// # Errors
    /// As [`Segment::end`].
    pub fn bytes(&self) -> Result<u64, ReadError> {
        self.known().map(|known| known.end.position)
    }

    /// Whether it is sealed, as [`Segment::end`].
    ///
    /// # Errors
    /// As [`Segment::end`].
    pub fn is_sealed(&self) -> Result<bool, ReadError> {
        self.known().map(|known| known.sealed)
    }

    /// Keeps `bytes` beside the segment in the place of what was kept before; `done` is called
    /// when that is durable.
    ///
    /// # Errors
    /// [`StateError`]; nothing was changed then.
    pub fn write_state(self: &Arc<Self>, bytes: Bytes, done: Done) -> Result<(), StateError> {
        self.known()?;
        self.shared.check()?;
        let mut state = self.state.lock();
        if state.gone {
            return Err(StateError::Gone(self.id));
        }
        let work = self.work(&mut state);
        let number = work.state_number + 1;
        let (segment, kept) = (Arc::clone(self), bytes.clone());
        let on_done: Done = Box::new(move |result| {
            if let Ok(lsn) = &result {
                segment.shared.progress.durable_up_to(*lsn);
                segment.state_made_durable(number, kept);
            }
            done(result);
        });
        let refused = self.shared.wal.append(entry::state(self.id, bytes.clone()), on_done);
        refused.map_err(|refused| match refused {
            AppendRefused::Full => StateError::Busy,
            AppendRefused::Failed(failed) => StateError::Failed(failed.into()),
            AppendRefused::TooLarge { bytes, bytes_max } => {
                StateError::TooLarge { bytes, bytes_max }
            }
        })?;
        work.state = Some(bytes);
        work.state_number = number;
        work.touched = true;
        Ok(())
    }

    fn state_made_durable(self: &Arc<Self>, number: u64, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        self.work(&mut state).state_durable = Some((number, bytes));
        self.mark_dirty(state);
    }

    /// What [`Segment::write_state`] kept last, or nothing when there is none or the file is
    /// damaged: whoever wrote it must be able to do without.
    ///
    /// # Errors
    /// What the disk says, or that the segment was pruned.
    pub fn read_state(&self) -> Result<Option<Bytes>, ReadError> {
        {
            let state = self.state.lock();
            if state.gone {
                return Err(ReadError::Gone(self.id));
            }
            if let Some(bytes) = state.work.as_ref().and_then(|work| work.state.clone()) {
                return Ok(Some(bytes));
            }
        }
        let path = path::file(&self.shared.dir, self.id, FileKind::State);
        let read = self.shared.read_whole(&path, state_file::FILE_BYTES_MAX);
        let bytes = read.map_err(|source| self.io_error(source))?;
        Ok(bytes.and_then(state_file::decode))
    }

    /// Bytes of memory that it takes now, its batches in the hot tail not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let state = self.state.lock();
        let work = state.work.as_ref().map_or(0, |work| {
            size_of::<Work>() + work.index.memory_bytes() + work.tail.capacity() * 56
        });
        size_of::<Self>() + work
    }

    /// What is in memory for it, made when there is nothing. Only for a segment that is known.
    pub(super) fn work<'a>(&self, state: &'a mut MutexGuard<'_, State>) -> &'a mut Work {
        if state.work.is_none() {
            let position = state.known.map_or(0, |known| known.end.position);
            let work = Work::at_rest(position, self.shared.config.index_interval_bytes);
            state.work = Some(Box::new(work));
            self.shared.progress.loaded(self.id);
        }
        state.work.as_mut().expect("it was just made")
    }

    /// Puts the segment into the writer's list, once.
    pub(super) fn mark_dirty(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.gone {
            return;
        }
        let work = self.work(&mut state);
        let newly = !std::mem::replace(&mut work.dirty, true);
        state.listed = true;
        drop(state);
        if newly {
            self.shared.progress.dirty(Arc::clone(self));
        }
    }

    pub(super) fn io_error(&self, source: std::io::Error) -> ReadError {
        ReadError::Io { segment: self.id, source }
    }

    pub(super) fn extent(known: &Known) -> Extent {
        Extent {
            end: known.end.offset,
            bytes: known.end.position,
            max_timestamp: known.end.max_before,
            sealed: known.sealed,
            digest: known.digest,
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // What is still in memory was written, or was cut off with its segment, or the store has
        // failed: the budget gets it back in each case.
        let state = self.state.get_mut();
        if let (Some(known), Some(work)) = (&state.known, &state.work) {
            let end = known.end.position;
            self.shared.budget.forget(work.tail_bytes(end), end - work.written);
        }
        self.shared.forget(self.id);
    }
}
