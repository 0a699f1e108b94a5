//! Frames of the peer port, as drawn in `peer/mod.rs`.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncWriteExt as _, BufWriter},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use walrus_wire::frame::{LENGTH_BYTES, Measure};

use crate::net::frames::{Frame, FrameError, FrameReader};

/// The longest frame: a snapshot of the largest metadata.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// The longest frame of a peer that has not said who it is, or has not been told who is there.
pub const GREETING_BYTES_MAX: usize = 4 << 10;
/// What all frames that came in together may hold until they are dealt with.
pub const INCOMING_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Kind, number and subject.
const HEAD_BYTES: usize = 1 + 8 + 1;
/// A peer that says nothing at all for so long is let go; whoever needs it connects again.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// A peer that takes nothing for so long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Frames that may wait to be written on one connection.
pub const QUEUE_MAX: usize = 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who connects, and to whom.
    Hello,
    /// Whether it is let in.
    Welcome,
    /// A question.
    Request,
    /// Its answer.
    Answer,
}

impl Kind {
    const ALL: [(u8, Self); 4] =
        [(1, Self::Hello), (2, Self::Welcome), (3, Self::Request), (4, Self::Answer)];

    fn code(self) -> u8 {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.expect("every kind has a code").0
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The metadata group's messages.
    Raft,
    /// A node that is in no cluster yet asks to be taken in, or whether there is one.
    Join,
}

impl Subject {
    const ALL: [(u8, Self); 2] = [(1, Self::Raft), (2, Self::Join)];

    fn code(self) -> u8 {
        let found = Self::ALL.iter().find(|(_, subject)| *subject == self);
        found.expect("every subject has a code").0
    }

    /// The subject of that code, if this version knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, subject)| *subject)
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Incoming {
    /// What it is.
    pub kind: Kind,
    /// Which request it is or answers.
    pub number: u64,
    /// The code of its subject: a newer peer may ask for one that is not known here.
    pub subject: u8,
    /// The rest.
    pub body: Bytes,
    /// Its share of [`INCOMING_BYTES_MAX`]: held for as long as the body is.
    pub charge: Option<OwnedSemaphorePermit>,
}

/// A frame to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// What it is.
    pub kind: Kind,
    /// Which request it is or answers.
    pub number: u64,
    /// Its subject, in a request.
    pub subject: Option<Subject>,
    /// The rest.
    pub body: Bytes,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub struct PeerReader {
    frames: FrameReader,
    bytes_max: usize,
}

impl PeerReader {
    /// Reads greetings from `half`. `budget` is shared by all connections: see
    /// [`INCOMING_BYTES_MAX`].
    pub fn new(half: OwnedReadHalf, budget: Arc<Semaphore>) -> Self {
        let frames = FrameReader::new(half, budget, SILENCE_MAX);
        Self { frames, bytes_max: GREETING_BYTES_MAX }
    }

    /// Both ends know each other: frames may be long from now on.
    pub fn greeted(&mut self) {
        self.bytes_max = FRAME_BYTES_MAX;
    }

    /// The next frame; `None` when the peer ended the connection between two frames.
    ///
    /// # Errors
    /// [`FrameError`]; the connection cannot go on after any of them.
    pub async fn next(&mut self) -> Result<Option<Incoming>, FrameError> {
        let bytes_max = self.bytes_max;
        let next = self.frames.next(|bytes| measure(bytes, bytes_max)).await?;
        let Some(Frame { bytes: mut body, charge }) = next else { return Ok(None) };
        let kind = body.get_u8();
        let kind = Kind::from_code(kind)
            .ok_or_else(|| FrameError::Refused(format!("a frame of the unknown kind {kind}")))?;
        let (number, subject) = (body.get_u64(), body.get_u8());
        Ok(Some(Incoming { kind, number, subject, body, charge }))
    }
}

fn measure(bytes: &[u8], bytes_max: usize) -> Result<Measure, String> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(Measure::Need(LENGTH_BYTES));
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(HEAD_BYTES..=bytes_max).contains(&length) {
        return Err(format!(
            "a frame says it has {length} bytes; between {HEAD_BYTES} and {bytes_max} may be"
        ));
    }
    Ok(Measure::Frame(LENGTH_BYTES + length))
}

/// Writes frames until the queue ends or the peer goes.
///
/// # Errors
/// What the socket says, or `TimedOut` when the peer takes nothing for a while.
pub async fn write_all(
    half: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, half);
    while let Some(frame) = queue.recv().await {
        let stalled = tokio::time::timeout(WRITE_STALL_MAX, write_one(&mut out, &frame, &queue));
        stalled.await.map_err(|_elapsed| {
            io::Error::new(io::ErrorKind::TimedOut, "the peer took nothing for too long")
        })??;
    }
    out.shutdown().await
}

/// Writes one frame; what is small goes out when nothing more waits.
async fn write_one(
    out: &mut BufWriter<OwnedWriteHalf>,
    frame: &Outgoing,
    queue: &mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let length = u32::try_from(HEAD_BYTES + frame.body.len())
        .ok()
        .filter(|_| frame.body.len() <= FRAME_BYTES_MAX - HEAD_BYTES)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a frame is too long"))?;
    out.write_u32(length).await?;
    out.write_u8(frame.kind.code()).await?;
    out.write_u64(frame.number).await?;
    out.write_u8(frame.subject.map_or(0, Subject::code)).await?;
    out.write_all(&frame.body).await?;
    if queue.is_empty() { out.flush().await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_cannot_be_is_refused_before_its_body_is_read() {
        let of = |length: u32| measure(&length.to_be_bytes(), FRAME_BYTES_MAX);
        assert_eq!(measure(&[0, 0], FRAME_BYTES_MAX), Ok(Measure::Need(LENGTH_BYTES)));
        assert_eq!(of(10), Ok(Measure::Frame(14)));
        assert!(of(9).is_err() && of(0).is_err());
        assert!(of(u32::MAX).is_err() && of((256 << 20) + 1).is_err());
    }
}
