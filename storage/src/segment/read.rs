//! Reading: whole batches, from the hot tail where they are in memory, else from the file.
//!
//! One `pread` a chunk: the index gives a place at or before the wanted batch, and batches are
//! found by walking headers in the bytes that were read. Each is checked before it is served:
//! its CRC, and the 17 bytes outside it against the place. A chunk shares one buffer.

use bytes::Bytes;
use walrus_types::{Offset, batch::HEADER_BYTES};

use super::{
    ReadError, Segment,
    index::Spot,
    scan::{Judged, Log, judge},
    sizes::{in_file, in_memory},
    state::Work,
};

/// The most that one call gives, unless a single batch is larger; ask again for more.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// A read of the file is never smaller, where the file goes on: batches tend to be read on.
const READ_BYTES_MIN: usize = 16 << 10;

/// Batches that lie back to back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Their bytes, in order; a slice holds one batch or several.
    pub bytes: Vec<Bytes>,
    /// The offset after the last one: where to read on.
    pub next: Offset,
    /// The length of all slices.
    pub total: usize,
}

/// Where a read is to be done.
enum Plan {
    /// It is done.
    Tail(Chunk),
    /// In the file, from here.
    File(FilePart),
    /// The index is not in memory.
    NotLoaded,
}

/// A part of the file that can be read.
#[derive(Debug, Clone, Copy)]
struct FilePart {
    start: Spot,
    /// The file has the log up to here.
    limit: u64,
    /// The offset at `limit`, where it is known.
    end: Option<Offset>,
    /// Changes with every cut.
    cuts: u32,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: Offset,
    /// Exclusive.
    end: Offset,
    bytes_max: usize,
}

/// What a read of the file gave.
enum FromFile {
    Read(Chunk, Spot),
    /// The disk would have to be waited for.
    WouldBlock,
    /// The batch that should be here is not.
    Bad(Spot),
}

impl Segment {
    /// Reads whole batches from the one that holds `from`, without waiting for the disk: `None`
    /// when that is needed, then call [`Segment::read`] where blocking is allowed.
    ///
    /// Nothing at or past `end` is read: a batch that reaches over it is not given. The first
    /// batch is whole even past `bytes_max`. An empty chunk says that there is nothing below
    /// `end`.
    ///
    /// # Errors
    /// [`ReadError`]; damage is named by [`Segment::read`].
    pub fn try_read(
        &self,
        from: Offset,
        end: Offset,
        bytes_max: usize,
    ) -> Result<Option<Chunk>, ReadError> {
        let wanted = Wanted { from, end, bytes_max: bytes_max.min(CHUNK_BYTES_MAX) };
        match self.plan(&wanted)? {
            Plan::Tail(chunk) => Ok(Some(chunk)),
            Plan::NotLoaded => Ok(None),
            Plan::File(part) => match self.read_file(&wanted, &part, true)? {
                FromFile::Read(chunk, ended) => {
                    self.remember(from, ended, part.cuts);
                    Ok(Some(chunk))
                }
                FromFile::WouldBlock | FromFile::Bad(_) => Ok(None),
            },
        }
    }

    /// As [`Segment::try_read`], and waits for the disk where it must.
    ///
    /// # Errors
    /// [`ReadError`]. Batches in front of damage are given first; the error comes when a read
    /// begins at it.
    pub fn read(&self, from: Offset, end: Offset, bytes_max: usize) -> Result<Chunk, ReadError> {
        let wanted = Wanted { from, end, bytes_max: bytes_max.min(CHUNK_BYTES_MAX) };
        let mut behind_damage = None;
        loop {
            let mut part = match self.plan(&wanted)? {
                Plan::Tail(chunk) => return Ok(chunk),
                Plan::File(part) => part,
                Plan::NotLoaded => {
                    self.load()?;
                    continue;
                }
            };
            part.start = behind_damage.take().unwrap_or(part.start);
            match self.read_file(&wanted, &part, false)? {
                FromFile::Read(chunk, ended) => {
                    self.remember(from, ended, part.cuts);
                    return Ok(chunk);
                }
                FromFile::WouldBlock => {}
                FromFile::Bad(spot) => {
                    behind_damage = self.behind_damage(&wanted, &part, spot)?;
                }
            }
        }
    }

    /// Where to go on after the bad batch at `spot`, when that lies wholly before what is wanted.
    fn behind_damage(
        &self,
        wanted: &Wanted,
        part: &FilePart,
        spot: Spot,
    ) -> Result<Option<Spot>, ReadError> {
        {
            let state = self.state.lock();
            if state.gone {
                return Err(ReadError::Gone(self.id));
            }
            if state.cuts != part.cuts {
                // The bytes were cut off, and others written in their place, during the read.
                return Ok(None);
            }
        }
        let damaged = |to| ReadError::Damaged { segment: self.id, from: spot.offset, to };
        let Some(file) = self.open_log()? else {
            return Err(damaged(part.end.unwrap_or(spot.offset)));
        };
        let log = Log { file: &*file, epoch: self.id.epoch, limit: part.limit, end: part.end };
        let next = log.next_good(spot.offset, spot.position);
        match next.map_err(|source| self.io_error(source))? {
            Some((to, position)) if to <= wanted.from && position < part.limit => {
                Ok(Some(Spot { offset: to, position, ..spot }))
            }
            Some((to, _)) => Err(damaged(to)),
            None => Err(damaged(spot.offset)),
        }
    }

    fn plan(&self, wanted: &Wanted) -> Result<Plan, ReadError> {
        self.check_from(wanted.from)?;
        let mut state = self.state.lock();
        if state.gone {
            return Err(ReadError::Gone(self.id));
        }
        let cuts = state.cuts;
        let Some(known) = state.known else {
            return Ok(Plan::NotLoaded);
        };
        let end = wanted.end.min(known.end.offset);
        if wanted.from >= end {
            return Ok(Plan::Tail(Chunk { next: wanted.from, ..Chunk::default() }));
        }
        let Some(work) = state.work.as_mut() else {
            return Ok(Plan::NotLoaded);
        };
        work.touched = true;
        let limit = work.written;
        if work.tail.front().is_some_and(|first| first.spot.offset <= wanted.from) {
            return Ok(Plan::Tail(read_tail(work, known.end.offset, &Wanted { end, ..*wanted })));
        }
        let start = match work.start_for(wanted.from) {
            Some(spot) => spot,
            None if work.index.is_whole() => self.first_spot(),
            None => return Ok(Plan::NotLoaded),
        };
        let end = (limit == known.end.position).then_some(known.end.offset);
        Ok(Plan::File(FilePart { start, limit, end, cuts }))
    }

    fn remember(&self, from: Offset, ended: Spot, cuts: u32) {
        let mut state = self.state.lock();
        if state.cuts == cuts
            && let Some(work) = state.work.as_mut()
        {
            work.remember(from, ended);
        }
    }

    pub(super) fn open_log(
        &self,
    ) -> Result<Option<std::sync::Arc<dyn crate::disk::DiskFile>>, ReadError> {
        self.shared.files.get(self.id).map_err(|source| self.io_error(source))
    }

    fn read_file(
        &self,
        wanted: &Wanted,
        part: &FilePart,
        cached: bool,
    ) -> Result<FromFile, ReadError> {
        let opened = if cached { self.shared.files.get_open(self.id) } else { self.open_log()? };
        let Some(file) = opened else {
            return Ok(if cached { FromFile::WouldBlock } else { FromFile::Bad(part.start) });
        };
        let mut start = part.start;
        let mut least = READ_BYTES_MIN;
        loop {
            // The place may lie up to an interval before what is wanted.
            let skipped = if start.offset < wanted.from { part_interval(self) } else { 0 };
            let room = in_memory(part.limit - start.position);
            let length = (wanted.bytes_max + skipped).max(least).min(room);
            let mut buffer = self.shared.buffers.take(length);
            let target = &mut buffer.as_mut()[..length];
            let read = if cached {
                file.read_at_cached(target, start.position)
            } else {
                file.read_at(target, start.position).map(Some)
            };
            let Some(read) = read.map_err(|source| self.io_error(source))? else {
                return Ok(FromFile::WouldBlock);
            };
            let bytes = &buffer.as_ref()[..read];
            match self.take_batches(bytes, start, wanted, part.limit) {
                Taken::Batches { from, to, ended } => {
                    let slice = buffer.freeze().slice(from..to);
                    let total = slice.len();
                    let bytes = if total == 0 { Vec::new() } else { vec![slice] };
                    let next = if total == 0 { wanted.from } else { ended.offset };
                    return Ok(FromFile::Read(Chunk { bytes, next, total }, ended));
                }
                Taken::More { spot, needed } if read == length && needed <= room => {
                    start = spot;
                    least = needed.max(READ_BYTES_MIN);
                }
                // A page-cache read may stop early where the file does not.
                Taken::More { .. } | Taken::Bad(_) if cached && read < length => {
                    return Ok(FromFile::WouldBlock);
                }
                Taken::More { spot, .. } | Taken::Bad(spot) => return Ok(FromFile::Bad(spot)),
            }
        }
    }

    /// Finds the wanted batches in `bytes`, which were read at `start`, and checks each.
    fn take_batches(&self, bytes: &[u8], start: Spot, wanted: &Wanted, limit: u64) -> Taken {
        let mut spot = start;
        let mut first = None;
        loop {
            let at = in_memory(spot.position - start.position);
            let from = first.unwrap_or(at);
            let done = Taken::Batches { from, to: at, ended: spot };
            if spot.position >= limit || spot.offset >= wanted.end {
                return done;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            match judge(rest, spot.offset, self.id.epoch, limit - spot.position) {
                Judged::Good(header) => {
                    let skipped = header.end() <= wanted.from;
                    let over = at - from + header.batch_bytes > wanted.bytes_max;
                    if !skipped && (header.end() > wanted.end || first.is_some() && over) {
                        return done;
                    }
                    if !skipped {
                        first = Some(from);
                    }
                    spot.offset = header.end();
                    spot.position += in_file(header.batch_bytes);
                }
                Judged::More(_) | Judged::Bad if first.is_some() => return done,
                Judged::More(needed) => return Taken::More { spot, needed },
                Judged::Bad => return Taken::Bad(spot),
            }
        }
    }
}

/// What the walk through a buffer gave.
enum Taken {
    Batches {
        from: usize,
        to: usize,
        ended: Spot,
    },
    /// The first wanted batch, at `spot`, is not whole in the buffer.
    More {
        spot: Spot,
        needed: usize,
    },
    Bad(Spot),
}

/// How far before the wanted batch an index entry may lie, about.
fn part_interval(segment: &Segment) -> usize {
    in_memory(segment.shared.config.index_interval_bytes) + HEADER_BYTES
}

/// The wanted batches of the hot tail, of which the first is known to hold `from` or to lie
/// before it.
fn read_tail(work: &Work, tail_end: Offset, wanted: &Wanted) -> Chunk {
    let tail = &work.tail;
    let after = tail.partition_point(|batch| batch.spot.offset <= wanted.from);
    let mut chunk = Chunk { next: wanted.from, ..Chunk::default() };
    for at in after.saturating_sub(1)..tail.len() {
        let batch = &tail[at];
        let batch_end = tail.get(at + 1).map_or(tail_end, |next| next.spot.offset);
        let over = chunk.total + batch.bytes.len() > wanted.bytes_max;
        if batch_end > wanted.end || (over && chunk.total > 0) {
            break;
        }
        chunk.bytes.push(batch.bytes.clone());
        chunk.total += batch.bytes.len();
        chunk.next = batch_end;
    }
    chunk
}
