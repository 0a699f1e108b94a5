//! One member of the metadata group, as the rest of a node uses it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    Config, Raft, ServerState, SnapshotPolicy,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, Fatal, ForwardToLeader, RaftError},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use walrus_metadata::{Command, Metadata, Reply};
use walrus_storage::{disk::Disk, wal::WalStats};

use crate::{
    config::RaftConfig,
    file::FileError,
    identity::{self, Identity, IdentityError},
    log::{LogOpenError, LogStore, Pressure},
    machine::Machine,
    metrics,
    network::Network,
    snapshots::Snapshots,
    types::{Proposal, RaftId, RaftPeer, TypeConfig},
};

const WAL_FOLDER: &str = "wal";

/// How long a snapshot that the ring needs is waited for before it is asked for again.
const PRESSED_AGAIN: Duration = Duration::from_millis(100);

/// A member of the metadata group. Dropping it without [`MetadataNode::shutdown`] is what a crash
/// is: what was answered is durable, the rest is not promised.
#[derive(Debug)]
pub struct MetadataNode {
    raft: Raft<TypeConfig, Machine>,
    log: LogStore,
    views: watch::Receiver<Arc<Metadata>>,
    fatal: watch::Receiver<Option<Arc<str>>>,
    pressure: watch::Receiver<Pressure>,
    watcher: JoinHandle<()>,
    command_bytes_max: usize,
    propose_timeout: Duration,
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
    /// From the call to leading with everything applied.
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

/// Why a proposal has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not proposed: larger than an entry may be. Split it.
    #[error("a command of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// It was not proposed: another member leads, or none.
    #[error("this node does not lead the metadata group; {}", .leader.as_ref().map_or_else(|| "nobody is known to".to_owned(), |(_, peer)| format!("{peer} does")))]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<(RaftId, RaftPeer)>,
    },
    /// It was not proposed: the log has no room until a snapshot is taken. Try again later.
    #[error("the metadata log is full for now")]
    Full,
    /// It may have been applied, or may yet be. Only the state can tell.
    #[error("no answer from the metadata group in time; the command may still be applied")]
    Unknown,
    /// The group's core is dead, and the process must stop. The command may have been applied.
    #[error("the metadata group stopped: {0}")]
    Stopped(Arc<str>),
}

impl MetadataNode {
    /// Whose metadata is in a folder; `None` when there is none yet. Blocks on the disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn find(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Identity>, FileError> {
        identity::find(disk, dir)
    }

    /// Starts the member whose log is in `dir`, or founds a group of one there; returns when it
    /// leads and has applied everything that was committed before.
    ///
    /// # Errors
    /// When the folder belongs to another disk or cluster, or its contents cannot be used.
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        peer: RaftPeer,
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
        let raft = raft_config(&config);
        let raft = Raft::new(id, raft, Network, log.clone(), machine).await.map_err(not_started)?;
        let (watcher, fatal) = watch_over(raft.clone(), log.clone());
        let pressure = log.pressure();
        let node = Self {
            raft,
            log,
            views,
            fatal,
            pressure,
            watcher,
            command_bytes_max: config.command_bytes_max,
            propose_timeout: config.propose_timeout,
        };
        let founded = node.lead(id, peer, config.start_timeout).await?;
        let opened = Opened { founded, entries, wal_bytes, took: started.elapsed() };
        Ok((node, opened))
    }

    /// Founds the group if there is none, and leads it. A group of one waits for nobody: the
    /// election is asked for, not timed out into.
    async fn lead(&self, id: RaftId, peer: RaftPeer, limit: Duration) -> Result<bool, OpenError> {
        let founded = !self.raft.is_initialized().await.map_err(not_started)?;
        if founded {
            let members = BTreeMap::from([(id, peer)]);
            self.raft.initialize(members).await.map_err(not_started)?;
        } else {
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

    /// Proposes a command and answers with what the state machine replied. Its effect is in
    /// [`MetadataNode::state`] by then. Proposals that run at the same time share flushes.
    ///
    /// # Errors
    /// See [`ProposeError`] for which of them leave the outcome open.
    pub async fn propose(&self, command: &Command) -> Result<Reply, ProposeError> {
        let bytes = command.encode();
        if bytes.len() > self.command_bytes_max {
            let (bytes, limit) = (bytes.len(), self.command_bytes_max);
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        self.room().await?;
        let writing = Box::pin(self.raft.client_write(Proposal(bytes.into())));
        match timeout(self.propose_timeout, writing).await {
            Ok(Ok(written)) => {
                Ok(written.data.0.expect("a command is answered with its reply, by apply"))
            }
            Ok(Err(error)) => Err(refused(error)),
            Err(_elapsed) => Err(ProposeError::Unknown),
        }
    }

    async fn room(&self) -> Result<(), ProposeError> {
        let mut pressure = self.pressure.clone();
        let room = pressure.wait_for(|pressure| *pressure != Pressure::Stop);
        match timeout(self.propose_timeout, room).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Full),
        }
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
        self.fatal.clone()
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
    disk.sync_dir(dir).map_err(at)?;
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
        // The only voter needs no timers: it asks for its election and has nobody to beat for.
        enable_tick: false,
        // A new term commits what an earlier one left, so a restart never serves less than it
        // answered before.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    Arc::new(raft.validate().expect("constants that openraft accepts"))
}

/// Takes snapshots when the ring asks for them, and tells when the core is dead.
fn watch_over(
    raft: Raft<TypeConfig, Machine>,
    log: LogStore,
) -> (JoinHandle<()>, watch::Receiver<Option<Arc<str>>>) {
    let (tell, fatal) = watch::channel(None);
    let watcher = tokio::spawn(async move {
        let mut metrics = raft.server_metrics();
        let mut pressure = log.pressure();
        loop {
            let pressed = *pressure.borrow_and_update() != Pressure::Room;
            if pressed && let Err(fatal) = raft.trigger().snapshot().await {
                tell.send_replace(Some(why(&fatal, &log)));
                return;
            }
            tokio::select! {
                changed = pressure.changed() => if changed.is_err() { return },
                // A snapshot that was under way when this one was asked for may have come first.
                () = sleep(PRESSED_AGAIN), if pressed => {}
                changed = metrics.changed() => {
                    let running = raft.metrics().borrow_watched().running_state.clone();
                    let dead = match (changed, running) {
                        (_, Err(fatal)) => fatal,
                        (Err(_), Ok(())) => Fatal::Stopped,
                        (Ok(()), Ok(())) => continue,
                    };
                    tell.send_replace(Some(why(&dead, &log)));
                    return;
                }
            }
        }
    });
    (watcher, fatal)
}

fn why(fatal: &Fatal<TypeConfig>, log: &LogStore) -> Arc<str> {
    match log.failed() {
        Some(failed) => format!("{fatal}: {failed}").into(),
        None => fatal.to_string().into(),
    }
}

fn stopped(fatal: &Fatal<TypeConfig>) -> ProposeError {
    ProposeError::Stopped(fatal.to_string().into())
}

fn not_started(error: impl std::fmt::Display) -> OpenError {
    OpenError::Raft(error.to_string())
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(forward),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ProposeError::Unknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            unreachable!("a command is no membership change: {error}")
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
            unreachable!("a command has no precondition: {error}")
        }
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

fn not_leader(forward: ForwardToLeader<TypeConfig>) -> ProposeError {
    ProposeError::NotLeader { leader: forward.leader_id.zip(forward.leader_node) }
}
