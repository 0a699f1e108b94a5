//! What a segment's files are called, and back.
//!
//! `<dir>/<topic uuid>/<partition>/<base, 20 digits>.<epoch>.{log,index,state}`
//!
//! Owns names only; nothing here touches a disk.

use std::path::{Path, PathBuf};

use uuid::Uuid;
use walrus_types::{Epoch, Offset, PartitionIndex, SegmentId, TopicId, TopicPartition};

/// Which of a segment's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Its batches, back to back.
    Log,
    /// Where in the log they are, and the footer when it is sealed.
    Index,
    /// What its user keeps beside it.
    State,
}

impl FileKind {
    /// All of them, the log first: a segment without a log is not there.
    pub(crate) const ALL: [Self; 3] = [Self::Log, Self::Index, Self::State];

    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::State => "state",
        }
    }
}

/// The directory of a topic.
pub(crate) fn topic_dir(dir: &Path, topic: TopicId) -> PathBuf {
    dir.join(topic.0.hyphenated().to_string())
}

/// The directory of a partition.
pub(crate) fn partition_dir(dir: &Path, partition: TopicPartition) -> PathBuf {
    topic_dir(dir, partition.topic).join(partition.partition.0.to_string())
}

/// One of a segment's files.
pub(crate) fn file(dir: &Path, id: SegmentId, kind: FileKind) -> PathBuf {
    let name = format!("{:020}.{}.{}", id.base.0, id.epoch.0, kind.extension());
    partition_dir(dir, id.partition).join(name)
}

/// The topic whose directory has this name, if it is one.
pub(crate) fn parse_topic(name: &str) -> Option<TopicId> {
    let id = Uuid::try_parse(name).ok()?;
    (id.hyphenated().to_string() == name).then_some(TopicId(id))
}

/// The partition whose directory has this name, if it is one.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionIndex> {
    let index = name.parse::<i32>().ok().filter(|index| *index >= 0)?;
    (index.to_string() == name).then_some(PartitionIndex(index))
}

/// Base and epoch of the segment whose log has this name, if it is one.
pub(crate) fn parse_log(name: &str) -> Option<(Offset, Epoch)> {
    let (base, rest) = name.split_once('.')?;
    let epoch = rest.strip_suffix(".log")?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if base.len() != 20 || !plain(base) || !plain(epoch) {
        return None;
    }
    Some((Offset(base.parse().ok()?), Epoch(epoch.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_files_are_named_for_it_and_read_back() {
        let topic = TopicId(Uuid::from_u128(7));
        let partition = TopicPartition { topic, partition: PartitionIndex(3) };
        let id = SegmentId { partition, base: Offset(42), epoch: Epoch(5) };
        let log = file(Path::new("d"), id, FileKind::Log);
        assert_eq!(
            log.to_str(),
            Some("d/00000000-0000-0000-0000-000000000007/3/00000000000000000042.5.log")
        );
        assert_eq!(parse_log("00000000000000000042.5.log"), Some((Offset(42), Epoch(5))));
        assert_eq!(parse_topic("00000000-0000-0000-0000-000000000007"), Some(topic));
        assert_eq!(parse_partition("3"), Some(PartitionIndex(3)));
    }

    #[test]
    fn what_is_not_a_name_of_ours_is_left_alone() {
        for name in ["", "42.5.log", "00000000000000000042.5.index", "00000000000000000042..log"] {
            assert_eq!(parse_log(name), None, "{name:?}");
        }
        for name in ["wal", "00000000000000000000000000000007", "{x}"] {
            assert_eq!(parse_topic(name), None, "{name:?}");
        }
        for name in ["-1", "+1", "01", "x", ""] {
            assert_eq!(parse_partition(name), None, "{name:?}");
        }
    }
}
