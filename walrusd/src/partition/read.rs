//! Where a fetch finds its bytes: the chain says which segment, the store reads it.

use std::sync::Arc;

use walrus_metadata::{Member, Partition as Chain, Segment as Link, SegmentKey};
use walrus_storage::{
    segment::{Chunk, Held, Purpose, ReadError, Whose},
    store::Store,
};
use walrus_types::{Epoch, Offset, SegmentId, TopicPartition};

use super::{Partition, registry::Unavailable};

/// Why a fetch of one partition has no records.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchFailure {
    /// Before the log start or past the end.
    #[error("offset {given} is outside {log_start}..={end}")]
    OutOfRange {
        /// What was asked for.
        given: Offset,
        /// The first offset that is there.
        log_start: Offset,
        /// The last that may be asked for.
        end: Offset,
    },
    /// The client knows an older epoch: it has to look at Metadata again.
    #[error("epoch {given} was followed by {current}")]
    EpochFenced {
        /// The client's.
        given: i32,
        /// Ours.
        current: Epoch,
    },
    /// The client knows an epoch that this node does not.
    #[error("epoch {given} is not known here, the newest is {current}")]
    EpochUnknown {
        /// The client's.
        given: i32,
        /// Ours.
        current: Epoch,
    },
    /// The bytes on disk are not what was written.
    #[error("{0}")]
    Damaged(Arc<str>),
    /// The disk could not be read.
    #[error("{0}")]
    Storage(Arc<str>),
    /// The partition cannot be used now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A segment that has the wanted offset, and the first offset that must not be read from it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where the bytes are.
    pub segment: Held,
    /// The segment's end, or the commit offset, whichever is lower.
    pub end: Offset,
    /// Who else has it, once it is sealed.
    pub holders: Arc<[Member]>,
}

/// Judges a client's idea of the leader epoch (KIP-320); -1 is none.
///
/// # Errors
/// [`FetchFailure::EpochFenced`] or [`FetchFailure::EpochUnknown`].
pub fn check_epoch(given: i32, current: Epoch) -> Result<(), FetchFailure> {
    match given {
        given if given < 0 || given == current.0 => Ok(()),
        given if given < current.0 => Err(FetchFailure::EpochFenced { given, current }),
        given => Err(FetchFailure::EpochUnknown { given, current }),
    }
}

/// The place of `from`, held for whom it is read; `None` when nothing at or after it is committed yet.
///
/// # Errors
/// [`FetchFailure::OutOfRange`] for what is gone or was never written.
pub fn locate(
    store: &Store,
    chain: &Chain,
    partition: &Partition,
    (from, whose): (Offset, &Whose),
) -> Result<Option<Place>, FetchFailure> {
    let marks = partition.marks();
    let log_start = chain.log_start().max(marks.log_start);
    if from < log_start || from > marks.log_end {
        return Err(FetchFailure::OutOfRange { given: from, log_start, end: marks.log_end });
    }
    if from >= marks.commit {
        return Ok(None);
    }
    let link = chain.segment_at(from).ok_or(FetchFailure::OutOfRange {
        given: from,
        log_start,
        end: marks.log_end,
    })?;
    let id = segment_id(partition.id(), link);
    let end = link.end().unwrap_or(marks.commit).min(marks.commit);
    let holders = match link {
        Link::Open(_) => Arc::default(),
        Link::Sealed(_, sealed) => Arc::clone(&sealed.members),
    };
    let segment = store.segment_for(id, Purpose::Read, Some(Arc::clone(whose)));
    Ok(Some(Place { segment, end, holders }))
}

/// The name of a link of a partition's chain.
pub fn segment_id(partition: TopicPartition, link: Link<'_>) -> SegmentId {
    segment_of(partition, link.key())
}

/// The name of the segment of that key.
pub fn segment_of(partition: TopicPartition, key: SegmentKey) -> SegmentId {
    SegmentId { partition, base: key.base, epoch: key.epoch }
}

impl Place {
    /// Reads without waiting for a disk; `None` where that is not possible.
    ///
    /// # Errors
    /// [`FetchFailure::Damaged`] or [`FetchFailure::Storage`].
    pub fn try_read(&self, from: Offset, bytes_max: usize) -> Result<Option<Chunk>, FetchFailure> {
        self.segment.try_read(from, self.end, bytes_max).map_err(FetchFailure::from)
    }

    /// Reads, from a thread that may wait.
    ///
    /// # Errors
    /// [`FetchFailure::Damaged`] or [`FetchFailure::Storage`].
    pub fn read(&self, from: Offset, bytes_max: usize) -> Result<Chunk, FetchFailure> {
        self.segment.read(from, self.end, bytes_max).map_err(FetchFailure::from)
    }

    /// As [`Place::try_read`], then [`Place::read`] on a thread for it.
    ///
    /// # Errors
    /// [`FetchFailure::Damaged`] or [`FetchFailure::Storage`].
    pub async fn read_async(&self, from: Offset, bytes_max: usize) -> Result<Chunk, FetchFailure> {
        if let Some(chunk) = self.try_read(from, bytes_max)? {
            return Ok(chunk);
        }
        let place = self.clone();
        blocking(move || place.read(from, bytes_max)).await
    }
}

/// Runs what may wait for a disk on a thread for it.
///
/// # Errors
/// What it says; [`FetchFailure::Storage`] when the runtime is shutting down.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchFailure> + Send + 'static,
) -> Result<T, FetchFailure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(FetchFailure::Storage(stopped.to_string().into())),
    }
}

impl From<ReadError> for FetchFailure {
    fn from(error: ReadError) -> Self {
        let text: Arc<str> = error.to_string().into();
        match error {
            ReadError::Damaged { .. } => {
                tracing::error!(why = %text, "damaged bytes were found and are not served");
                Self::Damaged(text)
            }
            ReadError::Below { .. } | ReadError::Gone(_) | ReadError::Io { .. } => {
                Self::Storage(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_epoch_is_judged_against_the_open_segments() {
        for (given, expected) in [(-1, "ok"), (5, "ok"), (4, "fenced"), (6, "unknown")] {
            let judged = match check_epoch(given, Epoch(5)) {
                Ok(()) => "ok",
                Err(FetchFailure::EpochFenced { .. }) => "fenced",
                Err(_) => "unknown",
            };
            assert_eq!(judged, expected, "epoch {given}");
        }
    }
}
