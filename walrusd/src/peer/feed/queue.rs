//! What waits to be written on the connection to one node.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};
use walrus_replication::{Member, Writer};

use crate::peer::{
    append::AppendMessage,
    frame::{self, APPEND_FRAME_BYTES_MAX, Outgoing},
};

/// Bytes that wait for one node, unless it is one message alone.
pub(super) const QUEUED_BYTES_MAX: usize = 32 << 20;
/// Messages that wait for one node: room for a word to each partition of a large one.
pub(super) const QUEUED_MAX: usize = 16 << 10;

/// The queue of one node. Closed until its connection is there.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// What waits or is being written. They rise under the lock and fall without it.
    bytes: AtomicUsize,
    frames: AtomicUsize,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// To whom, and as whom this node connected; `None` when it did not.
    open: Option<(Member, Writer)>,
    frames: Vec<Outgoing>,
}

impl Queue {
    /// The connection is there.
    pub(super) fn open(&self, to: Member, writer: Writer) {
        self.waiting.lock().open = Some((to, writer));
    }

    /// The connection is gone, and its writer: so is what waited.
    pub(super) fn close(&self) {
        let gone = {
            let mut waiting = self.waiting.lock();
            waiting.open = None;
            self.bytes.store(0, Relaxed);
            self.frames.store(0, Relaxed);
            std::mem::take(&mut waiting.frames)
        };
        // Buffers are given back without the lock.
        drop(gone);
    }

    /// Puts a message behind the others. False when that cannot be: see `Feeds::push`.
    pub(super) fn push(&self, to: Member, message: &AppendMessage) -> bool {
        let frame = message.frame();
        // The other end would refuse it, and with it whatever else is on its way.
        if frame.bytes() > APPEND_FRAME_BYTES_MAX {
            return false;
        }
        let mut waiting = self.waiting.lock();
        if waiting.open != Some((to, message.append.from)) {
            return false;
        }
        let (bytes, frames) = (self.bytes.load(Relaxed), self.frames.load(Relaxed));
        if frames >= QUEUED_MAX || (frames > 0 && bytes + frame.bytes() > QUEUED_BYTES_MAX) {
            return false;
        }
        self.bytes.fetch_add(frame.bytes(), Relaxed);
        self.frames.fetch_add(1, Relaxed);
        let wakes = waiting.frames.is_empty();
        waiting.frames.push(frame);
        drop(waiting);
        if wakes {
            self.filled.notify_one();
        }
        true
    }

    /// Writes what is pushed until that fails.
    pub(super) async fn write(&self, half: &OwnedWriteHalf) -> io::Error {
        let mut frames = Vec::new();
        loop {
            std::mem::swap(&mut self.waiting.lock().frames, &mut frames);
            if frames.is_empty() {
                // A push in between has left a permit.
                self.filled.notified().await;
                continue;
            }
            let left = |bytes| {
                self.bytes.fetch_sub(bytes, Relaxed);
                self.frames.fetch_sub(1, Relaxed);
            };
            if let Err(error) = frame::write_frames(half, &mut frames, left).await {
                return error;
            }
        }
    }
}
