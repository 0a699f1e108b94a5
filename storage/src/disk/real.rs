//! The disk seam over the machine's file system.
//!
//! Ordinary files go through the page cache. Only what writes the WAL's groups bypasses it:
//! `uring.rs`, or `direct.rs` where io_uring is not to be had.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{FallocateFlags, fallocate, fdatasync, fstat, statvfs, syncfs},
    io::{Errno, ReadWriteFlags, preadv2, pwritev2},
};

use super::{
    ALIGN_BYTES, AlignedBuffer, DirEntry, Disk, DiskFile, GroupWriter, OpenMode,
    direct::{self, DirectWriter},
    writeback,
};

/// What writes the WAL's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// io_uring, and pwrite + fdatasync where the kernel or a sandbox refuses it.
    Auto,
    /// pwrite + fdatasync.
    Blocking,
}

/// From this many files on one flush of the whole file system is cheaper than one for each.
const SYNCFS_FILES_MIN: usize = 4;

/// What a file is filled with at once.
const FILL_BYTES: usize = 1 << 20;

/// The machine's file system.
#[derive(Debug)]
pub struct RealDisk {
    backend: Backend,
    /// The fallback is told once, not for every WAL.
    refusal_logged: AtomicBool,
}

impl RealDisk {
    /// A disk whose WALs are written by `backend`.
    #[must_use]
    pub const fn new(backend: Backend) -> Self {
        Self { backend, refusal_logged: AtomicBool::new(false) }
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir });
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create(mode == OpenMode::Create);
        Ok(Arc::new(RealFile::new(options.open(path)?)))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile::new(direct::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_dirs(&self, dirs: &[PathBuf]) -> io::Result<()> {
        let mut first: Option<(File, u64)> = None;
        let (mut there, mut one_device) = (0, true);
        for dir in dirs {
            // Opened and not only looked at: what is open can be flushed even when its name goes.
            let Some(opened) = open_if_there(dir)? else { continue };
            there += 1;
            let device = opened.metadata()?.dev();
            one_device &= first.get_or_insert((opened, device)).1 == device;
        }
        match first {
            Some((first, _)) if there >= SYNCFS_FILES_MIN && one_device => Ok(syncfs(&first)?),
            _ => dirs.iter().try_for_each(|dir| match open_if_there(dir)? {
                Some(opened) => opened.sync_all(),
                None => Ok(()),
            }),
        }
    }

    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()> {
        if files.len() >= SYNCFS_FILES_MIN
            && let Some(fd) = on_one_file_system(files)?
        {
            return Ok(syncfs(fd)?);
        }
        files.iter().try_for_each(|file| file.sync())
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let found = statvfs(dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn fill(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = File::create(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // Only a hint to the file system; the zeros below allocate as well.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(refused) => return Err(refused.into()),
        }
        let direct = direct::open(path)?;
        let zeros = AlignedBuffer::zeroed(FILL_BYTES);
        let aligned_end = bytes - bytes % ALIGN_BYTES as u64;
        let mut at = 0;
        while at < aligned_end {
            let rest = usize::try_from(aligned_end - at).unwrap_or(FILL_BYTES);
            let piece = &zeros[..rest.min(FILL_BYTES)];
            direct.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn group_writer(&self, files: &[PathBuf], depth: usize) -> io::Result<Box<dyn GroupWriter>> {
        if self.backend == Backend::Auto {
            match super::uring::UringWriter::start(files, depth) {
                Ok(writer) => return Ok(Box::new(writer)),
                Err(refused) if !self.refusal_logged.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(%refused, "no io_uring here: writing with pwrite and fdatasync");
                }
                Err(_) => {}
            }
        }
        Ok(Box::new(DirectWriter::open(files)?))
    }
}

/// A directory that may be removed at any time; none when it is gone.
fn open_if_there(dir: &Path) -> io::Result<Option<File>> {
    match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// A descriptor for all of them, when they lie on one file system.
fn on_one_file_system(files: &[Arc<dyn DiskFile>]) -> io::Result<Option<BorrowedFd<'_>>> {
    let mut one = None;
    for file in files {
        let Some(fd) = file.fd() else { return Ok(None) };
        let device = fstat(fd)?.st_dev;
        if *one.get_or_insert(device) != device {
            return Ok(None);
        }
    }
    Ok(files.first().and_then(|file| file.fd()))
}

/// `RWF_DONTCACHE` (Linux 6.14): pages that this write brings into the cache leave it as soon as
/// they are on the disk. Without a name in the library yet.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// The start of `buf` that ends where a page of the file ends, if it is written at `at`.
fn whole_pages(buf: &[u8], at: u64) -> &[u8] {
    let past_page = (at + buf.len() as u64) % ALIGN_BYTES as u64;
    let past_page = usize::try_from(past_page).expect("less than a page");
    &buf[..buf.len().saturating_sub(past_page)]
}

/// One open file, through the page cache.
#[derive(Debug)]
struct RealFile {
    file: File,
    /// The kernel or the file system does not know of writes past the cache.
    keeps_in_cache: AtomicBool,
}

impl RealFile {
    const fn new(file: File) -> Self {
        Self { file, keeps_in_cache: AtomicBool::new(false) }
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        let mut filled = 0;
        while filled < buf.len() {
            let rest = &mut [io::IoSliceMut::new(&mut buf[filled..])];
            match preadv2(&self.file, rest, at + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                // A file system that cannot tell is taken as one that would wait.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(filled))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(buf, at)
    }

    fn write_past_cache_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        let (mut rest, mut at) = (buf, at);
        // A page that is not full yet is kept: the next write would have to read it back.
        while let whole = whole_pages(rest, at)
            && !whole.is_empty()
            && !self.keeps_in_cache.load(Ordering::Relaxed)
        {
            match pwritev2(&self.file, &[io::IoSlice::new(whole)], at, DONTCACHE) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => (rest, at) = (&rest[written..], at + written as u64),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.keeps_in_cache.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.write_at(rest, at)
    }

    fn begin_flush(&self, at: u64, bytes: u64) {
        writeback::begin(&self.file, at, bytes);
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// Opens for writes that bypass the page cache, where the file system has them.
pub(super) fn open_direct(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder can be made")
    }

    #[test]
    fn a_read_ends_where_the_file_ends() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        let file = disk.open(&dir.path().join("a"), OpenMode::Create).unwrap();
        file.write_at(b"0123456789", 0).unwrap();
        let mut buf = [0; 8];
        assert_eq!(file.read_at(&mut buf, 6).unwrap(), 4);
        assert_eq!(file.read_at_cached(&mut buf, 6).unwrap(), Some(4));
        assert_eq!(file.read_at(&mut buf, 100).unwrap(), 0);
        assert_eq!(&buf[..4], b"6789");
    }

    #[test]
    fn what_is_written_past_the_cache_is_what_is_read() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        let bytes: Vec<u8> = (0..50_000_u32).map(|at| (at % 251) as u8).collect();
        for steps in
            [&[50_000_usize][..], &[1, 4095, 4096, 4097, 30_000, 7_711], &[100, 200, 49_700]]
        {
            let file = disk.open(&dir.path().join("past"), OpenMode::Create).unwrap();
            file.set_len_bytes(0).unwrap();
            let mut at = 0;
            for step in steps {
                file.write_past_cache_at(&bytes[at..at + step], at as u64).unwrap();
                at += step;
            }
            file.sync().unwrap();
            let mut read = vec![0; bytes.len() + 1];
            assert_eq!(file.read_at(&mut read, 0).unwrap(), bytes.len(), "{steps:?}");
            assert!(read[..bytes.len()] == bytes[..], "{steps:?}");
        }
    }

    #[test]
    fn only_what_ends_with_a_page_goes_past_the_cache() {
        let cases = [
            (0, 4096, 4096),
            (0, 4095, 0),
            (0, 5000, 4096),
            (100, 3996, 3996),
            (100, 3995, 0),
            (100, 8192, 8092),
            (4096, 0, 0),
        ];
        for (at, bytes, whole) in cases {
            assert_eq!(whole_pages(&vec![0; bytes], at).len(), whole, "{bytes} bytes at {at}");
        }
    }

    #[test]
    fn a_filled_file_is_as_long_as_asked_and_zero() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        for bytes in [4096, (1 << 20) + 4096, 5000] {
            let path = dir.path().join("ring");
            fs::write(&path, b"old").unwrap();
            disk.fill(&path, bytes).unwrap();
            let content = fs::read(&path).unwrap();
            assert_eq!(content.len() as u64, bytes);
            assert!(content.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn many_files_are_synced_at_once() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        let files: Vec<_> = (0..6)
            .map(|name| disk.open(&dir.path().join(format!("{name}")), OpenMode::Create).unwrap())
            .collect();
        for file in &files {
            file.write_at(b"x", 0).unwrap();
        }
        disk.sync_files(&files).unwrap();
        disk.sync_files(&files[..2]).unwrap();
        disk.sync_dir(dir.path()).unwrap();
        assert_eq!(disk.list(dir.path()).unwrap().len(), 6);
        assert!(disk.free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_directory_that_goes_while_it_is_flushed_is_passed_over() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        let goes: Vec<_> = (0..6).map(|name| dir.path().join(format!("{name}"))).collect();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    for dir in &goes {
                        fs::create_dir(dir).unwrap();
                    }
                    for dir in &goes {
                        fs::remove_dir(dir).unwrap();
                    }
                }
            });
            // Few are flushed one by one, many by the file system.
            for _ in 0..2000 {
                for asked in [&goes[..1], &goes[..3], &goes[..]] {
                    let flushed = disk.sync_dirs(asked);
                    if flushed.is_err() {
                        ended.store(true, Ordering::Relaxed);
                    }
                    flushed.unwrap();
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn opening_what_is_not_there_says_so() {
        let dir = folder();
        let disk = RealDisk::new(Backend::Blocking);
        for mode in [OpenMode::Read, OpenMode::ReadWrite] {
            let refused = disk.open(&dir.path().join("nothing"), mode).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(disk.list(&dir.path().join("no")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
