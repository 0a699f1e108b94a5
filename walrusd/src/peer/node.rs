//! What this node tells other nodes: the metadata group's messages, and whether a node that is in
//! no cluster may join this one.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
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

/// This node, as others meet it on the peer port.
#[derive(Debug)]
pub struct PeerNode {
    links: Arc<Links>,
    group: OnceLock<Group>,
}

impl PeerNode {
    /// A node whose metadata is not open yet: it welcomes others and has nothing to tell.
    pub fn new(links: Arc<Links>) -> Arc<Self> {
        Arc::new(Self { links, group: OnceLock::new() })
    }

    /// From now on it answers for `group`.
    pub fn serve(&self, group: Group) {
        // Opened once in a life.
        let _there = self.group.set(group);
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
        let (group, cluster) = (self.group.get().cloned(), self.links.me().cluster);
        Box::pin(async move {
            match (subject, group) {
                (Subject::Raft, Some(group)) => group.answer(&body).await,
                // Not open yet: an answer that is none, and the member asks again.
                (Subject::Raft, None) => Bytes::new(),
                (Subject::Join, group) => {
                    let answer = Self::join(group, cluster, from, body).await;
                    let bytes = postcard::to_stdvec(&answer);
                    Bytes::from(bytes.expect("an answer has only plain data"))
                }
                (
                    Subject::Beat
                    | Subject::Fence
                    | Subject::Copy
                    | Subject::Read
                    | Subject::Append
                    | Subject::Position
                    | Subject::Order,
                    _,
                ) => Bytes::new(),
            }
        })
    }

    fn pushed(&self, from: PeerIdentity, subject: Subject, body: Bytes, back: &Back) {
        match (subject, AppendMessage::decode(&from, body)) {
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

    fn ended(&self, _from: PeerIdentity, _lane: Lane) {}
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
