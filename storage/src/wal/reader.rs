//! Reads ring files in large pieces, for recovery.
//!
//! Owns the piece that was read last. Knows no groups beyond where their headers may stand.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    format::Header,
    ring::{GROUPS_START, Shape},
};
use crate::disk::{ALIGN_BYTES, DiskFile};

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
}

impl Reader {
    pub(crate) const fn new(file: Option<Arc<dyn DiskFile>>, shape: Shape) -> Self {
        Self { file, shape, window: Bytes::new(), window_at: 0 }
    }

    /// The bytes in `range`, which must lie inside the file's length.
    pub(crate) fn bytes(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        assert!(range.end <= self.shape.file_bytes, "{range:?} is past the file's end");
        let wanted = usize::try_from(range.end - range.start).expect("a file is at most 1 GiB");
        let window_end = self.window_at + self.window.len() as u64;
        if range.start < self.window_at || range.end > window_end {
            let left = usize::try_from(self.shape.file_bytes - range.start)
                .expect("a file is at most 1 GiB");
            let mut window = vec![0; wanted.max(WINDOW_BYTES).min(left)];
            if let Some(file) = &self.file {
                file.read_at(&mut window, range.start)?;
            }
            self.window = Bytes::from(window);
            self.window_at = range.start;
        }
        let start = usize::try_from(range.start - self.window_at).expect("it lies in the window");
        Ok(self.window.slice(start..start + wanted))
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
        let mut page = vec![0; ALIGN_BYTES];
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
