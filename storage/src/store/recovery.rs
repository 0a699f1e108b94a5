//! Opening: what the WAL still holds goes into the segment files again.
//!
//! The first retained entry of a segment says where its batch lies in the file: everything
//! before is durable there, for the WAL is released only behind a flush of the file. So only
//! segments with retained entries are looked at, however many there are on the disk. Their
//! batches are written again at their places (a page cache that lied about an earlier write is
//! overruled), and what the file has behind the last is cut off.
//!
//! A hole in what the WAL gives back, or a file that is too short for it, is damage: it is
//! reported with its offsets, and reads of it fail. It is no reason not to start.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use walrus_types::{Offset, SegmentId, batch::BatchHeader};

use super::{
    StoreConfig,
    control::Saved,
    entry::{self, Head},
    files::OpenFiles,
    unsynced::Unsynced,
};
use crate::{
    disk::Disk,
    segment::{
        StoreFailed,
        index::{Index, Spot},
        path::{self, FileKind},
        scan::Log,
        sizes::in_file,
        state::{IndexFile, Known, State, Work},
    },
    wal::{Lsn, Replayed, ReplayedBody},
};

/// Batches held before they are written out.
const BUFFERED_BYTES_MAX: u64 = 8 << 20;

/// Offsets of a segment that were durable and are lost on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Whose.
    pub segment: SegmentId,
    /// The first one.
    pub from: Offset,
    /// The first one behind that is good again. Equal to `from` when it is not known how far the
    /// damage goes.
    pub to: Offset,
    /// How it shows.
    pub why: &'static str,
}

/// What replay gathers, entry by entry.
pub(super) struct Replay<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    config: &'a StoreConfig,
    files: &'a OpenFiles,
    segments: BTreeMap<SegmentId, Recovering>,
    controls: Saved,
    /// The newest state of each segment that has one here.
    states: BTreeMap<SegmentId, Bytes>,
    unsynced: Unsynced,
    last: Lsn,
    buffered: u64,
    /// Bytes written into segment files.
    written: u64,
}

/// A segment that has entries in the WAL.
#[derive(Debug)]
struct Recovering {
    /// How long its log was when recovery first opened it.
    file_bytes: Option<u64>,
    /// Its first retained entry's place: the log was durable up to here.
    first: Spot,
    end: Spot,
    index: Index,
    sealed: bool,
    was_cut: bool,
    /// Batches that are to be written at `batches_at`, back to back.
    batches: Vec<Bytes>,
    batches_at: u64,
    gaps: Vec<Gap>,
}

/// Entries that should be there and are not.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// Nothing when the file ends somewhere before `to`.
    from: Option<Spot>,
    to: Spot,
    why: &'static str,
}

/// A segment as recovery leaves it.
pub(super) struct Recovered {
    pub(super) id: SegmentId,
    pub(super) state: State,
    pub(super) damage: Vec<Damage>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        disk: &'a Arc<dyn Disk>,
        dir: &'a Path,
        config: &'a StoreConfig,
        files: &'a OpenFiles,
        controls: Saved,
    ) -> Self {
        Self {
            disk,
            dir,
            config,
            files,
            segments: BTreeMap::new(),
            controls,
            states: BTreeMap::new(),
            unsynced: Unsynced::default(),
            last: Lsn::ZERO,
            buffered: 0,
            written: 0,
        }
    }

    /// Takes one entry.
    pub(super) fn take(&mut self, replayed: &Replayed<'_>) -> io::Result<()> {
        self.last = replayed.lsn;
        let Some(head) = entry::decode(replayed.kind, replayed.head) else {
            let what =
                format!("an entry of kind {} that this version does not know", replayed.kind);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        match head {
            Head::Append { segment, spot, end } => self.append(segment, spot, end, &replayed.body),
            Head::Truncate { segment, spot } => self.cut(segment, spot, false),
            Head::Seal { segment, spot } => self.cut(segment, spot, true),
            Head::State { segment } => {
                self.state(segment, &replayed.body);
                Ok(())
            }
            Head::Prune { segment } => self.prune(segment),
            Head::RemovePartition(partition) => self
                .remove(|id| id.partition == partition, &path::partition_dir(self.dir, partition)),
            Head::RemoveTopic(topic) => {
                self.remove(|id| id.partition.topic == topic, &path::topic_dir(self.dir, topic))
            }
            Head::Control { key } => {
                let saved = self.controls.records.get(&key).map_or(Lsn::ZERO, |(_, lsn)| *lsn);
                if let ReplayedBody::Intact(value) = replayed.body
                    && replayed.lsn >= saved
                {
                    let value = Bytes::copy_from_slice(value);
                    self.controls.records.insert(key, (value, replayed.lsn));
                }
                Ok(())
            }
            Head::Mark => Ok(()),
        }
    }

    /// The segment's gathering, begun with an entry that lies at `spot`.
    fn segment(&mut self, id: SegmentId, spot: Spot) -> &mut Recovering {
        let interval = self.config.index_interval_bytes;
        self.segments.entry(id).or_insert_with(|| Recovering {
            file_bytes: None,
            first: spot,
            end: spot,
            index: Index::new(spot.position, interval),
            sealed: false,
            was_cut: false,
            batches: Vec::new(),
            batches_at: spot.position,
            gaps: Vec::new(),
        })
    }

    fn append(
        &mut self,
        id: SegmentId,
        spot: Spot,
        end: Offset,
        body: &ReplayedBody<'_>,
    ) -> io::Result<()> {
        self.arrive(id, spot)?;
        let segment = self.segment(id, spot);
        segment.index.note(spot);
        segment.end = match body {
            ReplayedBody::Intact(batch) => {
                let header = BatchHeader::parse(batch);
                let header =
                    header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                segment.batches.push(Bytes::clone(batch));
                Spot {
                    offset: end,
                    position: spot.position + in_file(batch.len()),
                    max_before: spot.max_before.max(header.max_timestamp),
                }
            }
            ReplayedBody::Damaged { bytes } => {
                Spot { offset: end, position: spot.position + u64::from(*bytes), ..spot }
            }
        };
        let (from, to) = (spot, segment.end);
        if let ReplayedBody::Damaged { .. } = body {
            let why = "its entry in the write-ahead log is damaged";
            segment.gaps.push(Gap { from: Some(from), to, why });
            self.write_out(id)?;
            self.segment(id, spot).batches_at = to.position;
            return Ok(());
        }
        self.buffered += to.position - from.position;
        if self.buffered >= BUFFERED_BYTES_MAX {
            self.write_all_out()?;
        }
        Ok(())
    }

    /// An entry lies at `spot`: notes what is missing when that is not where the last one ended.
    fn arrive(&mut self, id: SegmentId, spot: Spot) -> io::Result<()> {
        let end = self.segment(id, spot).end;
        if end.position == spot.position && end.offset == spot.offset {
            return Ok(());
        }
        self.write_out(id)?;
        let segment = self.segment(id, spot);
        if spot.position < end.position {
            // The entry of a cut was lost.
            segment.index.cut(spot.position);
            segment.was_cut = true;
        } else {
            let why = "entries are missing in the write-ahead log";
            segment.gaps.push(Gap { from: Some(end), to: spot, why });
        }
        segment.end = spot;
        segment.batches_at = spot.position;
        Ok(())
    }

    fn cut(&mut self, id: SegmentId, spot: Spot, sealed: bool) -> io::Result<()> {
        let end = self.segment(id, spot).end;
        if spot.position > end.position {
            self.arrive(id, spot)?;
        } else {
            self.write_out(id)?;
        }
        let segment = self.segment(id, spot);
        segment.end = spot;
        segment.batches_at = spot.position;
        segment.index.cut(spot.position);
        if spot.position < segment.first.position {
            segment.first = spot;
        }
        // What was missing behind the cut is not missed.
        segment.gaps.retain(|gap| gap.to.position <= spot.position);
        segment.was_cut = true;
        segment.sealed |= sealed;
        Ok(())
    }

    fn state(&mut self, id: SegmentId, body: &ReplayedBody<'_>) {
        // One that is damaged leaves the segment with the one before, in its file.
        let ReplayedBody::Intact(bytes) = body else {
            return;
        };
        self.states.insert(id, Bytes::copy_from_slice(bytes));
    }

    fn prune(&mut self, id: SegmentId) -> io::Result<()> {
        self.segments.remove(&id);
        self.states.remove(&id);
        self.files.forget(id);
        for kind in FileKind::ALL {
            ignore_missing(self.disk.remove_file(&path::file(self.dir, id, kind)))?;
        }
        self.unsynced.add_dir(path::partition_dir(self.dir, id.partition));
        Ok(())
    }

    fn remove(&mut self, goes: impl Fn(&SegmentId) -> bool, dir: &Path) -> io::Result<()> {
        self.segments.retain(|id, _| !goes(id));
        self.states.retain(|id, _| !goes(id));
        drop(self.files.forget_where(goes));
        ignore_missing(self.disk.remove_dir_all(dir))?;
        self.unsynced.add_dir(dir.parent().map(PathBuf::from).unwrap_or_default());
        Ok(())
    }

    fn write_all_out(&mut self) -> io::Result<()> {
        let waiting: Vec<SegmentId> = self
            .segments
            .iter()
            .filter(|(_, segment)| !segment.batches.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.write_out(id)?;
        }
        self.buffered = 0;
        Ok(())
    }

    /// Writes the batches of one segment that are waiting.
    fn write_out(&mut self, id: SegmentId) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&id) else {
            return Ok(());
        };
        let batches = std::mem::take(&mut segment.batches);
        let at = segment.batches_at;
        if batches.is_empty() {
            return Ok(());
        }
        let piece = batches.concat();
        segment.batches_at = at + in_file(piece.len());
        let file = self.log(id)?;
        let bytes = file.len_bytes()?;
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.file_bytes.get_or_insert(bytes);
        }
        file.write_at(&piece, at)?;
        self.written += in_file(piece.len());
        self.unsynced.close_some(self.config.open_files_max);
        Ok(())
    }

    fn log(&mut self, id: SegmentId) -> io::Result<Arc<dyn crate::disk::DiskFile>> {
        self.unsynced.log(&**self.disk, self.files, (self.dir, id)).map_err(io_error)
    }

    /// After the last entry: brings every log to its length and says what each segment is.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        self.write_all_out()?;
        let mut recovered = Vec::new();
        for (id, segment) in std::mem::take(&mut self.segments) {
            recovered.push(self.finish_segment(id, segment)?);
        }
        let Self { controls, unsynced, last, written, states, .. } = self;
        Ok(Finished { recovered, controls, states, unsynced, last, written })
    }

    fn finish_segment(&mut self, id: SegmentId, segment: Recovering) -> io::Result<Recovered> {
        let Recovering { file_bytes, first, end, index, sealed, was_cut, .. } = segment;
        let mut gaps = segment.gaps;
        let mut damage = Vec::new();
        // Most files are as long as they should be with what was written to them.
        let as_it_should = file_bytes
            .is_some_and(|bytes| first.position <= bytes && bytes <= end.position)
            && !was_cut
            && gaps.is_empty();
        if first.position == 0 {
            // No checkpoint has covered the file's first byte: nor its name, then, which the
            // process that ended may have made.
            self.unsynced.add_dirs(self.dir, &path::partition_dir(self.dir, id.partition));
        }
        if !as_it_should && (end.position > 0 || was_cut) {
            let file = self.log(id)?;
            let bytes = file.len_bytes()?;
            if file_bytes.unwrap_or(bytes) < first.position {
                let why = "the log is shorter than the write-ahead log says it was made durable";
                gaps.push(Gap { from: None, to: first, why });
            }
            if bytes != end.position {
                file.set_len_bytes(end.position)?;
            }
            for gap in gaps {
                let limit = gap.to.position;
                let log = Log { file: &*file, epoch: id.epoch, limit, end: Some(gap.to.offset) };
                let from = gap.from.unwrap_or(Known::empty(id.base).end);
                for hole in log.scan(from, &mut |_, _| {})?.holes {
                    let (from, to) = (hole.from, hole.to);
                    damage.push(Damage { segment: id, from, to, why: gap.why });
                }
            }
            self.unsynced.close_some(self.config.open_files_max);
        }
        let mut work = Work::at_rest(end.position, self.config.index_interval_bytes);
        work.index = index;
        work.seal_durable = sealed;
        work.digest = None;
        if was_cut {
            work.index_file = IndexFile::Stale;
        }
        let known = Known { end, sealed, end_damaged: false, digest: None };
        let state = State {
            known: Some(known),
            work: Some(Box::new(work)),
            gone: false,
            ..State::default()
        };
        Ok(Recovered { id, state, damage })
    }
}

/// What a whole replay gave.
pub(super) struct Finished {
    pub(super) recovered: Vec<Recovered>,
    pub(super) controls: Saved,
    /// The newest state of each segment that has one in the WAL.
    pub(super) states: BTreeMap<SegmentId, Bytes>,
    pub(super) unsynced: Unsynced,
    pub(super) last: Lsn,
    pub(super) written: u64,
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn io_error(failed: StoreFailed) -> io::Error {
    io::Error::other(failed)
}
