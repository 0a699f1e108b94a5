//! What the WAL has made durable and the writer has not written, and how the writer hears of it.
//!
//! The WAL's thread comes here for every entry, so the common case is two atomic additions; the
//! writer is woken when there is enough to write, or when the first of anything comes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use walrus_types::SegmentId;

use crate::{segment::Segment, wal::Lsn};

/// Between the WAL's thread, the writer and the users.
#[derive(Debug)]
pub(crate) struct Progress {
    flush_bytes: u64,
    /// Everything in groups below this one was reported durable.
    durable: AtomicU64,
    /// Bytes that are durable in the WAL and not in their segment files.
    durable_bytes: AtomicU64,
    inbox: Mutex<Inbox>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    dirty: Vec<Arc<Segment>>,
    loaded: Vec<SegmentId>,
    dirs: Vec<PathBuf>,
    /// The writer is asked to look at once.
    nudged: bool,
    /// The writer is asked to write all that there is.
    flush: bool,
    stop: bool,
}

/// What the writer finds when it looks.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Segments that have something to be written.
    pub(crate) dirty: Vec<Arc<Segment>>,
    /// Segments that took memory.
    pub(crate) loaded: Vec<SegmentId>,
    /// Directories in which names went away.
    pub(crate) dirs: Vec<PathBuf>,
    /// Somebody waits for all that there is to be written.
    pub(crate) flush: bool,
    pub(crate) stop: bool,
}

impl Progress {
    pub(crate) fn new(flush_bytes: u64, durable: Lsn) -> Self {
        Self {
            flush_bytes,
            durable: AtomicU64::new(durable.0),
            durable_bytes: AtomicU64::new(0),
            inbox: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// An entry of this group is durable, and so is everything in the groups before it.
    pub(crate) fn durable_up_to(&self, lsn: Lsn) {
        self.durable.store(lsn.0, Ordering::Release);
    }

    /// Every entry below this group was reported durable before this call.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn durable_bytes(&self) -> u64 {
        self.durable_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_durable(&self, bytes: u64) {
        let before = self.durable_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Once for each `flush_bytes` that come together.
        if before / self.flush_bytes != (before + bytes) / self.flush_bytes {
            self.nudge();
        }
    }

    pub(crate) fn sub_durable(&self, bytes: u64) {
        self.durable_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A segment has something to be written and did not before.
    pub(crate) fn dirty(&self, segment: Arc<Segment>) {
        let mut inbox = self.inbox.lock();
        inbox.dirty.push(segment);
        if inbox.dirty.len() == 1 {
            self.wake.notify_all();
        }
    }

    /// A segment took memory that it should give back some day.
    pub(crate) fn loaded(&self, id: SegmentId) {
        let mut inbox = self.inbox.lock();
        inbox.loaded.push(id);
        // A writer with nothing to do waits for ever: then it has to set its clock.
        if inbox.loaded.len() == 1 {
            self.wake.notify_all();
        }
    }

    /// A name in this directory went away.
    pub(crate) fn unlinked_in(&self, dir: PathBuf) {
        self.inbox.lock().dirs.push(dir);
        self.wake.notify_all();
    }

    /// Asks the writer to look at once.
    pub(crate) fn nudge(&self) {
        self.inbox.lock().nudged = true;
        self.wake.notify_all();
    }

    /// Asks the writer to write all that there is.
    pub(crate) fn flush(&self) {
        self.inbox.lock().flush = true;
        self.nudge();
    }

    pub(crate) fn stop(&self) {
        self.inbox.lock().stop = true;
        self.wake.notify_all();
    }

    /// Lets go of the segments that nobody will write any more.
    pub(crate) fn forget_all(&self) {
        let inbox = std::mem::take(&mut *self.inbox.lock());
        // A segment's end looks at the store: not under the lock.
        drop(inbox);
    }

    /// What is new; waits for something up to `patience`, for ever when there is none.
    pub(crate) fn news(&self, patience: Option<Duration>) -> News {
        let mut inbox = self.inbox.lock();
        let quiet = |inbox: &mut Inbox| {
            let nothing = inbox.dirty.is_empty() && inbox.dirs.is_empty();
            let nothing = nothing && (inbox.loaded.is_empty() || patience.is_some());
            nothing && !inbox.nudged && !inbox.stop
        };
        match patience {
            Some(patience) if patience.is_zero() => {}
            Some(patience) => {
                // The time-out is an answer like any other: there is no news.
                let _timed_out = self.wake.wait_while_for(&mut inbox, quiet, patience);
            }
            None => self.wake.wait_while(&mut inbox, quiet),
        }
        inbox.nudged = false;
        News {
            dirty: std::mem::take(&mut inbox.dirty),
            loaded: std::mem::take(&mut inbox.loaded),
            dirs: std::mem::take(&mut inbox.dirs),
            flush: std::mem::take(&mut inbox.flush),
            stop: inbox.stop,
        }
    }
}
