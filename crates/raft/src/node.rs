//! One member of the metadata group, as the rest of a node uses it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{Config, Raft, ServerState, SnapshotPolicy, async_runtime::WatchReceiver as _};
use tokio::{sync::watch, task::JoinHandle};
use walrus_metadata::{Command, Metadata, Reply};
use walrus_storage::{disk::Disk, wal::WalStats};

use crate::{
    config::RaftConfig,
    file::FileError,
    group::Group,
    identity::{self, Identity, IdentityError},
    log::{LogOpenError, LogStore},
    machine::Machine,
    metrics,
    network::Network,
    propose::{ProposeError, Proposer, stopped},
    snapshots::Snapshots,
    transport::Transport,
    types::{RaftId, RaftPeer, TypeConfig},
    watch::{Leadership, Told, watch_over},
};

const WAL_FOLDER: &str = "wal";

/// So long after a voter has heard the leader it gives nobody else its vote, unless the leader
/// itself hands over. So there is no other leader for as long after a majority was heard.
pub const VOTE_LEASE: Duration = Duration::from_millis(450);

/// A member of the metadata group. Dropping it without [`MetadataNode::shutdown`] is what a crash
/// is: what was answered is durable, the rest is not promised.
#[derive(Debug)]
pub struct MetadataNode {
    raft: Raft<TypeConfig, Machine>,
    log: LogStore,
    views: watch::Receiver<Arc<Metadata>>,
    told: Told,
    proposer: Proposer,
    watcher: JoinHandle<()>,
}

/// What a member does whose folder has no group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It founds one, of itself.
    Found(RaftPeer),
    /// It waits until a leader takes it in: see [`Group::admit`].
    Join,
}

/// What a start found.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The group was founded just now.
    pub founded: bool,
    /// Entries that were in the log beside the snapshot.
    pub entries: u64,
    /// Bytes of the WAL that were replayed.
    pub wal_bytes: u64,
    /// From the call to its return.
    pub took: Duration,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder belongs to something else.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] FileError),
    /// The log begins after the newest snapshot: what lies between is lost.
    #[error("the metadata log in {} begins after entry {purged}, its newest snapshot ends at {snapshot:?}", dir.display())]
    Gap {
        /// The folder.
        dir: PathBuf,
        /// The last entry that is gone from the log.
        purged: u64,
        /// The last entry in the snapshot.
        snapshot: Option<u64>,
    },
    /// The disk said no.
    #[error("{}: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The group did not start.
    #[error("the metadata group did not start: {0}")]
    Raft(String),
}

impl MetadataNode {
    /// Whose metadata is in a folder; `None` when there is none yet. Blocks on the disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn find(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Identity>, FileError> {
        identity::find(disk, dir)
    }

    /// Starts the member whose log is in `dir`. The only voter of its group returns when it leads
    /// and has applied everything that was committed before; one of several at once, for the
    /// others may be yet to start.
    ///
    /// # Errors
    /// When the folder belongs to another disk or cluster, or its contents cannot be used.
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        start: Start,
        transport: Arc<dyn Transport>,
        config: RaftConfig,
    ) -> Result<(Self, Opened), OpenError> {
        let started = Instant::now();
        let folder = dir.to_path_buf();
        let for_files = config.clone();
        let files = move || open_files(disk, &folder, identity, &for_files);
        let opening = tokio::task::spawn_blocking(files).await;
        let files = opening.map_err(|error| OpenError::Raft(error.to_string()))??;
        let Files { log, snapshots, entries, wal_bytes } = files;

        let (machine, views) = Machine::new(snapshots);
        let id = RaftId::from(identity.storage);
        let network = Network(Arc::clone(&transport));
        let raft = raft_config(&config);
        let raft = Raft::new(id, raft, network, log.clone(), machine).await.map_err(not_started)?;
        let (watcher, told) = watch_over(raft.clone(), log.clone());
        let proposer = Proposer::new(raft.clone(), log.clone(), views.clone(), transport, &config);
        let node = Self { raft, log, views, told, proposer, watcher };
        let founded = node.begin(id, start, config.start_timeout).await?;
        let opened = Opened { founded, entries, wal_bytes, took: started.elapsed() };
        Ok((node, opened))
    }

    /// Founds the group if there is none and it is told to, and leads one of which it is the only
    /// voter: that waits for nobody, so the election is asked for, not timed out into.
    async fn begin(&self, id: RaftId, start: Start, limit: Duration) -> Result<bool, OpenError> {
        let mut founded = false;
        if !self.raft.is_initialized().await.map_err(not_started)? {
            let Start::Found(peer) = start else {
                self.raft.runtime_config().tick(true);
                return Ok(false);
            };
            let members = BTreeMap::from([(id, peer)]);
            self.raft.initialize(members).await.map_err(not_started)?;
            founded = true;
        }
        let members = self.group().members();
        if members.len() > 1 {
            self.raft.runtime_config().tick(true);
        }
        if members.iter().any(|member| member.votes && member.id != id) {
            return Ok(false);
        }
        if !founded {
            self.raft.trigger().elect(false).await.map_err(not_started)?;
        }
        let leads = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            let applied = metrics.last_applied.map(|log_id| log_id.index);
            metrics.state == ServerState::Leader
                && metrics.committed_membership_config == metrics.membership_config
                && applied >= metrics.last_log_index
        };
        let wait = self.raft.wait(Some(limit));
        wait.metrics(leads, "leads with all applied").await.map_err(not_started)?;
        Ok(founded)
    }

    /// A handle on this member that others may hold.
    pub fn group(&self) -> Group {
        Group { raft: self.raft.clone(), proposer: self.proposer.clone() }
    }

    /// Proposes a command, through whoever leads, and answers with what the state machine replied.
    /// Its effect is in [`MetadataNode::state`] by then. Proposals that run at the same time share flushes; one
    /// that is dropped while it runs may still be applied.
    ///
    /// # Errors
    /// See [`ProposeError`] for which of them leave the outcome open.
    pub async fn propose(&self, command: &Command) -> Result<Reply, ProposeError> {
        self.proposer.propose(command).await
    }

    /// The metadata as it is now. It never changes; ask again to see what came since.
    pub fn state(&self) -> Arc<Metadata> {
        Arc::clone(&self.views.borrow())
    }

    /// The metadata as it changes: wakes after every batch of applied entries.
    /// [`Metadata::applied`] is the index of each view. Do not hold what is borrowed from it.
    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.views.clone()
    }

    /// Waits until everything up to `index` is applied here.
    ///
    /// # Errors
    /// When the group stopped before.
    pub async fn applied(&self, index: u64) -> Result<Arc<Metadata>, ProposeError> {
        let mut views = self.views.clone();
        match views.wait_for(|view| view.applied() >= index).await {
            Ok(view) => Ok(Arc::clone(&view)),
            Err(_) => Err(ProposeError::Stopped("its state machine is gone".into())),
        }
    }

    /// Why the group is dead, once it is. The process must stop then: nothing is decided any more,
    /// and only a restart finds out what was.
    pub fn fatal(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.told.fatal.clone()
    }

    /// Who leads the group, as it changes. Do not hold what is borrowed from it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.told.leadership.clone()
    }

    /// openraft's metrics under openraft's names, members named by their node ids.
    pub fn metrics(&self) -> serde_json::Value {
        // Cloned at once: a borrow that is held stops the core.
        let metrics = self.raft.metrics().borrow_watched().clone();
        metrics::to_json(&metrics)
    }

    /// Figures of the log's WAL.
    pub fn wal_stats(&self) -> WalStats {
        self.log.wal_stats()
    }

    /// Takes a snapshot soon and forgets the log before it.
    ///
    /// # Errors
    /// When the group stopped.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        self.raft.trigger().snapshot().await.map_err(|fatal| stopped(&fatal))
    }

    /// Stops in order: what is under way is finished, the WAL ends with its mark.
    pub async fn shutdown(self) {
        self.watcher.abort();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the metadata group's core did not stop in order");
        }
        let log = self.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::warn!(%error, "the metadata log was not closed in order");
        }
    }
}

impl Drop for MetadataNode {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

struct Files {
    log: LogStore,
    snapshots: Snapshots,
    entries: u64,
    wal_bytes: u64,
}

fn open_files(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    config: &RaftConfig,
) -> Result<Files, OpenError> {
    let at = |source| OpenError::Io { dir: dir.into(), source };
    let wal_dir = dir.join(WAL_FOLDER);
    disk.create_dir_all(dir).map_err(at)?;
    let log_is_there = match disk.list(&wal_dir) {
        Ok(entries) => !entries.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(at(error)),
    };
    identity::settle(&disk, dir, identity, log_is_there)?;
    disk.create_dir_all(&wal_dir).map_err(at)?;
    let (log, opened) = LogStore::open(Arc::clone(&disk), &wal_dir, config)?;
    let snapshots = Snapshots::new(disk, dir);
    let newest = snapshots.newest()?;
    let snapshot = newest.and_then(|newest| newest.meta.last_log_id).map(|log_id| log_id.index);
    let state = log.state();
    let purged = state.last_purged_log_id.map(|log_id| log_id.index);
    if let Some(purged) = purged.filter(|_| purged > snapshot) {
        return Err(OpenError::Gap { dir: dir.into(), purged, snapshot });
    }
    let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
    let last = state.last_log_id.map(|log_id| log_id.index);
    let entries = next(last) - next(purged);
    Ok(Files { log, snapshots, entries, wal_bytes: opened.bytes })
}

fn raft_config(config: &RaftConfig) -> Arc<Config> {
    let raft = Config {
        cluster_name: "walrus".into(),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        // Whoever lags gets the snapshot: the ring is small, and so is the state.
        max_in_snapshot_log_to_keep: 0,
        // Entries are bytes in memory, so one that carries 1,000 rolls counts as one.
        max_payload_entries: 64,
        // An idle leader is heard ten times a second, and missed after three times at the least:
        // the time to live of leases, a second, must span an election.
        heartbeat_interval: 100,
        election_timeout_min: 300,
        election_timeout_max: u64::try_from(VOTE_LEASE.as_millis()).unwrap_or(u64::MAX),
        // A snapshot of the largest state, over a slow network.
        install_snapshot_timeout: 60_000,
        backoff: "20ms 40ms 80ms ..500ms".into(),
        // The only voter needs no timers: it asks for its election and has nobody to beat for.
        // They are set going when there is a second member.
        enable_tick: false,
        // A new term commits what an earlier one left, so a restart never serves less than it
        // answered before.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    Arc::new(raft.validate().expect("constants that openraft accepts"))
}

fn not_started(error: impl std::fmt::Display) -> OpenError {
    OpenError::Raft(error.to_string())
}
