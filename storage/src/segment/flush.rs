//! What the background writer takes from a segment, and tells it when it is written.
//!
//! All of it is called by one thread. The segment's lock is never held while a file is written:
//! the writer takes a piece, writes it, and says so.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    ReadError, Segment,
    index_file::{self, Footer},
    sizes::in_file,
    state::{Digest, IndexFile, State, Work},
};

/// Entries that are worth a write of the index file of an open segment.
const INDEX_ENTRIES_MIN: usize = 1024;

/// Entries that are worth storing before they are forgotten: a walk over less of the log is quick.
const INDEX_ENTRIES_WORTH: usize = 64;

/// A stretch of the log that is durable in the WAL and goes into the file.
pub(crate) struct Piece {
    /// The file is cut here first.
    pub(crate) file_cut: Option<u64>,
    /// Where the batches go.
    pub(crate) at: u64,
    pub(crate) batches: Vec<Bytes>,
    digest: Option<Digest>,
}

impl Piece {
    /// Hashes the next bytes of the piece, if all before it was hashed.
    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.hasher.write(bytes);
            digest.position += in_file(bytes.len());
        }
    }
}

/// Bytes that go into the index file.
pub(crate) struct IndexWrite {
    /// Where; at 0 the file is emptied first.
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
    entries: usize,
    footer: bool,
    cuts: u32,
}

/// What of its index a segment stores now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexWhen {
    /// The footer of a sealed one, and entries once they are many.
    Worthwhile,
    /// Whatever is not stored: the memory is about to be given back.
    All,
}

impl Segment {
    /// Bytes that the WAL has and the file does not.
    pub(crate) fn durable_unwritten(&self) -> u64 {
        self.state.lock().work.as_ref().map_or(0, |work| work.durable - work.written)
    }

    /// Whether more than batches waits to be written, which is small and not to be put off.
    pub(crate) fn has_marks_to_write(&self) -> bool {
        self.state.lock().work.as_ref().is_some_and(|work| {
            work.file_cut.is_some()
                || work.state_durable.is_some()
                || (work.seal_durable && !work.footer_written)
        })
    }

    /// Takes the next piece of up to about `bytes_max`, if there is one.
    pub(crate) fn take_piece(&self, bytes_max: u64) -> Option<Piece> {
        let mut state = self.state.lock();
        if state.gone {
            return None;
        }
        let work = state.work.as_mut()?;
        let (at, durable) = (work.written, work.durable);
        let file_cut = work.file_cut.take();
        if at == durable && file_cut.is_none() {
            return None;
        }
        let first = work.tail.partition_point(|batch| batch.spot.position < at);
        let mut batches = Vec::new();
        let mut end = at;
        for batch in work.tail.range(first..) {
            if batch.end_position() > durable || (end > at && end - at >= bytes_max) {
                break;
            }
            end = batch.end_position();
            batches.push(batch.bytes.clone());
        }
        work.writing = Some(end);
        let digest = work.digest.take_if(|digest| digest.position == at);
        Some(Piece { file_cut, at, batches, digest })
    }

    /// The piece is in the file; answers up to where the file has the log now.
    pub(crate) fn piece_written(&self, piece: Piece) -> u64 {
        let mut state = self.state.lock();
        if state.gone {
            return 0;
        }
        let Some(work) = state.work.as_mut() else {
            return 0;
        };
        let end = work.writing.take().unwrap_or(work.written);
        let bytes = end.saturating_sub(work.written);
        work.written = work.written.max(end);
        if let Some(digest) = piece.digest
            && digest.position == work.written
        {
            work.digest = Some(digest);
        }
        let written = work.written;
        drop(state);
        self.shared.budget.written(bytes);
        self.shared.progress.sub_durable(bytes);
        written
    }

    /// Drops written batches up to `to` from the hot tail.
    pub(crate) fn evict(&self, to: u64) -> u64 {
        let mut state = self.state.lock();
        let bytes = state.work.as_mut().map_or(0, |work| work.evict(to));
        drop(state);
        self.shared.budget.forget(bytes, 0);
        bytes
    }

    /// Whether it was pruned.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// Whether the writer has it in its list.
    pub(crate) fn is_listed(&self) -> bool {
        self.state.lock().listed
    }

    /// Whether batches before `to` are still in the hot tail.
    pub(crate) fn has_tail_before(&self, to: u64) -> bool {
        let state = self.state.lock();
        let first = state.work.as_ref().and_then(|work| work.tail.front());
        first.is_some_and(|first| first.spot.position < to)
    }

    /// The newest state that is durable in the WAL and not in its file, with its number.
    pub(crate) fn take_state(&self) -> Option<(u64, Bytes)> {
        let state = self.state.lock();
        let work = state.work.as_ref().filter(|_| !state.gone)?;
        work.state_durable.clone()
    }

    /// The state of that number is in its file.
    pub(crate) fn state_written(&self, number: u64) {
        let mut state = self.state.lock();
        let Some(work) = state.work.as_mut() else {
            return;
        };
        work.state_durable.take_if(|(durable, _)| *durable == number);
        if work.state_number == number {
            work.state = None;
        }
    }

    /// The part of the index that should be stored now, if there is one.
    pub(crate) fn take_index(&self, when: IndexWhen) -> Option<IndexWrite> {
        let state = self.state.lock();
        if state.gone {
            return None;
        }
        let (known, work) = (state.known?, state.work.as_ref()?);
        let end = known.end.position;
        let seals = work.seal_durable && !work.footer_written && work.written == end && end > 0;
        let at = match work.index_file {
            _ if !work.index.is_whole() => return None,
            IndexFile::Whole(at) => at,
            IndexFile::Unknown | IndexFile::Stale => 0,
        };
        let entries = if at == 0 {
            work.index.entries_before(work.written)
        } else {
            work.index.unstored(work.written)
        };
        let enough = match when {
            IndexWhen::Worthwhile => INDEX_ENTRIES_MIN,
            IndexWhen::All => 1,
        };
        let stale = work.index_file == IndexFile::Stale;
        if !seals && !stale && entries.len() < enough {
            return None;
        }
        let mut bytes = if at == 0 { index_file::encode_header(self.id) } else { Vec::new() };
        if !entries.is_empty() {
            bytes.extend(index_file::encode_entries(entries));
        }
        if seals {
            let digest = work.digest.as_ref().filter(|d| d.position == work.written);
            bytes.extend(index_file::encode_footer(&Footer {
                end: known.end.offset,
                bytes: known.end.position,
                max_timestamp: known.end.max_before,
                digest: digest.map(|digest| digest.hasher.finish_128()).or(known.digest),
            }));
        }
        let stored = if at == 0 { 0 } else { work.index.stored };
        let entries = stored + entries.len();
        Some(IndexWrite { at, bytes, entries, footer: seals, cuts: state.cuts })
    }

    /// Whether the footer cannot be made because the index is not in memory.
    pub(crate) fn lacks_index(&self) -> bool {
        let state = self.state.lock();
        let work = state.work.as_ref().filter(|_| !state.gone);
        work.is_some_and(|work| !work.index.is_whole() && work.seal_durable && !work.footer_written)
    }

    /// A seal whose footer cannot be written: the chain in the metadata knows its end.
    pub(crate) fn give_up_footer(&self) {
        if let Some(work) = self.state.lock().work.as_mut() {
            work.footer_written = true;
        }
    }

    /// That part of the index is in its file.
    pub(crate) fn index_written(&self, write: &IndexWrite) {
        let mut state = self.state.lock();
        let cut_since = state.cuts != write.cuts;
        let State { known, work: Some(work), .. } = &mut *state else {
            return;
        };
        if cut_since {
            work.index_file = IndexFile::Stale;
            work.index.stored = 0;
            return;
        }
        work.index_file = IndexFile::Whole(write.at + in_file(write.bytes.len()));
        work.index.stored = write.entries;
        if write.footer {
            work.footer_written = true;
            let digest = work.digest.take();
            if let Some(known) = known
                && let Some(digest) = digest.filter(|d| d.position == known.end.position)
            {
                known.digest = Some(digest.hasher.finish_128());
            }
        }
    }

    /// Whether the next start is quicker when the index is stored now.
    pub(crate) fn has_index_worth_storing(&self) -> bool {
        let state = self.state.lock();
        let work = state.work.as_ref().filter(|_| !state.gone);
        let unstored = |work: &Work| work.index.unstored(work.written).len();
        work.is_some_and(|work| work.index.is_whole() && unstored(work) >= INDEX_ENTRIES_WORTH)
    }

    /// Keeps a state that the WAL had, to be written to its file.
    ///
    /// # Errors
    /// The disk does not tell what else there is of the segment.
    pub(crate) fn keep_recovered_state(&self, bytes: Bytes) -> Result<(), ReadError> {
        self.known()?;
        let mut state = self.state.lock();
        let work = self.work(&mut state);
        work.state = Some(bytes.clone());
        work.state_number = 1;
        work.state_durable = Some((1, bytes));
        Ok(())
    }

    /// Puts a segment that recovery made into the writer's list.
    pub(crate) fn list_recovered(self: &Arc<Self>) {
        self.mark_dirty(self.state.lock());
    }

    /// Whether nothing is left for the writer; then the segment leaves its list.
    pub(crate) fn leave_list(&self) -> bool {
        let mut state = self.state.lock();
        let gone = state.gone;
        let sealed_empty = state.known.is_some_and(|known| known.sealed && known.end.position == 0);
        let Some(work) = state.work.as_mut() else {
            state.listed = false;
            return true;
        };
        // A segment that was sealed empty has no files: it leaves its chain.
        work.footer_written |= sealed_empty;
        let idle = work.written == work.durable
            && work.file_cut.is_none()
            && work.state_durable.is_none()
            && (!work.seal_durable || work.footer_written);
        if idle || gone {
            work.dirty = false;
            state.listed = false;
        }
        idle || gone
    }

    /// Gives memory back when nobody has used the segment since the last call and nothing is to
    /// be done for it. Answers whether it holds any still.
    pub(crate) fn sweep(self: &Arc<Self>) -> Swept {
        let mut state = self.state.lock();
        let end = state.known.map_or(0, |known| known.end.position);
        let Some(work) = state.work.as_mut() else {
            return Swept::Idle;
        };
        if std::mem::replace(&mut work.touched, false) || !work.is_at_rest(end) {
            return Swept::Busy;
        }
        let evicted = work.evict(u64::MAX);
        let worth = work.index.is_whole() && work.index.unstored(end).len() >= INDEX_ENTRIES_WORTH;
        if !worth {
            state.work = None;
        }
        drop(state);
        self.shared.budget.forget(evicted, 0);
        if worth { Swept::StoreIndex } else { Swept::Idle }
    }

    /// Marks the segment as pruned; nothing of it is written from here on.
    pub(crate) fn make_gone(&self) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        state.gone = true;
        let end = state.known.map_or(0, |known| known.end.position);
        if let Some(work) = state.work.take() {
            self.shared.budget.forget(work.tail_bytes(end), end - work.written);
            self.shared.progress.sub_durable(work.durable - work.written);
        }
    }
}

/// What a sweep did with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swept {
    /// It holds no memory.
    Idle,
    /// It is in use.
    Busy,
    /// Its index should be stored; the next sweep gives the memory back.
    StoreIndex,
}
