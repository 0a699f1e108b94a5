//! Files and names that were written and are not durable yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use walrus_types::SegmentId;

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    segment::{
        StoreFailed,
        path::{self, FileKind},
    },
    store::files::OpenFiles,
};

/// How many files are flushed together.
const FILES_AT_ONCE: usize = 512;

/// What the next checkpoint makes durable.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Without a handle where too many would be open: opened again when it is flushed.
    files: BTreeMap<PathBuf, Option<Arc<dyn DiskFile>>>,
    dirs: BTreeSet<PathBuf>,
    open: usize,
}

impl Unsynced {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// How many files it holds.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Closes files when more than `files_max` are open. Only recovery, which may come to very
    /// many and must not wait for flushes, does so: the kernel tells an error that nobody has
    /// seen to whoever opens the file next.
    pub(super) fn close_some(&mut self, files_max: usize) {
        if self.open > files_max {
            self.files.values_mut().for_each(|file| *file = None);
            self.open = 0;
        }
    }

    /// The log of a segment, to be written to; made with its directories when it is not there.
    pub(super) fn log(
        &mut self,
        disk: &dyn Disk,
        files: &OpenFiles,
        (dir, id): (&Path, SegmentId),
    ) -> Result<Arc<dyn DiskFile>, StoreFailed> {
        let path = path::file(dir, id, FileKind::Log);
        // Not from what is kept here: that may be of a segment that was pruned and is made anew.
        let opened = files.get(id).map_err(|source| failed(&path, "opened", source))?;
        let file = match opened {
            Some(file) => file,
            None => files.keep(id, self.make(disk, dir, &path)?),
        };
        self.add(path, Arc::clone(&file));
        Ok(file)
    }

    /// Makes a file, and its directories when they are not there.
    pub(super) fn make(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        path: &Path,
    ) -> Result<Arc<dyn DiskFile>, StoreFailed> {
        let parent = path.parent().expect("a segment's file lies in its partition's directory");
        let file = match disk.open(path, OpenMode::Create) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create_dir_all(parent).map_err(|source| failed(parent, "made", source))?;
                self.add_dirs(dir, parent);
                disk.open(path, OpenMode::Create)
            }
            opened => opened,
        };
        self.dirs.insert(parent.to_path_buf());
        file.map_err(|source| failed(path, "opened", source))
    }

    /// A file beside a log was written.
    pub(super) fn add(&mut self, path: PathBuf, file: Arc<dyn DiskFile>) {
        if !matches!(self.files.insert(path, Some(file)), Some(Some(_))) {
            self.open += 1;
        }
    }

    /// Names in `lowest`, and its own and those above it up to `dir`, may be new.
    pub(super) fn add_dirs(&mut self, dir: &Path, lowest: &Path) {
        let above = lowest.ancestors().take_while(|above| above.starts_with(dir));
        self.dirs.extend(above.map(Path::to_path_buf));
    }

    /// A name in this directory came or went.
    pub(super) fn add_dir(&mut self, dir: PathBuf) {
        self.dirs.insert(dir);
    }

    /// Makes all of it durable.
    pub(super) fn sync(self, disk: &dyn Disk) -> Result<(), StoreFailed> {
        let Self { files, dirs, open: _ } = self;
        let files: Vec<_> = files.into_iter().collect();
        for some in files.chunks(FILES_AT_ONCE) {
            let mut opened = Vec::with_capacity(some.len());
            for (path, file) in some {
                match file {
                    Some(file) => opened.push(Arc::clone(file)),
                    None => match disk.open(path, OpenMode::ReadWrite) {
                        // It was pruned since.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        file => opened.push(file.map_err(|source| failed(path, "opened", source))?),
                    },
                }
            }
            let synced = if opened.is_empty() { Ok(()) } else { disk.sync_files(&opened) };
            synced.map_err(|source| failed(&some[0].0, "flushed", source))?;
        }
        // From the top: a directory's name before the names in it.
        let dirs: Vec<PathBuf> = dirs.into_iter().collect();
        let first = dirs.first().cloned().unwrap_or_default();
        disk.sync_dirs(&dirs).map_err(|source| failed(&first, "flushed", source))
    }
}

/// A file or directory that failed the store.
pub(super) fn failed(file: &Path, doing: &'static str, source: io::Error) -> StoreFailed {
    StoreFailed::File { file: Arc::new(file.to_path_buf()), doing, source: Arc::new(source) }
}
