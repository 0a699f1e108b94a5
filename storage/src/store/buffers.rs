//! Buffers for reads of segment files, used again when the last slice of one is dropped.
//!
//! A fresh buffer of a megabyte costs a quarter of a thousand page faults; a used one none.

use std::{mem, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

/// The two lengths that are kept. Both have room for an index interval before what is wanted.
const LENGTHS: [usize; 2] = [(256 << 10) + (32 << 10), (1 << 20) + (64 << 10)];
/// Reads below this take memory of their own.
const POOLED_MIN: usize = 64 << 10;
/// How many buffers of each length are kept for later.
const KEPT_MAX: usize = 8;

/// The buffers that nobody uses now.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadBuffers {
    idle: Arc<[Mutex<Vec<Vec<u8>>>; 2]>,
}

/// A buffer in use. Goes back when it, or the last slice of what it was frozen to, is dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    pool: Option<(ReadBuffers, usize)>,
}

impl ReadBuffers {
    /// A buffer of at least `length` bytes, of no particular content.
    pub(crate) fn take(&self, length: usize) -> ReadBuffer {
        let class = LENGTHS.iter().position(|class| length <= *class);
        let Some(class) = class.filter(|_| length > POOLED_MIN) else {
            return ReadBuffer { bytes: vec![0; length], pool: None };
        };
        let idle = self.idle[class].lock().pop();
        let bytes = idle.unwrap_or_else(|| vec![0; LENGTHS[class]]);
        ReadBuffer { bytes, pool: Some((self.clone(), class)) }
    }
}

impl ReadBuffer {
    /// Its bytes, to be shared.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for ReadBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if let Some((pool, class)) = &self.pool {
            let mut idle = pool.idle[*class].lock();
            if idle.len() < KEPT_MAX {
                idle.push(mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_its_last_slice_is_gone() {
        let buffers = ReadBuffers::default();
        let mut buffer = buffers.take(100 << 10);
        buffer.as_mut()[0] = 42;
        let slice = buffer.freeze().slice(0..10);
        assert!(buffers.idle[0].lock().is_empty());
        drop(slice);
        assert_eq!(buffers.idle[0].lock().len(), 1);
        assert_eq!(buffers.take(200 << 10).as_ref()[0], 42);
    }
}
