//! A small embedded log over the store: named topics, one consuming cursor each.
//!
//! ```no_run
//! use walrus_storage::walrus::{FsyncSchedule, ReadConsistency, Walrus};
//!
//! # fn main() -> Result<(), walrus_storage::walrus::WalrusError> {
//! let log = Walrus::builder()
//!     .data_dir("/var/lib/app")
//!     .key("orders")
//!     .consistency(ReadConsistency::AtLeastOnce { persist_every: 100 })
//!     .fsync_schedule(FsyncSchedule::SyncEach)
//!     .open()?;
//! let offset = log.append_for_topic("created", b"order 7")?;
//! log.batch_append_for_topic("created", &[b"order 8", b"order 9"])?;
//! while let Some(entry) = log.read_next("created", true)? {
//!     println!("{}: {} bytes", entry.offset, entry.data.len());
//! }
//! # assert_eq!(offset, 0);
//! log.close()
//! # }
//! ```
//!
//! An append answers with the entry's offset. A batch is one record batch: after a crash all of
//! it is there or nothing. Entries that were read with `checkpoint` are not read again, as far as
//! [`ReadConsistency`] promises; what the cursor has left behind goes when
//! [`Walrus::prune_read`] is called.
//!
//! `topic.rs` is one topic, `record.rs` the bytes of an entry.

mod error;
mod record;
mod topic;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use twox_hash::{XxHash3_64, XxHash3_128};
use uuid::Uuid;
use walrus_types::TopicId;

pub use self::error::WalrusError;
use self::topic::Topic;
use crate::{
    disk::{Backend, Disk, RealDisk},
    store::{Store, StoreConfig},
};

/// When a read with `checkpoint` is remembered across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Before it returns: an entry is never read twice, and is lost if the reader dies with it.
    StrictlyAtOnce,
    /// With every so many entries, and at close: after a crash up to so many are read again.
    AtLeastOnce {
        /// Entries; 0 counts as 1.
        persist_every: u32,
    },
}

/// When an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncSchedule {
    /// When the entry is durable. Appends of several threads share a flush.
    SyncEach,
    /// At once, unless one taken so many milliseconds ago is still not durable: a crash loses
    /// what was appended since, at most.
    Milliseconds(u64),
    /// At once. Entries are made durable as fast as the disk can; a crash loses the rest.
    NoFsync,
}

/// One entry of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the topic, from 0 on.
    pub offset: u64,
    /// What was appended.
    pub data: Bytes,
}

/// Settings of a [`Walrus`].
#[derive(Debug, Clone)]
pub struct WalrusBuilder {
    data_dir: PathBuf,
    key: Option<String>,
    options: Options,
    config: StoreConfig,
    disk: Option<Arc<dyn Disk>>,
}

/// What a topic needs to know.
#[derive(Debug, Clone, Copy)]
struct Options {
    consistency: ReadConsistency,
    schedule: FsyncSchedule,
    segment_bytes: u64,
}

impl WalrusBuilder {
    /// The folder; `wal_files` in the current one unless said.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = dir.into();
        self
    }

    /// A namespace: logs of different keys in one folder know nothing of each other.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// When reads are remembered; `StrictlyAtOnce` unless said.
    #[must_use]
    pub const fn consistency(mut self, consistency: ReadConsistency) -> Self {
        self.options.consistency = consistency;
        self
    }

    /// When appends return; `SyncEach` unless said.
    #[must_use]
    pub const fn fsync_schedule(mut self, schedule: FsyncSchedule) -> Self {
        self.options.schedule = schedule;
        self
    }

    /// A topic's file is closed at this size, and can be pruned by itself; 64 MiB unless said.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.options.segment_bytes = bytes;
        self
    }

    /// The store's own settings.
    #[must_use]
    pub const fn store(mut self, config: StoreConfig) -> Self {
        self.config = config;
        self
    }

    /// Another disk than the machine's, for tests.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Opens the log, or begins one.
    ///
    /// # Errors
    /// [`WalrusError::Open`].
    pub fn open(self) -> Result<Walrus, WalrusError> {
        let Self { data_dir, key, options, config, disk } = self;
        let dir = key.map_or_else(|| data_dir.join("default"), |key| key_dir(&data_dir, &key));
        let disk = disk.unwrap_or_else(|| Arc::new(RealDisk::new(Backend::Auto)));
        let (store, opened) = Store::open(disk, &dir, config)?;
        for damage in &opened.damage {
            tracing::error!(?damage, "entries were lost on the disk");
        }
        Ok(Walrus { store, options, topics: Mutex::default() })
    }
}

/// The folder of a key: readable, and of its own for every key, however long or strange.
fn key_dir(data_dir: &Path, key: &str) -> PathBuf {
    let plain = key.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>();
    data_dir.join(format!("{plain}-{:016x}", XxHash3_64::oneshot(key.as_bytes())))
}

/// An embedded log. See the [module](self).
#[derive(Debug)]
pub struct Walrus {
    store: Store,
    options: Options,
    topics: Mutex<HashMap<String, Arc<Topic>>>,
}

impl Walrus {
    /// Settings to begin with.
    #[must_use]
    pub fn builder() -> WalrusBuilder {
        WalrusBuilder {
            data_dir: PathBuf::from("wal_files"),
            key: None,
            options: Options {
                consistency: ReadConsistency::StrictlyAtOnce,
                schedule: FsyncSchedule::SyncEach,
                segment_bytes: 64 << 20,
            },
            config: StoreConfig { reserve_bytes: 256 << 20, ..StoreConfig::default() },
            disk: None,
        }
    }

    /// Appends one entry and answers its offset.
    ///
    /// # Errors
    /// [`WalrusError`]; unless it is `Failed`, nothing was appended.
    pub fn append_for_topic(&self, topic: &str, data: &[u8]) -> Result<u64, WalrusError> {
        self.topic(topic)?.append(&self.store, &[data])
    }

    /// Appends entries so that all of them are there or none, and answers the first one's offset.
    ///
    /// # Errors
    /// As [`Walrus::append_for_topic`], and when there are none.
    pub fn batch_append_for_topic(
        &self,
        topic: &str,
        entries: &[&[u8]],
    ) -> Result<u64, WalrusError> {
        self.topic(topic)?.append(&self.store, entries)
    }

    /// The next entry that was not read with `checkpoint` yet. Only what is durable is read.
    ///
    /// # Errors
    /// [`WalrusError`].
    pub fn read_next(&self, topic: &str, checkpoint: bool) -> Result<Option<Entry>, WalrusError> {
        let mut entries = self.topic(topic)?.read(&self.store, 1, 1, checkpoint)?;
        Ok(entries.pop())
    }

    /// The next entries, up to about `bytes_max` and at least one if there is one.
    ///
    /// # Errors
    /// [`WalrusError`].
    pub fn batch_read_for_topic(
        &self,
        topic: &str,
        bytes_max: usize,
        checkpoint: bool,
    ) -> Result<Vec<Entry>, WalrusError> {
        self.topic(topic)?.read(&self.store, bytes_max, usize::MAX, checkpoint)
    }

    /// How many entries are durable and not read with `checkpoint`.
    ///
    /// # Errors
    /// [`WalrusError`].
    pub fn get_topic_entry_count(&self, topic: &str) -> Result<u64, WalrusError> {
        Ok(self.topic(topic)?.unread())
    }

    /// Removes the files that hold nothing but entries read with `checkpoint`; answers how many.
    ///
    /// # Errors
    /// [`WalrusError`].
    pub fn prune_read(&self, topic: &str) -> Result<usize, WalrusError> {
        self.topic(topic)?.prune_read(&self.store)
    }

    /// Remembers all cursors and ends cleanly.
    ///
    /// # Errors
    /// What could not be made durable.
    pub fn close(self) -> Result<(), WalrusError> {
        let mut topics: Vec<_> = self.topics.into_inner().into_iter().collect();
        topics.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, topic) in topics {
            topic.persist_cursor()?;
        }
        Ok(self.store.close()?)
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, WalrusError> {
        let mut topics = self.topics.lock();
        if let Some(topic) = topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        let id = TopicId(Uuid::from_u128(XxHash3_128::oneshot(name.as_bytes())));
        let topic = Arc::new(Topic::open(&self.store, id, self.options)?);
        topics.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }
}
