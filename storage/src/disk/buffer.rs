//! Memory that direct writes accept: it starts on a page.
//!
//! Owns nothing but its bytes. Safe code: a zeroed allocation that is one page too long, and the
//! window of it that starts on a page.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::ALIGN_BYTES;

/// Bytes whose first one lies on a multiple of [`ALIGN_BYTES`].
///
/// Allocated zeroed, so pages that were never written to cost no memory: a large buffer that
/// only ever carries small groups stays small. The bytes may move between threads; they do not
/// move in memory while the value lives.
pub struct AlignedBuffer {
    /// Longer than the window by up to a page.
    memory: Vec<u8>,
    /// Where the window starts.
    start: usize,
    /// How long the window is.
    bytes: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of at least `bytes`, rounded up to whole pages.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(ALIGN_BYTES);
        let memory = vec![0u8; bytes + ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        assert!(start < ALIGN_BYTES, "a byte pointer can always be moved up to a page's start");
        Self { memory, start, bytes }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_on_a_page_and_is_whole_pages_long() {
        for bytes in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let buffer = AlignedBuffer::zeroed(bytes);
            assert_eq!(buffer.as_ptr().align_offset(ALIGN_BYTES), 0, "of {bytes} bytes");
            assert_eq!(buffer.len(), bytes.next_multiple_of(ALIGN_BYTES));
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_buffer_keeps_its_place_when_it_is_moved() {
        let mut buffer = AlignedBuffer::zeroed(8192);
        buffer[8191] = 7;
        let at = buffer.as_ptr();
        let moved = Box::new(buffer);
        assert_eq!((moved.as_ptr(), moved[8191]), (at, 7));
    }
}
