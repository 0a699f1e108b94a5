//! From a locked folder to a node that takes part in its cluster.
//!
//! ```text
//!  form ──> bind the folder, if it founds ──> metadata group ─┐
//!                                             log ────────────┴─> the metadata came ──> bind the
//!                                                                 folder, if it joined ──> register
//! ```
//!
//! Waiting for others can take for ever: the first step and those from the third on can be broken
//! off, and [`Opened::close`] leaves nothing undone.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tracing::{error, info};
use walrus_metadata::{Addresses, NodeState, Register, RegisterRefusal};
use walrus_raft::{MetadataNode, RaftConfig, RaftPeer, Transport};
use walrus_storage::{
    disk::{Backend, Disk, RealDisk},
    store::{Store, StoreConfig, StoreOpened},
    wal::WalConfig,
};

use crate::{
    admin::{Forming, Health, Told},
    broker::Identity,
    clock::Clock,
    config::{Config, StorageConfig},
    data_dir::DataDir,
    doors::DoorError,
    forming::{self, Folder, Formed},
    peer::{Links, PeerIdentity, PeerNode, server},
    registration::{RegisterError, register},
    shutdown::Tasks,
};

/// What this node says to others and they to it.
#[derive(Debug)]
pub struct Peers {
    /// Its connections to others.
    pub links: Arc<Links>,
    /// What it answers them.
    pub node: Arc<PeerNode>,
    /// Where they ask it, or why they cannot.
    door: Result<SocketAddr, DoorError>,
    tasks: Tasks,
}

impl Peers {
    /// Lets others ask from now on, even if there is nothing to tell yet.
    pub fn open(door: Result<TcpListener, DoorError>, me: PeerIdentity) -> Self {
        let (links, tasks) = (Links::new(me), Tasks::default());
        let node = PeerNode::new(Arc::clone(&links));
        let door = door.and_then(|listener| {
            let address = listener.local_addr()?;
            let serves = Arc::<PeerNode>::clone(&node);
            tasks.spawn("peers", server::accept(listener, serves, tasks.clone()));
            Ok(address)
        });
        Self { links, node, door, tasks }
    }

    /// Where others ask this node, if they can.
    pub fn address(&self) -> Option<SocketAddr> {
        self.door.as_ref().ok().copied()
    }

    /// Waits until a task that serves others panics, and names it.
    pub async fn panicked(&self) -> &'static str {
        self.tasks.panicked().await
    }

    /// Talks to nobody any more.
    pub async fn stop(self) {
        // They serve until they are broken off.
        drop(self.tasks.stop(Duration::ZERO).await);
    }
}

/// What opening a node takes.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What was configured.
    pub config: &'a Config,
    /// Its folder.
    pub data_dir: &'a mut DataDir,
    /// The others.
    pub peers: &'a Peers,
    /// Where they reach this node.
    pub me: RaftPeer,
    /// What the cluster is told about its ports.
    pub told: Addresses,
    /// Told what it waits for.
    pub health: Health,
    /// Where an operator tells it what to form.
    pub forming: Forming,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

/// A node whose metadata and log are open.
#[derive(Debug)]
pub struct Opened {
    /// Who it is.
    pub identity: Identity,
    /// Its member of the metadata group.
    pub raft: MetadataNode,
    /// Its log.
    pub store: Store,
    /// How the log reaches the disk.
    pub backend: &'static str,
    joins: bool,
}

impl<'a> Opening<'a> {
    /// The node of that folder, told to others by these ports.
    pub fn new(
        config: &'a Config,
        data_dir: &'a mut DataDir,
        peers: &'a Peers,
        (me, told): (RaftPeer, Addresses),
        (health, forming): (Health, Forming),
    ) -> Self {
        let backend =
            if config.storage.disable_io_uring { Backend::Blocking } else { Backend::Auto };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(backend));
        Self { config, data_dir, peers, me, told, health, forming, disk }
    }

    /// Finds the cluster. Nothing is opened yet, so this can be dropped at any point.
    ///
    /// # Errors
    /// The folder, or what the node was told, is not for the cluster that is there.
    pub async fn form(&self) -> Result<Formed> {
        let found = MetadataNode::find(&self.disk, &self.data_dir.raft_meta())?;
        self.data_dir.expect_metadata(found.as_ref())?;
        let folder = match (self.data_dir.identity().cluster_id, found) {
            (Some(cluster), _) => Folder::In(cluster),
            (None, Some(identity)) => Folder::Joining(identity.cluster),
            (None, None) => Folder::Empty,
        };
        let waiting = |why: &str| self.health.starting(&format!("waiting for the cluster: {why}"));
        let mut config = self.config.cluster.clone();
        if config.await_bootstrap && folder == Folder::Empty {
            waiting("walrusctl cluster bootstrap or join tells what to form");
            info!("waiting to be told what to form: walrusctl cluster bootstrap, or join");
            match self.forming.told().await {
                Told::Found => {}
                Told::Join(at) => config.join = Some(at),
            }
        }
        let links = &self.peers.links;
        let formed = forming::form(&config, links, &self.me, folder, waiting).await?;
        self.health.starting("reading the log");
        Ok(formed)
    }

    /// Opens the metadata and the log.
    ///
    /// # Errors
    /// They cannot be used.
    pub async fn open(&mut self, formed: Formed) -> Result<Opened> {
        let (cluster, joins) = (formed.cluster, formed.joins());
        if !joins {
            // The cluster is named in the folder first: metadata of a cluster that the folder does
            // not know is taken for one that the node was joining.
            self.data_dir.bind_cluster(cluster)?;
        }
        self.peers.links.joined(cluster);
        let identity = Identity {
            node: self.config.node.id,
            storage: self.data_dir.identity().storage_id,
            cluster,
            incarnation: self.data_dir.incarnation(),
        };
        let raft_identity = walrus_raft::Identity { storage: identity.storage, cluster };
        let transport: Arc<dyn Transport> = Arc::<Links>::clone(&self.peers.links);
        let raft_meta = self.data_dir.raft_meta();
        let disk = Arc::clone(&self.disk);
        let raft = MetadataNode::open(
            Arc::clone(&disk),
            &raft_meta,
            raft_identity,
            formed.start,
            transport,
            RaftConfig::default(),
        );
        let user_data = self.data_dir.user_data();
        let (store, raft) = tokio::join!(open_store(self.config, disk, &user_data), raft);
        let ((store, backend), (raft, _opened)) = (store?, raft?);
        self.peers.node.serve(raft.group());
        Ok(Opened { identity, raft, store, backend, joins })
    }

    /// Takes part in the cluster: from its return on the node may be asked for anything.
    ///
    /// # Errors
    /// The cluster does not take it.
    pub async fn take_part(&mut self, opened: &Opened, clock: Clock) -> Result<Part> {
        let Opened { identity, raft, .. } = opened;
        if let Err(why) = &self.peers.door
            && raft.group().members().len() > 1
        {
            bail!("this node's cluster has others: {why}");
        }
        if opened.joins {
            self.health.starting("waiting for the cluster's metadata");
            forming::metadata_came(raft, identity.cluster, &self.me).await;
            self.data_dir.bind_cluster(identity.cluster)?;
        }
        let new = Register {
            node: identity.node,
            storage: identity.storage,
            incarnation: identity.incarnation,
            cluster: identity.cluster,
            rack: self.config.node.rack.as_ref().map(ToString::to_string),
            addresses: self.told.clone(),
            at: clock.now(),
        };
        let waiting = |why: &str| self.health.starting(&format!("waiting for the cluster: {why}"));
        let index = match register(raft, &self.peers.links, new, waiting).await {
            Ok(index) => index,
            Err(RegisterError::Refused {
                refusal: RegisterRefusal::PastIncarnation { known, .. },
            }) if replaces(raft, identity) => {
                info!(last = %known, "this disk replaces another one and counts on from its lives");
                self.data_dir.count_on_from(known)?;
                return Ok(Part::InNextLife);
            }
            Err(why) => return Err(why.into()),
        };
        raft.applied(index).await?;
        self.data_dir.mark_registered()?;
        Ok(Part::Taken)
    }
}

/// Whether a node takes part in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It does.
    Taken,
    /// This life may not, and the next one may.
    InNextLife,
}

/// Whether the lives that the cluster knows of are those of another disk, which was removed.
fn replaces(raft: &MetadataNode, me: &Identity) -> bool {
    let metadata = raft.state();
    metadata
        .node(me.node)
        .is_some_and(|known| known.storage != me.storage && known.state == NodeState::Removed)
}

impl Opened {
    /// Closes what is open, in order.
    ///
    /// # Errors
    /// The log's last bytes were not written.
    pub async fn close(self) -> Result<()> {
        self.raft.shutdown().await;
        close_store(self.store).await
    }
}

/// Writes the log's last bytes.
///
/// # Errors
/// They were not written.
pub async fn close_store(store: Store) -> Result<()> {
    tokio::task::spawn_blocking(move || store.close()).await?.context("the log was not closed")
}

async fn open_store(
    config: &Config,
    disk: Arc<dyn Disk>,
    dir: &Path,
) -> Result<(Store, &'static str)> {
    let settings = store_settings(&config.storage);
    let dir = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Store::open(disk, &dir, settings)).await?;
    let (store, opened) = opened.context("the log cannot be opened")?;
    tell(&opened);
    Ok((store, opened.wal.backend))
}

fn store_settings(config: &StorageConfig) -> StoreConfig {
    let ring = config.wal_ring();
    let wal = WalConfig { file_bytes: ring.file_bytes, files: ring.files, ..WalConfig::default() };
    let others = StoreConfig::default();
    StoreConfig {
        wal,
        tail_bytes_max: config.hot_tail_bytes,
        open_files_max: usize::try_from(config.open_files_max).unwrap_or(usize::MAX),
        past_cache_bytes_per_s: config.past_cache_bytes_per_s,
        reserve_bytes: config.disk_reserve_bytes,
        // A small ring must be free again sooner.
        checkpoint_bytes: others.checkpoint_bytes.min(ring.file_bytes * u64::from(ring.files) / 4),
        ..others
    }
}

fn tell(opened: &StoreOpened) {
    info!(
        backend = opened.wal.backend,
        entries = opened.wal.entries,
        bytes = opened.wal.bytes,
        segments = opened.segments,
        took = ?opened.took,
        "log opened"
    );
    for damage in &opened.damage {
        error!(
            segment = %damage.segment, from = %damage.from, to = %damage.to, why = damage.why,
            "damaged records were found in the log; they are not served"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ring_that_the_settings_allow_can_be_opened() {
        for ring in [64_u64 << 20, 100 << 20, 256 << 20, 512 << 20, 64 << 30] {
            let config = StorageConfig {
                wal_ring_bytes: ring,
                hot_tail_bytes: (ring / 2).min(64 << 20),
                ..StorageConfig::default()
            };
            store_settings(&config).check().unwrap_or_else(|why| panic!("{ring}: {why}"));
        }
    }
}
