//! Unlinking: what metadata has pruned goes at once, and what is on disk can be listed.

use std::{
    io,
    path::Path,
    sync::{Arc, Weak},
};

use walrus_types::{SegmentId, TopicId, TopicPartition};

use super::{Store, entry, shared::Shared, writer::parent};
use crate::{
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
    /// [`RemoveError`].
    pub fn prune(&self, id: SegmentId) -> Result<(), RemoveError> {
        let shared = self.shared();
        shared.let_go(|there| *there == id);
        let recorded = shared.record(entry::prune(id));
        for kind in FileKind::ALL {
            shared.unlink(&path::file(&shared.dir, id, kind), || id.to_string())?;
        }
        shared.progress.unlinked_in(path::partition_dir(&shared.dir, id.partition));
        recorded
    }

    /// Unlinks all segments of a partition. Blocks on the disk.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove_partition(&self, partition: TopicPartition) -> Result<(), RemoveError> {
        let shared = self.shared();
        shared.let_go(|there| there.partition == partition);
        let recorded = shared.record(entry::remove_partition(partition));
        let dir = path::partition_dir(&shared.dir, partition);
        shared.unlink_all(&dir, || partition.to_string())?;
        recorded
    }

    /// Unlinks all segments of a topic. Blocks on the disk.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove_topic(&self, topic: TopicId) -> Result<(), RemoveError> {
        let shared = self.shared();
        shared.let_go(|there| there.partition.topic == topic);
        let recorded = shared.record(entry::remove_topic(topic));
        let dir = path::topic_dir(&shared.dir, topic);
        shared.unlink_all(&dir, || topic.to_string())?;
        recorded
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
        let entries = list_or_none(self.shared(), &path::topic_dir(&self.shared().dir, topic))?;
        let mut partitions: Vec<TopicPartition> = entries
            .iter()
            .filter(|entry| entry.is_dir)
            .filter_map(|entry| path::parse_partition(&entry.name))
            .map(|partition| TopicPartition { topic, partition })
            .collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The segments of a partition that have a log file, oldest first. One that was not written
    /// to yet, or whose batches are all in the hot tail, has none. Blocks on the disk.
    ///
    /// # Errors
    /// What the disk says; a partition without a directory has none.
    pub fn segments_on_disk(&self, partition: TopicPartition) -> io::Result<Vec<SegmentId>> {
        let dir = path::partition_dir(&self.shared().dir, partition);
        let entries = list_or_none(self.shared(), &dir)?;
        let logs = entries.iter().filter(|entry| !entry.is_dir);
        let mut segments: Vec<SegmentId> = logs
            .filter_map(|entry| path::parse_log(&entry.name))
            .map(|(base, epoch)| SegmentId { partition, base, epoch })
            .collect();
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
        self.files.forget_where(&which);
        // The writer may be in the middle of one of them; once through here it is not.
        drop(self.writing.lock());
        self.files.forget_where(&which);
        let mut pruned = self.pruned.lock();
        pruned.retain(|segment| segment.strong_count() > 0);
        pruned.extend(segments.iter().map(Arc::downgrade));
    }

    /// Pruned segments that somebody still holds.
    pub(super) fn pruned_held(&self) -> Vec<(SegmentId, usize)> {
        let mut pruned = self.pruned.lock();
        pruned.retain(|segment| segment.strong_count() > 0);
        let held = pruned.iter().filter_map(Weak::<Segment>::upgrade);
        // The handle that was just made is not one of theirs.
        held.map(|segment| (segment.id(), Arc::strong_count(&segment) - 1)).collect()
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

    fn unlink(&self, path: &Path, what: impl Fn() -> String) -> Result<(), RemoveError> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => Ok(()),
            Err(source) => Err(RemoveError::Io { what: what(), source }),
        }
    }

    fn unlink_all(&self, dir: &Path, what: impl Fn() -> String) -> Result<(), RemoveError> {
        match self.disk.remove_dir_all(dir) {
            Ok(()) => {
                self.progress.unlinked_in(parent(dir));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(RemoveError::Io { what: what(), source }),
        }
    }
}
