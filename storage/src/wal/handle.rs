//! The WAL as its users hold it, and the threads behind it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    AppendRefused, Done, Entry, Lsn, Replayed, WalConfig, WalFailed, WalFault, WalOpenError,
    WalOpened, WalStats,
    driver::Driver,
    open::{self, Opened},
    ring::{Shape, make_file, path_of},
    shared::Shared,
};
use crate::disk::Disk;

/// How long a file that could not be made is left alone; the disk may have room again then.
const FILL_RETRY: Duration = Duration::from_secs(1);

/// The filler rests as long as it worked, at most so long: appends need the disk as well.
const FILL_REST_MAX: Duration = Duration::from_millis(100);

/// A write-ahead log: what was appended and called done survives a crash, in order.
///
/// Clones share it. When the last one is dropped the log is closed as by [`Wal::close`].
#[derive(Debug, Clone)]
pub struct Wal {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    filler: Option<JoinHandle<()>>,
    rest: Arc<Rest>,
}

/// Where the filler rests until it is told to stop.
#[derive(Default)]
struct Rest {
    stop: Mutex<bool>,
    changed: Condvar,
}

impl Wal {
    /// Opens the log in `dir`, or begins one there, and starts its thread.
    ///
    /// Every entry that is still needed is handed to `replay` in order, before this returns. One
    /// process at a time: the caller holds a lock on the folder.
    ///
    /// # Errors
    /// What stands in the way, where, and what to do. Damage is no error: see
    /// [`WalOpened::damage`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: WalConfig,
        replay: &mut dyn FnMut(Replayed<'_>) -> io::Result<()>,
    ) -> Result<(Self, WalOpened), WalOpenError> {
        let Opened { shared, driver, shape, report } = open::open(&disk, dir, &config, replay)?;
        let rest = Arc::new(Rest::default());
        let idle_mark = Duration::from_millis(u64::from(config.idle_mark_ms));
        let writer = spawn(dir, "wal", {
            let ender = Ender(Arc::clone(&shared));
            move || {
                let Ender(_) = &ender;
                let mut driver = driver;
                driver.run(idle_mark);
            }
        })?;
        let mut filler = None;
        if shared.files_made() < shape.files {
            let (shared, rest, dir) = (Arc::clone(&shared), Arc::clone(&rest), dir.to_path_buf());
            let folder = dir.clone();
            let work = move || fill(&*disk, &dir, &shape, &shared, &rest);
            filler = Some(spawn(&folder, "wal-fill", work)?);
        }
        let threads = Threads { writer: Some(writer), filler, rest };
        Ok((Self { inner: Arc::new(Inner { shared, threads: Mutex::new(threads) }) }, report))
    }

    /// As [`Wal::open`], but without threads: nothing happens unless [`WalDriver`] does it. For
    /// tests that turn time by hand.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn open_inline(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: WalConfig,
        replay: &mut dyn FnMut(Replayed<'_>) -> io::Result<()>,
    ) -> Result<(Self, WalDriver, WalOpened), WalOpenError> {
        let Opened { shared, driver, shape, report } = open::open(&disk, dir, &config, replay)?;
        let inner = Inner { shared: Arc::clone(&shared), threads: Mutex::new(Threads::default()) };
        let driver = WalDriver { driver, shared, shape, disk, dir: dir.to_path_buf() };
        Ok((Self { inner: Arc::new(inner) }, driver, report))
    }

    /// Queues an entry; `done` is told what became of it. Never waits.
    ///
    /// The order of calls is the order on disk, after a restart, and of the calls of `done`.
    ///
    /// # Errors
    /// Why the entry was not taken; `done` is not called then.
    ///
    /// # Panics
    /// When the entry's kind is one of the log's own.
    pub fn append(&self, entry: Entry, done: Done) -> Result<(), AppendRefused> {
        self.inner.shared.append(entry, done)
    }

    /// Says that no group below `below` will be asked for again; their files are written anew.
    ///
    /// What is not durable yet is kept whatever is said. After a crash a little of what was
    /// released may be replayed once more.
    pub fn release(&self, below: Lsn) {
        self.inner.shared.release(below);
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        self.inner.shared.stats()
    }

    /// Why nothing is taken any more, once that is so.
    #[must_use]
    pub fn failed(&self) -> Option<WalFailed> {
        self.inner.shared.failed()
    }

    /// Takes nothing more, makes durable what was taken, ends with a group that says so, and
    /// returns when all of that is done. What a full ring keeps from being written fails.
    pub fn close(self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.close();
        let Threads { writer, filler, rest } = std::mem::take(&mut *self.threads.lock());
        *rest.stop.lock() = true;
        rest.changed.notify_all();
        for ended in [writer, filler].into_iter().flatten() {
            join(ended);
        }
    }
}

/// Waits for a thread, unless it is this one: the last handle may be dropped in a `done`.
fn join(handle: JoinHandle<()>) {
    let own: ThreadId = thread::current().id();
    if handle.thread().id() != own && handle.join().is_err() {
        tracing::error!("a thread of the write-ahead log panicked");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("stats", &self.shared.stats()).finish_non_exhaustive()
    }
}

/// Refuses what comes after the thread's end, should that be a panic.
struct Ender(Arc<Shared>);

impl Drop for Ender {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.refuse(WalFault::Panicked);
        }
    }
}

fn spawn(
    dir: &Path,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, WalOpenError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(super::find::failed("starting a thread for", dir))
}

/// Makes the ring's other files, one by one.
fn fill(disk: &dyn Disk, dir: &Path, shape: &Shape, shared: &Shared, rest: &Rest) {
    let mut warned = false;
    while shared.files_made() < shape.files {
        let begun = Instant::now();
        let made = make_next(disk, dir, shape, shared);
        let pause = match made {
            Ok(()) => begun.elapsed().min(FILL_REST_MAX),
            Err(error) => {
                if !warned {
                    let files = shared.files_made();
                    tracing::warn!(%error, files, "a ring file could not be made; trying again");
                }
                warned = true;
                FILL_RETRY
            }
        };
        let mut stop = rest.stop.lock();
        rest.changed.wait_while_for(&mut stop, |stop| !*stop, pause);
        if *stop {
            return;
        }
    }
}

fn make_next(disk: &dyn Disk, dir: &Path, shape: &Shape, shared: &Shared) -> io::Result<()> {
    let index = shared.files_made();
    make_file(disk, dir, shape, index)?;
    shared.files_were_made(index + 1);
    Ok(())
}

/// One thing that a WAL without a thread can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalStep {
    /// Begin a group with what is queued.
    Begin,
    /// Wait for the disk and tell whose entries are durable.
    Complete,
    /// Make the next ring file.
    Fill,
    /// Write the group that an idle log ends with.
    Mark,
}

/// Drives a WAL that has no thread, one step at a time.
pub struct WalDriver {
    driver: Driver,
    shared: Arc<Shared>,
    shape: Shape,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl WalDriver {
    /// Does whatever a thread would do next; whether there was anything.
    pub fn step(&mut self) -> bool {
        [WalStep::Begin, WalStep::Complete, WalStep::Fill, WalStep::Mark]
            .into_iter()
            .any(|step| self.take(step))
    }

    /// Does one thing; whether it could be done.
    pub fn take(&mut self, step: WalStep) -> bool {
        if self.driver.has_failed() {
            return false;
        }
        match step {
            WalStep::Begin => self.driver.begin().is_ok(),
            WalStep::Complete => {
                let waits = self.driver.in_flight() > 0;
                if waits {
                    self.driver.complete(None);
                }
                waits
            }
            WalStep::Fill => {
                self.shared.files_made() < self.shape.files
                    && make_next(&*self.disk, &self.dir, &self.shape, &self.shared).is_ok()
            }
            WalStep::Mark => self.driver.begin_mark(),
        }
    }
}

impl fmt::Debug for WalDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalDriver").field("dir", &path_of(&self.dir, 0)).finish_non_exhaustive()
    }
}
