//! How a node comes to its cluster: it knows it from before, joins one, founds one with others, or
//! founds one of its own.
//!
//! | folder | told | what happens |
//! |---|---|---|
//! | belongs to a cluster | anything | it goes on in that cluster; `--join` and `--peers` are hints |
//! | empty | `--join host:port` | it asks there until it is taken in |
//! | empty | `--peers a,b,c` | it joins whoever belongs to a cluster; the first of the list founds one, when all answer and all are empty |
//! | empty | nothing | it founds a cluster of one |
//!
//! A node that was told where others are never founds a cluster because they do not answer: that
//! would be a second one under the same addresses (M14). Whether an address is this node's own is
//! found out by asking there, for a node may be listed under any of its names.
//!
//! When the folder says so is part of this: who founds a cluster binds its folder first, who joins
//! one when it has the metadata. So a folder that is bound holds the group, or one that nobody but
//! its founder ever saw; and one that is not bound never founds the cluster that it was joining.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tracing::{info, warn};
use uuid::Uuid;
use walrus_raft::{MetadataNode, RaftPeer, Start};
use walrus_types::{ClusterId, NodeId};

use crate::{
    config::{ClusterConfig, HostPort},
    peer::{GreetError, HelloRefusal, Links, PeerIdentity, node::join},
};

/// Before the others are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often a node that waits says so.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// How long a node that knows its cluster waits for what its hints say.
const HINTS_MAX: Duration = Duration::from_millis(500);

/// What the folder knows of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// Nothing.
    Empty,
    /// It was on its way into that one, and may have been taken in.
    Joining(ClusterId),
    /// It belongs to it.
    In(ClusterId),
}

/// Where a node stands once it has a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formed {
    /// Its cluster.
    pub cluster: ClusterId,
    /// What its member of the metadata group does when its folder has no group in it.
    pub start: Start,
}

impl Formed {
    /// Whether others hold the cluster's metadata, and this node is given it.
    pub fn joins(&self) -> bool {
        self.start == Start::Join
    }
}

/// Why a node cannot come to a cluster, however long it waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The node there does not talk to this one.
    #[error("the node at {at} sends this one away: {why}\n  next: {}", next_step(.why))]
    SentAway {
        /// Where it is.
        at: HostPort,
        /// What it says.
        why: HelloRefusal,
    },
    /// It was told to join itself.
    #[error(
        "{at} is this node itself\n  next: give --join another node of the cluster, or leave it \
         away to found a cluster of one"
    )]
    Itself {
        /// What it was told.
        at: HostPort,
    },
    /// Another node has its number.
    #[error(
        "the node at {at} is {node} too\n  next: give each node a --node-id of its own, like {} \
         for this one", .node.0.saturating_add(1)
    )]
    SameNumber {
        /// Where the other one is.
        at: HostPort,
        /// The number of both.
        node: NodeId,
    },
    /// Those that it was told of do not belong together.
    #[error(
        "the node at {at} belongs to cluster {cluster}, the one at {other_at} to cluster {other}\n  \
         next: name nodes of one cluster only; a node that formed one by mistake is started again \
         with an empty --data-dir"
    )]
    TwoClusters {
        /// Where one is.
        at: HostPort,
        /// Its cluster.
        cluster: ClusterId,
        /// Where the other one is.
        other_at: HostPort,
        /// Its cluster.
        other: ClusterId,
    },
    /// It was on its way into another cluster.
    #[error(
        "this folder was on its way into cluster {ours}, and it is told to join cluster {given}\n  \
         next: start it with an empty --data-dir to join that one"
    )]
    OtherCluster {
        /// Where it was on its way to.
        ours: ClusterId,
        /// Where it was told to go.
        given: ClusterId,
    },
}

/// What may be done with a node that was removed.
pub const REMOVED_NEXT: &str = "a removed node comes back as a new one, with an empty --data-dir";

fn next_step(why: &HelloRefusal) -> String {
    match why {
        HelloRefusal::OtherProtocol { .. } => "run one version of walrusd on all nodes".into(),
        HelloRefusal::OtherCluster { ours, .. } => format!(
            "to move this node to cluster {ours}, start it with an empty --data-dir; to go on in \
             its own, correct --join or --peers"
        ),
        HelloRefusal::OtherStorage { node, known, .. } => format!(
            "start {node} with the folder that is storage {known}; if that is lost, remove {node} \
             from the cluster first; if this is another node, give it a --node-id of its own"
        ),
        HelloRefusal::Removed { .. } => REMOVED_NEXT.into(),
        HelloRefusal::Malformed(_) => "run one version of walrusd on all nodes".into(),
    }
}

/// Finds the cluster that this node belongs to, or founds it. Waits for others as long as it
/// takes, and tells `waiting` for what.
///
/// # Errors
/// [`FormError`].
pub async fn form(
    config: &ClusterConfig,
    links: &Links,
    me: &RaftPeer,
    folder: Folder,
    waiting: impl Fn(&str),
) -> Result<Formed, FormError> {
    match folder {
        Folder::In(cluster) => {
            heed_hints(config, links).await?;
            return Ok(Formed { cluster, start: Start::Found(me.clone()) });
        }
        // Whoever took it in sends it the metadata.
        Folder::Joining(cluster) if !config.names_others() => {
            return Ok(Formed { cluster, start: Start::Join });
        }
        Folder::Joining(_) | Folder::Empty => {}
    }
    let mut patience = Patience::default();
    loop {
        let look = match (&config.join, config.peers.as_slice()) {
            (Some(at), _) => knock(links, at, me).await?,
            (None, []) => Look::Founds,
            (None, peers) => meet(links, peers, me).await?,
        };
        let why = match (look, folder) {
            (Look::Joined(given), Folder::Joining(ours)) if given != ours => {
                return Err(FormError::OtherCluster { ours, given });
            }
            (Look::Joined(cluster), _) => {
                info!(%cluster, "taken into a cluster");
                return Ok(Formed { cluster, start: Start::Join });
            }
            (Look::Founds, Folder::Joining(ours)) => {
                format!(
                    "nobody that --peers names is in cluster {ours}, which this node was joining"
                )
            }
            (Look::Founds, _) => {
                let cluster = ClusterId(Uuid::new_v4());
                info!(%cluster, "a new cluster is founded");
                return Ok(Formed { cluster, start: Start::Found(me.clone()) });
            }
            (Look::Waits(why), _) => why,
        };
        waiting(&why);
        patience.wait(&why).await;
    }
}

/// Waits until a node that joined has the cluster's metadata.
pub async fn metadata_came(raft: &MetadataNode, cluster: ClusterId, me: &RaftPeer) {
    let mut patience = Patience::default();
    let mut views = raft.watch();
    loop {
        let came = views.wait_for(|view| view.cluster() == Some(cluster));
        match tokio::time::timeout(SAY_AGAIN, came).await {
            Ok(Ok(_)) => return,
            // The group has failed, which others see and tell.
            Ok(Err(_)) => std::future::pending().await,
            Err(_elapsed) => {
                let why = format!("its metadata does not come; the others reach this node as {me}");
                patience.say(&why);
            }
        }
    }
}

/// What one look at the others came to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// They took this node into theirs.
    Joined(ClusterId),
    /// There is none, and it is this node that makes it.
    Founds,
    /// Neither, and why.
    Waits(String),
}

/// Asks one node to be taken in.
async fn knock(links: &Links, at: &HostPort, me: &RaftPeer) -> Result<Look, FormError> {
    match greet(links, at).await? {
        Met::Silent(why) => Ok(Look::Waits(format!("{at}: {why}"))),
        Met::Itself => Err(FormError::Itself { at: at.clone() }),
        Met::Other(None) => Ok(Look::Waits(format!("the node at {at} is in no cluster yet"))),
        Met::Other(Some(_cluster)) => Ok(ask_to_join(links, at, me).await),
    }
}

/// One look at all of `peers`: joins the first that belongs to a cluster; founds one if this node
/// is the first of the list and every other one is there and empty.
async fn meet(links: &Links, peers: &[HostPort], me: &RaftPeer) -> Result<Look, FormError> {
    let met = join_all(peers.iter().map(|at| greet(links, at))).await;
    let mut clusters: BTreeMap<ClusterId, &HostPort> = BTreeMap::new();
    let (mut silent, mut mine) = (Vec::new(), None);
    for (at, met) in peers.iter().zip(met) {
        match met? {
            Met::Silent(why) => silent.push(format!("{at}: {why}")),
            Met::Itself => mine = mine.or(Some(at)),
            Met::Other(None) => {}
            Met::Other(Some(cluster)) => {
                clusters.entry(cluster).or_insert(at);
            }
        }
    }
    let mut clusters = clusters.into_iter();
    match (clusters.next(), clusters.next()) {
        (Some((cluster, at)), Some((other, other_at))) => {
            let (at, other_at) = (at.clone(), other_at.clone());
            return Err(FormError::TwoClusters { at, cluster, other_at, other });
        }
        (Some((_cluster, at)), None) => return Ok(ask_to_join(links, at, me).await),
        (None, _) => {}
    }
    if !silent.is_empty() {
        return Ok(Look::Waits(silent.join("; ")));
    }
    Ok(match (peers.first(), mine) {
        (Some(first), Some(mine)) if first == mine => Look::Founds,
        (Some(first), Some(_)) => {
            Look::Waits(format!("{first} founds the cluster and has not yet"))
        }
        (_, None) => Look::Waits(format!(
            "none of those that --peers names is this node, which others reach as {me}, and none \
             is in a cluster"
        )),
        (None, Some(_)) => unreachable!("whom it met, it was told of"),
    })
}

async fn ask_to_join(links: &Links, at: &HostPort, me: &RaftPeer) -> Look {
    match join(links, (at.host.as_str(), at.port), me.clone()).await {
        Ok(cluster) => Look::Joined(cluster),
        Err(why) => Look::Waits(format!("{at}: {why}")),
    }
}

/// Who was met.
enum Met {
    /// Nobody.
    Silent(String),
    /// This node.
    Itself,
    /// Another one, and its cluster.
    Other(Option<ClusterId>),
}

async fn greet(links: &Links, at: &HostPort) -> Result<Met, FormError> {
    let PeerIdentity { node, storage, .. } = links.me();
    match links.greet((at.host.as_str(), at.port)).await {
        Ok(there) if there.storage == storage => Ok(Met::Itself),
        Ok(there) if there.node == node => Err(FormError::SameNumber { at: at.clone(), node }),
        Ok(there) => Ok(Met::Other(there.cluster)),
        Err(GreetError::SentAway(why)) => Err(FormError::SentAway { at: at.clone(), why }),
        Err(GreetError::NoAnswer(why)) => Ok(Met::Silent(why)),
    }
}

/// A node that belongs to a cluster needs nobody named: but if who is named belongs to another
/// one, whoever started it is mistaken about something.
async fn heed_hints(config: &ClusterConfig, links: &Links) -> Result<(), FormError> {
    let hints: Vec<&HostPort> = config.join.iter().chain(&config.peers).collect();
    let met = join_all(hints.into_iter().map(|at| async move {
        match tokio::time::timeout(HINTS_MAX, greet(links, at)).await {
            // The others may be behind in what they know of this node; of clusters they are not.
            Ok(Err(
                refused @ FormError::SentAway { why: HelloRefusal::OtherCluster { .. }, .. },
            )) => Err(refused),
            Ok(_) | Err(_) => Ok(()),
        }
    }));
    met.await.into_iter().collect()
}

/// Whether one of the nodes at these places does not talk to this one, which belongs to their
/// cluster.
pub async fn sent_away(links: &Links, others: impl Iterator<Item = RaftPeer>) -> Option<FormError> {
    let me = links.me().node;
    let met = join_all(others.filter(|peer| peer.node != me).map(|peer| async move {
        match links.greet((peer.host.as_str(), peer.port)).await {
            Err(GreetError::SentAway(why)) => {
                let host = peer.host.parse().ok()?;
                Some(FormError::SentAway { at: HostPort { host, port: peer.port }, why })
            }
            Ok(_) | Err(GreetError::NoAnswer(_)) => None,
        }
    }));
    met.await.into_iter().flatten().next()
}

/// Waits between two tries, and says now and then what for.
#[derive(Debug, Default)]
pub struct Patience {
    said: Option<Instant>,
}

impl Patience {
    /// Waits a moment.
    pub async fn wait(&mut self, why: &str) {
        self.say(why);
        tokio::time::sleep(ASK_AGAIN).await;
    }

    fn say(&mut self, why: &str) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            warn!(why, "waiting for the cluster");
            self.said = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
