//! What is on disk of a segment, found out at first use.
//!
//! A sealed segment says it in its footer. An open one is as long as its file: recovery has cut
//! off whatever the WAL does not vouch for. Its index is what was stored of it, and the rest of
//! the log is walked, every batch checked.

use std::io;

use walrus_types::Offset;

use super::{
    Extent, ReadError, Segment,
    index::{Index, Spot},
    index_file::{self, Stored},
    path::{self, FileKind},
    scan::{Log, Scanned},
    state::{IndexFile, Known, Work},
};

impl Segment {
    /// Makes sure that the segment's extent and index are in memory; may read the disk.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Gone`]. Damage is no error here: it is met, and named,
    /// where it is read.
    pub fn load(&self) -> Result<Extent, ReadError> {
        let _alone = self.loading.lock();
        loop {
            let seen = {
                let mut state = self.state.lock();
                if state.gone {
                    return Err(ReadError::Gone(self.id));
                }
                let known = state.known;
                match (known, state.work.as_mut()) {
                    (Some(known), Some(work)) if work.index.is_whole() => {
                        work.touched = true;
                        return Ok(Self::extent(&known));
                    }
                    (Some(known), Some(work)) => Some((known, work.index.covers_from())),
                    (Some(known), None) => Some((known, known.end.position)),
                    (None, _) => None,
                }
            };
            let result = match seen {
                None => self.discover(),
                Some((known, to)) => self.load_index(&known, to),
            };
            result.map_err(|source| self.io_error(source))?;
        }
    }

    /// What is known of the extent; the disk is asked only the first time.
    pub(super) fn known(&self) -> Result<Known, ReadError> {
        {
            let state = self.state.lock();
            if state.gone {
                return Err(ReadError::Gone(self.id));
            }
            if let Some(known) = state.known {
                return Ok(known);
            }
        }
        self.load()?;
        Ok(self.state.lock().known.expect("it was just loaded"))
    }

    /// The error for a segment whose last bytes are damaged.
    pub(super) fn damaged_end(&self, known: &Known) -> ReadError {
        let from = known.end.offset;
        ReadError::Damaged { segment: self.id, from, to: from }
    }

    /// A segment of which nothing is known yet.
    fn discover(&self) -> io::Result<()> {
        let Some(file) = self.shared.files.get(self.id)? else {
            let mut state = self.state.lock();
            state.known = Some(Known::empty(self.id.base));
            self.work(&mut state);
            return Ok(());
        };
        let bytes = file.len_bytes()?;
        let stored = self.read_index_file()?;
        let sealed = stored
            .footer
            .filter(|footer| footer.bytes == bytes && footer.end >= self.id.base && bytes > 0);
        let interval = self.shared.config.index_interval_bytes;
        let mut work = Box::new(Work::at_rest(bytes, interval));
        let known = if let Some(footer) = sealed {
            work.index = index_of(&stored, bytes, interval);
            work.index_file = IndexFile::Whole(stored.whole_bytes);
            (work.seal_durable, work.footer_written) = (true, true);
            let end =
                Spot { offset: footer.end, position: bytes, max_before: footer.max_timestamp };
            Known { end, sealed: true, end_damaged: false, digest: footer.digest }
        } else {
            let log = Log { file: &*file, epoch: self.id.epoch, limit: bytes, end: None };
            let scanned = self.index_log(&log, &stored, &mut work)?;
            let end_damaged = scanned.end_unknown;
            // What lies behind the damage is still in the file: it is no part of the segment.
            let end = scanned.end;
            work.durable = end.position;
            work.written = end.position;
            Known { end, sealed: false, end_damaged, digest: None }
        };
        if known.end.position > 0 {
            work.digest = None;
        }
        let mut state = self.state.lock();
        if state.known.is_none() {
            state.known = Some(known);
            state.work = Some(work);
            self.shared.progress.loaded(self.id);
        }
        Ok(())
    }

    /// The index of the log before `to`, for a segment whose extent is known.
    fn load_index(&self, known: &Known, to: u64) -> io::Result<()> {
        let interval = self.shared.config.index_interval_bytes;
        let mut loaded = Box::new(Work::at_rest(to, interval));
        if to == 0 {
            loaded.index = Index::new(0, interval);
        } else {
            let Some(file) = self.shared.files.get(self.id)? else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "its log file is not there"));
            };
            let stored = self.read_index_file()?;
            let end = (to == known.end.position).then_some(known.end.offset);
            let log = Log { file: &*file, epoch: self.id.epoch, limit: to, end };
            let footer = stored.footer.filter(|footer| known.sealed && footer.bytes == to);
            if footer.is_some() {
                loaded.index = index_of(&stored, to, interval);
                loaded.index_file = IndexFile::Whole(stored.whole_bytes);
                (loaded.seal_durable, loaded.footer_written) = (true, true);
            } else {
                self.index_log(&log, &stored, &mut loaded)?;
            }
        }
        let mut state = self.state.lock();
        if state.gone {
            return Ok(());
        }
        let fresh = state.work.is_none();
        let work = self.work(&mut state);
        // A cut below `to` in the meantime moves the mark back: then what was loaded is too much.
        if work.index.covers_from() == to {
            work.index.join(loaded.index);
            if work.index_file == IndexFile::Unknown {
                work.index_file = loaded.index_file;
            }
            if fresh {
                (work.seal_durable, work.footer_written) =
                    (loaded.seal_durable, loaded.footer_written);
            }
        }
        Ok(())
    }

    /// Makes the index of `log`: what is stored of it, and the rest by walking the log.
    fn index_log(&self, log: &Log<'_>, stored: &Stored, work: &mut Work) -> io::Result<Scanned> {
        let interval = self.shared.config.index_interval_bytes;
        work.index = index_of(stored, log.limit, interval);
        // Entries past the log's end are of bytes that were cut off it.
        let all_fit = stored.entries.last().is_none_or(|last| last.position < log.limit);
        work.index_file = if all_fit && stored.footer.is_none() {
            IndexFile::Whole(stored.whole_bytes)
        } else {
            IndexFile::Stale
        };
        let first = Known::empty(self.id.base).end;
        let start = work.index.last().unwrap_or(first);
        let mut index = work.index.clone();
        let scanned = log.scan(start, &mut |spot, _| index.note_after(start, spot))?;
        let fits = scanned.holes.first().is_none_or(|hole| hole.from != start.offset);
        if fits || start == first {
            work.index = index;
            return Ok(scanned);
        }
        // The log does not have the batch that the index names: the index is not to be trusted.
        work.index = Index::new(0, interval);
        work.index_file = IndexFile::Stale;
        log.scan(first, &mut |spot, _| work.index.note(spot))
    }

    fn read_index_file(&self) -> io::Result<Stored> {
        let path = path::file(&self.shared.dir, self.id, FileKind::Index);
        let bytes = self.shared.read_whole(&path, index_file::FILE_BYTES_MAX)?;
        Ok(bytes.map(|bytes| index_file::decode(self.id, &bytes)).unwrap_or_default())
    }

    /// The place of `offset` when nothing else is known of it.
    pub(super) fn first_spot(&self) -> Spot {
        Known::empty(self.id.base).end
    }

    /// Whether `given` lies before the segment.
    pub(super) fn check_from(&self, given: Offset) -> Result<(), ReadError> {
        if given < self.id.base {
            return Err(ReadError::Below { segment: self.id, given });
        }
        Ok(())
    }
}

/// The entries that are stored of the log before `limit`.
fn index_of(stored: &Stored, limit: u64, interval_bytes: u64) -> Index {
    let mut index = Index::new(0, interval_bytes);
    for spot in stored.entries.iter().filter(|spot| spot.position < limit) {
        index.push(*spot);
        index.stored += 1;
    }
    index
}
