//! The logs that are open: a bounded number, the longest unused is closed first.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use walrus_types::SegmentId;

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    segment::path::{self, FileKind},
};

/// Open logs by segment. A file that was handed out stays open as long as its user holds it.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<SegmentId, (Arc<dyn DiskFile>, u64)>,
    /// When each was used last, as a count of uses.
    used: BTreeMap<u64, SegmentId>,
    uses: u64,
}

impl OpenFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, files_max: usize) -> Self {
        Self { disk, dir, files_max, open: Mutex::default() }
    }

    /// The log of a segment if it is open.
    pub(crate) fn get_open(&self, id: SegmentId) -> Option<Arc<dyn DiskFile>> {
        self.open.lock().touch(id)
    }

    /// The log of a segment, opened when it must be; nothing when there is none.
    pub(crate) fn get(&self, id: SegmentId) -> io::Result<Option<Arc<dyn DiskFile>>> {
        if let Some(file) = self.get_open(id) {
            return Ok(Some(file));
        }
        let path = path::file(&self.dir, id, FileKind::Log);
        match self.disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => Ok(Some(self.keep(id, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a log that was just made.
    pub(crate) fn keep(&self, id: SegmentId, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut open = self.open.lock();
        if let Some(there) = open.touch(id) {
            return there;
        }
        let mut closed = None;
        if open.files.len() >= self.files_max
            && let Some((_, oldest)) = open.used.pop_first()
        {
            closed = open.files.remove(&oldest);
        }
        open.uses += 1;
        let use_number = open.uses;
        open.used.insert(use_number, id);
        open.files.insert(id, (Arc::clone(&file), use_number));
        drop(open);
        // Closing may take a while: not under the lock.
        drop(closed);
        file
    }

    /// Closes a segment's log, for it was unlinked.
    pub(crate) fn forget(&self, id: SegmentId) {
        let mut open = self.open.lock();
        if let Some((_, used)) = open.files.remove(&id) {
            open.used.remove(&used);
        }
    }

    /// Closes the logs of the segments that `which` picks; tells which were open. Who was handed
    /// one has it still.
    pub(crate) fn forget_where(
        &self,
        which: impl Fn(&SegmentId) -> bool,
    ) -> Vec<(SegmentId, Weak<dyn DiskFile>)> {
        let mut closed = Vec::new();
        let mut open = self.open.lock();
        let Open { files, used, .. } = &mut *open;
        files.retain(|id, (file, use_number)| {
            let goes = which(id);
            if goes {
                used.remove(use_number);
                closed.push((*id, Arc::downgrade(file)));
            }
            !goes
        });
        closed
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().files.len()
    }
}

impl Open {
    fn touch(&mut self, id: SegmentId) -> Option<Arc<dyn DiskFile>> {
        let (file, used) = self.files.get_mut(&id)?;
        self.used.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.used.insert(self.uses, id);
        Some(Arc::clone(file))
    }
}
