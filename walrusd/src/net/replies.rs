//! Answers leave in the order of their requests, whatever order they were finished in.
//!
//! The reader queues one [`Reply`] a request; the writer takes them in order and waits for each.
//! A reply that must wait (an ack, a long poll) is a future that the writer runs when its turn
//! has come, so a connection holds the bytes of one large answer at a time.

use std::{io, io::IoSlice, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use futures::FutureExt as _;
use tokio::{
    io::AsyncWriteExt as _,
    net::tcp::OwnedWriteHalf,
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::clients::Connection;

/// Bytes of one answer, in pieces, its length in front.
#[derive(Debug, Default)]
pub struct Frames {
    pieces: Vec<Bytes>,
    /// The answer's share of the budget for bytes on their way to clients.
    charges: Vec<OwnedSemaphorePermit>,
}

impl From<Vec<Bytes>> for Frames {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self { pieces, charges: Vec::new() }
    }
}

impl From<Bytes> for Frames {
    fn from(piece: Bytes) -> Self {
        Self::from(vec![piece])
    }
}

impl Frames {
    /// The same bytes, which give back `charges` when they are written.
    #[must_use]
    pub fn charged(self, charges: Vec<OwnedSemaphorePermit>) -> Self {
        Self { charges, ..self }
    }
}

/// What becomes of a request.
pub enum Reply {
    /// The answer is there.
    Ready(Frames),
    /// The answer comes of this.
    Later(Pin<Box<dyn Future<Output = Frames> + Send>>),
    /// Nothing is sent (acks = 0).
    Silent,
    /// Nothing is sent and the connection ends, after the replies before it.
    Close,
}

impl Reply {
    /// A reply that has to be waited for.
    pub fn later(answer: impl Future<Output = Frames> + Send + 'static) -> Self {
        Self::Later(Box::pin(answer))
    }
}

/// Small answers that are ready together leave in one write.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// Pieces handed to the kernel at once; Linux takes 1024.
const PIECES_PER_WRITE_MAX: usize = 512;
/// A client that takes nothing for this long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// Writes replies until the queue ends, the client goes, or a reply closes the connection.
///
/// # Errors
/// What the socket says, or `TimedOut` when the client takes nothing for a minute.
pub async fn write_in_order(
    mut half: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Reply>,
    connection: Arc<Connection>,
) -> io::Result<()> {
    let mut gathered = Frames::default();
    let mut next = queue.recv().await;
    while let Some(reply) = next.take() {
        match reply {
            Reply::Ready(frames) => gathered.add(frames),
            Reply::Later(mut answer) => match answer.as_mut().now_or_never() {
                Some(frames) => gathered.add(frames),
                None => {
                    // What is ready must not wait for what is not.
                    connection.took(gathered.write(&mut half).await?);
                    gathered.add(answer.await);
                }
            },
            Reply::Silent => {}
            Reply::Close => break,
        }
        connection.answered();
        next = if gathered.bytes() < GATHERED_BYTES_MAX { queue.try_recv().ok() } else { None };
        if next.is_none() {
            connection.took(gathered.write(&mut half).await?);
            next = queue.recv().await;
        }
    }
    connection.took(gathered.write(&mut half).await?);
    half.shutdown().await
}

impl Frames {
    fn add(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
        self.charges.extend(other.charges);
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Writes all pieces and gives back what they were charged; answers how many bytes they had.
    async fn write(&mut self, half: &mut OwnedWriteHalf) -> io::Result<usize> {
        let bytes = self.bytes();
        write_pieces(half, &mut self.pieces).await?;
        self.charges.clear();
        Ok(bytes)
    }
}

async fn write_pieces(half: &mut OwnedWriteHalf, pieces: &mut Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < pieces.len() {
        let slices: Vec<IoSlice<'_>> = pieces[first..]
            .iter()
            .take(PIECES_PER_WRITE_MAX)
            .map(|piece| IoSlice::new(piece))
            .collect();
        let written = tokio::time::timeout(WRITE_STALL_MAX, half.write_vectored(&slices))
            .await
            .map_err(|_elapsed| {
            io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for 60 s")
        })??;
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        first += consume(&mut pieces[first..], written);
    }
    pieces.clear();
    Ok(())
}

/// Takes `written` bytes off the front; answers how many pieces are wholly gone.
fn consume(pieces: &mut [Bytes], mut written: usize) -> usize {
    for (index, piece) in pieces.iter_mut().enumerate() {
        if written < piece.len() {
            piece.advance(written);
            return index;
        }
        written -= piece.len();
        *piece = Bytes::new();
    }
    pieces.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        for (written, gone, rest) in [(0, 0, 3), (2, 0, 1), (3, 1, 2), (4, 1, 1), (5, 2, 0)] {
            let mut pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
            assert_eq!(consume(&mut pieces, written), gone, "{written} bytes");
            assert_eq!(pieces.get(gone).map_or(0, Bytes::len), rest, "{written} bytes");
        }
    }
}
