//! A node to try things on: its disk, its commands, and a runtime of its own so that it can be
//! killed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Command, Leader, Member, Metadata, NewTopic, Placement, Register, Reply,
};
use walrus_raft::{
    Alone, Identity, MetadataNode, OpenError, Opened, ProposeError, RaftConfig, RaftPeer, Start,
    Transport,
};
use walrus_storage::disk::{Backend, Disk, RealDisk};
use walrus_types::{ClusterId, Incarnation, NodeId, StorageId, TimestampMs, TopicId};

pub(crate) const STORAGE: StorageId = StorageId(Uuid::from_u128(0x51));
pub(crate) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
pub(crate) const IDENTITY: Identity = Identity { storage: STORAGE, cluster: CLUSTER };

/// A node in a runtime of its own. Dropping it is what `kill -9` is: tasks end where they are.
pub(crate) struct Life {
    pub(crate) node: MetadataNode,
    pub(crate) opened: Opened,
    pub(crate) runtime: Runtime,
}

pub(crate) fn start(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    config: RaftConfig,
) -> Result<Life, OpenError> {
    let founds = Start::Found(RaftPeer { node: NodeId(1), host: "localhost".into(), port: 6001 });
    start_with(disk, dir, identity, (founds, Arc::new(Alone)), config)
}

pub(crate) fn start_with(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    (start, transport): (Start, Arc<dyn Transport>),
    config: RaftConfig,
) -> Result<Life, OpenError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let opening = MetadataNode::open(disk, dir, identity, start, transport, config);
    let (node, opened) = runtime.block_on(opening)?;
    Ok(Life { node, opened, runtime })
}

impl Life {
    pub(crate) fn propose(&self, command: &Command) -> Result<Reply, ProposeError> {
        self.runtime.block_on(self.node.propose(command))
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.node.shutdown());
    }

    pub(crate) fn kill(self) {
        drop(self.node);
        drop(self.runtime);
    }

    pub(crate) fn state(&self) -> Arc<Metadata> {
        self.node.state()
    }
}

pub(crate) fn real_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(Backend::Auto))
}

/// A folder of a simulated disk.
pub(crate) fn sim_dir() -> PathBuf {
    "/node/raft_meta".into()
}

/// A ring so small that it turns often.
pub(crate) fn small() -> RaftConfig {
    let mut config = RaftConfig { snapshot_entries: 50, ..RaftConfig::default() };
    config.wal.file_bytes = 64 << 10;
    config.wal.group_bytes_max = 16 << 10;
    config.command_bytes_max = 16 << 10;
    config
}

pub(crate) fn register(incarnation: u64) -> Command {
    let door = |port| Address { host: "localhost".into(), port };
    Command::Register(Register {
        node: NodeId(1),
        storage: STORAGE,
        incarnation: Incarnation(incarnation),
        cluster: CLUSTER,
        rack: None,
        addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
        at: TimestampMs(0),
    })
}

/// A topic of one partition on node 1, in its first life.
pub(crate) fn create(number: u32) -> Command {
    let placement = Placement {
        leader: Leader { node: NodeId(1), incarnation: Incarnation(1) },
        members: vec![Member { node: NodeId(1), storage: STORAGE }],
        w: 1,
    };
    Command::CreateTopics(vec![NewTopic {
        id: TopicId(Uuid::from_u128(number.into())),
        name: format!("t{number}"),
        replicas_target: 3,
        partitions: vec![placement],
        configs: vec![],
        at: TimestampMs(0),
    }])
}

pub(crate) fn ids_handed_out(state: &Metadata) -> i64 {
    state.next_producer().0 / 1_000
}
