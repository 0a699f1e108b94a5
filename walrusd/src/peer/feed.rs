//! The leader's side of the append lane: one connection to every other node, for all partitions.
//!
//! ```text
//!   leaders ── push ──> queue ── writer ──> socket ──> Serve::pushed, in order
//!                                                          │
//!   leaders <── Fed::answered ── reader <── socket <── Back
//! ```
//!
//! A connection is made as soon as the node is known, and made again when it is lost, for as long
//! as the node is among the peers. What was pushed on it and not answered may be lost with it, so
//! its end is always told before the next one is: whoever feeds a member begins anew.
//!
//! Owns the connections and the bytes that wait for them. Which batch a member is to get, and what
//! to do when it cannot be sent, is decided in [`Senders`](walrus_replication::Senders).

mod queue;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tracing::{debug, warn};
use walrus_raft::Lane;
use walrus_replication::{Member, Writer};
use walrus_types::{NodeId, StorageId};

use self::queue::Queue;
use super::{
    append::{AnswerMessage, AppendMessage, decode_answers},
    frame::{Kind, PeerReader, Subject},
    hello::PeerIdentity,
    link::{ConnectError, Links, Opened},
};
use crate::shutdown::Tasks;

/// The first wait before a lost connection is made again; it doubles while that fails.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest wait before a lost connection is made again.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A connection that lived so long was a good one: the next wait is the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// What [`Feeds::stop`] waits for tasks that only have to drop a connection.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Where another node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPeer {
    /// The node.
    pub node: NodeId,
    /// Its disk: nobody else who answers there is fed.
    pub storage: StorageId,
    /// Its peer port.
    pub host: String,
    /// Its peer port.
    pub port: u16,
}

/// Who feeds members. Called from the connection's task, so it must not block; it may push.
pub trait Fed: Send + Sync + 'static {
    /// What is pushed to it arrives from now on, in the order of the pushes.
    fn connected(&self, to: PeerIdentity);

    /// What was pushed to it and not answered may be lost, and no push is taken. Always between
    /// two calls of [`Fed::connected`] for the same node.
    fn disconnected(&self, to: PeerIdentity);

    /// It answered.
    fn answered(&self, from: PeerIdentity, answers: Vec<AnswerMessage>);
}

/// The connections on which this node feeds the others.
pub struct Feeds {
    links: Arc<Links>,
    /// Where the nodes are and who is called, once both are known.
    setting: Mutex<Setting>,
    feeds: RwLock<BTreeMap<NodeId, Arc<Feed>>>,
    tasks: Tasks,
}

#[derive(Default)]
struct Setting {
    fed: Option<Arc<dyn Fed>>,
    peers: Vec<FeedPeer>,
}

/// One node, fed by one task for as long as it is in the map.
struct Feed {
    node: NodeId,
    /// `None` when it is no peer any more.
    wanted: watch::Sender<Option<FeedPeer>>,
    /// It is probably there now.
    hurry: Notify,
    queue: Queue,
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("nodes", &self.feeds.read().len()).finish_non_exhaustive()
    }
}

/// Why a connection is no more, or never was.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    NotMade(#[from] ConnectError),
    #[error("{there} with storage {storage} is at its address")]
    Other { there: NodeId, storage: StorageId },
    #[error("nothing can be read: {0}")]
    Read(String),
    #[error("nothing can be written: {0}")]
    Write(io::Error),
    #[error("it ended the connection")]
    Ended,
    #[error("this node has another name now, or began another life")]
    Renamed,
    #[error("it has another address now, or is no peer any more")]
    Unwanted,
}

impl Lost {
    /// Whether it does not pass by itself.
    fn is_for_a_person(&self) -> bool {
        matches!(self, Self::NotMade(ConnectError::Refused(_)) | Self::Other { .. })
    }
}

impl Feeds {
    /// No connections; [`Links::me`] says who this node is.
    pub fn new(links: Arc<Links>) -> Arc<Self> {
        let (setting, feeds) = (Mutex::default(), RwLock::default());
        Arc::new(Self { links, setting, feeds, tasks: Tasks::default() })
    }

    /// Calls `fed` from now on. Needs a runtime, as [`Feeds::set_peers`] does after it.
    ///
    /// # Panics
    /// When it was called before.
    pub fn start(self: &Arc<Self>, fed: Arc<dyn Fed>) {
        let mut setting = self.setting.lock();
        assert!(setting.fed.is_none(), "feeds are started once");
        setting.fed = Some(fed);
        self.apply(&setting);
    }

    /// All nodes that are to be fed; this node is passed over.
    pub fn set_peers(self: &Arc<Self>, peers: Vec<FeedPeer>) {
        let mut setting = self.setting.lock();
        if setting.peers != peers {
            setting.peers = peers;
            self.apply(&setting);
        }
    }

    fn apply(self: &Arc<Self>, Setting { fed, peers }: &Setting) {
        let Some(fed) = fed else { return };
        let me = self.links.me().node;
        let mut feeds = self.feeds.write();
        for feed in feeds.values() {
            let wanted = peers.iter().find(|peer| peer.node == feed.node && peer.node != me);
            feed.wanted.send_if_modified(|known| {
                let differs = known.as_ref() != wanted;
                if differs {
                    *known = wanted.cloned();
                }
                differs
            });
        }
        for peer in peers.iter().filter(|peer| peer.node != me) {
            feeds.entry(peer.node).or_insert_with(|| {
                let feed = Arc::new(Feed {
                    node: peer.node,
                    wanted: watch::Sender::new(Some(peer.clone())),
                    hurry: Notify::new(),
                    queue: Queue::default(),
                });
                let (feeds, fed) = (Arc::clone(self), Arc::clone(fed));
                let keeps = Arc::clone(&feed);
                let mut stopping = self.tasks.stopping();
                self.tasks.spawn("feed of a node", async move {
                    tokio::select! {
                        () = feeds.keep(&keeps, &fed) => {}
                        () = stopping.requested() => {}
                    }
                });
                feed
            });
        }
    }

    /// Hands a message to the connection of that member. Never blocks and copies no batch. False
    /// when there is none to that disk, when this node did not connect as the life that
    /// [`Append::from`](walrus_replication::Append) names, or when as much waits there as may.
    pub fn push(&self, to: Member, message: &AppendMessage) -> bool {
        let feeds = self.feeds.read();
        feeds.get(&to.node).is_some_and(|feed| feed.queue.push(to, message))
    }

    /// That node has just been heard of: if it is not connected it is tried at once.
    pub fn hurry(&self, node: NodeId) {
        if let Some(feed) = self.feeds.read().get(&node) {
            feed.hurry.notify_waiters();
        }
    }

    /// Ends all connections, each of them told as [`Fed::disconnected`].
    pub async fn stop(&self) {
        for late in self.tasks.stop(STOP_MAX).await {
            warn!(task = late, "a task had to be broken off");
        }
    }

    /// Waits until a task panics, and names it.
    pub async fn panicked(&self) -> &'static str {
        self.tasks.panicked().await
    }

    /// Keeps one node connected until it is no peer any more.
    async fn keep(&self, feed: &Feed, fed: &Arc<dyn Fed>) {
        let mut wanted = feed.wanted.subscribe();
        let (mut pause, mut warned) = (PAUSE_MIN, false);
        loop {
            let Some(peer) = wanted.borrow_and_update().clone() else {
                if self.forget(feed) {
                    return;
                }
                continue;
            };
            let begun = Instant::now();
            let lost = tokio::select! {
                lost = self.feed(&peer, feed, fed) => lost,
                _ = wanted.changed() => Lost::Unwanted,
            };
            let FeedPeer { node, host, port, .. } = &peer;
            if lost.is_for_a_person() && !warned {
                warn!(%node, host, port, why = %lost, "a node cannot be fed");
                warned = true;
            } else {
                debug!(%node, host, port, why = %lost, "a node is not fed now");
            }
            if let Lost::Unwanted | Lost::Renamed = lost {
                (pause, warned) = (PAUSE_MIN, false);
                continue;
            }
            if begun.elapsed() >= GOOD_AFTER && !matches!(lost, Lost::NotMade(_)) {
                (pause, warned) = (PAUSE_MIN, false);
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                () = feed.hurry.notified() => pause = PAUSE_MIN,
                _ = wanted.changed() => pause = PAUSE_MIN,
            }
        }
    }

    /// Forgets a node that is no peer any more. False when it is one again meanwhile.
    fn forget(&self, feed: &Feed) -> bool {
        // Under the lock under which it would be wanted again.
        let mut feeds = self.feeds.write();
        let unwanted = feed.wanted.borrow().is_none();
        if unwanted {
            feeds.remove(&feed.node);
        }
        unwanted
    }

    /// One connection, from its beginning to its end.
    async fn feed(&self, peer: &FeedPeer, feed: &Feed, fed: &Arc<dyn Fed>) -> Lost {
        let mut named = self.links.watch_me();
        let me = *named.borrow_and_update();
        let opened = self.links.open(me, (&peer.host, peer.port), Lane::Append).await;
        let Opened { peer: there, mut reader, half } = match opened {
            Ok(opened) => opened,
            Err(why) => return why.into(),
        };
        if (there.node, there.storage) != (peer.node, peer.storage) {
            return Lost::Other { there: there.node, storage: there.storage };
        }
        let to = Member { node: there.node, storage: there.storage };
        feed.queue.open(to, Writer { node: me.node, incarnation: me.incarnation });
        let _ends = Connected { queue: &feed.queue, fed, to: there };
        fed.connected(there);
        tokio::select! {
            why = read(&mut reader, there, &**fed) => why,
            error = feed.queue.write(&half) => Lost::Write(error),
            _ = named.changed() => Lost::Renamed,
        }
    }
}

/// Reads answers until there are no more.
async fn read(reader: &mut PeerReader, from: PeerIdentity, fed: &dyn Fed) -> Lost {
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Lost::Ended,
            Err(why) => return Lost::Read(why.to_string()),
        };
        if (frame.kind, frame.subject) != (Kind::Push, Subject::Position.code()) {
            let (kind, subject) = (frame.kind, frame.subject);
            return Lost::Read(format!("{kind:?} of subject {subject} is no answer to an append"));
        }
        match decode_answers(&frame.body) {
            Ok(answers) => fed.answered(from, answers),
            Err(why) => return Lost::Read(why.to_string()),
        }
    }
}

/// A connection that was told to be there. However it ends, that is told too.
struct Connected<'a> {
    queue: &'a Queue,
    fed: &'a Arc<dyn Fed>,
    to: PeerIdentity,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        // First nothing more is taken, so that what was taken is what may be lost.
        self.queue.close();
        if !std::thread::panicking() {
            self.fed.disconnected(self.to);
        }
    }
}

#[cfg(test)]
mod tests;
