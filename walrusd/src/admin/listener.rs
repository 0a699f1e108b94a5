//! Connections of the admin port, bounded in number and in patience.
//!
//! A connection that was given no answer for [`SILENT_MAX`] is closed, whatever bytes trickle in:
//! so clients that send a byte a second cannot keep others out for long.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at once; the next one waits in the system's queue.
const CONNECTIONS_MAX: usize = 128;
/// Longest time without an answer.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// After a failure to accept, which is mostly a lack of descriptors, this long nothing is tried.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Hands out connections while there is room.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    silent_max: Duration,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { listener, room, silent_max: SILENT_MAX }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let room = Arc::clone(&self.room).acquire_owned().await;
            let room = room.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let silent_max = self.silent_max;
                    let patience = Box::pin(sleep(silent_max));
                    return (Connection { stream, patience, silent_max, _room: room }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting on the admin port failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One client of the admin port.
pub(super) struct Connection {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    silent_max: Duration,
    _room: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            let until = Instant::now() + self.silent_max;
            self.patience.as_mut().reset(until);
        } else if self.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_only_trickles_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded =
            Bounded { silent_max: Duration::from_millis(50), ..Bounded::new(listener) };
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        // Bytes are always there to be read, and yet reading ends.
        tokio::spawn(async move { while client.write_all(b"G").await.is_ok() {} });
        let mut byte = [0];
        let read = async {
            loop {
                if let Err(error) = connection.read_exact(&mut byte).await {
                    return error;
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), read).await;
        let ended = ended.expect("it must be closed long before");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }
}
