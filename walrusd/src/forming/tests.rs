//! Nodes of one process that look for each other over loopback.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use walrus_raft::RaftConfig;
use walrus_storage::disk::{Disk, SimDisk};
use walrus_types::{Incarnation, StorageId};

use super::*;
use crate::{
    peer::{PeerNode, server},
    shutdown::Tasks,
};

const SOON: Duration = Duration::from_secs(20);
/// Long enough to look at the others several times.
const A_WHILE: Duration = Duration::from_millis(450);

/// A node that is met on its peer port.
struct Node {
    at: HostPort,
    me: RaftPeer,
    links: Arc<Links>,
    serves: Arc<PeerNode>,
    raft: Option<MetadataNode>,
    said: Mutex<Vec<String>>,
    _tasks: Tasks,
}

impl Node {
    async fn start(number: i32, storage: u128) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let links = Links::new(PeerIdentity {
            cluster: None,
            node: NodeId(number),
            storage: StorageId(Uuid::from_u128(storage)),
            incarnation: Incarnation(1),
        });
        let serves = PeerNode::new(Arc::clone(&links));
        let tasks = Tasks::default();
        let accepting = server::accept(listener, Arc::<PeerNode>::clone(&serves), tasks.clone());
        tasks.spawn("peers", accepting);
        let me = RaftPeer { node: NodeId(number), host: "127.0.0.1".into(), port };
        let at = format!("127.0.0.1:{port}").parse().unwrap();
        Self { at, me, links, serves, raft: None, said: Mutex::default(), _tasks: tasks }
    }

    async fn form(&self, config: &ClusterConfig, folder: Folder) -> Result<Formed, FormError> {
        let waiting = |why: &str| self.said.lock().unwrap().push(why.to_owned());
        form(config, &self.links, &self.me, folder, waiting).await
    }

    /// Opens its metadata and serves it.
    async fn open(&mut self, formed: Formed) {
        self.links.joined(formed.cluster);
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(u64::from(self.me.port)));
        let identity =
            walrus_raft::Identity { storage: self.links.me().storage, cluster: formed.cluster };
        let transport: Arc<dyn walrus_raft::Transport> = Arc::<Links>::clone(&self.links);
        let dir = std::path::Path::new("/node/raft_meta");
        let config = RaftConfig::default();
        let opening = MetadataNode::open(disk, dir, identity, formed.start, transport, config);
        let (raft, _opened) = opening.await.unwrap();
        self.serves.serve(raft.group());
        self.raft = Some(raft);
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }
}

fn alone() -> ClusterConfig {
    ClusterConfig::default()
}

fn join_at(at: &HostPort) -> ClusterConfig {
    ClusterConfig { join: Some(at.clone()), ..alone() }
}

fn peers(at: &[&HostPort]) -> ClusterConfig {
    ClusterConfig { peers: at.iter().map(|at| (*at).clone()).collect(), ..alone() }
}

/// Founds a cluster of one, and serves it.
async fn founder(number: i32, storage: u128) -> Node {
    let mut node = Node::start(number, storage).await;
    let formed = node.form(&alone(), Folder::Empty).await.unwrap();
    assert!(!formed.joins());
    node.open(formed).await;
    node
}

async fn nobody() -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

#[tokio::test]
async fn a_node_that_was_told_nothing_founds_a_cluster_of_one() {
    let (one, other) = (founder(1, 0x51).await, founder(2, 0x52).await);
    assert_ne!(one.links.me().cluster, other.links.me().cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_the_list_founds_once_all_are_there_and_the_others_join_it() {
    let first = Node::start(1, 0x51).await;
    let (second, third) = (Node::start(2, 0x52).await, nobody().await);
    // Named by another of its names, and still itself.
    let renamed: HostPort = format!("localhost:{}", first.me.port).parse().unwrap();
    let list = [&renamed, &second.at, &third];
    let (of_first, of_second) = (peers(&list), peers(&list));
    let waited = tokio::time::timeout(A_WHILE, async {
        tokio::select! {
            formed = first.form(&of_first, Folder::Empty) => formed,
            formed = second.form(&of_second, Folder::Empty) => formed,
        }
    });
    assert!(waited.await.is_err(), "one of three is not there");
    assert!(first.said().contains(&third.to_string()), "{}", first.said());

    let third = Node::start(3, 0x53).await;
    let list = [&renamed, &second.at, &third.at];
    let config = peers(&list);
    let waited = tokio::time::timeout(A_WHILE, second.form(&config, Folder::Empty)).await;
    assert!(waited.is_err(), "the second founds nothing");
    let mut first = first;
    let formed = first.form(&config, Folder::Empty).await.unwrap();
    let cluster = formed.cluster;
    assert!(!formed.joins());
    first.open(formed).await;
    for node in [&second, &third] {
        let formed = tokio::time::timeout(SOON, node.form(&config, Folder::Empty)).await.unwrap();
        assert_eq!(formed, Ok(Formed { cluster, start: Start::Join }));
    }
    // The first one lost its folder: it does not found another one over the heads of the others.
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_told_of_others_never_founds_a_cluster_because_they_are_silent() {
    let node = Node::start(1, 0x51).await;
    let gone = nobody().await;
    for config in [join_at(&gone), peers(&[&node.at, &gone])] {
        let formed = tokio::time::timeout(A_WHILE, node.form(&config, Folder::Empty)).await;
        assert!(formed.is_err(), "{config:?}: {formed:?}");
        assert!(node.said().contains(&gone.to_string()), "{}", node.said());
    }
    // Nor because they are empty too, if it was on its way into one that was there.
    let was = ClusterId(Uuid::from_u128(0xC1));
    let config = peers(&[&node.at]);
    let formed = tokio::time::timeout(A_WHILE, node.form(&config, Folder::Joining(was))).await;
    assert!(formed.is_err(), "{formed:?}");
    let formed = node.form(&alone(), Folder::Joining(was)).await;
    assert_eq!(formed, Ok(Formed { cluster: was, start: Start::Join }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joined_has_the_metadata_and_asks_again_without_harm() {
    let first = founder(1, 0x51).await;
    let cluster = first.links.me().cluster.unwrap();
    let mut second = Node::start(2, 0x52).await;
    let config = join_at(&first.at);
    for folder in [Folder::Empty, Folder::Joining(cluster)] {
        let formed = second.form(&config, folder).await;
        assert_eq!(formed, Ok(Formed { cluster, start: Start::Join }));
    }
    let other = ClusterId(Uuid::from_u128(0xC2));
    let refused = second.form(&config, Folder::Joining(other)).await.unwrap_err();
    tells(&refused, &[cluster.to_string(), other.to_string()]);
    second.open(Formed { cluster, start: Start::Join }).await;
    let (raft, me) = (second.raft.as_ref().unwrap(), &second.me);
    let came = tokio::time::timeout(A_WHILE, metadata_came(raft, cluster, me)).await;
    assert!(came.is_err(), "nobody has registered, so the metadata names no cluster yet");
    register(&first).await;
    tokio::time::timeout(SOON, metadata_came(raft, cluster, me)).await.unwrap();
}

async fn register(node: &Node) {
    use walrus_metadata::{Address, Addresses, Command, Register};
    let PeerIdentity { cluster, node: id, storage, incarnation } = node.links.me();
    let door = |port| Address { host: "127.0.0.1".into(), port };
    let command = Command::Register(Register {
        node: id,
        storage,
        incarnation,
        cluster: cluster.unwrap(),
        rack: None,
        addresses: Addresses { client: door(1), peer: door(node.me.port), admin: door(2) },
        at: walrus_types::TimestampMs(0),
    });
    node.raft.as_ref().unwrap().propose(&command).await.unwrap();
}

#[track_caller]
fn tells(refused: &FormError, words: &[String]) {
    let text = refused.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text} lacks one of {words:?}");
    assert!(text.contains("\n  next: "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_disk_or_of_another_cluster_ends_with_both_ids_and_a_next_step() {
    let first = founder(1, 0x51).await;
    register(&first).await;
    let cluster = first.links.me().cluster.unwrap();
    let wiped = Node::start(1, 0x99).await;
    let refused = wiped.form(&join_at(&first.at), Folder::Empty).await.unwrap_err();
    let storages = [0x51, 0x99].map(|id| StorageId(Uuid::from_u128(id)).to_string());
    tells(&refused, &storages);

    let stranger = founder(2, 0x52).await;
    let other = stranger.links.me().cluster.unwrap();
    let hinted = stranger.form(&join_at(&first.at), Folder::In(other)).await.unwrap_err();
    tells(&hinted, &[cluster.to_string(), other.to_string()]);
    let silent = stranger.form(&join_at(&nobody().await), Folder::In(other)).await.unwrap();
    assert_eq!(silent.cluster, other, "a hint that nobody answers is none");

    let third = Node::start(3, 0x53).await;
    let config = peers(&[&first.at, &stranger.at, &third.at]);
    let torn = third.form(&config, Folder::Empty).await.unwrap_err();
    tells(&torn, &[cluster.to_string(), other.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_told_to_join_itself_or_one_of_its_number_is_told_so() {
    let node = Node::start(1, 0x51).await;
    let itself = node.form(&join_at(&node.at), Folder::Empty).await.unwrap_err();
    tells(&itself, &[node.at.to_string(), "--join".into()]);
    let twin = Node::start(1, 0x52).await;
    let refused = twin.form(&peers(&[&node.at, &twin.at]), Folder::Empty).await.unwrap_err();
    tells(&refused, &[node.at.to_string(), "n1".into(), "--node-id".into()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_others_do_not_talk_to_finds_out() {
    let first = founder(1, 0x51).await;
    register(&first).await;
    let wiped = Node::start(1, 0x99).await;
    let others = || [first.me.clone(), RaftPeer { node: NodeId(2), ..first.me.clone() }];
    let refused = sent_away(&wiped.links, others().into_iter()).await.unwrap();
    tells(&refused, &[first.at.to_string()]);
    let guest = Node::start(3, 0x53).await;
    assert_eq!(sent_away(&guest.links, others().into_iter()).await, None);
}
