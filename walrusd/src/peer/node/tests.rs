//! Nodes of one process that form a metadata group over loopback.

use std::{path::PathBuf, time::Instant};

use tokio::net::TcpListener;
use uuid::Uuid;
use walrus_metadata::{Address, Addresses, Command, NodeChange, Register, Reply, SetNodeState};
use walrus_raft::{Identity, MetadataNode, RaftConfig, Start, Transport};
use walrus_storage::disk::{Disk, SimDisk};
use walrus_types::{Incarnation, NodeId, StorageId};

use super::*;
use crate::{peer::server, shutdown::Tasks};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
const SOON: Duration = Duration::from_secs(20);

struct Node {
    number: i32,
    port: u16,
    links: Arc<Links>,
    serves: Arc<PeerNode>,
    metadata: Option<MetadataNode>,
    tasks: Tasks,
}

impl Node {
    async fn start(number: i32, storage: u128, cluster: Option<ClusterId>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let links = Links::new(PeerIdentity {
            cluster,
            node: NodeId(number),
            storage: StorageId(Uuid::from_u128(storage)),
            incarnation: Incarnation(1),
        });
        let serves = PeerNode::new(Arc::clone(&links));
        let tasks = Tasks::default();
        let accepting = server::accept(listener, Arc::<PeerNode>::clone(&serves), tasks.clone());
        tasks.spawn("peers", accepting);
        Self { number, port, links, serves, metadata: None, tasks }
    }

    fn peer(&self) -> RaftPeer {
        RaftPeer { node: NodeId(self.number), host: "127.0.0.1".into(), port: self.port }
    }

    async fn open(&mut self, start: Start) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(u64::from(self.port)));
        let identity = Identity { storage: self.links.me().storage, cluster: CLUSTER };
        let transport: Arc<dyn Transport> = Arc::<Links>::clone(&self.links);
        let config = RaftConfig::default();
        let dir = PathBuf::from("/node/raft_meta");
        let opening = MetadataNode::open(disk, &dir, identity, start, transport, config);
        let (metadata, _opened) = opening.await.unwrap();
        self.serves.serve(metadata.group());
        self.metadata = Some(metadata);
    }

    fn metadata(&self) -> &MetadataNode {
        self.metadata.as_ref().unwrap()
    }

    /// Finds its cluster through the node at `port`.
    async fn join(&mut self, port: u16) -> Result<ClusterId, JoinError> {
        let cluster = join(&self.links, ("127.0.0.1", port), self.peer()).await?;
        self.links.joined(cluster);
        self.open(Start::Join).await;
        Ok(cluster)
    }

    async fn register(&self) -> Reply {
        let door = |port| Address { host: "127.0.0.1".into(), port };
        let me = self.links.me();
        let command = Command::Register(Register {
            node: me.node,
            storage: me.storage,
            incarnation: me.incarnation,
            cluster: CLUSTER,
            rack: None,
            at: walrus_types::TimestampMs(0),
            addresses: Addresses { client: door(1), peer: door(self.port), admin: door(2) },
        });
        self.metadata().propose(&command).await.unwrap()
    }
}

async fn eventually(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < SOON, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn founder() -> Node {
    let mut node = Node::start(1, 0x51, Some(CLUSTER)).await;
    node.open(Start::Found(node.peer())).await;
    assert!(matches!(node.register().await, Reply::Registered(Ok(_))));
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_through_any_member_and_go_on_without_the_first() {
    let mut first = founder().await;
    let mut second = Node::start(2, 0x52, None).await;
    assert_eq!(probe(&second.links, ("127.0.0.1", first.port)).await, Ok(CLUSTER));
    assert_eq!(second.join(first.port).await, Ok(CLUSTER));
    second.register().await;
    let mut third = Node::start(3, 0x53, None).await;
    assert_eq!(third.join(second.port).await, Ok(CLUSTER));
    third.register().await;
    let group = first.metadata().group();
    for node in [&second, &third] {
        let id = RaftId::from(node.links.me().storage);
        let began = Instant::now();
        while let Err(why) = group.promote(id).await {
            assert!(began.elapsed() < SOON, "{why}");
        }
    }
    // The others decide without the first.
    first.tasks.stop(Duration::ZERO).await;
    first.metadata.take().unwrap().shutdown().await;
    let metadata = second.metadata();
    eventually("a new leader", || {
        [&second, &third].iter().any(|node| node.metadata().group().leads())
    })
    .await;
    assert!(matches!(metadata.propose(&Command::ProducerIds).await, Ok(Reply::ProducerIds(Ok(_)))));
    assert_eq!(metadata.state().nodes().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_disk_or_of_another_cluster_is_told_both_ids() {
    let first = founder().await;
    let wiped = Node::start(1, 0x99, None).await;
    let stranger = Node::start(2, 0x52, Some(ClusterId(Uuid::from_u128(0xC2)))).await;
    for (node, ids) in [
        (
            wiped,
            [StorageId(Uuid::from_u128(0x51)), StorageId(Uuid::from_u128(0x99))]
                .map(|id| id.to_string()),
        ),
        (stranger, [CLUSTER, ClusterId(Uuid::from_u128(0xC2))].map(|id| id.to_string())),
    ] {
        let refused = join(&node.links, ("127.0.0.1", first.port), node.peer()).await;
        let Err(JoinError::NoAnswer(why)) = refused else { panic!("{refused:?}") };
        assert!(ids.iter().all(|id| why.contains(id)), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_removed_node_is_free_for_another_disk_and_its_disk_is_not() {
    let first = founder().await;
    let mut second = Node::start(2, 0x52, None).await;
    second.join(first.port).await.unwrap();
    second.register().await;
    let set = |change| {
        let node = NodeId(2);
        Command::SetNodeState(SetNodeState { node, expected: None, change })
    };
    for change in [NodeChange::Drain, NodeChange::Remove] {
        let reply = first.metadata().propose(&set(change)).await.unwrap();
        assert!(matches!(reply, Reply::NodeStateSet(Ok(_))), "{reply:?}");
    }
    let welcomed = |storage| {
        let storage = StorageId(Uuid::from_u128(storage));
        let from = PeerIdentity { storage, ..second.links.me() };
        first.serves.judge(&from)
    };
    assert!(matches!(welcomed(0x52), Err(HelloRefusal::Removed { .. })));
    assert_eq!(welcomed(0x92), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_in_no_cluster_says_so() {
    let empty = Node::start(1, 0x51, None).await;
    let other = Node::start(2, 0x52, None).await;
    let at = ("127.0.0.1", empty.port);
    assert_eq!(probe(&other.links, at).await, Err(JoinError::NoCluster));
    assert_eq!(join(&other.links, at, other.peer()).await, Err(JoinError::NoCluster));
}
