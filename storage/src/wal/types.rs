//! What goes into a WAL and what comes out of it: entries, group numbers, errors, reports.
//!
//! Owns no behaviour beyond checks on construction. `handle.rs` takes these, `recover.rs` gives
//! them back.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

/// The number of a group. Groups count from 1 and are never numbered again from the start.
///
/// An entry's number is its group's; [`Lsn::ZERO`] stands before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first group.
    pub const ZERO: Self = Self(0);

    /// The group after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The longest head an entry can have.
pub const HEAD_BYTES_MAX: usize = 80;

/// Kinds below this are the WAL's own.
pub const KIND_FIRST: u8 = 16;

/// What an entry is about, in a few bytes kept inline: it has its own checksum, so it can name
/// what was lost when the body behind it is damaged.
#[derive(Clone, Copy)]
pub struct EntryHead {
    bytes: [u8; HEAD_BYTES_MAX],
    used: u8,
}

impl EntryHead {
    /// A head that holds `bytes`.
    ///
    /// # Panics
    /// When `bytes` is longer than [`HEAD_BYTES_MAX`]: the caller's layout is wrong.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let used =
            u8::try_from(bytes.len()).ok().filter(|used| usize::from(*used) <= HEAD_BYTES_MAX);
        let used = used.unwrap_or_else(|| {
            panic!("a head of {} bytes, and at most {HEAD_BYTES_MAX} fit", bytes.len())
        });
        let mut head = Self { bytes: [0; HEAD_BYTES_MAX], used };
        head.bytes[..bytes.len()].copy_from_slice(bytes);
        head
    }

    /// The bytes it was made from.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.used)]
    }
}

impl fmt::Debug for EntryHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHead({:02x?})", self.as_slice())
    }
}

/// One thing to be made durable.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The user's own number for what this is; [`KIND_FIRST`] and up.
    pub kind: u8,
    /// What it is about.
    pub head: EntryHead,
    /// The bytes, copied once, into the group.
    pub body: Bytes,
}

/// Told once what became of an entry: the group it is durable in, or why it may not be.
///
/// Called in order of append, on the WAL's thread, so it must be short and must not wait.
pub type Done = Box<dyn FnOnce(Result<Lsn, WalFailed>) + Send>;

/// Why a WAL takes nothing any more: a write or flush failed, or it was closed.
///
/// An entry that got this may or may not be on disk. The only way on is to open the WAL again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the write-ahead log in {} is stopped: {what}; restart the node to recover it", dir.display())]
pub struct WalFailed {
    /// Where the WAL is.
    pub dir: Arc<PathBuf>,
    /// What happened.
    #[source]
    pub what: Arc<WalFault>,
}

/// What stopped a WAL.
#[derive(Debug, thiserror::Error)]
pub enum WalFault {
    /// A group could not be written or flushed; its bytes are of unknown fate.
    #[error("group {lsn} could not be made durable in {} at {at}: {source}", file.display())]
    Write {
        /// The group.
        lsn: Lsn,
        /// Its file.
        file: PathBuf,
        /// Where in the file.
        at: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Completions could no longer be had from the kernel.
    #[error("waiting for writes failed: {0}")]
    Wait(#[source] io::Error),
    /// A ring file could not be made.
    #[error("ring file {} could not be filled: {source}", file.display())]
    Fill {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was closed.
    #[error("it was closed")]
    Closed,
    /// Its thread ended without a word, by a panic in a caller's [`Done`].
    #[error("its thread panicked")]
    Panicked,
}

/// Why an entry was not taken. Nothing was written and its [`Done`] is not called.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendRefused {
    /// As much is queued as may be; try again when something has completed.
    #[error("the write-ahead log's queue is full; try again")]
    Full,
    /// It is stopped for good.
    #[error(transparent)]
    Failed(WalFailed),
    /// It would never fit.
    #[error(
        "an entry of {bytes} bytes does not fit: this write-ahead log takes {bytes_max}; use larger ring files"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that fits.
        bytes_max: usize,
    },
}

/// One entry as recovery found it.
#[derive(Debug)]
pub struct Replayed<'a> {
    /// Its group.
    pub lsn: Lsn,
    /// The user's number for what it is.
    pub kind: u8,
    /// What it is about; its checksum holds.
    pub head: &'a [u8],
    /// Its bytes, or that they are lost.
    pub body: ReplayedBody<'a>,
}

/// The body of an entry as recovery found it.
#[derive(Debug)]
pub enum ReplayedBody<'a> {
    /// The checksum holds. A clone shares the memory of the whole group.
    Intact(&'a Bytes),
    /// It was durable and is lost; only the head still says what it was.
    Damaged {
        /// How long it was.
        bytes: u32,
    },
}

/// Groups that were durable once and can no longer be read. Never cut: the log goes on behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The first damaged group.
    pub first: Lsn,
    /// The last damaged group.
    pub last: Lsn,
    /// The file in which the damage starts.
    pub file: PathBuf,
    /// Where it starts there.
    pub at: u64,
    /// How long the damaged groups are, where that is known.
    pub bytes: Option<u64>,
    /// Entries whose body and head are intact; they were replayed.
    pub entries_intact: u32,
    /// Entries whose head alone is intact; they were replayed as [`ReplayedBody::Damaged`].
    pub entries_named: u32,
    /// Entries of which nothing is known, where their number is.
    pub entries_lost: Option<u32>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, file, at, bytes: _, entries_intact, entries_named, entries_lost } =
            self;
        write!(f, "groups {first} to {last} in {} at {at} are damaged: ", file.display())?;
        write!(f, "{entries_intact} entries intact, {entries_named} known by name only, ")?;
        match entries_lost {
            Some(lost) => write!(f, "{lost} lost"),
            None => write!(f, "others lost"),
        }
    }
}

/// Where recovery found the end of the log in front of something else than untouched space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first group that was not whole; it was never called durable.
    pub lsn: Lsn,
    /// Its file.
    pub file: PathBuf,
    /// Where in the file.
    pub at: u64,
}

/// What opening a WAL found.
#[derive(Debug, Clone)]
pub struct WalOpened {
    /// Groups that were replayed, those without entries included.
    pub groups: u64,
    /// Entries that were replayed.
    pub entries: u64,
    /// Bytes of the groups that were replayed.
    pub bytes: u64,
    /// Nothing below was replayed: the user had released it.
    pub from: Lsn,
    /// The group that comes next.
    pub next: Lsn,
    /// Groups in flight at the crash were cut here.
    pub cut: Option<Cut>,
    /// What was durable and is not readable.
    pub damage: Vec<Damage>,
    /// `io_uring` or `pwrite+fdatasync`.
    pub backend: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// Why a WAL could not be opened. Nothing was changed on disk unless a variant says so.
#[derive(Debug, thiserror::Error)]
pub enum WalOpenError {
    /// The configuration cannot work.
    #[error("write-ahead log setting {key} = {value} {why}")]
    Config {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        why: &'static str,
    },
    /// The disk said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error(
        "{} has format version {found} and this program reads up to {supported}; \
         start the version that wrote it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest one this program reads.
        supported: u16,
    },
    /// Not a ring file at all, or its header is damaged and no other file tells what it was.
    #[error(
        "{} is not a usable file of a write-ahead log: {why}; move it away, or restore it, \
         and start again",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A ring file is not as long as the ring's files are.
    #[error(
        "{} has {found} bytes and the files of this write-ahead log have {expected}; restore \
         it, or move the folder away: entries that are only in it are then lost on this node",
        path.display()
    )]
    FileBytes {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The caller refused an entry.
    #[error("replaying group {lsn} of {}: {source}", dir.display())]
    Replay {
        /// The WAL.
        dir: PathBuf,
        /// The entry's group.
        lsn: Lsn,
        /// What the caller said.
        source: io::Error,
    },
}
