//! What this node tells other nodes: which part of it answers what they ask and takes what they
//! push, and whether a node that is in no cluster may join this one.
//!
//! The parts are there one after the other as the node starts; before that, and for good when this
//! node has no such part, the answer to a request is one that is none, and whoever asked asks again.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};
use walrus_metadata::NodeState;
use walrus_raft::{Group, Lane, RaftId, RaftPeer};
use walrus_replication::Refusal;
use walrus_types::ClusterId;

use super::{
    append::{AnswerMessage, AppendAnswer, AppendMessage},
    frame::Subject,
    hello::{Hello, HelloRefusal, PeerIdentity, Welcome},
    link::Links,
    server::{Back, Serve},
};
use crate::replica::{Replicas, messages};

/// How long a node that wants to join waits for one answer.
const JOIN_MAX: Duration = Duration::from_secs(15);

/// What a node asks that is in no cluster yet.
#[derive(Debug, Serialize, Deserialize)]
enum JoinRequest {
    /// Whether the asked node is in a cluster.
    Probe,
    /// To be taken into it, reached at this address.
    Join(RaftPeer),
}

/// The answer to a [`JoinRequest`].
#[derive(Debug, Serialize, Deserialize)]
enum JoinAnswer {
    /// The node is in no cluster itself, or has not read yet which.
    NoCluster,
    /// It is in that cluster; who asked to join is too.
    Cluster(ClusterId),
    /// Who asked may not join, or not now, for reasons that a person may read.
    Refused(String),
}

/// Why a node did not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there, or somebody else than a node.
    #[error("{0}")]
    NoAnswer(String),
    /// The node there is in no cluster yet.
    #[error("the node there is in no cluster yet")]
    NoCluster,
    /// The cluster does not take it.
    #[error("{0}")]
    Refused(String),
}

/// Who hears that nodes are alive.
pub trait Beats: Send + Sync + 'static {
    /// A node says that it is alive: the answer.
    fn heartbeat(&self, from: PeerIdentity, bytes: &[u8]) -> Bytes;

    /// A node's connection for what is urgent has ended.
    fn peer_ended(&self, from: PeerIdentity);
}

/// Who carries out what the controller wants of a leader.
pub trait Orders: Send + Sync + 'static {
    /// The controller's orders: the answer.
    fn order(&self, from: PeerIdentity, bytes: Bytes) -> BoxFuture<'static, Bytes>;
}

/// Who does for clients of the text protocol what another node cannot.
pub trait Texts: Send + Sync + 'static {
    /// What another node asks: the answer.
    fn text(&self, from: PeerIdentity, body: Bytes) -> BoxFuture<'static, Bytes>;
}

/// This node, as others meet it on the peer port.
pub struct PeerNode {
    links: Arc<Links>,
    group: OnceLock<Group>,
    replicas: OnceLock<Arc<Replicas>>,
    beats: OnceLock<Arc<dyn Beats>>,
    orders: OnceLock<Arc<dyn Orders>>,
    texts: OnceLock<Arc<dyn Texts>>,
}

impl PeerNode {
    /// A node whose metadata is not open yet: it welcomes others and has nothing to tell.
    pub fn new(links: Arc<Links>) -> Arc<Self> {
        Arc::new(Self {
            links,
            group: OnceLock::new(),
            replicas: OnceLock::new(),
            beats: OnceLock::new(),
            orders: OnceLock::new(),
            texts: OnceLock::new(),
        })
    }

    /// From now on it answers for `group`.
    pub fn serve(&self, group: Group) {
        // Opened once in a life.
        let _there = self.group.set(group);
    }

    /// From now on it keeps segments that others lead.
    pub fn keep(&self, replicas: Arc<Replicas>) {
        // Opened once in a life.
        let _there = self.replicas.set(replicas);
    }

    /// From now on it hears that others are alive.
    pub fn hear(&self, beats: Arc<dyn Beats>) {
        // There is one who hears.
        let _there = self.beats.set(beats);
    }

    /// From now on it carries out orders.
    pub fn obey(&self, orders: Arc<dyn Orders>) {
        // There is one who carries them out.
        let _there = self.orders.set(orders);
    }

    /// From now on it does what clients of the text protocol want of others.
    pub fn talk(&self, texts: Arc<dyn Texts>) {
        // There is one who does it.
        let _there = self.texts.set(texts);
    }

    /// Whether an append of that node's may be looked at. Asked for every push: the decider knows
    /// who leads, so this is only about nodes that are not of this cluster at all.
    fn keeps_for(&self, from: &PeerIdentity) -> bool {
        self.replicas.get().is_some()
            && from.cluster.is_some()
            && from.cluster == self.links.me().cluster
    }

    /// Whether that is a node of this cluster with the disk that belongs to it. Who only wants to
    /// join is let in as well, and gets no further.
    fn is_of_cluster(&self, from: &PeerIdentity) -> bool {
        let metadata = self.group.get().map(Group::state);
        let known = metadata.as_ref().and_then(|metadata| metadata.node(from.node));
        known.is_some_and(|known| {
            known.storage == from.storage
                && known.state != NodeState::Removed
                && from.cluster == self.links.me().cluster
        })
    }

    fn judge(&self, from: &PeerIdentity) -> Result<(), HelloRefusal> {
        if let (Some(ours), Some(given)) = (self.links.me().cluster, from.cluster)
            && ours != given
        {
            return Err(HelloRefusal::OtherCluster { ours, given });
        }
        let Some(group) = self.group.get() else { return Ok(()) };
        let metadata = group.state();
        let PeerIdentity { node, storage, .. } = *from;
        match metadata.node(node) {
            // The id of a removed node is free for another disk, and its disk is spent for good.
            Some(known) if known.state == NodeState::Removed && known.storage == storage => {
                Err(HelloRefusal::Removed { node, storage })
            }
            Some(known) if known.state != NodeState::Removed && known.storage != storage => {
                Err(HelloRefusal::OtherStorage { node, known: known.storage, given: storage })
            }
            _ if metadata.spent(storage).is_some() => Err(HelloRefusal::Removed { node, storage }),
            Some(_) | None => Ok(()),
        }
    }

    async fn join(
        group: Option<Group>,
        cluster: Option<ClusterId>,
        from: PeerIdentity,
        body: Bytes,
    ) -> JoinAnswer {
        let (Some(group), Some(cluster)) = (group, cluster) else { return JoinAnswer::NoCluster };
        match postcard::from_bytes(&body) {
            Ok(JoinRequest::Probe) => JoinAnswer::Cluster(cluster),
            Ok(JoinRequest::Join(peer)) if peer.node != from.node => {
                JoinAnswer::Refused(format!("{} asked for {} to join", from.node, peer.node))
            }
            Ok(JoinRequest::Join(peer)) => {
                match group.admit(RaftId::from(from.storage), peer.clone()).await {
                    Ok(index) => {
                        info!(node = %peer, storage = %from.storage, index, "a node was taken in");
                        JoinAnswer::Cluster(cluster)
                    }
                    Err(why) => JoinAnswer::Refused(why.to_string()),
                }
            }
            Err(why) => JoinAnswer::Refused(format!("malformed: {why}")),
        }
    }
}

impl fmt::Debug for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerNode").field("me", &self.links.me()).finish_non_exhaustive()
    }
}

impl Serve for PeerNode {
    fn welcome(&self, hello: &Hello) -> Welcome {
        self.judge(&hello.from).map(|()| self.links.me())
    }

    fn answer(
        &self,
        from: PeerIdentity,
        subject: Subject,
        body: Bytes,
    ) -> BoxFuture<'static, Bytes> {
        let nothing = || Box::pin(std::future::ready(Bytes::new()));
        let (group, cluster) = (self.group.get().cloned(), self.links.me().cluster);
        match subject {
            Subject::Raft => match group {
                Some(group) => Box::pin(async move { group.answer(&body).await }),
                None => nothing(),
            },
            Subject::Join => {
                Box::pin(
                    async move { messages::encode(&Self::join(group, cluster, from, body).await) },
                )
            }
            Subject::Beat
            | Subject::Order
            | Subject::Fence
            | Subject::Copy
            | Subject::Read
            | Subject::Text
            | Subject::Repair
                if !self.is_of_cluster(&from) =>
            {
                debug!(peer = %from.node, ?subject, "asked by a node that is not known here yet");
                nothing()
            }
            Subject::Beat => match self.beats.get() {
                Some(beats) => Box::pin(std::future::ready(beats.heartbeat(from, &body))),
                None => nothing(),
            },
            Subject::Order => match self.orders.get() {
                Some(orders) => orders.order(from, body),
                None => nothing(),
            },
            Subject::Text => match self.texts.get() {
                Some(texts) => texts.text(from, body),
                None => nothing(),
            },
            Subject::Fence | Subject::Copy | Subject::Read | Subject::Repair => {
                match self.replicas.get() {
                    Some(replicas) => Box::pin(Arc::clone(replicas).answer(subject, body)),
                    None => nothing(),
                }
            }
            // Those are pushed.
            Subject::Append | Subject::Position => nothing(),
        }
    }

    fn pushed(&self, from: PeerIdentity, subject: Subject, body: Bytes, back: &Back) {
        match (subject, AppendMessage::decode(&from, body)) {
            (Subject::Append, Ok(message)) if self.keeps_for(&from) => {
                if let Some(replicas) = self.replicas.get() {
                    replicas.appended(from, message, back);
                }
            }
            // No segment is kept here yet: the leader asks again.
            (Subject::Append, Ok(AppendMessage { partition, append, .. })) => {
                let (epoch, stream) = (append.epoch, append.stream);
                let refusal = Refusal::NotYet { applied: 0 };
                let answer = AppendAnswer::Refused { epoch, stream, refusal };
                back.answer(AnswerMessage { partition, answer });
            }
            (subject, decoded) => {
                let why = decoded.err();
                warn!(peer = %from.node, ?subject, ?why, "a push that makes no sense here");
                back.end();
            }
        }
    }

    fn ended(&self, from: PeerIdentity, lane: Lane) {
        if let (Lane::Control, Some(beats)) = (lane, self.beats.get()) {
            beats.peer_ended(from);
        }
    }
}

/// Asks the node at `at` to take this one, reached at `me`, into its cluster. Asking again does no
/// harm.
///
/// # Errors
/// [`JoinError`].
pub async fn join(links: &Links, at: (&str, u16), me: RaftPeer) -> Result<ClusterId, JoinError> {
    ask(links, at, &JoinRequest::Join(me)).await
}

/// Asks the node at `at` which cluster it is in.
///
/// # Errors
/// [`JoinError`]; [`JoinError::NoCluster`] when it is in none.
pub async fn probe(links: &Links, at: (&str, u16)) -> Result<ClusterId, JoinError> {
    ask(links, at, &JoinRequest::Probe).await
}

async fn ask(
    links: &Links,
    at: (&str, u16),
    request: &JoinRequest,
) -> Result<ClusterId, JoinError> {
    let body = postcard::to_stdvec(request).expect("a request has only plain data");
    let how = (Lane::Control, Subject::Join);
    let asked = links.ask(at, None, how, body.into(), JOIN_MAX).await;
    let (_peer, bytes) = asked.map_err(|why| JoinError::NoAnswer(why.to_string()))?;
    match postcard::from_bytes(&bytes) {
        Ok(JoinAnswer::Cluster(cluster)) => Ok(cluster),
        Ok(JoinAnswer::NoCluster) => Err(JoinError::NoCluster),
        Ok(JoinAnswer::Refused(why)) => Err(JoinError::Refused(why)),
        Err(why) => Err(JoinError::NoAnswer(format!("malformed answer: {why}"))),
    }
}

#[cfg(test)]
mod tests;
