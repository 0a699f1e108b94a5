//! Unlinking: what metadata has pruned goes at once, and what is on disk can be listed.

use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::{Arc, Weak},
    time::Instant,
};

use walrus_types::{SegmentId, TopicId, TopicPartition};

use super::{
    Store, entry,
    gone::{Pruned, Removal},
    shared::Shared,
    writer::parent,
};
use crate::{
    disk::{DiskFile, OpenMode},
    segment::{
        Segment, StoreFailed,
        path::{self, FileKind},
    },
    wal::{AppendRefused, Done, Entry},
};

/// Why files were not removed, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The files are gone, but the WAL's queue was full: a crash now may bring some back. Try
    /// again.
    #[error("the write-ahead log's queue is full; try again")]
    Busy,
    /// The disk said no.
    #[error("removing {what}: {source}")]
    Io {
        /// Of what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The files are gone, but the store is stopped: a restart may bring some back.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

impl Store {
    /// Unlinks a segment's files. A reader that is in the middle of a chunk finishes it. Blocks
    /// on the disk. Doing it again is fine.
    ///
    /// # Errors
    /// [`RemoveError`]; it is one of the [`Leftover`](super::Leftover)s then.
    pub fn prune(&self, id: SegmentId) -> Result<(), RemoveError> {
        self.remove(Removal::Segment(id))
    }

    /// Unlinks all segments of a partition. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn remove_partition(&self, partition: TopicPartition) -> Result<(), RemoveError> {
        self.remove(Removal::Partition(partition))
    }

    /// Unlinks all segments of a topic. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn remove_topic(&self, topic: TopicId) -> Result<(), RemoveError> {
        self.remove(Removal::Topic(topic))
    }

    fn remove(&self, what: Removal) -> Result<(), RemoveError> {
        let shared = self.shared();
        shared.let_go(|there| what.covers(*there));
        let recorded = shared.record(what.entry());
        let removed = shared.unlink_all_of(what).and(recorded);
        shared.gone.outcome(what, removed.as_ref().err().map(ToString::to_string));
        removed
    }

    /// The topics that have a directory, to find those that metadata does not know. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn topics_on_disk(&self) -> io::Result<Vec<TopicId>> {
        let entries = self.shared().disk.list(&self.shared().dir)?;
        let dirs = entries.iter().filter(|entry| entry.is_dir);
        Ok(dirs.filter_map(|entry| path::parse_topic(&entry.name)).collect())
    }

    /// The partitions of a topic that have a directory. Blocks on the disk.
    ///
    /// # Errors
    /// What the disk says; a topic without a directory has none.
    pub fn partitions_on_disk(&self, topic: TopicId) -> io::Result<Vec<TopicPartition>> {
        let mut partitions = self.shared().partitions_of(topic)?;
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The segments of a partition that have a log file, oldest first. One that was not written
    /// to yet, or whose batches are all in the hot tail, has none. Blocks on the disk.
    ///
    /// # Errors
    /// What the disk says; a partition without a directory has none.
    pub fn segments_on_disk(&self, partition: TopicPartition) -> io::Result<Vec<SegmentId>> {
        let mut segments = self.shared().logs_on_disk(partition)?;
        segments.sort_unstable();
        Ok(segments)
    }
}

fn list_or_none(shared: &Shared, dir: &Path) -> io::Result<Vec<crate::disk::DirEntry>> {
    match shared.disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

impl Shared {
    /// Takes segments out of everybody's hands: nothing of them is written from here on.
    fn let_go(&self, which: impl Fn(&SegmentId) -> bool) {
        let segments = self.segments_in_use(&which);
        for segment in &segments {
            segment.make_gone();
            self.take_out(segment);
        }
        let mut logs = self.files.forget_where(&which);
        // The writer may be in the middle of one of them; once through here it is not.
        drop(self.writing.lock());
        logs.extend(self.files.forget_where(&which));
        self.gone.pruned(pruned(&segments, logs));
    }

    /// Tells the WAL, so that a replay does not bring the files back.
    fn record(self: &Arc<Self>, entry: Entry) -> Result<(), RemoveError> {
        let shared = Arc::clone(self);
        let done: Done = Box::new(move |result| {
            if let Ok(lsn) = result {
                shared.progress.durable_up_to(lsn);
            }
        });
        self.wal.append(entry, done).map_err(|refused| match refused {
            AppendRefused::Full | AppendRefused::TooLarge { .. } => RemoveError::Busy,
            AppendRefused::Failed(failed) => RemoveError::Failed(failed.into()),
        })
    }

    /// Appends an entry that says nothing; the done is told when all before it is durable.
    pub(super) fn append_mark(&self, done: impl Fn() -> Done) -> Result<(), StoreFailed> {
        loop {
            match self.wal.append(entry::mark(), done()) {
                Ok(()) => return Ok(()),
                Err(AppendRefused::Failed(failed)) => return Err(failed.into()),
                // The queue empties by itself, and nobody else fills it any more.
                Err(AppendRefused::Full | AppendRefused::TooLarge { .. }) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
        }
    }

    fn unlink_all_of(&self, what: Removal) -> Result<(), RemoveError> {
        let io_error = |source| RemoveError::Io { what: what.to_string(), source };
        let removed = match what {
            Removal::Segment(id) => self.unlink_segment(id),
            Removal::Partition(partition) => {
                self.unlink_dir(&path::partition_dir(&self.dir, partition), self.logs_of(partition))
            }
            Removal::Topic(topic) => {
                let partitions = self.partitions_of(topic).unwrap_or_default();
                let logs = partitions.into_iter().flat_map(|partition| self.logs_of(partition));
                self.unlink_dir(&path::topic_dir(&self.dir, topic), logs.collect())
            }
        };
        removed.map_err(io_error)
    }

    fn unlink_segment(&self, id: SegmentId) -> io::Result<()> {
        for kind in FileKind::ALL {
            let path = path::file(&self.dir, id, kind);
            let bytes = (kind == FileKind::Log).then(|| self.measure(id)).flatten();
            match self.disk.remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => {
                    removed?;
                    if kind == FileKind::Log {
                        self.gone.freed(1, bytes.unwrap_or(0));
                    }
                }
            }
        }
        self.progress.unlinked_in(path::partition_dir(&self.dir, id.partition));
        Ok(())
    }

    fn unlink_dir(&self, dir: &Path, logs: Vec<SegmentId>) -> io::Result<()> {
        let bytes = logs.iter().filter_map(|id| self.measure(*id)).sum();
        match self.disk.remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        self.gone.freed(u64::try_from(logs.len()).unwrap_or(u64::MAX), bytes);
        self.progress.unlinked_in(parent(dir));
        Ok(())
    }

    /// The length of a log that is about to go. Only for the account: what cannot be told is not.
    fn measure(&self, id: SegmentId) -> Option<u64> {
        let log = self.disk.open(&path::file(&self.dir, id, FileKind::Log), OpenMode::Read).ok()?;
        let bytes = log.len_bytes().ok()?;
        self.gone.measured(id, bytes);
        Some(bytes)
    }

    /// The logs of a partition, as far as the disk says.
    fn logs_of(&self, partition: TopicPartition) -> Vec<SegmentId> {
        self.logs_on_disk(partition).unwrap_or_default()
    }

    fn logs_on_disk(&self, partition: TopicPartition) -> io::Result<Vec<SegmentId>> {
        let entries = list_or_none(self, &path::partition_dir(&self.dir, partition))?;
        let logs = entries.iter().filter(|entry| !entry.is_dir);
        let named = logs.filter_map(|entry| path::parse_log(&entry.name));
        Ok(named.map(|(base, epoch)| SegmentId { partition, base, epoch }).collect())
    }

    fn partitions_of(&self, topic: TopicId) -> io::Result<Vec<TopicPartition>> {
        let entries = list_or_none(self, &path::topic_dir(&self.dir, topic))?;
        let dirs = entries.iter().filter(|entry| entry.is_dir);
        let named = dirs.filter_map(|entry| path::parse_partition(&entry.name));
        Ok(named.map(|partition| TopicPartition { topic, partition }).collect())
    }
}

/// What was taken out of everybody's hands: handles, and logs that were open.
fn pruned(segments: &[Arc<Segment>], logs: Vec<(SegmentId, Weak<dyn DiskFile>)>) -> Vec<Pruned> {
    let at = Instant::now();
    let mut logs: HashMap<SegmentId, Weak<dyn DiskFile>> = logs.into_iter().collect();
    let of_handle = |segment: &Arc<Segment>| Pruned {
        id: segment.id(),
        bytes: None,
        at,
        handle: Some(Arc::downgrade(segment)),
        log: logs.remove(&segment.id()),
    };
    let mut all: Vec<Pruned> = segments.iter().map(of_handle).collect();
    let open = |(id, log)| Pruned { id, bytes: None, at, handle: None, log: Some(log) };
    all.extend(logs.into_iter().map(open));
    all
}

impl Removal {
    fn covers(self, id: SegmentId) -> bool {
        match self {
            Self::Segment(own) => own == id,
            Self::Partition(own) => own == id.partition,
            Self::Topic(own) => own == id.partition.topic,
        }
    }

    fn entry(self) -> Entry {
        match self {
            Self::Segment(id) => entry::prune(id),
            Self::Partition(partition) => entry::remove_partition(partition),
            Self::Topic(topic) => entry::remove_topic(topic),
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(id) => id.fmt(f),
            Self::Partition(partition) => partition.fmt(f),
            Self::Topic(topic) => topic.fmt(f),
        }
    }
}
