//! Group writes without io_uring: pwrite past the page cache, then one fdatasync for all.
//!
//! Owns the descriptors and the writes that wait for their flush. Where the file system refuses
//! O_DIRECT, writes go through the page cache; the flush makes them as durable.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::{fs::fdatasync, io::Errno};

use super::{ALIGN_BYTES, AlignedBuffer, GroupWriter, GroupWritten, Waker, real::open_direct};

/// Opens for direct writes, or for ordinary ones where the file system has no others.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let refusal = Some(Errno::INVAL.raw_os_error());
    let direct = open_direct(path).and_then(|file| {
        // Some file systems accept the flag and refuse its use.
        file.read_at(&mut AlignedBuffer::zeroed(ALIGN_BYTES), 0)?;
        Ok(file)
    });
    match direct {
        Err(refused) if refused.raw_os_error() == refusal => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        opened => opened,
    }
}

/// pwrite + fdatasync.
#[derive(Debug)]
pub(super) struct DirectWriter {
    files: Vec<File>,
    written: Vec<Written>,
    bell: Arc<Bell>,
}

/// A group that is written and not yet flushed.
#[derive(Debug)]
struct Written {
    ticket: u64,
    file: usize,
    buffer: AlignedBuffer,
}

impl DirectWriter {
    pub(super) fn open(files: &[PathBuf]) -> io::Result<Self> {
        let mut writer = Self { files: Vec::new(), written: Vec::new(), bell: Arc::default() };
        files.iter().try_for_each(|path| writer.add_file(path))?;
        Ok(writer)
    }
}

impl GroupWriter for DirectWriter {
    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        self.files.push(open(path)?);
        Ok(())
    }

    fn submit(
        &mut self,
        ticket: u64,
        file: usize,
        buffer: AlignedBuffer,
        bytes: usize,
        at: u64,
    ) -> io::Result<()> {
        self.files[file].write_all_at(&buffer[..bytes], at)?;
        self.written.push(Written { ticket, file, buffer });
        Ok(())
    }

    fn wait(
        &mut self,
        finished: &mut Vec<GroupWritten>,
        at_most: Option<Duration>,
    ) -> io::Result<()> {
        if self.written.is_empty() {
            self.bell.wait(at_most);
            return Ok(());
        }
        // Groups go through the files in order, so all for one file stand together.
        let mut flushed: Option<(usize, Result<(), Errno>)> = None;
        for Written { ticket, file, buffer } in self.written.drain(..) {
            let result = match flushed {
                Some((of, result)) if of == file => result,
                _ => fdatasync(&self.files[file]),
            };
            flushed = Some((file, result));
            finished.push(GroupWritten { ticket, buffer, result: result.map_err(Into::into) });
        }
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::<Bell>::clone(&self.bell)
    }

    fn name(&self) -> &'static str {
        "pwrite+fdatasync"
    }
}

/// Rings once for any number of wake-ups.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Returns when it was rung since the last wait, or after `at_most`.
    pub(super) fn wait(&self, at_most: Option<Duration>) {
        let mut rung = self.rung.lock();
        match at_most {
            Some(at_most) => {
                self.changed.wait_while_for(&mut rung, |rung| !*rung, at_most);
            }
            None => self.changed.wait_while(&mut rung, |rung| !*rung),
        }
        *rung = false;
    }
}

impl Waker for Bell {
    fn wake(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }
}
