//! Asking other nodes: one connection for each address and lane, made when it is first needed.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    net::{TcpStream, lookup_host, tcp::OwnedWriteHalf},
    sync::{Mutex as AsyncMutex, Semaphore, mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::debug;
use walrus_raft::{CallError, Destination, Lane, Transport};
use walrus_types::{ClusterId, Incarnation, StorageId};

use super::{
    frame::{self, INCOMING_BYTES_MAX, Incoming, Kind, Outgoing, PeerReader, QUEUE_MAX, Subject},
    hello::{self, Hello, HelloRefusal, PROTOCOL, PeerIdentity},
};

/// Addresses and lanes that a node has connections to. A cluster has fewer nodes.
const LINKS_MAX: usize = 4096;
/// A connection that is not there after so long is not coming.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Where a node is, and on which lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    host: String,
    port: u16,
    lane: Lane,
}

/// The connections of this node to others.
#[derive(Debug)]
pub struct Links {
    /// Who this node is. It learns its cluster when it is taken in.
    me: watch::Sender<PeerIdentity>,
    /// Bytes that answers may hold until they are handed on.
    budget: Arc<Semaphore>,
    links: Mutex<HashMap<Place, Arc<Link>>>,
}

/// One connection, or none at the moment.
#[derive(Debug, Default)]
struct Link {
    /// Held while connecting, so that those who ask at the same time share one.
    live: AsyncMutex<Option<Arc<Live>>>,
}

/// A connection that works, as far as is known.
#[derive(Debug)]
struct Live {
    /// Who this node said that it is.
    said: PeerIdentity,
    peer: PeerIdentity,
    next: AtomicU64,
    waiting: Waiting,
    queue: mpsc::Sender<Outgoing>,
    reader: AbortHandle,
}

/// Who waits for which answer; `None` when the connection has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Bytes>>>>>;

impl Links {
    /// None yet.
    pub fn new(me: PeerIdentity) -> Arc<Self> {
        let budget = Arc::new(Semaphore::new(INCOMING_BYTES_MAX));
        Arc::new(Self { me: watch::Sender::new(me), budget, links: Mutex::default() })
    }

    /// Who this node is.
    pub fn me(&self) -> PeerIdentity {
        *self.me.borrow()
    }

    /// This node belongs to `cluster` from now on.
    pub fn joined(&self, cluster: ClusterId) {
        self.me.send_modify(|me| me.cluster = Some(cluster));
    }

    /// This node begins another life. Connections are made anew, so that others know.
    pub fn reborn(&self, incarnation: Incarnation) {
        self.me.send_modify(|me| me.incarnation = incarnation);
    }

    /// Who this node is, and becomes.
    pub(super) fn watch_me(&self) -> watch::Receiver<PeerIdentity> {
        self.me.subscribe()
    }

    /// Whether the host is there and says that nobody listens: a process that was there is gone.
    /// False when it cannot be told.
    pub async fn is_refused(&self, host: &str, port: u16) -> bool {
        let refused = async {
            let mut any = false;
            for address in lookup_host((host, port)).await.into_iter().flatten() {
                let error = TcpStream::connect(address).await.err();
                if error.is_none_or(|error| error.kind() != io::ErrorKind::ConnectionRefused) {
                    return false;
                }
                any = true;
            }
            any
        };
        timeout(CONNECT_MAX, refused).await.unwrap_or(false)
    }

    /// Asks whoever is at `host:port` and waits for the answer, `limit` at most. With `expected`
    /// nobody else than that disk is asked.
    ///
    /// # Errors
    /// [`CallError`]; it tells whether the request may have been acted on.
    pub async fn ask(
        &self,
        (host, port): (&str, u16),
        expected: Option<StorageId>,
        (lane, subject): (Lane, Subject),
        body: Bytes,
        limit: Duration,
    ) -> Result<(PeerIdentity, Bytes), CallError> {
        let until = Instant::now() + limit;
        let link = self.link(Place { host: host.to_owned(), port, lane })?;
        let late = || CallError::NotSent(format!("{host}:{port}: no connection in time"));
        let live = timeout_at(until, self.live(&link, (host, port), lane));
        let live = live.await.map_err(|_elapsed| late())??;
        if let Some(expected) = expected.filter(|expected| *expected != live.peer.storage) {
            let there = live.peer;
            return Err(CallError::NotSent(format!(
                "{host}:{port} is {} with storage {}, not storage {expected}",
                there.node, there.storage
            )));
        }
        let answer = live.request(subject, body)?;
        match timeout_at(until, answer.received).await {
            Ok(Ok(bytes)) => Ok((live.peer, bytes)),
            Ok(Err(_)) => Err(CallError::NoAnswer(format!("{host}:{port}: connection lost"))),
            Err(_) => Err(CallError::NoAnswer(format!("{host}:{port}: none within {limit:?}"))),
        }
    }

    /// Who is at `host:port`, on a connection that is made for this question alone.
    ///
    /// # Errors
    /// [`GreetError`]; being sent away has its reason beside it.
    pub async fn greet(&self, (host, port): (&str, u16)) -> Result<PeerIdentity, GreetError> {
        match self.open(self.me(), (host, port), Lane::Control).await {
            Ok(opened) => Ok(opened.peer),
            Err(ConnectError::Refused(why)) => Err(GreetError::SentAway(why)),
            Err(why) => Err(GreetError::NoAnswer(why.to_string())),
        }
    }

    fn link(&self, place: Place) -> Result<Arc<Link>, CallError> {
        let mut links = self.links.lock();
        if links.len() >= LINKS_MAX && !links.contains_key(&place) {
            return Err(CallError::NotSent(format!("{LINKS_MAX} connections are in use")));
        }
        Ok(Arc::clone(links.entry(place).or_default()))
    }

    async fn live(
        &self,
        link: &Link,
        (host, port): (&str, u16),
        lane: Lane,
    ) -> Result<Arc<Live>, CallError> {
        let mut live = link.live.lock().await;
        let me = self.me();
        if let Some(live) = live.as_ref().filter(|live| live.is_open() && live.said == me) {
            return Ok(Arc::clone(live));
        }
        *live = None;
        match self.open(me, (host, port), lane).await {
            Ok(opened) => {
                debug!(host, port, peer = %opened.peer.node, ?lane, "connected to a peer");
                Ok(Arc::clone(live.insert(Arc::new(Live::start(me, opened)))))
            }
            Err(why) => Err(CallError::NotSent(format!("{host}:{port}: {why}"))),
        }
    }

    /// Connects to whoever is at `host:port` and tells it that this node is `me`.
    pub(super) async fn open(
        &self,
        me: PeerIdentity,
        (host, port): (&str, u16),
        lane: Lane,
    ) -> Result<Opened, ConnectError> {
        let connecting = connect((me, Arc::clone(&self.budget)), (host, port), lane);
        timeout(CONNECT_MAX, connecting).await.unwrap_or(Err(ConnectError::Late))
    }
}

impl Transport for Links {
    fn call(
        &self,
        to: Destination,
        lane: Lane,
        request: Bytes,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            let (host, storage) = (to.peer.host.as_str(), StorageId::from(to.member));
            let at = (host, to.peer.port);
            let asked = self.ask(at, Some(storage), (lane, Subject::Raft), request, limit).await;
            asked.map(|(_peer, answer)| answer)
        })
    }
}

/// Why nobody was met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetError {
    /// Nobody is there, or somebody else than a node.
    #[error("{0}")]
    NoAnswer(String),
    /// A node is there and does not talk to this one.
    #[error("{0}")]
    SentAway(HelloRefusal),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no welcome within {CONNECT_MAX:?}")]
    Late,
    #[error("{0}")]
    Refused(#[from] HelloRefusal),
    #[error("what is there does not speak the peer protocol: {0}")]
    NoPeer(String),
}

/// A connection whose ends know each other.
#[derive(Debug)]
pub(super) struct Opened {
    /// Who is there.
    pub(super) peer: PeerIdentity,
    /// What comes from there.
    pub(super) reader: PeerReader,
    /// What goes there.
    pub(super) half: OwnedWriteHalf,
}

async fn connect(
    (me, budget): (PeerIdentity, Arc<Semaphore>),
    (host, port): (&str, u16),
    lane: Lane,
) -> Result<Opened, ConnectError> {
    let stream = TcpStream::connect((host, port)).await?;
    frame::prepare(&stream)?;
    let (read_half, half) = stream.into_split();
    let hello = Hello { protocol: PROTOCOL, from: me, lane }.encode();
    let mut first = vec![Outgoing::new(Kind::Hello, 0, None, hello)];
    frame::write_frames(&half, &mut first, |_bytes| {}).await?;
    let mut reader = PeerReader::new(read_half, budget);
    let no_peer = |why: &dyn std::fmt::Display| ConnectError::NoPeer(why.to_string());
    let gone = || ConnectError::NoPeer("it closed the connection".into());
    let answer = reader.next().await.map_err(|why| no_peer(&why))?.ok_or_else(gone)?;
    if answer.kind != Kind::Welcome {
        return Err(no_peer(&format!("{:?} came instead of a welcome", answer.kind)));
    }
    let peer = hello::decode_welcome(&answer.body).map_err(|why| no_peer(&why))??;
    reader.greeted(lane);
    Ok(Opened { peer, reader, half })
}

fn deliver(waiting: &Waiting, frame: Incoming) {
    if frame.kind != Kind::Answer {
        return;
    }
    let waits = waiting.lock().as_mut().and_then(|waiting| waiting.remove(&frame.number));
    if let Some(waits) = waits {
        // Who waited may have lost patience meanwhile.
        drop(waits.send(frame.body));
    }
}

/// An answer that is awaited. Who drops it waits no more.
struct Awaited {
    received: oneshot::Receiver<Bytes>,
    _turn: Turn,
}

/// A turn among those who wait, given up when dropped.
struct Turn {
    waiting: Waiting,
    number: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.remove(&self.number);
        }
    }
}

impl Live {
    fn start(said: PeerIdentity, Opened { peer, mut reader, half }: Opened) -> Self {
        let (queue, frames) = mpsc::channel(QUEUE_MAX);
        let writer = tokio::spawn(frame::write_all(half, frames));
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let answers = Arc::clone(&waiting);
        let reading = tokio::spawn(async move {
            while let Ok(Some(frame)) = reader.next().await {
                deliver(&answers, frame);
            }
            // Nobody waits for what can no longer come.
            drop(answers.lock().take());
            writer.abort();
        });
        let next = AtomicU64::new(1);
        Self { said, peer, next, waiting, queue, reader: reading.abort_handle() }
    }

    fn is_open(&self) -> bool {
        self.waiting.lock().is_some() && !self.queue.is_closed()
    }

    fn request(&self, subject: Subject, body: Bytes) -> Result<Awaited, CallError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, received) = oneshot::channel();
        let lost = || CallError::NotSent("the connection was lost".into());
        self.waiting.lock().as_mut().ok_or_else(lost)?.insert(number, answer);
        let turn = Turn { waiting: Arc::clone(&self.waiting), number };
        let frame = Outgoing::new(Kind::Request, number, Some(subject), body);
        // A queue that is full is a peer that takes nothing: whoever asks is told so at once.
        self.queue.try_send(frame).map_err(|why| match why {
            mpsc::error::TrySendError::Full(_) => {
                CallError::NotSent(format!("{QUEUE_MAX} requests wait to be sent"))
            }
            mpsc::error::TrySendError::Closed(_) => lost(),
        })?;
        Ok(Awaited { received, _turn: turn })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
