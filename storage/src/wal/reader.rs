//! Reads ring files in large pieces, for recovery.
//!
//! Owns the piece that was read last. Knows no groups beyond where their headers may stand.

use std::{
    io,
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;

use super::{
    format::Header,
    ring::{GROUPS_START, Shape},
};
use crate::disk::{ALIGN_BYTES, AlignedBuffer, DiskFile};

/// What is read at once.
const WINDOW_BYTES: usize = 4 << 20;

/// One ring file, of which pieces are asked for roughly in order.
///
/// A file that is missing, or shorter than it should be, reads as zeros: those are no groups.
#[derive(Debug)]
pub(crate) struct Reader {
    file: Option<Arc<dyn DiskFile>>,
    shape: Shape,
    window: Bytes,
    window_at: u64,
    ahead: Option<Ahead>,
    /// Pages are asked for one by one, not groups.
    by_page: bool,
}

/// A piece to be read.
struct Load {
    file: Option<Arc<dyn DiskFile>>,
    at: u64,
    bytes: usize,
}

impl Load {
    fn read(&self) -> io::Result<AlignedBuffer> {
        let mut window = AlignedBuffer::zeroed(self.bytes);
        if let Some(file) = &self.file {
            file.read_at(&mut window, self.at)?;
        }
        Ok(window)
    }
}

/// A piece that is being read.
#[derive(Debug)]
struct Ahead {
    at: u64,
    bytes: usize,
    thread: JoinHandle<io::Result<AlignedBuffer>>,
}

impl Ahead {
    fn take(self) -> io::Result<AlignedBuffer> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")))
    }
}

impl Reader {
    pub(crate) const fn new(file: Option<Arc<dyn DiskFile>>, shape: Shape) -> Self {
        Self { file, shape, window: Bytes::new(), window_at: 0, ahead: None, by_page: false }
    }

    /// The bytes in `range`, which must lie inside the file's length.
    pub(crate) fn bytes(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        assert!(range.end <= self.shape.file_bytes, "{range:?} is past the file's end");
        let wanted = length(range.end - range.start);
        let window_end = self.window_at + self.window.len() as u64;
        if range.start < self.window_at || range.end > window_end {
            let window = match self.ahead.take() {
                Some(ahead) if ahead.at == range.start && ahead.bytes >= wanted => ahead.take()?,
                _ => self.load(range.start, wanted.max(WINDOW_BYTES)).read()?,
            };
            self.window = Bytes::from_owner(window);
            self.window_at = range.start;
            self.read_ahead();
        }
        let start = length(range.start - self.window_at);
        Ok(self.window.slice(start..start + wanted))
    }

    /// What is to be read at `at`, no more than the file has.
    fn load(&self, at: u64, bytes: usize) -> Load {
        let left = length(self.shape.file_bytes - at);
        Load { file: self.file.clone(), at, bytes: bytes.min(left) }
    }

    /// Starts reading the piece that will probably be asked for next, while this one is used.
    fn read_ahead(&mut self) {
        let at = self.next_window();
        if at < self.shape.file_bytes && self.file.is_some() {
            let load = self.load(at, WINDOW_BYTES);
            let bytes = load.bytes;
            let thread = thread::Builder::new().name("wal-read".to_owned());
            // Without a thread the piece is read when it is asked for.
            self.ahead =
                thread.spawn(move || load.read()).ok().map(|thread| Ahead { at, bytes, thread });
        }
    }

    /// Where the first group begins that does not lie whole in the window; its end when pages
    /// are looked at one by one, or when there are no groups to follow.
    fn next_window(&self) -> u64 {
        let end = self.window_at + self.window.len() as u64;
        let mut at = self.window_at;
        while !self.by_page && at < end {
            let page = &self.window[length(at - self.window_at)..];
            let Some(header) = Header::parse(page, self.shape.ring_id) else { break };
            if at + u64::from(header.bytes) > end {
                return if at > self.window_at { at } else { end };
            }
            at += u64::from(header.bytes);
        }
        end
    }

    /// The header at `at`, when a whole group of that length would fit there.
    pub(crate) fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        if self.file.is_none() || at + ALIGN_BYTES as u64 > self.shape.file_bytes {
            return Ok(None);
        }
        let page = self.bytes(at..at + ALIGN_BYTES as u64)?;
        let header = Header::parse(&page, self.shape.ring_id);
        Ok(header.filter(|header| at + u64::from(header.bytes) <= self.shape.file_bytes))
    }

    /// The header of the file's first group. Reads one page and keeps nothing.
    pub(crate) fn first_header(&self) -> io::Result<Option<Header>> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut page = AlignedBuffer::zeroed(ALIGN_BYTES);
        file.read_at(&mut page, GROUPS_START)?;
        let header = Header::parse(&page, self.shape.ring_id);
        Ok(header.filter(|header| GROUPS_START + u64::from(header.bytes) <= self.shape.file_bytes))
    }

    /// Every header from `at` on, whatever lies between: looks at each page.
    pub(crate) fn headers_from(
        &mut self,
        mut at: u64,
        each: &mut dyn FnMut(u64, Header) -> Next,
    ) -> io::Result<()> {
        self.by_page = true;
        while at < self.shape.file_bytes && self.file.is_some() {
            if let Some(header) = self.header(at)?
                && each(at, header) == Next::Stop
            {
                return Ok(());
            }
            at += ALIGN_BYTES as u64;
        }
        Ok(())
    }
}

/// Whether to look further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Go,
    Stop,
}

/// A length inside a ring file.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a ring file is at most 1 GiB")
}
