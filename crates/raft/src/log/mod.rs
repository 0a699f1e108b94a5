//! Raft's log and vote, durable in a WAL of their own, and in memory between two snapshots.
//!
//! Every record goes through one WAL, so what openraft asks for is durable in the order in which
//! it asked. Entries are readable at once and called back when they are flushed; a vote is waited
//! for. When a snapshot made entries needless they are purged: a marker says so, the vote is
//! written again behind it, and everything older is released for the ring to use again.
//!
//! Where to read next: `records.rs` for the bytes, `memory.rs` for what they come to.

mod memory;
mod records;

use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use memory::Broken;
use openraft::{
    OptionalSend, RaftLogReader,
    entry::RaftEntry as _,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use walrus_storage::{
    disk::Disk,
    wal::{self, AppendRefused, Done, Lsn, Wal, WalFailed, WalOpenError, WalOpened},
};

use self::memory::Memory;
use crate::{
    config::RaftConfig,
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Why the log of a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// Its WAL could not be opened.
    #[error(transparent)]
    Wal(#[from] WalOpenError),
    /// What was durable is gone, and nothing says that nobody needs it. It may have been a vote.
    #[error("the metadata log in {} is damaged: {what}", dir.display())]
    Damaged {
        /// The WAL.
        dir: PathBuf,
        /// What is known of the damage.
        what: String,
    },
    /// The records do not come to a log.
    #[error("the metadata log in {} is not whole: {what}", dir.display())]
    Broken {
        /// The WAL.
        dir: PathBuf,
        /// What is missing.
        what: Broken,
    },
}

/// How much of the ring is in use by entries that no snapshot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// There is room.
    Room,
    /// A snapshot should be taken.
    Snapshot,
    /// No more proposals before one is.
    Stop,
}

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wal: Wal,
    memory: Mutex<Memory>,
    /// Something became durable: the WAL's queue may have room.
    progress: Notify,
    pressure: watch::Sender<Pressure>,
}

impl LogStore {
    /// Opens the log in `dir`. Blocks on the disk.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: &RaftConfig,
    ) -> Result<(Self, WalOpened), LogOpenError> {
        let mut memory = Memory::default();
        let mut broken = None;
        let (wal, opened) = Wal::open(disk, dir, config.wal, &mut |replayed| {
            let record = records::read(&replayed)?;
            if let Err(what) = memory.replay(replayed.lsn, record) {
                broken.get_or_insert(what);
            }
            Ok(())
        })?;
        let dir = dir.to_path_buf();
        let lost = opened.damage.iter().find(|damage| damage.entries_lost != Some(0));
        if let Some(damage) = lost {
            return Err(LogOpenError::Damaged { dir, what: damage.to_string() });
        }
        if let Some(what) = broken.or(memory.finish().err()) {
            return Err(LogOpenError::Broken { dir, what });
        }
        let shared = Shared {
            wal,
            memory: Mutex::new(memory),
            progress: Notify::new(),
            pressure: watch::Sender::new(Pressure::Room),
        };
        let store = Self { shared: Arc::new(shared) };
        store.gauge();
        Ok((store, opened))
    }

    /// How full the ring is, as it changes.
    pub(crate) fn pressure(&self) -> watch::Receiver<Pressure> {
        self.shared.pressure.subscribe()
    }

    /// What the log holds.
    pub(crate) fn state(&self) -> LogState<TypeConfig> {
        self.shared.memory.lock().log_state()
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn failed(&self) -> Option<WalFailed> {
        self.shared.wal.failed()
    }

    /// Figures of the WAL.
    pub(crate) fn wal_stats(&self) -> wal::WalStats {
        self.shared.wal.stats()
    }

    /// Writes what is queued and ends the WAL. Blocks on the disk.
    pub(crate) fn close(&self) {
        self.shared.wal.clone().close();
    }

    /// Looks how full the ring is.
    pub(crate) fn gauge(&self) {
        let stats = self.shared.wal.stats();
        let pressure = match stats.ring_used_bytes.saturating_mul(4) / stats.ring_bytes.max(1) {
            0 => Pressure::Room,
            1 => Pressure::Snapshot,
            _ => Pressure::Stop,
        };
        self.shared.pressure.send_if_modified(|now| std::mem::replace(now, pressure) != pressure);
    }

    /// Queues a record; `told` makes what is told of its fate, again for each try.
    async fn write(&self, record: wal::Entry, told: impl Fn() -> Done) -> io::Result<()> {
        loop {
            // Registered before the try, so that room made between the two is not missed.
            let mut progress = std::pin::pin!(self.shared.progress.notified());
            progress.as_mut().enable();
            match self.shared.wal.append(record.clone(), told()) {
                Ok(()) => return Ok(()),
                Err(AppendRefused::Full) => progress.await,
                Err(refused) => return Err(io::Error::other(refused)),
            }
        }
    }

    /// Queues a record and waits until it is durable.
    async fn write_durably(&self, record: wal::Entry) -> io::Result<Lsn> {
        let (tell, told) = oneshot::channel();
        let tell = Arc::new(Mutex::new(Some(tell)));
        self.write(record, || {
            let (tell, shared) = (Arc::clone(&tell), Arc::clone(&self.shared));
            Box::new(move |result| {
                shared.progress.notify_waiters();
                if let Some(tell) = tell.lock().take() {
                    // Nobody listens when openraft was stopped meanwhile.
                    let _unheard = tell.send(result);
                }
            })
        })
        .await?;
        match told.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the write-ahead log dropped a record")),
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.shared.memory.lock().range(&range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.memory.lock().vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(self.state())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.shared.memory.lock().set_vote(*vote);
        let at = self.write_durably(records::vote(vote)).await?;
        self.shared.memory.lock().vote_durable(at);
        Ok(())
    }

    /// A hint that saves re-reading after a restart; it goes out with the next entry.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.memory.lock().set_committed(committed.map(|log_id| log_id.index));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.memory.lock().committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries = entries.into_iter().peekable();
        let nothing = entries.peek().is_none();
        // The last entry's flush is the flush of all: the WAL completes in order.
        let callback = Arc::new(Mutex::new(Some(callback)));
        while let Some(entry) = entries.next() {
            let index = entry.index();
            let record = {
                let mut memory = self.shared.memory.lock();
                let record = records::log(&entry, memory.committed_index());
                memory.append(entry);
                record
            };
            let callback = entries.peek().is_none().then(|| Arc::clone(&callback));
            self.write(record, || told_of_entry(&self.shared, index, callback.clone())).await?;
        }
        self.gauge();
        if nothing && let Some(callback) = callback.lock().take() {
            callback.io_completed(Ok(()));
        }
        Ok(())
    }

    /// Not waited for: what is appended next is durable after it.
    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        self.shared.memory.lock().truncate_from(from);
        let shared = Arc::clone(&self.shared);
        self.write(records::truncate_from(from), || told_of_progress(&shared)).await
    }

    async fn purge(&mut self, to: LogId) -> io::Result<()> {
        let vote = {
            let mut memory = self.shared.memory.lock();
            memory.purge(to);
            memory.vote()
        };
        let purged_at = self.write_durably(records::purge_to(&to)).await?;
        self.shared.memory.lock().purge_durable(purged_at);
        if let Some(vote) = vote {
            let at = self.write_durably(records::vote(&vote)).await?;
            self.shared.memory.lock().vote_durable(at);
        }
        let needed_from = self.shared.memory.lock().needed_from();
        if let Some(needed_from) = needed_from {
            self.shared.wal.release(needed_from);
        }
        self.gauge();
        Ok(())
    }
}

type Callback = Arc<Mutex<Option<IOFlushed<TypeConfig>>>>;

fn told_of_entry(shared: &Arc<Shared>, index: u64, callback: Option<Callback>) -> Done {
    let shared = Arc::clone(shared);
    Box::new(move |result| {
        if let Ok(at) = &result {
            shared.memory.lock().entry_durable(index, *at);
        }
        shared.progress.notify_waiters();
        if let Some(callback) = callback.and_then(|callback| callback.lock().take()) {
            callback.io_completed(result.map(|_| ()).map_err(io::Error::other));
        }
    })
}

fn told_of_progress(shared: &Arc<Shared>) -> Done {
    let shared = Arc::clone(shared);
    Box::new(move |_| shared.progress.notify_waiters())
}
