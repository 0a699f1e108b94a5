//! What the store, its segments and its threads have in common.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use walrus_types::SegmentId;

use super::{
    StoreConfig, budget::Budget, buffers::ReadBuffers, control::Controls, files::OpenFiles,
    gone::Gone, progress::Progress, reserve::Reserve,
};
use crate::{
    disk::{Disk, OpenMode},
    segment::{CutError, Segment, StoreFailed, sizes::in_memory, state::State},
    wal::Wal,
};

/// See the file's header.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) config: StoreConfig,
    pub(crate) wal: Wal,
    pub(crate) files: OpenFiles,
    pub(crate) buffers: ReadBuffers,
    pub(crate) budget: Budget,
    pub(crate) reserve: Reserve,
    pub(crate) progress: Progress,
    pub(super) controls: Controls,
    /// Held by the writer while it writes a segment's files: whoever unlinks them passes through
    /// it once after saying so.
    pub(super) writing: Mutex<()>,
    pub(super) closed: AtomicBool,
    /// Nothing happens by itself: see `driver.rs`.
    pub(super) inline: bool,
    failed: OnceLock<StoreFailed>,
    pub(super) gone: Gone,
    /// Handles in use. A segment takes itself out when its last handle is dropped.
    segments: Mutex<HashMap<SegmentId, Weak<Segment>>>,
}

/// The parts that are there before the store is.
pub(super) struct Parts {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) config: StoreConfig,
    pub(super) wal: Wal,
    pub(super) files: OpenFiles,
    pub(super) progress: Progress,
    pub(super) controls: Controls,
    pub(super) inline: bool,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { disk, dir, config, wal, files, progress, controls, inline } = parts;
        Self {
            disk,
            dir,
            config,
            wal,
            files,
            buffers: ReadBuffers::default(),
            budget: Budget::new(config.tail_bytes_max),
            reserve: Reserve::new(),
            progress,
            controls,
            writing: Mutex::new(()),
            closed: AtomicBool::new(false),
            inline,
            failed: OnceLock::new(),
            gone: Gone::default(),
            segments: Mutex::default(),
        }
    }

    /// The handle of a segment, made when there is none.
    pub(super) fn segment(self: &Arc<Self>, id: SegmentId) -> Arc<Segment> {
        self.segment_with(id, State::default)
    }

    pub(super) fn segment_with(
        self: &Arc<Self>,
        id: SegmentId,
        state: impl FnOnce() -> State,
    ) -> Arc<Segment> {
        let mut segments = self.segments.lock();
        if let Some(segment) = segments.get(&id).and_then(Weak::upgrade) {
            return segment;
        }
        let segment = Arc::new(Segment::new(id, Arc::clone(self), state()));
        segments.insert(id, Arc::downgrade(&segment));
        segment
    }

    /// The handle of a segment, if it is in use.
    pub(super) fn segment_in_use(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.segments.lock().get(&id).and_then(Weak::upgrade)
    }

    /// The handles in use that `which` picks, in order.
    pub(super) fn segments_in_use(&self, which: impl Fn(&SegmentId) -> bool) -> Vec<Arc<Segment>> {
        let mut found: Vec<Arc<Segment>> = {
            let segments = self.segments.lock();
            segments.iter().filter(|(id, _)| which(id)).filter_map(|(_, s)| s.upgrade()).collect()
        };
        found.sort_by_key(|segment| segment.id());
        found
    }

    /// The last handle of a segment is gone, unless another was made since.
    pub(crate) fn forget(&self, id: SegmentId) {
        let mut segments = self.segments.lock();
        if segments.get(&id).is_some_and(|segment| segment.strong_count() == 0) {
            segments.remove(&id);
        }
    }

    /// Takes a pruned segment's handle out, so that the next one starts afresh.
    pub(super) fn take_out(&self, segment: &Arc<Segment>) {
        let mut segments = self.segments.lock();
        let same = |there: &Weak<Segment>| std::ptr::eq(there.as_ptr(), Arc::as_ptr(segment));
        if segments.get(&segment.id()).is_some_and(same) {
            segments.remove(&segment.id());
        }
    }

    pub(super) fn handles(&self) -> usize {
        self.segments.lock().len()
    }

    /// Refuses when the store takes nothing any more.
    pub(crate) fn check(&self) -> Result<(), StoreFailed> {
        match self.failed() {
            None => Ok(()),
            Some(failed) => Err(failed),
        }
    }

    /// Gives the writer a moment to write all that there is; whoever needs it looks again.
    pub(crate) fn wait_for_writer(&self) -> Result<(), CutError> {
        self.check()?;
        if let Some(failed) = self.wal.failed() {
            return Err(CutError::Failed(failed.into()));
        }
        if self.inline {
            return Err(CutError::Busy);
        }
        self.progress.flush();
        std::thread::sleep(Duration::from_micros(300));
        Ok(())
    }

    /// As [`Shared::check`], for the writer, which goes on while the store is being closed.
    pub(super) fn check_files(&self) -> Result<(), StoreFailed> {
        self.failed.get().cloned().map_or(Ok(()), Err)
    }

    pub(super) fn failed(&self) -> Option<StoreFailed> {
        if let Some(failed) = self.failed.get() {
            return Some(failed.clone());
        }
        self.closed.load(Ordering::Acquire).then_some(StoreFailed::Closed)
    }

    /// Stops the store for good. The first reason is kept.
    pub(super) fn fail(&self, failed: StoreFailed) {
        tracing::error!(%failed, "the store takes nothing any more");
        // A second failure is a consequence of the first.
        let _first = self.failed.set(failed);
        self.budget.wake_all();
    }

    /// A whole small file; nothing when it is not there or is longer than it can be.
    pub(crate) fn read_whole(&self, path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.disk.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.len_bytes()?;
        if bytes > bytes_max {
            return Ok(None);
        }
        let mut whole = vec![0; in_memory(bytes)];
        let read = file.read_at(&mut whole, 0)?;
        whole.truncate(read);
        Ok(Some(whole))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}
