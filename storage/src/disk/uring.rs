//! Group writes through io_uring: one thread, one ring, a few writes under way.
//!
//! Writes bypass the page cache (O_DIRECT). What has completed is made durable by one fdatasync
//! of the thread itself, while the writes behind it go on. On two processors that were busy
//! otherwise this acknowledged two to four times as much as RWF_DSYNC, whose flush is started by a
//! kernel worker that has to be scheduled first; with less to do beside it the two were within
//! noise. Drain flags, which hang on such rings, are never used.
//!
//! Another thread ends a wait through an eventfd that the ring polls.
//!
//! The only file of the crate with unsafe code: the kernel is given pointers into buffers. Each
//! such buffer is owned by a [`Lent`] until its completion has come back.

#![expect(unsafe_code, reason = "io_uring takes raw pointers; this file alone hands them out")]

use std::{
    fs::File,
    io,
    mem::ManuallyDrop,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::fdatasync,
    io::Errno,
};

use super::{ALIGN_BYTES, AlignedBuffer, GroupWriter, GroupWritten, Waker, direct};

/// Completions of writes carry their ticket; this one is the poll of the eventfd.
const WAKE: u64 = u64::MAX;

/// A group of this size is handed to the kernel before the next one is packed.
const SUBMIT_AT_ONCE_BYTES: usize = 128 << 10;

/// A ring and what is under way on it.
#[derive(Debug)]
pub(super) struct UringWriter {
    ring: Ring,
    files: Vec<File>,
    lent: Vec<Lent>,
    /// Written, and not flushed yet.
    written: Vec<Written>,
    bell: Arc<EventBell>,
    /// A poll of the eventfd is on the ring.
    polling: bool,
}

/// A group that is written and not yet flushed.
#[derive(Debug)]
struct Written {
    ticket: u64,
    file: usize,
    buffer: AlignedBuffer,
}

/// The ring itself. Made disabled and enabled by the thread that uses it: such a ring takes
/// requests from one thread only, and a log is opened on another one than it is written on.
struct Ring {
    uring: IoUring,
    disabled: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("disabled", &self.disabled).finish_non_exhaustive()
    }
}

/// A buffer that the kernel may be reading from. Nothing can read, change or free it before
/// [`Lent::reclaim`]; dropping it early leaks it, which is safe, unlike freeing it.
#[derive(Debug)]
struct Lent {
    buffer: ManuallyDrop<AlignedBuffer>,
    ticket: u64,
    file: usize,
    at: u64,
    bytes: usize,
    /// How much of it was written by completions so far.
    written: usize,
}

impl Lent {
    /// Takes the buffer back on the strength of a completion.
    fn reclaim(self, completed_ticket: u64) -> AlignedBuffer {
        assert_eq!(completed_ticket, self.ticket, "a completion for another write");
        ManuallyDrop::into_inner(self.buffer)
    }

    /// Counts what a completion says was written; `None` when a part is still to be written.
    fn completed(&mut self, result: i32) -> Option<io::Result<()>> {
        let Ok(written) = usize::try_from(result) else {
            return Some(Err(io::Error::from_raw_os_error(-result)));
        };
        self.written += written;
        if self.written == self.bytes {
            return Some(Ok(()));
        }
        // Direct writes go on at whole pages only.
        let goes_on = written > 0 && self.written.is_multiple_of(ALIGN_BYTES);
        let (written, bytes) = (self.written, self.bytes);
        let short = || io::Error::other(format!("{written} of {bytes} bytes were written"));
        (!goes_on).then(|| Err(short()))
    }

    /// The request for what is not written yet.
    fn request(&self, file: &File) -> squeue::Entry {
        let rest = &self.buffer[self.written..self.bytes];
        let length = u32::try_from(rest.len()).expect("a group is at most 1 GiB");
        opcode::Write::new(types::Fd(file.as_raw_fd()), rest.as_ptr(), length)
            .offset(self.at + self.written as u64)
            .build()
            .user_data(self.ticket)
    }
}

impl UringWriter {
    /// A ring for `depth` writes at once.
    ///
    /// # Errors
    /// When the kernel has no io_uring for us, or too old a one.
    pub(super) fn start(files: &[PathBuf], depth: usize) -> io::Result<Self> {
        let entries = u32::try_from(depth + 2).expect("a depth is at most 16").next_power_of_two();
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .build(entries)
            .or_else(|_| IoUring::builder().setup_r_disabled().build(entries))?;
        if !uring.params().is_feature_ext_arg() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring without timeouts"));
        }
        let mut writer = Self {
            ring: Ring { uring, disabled: true },
            files: Vec::new(),
            lent: Vec::with_capacity(depth),
            written: Vec::with_capacity(depth),
            bell: Arc::new(EventBell::new()?),
            polling: false,
        };
        files.iter().try_for_each(|path| writer.add_file(path))?;
        Ok(writer)
    }

    /// Puts the request for a lent buffer on the ring.
    fn push(&mut self, place: usize) -> io::Result<()> {
        let lent = &self.lent[place];
        let request = lent.request(&self.files[lent.file]);
        // SAFETY: the buffer stays in `self.lent` until its completion is seen: only `take`
        // removes it, and `drop` waits for all or leaks them. Its memory does not move when the
        // `Lent` does. The file is never closed before `self` is dropped, which happens after.
        unsafe { self.ring.push(&request) }
    }

    /// Takes all completions that are there.
    fn take(&mut self, finished: &mut Vec<GroupWritten>) -> io::Result<()> {
        while let Some(completion) = self.ring.completion() {
            let ticket = completion.user_data();
            if ticket == WAKE {
                self.polling = false;
                self.bell.clear();
                continue;
            }
            let place = self.lent.iter().position(|lent| lent.ticket == ticket);
            let place = place.expect("a completion comes once, for a write that is under way");
            match self.lent[place].completed(completion.result()) {
                Some(result) => {
                    let lent = self.lent.swap_remove(place);
                    let file = lent.file;
                    let buffer = lent.reclaim(ticket);
                    match result {
                        Ok(()) => self.written.push(Written { ticket, file, buffer }),
                        Err(_) => finished.push(GroupWritten { ticket, buffer, result }),
                    }
                }
                None => self.push(place)?,
            }
        }
        Ok(())
    }

    /// Makes durable what was written, with one flush for each file, and pushes it.
    fn flush(&mut self, finished: &mut Vec<GroupWritten>) {
        // Seldom more than one file: groups fill one after the other.
        self.written.sort_unstable_by_key(|written| written.file);
        let mut flushed: Option<(usize, Result<(), Errno>)> = None;
        for Written { ticket, file, buffer } in self.written.drain(..) {
            let result = match flushed {
                Some((of, result)) if of == file => result,
                _ => fdatasync(&self.files[file]),
            };
            flushed = Some((file, result));
            finished.push(GroupWritten { ticket, buffer, result: result.map_err(Into::into) });
        }
    }
}

impl GroupWriter for UringWriter {
    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        self.files.push(direct::open(path)?);
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
        assert!(ticket != WAKE && bytes <= buffer.len(), "ticket {ticket}, {bytes} bytes");
        let buffer = ManuallyDrop::new(buffer);
        self.lent.push(Lent { buffer, ticket, file, at, bytes, written: 0 });
        if let Err(refused) = self.push(self.lent.len() - 1) {
            // It never reached the ring, so no completion will come for it.
            self.lent.pop();
            return Err(refused);
        }
        // A small group goes out with the wait that follows; a large one keeps the disk busy
        // while the next is packed.
        if bytes >= SUBMIT_AT_ONCE_BYTES { self.ring.submit() } else { Ok(()) }
    }

    fn wait(
        &mut self,
        finished: &mut Vec<GroupWritten>,
        at_most: Option<Duration>,
    ) -> io::Result<()> {
        if !self.polling {
            let poll = opcode::PollAdd::new(
                types::Fd(self.bell.event.as_raw_fd()),
                u32::try_from(libc::POLLIN).expect("it is 1"),
            );
            // SAFETY: a poll is given no memory. Its descriptor is closed with `self`, and a
            // closed one would only end the poll.
            unsafe { self.ring.push(&poll.build().user_data(WAKE)) }?;
            self.polling = true;
        }
        self.ring.wait(at_most)?;
        self.take(finished)?;
        self.flush(finished);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::<EventBell>::clone(&self.bell)
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for UringWriter {
    /// Waits for the writes that are under way: their buffers may not be freed before. Should
    /// the kernel not answer, the buffers are leaked.
    fn drop(&mut self) {
        let mut finished = Vec::new();
        while !self.lent.is_empty() {
            let waited = self.ring.wait(None).and_then(|()| self.take(&mut finished));
            if waited.is_err() {
                return;
            }
        }
    }
}

impl Ring {
    /// Puts a request on the ring, making room if need be.
    ///
    /// # Safety
    /// What the request points to must stay valid, and unchanged if the kernel writes to it,
    /// until its completion was taken.
    unsafe fn push(&mut self, request: &squeue::Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: the caller promises what `SubmissionQueue::push` asks for.
        let pushed = unsafe { self.uring.submission().push(request) };
        pushed.map_err(|full| io::Error::other(format!("the submission queue stays full: {full}")))
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enable()?;
        match self.uring.submit() {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hands over what is on the ring and waits for one completion, at most so long.
    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        let entered = match at_most {
            None => self.uring.submit_and_wait(1),
            Some(at_most) => {
                let at_most = types::Timespec::from(at_most);
                let args = types::SubmitArgs::new().timespec(&at_most);
                self.uring.submitter().submit_with_args(1, &args)
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Binds the ring to this thread, the first time.
    fn enable(&mut self) -> io::Result<()> {
        if self.disabled {
            self.uring.submitter().register_enable_rings()?;
            self.disabled = false;
        }
        Ok(())
    }
}

/// Whether to look at the completions and come again: the time was over, a signal came, or the
/// kernel wants completions taken first.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// An eventfd that is rung once for any number of wake-ups.
#[derive(Debug)]
struct EventBell {
    event: OwnedFd,
    /// Rung and not yet heard: ringing again would only cost a call.
    rung: AtomicBool,
}

impl EventBell {
    fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, rung: AtomicBool::new(false) })
    }

    /// Who rings from now on is heard by the next wait; who rang before is heard by this one's
    /// caller, which looks at its queue after the wait.
    ///
    /// The eventfd is emptied first. The other way round, one who rings between the two steps
    /// has its ring taken away while `rung` stays set, and nobody rings again.
    fn clear(&self) {
        // An empty eventfd answers "again", which is as good.
        rustix::io::read(&self.event, &mut [0; 8]).unwrap_or_default();
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl Waker for EventBell {
    fn wake(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // Fails only when the counter is full, and then it is rung already.
            rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU32, thread};

    use super::*;

    #[test]
    fn a_bell_that_counts_as_rung_can_be_heard() {
        const ROUNDS: u32 = 50_000;
        let (bell, round, answered) =
            (EventBell::new().unwrap(), AtomicU32::new(0), AtomicU32::new(0));
        let mut lost = None;
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 1..=ROUNDS {
                    while round.load(Ordering::SeqCst) < at {
                        std::hint::spin_loop();
                    }
                    bell.wake();
                    answered.store(at, Ordering::SeqCst);
                }
            });
            for at in 1..=ROUNDS {
                round.store(at, Ordering::SeqCst);
                bell.clear();
                while answered.load(Ordering::SeqCst) < at {
                    std::hint::spin_loop();
                }
                let rung = bell.rung.load(Ordering::SeqCst);
                let heard = rustix::io::read(&bell.event, &mut [0; 8]).is_ok();
                if rung && !heard {
                    lost = Some(at);
                    // Lets the other thread run to its end.
                    round.store(ROUNDS, Ordering::SeqCst);
                    break;
                }
                bell.rung.store(false, Ordering::SeqCst);
            }
        });
        assert_eq!(lost, None, "in this round the bell was rung, and there was nothing to hear");
    }
}
