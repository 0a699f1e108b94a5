//! Walking a log's batches from a known place, checking every one, and finding the next good one
//! behind damage.
//!
//! Owns the judgement of one batch in its place: what the CRC covers, and the 17 bytes before it
//! that only the place can vouch for. Owns no lock, cache or policy: `read.rs` serves batches,
//! `load.rs` makes an index with this.

use std::{io, ops::Range};

use walrus_types::{
    Epoch, Offset,
    batch::{self, BatchHeader, HEADER_BYTES},
    limits::BATCH_BYTES_MAX,
};

use super::{
    index::Spot,
    sizes::{in_file, in_memory},
};
use crate::disk::DiskFile;

/// What is read at once when a log is scanned.
const WINDOW_BYTES: usize = 512 << 10;
/// Where epoch and magic, the fixed bytes of every batch of a segment, lie in its header.
const EPOCH_AT: usize = 12;

/// The verdict on the bytes at a place where a batch should be.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is the batch that belongs here, and undamaged.
    Good(BatchHeader),
    /// So many bytes are needed to tell.
    More(usize),
    /// It is not.
    Bad,
}

/// Judges the batch at the start of `bytes`, which should be the one of `epoch` at `expected`.
/// `room` is how long the log is from here on.
pub(crate) fn judge(bytes: &[u8], expected: Offset, epoch: Epoch, room: u64) -> Judged {
    if bytes.len() < HEADER_BYTES {
        return if room < in_file(HEADER_BYTES) { Judged::Bad } else { Judged::More(HEADER_BYTES) };
    }
    let Some(header) = plausible(bytes, epoch, room).filter(|h| h.base_offset == expected) else {
        return Judged::Bad;
    };
    if bytes.len() < header.batch_bytes {
        return Judged::More(header.batch_bytes);
    }
    match batch::check_crc(bytes) {
        Ok(header) => Judged::Good(header),
        Err(_damaged) => Judged::Bad,
    }
}

/// The header at the start of `bytes`, when it could be one of this segment's.
fn plausible(bytes: &[u8], epoch: Epoch, room: u64) -> Option<BatchHeader> {
    let header = BatchHeader::parse_prefix(bytes).ok()?;
    let fits = in_file(header.batch_bytes) <= room
        && header.batch_bytes <= BATCH_BYTES_MAX + HEADER_BYTES
        && header.epoch == epoch
        && header.last_offset_delta >= 0
        && header.base_offset.0 >= 0;
    fits.then_some(header)
}

/// Offsets that cannot be read, and where the log is good again behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Where it ended: at the limit, or at the damage behind which nothing is good.
    pub(crate) end: Spot,
    pub(crate) holes: Vec<Hole>,
    /// The last bytes before the limit are damaged and do not tell where they would have ended.
    pub(crate) end_unknown: bool,
}

/// A log as a scan sees it: its file, its epoch, and how far it goes.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    pub(crate) file: &'a dyn DiskFile,
    pub(crate) epoch: Epoch,
    /// Nothing at or past this position is looked at.
    pub(crate) limit: u64,
    /// The offset at `limit`, where it is known.
    pub(crate) end: Option<Offset>,
}

impl Log<'_> {
    /// Walks every batch from `from` to the limit.
    pub(crate) fn scan(
        &self,
        from: Spot,
        each: &mut dyn FnMut(Spot, &BatchHeader),
    ) -> io::Result<Scanned> {
        let mut window = Window::default();
        let mut spot = from;
        let mut holes = Vec::new();
        let mut needed = HEADER_BYTES;
        while spot.position < self.limit {
            let bytes = window.at(self, spot.position, needed)?;
            let missing = bytes.len() < needed;
            match judge(bytes, spot.offset, self.epoch, self.limit - spot.position) {
                Judged::Good(header) => {
                    each(spot, &header);
                    spot.offset = header.end();
                    spot.position += in_file(header.batch_bytes);
                    spot.max_before = spot.max_before.max(header.max_timestamp);
                    needed = HEADER_BYTES;
                }
                Judged::More(more) if !missing => needed = more,
                Judged::More(_) | Judged::Bad => {
                    needed = HEADER_BYTES;
                    let Some((to, position)) = self.next_good(spot.offset, spot.position)? else {
                        holes.push(Hole { from: spot.offset, to: spot.offset });
                        return Ok(Scanned { end: spot, holes, end_unknown: true });
                    };
                    holes.push(Hole { from: spot.offset, to });
                    spot = Spot { offset: to, position, ..spot };
                }
            }
        }
        Ok(Scanned { end: spot, holes, end_unknown: false })
    }

    /// Where the log is good again behind the bad batch at `position`, which should have been the
    /// one at `expected`. The limit counts as good when its offset is known.
    pub(crate) fn next_good(
        &self,
        expected: Offset,
        position: u64,
    ) -> io::Result<Option<(Offset, u64)>> {
        if let Some(next) = self.step_over(expected, position)? {
            return Ok(Some(next));
        }
        let found = self.search(expected, position + 1)?;
        Ok(found.or_else(|| self.end.map(|end| (end, self.limit))))
    }

    /// Trusts the bad batch's header when what lies behind it agrees: then only its body is bad.
    fn step_over(&self, expected: Offset, position: u64) -> io::Result<Option<(Offset, u64)>> {
        let mut head = [0; HEADER_BYTES];
        if self.file.read_at(&mut head, position)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(header) = plausible(&head, self.epoch, self.limit - position) else {
            return Ok(None);
        };
        let (end, next) = (header.end(), position + in_file(header.batch_bytes));
        if header.base_offset != expected || next > self.limit {
            return Ok(None);
        }
        if next == self.limit {
            let agrees = self.end.is_none_or(|known| known == end);
            return Ok(agrees.then_some((end, next)));
        }
        let whole = self.file.read_at(&mut head, next)? == HEADER_BYTES;
        let follows = plausible(&head, self.epoch, self.limit - next)
            .is_some_and(|header| whole && header.base_offset == end);
        Ok(follows.then_some((end, next)))
    }

    /// Looks at every position from `from` on for a whole batch of this segment past `expected`.
    fn search(&self, expected: Offset, from: u64) -> io::Result<Option<(Offset, u64)>> {
        let mut mark = [0; 5];
        mark[..4].copy_from_slice(&self.epoch.0.to_be_bytes());
        mark[4] = batch::MAGIC.cast_unsigned();
        let mut window = Window::default();
        let mut position = from;
        while position + in_file(HEADER_BYTES) <= self.limit {
            let bytes = window.at(self, position, HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let marks = &bytes[EPOCH_AT..];
            let Some(ahead) = marks.windows(mark.len()).position(|five| five == mark) else {
                position += in_file(bytes.len() - EPOCH_AT - mark.len() + 1);
                continue;
            };
            position += in_file(ahead);
            if let Some(base) = self.good_past(expected, position)? {
                return Ok(Some((base, position)));
            }
            position += 1;
        }
        Ok(None)
    }

    /// The base of the batch at `position`, when it is whole and lies past `expected`.
    fn good_past(&self, expected: Offset, position: u64) -> io::Result<Option<Offset>> {
        let mut head = [0; HEADER_BYTES];
        if self.file.read_at(&mut head, position)? < HEADER_BYTES {
            return Ok(None);
        }
        let room = self.limit - position;
        let Some(header) = plausible(&head, self.epoch, room) else {
            return Ok(None);
        };
        let before_end = self.end.is_none_or(|end| header.end() <= end);
        if header.base_offset <= expected || !before_end {
            return Ok(None);
        }
        let mut whole = vec![0; header.batch_bytes];
        let read = self.file.read_at(&mut whole, position)?;
        Ok((read == whole.len() && batch::check_crc(&whole).is_ok()).then_some(header.base_offset))
    }
}

/// The part of a log that is in memory while it is walked.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    held: Range<u64>,
}

impl Window {
    /// The bytes from `position` on: at least `needed`, fewer only where the log ends.
    fn at(&mut self, log: &Log<'_>, position: u64, needed: usize) -> io::Result<&[u8]> {
        let wanted = in_file(needed).min(log.limit - position);
        if !(self.held.start <= position && position + wanted <= self.held.end) {
            let length = WINDOW_BYTES.max(needed);
            let length = length.min(in_memory(log.limit - position));
            self.bytes.resize(length, 0);
            let read = log.file.read_at(&mut self.bytes, position)?;
            self.bytes.truncate(read);
            self.held = position..position + in_file(read);
        }
        Ok(&self.bytes[in_memory(position - self.held.start)..])
    }
}
