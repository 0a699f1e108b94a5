//! Answering other nodes, and taking what they push.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::{Notify, Semaphore, mpsc},
    task::JoinSet,
};
use tracing::{debug, warn};
use walrus_raft::Lane;

use super::{
    append::AnswerMessage,
    frame::{
        self, INCOMING_BYTES_MAX, Incoming, Kind, Outgoing, PeerReader, QUEUE_MAX, Subject,
        TOGETHER_MAX,
    },
    hello::{self, Hello, PeerIdentity, Welcome},
};
use crate::shutdown::Tasks;

/// Connections from other nodes. A cluster of a hundred nodes needs a few hundred.
const CONNECTIONS_MAX: usize = 4096;
/// Requests of one connection that are dealt with at the same time.
const UNDER_WAY_MAX: usize = 256;
/// A connection that does not say who it is for so long is no peer's.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// After the process ran out of descriptors, accepting waits this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Answers to pushes that may wait for a peer to take them: some 300,000.
pub const BACK_BYTES_MAX: usize = 16 << 20;

/// What a node answers.
pub trait Serve: Send + Sync + 'static {
    /// Whether this node talks to that one.
    fn welcome(&self, hello: &Hello) -> Welcome;

    /// The answer to a request.
    fn answer(
        &self,
        from: PeerIdentity,
        subject: Subject,
        body: Bytes,
    ) -> BoxFuture<'static, Bytes>;

    /// A push came. Called in the order of the connection, from its task: it must not block, and
    /// the next one waits for it. Answers go to `back`, now or later.
    fn pushed(&self, from: PeerIdentity, subject: Subject, body: Bytes, back: &Back);

    /// A connection on this lane that was welcomed has ended; another one may be there already.
    fn ended(&self, from: PeerIdentity, lane: Lane);
}

/// The way back on a connection that pushes came on. Clones share it.
///
/// Answers that are given while others are being written wait and leave together, as one frame.
#[derive(Debug, Clone, Default)]
pub struct Back(Arc<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    answers: Mutex<Answers>,
    filled: Notify,
}

#[derive(Debug)]
enum Answers {
    /// Drawn, one behind the other.
    Waiting(BytesMut),
    /// The connection ends, or has ended: nobody could be told.
    Ended,
}

impl Default for Answers {
    fn default() -> Self {
        Self::Waiting(BytesMut::new())
    }
}

impl Back {
    /// Answers, unless the connection has ended. Never blocks; a peer that pushes and takes no
    /// answers loses the connection.
    pub fn answer(&self, message: AnswerMessage) {
        let wakes = match &mut *self.0.answers.lock() {
            Answers::Waiting(bytes) if bytes.len() < BACK_BYTES_MAX => {
                let first = bytes.is_empty();
                message.encode(bytes);
                first
            }
            answers @ Answers::Waiting(_) => {
                *answers = Answers::Ended;
                true
            }
            Answers::Ended => false,
        };
        if wakes {
            self.0.filled.notify_one();
        }
    }

    /// Ends the connection, because what came on it makes no sense.
    pub fn end(&self) {
        *self.0.answers.lock() = Answers::Ended;
        self.0.filled.notify_one();
    }

    /// Waits until there may be answers, or the end. Cancel safe, for one who waits.
    pub(super) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// What was answered since the last time, as [`decode_answers`](super::append::decode_answers)
    /// reads it; `None` after the end.
    pub fn take(&self) -> Option<Bytes> {
        match &mut *self.0.answers.lock() {
            Answers::Waiting(bytes) if bytes.is_empty() => Some(Bytes::new()),
            // The rest of the buffer is used on, and all of it when these have left.
            Answers::Waiting(bytes) => Some(bytes.split().freeze()),
            Answers::Ended => None,
        }
    }
}

/// Ends the way back when the connection's writer ends, however it does: nothing is gathered for
/// a peer that is gone.
struct EndBack(Back);

impl Drop for EndBack {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Says that a connection has ended, however it does.
struct SayEnded {
    serves: Arc<dyn Serve>,
    from: PeerIdentity,
    lane: Lane,
}

impl Drop for SayEnded {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.serves.ended(self.from, self.lane);
        }
    }
}

/// Accepts peers for as long as it is polled.
pub async fn accept(listener: TcpListener, serves: Arc<dyn Serve>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let budget = Arc::new(Semaphore::new(INCOMING_BYTES_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, address)) => {
                let (serves, budget) = (Arc::clone(&serves), Arc::clone(&budget));
                tasks.spawn("peer connection", async move {
                    serve(stream, address, serves, budget).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a peer's connection cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    serves: Arc<dyn Serve>,
    budget: Arc<Semaphore>,
) {
    if frame::prepare(&stream).is_err() {
        return;
    }
    let (read_half, write_half) = stream.into_split();
    let mut reader = PeerReader::new(read_half, budget);
    let (queue, frames) = mpsc::channel(QUEUE_MAX);
    let back = Back::default();
    // In a set, so that it ends with this task, however that ends.
    let mut writer = JoinSet::new();
    writer.spawn(write(write_half, frames, EndBack(back.clone())));
    let mut written = None;
    if let Some(Hello { from, lane, .. }) = greet(&mut reader, &queue, address, &*serves).await {
        reader.greeted(lane);
        let _said = SayEnded { serves: Arc::clone(&serves), from, lane };
        tokio::select! {
            () = answer_all(&mut reader, (&queue, &back), from, &serves) => {}
            // What cannot be answered must not be taken either.
            ended = writer.join_next() => written = ended,
        }
    }
    // What is written already still leaves.
    drop(queue);
    let written = match written {
        Some(written) => Some(written),
        None => writer.join_next().await,
    };
    if let Some(Ok(Err(error))) = written {
        debug!(%address, %error, "writing to a peer failed");
    }
}

/// Writes answers, and what goes back, until the queue ends, the peer goes or the way back ends.
async fn write(
    mut half: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    ends: EndBack,
) -> io::Result<()> {
    let back = &ends.0;
    let mut frames = Vec::new();
    loop {
        let open = tokio::select! {
            count = queue.recv_many(&mut frames, TOGETHER_MAX) => count > 0,
            () = back.filled() => true,
        };
        let Some(answers) = back.take() else {
            return Err(io::Error::other("it pushes what makes no sense, or takes no answers"));
        };
        if !answers.is_empty() {
            frames.push(Outgoing::push(Subject::Position, &[], answers));
        }
        frame::write_frames(&half, &mut frames, |_bytes| {}).await?;
        if !open {
            return half.shutdown().await;
        }
    }
}

/// Who connected and for what, if this node talks to it.
async fn greet(
    reader: &mut PeerReader,
    queue: &mpsc::Sender<Outgoing>,
    address: SocketAddr,
    serves: &dyn Serve,
) -> Option<Hello> {
    let first = match tokio::time::timeout(HELLO_MAX, reader.next()).await {
        Ok(Ok(Some(frame))) if frame.kind == Kind::Hello => frame,
        Ok(Ok(Some(_)) | Err(_)) | Err(_) => {
            debug!(%address, "what connected to the peer port is no peer");
            return None;
        }
        Ok(Ok(None)) => return None,
    };
    let hello = Hello::decode(&first.body);
    let welcome = hello.clone().and_then(|hello| serves.welcome(&hello));
    if let Err(why) = &welcome {
        warn!(%address, %why, "a node was sent away");
    }
    let body = hello::encode_welcome(&welcome);
    queue.send(Outgoing::new(Kind::Welcome, 0, None, body)).await.ok()?;
    welcome.ok()?;
    hello.ok()
}

async fn answer_all(
    reader: &mut PeerReader,
    (queue, back): (&mpsc::Sender<Outgoing>, &Back),
    from: PeerIdentity,
    serves: &Arc<dyn Serve>,
) {
    // They end with the connection: nobody could be told what they find.
    let mut under_way = JoinSet::new();
    loop {
        let Incoming { kind, number, subject, body, charge } = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                debug!(peer = %from.node, %error, "a peer's connection ended");
                return;
            }
        };
        let subject = match (kind, Subject::from_code(subject)) {
            (Kind::Request, Some(subject)) => subject,
            (Kind::Push, Some(subject)) => {
                serves.pushed(from, subject, body, back);
                continue;
            }
            (Kind::Hello | Kind::Welcome | Kind::Answer, _) | (_, None) => {
                // A newer peer may send what is not known here; it learns so by the silence.
                warn!(peer = %from.node, ?kind, subject, "a frame that is not known here");
                return;
            }
        };
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY_MAX {
            drop(under_way.join_next().await);
        }
        let answering = serves.answer(from, subject, body);
        let queue = queue.clone();
        under_way.spawn(async move {
            let body = answering.await;
            drop(charge);
            // The peer may be gone by now.
            drop(queue.send(Outgoing::new(Kind::Answer, number, None, body)).await);
        });
    }
}

#[cfg(test)]
mod tests;
