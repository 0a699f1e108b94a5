//! Start, serve, stop: the order in which a node's parts come and go.
//!
//! The folder is locked first, so that a second process is told whose it is; then the ports are
//! taken, the admin port early, so that a start can be watched; then log and metadata. Clients are
//! served last. Stopping goes the other way: no new requests, answers that are owed, the
//! log's last bytes, the mark of a clean stop.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tracing::{error, info, warn};
use walrus_metadata::{Address, Addresses, Command, Register, Reply};
use walrus_raft::{Alone, MetadataNode, RaftConfig, RaftPeer, Start};
use walrus_storage::{
    disk::{Backend, Disk, RealDisk},
    store::{Store, StoreConfig, StoreOpened},
    wal::WalConfig,
};
use walrus_types::{ClusterId, TimestampMs};

use crate::{
    admin::{AdminServer, Health},
    banner::{self, Started},
    broker::{Broker, Identity, Parts},
    clock::Clock,
    config::{Config, HostPort},
    controller,
    data_dir::DataDir,
    facts::BrokerFacts,
    logging,
    metrics::Metrics,
    net::{connection, listener},
    partition::roll::{self, OrderedRolls},
    process,
    shutdown::{Signals, Tasks},
    text::Queues,
};

/// How long the admin port may take to close.
const ADMIN_STOP: Duration = Duration::from_secs(1);
/// How long threads that are in the middle of something may take at the very end.
const BLOCKED_MAX: Duration = Duration::from_secs(1);
/// How often the log and the metadata are asked whether they have failed.
const FAILURE_LOOK: Duration = Duration::from_millis(100);

/// Runs the broker until it is asked to stop.
///
/// # Errors
/// It could not start, or something it stands on failed.
pub fn run(config: Config) -> Result<()> {
    let begun = Instant::now();
    logging::start(&config.log)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let files_max = process::raise_open_files();
    let wanted =
        u64::from(config.client.connections_max) + u64::from(config.storage.open_files_max);
    if files_max.is_some_and(|max| max < wanted + 64) {
        warn!(files_max, wanted, "the limit on open files is below what the settings may need");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(Arc::new(config), begun));
    // A read that hangs on a dying disk must not hold the process.
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}

async fn serve(config: Arc<Config>, begun: Instant) -> Result<()> {
    let mut signals = Signals::install().context("cannot take over signals")?;
    let mut data_dir = DataDir::open(&config.node.data_dir, config.node.id, None)?;
    let clients = listener::bind(resolve(&config.client.listen()).await?)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = %config.node.id,
        storage = %data_dir.identity().storage_id,
        incarnation = %data_dir.incarnation(),
        folder = %data_dir.path().display(),
        "starting"
    );
    let (health, metrics, tasks) =
        (Health::new("reading the log"), Metrics::default(), Tasks::default());
    let hooks = config.node.test_hooks.then(|| tasks.clone());
    let admin = AdminServer::start(&config.admin, health.clone(), metrics.clone(), hooks)?;

    let (broker, ordered_rolls) = open(&config, &mut data_dir, metrics).await?;
    admin.plug(Arc::new(BrokerFacts::new(&broker)));
    start_tasks(&tasks, &broker);
    // Not one of the tasks that are asked to end: appends that are parked while the node drains
    // wait for their roll.
    let rolls = tokio::spawn(ordered_rolls.run(Arc::clone(&broker)));
    health.ready();
    banner::show(
        &config,
        &Started {
            cluster: Some(broker.identity.cluster),
            incarnation: broker.identity.incarnation,
            client: Some(clients.local_addr()?),
            peer: None,
            admin: admin.address(),
            folder: data_dir.path(),
            backend: broker.store_backend(),
            took: begun.elapsed(),
        },
    );
    let failure = until_it_ends(&clients, &broker, &tasks, &mut signals, &health).await;
    signals.exit_on_next();
    match &failure {
        None => health.drain(),
        Some(why) => {
            error!(why, "the node cannot go on: stopping; what was acknowledged is on disk");
            health.fail(why);
        }
    }
    broker.drain();
    drop(clients);
    let late = tasks.stop(Duration::from_millis(config.node.stop_ms)).await;
    if !late.is_empty() {
        warn!(?late, "tasks did not end in time and were broken off");
    }
    rolls.abort();
    if let Err(why) = rolls.await
        && why.is_panic()
    {
        error!(%why, "the task that proposes rolls failed");
    }
    let closed = match failure {
        Some(why) => Err(anyhow::anyhow!("{why}")),
        None => close(broker, data_dir).await,
    };
    admin.stop(ADMIN_STOP).await;
    closed
}

/// Serves clients until a signal comes or something fails; answers what failed.
async fn until_it_ends(
    clients: &TcpListener,
    broker: &Arc<Broker>,
    tasks: &Tasks,
    signals: &mut Signals,
    health: &Health,
) -> Option<String> {
    tokio::select! {
        () = accept(clients, broker, tasks) => None,
        signal = signals.next() => {
            info!(signal, "asked to stop: draining");
            None
        }
        why = failure(broker) => Some(why),
        why = health.failed() => Some(why),
        task = tasks.panicked() => Some(format!("the task {task:?} panicked")),
    }
}

fn start_tasks(tasks: &Tasks, broker: &Arc<Broker>) {
    tasks.spawn("follow the metadata", controller::follow::run(Arc::clone(broker)));
    tasks.spawn("monitor", controller::monitor::run(Arc::clone(broker)));
    tasks.spawn("GET cursors", Queues::run(Arc::clone(broker)));
    let sweeper = Arc::clone(broker);
    tasks.spawn("sweep", async move {
        let swept = tokio::task::spawn_blocking(move || controller::follow::sweep(&sweeper)).await;
        if let Err(why) = swept {
            warn!(%why, "looking for garbage on disk was broken off");
        }
    });
}

/// Opens log and metadata and registers this life.
async fn open(
    config: &Arc<Config>,
    data_dir: &mut DataDir,
    metrics: Metrics,
) -> Result<(Arc<Broker>, OrderedRolls)> {
    let cluster = data_dir.identity().cluster_id.unwrap_or_else(|| ClusterId(uuid::Uuid::new_v4()));
    let identity = Identity {
        node: config.node.id,
        storage: data_dir.identity().storage_id,
        cluster,
        incarnation: data_dir.incarnation(),
    };
    let backend = if config.storage.disable_io_uring { Backend::Blocking } else { Backend::Auto };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(backend));
    // The cluster is named in the folder first: metadata of a cluster that the folder does not
    // know would be refused at the next start.
    data_dir.bind_cluster(cluster)?;
    let raft_identity = walrus_raft::Identity { storage: identity.storage, cluster };
    let at = config.raft.advertised();
    let peer = RaftPeer { node: identity.node, host: at.host.as_str().to_owned(), port: at.port };
    let raft_meta = data_dir.raft_meta();
    let raft = MetadataNode::open(
        Arc::clone(&disk),
        &raft_meta,
        raft_identity,
        Start::Found(peer),
        Arc::new(Alone),
        RaftConfig::default(),
    );
    let user_data = data_dir.user_data();
    let (store, raft) = tokio::join!(open_store(config, disk, &user_data), raft);
    let ((store, backend), (raft, _opened)) = (store?, raft?);
    let clock = Clock::start();
    register(config, &raft, identity, clock.now()).await?;
    let (rolls, ordered_rolls) = roll::orders();
    let config = Arc::clone(config);
    let parts = Parts { config, identity, clock, store, backend, raft, metrics, rolls };
    Ok((Broker::new(parts), ordered_rolls))
}

async fn open_store(
    config: &Config,
    disk: Arc<dyn Disk>,
    dir: &Path,
) -> Result<(Store, &'static str)> {
    let ring = config.storage.wal_ring();
    let settings = StoreConfig {
        wal: WalConfig { file_bytes: ring.file_bytes, files: ring.files, ..WalConfig::default() },
        tail_bytes_max: config.storage.hot_tail_bytes,
        open_files_max: usize::try_from(config.storage.open_files_max).unwrap_or(usize::MAX),
        reserve_bytes: config.storage.disk_reserve_bytes,
        ..StoreConfig::default()
    };
    let dir = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Store::open(disk, &dir, settings)).await?;
    let (store, opened) = opened.context("the log cannot be opened")?;
    tell(&opened);
    Ok((store, opened.wal.backend))
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

async fn register(
    config: &Config,
    raft: &MetadataNode,
    identity: Identity,
    at: TimestampMs,
) -> Result<()> {
    let address = |at: &HostPort| Address { host: at.host.as_str().to_owned(), port: at.port };
    let client = config.client.advertised().unwrap_or_else(|| config.client.listen());
    let command = Command::Register(Register {
        node: identity.node,
        storage: identity.storage,
        incarnation: identity.incarnation,
        cluster: identity.cluster,
        rack: config.node.rack.as_ref().map(ToString::to_string),
        addresses: Addresses {
            client: address(&client),
            peer: address(&config.raft.advertised()),
            admin: address(&config.admin.listen()),
        },
        at,
    });
    match raft.propose(&command).await.context("the node cannot register")? {
        Reply::Registered(Ok(_at)) => Ok(()),
        Reply::Registered(Err(refused)) => bail!("this node may not register: {refused}"),
        other => bail!("registering was answered with {other:?}"),
    }
}

async fn resolve(at: &HostPort) -> Result<SocketAddr> {
    let mut found = tokio::net::lookup_host((at.host.as_str(), at.port))
        .await
        .with_context(|| format!("{at} cannot be looked up"))?;
    found.next().with_context(|| format!("{at} has no address"))
}

/// Accepts clients for as long as it is polled.
async fn accept(clients: &TcpListener, broker: &Arc<Broker>, tasks: &Tasks) {
    let admission = listener::Admission::new(
        usize::try_from(broker.config.client.connections_max).unwrap_or(usize::MAX),
        usize::try_from(broker.config.client.connections_per_ip_max).unwrap_or(usize::MAX),
    );
    loop {
        let (stream, peer, admitted) = listener::accept(clients, &admission, &broker.metrics).await;
        let broker = Arc::clone(broker);
        tasks.spawn("connection", async move {
            let connected = broker.metrics.connected();
            connection::serve(broker, stream, peer).await;
            drop((connected, admitted));
        });
    }
}

/// Ends when the log or the metadata has failed, with the reason.
async fn failure(broker: &Broker) -> String {
    let fatal = broker.raft.fatal();
    loop {
        if let Some(why) = broker.store.failed() {
            return format!("the log failed: {why}");
        }
        let dead = fatal.borrow().clone();
        if let Some(why) = dead {
            return format!("the metadata log failed: {why}");
        }
        tokio::time::sleep(FAILURE_LOOK).await;
    }
}

/// Writes the last bytes and marks the stop as clean.
async fn close(broker: Arc<Broker>, mut data_dir: DataDir) -> Result<()> {
    broker.queues.commit(&broker).await;
    let store = broker.store.clone();
    match Arc::into_inner(broker) {
        Some(broker) => broker.raft.shutdown().await,
        // A task outlived the drain; the metadata log needs no goodbye to be whole.
        None => warn!("requests were still under way; the metadata log is closed as by a crash"),
    }
    tokio::task::spawn_blocking(move || store.close()).await?.context("the log was not closed")?;
    data_dir.mark_clean()?;
    info!("stopped");
    Ok(())
}
