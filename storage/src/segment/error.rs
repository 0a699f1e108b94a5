//! What a segment's operations can answer instead of what was asked for.

use std::{io, path::PathBuf, sync::Arc};

use walrus_types::{Offset, SegmentId, batch::BatchError};

use crate::wal::WalFailed;

/// Why the store takes nothing any more. What is in memory can still be read.
///
/// Nothing that was acknowledged is lost by it: the WAL keeps whatever is not in a segment file,
/// and the next start writes it again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFailed {
    /// The WAL could not be written.
    #[error(transparent)]
    Wal(#[from] WalFailed),
    /// A segment's file could not be written or flushed; what the page cache holds of it can no
    /// longer be trusted.
    #[error(
        "{} could not be {doing}: {source}; the store is stopped, restart the node to recover it",
        file.display()
    )]
    File {
        /// Which file (or directory).
        file: Arc<PathBuf>,
        /// What was being done to it.
        doing: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// It was closed.
    #[error("the store was closed")]
    Closed,
}

/// Why a batch was not taken. Nothing was written, and its `done` is not called.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The bytes are not exactly one batch.
    #[error("{segment}: not one record batch: {source}")]
    NotABatch {
        /// Where it should have gone.
        segment: SegmentId,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The batch carries another epoch than its segment's.
    #[error("{segment}: the batch says epoch {given}")]
    OtherEpoch {
        /// Where it should have gone.
        segment: SegmentId,
        /// What the batch says.
        given: walrus_types::Epoch,
    },
    /// There is a gap, or it is there already.
    #[error("{segment}: the next offset is {expected}, the batch starts at {given}")]
    NotNext {
        /// Where it should have gone.
        segment: SegmentId,
        /// The segment's end.
        expected: Offset,
        /// The batch's base offset.
        given: Offset,
    },
    /// The segment has its end for good.
    #[error("{segment} is sealed at {end}")]
    Sealed {
        /// Which segment.
        segment: SegmentId,
        /// Its end.
        end: Offset,
    },
    /// The files were pruned.
    #[error("{0} was pruned")]
    Gone(SegmentId),
    /// What is left of the disk is kept for pruning, seals and metadata. Appends are taken again
    /// when there is room.
    #[error("the disk is full up to its reserve; prune, or add space")]
    Full,
    /// Too much waits for the disk: wait for [`Store::room`](crate::store::Store::room) and try
    /// again.
    #[error("more is waiting to be written than may be held in memory; try again")]
    Busy,
    /// It can never be taken.
    #[error("{segment}: a batch of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Where it should have gone.
        segment: SegmentId,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Where the segment ends could not be found out.
    #[error(transparent)]
    Unreadable(ReadError),
    /// Final.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone(segment) => Self::Gone(segment),
            error => Self::Unreadable(error),
        }
    }
}

/// Why batches were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes on disk are not what was written. The log is good again at `to`; when that is
    /// `from`, nothing behind it is.
    #[error("{segment}: offsets {from} to {to} are damaged on disk; repair them from a replica")]
    Damaged {
        /// Which segment.
        segment: SegmentId,
        /// The first offset that cannot be read.
        from: Offset,
        /// The first one behind it that can.
        to: Offset,
    },
    /// Asked for an offset before the segment.
    #[error("{segment} does not hold offset {given}")]
    Below {
        /// Which segment.
        segment: SegmentId,
        /// What was asked for.
        given: Offset,
    },
    /// The files were pruned.
    #[error("{0} was pruned")]
    Gone(SegmentId),
    /// The disk said no. Never "nothing there".
    #[error("{segment}: {source}")]
    Io {
        /// Which segment.
        segment: SegmentId,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a segment was not sealed or truncated. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The segment does not reach so far: what is missing must be fetched first.
    #[error("{segment} ends at {end}, before {given}")]
    Short {
        /// Which segment.
        segment: SegmentId,
        /// Its end.
        end: Offset,
        /// The end that was asked for.
        given: Offset,
    },
    /// Its end is another, for good.
    #[error("{segment} is sealed at {end}, not at {given}")]
    Sealed {
        /// Which segment.
        segment: SegmentId,
        /// Its end.
        end: Offset,
        /// The end that was asked for.
        given: Offset,
    },
    /// A batch cannot be cut in two.
    #[error("{segment}: {given} lies inside a batch, the next boundary is {boundary}")]
    InsideBatch {
        /// Which segment.
        segment: SegmentId,
        /// The end that was asked for.
        given: Offset,
        /// Where that batch ends.
        boundary: Offset,
    },
    /// The WAL's queue is full; try again.
    #[error("the write-ahead log's queue is full; try again")]
    Busy,
    /// The place of the cut could not be found out.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// Final.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}
