//! The one seam between the engine and the machine: a tree of files, and what makes them durable.
//!
//! Two implementations: the real one over the file system (`real.rs`, with `uring.rs` for the
//! WAL's writes) and a simulated one (`sim.rs`) that is seeded and can cut the power, fail a
//! write or a flush, run full, be slow and flip bytes. Everything above sees only these traits.
//!
//! Owns no format: what the bytes mean is the business of `wal/` and `segment/`.

mod buffer;
mod direct;
mod real;
mod sim;
mod sim_file;
mod uring;
mod writeback;

use std::{
    fmt, io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use buffer::AlignedBuffer;
pub use real::{Backend, RealDisk};
pub use sim::{SimDisk, SimFaults};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must be there; reads only.
    Read,
    /// Must be there; reads and writes.
    ReadWrite,
    /// Made when it is not there; reads and writes.
    Create,
}

/// A directory's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// A tree of files.
///
/// Names (creations, renames, removals) are durable after [`Disk::sync_dir`] of their directory,
/// bytes after a sync of their file; before that a power cut may keep, lose or tear them.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a directory and its missing parents.
    ///
    /// # Errors
    /// What the file system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory, else what the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Opens a file for access through the page cache.
    ///
    /// # Errors
    /// `NotFound` when it must be there and is not, else what the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reads that bypass the page cache, where there are such: for what is read
    /// once and is large. Reads must be of whole pages, into whole [`AlignedBuffer`]s.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, else what the file system says.
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, OpenMode::Read)
    }

    /// Puts `from` in the place of `to`, which may exist.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Unlinks a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// What the file system says.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the file system says; the names may or may not be durable then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// As [`Disk::sync_dir`] for many, in order, with as few flushes as the system allows. Those
    /// that are not there any more are passed over.
    ///
    /// # Errors
    /// What the file system says; any of the names may or may not be durable then.
    fn sync_dirs(&self, dirs: &[PathBuf]) -> io::Result<()> {
        for dir in dirs {
            match self.sync_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    /// Makes the bytes of many files durable with as few flushes as the system allows.
    ///
    /// # Errors
    /// What the file system says; any of the files may or may not be durable then.
    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()>;

    /// Bytes that may still be written below `dir`.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Makes a file of `bytes` whose every block is allocated and written with zeros, and makes
    /// them durable; an old file of that name is overwritten. The name is not made durable.
    ///
    /// # Errors
    /// What the file system says; a part of the file may be there then.
    fn fill(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// What writes the WAL's groups to `files`, each of which is there and filled already.
    /// `depth` writes may be under way at once.
    ///
    /// # Errors
    /// When the files cannot be opened for durable writes.
    fn group_writer(&self, files: &[PathBuf], depth: usize) -> io::Result<Box<dyn GroupWriter>>;
}

/// One open file. Offsets and lengths in bytes.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Reads at `at` until `buf` is full or the file ends; answers how many bytes were read.
    ///
    /// # Errors
    /// What the file system says. An error is never "no data".
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// As [`DiskFile::read_at`], but `None` where the disk would have to be waited for.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>>;

    /// Writes all of `buf` at `at`; durable after [`DiskFile::sync`].
    ///
    /// # Errors
    /// What the file system says; any part of `buf` may have been written then.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()>;

    /// As [`DiskFile::write_at`], for bytes that are not expected to be read soon: they are not
    /// kept in the page cache where the file system can do without. What becomes of them is the
    /// same.
    ///
    /// # Errors
    /// As [`DiskFile::write_at`].
    fn write_past_cache_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.write_at(buf, at)
    }

    /// Lets the disk begin with bytes that were written, so that the flush that comes finds less to
    /// do. A hint: nothing is promised, and what fails is told by the flush.
    fn begin_flush(&self, _at: u64, _bytes: u64) {}

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// Final: the file's unflushed bytes are of unknown fate and must not be called durable by
    /// a second try.
    fn sync(&self) -> io::Result<()>;

    /// The length now.
    ///
    /// # Errors
    /// What the file system says.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) to `bytes`.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len_bytes(&self, bytes: u64) -> io::Result<()>;

    /// The descriptor, for maps and for flushes of many files, where there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A finished group write: its ticket, its buffer back, and whether it is durable.
#[derive(Debug)]
pub struct GroupWritten {
    /// As it was given to [`GroupWriter::submit`].
    pub ticket: u64,
    /// The buffer, for the next group.
    pub buffer: AlignedBuffer,
    /// `Ok` when every byte is durable. An error is final.
    pub result: io::Result<()>,
}

/// Writes whole groups durably, several at a time, in no promised order of completion.
///
/// Owned by one thread. The real ones write past the page cache, through io_uring or with
/// pwrite, and flush with fdatasync; the simulated one completes in a seeded order.
pub trait GroupWriter: fmt::Debug + Send {
    /// Opens one more file, which is there and filled; its number is the next one.
    ///
    /// # Errors
    /// When the file cannot be opened for durable writes.
    fn add_file(&mut self, path: &Path) -> io::Result<()>;

    /// Starts writing `bytes` (a multiple of [`ALIGN_BYTES`]) from the start of `buffer` at `at`
    /// of file number `file`. At most `depth` may be under way.
    ///
    /// # Errors
    /// When the write could not even be started; final for the log.
    fn submit(
        &mut self,
        ticket: u64,
        file: usize,
        buffer: AlignedBuffer,
        bytes: usize,
        at: u64,
    ) -> io::Result<()>;

    /// Waits for at least one write that is under way, for [`Waker::wake`], or `at_most` so long,
    /// and pushes what is finished. Returns at once when a wake-up is pending.
    ///
    /// # Errors
    /// When completions can no longer be had; final for the log.
    fn wait(
        &mut self,
        finished: &mut Vec<GroupWritten>,
        at_most: Option<Duration>,
    ) -> io::Result<()>;

    /// What another thread calls to end a [`GroupWriter::wait`].
    fn waker(&self) -> Arc<dyn Waker>;

    /// For the start-up line and the stats: `io_uring` or `pwrite+fdatasync`.
    fn name(&self) -> &'static str;
}

/// Ends the wait of the thread that owns a [`GroupWriter`].
pub trait Waker: fmt::Debug + Send + Sync {
    /// Cheap when nobody waits.
    fn wake(&self);
}

/// What direct writes must be aligned to, in memory, length and offset.
pub const ALIGN_BYTES: usize = 4096;
