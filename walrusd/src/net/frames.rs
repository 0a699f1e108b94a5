//! Cuts length-prefixed frames out of a client's bytes.
//!
//! Memory follows what was sent, never what was claimed: the buffer grows by doubling as bytes
//! arrive, up to the size of the frame before it at once, and what it holds beyond a small
//! allowance is charged to the node's budget for requests.

use std::{io, mem, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt as _,
    net::tcp::OwnedReadHalf,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use walrus_wire::frame::{LENGTH_BYTES, Measure, room};

/// What a connection may hold without asking the budget.
const FREE_BYTES: usize = 64 << 10;
/// The first allocation for a connection.
const BUFFER_BYTES: usize = 8 << 10;
/// The most that one step of growth adds.
const GROWTH_BYTES_MAX: usize = 1 << 20;
/// A frame of this size is the only one in its memory, so that its batch can be kept where it is.
const OWNED_BYTES_MIN: usize = 32 << 10;
/// A frame that has begun must go on: a client may not hold its part of the budget for ever.
const FRAME_STALL_MAX: Duration = Duration::from_secs(30);

/// Why a connection's bytes are read no further.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// The client went in the middle of a frame.
    #[error("the client went in the middle of a frame, {have} of {need} bytes")]
    Cut {
        /// Bytes that came.
        have: usize,
        /// Bytes that the frame takes.
        need: usize,
    },
    /// The length, or the size for this kind of request, is not acceptable.
    #[error("{0}")]
    Refused(String),
    /// Nothing came for longer than an idle connection is kept.
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    /// A frame began and did not go on.
    #[error("a frame stalled for {0:?}")]
    Stalled(Duration),
}

/// A frame, with its share of the request budget until it is dropped.
#[derive(Debug)]
pub struct Frame {
    /// The bytes behind the length prefix.
    pub bytes: Bytes,
    /// Held for as long as the frame's memory is.
    pub charge: Option<OwnedSemaphorePermit>,
}

/// One connection's incoming side.
#[derive(Debug)]
pub struct FrameReader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    /// What the last frame took: one that claims as much gets that room at once, and is not
    /// copied from buffer to buffer while it grows.
    last_bytes: usize,
    budget: Arc<Semaphore>,
    idle_max: Duration,
}

impl FrameReader {
    /// Reads from `half`; `budget` counts the bytes that all requests may hold.
    pub fn new(half: OwnedReadHalf, budget: Arc<Semaphore>, idle_max: Duration) -> Self {
        Self { half, buffer: BytesMut::new(), last_bytes: 0, budget, idle_max }
    }

    /// Waits until at least `count` bytes are there and shows them; fewer when the client ended.
    ///
    /// # Errors
    /// [`FrameError::Io`] or [`FrameError::Idle`].
    pub async fn peek(&mut self, count: usize) -> Result<&[u8], FrameError> {
        while self.buffer.len() < count {
            self.buffer.reserve(BUFFER_BYTES);
            let read = tokio::time::timeout(self.idle_max, self.half.read_buf(&mut self.buffer));
            if read.await.map_err(|_elapsed| FrameError::Idle(self.idle_max))?? == 0 {
                break;
            }
        }
        Ok(&self.buffer[..count.min(self.buffer.len())])
    }

    /// The next frame; `None` when the client ended between two frames. `measure` judges the bytes
    /// that are there: it refuses a frame before its body is read.
    ///
    /// # Errors
    /// [`FrameError`]; the connection cannot go on after any of them.
    pub async fn next(
        &mut self,
        measure: impl Fn(&[u8]) -> Result<Measure, String>,
    ) -> Result<Option<Frame>, FrameError> {
        let mut charge: Option<OwnedSemaphorePermit> = None;
        let need = loop {
            let need = match measure(&self.buffer).map_err(FrameError::Refused)? {
                Measure::Frame(need) => break need,
                Measure::Need(need) => need,
            };
            let have = self.buffer.len();
            if !self.read_more(need - have, &mut charge).await? {
                return if have == 0 { Ok(None) } else { Err(FrameError::Cut { have, need }) };
            }
        };
        while self.buffer.len() < need {
            let missing = need - self.buffer.len();
            if !self.read_more(missing, &mut charge).await? {
                return Err(FrameError::Cut { have: self.buffer.len(), need });
            }
        }
        self.last_bytes = need;
        let mut frame = if self.buffer.len() == need && need >= OWNED_BYTES_MIN {
            mem::take(&mut self.buffer)
        } else {
            self.buffer.split_to(need)
        };
        frame.advance(LENGTH_BYTES);
        let bytes = frame.freeze();
        Ok(Some(Frame { bytes, charge }))
    }

    /// Reads some bytes, making room for up to `missing` first. False when the client ended.
    async fn read_more(
        &mut self,
        missing: usize,
        charge: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<bool, FrameError> {
        if self.buffer.capacity() == self.buffer.len() {
            // Grow by what is there already: a claim alone never makes room.
            let have = self.buffer.len();
            let proven = self.last_bytes.saturating_sub(have);
            let growth = room(have + missing, have).min(GROWTH_BYTES_MAX).max(missing.min(proven));
            let growth = growth.max(BUFFER_BYTES);
            let after = self.buffer.len() + growth;
            let held = charge.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if after > FREE_BYTES + held {
                let more = u32::try_from(after - FREE_BYTES - held).unwrap_or(u32::MAX);
                let permit = Arc::clone(&self.budget).acquire_many_owned(more);
                // Half-read frames that wait for each other's share must not wait for ever.
                let permit = tokio::time::timeout(FRAME_STALL_MAX, permit)
                    .await
                    .map_err(|_elapsed| FrameError::Stalled(FRAME_STALL_MAX))?
                    .map_err(|_closed| io::Error::from(io::ErrorKind::ConnectionAborted))?;
                match charge {
                    Some(held) => held.merge(permit),
                    None => *charge = Some(permit),
                }
            }
            self.buffer.reserve(growth);
        }
        let between_frames = self.buffer.is_empty();
        let patience = if between_frames { self.idle_max } else { FRAME_STALL_MAX };
        let read = tokio::time::timeout(patience, self.half.read_buf(&mut self.buffer)).await;
        match read {
            Ok(read) => Ok(read? > 0),
            Err(_elapsed) if between_frames => Err(FrameError::Idle(patience)),
            Err(_elapsed) => Err(FrameError::Stalled(patience)),
        }
    }
}
