//! What can go wrong in the embedded log.

use std::io;

use crate::{
    segment::{AppendError, CutError, ReadError, StateError, StoreFailed},
    store::{RemoveError, StoreOpenError},
    wal::WalFailed,
};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalrusError {
    /// The log could not be opened.
    #[error(transparent)]
    Open(#[from] StoreOpenError),
    /// A topic's files could not be listed.
    #[error("listing a topic's files: {0}")]
    List(#[source] io::Error),
    /// The entries were not taken. When the disk is full or busy, try again.
    #[error(transparent)]
    Append(AppendError),
    /// A batch without entries.
    #[error("a batch needs at least one entry")]
    EmptyBatch,
    /// Entries that fit in no batch.
    #[error("entries of {bytes} bytes together are over the limit of {bytes_max}")]
    TooLarge {
        /// What they take.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Entries could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the topic was not written by this library.
    #[error("what is stored at offset {0} is not an entry")]
    NotAnEntry(i64),
    /// A file could not be closed.
    #[error(transparent)]
    Roll(#[from] CutError),
    /// The cursor could not be kept.
    #[error(transparent)]
    Cursor(#[from] StateError),
    /// Files could not be removed.
    #[error(transparent)]
    Prune(#[from] RemoveError),
    /// Final: the log takes nothing any more. What was on its way may or may not be durable.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

impl From<AppendError> for WalrusError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed(failed) => Self::Failed(failed),
            AppendError::TooLarge { bytes, bytes_max, .. } => Self::TooLarge { bytes, bytes_max },
            error => Self::Append(error),
        }
    }
}

impl From<WalFailed> for WalrusError {
    fn from(failed: WalFailed) -> Self {
        Self::Failed(failed.into())
    }
}
