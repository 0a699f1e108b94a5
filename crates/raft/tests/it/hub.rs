//! A network for members in one process: requests go from runtime to runtime, links can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::runtime::Handle as Runtime;
use uuid::Uuid;
use walrus_raft::{
    CallError, Destination, Group as Handle, Identity, Lane, RaftConfig, RaftId, RaftPeer, Start,
    Transport,
};
use walrus_storage::disk::{Disk, SimDisk};
use walrus_types::{NodeId, StorageId};

use crate::world::{CLUSTER, Life, start_with};

/// How long anything that must happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Wires {
    running: BTreeMap<RaftId, (Handle, Runtime)>,
    /// From whom to whom nothing comes through.
    cut: BTreeSet<(RaftId, RaftId)>,
}

/// What all members are connected to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hub(Arc<Mutex<Wires>>);

/// One member's end.
#[derive(Debug)]
struct Port {
    from: RaftId,
    hub: Hub,
}

impl Transport for Port {
    fn call(
        &self,
        to: Destination,
        _lane: Lane,
        request: Bytes,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        let wires = self.hub.0.lock().unwrap();
        let cut = wires.cut.contains(&(self.from, to.member));
        let answer_cut = wires.cut.contains(&(to.member, self.from));
        let target = wires.running.get(&to.member).cloned();
        drop(wires);
        Box::pin(async move {
            let Some((service, runtime)) = target else {
                return Err(CallError::NotSent(format!("{to} is down")));
            };
            if cut {
                // As when packets are dropped: nobody says so.
                tokio::time::sleep(limit).await;
                return Err(CallError::NoAnswer("dropped".into()));
            }
            let answering = runtime.spawn(async move { service.answer(&request).await });
            match tokio::time::timeout(limit, answering).await {
                Ok(Ok(answer)) if !answer_cut => Ok(answer),
                _ => Err(CallError::NoAnswer("no answer came".into())),
            }
        })
    }
}

/// A group of members, each with a disk and a runtime of its own.
pub(crate) struct Group {
    pub(crate) hub: Hub,
    disks: BTreeMap<u32, Arc<dyn Disk>>,
    pub(crate) lives: BTreeMap<u32, Life>,
    config: RaftConfig,
}

pub(crate) fn storage(number: u32) -> StorageId {
    StorageId(Uuid::from_u128(0x50 + u128::from(number)))
}

pub(crate) fn id(number: u32) -> RaftId {
    storage(number).into()
}

pub(crate) fn peer(number: u32) -> RaftPeer {
    let node = NodeId(i32::try_from(number).unwrap());
    RaftPeer { node, host: "localhost".into(), port: 6000 }
}

impl Group {
    /// A founder, and others that were taken in and vote.
    pub(crate) fn of(members: u32, config: RaftConfig) -> Self {
        let mut group =
            Self { hub: Hub::default(), disks: BTreeMap::new(), lives: BTreeMap::new(), config };
        group.start(1);
        for number in 2..=members {
            group.start(number);
            group.admit(number);
            group.promote(number);
        }
        group
    }

    /// Starts a member, for the first time or again.
    pub(crate) fn start(&mut self, number: u32) {
        let disk = self.disks.entry(number).or_insert_with(|| {
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(number.into()));
            disk
        });
        let begin = if number == 1 { Start::Found(peer(1)) } else { Start::Join };
        let port = Port { from: id(number), hub: self.hub.clone() };
        let identity = Identity { storage: storage(number), cluster: CLUSTER };
        let dir = PathBuf::from("/node/raft_meta");
        let how = (begin, Arc::new(port) as Arc<dyn Transport>);
        let life = start_with(Arc::clone(disk), &dir, identity, how, self.config.clone()).unwrap();
        let line = (life.node.group(), life.runtime.handle().clone());
        self.hub.0.lock().unwrap().running.insert(id(number), line);
        self.lives.insert(number, life);
    }

    /// Ends a member as `kill -9` does.
    pub(crate) fn kill(&mut self, number: u32) {
        self.hub.0.lock().unwrap().running.remove(&id(number));
        self.lives.remove(&number).unwrap().kill();
    }

    /// Nothing goes between `number` and the others, in both directions.
    pub(crate) fn isolate(&self, number: u32) {
        let mut wires = self.hub.0.lock().unwrap();
        for other in self.disks.keys().filter(|other| **other != number) {
            wires.cut.insert((id(number), id(*other)));
            wires.cut.insert((id(*other), id(number)));
        }
    }

    /// All links work again.
    pub(crate) fn heal(&self) {
        self.hub.0.lock().unwrap().cut.clear();
    }

    pub(crate) fn life(&self, number: u32) -> &Life {
        &self.lives[&number]
    }

    pub(crate) fn admit(&self, number: u32) {
        let life = self.lives.values().next().unwrap();
        let member = life.node.group();
        life.runtime.block_on(member.admit(id(number), peer(number))).unwrap();
    }

    pub(crate) fn promote(&self, number: u32) {
        self.eventually("a vote", |group| {
            let Some(leader) = group.leader() else { return false };
            let life = group.life(leader);
            life.runtime.block_on(life.node.group().promote(id(number))).is_ok()
        });
    }

    /// Who leads in its own eyes, and in those of a majority.
    pub(crate) fn leader(&self) -> Option<u32> {
        self.lives.iter().find(|(_, life)| life.node.group().leads()).map(|(number, _)| *number)
    }

    /// Waits for what must come.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, mut is_there: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !is_there(self) {
            assert!(began.elapsed() < SOON, "{what} did not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
