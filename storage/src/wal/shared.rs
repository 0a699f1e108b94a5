//! What the users of a WAL and its thread share: the queue, what was released, the counters.
//!
//! Owns the entries until the thread takes them. Decides only whether an entry is let in.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    AppendRefused, Done, Entry, KIND_FIRST, Lsn, WalConfig, WalFailed, WalFault, WalStats,
    format::{HEADER_BYTES, entry_bytes},
    ring::Shape,
};
use crate::disk::Waker;

/// An entry with the one who waits for it.
pub(crate) struct Waiting {
    pub(crate) entry: Entry,
    pub(crate) done: Done,
}

/// Entries in the order of their appends.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The thread waits and would begin a group if there were an entry.
    hungry: bool,
    closing: bool,
    failed: Option<WalFailed>,
}

/// What is shared.
pub(crate) struct Shared {
    dir: Arc<PathBuf>,
    entry_bytes_max: usize,
    queue_bytes_max: usize,
    queue: Mutex<Queue>,
    /// Bytes of the entries in the queue and of those that the thread took and did not pack yet.
    queued_bytes: AtomicUsize,
    refused_full: AtomicU64,
    released: AtomicU64,
    /// Ring files that are made.
    files_made: AtomicU32,
    waker: Arc<dyn Waker>,
    pub(crate) seen: Mutex<Seen>,
}

/// The counters, kept by the thread.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) stats: WalStats,
    /// When the oldest group that is being written was handed to the disk.
    pub(crate) oldest_flush: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(
        dir: &Path,
        config: &WalConfig,
        shape: &Shape,
        waker: Arc<dyn Waker>,
    ) -> Self {
        let group_bytes_max =
            usize::try_from(shape.group_bytes_max()).expect("a file is at most 1 GiB");
        let stats = WalStats {
            ring_bytes: shape.file_bytes * u64::from(shape.files),
            ..WalStats::default()
        };
        Self {
            dir: Arc::new(dir.to_path_buf()),
            entry_bytes_max: group_bytes_max - HEADER_BYTES,
            queue_bytes_max: config.queue_bytes_max,
            queue: Mutex::default(),
            queued_bytes: AtomicUsize::new(0),
            refused_full: AtomicU64::new(0),
            released: AtomicU64::new(0),
            files_made: AtomicU32::new(0),
            waker,
            seen: Mutex::new(Seen { stats, oldest_flush: None }),
        }
    }

    pub(crate) fn append(&self, entry: Entry, done: Done) -> Result<(), AppendRefused> {
        assert!(entry.kind >= KIND_FIRST, "kind {} is the log's own", entry.kind);
        let bytes = entry_bytes(&entry);
        if bytes > self.entry_bytes_max {
            return Err(AppendRefused::TooLarge { bytes, bytes_max: self.entry_bytes_max });
        }
        let wake = {
            let mut queue = self.queue.lock();
            if let Some(failed) = &queue.failed {
                return Err(AppendRefused::Failed(failed.clone()));
            }
            let queued = self.queued_bytes.load(Ordering::Relaxed);
            if queued > 0 && queued + bytes > self.queue_bytes_max {
                self.refused_full.fetch_add(1, Ordering::Relaxed);
                return Err(AppendRefused::Full);
            }
            self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            queue.waiting.push_back(Waiting { entry, done });
            std::mem::take(&mut queue.hungry)
        };
        if wake {
            self.waker.wake();
        }
        Ok(())
    }

    pub(crate) fn release(&self, below: Lsn) {
        if self.released.fetch_max(below.0, Ordering::Relaxed) < below.0 {
            self.waker.wake();
        }
    }

    pub(crate) fn released(&self) -> Lsn {
        Lsn(self.released.load(Ordering::Relaxed))
    }

    /// Moves all entries that wait to the end of `taken`.
    pub(crate) fn take(&self, taken: &mut VecDeque<Waiting>) {
        let mut queue = self.queue.lock();
        queue.hungry = false;
        if taken.is_empty() {
            std::mem::swap(taken, &mut queue.waiting);
        } else {
            taken.append(&mut queue.waiting);
        }
    }

    /// Asks to be woken by the next entry; `false` when one is there already.
    pub(crate) fn hunger(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.hungry = queue.waiting.is_empty();
        queue.hungry
    }

    /// `bytes` of entries went into a group.
    pub(crate) fn packed(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Refuses whatever comes from now on, and wakes the thread.
    pub(crate) fn close(&self) {
        self.queue.lock().closing = true;
        self.refuse(WalFault::Closed);
        self.waker.wake();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.queue.lock().closing
    }

    /// Refuses whatever comes from now on; the first reason stays, but that it was closed gives
    /// way to a fault.
    pub(crate) fn refuse(&self, fault: WalFault) -> WalFailed {
        let mut queue = self.queue.lock();
        let known = queue.failed.take_if(|known| {
            matches!(*known.what, WalFault::Closed) && !matches!(fault, WalFault::Closed)
        });
        drop(known);
        let failed = WalFailed { dir: Arc::clone(&self.dir), what: Arc::new(fault) };
        queue.failed.get_or_insert(failed).clone()
    }

    pub(crate) fn failed(&self) -> Option<WalFailed> {
        self.queue.lock().failed.clone()
    }

    /// Tells the thread that files `0..files` are there.
    pub(crate) fn files_were_made(&self, files: u32) {
        self.files_made.store(files, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn files_made(&self) -> u32 {
        self.files_made.load(Ordering::Acquire)
    }

    pub(crate) fn stats(&self) -> WalStats {
        let seen = self.seen.lock();
        WalStats {
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed) as u64,
            refused_full: self.refused_full.load(Ordering::Relaxed),
            oldest_flush_age: seen.oldest_flush.map(|since| since.elapsed()),
            ..seen.stats
        }
    }
}
