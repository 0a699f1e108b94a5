//! Start, serve, stop: the order in which a node's parts come and go.
//!
//! The folder is locked first, so that a second process is told whose it is; then the ports are
//! taken, the admin port early, so that a start can be watched, and the peer port too, for nodes
//! that form a cluster wait for each other. `opening.rs` then finds the cluster and opens metadata
//! and log. Clients are served last. Stopping goes the other way: no new requests, answers that
//! are owed, the log's last bytes, the mark of a clean stop; other nodes are answered up to the
//! end.

use std::{
    net::SocketAddr,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tracing::{error, info, warn};
use walrus_metadata::NodeState;
use walrus_replication::{Member, Writer, liveness::Terms};

use crate::{
    admin::{AdminServer, Health},
    banner::{self, Started},
    broker::{Broker, Parts},
    clock::Clock,
    config::Config,
    controller::{self, ControllerState, world::Obeys},
    data_dir::DataDir,
    doors::{ClientDoor, Doors},
    events,
    facts::BrokerFacts,
    forming::REMOVED_NEXT,
    groups::Groups,
    lag,
    lease::Lease,
    logging,
    metrics::Metrics,
    net::{connection, listener},
    opening::{Opened, Opening, Part, Peers, close_store},
    operations,
    partition::{
        fed::{Partitions, probe},
        hand_over::hand_over,
        leading::{Leading, OrderedTicks},
        roll::{self, OrderedRolls},
    },
    peer::{PeerIdentity, feed::Feeds},
    process,
    replica::{self, Linked, Replicas},
    shutdown::{Signals, Tasks},
    text::{Queues, elsewhere::Serves},
};

/// How long the admin port may take to close.
const ADMIN_STOP: Duration = Duration::from_secs(1);
/// How long threads that are in the middle of something may take at the very end.
const BLOCKED_MAX: Duration = Duration::from_secs(1);
/// A node that somebody told what to form tells for so long why it did not.
const TELL_WHY: Duration = Duration::from_secs(2);
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
    let ended = runtime.block_on(lives(Arc::new(config), begun));
    // A read that hangs on a dying disk must not hold the process.
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}

/// Lives until the node is asked to stop. A life that was fenced may write no more, and the next
/// one may: it begins with what is on disk, as after a restart.
async fn lives(config: Arc<Config>, begun: Instant) -> Result<()> {
    let mut signals = Signals::install().context("cannot take over signals")?;
    let (metrics, mut begun) = (Metrics::default(), begun);
    while serve((&config, &metrics), begun, &mut signals).await? == Ended::Fenced {
        info!("this life of the node may write no more: it begins another");
        begun = Instant::now();
    }
    Ok(())
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was asked to stop.
    Asked,
    /// It may write no more.
    Fenced,
}

async fn serve(
    (config, metrics): (&Arc<Config>, &Metrics),
    begun: Instant,
    signals: &mut Signals,
) -> Result<Ended> {
    let mut data_dir = DataDir::open(&config.node.data_dir, config.node.id, None)?;
    let doors = Doors::open(config).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = %config.node.id,
        storage = %data_dir.identity().storage_id,
        incarnation = %data_dir.incarnation(),
        folder = %data_dir.path().display(),
        "starting"
    );
    let (health, tasks) = (Health::new("reading the log"), Tasks::default());
    let hooks = config.node.test_hooks.then(|| tasks.clone());
    let admin = AdminServer::start(&config.admin, health.clone(), metrics.clone(), hooks)?;

    let told = (doors.peer(config), doors.told(config, admin.address()));
    let peers = Peers::open(doors.peers, who(config, &data_dir));
    let mut opening =
        Opening::new(config, &mut data_dir, &peers, told, (health.clone(), admin.forming()));
    let clock = Clock::start();
    let ended = match open(&mut opening, clock, signals).await {
        Ok(ControlFlow::Continue(opened)) => {
            let (broker, ordered) = assemble((config, metrics.clone()), clock, opened, &peers);
            let running = Running { broker, ordered, data_dir, health, tasks, begun };
            running.serve(doors.clients, &peers, &admin, signals).await
        }
        Ok(ControlFlow::Break(ended)) => Ok(ended),
        Err(why) => {
            health.fail(format!("{why:#}"));
            if admin.forming().was_told() {
                tell_why(&why, signals).await;
            }
            Err(why)
        }
    };
    peers.stop().await;
    admin.stop(ADMIN_STOP).await;
    ended
}

/// Whom others meet. Its cluster is told once it is known for certain.
fn who(config: &Config, data_dir: &DataDir) -> PeerIdentity {
    PeerIdentity {
        cluster: data_dir.identity().cluster_id,
        node: config.node.id,
        storage: data_dir.identity().storage_id,
        incarnation: data_dir.incarnation(),
    }
}

/// Opens the node, up to where it may be asked for anything, if this life comes so far.
async fn open(
    opening: &mut Opening<'_>,
    clock: Clock,
    signals: &mut Signals,
) -> Result<ControlFlow<Ended, Opened>> {
    let asked = |signal| info!(signal, "asked to stop before it served");
    let formed = tokio::select! {
        formed = opening.form() => formed?,
        signal = signals.next() => {
            asked(signal);
            return Ok(ControlFlow::Break(Ended::Asked));
        }
    };
    let opened = opening.open(formed).await?;
    let mut fatal = opened.raft.fatal();
    let taking_part = tokio::select! {
        part = opening.take_part(&opened, clock) => part.map(|part| match part {
            Part::Taken => None,
            Part::InNextLife => Some(Ended::Fenced),
        }),
        signal = signals.next() => {
            asked(signal);
            Ok(Some(Ended::Asked))
        }
        why = fatal.wait_for(Option::is_some) => {
            let why = why.ok().and_then(|why| why.clone());
            let why = why.as_deref().unwrap_or("it ended");
            Err(anyhow::anyhow!("the metadata log failed: {why}"))
        }
    };
    let Some(ended) = taking_part? else { return Ok(ControlFlow::Continue(opened)) };
    opened.close().await?;
    opening.data_dir.mark_clean()?;
    Ok(ControlFlow::Break(ended))
}

/// Leaves the admin port open for a moment: who told this node what to form asks what came of it.
async fn tell_why(why: &anyhow::Error, signals: &mut Signals) {
    error!(why = format!("{why:#}"), "the node does not take part, and stops in a moment");
    tokio::select! {
        () = tokio::time::sleep(TELL_WHY) => {}
        signal = signals.next() => info!(signal, "asked to stop"),
    }
}

/// What partitions have ordered, to be carried out.
struct Ordered {
    rolls: OrderedRolls,
    ticks: OrderedTicks,
}

/// Puts the parts of a node together and lets others meet them.
fn assemble(
    (config, metrics): (&Arc<Config>, Metrics),
    clock: Clock,
    opened: Opened,
    peers: &Peers,
) -> (Arc<Broker>, Ordered) {
    let Opened { identity, raft, store, backend, .. } = opened;
    let me = Member { node: identity.node, storage: identity.storage };
    let writer = Writer { node: identity.node, incarnation: identity.incarnation };
    let links = Arc::clone(&peers.links);
    let (feeds, lease) = (Feeds::new(Arc::clone(&links)), Arc::new(Lease::new(Terms::default())));
    // It has just registered.
    lease.heard(clock.uptime());
    let controller = ControllerState::new(identity.node, clock);
    let replicas = Replicas::open(replica::Parts {
        store: store.clone(),
        metadata: raft.watch(),
        me,
        incarnation: identity.incarnation,
        sources: Arc::new(Linked(Arc::clone(&links))),
        // Every topic is flushed before it is acknowledged: an unclean stop loses nothing.
        unclean_stop: false,
        metrics: metrics.clone(),
    });
    let (rolls, ordered_rolls) = roll::orders();
    let ways = (rolls, Arc::clone(&feeds));
    let (leading, ticks) = Leading::new(writer, ways, (Arc::clone(&lease), clock));
    let config = Arc::clone(config);
    let broker = Broker::new(Parts {
        config,
        identity,
        clock,
        store,
        backend,
        raft,
        metrics,
        replicas,
        lease,
        controller,
        links,
        feeds,
        leading,
    });
    let partitions = Partitions::of(&broker);
    broker.replicas.set_own(Arc::<Partitions>::clone(&partitions));
    broker.feeds.start(partitions);
    peers.node.keep(Arc::clone(&broker.replicas));
    peers.node.hear(Arc::<ControllerState>::clone(&broker.controller));
    peers.node.obey(Arc::new(Obeys(Arc::downgrade(&broker))));
    peers.node.talk(Arc::new(Serves(Arc::downgrade(&broker))));
    (broker, Ordered { rolls: ordered_rolls, ticks })
}

/// A node that takes part.
struct Running {
    broker: Arc<Broker>,
    ordered: Ordered,
    data_dir: DataDir,
    health: Health,
    tasks: Tasks,
    begun: Instant,
}

impl Running {
    /// Serves until it is asked to stop or something fails, and stops in order.
    async fn serve(
        self,
        clients: ClientDoor,
        peers: &Peers,
        admin: &AdminServer,
        signals: &mut Signals,
    ) -> Result<Ended> {
        let Self { broker, ordered, data_dir, health, tasks, begun } = self;
        let clients = clients.open()?;
        admin.plug(Arc::new(BrokerFacts::new(&broker)));
        admin.serve(&broker);
        start_tasks(&tasks, &broker);
        // Not one of the tasks that are asked to end: appends that are parked while the node
        // drains wait for their roll.
        let rolls = tokio::spawn(ordered.rolls.run(Arc::clone(&broker)));
        let ticks = tokio::spawn(ordered.ticks.run(broker.clock));
        health.ready();
        show(&broker, &data_dir, (clients.local_addr()?, peers.address(), admin.address()), begun);
        let ending = until_it_ends(&clients, &broker, (&tasks, peers), signals, &health).await;
        match &ending {
            Ending::Asked => {
                Signals::install().context("cannot take over signals")?.exit_on_next();
                health.drain();
                let patience = Duration::from_millis(broker.config.node.stop_ms) / 2;
                hand_over(&broker, patience).await;
            }
            Ending::Fenced => health.starting("beginning another life"),
            Ending::Failed(why) => {
                Signals::install().context("cannot take over signals")?.exit_on_next();
                error!(why, "the node cannot go on: stopping; what was acknowledged is on disk");
                health.fail(why);
            }
        }
        broker.drain();
        drop(clients);
        let late = tasks.stop(Duration::from_millis(broker.config.node.stop_ms)).await;
        if !late.is_empty() {
            warn!(?late, "tasks did not end in time and were broken off");
        }
        broker.feeds.stop().await;
        broker.replicas.stop().await;
        ticks.abort();
        rolls.abort();
        if let Err(why) = rolls.await
            && why.is_panic()
        {
            error!(%why, "the task that proposes rolls failed");
        }
        let me = &broker.identity;
        let gone = format!(
            "{} was removed from the cluster\n  next: {REMOVED_NEXT}, or is switched off for good",
            me.node
        );
        let is_removed = broker.metadata().disk_is_removed(me.storage);
        match ending {
            Ending::Failed(why) => Err(anyhow::anyhow!("{why}")),
            // Another life would only be sent away, and not before it found somebody to do so.
            Ending::Fenced if is_removed => {
                close(broker, data_dir).await?;
                Err(anyhow::anyhow!("{gone}"))
            }
            Ending::Asked => close(broker, data_dir).await.map(|()| Ended::Asked),
            Ending::Fenced => close(broker, data_dir).await.map(|()| Ended::Fenced),
        }
    }
}

/// Why a node that serves is to end.
enum Ending {
    /// Somebody asked.
    Asked,
    /// This life may write no more.
    Fenced,
    /// Something failed.
    Failed(String),
}

/// Says on standard output that it serves.
fn show(
    broker: &Broker,
    data_dir: &DataDir,
    (client, peer, admin): (SocketAddr, Option<SocketAddr>, SocketAddr),
    begun: Instant,
) {
    let metadata = broker.metadata();
    let here = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
    banner::show(
        &broker.config,
        &Started {
            cluster: Some(broker.identity.cluster),
            nodes: here.count(),
            incarnation: broker.identity.incarnation,
            client: Some(client),
            peer,
            admin,
            folder: data_dir.path(),
            backend: broker.store_backend(),
            took: begun.elapsed(),
        },
    );
}

/// Serves clients until this life is to end; answers why.
async fn until_it_ends(
    clients: &TcpListener,
    broker: &Arc<Broker>,
    (tasks, peers): (&Tasks, &Peers),
    signals: &mut Signals,
    health: &Health,
) -> Ending {
    tokio::select! {
        () = accept(clients, broker, tasks) => Ending::Asked,
        signal = signals.next() => {
            info!(signal, "asked to stop: draining");
            Ending::Asked
        }
        () = broker.lease.fenced() => {
            // Nothing of this life is decided any more, a roll that was proposed least of all:
            // who waits for it would hold up the end, and his connection keep him here.
            let now = broker.clock.uptime();
            broker.partitions().all().iter().for_each(|partition| partition.send_away(now));
            Ending::Fenced
        }
        why = failure(broker) => Ending::Failed(why),
        why = health.failed() => Ending::Failed(why),
        task = tasks.panicked() => Ending::Failed(format!("the task {task:?} panicked")),
        task = peers.panicked() => Ending::Failed(format!("the task {task:?} panicked")),
        task = broker.feeds.panicked() => Ending::Failed(format!("the task {task:?} panicked")),
    }
}

fn start_tasks(tasks: &Tasks, broker: &Arc<Broker>) {
    tasks.spawn("follow the metadata", controller::follow::run(Arc::clone(broker)));
    tasks.spawn("controller", controller::world::run(Arc::clone(broker)));
    tasks.spawn("probe members", probe(Arc::clone(broker)));
    tasks.spawn("operations", operations::drive::run(Arc::clone(broker)));
    tasks.spawn("rollovers", operations::rolling::run(Arc::clone(broker)));
    tasks.spawn("monitor", controller::monitor::run(Arc::clone(broker)));
    tasks.spawn("groups", Groups::run(Arc::clone(broker)));
    tasks.spawn("lag of groups", lag::run(Arc::clone(broker)));
    tasks.spawn("events", events::run(Arc::clone(broker)));
    tasks.spawn("GET cursors", Queues::run(Arc::clone(broker)));
    let sweeper = Arc::clone(broker);
    tasks.spawn("sweep", async move {
        let swept = tokio::task::spawn_blocking(move || controller::follow::sweep(&sweeper)).await;
        if let Err(why) = swept {
            warn!(%why, "looking for garbage on disk was broken off");
        }
    });
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
    close_store(store).await?;
    data_dir.mark_clean()?;
    info!("stopped");
    Ok(())
}
