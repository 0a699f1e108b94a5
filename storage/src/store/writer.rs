//! The background writer: from the hot tail into segment files, and the checkpoint that makes
//! them durable and frees the ring behind them.
//!
//! One thread writes; a second one waits for the flush of a checkpoint, so that writing goes on
//! meanwhile and the hot tail stays small. A checkpoint is: note how far the WAL is durable,
//! write everything up to there, flush the files that were written, release the WAL below the
//! noted place. `thread.rs` decides when; here is how. A failed write or flush is final.

use std::{collections::VecDeque, mem, path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use walrus_types::SegmentId;

use super::{
    pace::Pace,
    progress::News,
    shared::Shared,
    unsynced::{Unsynced, failed},
};
use crate::{
    planted,
    segment::{
        IndexWhen, Piece, Segment, StoreFailed, Swept,
        path::{self, FileKind},
        sizes::in_file,
        state_file,
    },
    wal::Lsn,
};

/// What is written to one segment at once, about.
const PIECE_BYTES: u64 = 1 << 20;
/// A segment with less than this waits for its age when others have more.
const PIECE_BYTES_MIN: u64 = 128 << 10;
/// Batches below this are copied together; larger ones are written as they are.
const COPIED_BYTES_MAX: usize = 64 << 10;
/// The most that is hashed and written at once, and that is copied together.
const STEP_BYTES: usize = 256 << 10;

/// Which segments are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Those with a large piece.
    Large,
    /// All that have anything.
    All,
}

/// What must be flushed before the WAL is free below a place.
#[derive(Debug)]
pub(super) struct Checkpoint {
    below: Lsn,
    unsynced: Unsynced,
}

/// See the file's header. Belongs to one thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Segments that have something to be written.
    list: Vec<Arc<Segment>>,
    /// What of the hot tail may be dropped, oldest first: a segment's batches before a position.
    evictable: VecDeque<(Arc<Segment>, u64)>,
    /// Segments that hold memory, to be looked at when it is swept.
    loaded: Vec<SegmentId>,
    /// Handles that recovery made, kept until their users have asked for them.
    recovered: Vec<Arc<Segment>>,
    unsynced: Unsynced,
    /// Written since the last checkpoint.
    written: u64,
    pace: Pace,
    began: Instant,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        unsynced: Unsynced,
        recovered: Vec<Arc<Segment>>,
    ) -> Self {
        let (list, evictable, loaded) = (Vec::new(), VecDeque::new(), Vec::new());
        let (written, scratch) = (0, Vec::new());
        let pace = Pace::new(shared.config.past_cache_bytes_per_s);
        let began = Instant::now();
        Self { shared, list, evictable, loaded, recovered, unsynced, written, pace, began, scratch }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes over what is new.
    pub(super) fn take(&mut self, news: News) {
        self.list.extend(news.dirty);
        self.loaded.extend(news.loaded);
        if !news.dirs.is_empty() {
            // Segments were pruned: their handles are not to be held from here.
            self.evictable.retain(|(segment, to)| segment.has_tail_before(*to));
            self.recovered.retain(|segment| !segment.is_gone());
        }
        for dir in news.dirs {
            self.unsynced.add_dir(dir);
        }
    }

    pub(super) fn has_list(&self) -> bool {
        !self.list.is_empty()
    }

    /// Whether a checkpoint would have something to make durable: bytes, names, control records.
    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || self.shared.controls.has_changed()
    }

    /// Whether so much was written that a checkpoint is due whatever the time.
    pub(super) fn is_checkpoint_full(&self) -> bool {
        let config = &self.shared.config;
        self.written >= config.checkpoint_bytes || self.unsynced.files() >= config.open_files_max
    }

    pub(super) fn holds_memory(&self) -> bool {
        !self.loaded.is_empty() || !self.recovered.is_empty()
    }

    /// Writes what the WAL has of the segments in the list.
    pub(super) fn flush(&mut self, which: Flush) -> Result<(), StoreFailed> {
        self.shared.check_files()?;
        let list = mem::take(&mut self.list);
        for segment in list {
            let large = segment.durable_unwritten() >= PIECE_BYTES_MIN;
            if which == Flush::All || large || segment.has_marks_to_write() {
                self.write_segment(&segment)?;
            }
            if !segment.leave_list() {
                self.list.push(segment);
            }
        }
        Ok(())
    }

    fn write_segment(&mut self, segment: &Arc<Segment>) -> Result<(), StoreFailed> {
        // Held so that the files are not unlinked under the writer's hands and made again.
        let shared = Arc::clone(&self.shared);
        while {
            let _writing = shared.writing.lock();
            self.write_piece(segment)?
        } {}
        let _writing = shared.writing.lock();
        self.write_state(segment)?;
        self.write_index(segment, IndexWhen::Worthwhile)
    }

    /// Writes the next piece; false when there is none.
    fn write_piece(&mut self, segment: &Arc<Segment>) -> Result<bool, StoreFailed> {
        let Some(mut piece) = segment.take_piece(PIECE_BYTES) else {
            return Ok(false);
        };
        let id = segment.id();
        let shared = Arc::clone(&self.shared);
        let path = || path::file(&shared.dir, id, FileKind::Log);
        let file = self.unsynced.log(&*shared.disk, &shared.files, (&shared.dir, id))?;
        if let Some(cut) = piece.file_cut {
            let cut_off = |source| failed(&path(), "cut", source);
            if file.len_bytes().map_err(cut_off)? > cut {
                file.set_len_bytes(cut).map_err(cut_off)?;
            }
        }
        self.write_batches(&*file, &mut piece)
            .map_err(|source| failed(&path(), "written", source))?;
        let before = piece.at;
        let written = segment.piece_written(piece);
        let bytes = written.saturating_sub(before);
        if bytes > 0 {
            file.begin_flush(before, bytes);
        }
        self.written += bytes;
        self.evictable.push_back((Arc::clone(segment), written));
        self.evict();
        Ok(true)
    }

    /// Writes batches back to back, small ones copied together, and hashes each step just before
    /// it is written: the write then finds it in the processor's cache.
    fn write_batches(
        &mut self,
        file: &dyn crate::disk::DiskFile,
        piece: &mut Piece,
    ) -> std::io::Result<()> {
        let mut at = piece.at;
        let bytes = piece.batches.iter().map(|batch| in_file(batch.len())).sum();
        let past_cache = self.pace.write(bytes, self.began.elapsed());
        let mut write = |piece: &mut Piece, bytes: &[u8]| {
            for step in bytes.chunks(STEP_BYTES) {
                piece.hash(step);
                if past_cache {
                    file.write_past_cache_at(step, at)?;
                } else {
                    file.write_at(step, at)?;
                }
                at += in_file(step.len());
            }
            std::io::Result::Ok(())
        };
        let scratch = &mut self.scratch;
        scratch.clear();
        for batch in mem::take(&mut piece.batches) {
            let large = batch.len() > COPIED_BYTES_MAX;
            if large || scratch.len() + batch.len() > STEP_BYTES {
                write(piece, scratch)?;
                scratch.clear();
            }
            if large {
                write(piece, &batch)?;
            } else {
                scratch.extend_from_slice(&batch);
            }
        }
        write(piece, scratch)
    }

    fn write_state(&mut self, segment: &Arc<Segment>) -> Result<(), StoreFailed> {
        let Some((number, bytes)) = segment.take_state() else {
            return Ok(());
        };
        self.replace_state(segment.id(), &bytes)?;
        segment.state_written(number);
        Ok(())
    }

    /// Puts a new state file in the place of the old one.
    fn replace_state(&mut self, id: SegmentId, bytes: &Bytes) -> Result<(), StoreFailed> {
        let shared = Arc::clone(&self.shared);
        let path = path::file(&shared.dir, id, FileKind::State);
        let fresh = path.with_extension("state.new");
        let file = self.unsynced.make(&*shared.disk, &shared.dir, &fresh)?;
        let written = file
            .set_len_bytes(0)
            .and_then(|()| file.write_at(&state_file::encode(bytes), 0))
            .and_then(|()| shared.disk.rename(&fresh, &path));
        written.map_err(|source| failed(&path, "written", source))?;
        // Should the power go before the checkpoint, the WAL still has it.
        self.unsynced.add(path, file);
        Ok(())
    }

    fn write_index(&mut self, segment: &Arc<Segment>, when: IndexWhen) -> Result<(), StoreFailed> {
        if segment.lacks_index()
            && let Err(error) = segment.load()
        {
            tracing::warn!(segment = %segment.id(), %error, "a sealed segment stays without index");
            segment.give_up_footer();
        }
        let Some(write) = segment.take_index(when) else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let path = path::file(&shared.dir, segment.id(), FileKind::Index);
        let file = self.unsynced.make(&*shared.disk, &shared.dir, &path)?;
        // Whatever stands behind the whole blocks is not ours.
        let written =
            file.set_len_bytes(write.at).and_then(|()| file.write_at(&write.bytes, write.at));
        written.map_err(|source| failed(&path, "written", source))?;
        segment.index_written(&write);
        self.unsynced.add(path, file);
        Ok(())
    }

    /// Drops written batches from the hot tail, oldest first, until few enough are kept.
    fn evict(&mut self) {
        while self.shared.budget.keeps_too_much()
            && let Some((segment, to)) = self.evictable.pop_front()
        {
            segment.evict(to);
        }
    }

    /// Writes everything that is durable in the WAL now, and says what is to be flushed for it.
    pub(super) fn begin_checkpoint(&mut self) -> Result<Checkpoint, StoreFailed> {
        let below = self.shared.progress.durable();
        self.flush_all()?;
        self.written = 0;
        if planted::is("released-before-flush") {
            self.shared.wal.release(below);
        }
        Ok(Checkpoint { below, unsynced: mem::take(&mut self.unsynced) })
    }

    /// Gives back the memory of segments that were not used since the last time.
    pub(super) fn sweep(&mut self) -> Result<(), StoreFailed> {
        self.recovered.clear();
        self.loaded.sort_unstable();
        self.loaded.dedup();
        let mut still = Vec::new();
        for id in mem::take(&mut self.loaded) {
            let Some(segment) = self.shared.segment_in_use(id) else {
                continue;
            };
            let swept = segment.sweep();
            if swept == Swept::StoreIndex {
                let shared = Arc::clone(&self.shared);
                let _writing = shared.writing.lock();
                self.write_index(&segment, IndexWhen::All)?;
            }
            if swept != Swept::Idle {
                still.push(id);
            }
        }
        self.loaded.extend(still);
        self.evictable.retain(|(segment, to)| segment.has_tail_before(*to));
        Ok(())
    }

    /// Writes everything that the WAL has told of.
    pub(super) fn flush_all(&mut self) -> Result<(), StoreFailed> {
        let news = self.shared.progress.news(Some(std::time::Duration::ZERO));
        self.take(news);
        self.flush(Flush::All)
    }

    /// Stores what is worth it of every index in memory, for a quick start.
    pub(super) fn store_indexes(&mut self) -> Result<(), StoreFailed> {
        for segment in self.shared.segments_in_use(|_| true) {
            if segment.has_index_worth_storing() {
                self.write_index(&segment, IndexWhen::All)?;
            }
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Flushes, then frees the ring.
    pub(super) fn finish(self, shared: &Shared) -> Result<(), StoreFailed> {
        let Self { below, unsynced } = self;
        unsynced.sync(&*shared.disk)?;
        shared.save_controls()?;
        shared.wal.release(below);
        Ok(())
    }

    /// As a checkpoint that frees everything: nothing may be appended any more.
    pub(super) fn free_all(mut self) -> Self {
        self.below = self.below.next();
        self
    }
}

/// The directory of a file that was unlinked, for the next checkpoint.
pub(super) fn parent(path: &std::path::Path) -> PathBuf {
    path.parent().map(PathBuf::from).unwrap_or_default()
}
