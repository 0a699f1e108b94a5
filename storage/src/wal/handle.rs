//! The WAL as its users hold it.

use std::{io, path::Path, sync::Arc};

use super::{
    AppendRefused, Done, Entry, Lsn, Replayed, WalConfig, WalFailed, WalOpenError, WalOpened,
    WalStats,
};
use crate::disk::Disk;

/// A write-ahead log. Clones share it.
#[derive(Debug, Clone)]
pub struct Wal {}

impl Wal {
    /// Opens, recovers.
    ///
    /// # Errors
    /// See the error.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _config: WalConfig,
        _replay: &mut dyn FnMut(Replayed<'_>) -> io::Result<()>,
    ) -> Result<(Self, WalOpened), WalOpenError> {
        unreachable!("not built yet")
    }

    /// As open, without a thread.
    ///
    /// # Errors
    /// See the error.
    pub fn open_inline(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _config: WalConfig,
        _replay: &mut dyn FnMut(Replayed<'_>) -> io::Result<()>,
    ) -> Result<(Self, WalDriver, WalOpened), WalOpenError> {
        unreachable!("not built yet")
    }

    /// Queues an entry.
    ///
    /// # Errors
    /// See the error.
    pub fn append(&self, _entry: Entry, _done: Done) -> Result<(), AppendRefused> {
        unreachable!("not built yet")
    }

    /// Nothing below is needed any more.
    pub fn release(&self, _below: Lsn) {}

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        WalStats::default()
    }

    /// Why it is stopped.
    #[must_use]
    pub fn failed(&self) -> Option<WalFailed> {
        None
    }

    /// Drains and ends.
    pub fn close(self) {}
}

/// Drives a WAL that has no thread.
#[derive(Debug)]
pub struct WalDriver {}

impl WalDriver {
    /// Does one thing; whether anything was done.
    pub fn step(&mut self) -> bool {
        false
    }
}
