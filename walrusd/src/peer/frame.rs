//! Frames of the peer port, as drawn in `peer/mod.rs`.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::coop::consume_budget,
};
use walrus_raft::Lane;
use walrus_types::limits::BATCH_BYTES_MAX;
use walrus_wire::frame::{LENGTH_BYTES, Measure};

use crate::net::frames::{Frame, FrameError, FrameReader};

/// The longest frame: a snapshot of the largest metadata.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// The longest frame of a peer that has not said who it is, or has not been told who is there.
pub const GREETING_BYTES_MAX: usize = 4 << 10;
/// The longest frame of the lane that appends come on: the largest batch and what is said with it.
pub const APPEND_FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + (4 << 10);
/// What all frames that came in together may hold until they are dealt with.
pub const INCOMING_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Kind, number and subject.
const HEAD_BYTES: usize = 1 + 8 + 1;
/// Length, kind, number and subject.
const PREFIX_BYTES: usize = LENGTH_BYTES + HEAD_BYTES;
/// What a push may say before its body.
pub const PUSH_HEAD_BYTES_MAX: usize = 80;
/// A peer that says nothing at all for so long is let go; whoever needs it connects again. One
/// that is gone is noticed long before: see [`prepare`].
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A connection on which nothing happens is tried after so long, and then as often.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// A host that confirms nothing of what it was sent for so long is gone. Longer than a lease, so
/// that a pause that costs nobody his lease costs no connection either; short, because a
/// connection that outlives a partition of the network is repeated at ever longer intervals.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(4);
/// A peer that takes nothing for so long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Frames that may wait to be written on one connection.
pub const QUEUE_MAX: usize = 1024;
/// Frames that are taken off a queue to be written together.
pub const TOGETHER_MAX: usize = 256;
/// Pieces that the system is handed at once. Linux takes 1024.
const PIECES_MAX: usize = 256;

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
    /// What is not answered. Pushes of one connection arrive in their order.
    Push,
}

impl Kind {
    const ALL: [(u8, Self); 5] = [
        (1, Self::Hello),
        (2, Self::Welcome),
        (3, Self::Request),
        (4, Self::Answer),
        (5, Self::Push),
    ];

    fn code(self) -> u8 {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.expect("every kind has a code").0
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }
}

/// Whom a request or a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The metadata group's messages.
    Raft,
    /// A node that is in no cluster yet asks to be taken in, or whether there is one.
    Join,
    /// A node is alive, and what the controller says to that.
    Beat,
    /// The controller asks to refuse a life of a node, and what is here of its segments.
    Fence,
    /// The controller asks to make a copy.
    Copy,
    /// Batches that are here.
    Read,
    /// A push: a leader's batch for a member. See [`append`](super::append).
    Append,
    /// A push back: where a member stands.
    Position,
    /// The controller asks a leader to roll.
    Order,
    /// What a client of the text protocol wants, and another node can do; and what nodes ask each
    /// other about lag.
    Text,
    /// The controller asks for a copy of a sealed segment.
    Repair,
}

impl Subject {
    const ALL: [(u8, Self); 11] = [
        (1, Self::Raft),
        (2, Self::Join),
        (3, Self::Beat),
        (4, Self::Fence),
        (5, Self::Copy),
        (6, Self::Read),
        (7, Self::Append),
        (8, Self::Position),
        (9, Self::Order),
        (10, Self::Repair),
        (11, Self::Text),
    ];

    /// Its number in a frame.
    pub fn code(self) -> u8 {
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

/// A frame to be sent. What comes before its body is drawn already, in place; the body is shared
/// with whoever made it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    start: [u8; PREFIX_BYTES + PUSH_HEAD_BYTES_MAX],
    start_bytes: usize,
    body: Bytes,
}

impl Outgoing {
    /// A hello, a welcome, a request or an answer.
    pub fn new(kind: Kind, number: u64, subject: Option<Subject>, body: Bytes) -> Self {
        Self::with_head((kind, number, subject), &[], body)
    }

    /// A push, whose body begins with `head`.
    ///
    /// # Panics
    /// When the head is longer than [`PUSH_HEAD_BYTES_MAX`].
    pub fn push(subject: Subject, head: &[u8], body: Bytes) -> Self {
        Self::with_head((Kind::Push, 0, Some(subject)), head, body)
    }

    fn with_head(
        (kind, number, subject): (Kind, u64, Option<Subject>),
        head: &[u8],
        body: Bytes,
    ) -> Self {
        let mut start = [0; PREFIX_BYTES + PUSH_HEAD_BYTES_MAX];
        let start_bytes = PREFIX_BYTES + head.len();
        // One that is too long for the field is too long to be written: see `check`.
        let length = u32::try_from(HEAD_BYTES + head.len() + body.len()).unwrap_or(u32::MAX);
        let mut out = &mut start[..start_bytes];
        out.put_u32(length);
        out.put_u8(kind.code());
        out.put_u64(number);
        out.put_u8(subject.map_or(0, Subject::code));
        out.put_slice(head);
        Self { start, start_bytes, body }
    }

    /// The rest, behind what is drawn in place.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What it takes on the wire.
    pub fn bytes(&self) -> usize {
        self.start_bytes + self.body.len()
    }

    fn pieces(&self) -> [&[u8]; 2] {
        [&self.start[..self.start_bytes], &self.body]
    }

    fn check(&self) -> io::Result<()> {
        if self.bytes() - LENGTH_BYTES <= FRAME_BYTES_MAX {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "a frame is too long"))
    }
}

/// Makes a connection between nodes quick to send and quick to notice that the other host is gone.
///
/// # Errors
/// What the system says.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(UNCONFIRMED_MAX))
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

    /// Both ends know each other: frames may be long from now on, as the lane needs.
    pub fn greeted(&mut self, lane: Lane) {
        self.bytes_max = match lane {
            Lane::Control | Lane::Bulk | Lane::Copy => FRAME_BYTES_MAX,
            Lane::Append => APPEND_FRAME_BYTES_MAX,
        };
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
    mut half: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut frames = Vec::new();
    while queue.recv_many(&mut frames, TOGETHER_MAX).await > 0 {
        write_frames(&half, &mut frames, |_bytes| {}).await?;
    }
    half.shutdown().await
}

/// Writes these frames and lets each go as soon as it has left; `left` hears how many bytes it
/// had. Nothing is copied but into the socket, and as many frames as it takes go in one call.
///
/// # Errors
/// As [`write_all`]. The connection cannot go on, nor can it when this is given up half way.
pub async fn write_frames(
    half: &OwnedWriteHalf,
    frames: &mut Vec<Outgoing>,
    mut left: impl FnMut(usize),
) -> io::Result<()> {
    frames.iter().try_for_each(Outgoing::check)?;
    let (mut first, mut skip) = (0, 0);
    while first < frames.len() {
        match write_some(half, &frames[first..], skip) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => skip += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let room = tokio::time::timeout(WRITE_STALL_MAX, half.writable());
                room.await.map_err(|_elapsed| {
                    io::Error::new(io::ErrorKind::TimedOut, "the peer took nothing for too long")
                })??;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        while let Some(frame) = frames.get_mut(first)
            && skip >= frame.bytes()
        {
            skip -= frame.bytes();
            left(frame.bytes());
            frame.body = Bytes::new();
            first += 1;
        }
        consume_budget().await;
    }
    frames.clear();
    frames.shrink_to(TOGETHER_MAX);
    Ok(())
}

/// Writes what the socket takes of these frames, past the first `skip` bytes of the first one.
fn write_some(half: &OwnedWriteHalf, frames: &[Outgoing], mut skip: usize) -> io::Result<usize> {
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let mut count = 0;
    for piece in frames.iter().flat_map(Outgoing::pieces) {
        let rest = piece.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(piece.len());
        if rest.is_empty() {
            continue;
        }
        if count == PIECES_MAX {
            break;
        }
        pieces[count] = IoSlice::new(rest);
        count += 1;
    }
    half.try_write_vectored(&pieces[..count])
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (here, there) = (connected.unwrap(), accepted.unwrap().0);
        prepare(&here).unwrap();
        (here, there)
    }

    #[tokio::test]
    async fn frames_of_all_sizes_leave_whole_and_in_order_through_a_socket_that_takes_little() {
        let seed = rand::random();
        println!("seed {seed}");
        let random = &mut StdRng::seed_from_u64(seed);
        let (here, mut there) = pair().await;
        SockRef::from(&here).set_send_buffer_size(4 << 10).unwrap();
        let (_read, half) = here.into_split();
        let (mut frames, mut expected) = (Vec::new(), Vec::new());
        for number in 0..600_u32 {
            let sizes = if number % 100 == 7 { 0..300_000 } else { 0..200 };
            let body: Vec<u8> = (0..random.random_range(sizes)).map(|_| random.random()).collect();
            let head = &body[..random.random_range(0..=body.len().min(PUSH_HEAD_BYTES_MAX))];
            let length = u32::try_from(HEAD_BYTES + head.len() + body.len()).unwrap();
            expected.extend(length.to_be_bytes());
            expected.extend([5, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
            expected.extend([head, &body].concat());
            frames.push(Outgoing::push(Subject::Append, head, Bytes::from(body.clone())));
        }
        let sent: usize = frames.iter().map(Outgoing::bytes).sum();
        let writing = async move {
            let mut left = 0;
            write_frames(&half, &mut frames, |bytes| left += bytes).await.unwrap();
            assert!(frames.is_empty());
            left
        };
        let reading = async {
            let mut came = Vec::new();
            there.read_to_end(&mut came).await.unwrap();
            came
        };
        let (left, came) = tokio::join!(writing, reading);
        assert_eq!(left, sent, "seed {seed}");
        assert!(came == expected, "seed {seed}");
    }

    #[tokio::test]
    async fn a_frame_that_the_other_end_would_refuse_is_not_begun() {
        let (here, _there) = pair().await;
        let (_read, half) = here.into_split();
        let body = Bytes::from(vec![0; FRAME_BYTES_MAX]);
        let mut frames = vec![Outgoing::push(Subject::Append, &[], body)];
        let refused = write_frames(&half, &mut frames, |_bytes| {}).await;
        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn a_frame_that_cannot_be_is_refused_before_its_body_is_read() {
        let of = |length: u32| measure(&length.to_be_bytes(), FRAME_BYTES_MAX);
        assert_eq!(measure(&[0, 0], FRAME_BYTES_MAX), Ok(Measure::Need(LENGTH_BYTES)));
        assert_eq!(of(10), Ok(Measure::Frame(14)));
        assert!(of(9).is_err() && of(0).is_err());
        assert!(of(u32::MAX).is_err() && of((256 << 20) + 1).is_err());
    }
}
