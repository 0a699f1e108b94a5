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

/// What the next checkpoint makes durable.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    files: BTreeMap<PathBuf, Arc<dyn DiskFile>>,
    dirs: BTreeSet<PathBuf>,
}

impl Unsynced {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// How many files it keeps open.
    pub(super) fn files(&self) -> usize {
        self.files.len()
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
        self.files.insert(path, Arc::clone(&file));
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
        self.files.insert(path, file);
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
        let Self { files, dirs } = self;
        let first = files.keys().next().cloned().unwrap_or_default();
        let files: Vec<_> = files.into_values().collect();
        if !files.is_empty() {
            disk.sync_files(&files).map_err(|source| failed(&first, "flushed", source))?;
        }
        // From the top: a directory's name before the names in it.
        for dir in dirs {
            match disk.sync_dir(&dir) {
                // It was removed since, with all that was in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(|source| failed(&dir, "flushed", source))?,
            }
        }
        Ok(())
    }
}

/// A file or directory that failed the store.
pub(super) fn failed(file: &Path, doing: &'static str, source: io::Error) -> StoreFailed {
    StoreFailed::File { file: Arc::new(file.to_path_buf()), doing, source: Arc::new(source) }
}
