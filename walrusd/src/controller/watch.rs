//! What the controller does: it watches nodes, fences those that are gone, and has what they left
//! open sealed.
//!
//! ```text
//!   leads ──> Watch anew ──> heartbeats ──> silent for a TTL ──┐
//!                       └──> connection ended, port refuses ───┴─> Fence ──> a Seal for the life
//! ```
//!
//! Nothing is remembered from one controller to the next: the lives that are over and what they
//! left open stand in the metadata, so a new controller finishes what the last one began, at once.
//! It begins when it has applied all that was committed before: a life that is fenced and not known
//! to be must not be extended. Only for silence it waits a whole TTL (M6), a part of which the
//! controller before it has behind it when it hangs: see [`SILENT_BEFORE`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, sleep, sleep_until, timeout},
};
use tracing::{debug, error, info, warn};
use walrus_metadata::{Address, Command, Leader, Metadata, NodeState, Reply};
use walrus_raft::{Leadership, RaftId, VOTE_LEASE};
use walrus_replication::{UptimeMs, liveness::Fence, seal::Orphan};
use walrus_types::{Incarnation, NodeId, SegmentId, StorageId, TopicPartition};

use super::{
    balance::Balance,
    cluster::{Chore, Cluster, is_alone},
    members,
    messages::Orders,
    nodes,
    repair::{self, Repair},
    rolls,
    seal::{Seal, whole},
    state::ControllerState,
};

/// How often the watch is told the time.
const TICK: Duration = Duration::from_millis(50);
/// A process that ends closes its doors one after the other: it is looked at again after each of
/// these.
const PROBES_MS: [u64; 8] = [0, 5, 10, 20, 40, 80, 160, 320];
/// A connection that is neither made nor refused for so long says nothing.
const PROBE_MAX: Duration = Duration::from_millis(300);
/// Voters let nobody lead for so long after the leader was heard; and a little for the clocks.
const HEIR_FIRST: Duration = VOTE_LEASE.saturating_add(Duration::from_millis(10));
/// What the next voter waits for the one before it.
const HEIR_EACH: Duration = Duration::from_millis(40);
/// A controller that was answered by no majority of voters for so long extends no lease any more,
/// long before it can have a successor.
const QUORUM_AGE_MAX: Duration = Duration::from_millis(200);
/// So long before a controller begins its predecessor has extended the last lease: voters waited
/// for [`VOTE_LEASE`] after they heard it last, and it stopped [`QUORUM_AGE_MAX`] after that. Where
/// it handed over they did not wait; a node that hangs just then serves reads for that much longer.
const SILENT_BEFORE: Duration = VOTE_LEASE.saturating_sub(QUORUM_AGE_MAX);
/// How often the members of the metadata group are looked at.
const CHORE_EACH_MS: u64 = 200;
/// After a change of the group that was not made.
const CHORE_AGAIN_MS: u64 = 1_000;
/// How often the balance of the cluster is looked at.
const BALANCE_EACH_MS: u64 = 1_000;
/// How often copies of sealed segments are looked for.
const REPAIR_EACH_MS: u64 = 1_000;
/// How long a leader may take to answer an order.
const ORDER_MAX: Duration = Duration::from_secs(2);
/// How long a change of the group may take.
const CHORE_MAX: Duration = Duration::from_secs(10);

/// A life of a node.
type Life = (NodeId, Incarnation);

/// A node, as far as its changes matter here.
type Seen = (NodeId, Incarnation, NodeState, StorageId);

/// Is the controller whenever this node leads the metadata group.
pub async fn run<C: Cluster>(cluster: Arc<C>, state: Arc<ControllerState>) {
    let mut leadership = cluster.leadership();
    let mut before = None;
    while let Some(term) = elected(&*cluster, &state, (&mut leadership, &mut before)).await {
        tokio::select! {
            ended = reign(&cluster, &state, (term, before)) => return ended,
            () = deposed(&mut leadership, term) => {}
        }
        info!(term, "this node is no controller any more");
    }
}

/// Reigns in a term of Raft, after `before`, for as long as it is polled and the group runs.
async fn reign<C: Cluster>(
    cluster: &Arc<C>,
    state: &Arc<ControllerState>,
    (term, before): (u64, Option<RaftId>),
) {
    if !cluster.caught_up(term).await {
        return;
    }
    let metadata = Arc::clone(&cluster.views().borrow());
    let before = before.and_then(|leader| metadata.node_of(StorageId::from(leader)));
    info!(term, after = ?before, "this node is the controller");
    state.begin(term, before.map(|node| (node, ms(SILENT_BEFORE))), cluster.uptime());
    let _reigning = Reigning(state);
    Reign::new(Arc::clone(cluster), Arc::clone(state)).run().await;
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Ends the reign however its task ends.
struct Reigning<'a>(&'a ControllerState);

impl Drop for Reigning<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits until this node leads, and says in which term; nothing when the group has stopped. Keeps
/// in mind who led last.
async fn elected<C: Cluster>(
    cluster: &C,
    state: &ControllerState,
    (leadership, before): (&mut watch::Receiver<Leadership>, &mut Option<RaftId>),
) -> Option<u64> {
    let mut leads_here = |leads: &Leadership| {
        if !leads.here {
            *before = leads.leader.or(*before);
        }
        leads.here
    };
    loop {
        tokio::select! {
            leads = leadership.wait_for(&mut leads_here) => return leads.ok().map(|leads| leads.term),
            () = succeed(cluster, state) => {}
        }
    }
}

/// When the process of the member that leads is gone, asks to lead in its place as soon as the
/// voters may agree: by themselves they would wait for as long again.
async fn succeed<C: Cluster>(cluster: &C, state: &ControllerState) {
    state.a_peer_ended().await;
    let leader = cluster.leadership().borrow().leader;
    let metadata = Arc::clone(&cluster.views().borrow());
    let node = leader.and_then(|leader| metadata.node_of(StorageId::from(leader)));
    let Some((node, life)) = state.ended().into_iter().find(|(ended, _)| Some(*ended) == node)
    else {
        return;
    };
    let Some(known) = metadata.node(node) else { return };
    let wait_until = Instant::now() + HEIR_FIRST;
    if probe(cluster, known.addresses.peer.clone()).await == Gone::NotKnown {
        state.settled(node, life);
        return;
    }
    let me = cluster.me().storage;
    let members = cluster.members();
    let mut heirs = members.iter().filter(|member| member.votes && Some(member.id) != leader);
    let Some(rank) = heirs.position(|member| StorageId::from(member.id) == me) else { return };
    // The first one is enough; the others are there in case it dies, too.
    sleep_until(wait_until + HEIR_EACH * u32::try_from(rank).unwrap_or(u32::MAX)).await;
    if cluster.leadership().borrow().leader == leader {
        info!(leader = %node, "the controller's process is gone: asking to lead in its place");
        if let Err(why) = cluster.elect().await {
            warn!(why, "no election");
        }
    }
}

async fn deposed(leadership: &mut watch::Receiver<Leadership>, term: u64) {
    drop(leadership.wait_for(|leads| !leads.here || leads.term != term).await);
}

/// Something that was under way has ended.
enum Event {
    Fenced(Life),
    Probed { life: Life, ended: Incarnation, gone: Gone },
    Sealed(Leader),
    Chored { done: bool },
    Ordered { orders: Orders, given: bool },
    Copied { segment: SegmentId, is_made: bool },
    Left,
    Arrived,
}

/// Whether a process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Yes,
    NotKnown,
}

/// One reign. What it has under way ends with it.
struct Reign<C> {
    cluster: Arc<C>,
    state: Arc<ControllerState>,
    seen: Vec<Seen>,
    under_way: JoinSet<Event>,
    fencing: BTreeSet<Life>,
    probing: BTreeSet<Life>,
    sealing: BTreeSet<Leader>,
    /// When the group's members are looked at next; nothing while they are being changed.
    chore_at: Option<UptimeMs>,
    balance: Balance,
    balance_at: UptimeMs,
    repair: Repair,
    repair_at: UptimeMs,
}

impl<C: Cluster> Reign<C> {
    fn new(cluster: Arc<C>, state: Arc<ControllerState>) -> Self {
        let now = cluster.uptime();
        stay_in_touch(&*cluster, &state, now);
        Self {
            cluster,
            state,
            seen: Vec::new(),
            under_way: JoinSet::new(),
            fencing: BTreeSet::new(),
            probing: BTreeSet::new(),
            sealing: BTreeSet::new(),
            chore_at: Some(now),
            balance: Balance::default(),
            balance_at: UptimeMs(now.0 + BALANCE_EACH_MS),
            repair: Repair::default(),
            repair_at: UptimeMs(now.0 + REPAIR_EACH_MS),
        }
    }

    /// Reigns for as long as it is polled and the group runs.
    async fn run(mut self) {
        let mut views = self.cluster.views();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = Arc::clone(&self.state);
        let metadata = Arc::clone(&views.borrow_and_update());
        self.review(&metadata);
        let mut alone = is_alone(&metadata);
        loop {
            tokio::select! {
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let metadata = Arc::clone(&views.borrow_and_update());
                    self.review(&metadata);
                    alone = is_alone(&metadata);
                }
                () = state.a_peer_ended() => self.probe(),
                Some(event) = self.under_way.join_next() => self.ended(whole(event)),
                // The watch takes the time without ticks for a pause, and listens anew.
                _ = ticks.tick(), if !alone => self.tick(),
            }
        }
    }

    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.cluster.views().borrow())
    }

    /// Metadata has changed; nodes perhaps.
    fn review(&mut self, metadata: &Metadata) {
        let node = |(id, node): (&NodeId, &Arc<walrus_metadata::Node>)| {
            (*id, node.incarnation, node.state, node.storage)
        };
        let seen: Vec<Seen> = metadata.nodes().iter().map(node).collect();
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        self.state.review(metadata, self.cluster.uptime());
        self.begin_seals(metadata);
        self.probe();
    }

    /// Seals what lives that are over have left open, where nobody does so yet. What such a life
    /// leads never grows: no roll names it any more.
    fn begin_seals(&mut self, metadata: &Metadata) {
        let over = metadata.leases().map(|(life, _)| life);
        let over: Vec<Leader> = over.filter(|life| !metadata.may_lead(*life)).collect();
        for life in over {
            if self.sealing.contains(&life) {
                continue;
            }
            let orphans = self.orphans(metadata, life);
            if orphans.is_empty() {
                continue;
            }
            self.sealing.insert(life);
            let (cluster, state) = (Arc::clone(&self.cluster), Arc::clone(&self.state));
            let seal = Seal::begin(cluster, state, life, metadata, orphans);
            self.under_way.spawn(async move {
                seal.run().await;
                Event::Sealed(life)
            });
        }
    }

    fn orphans(&self, metadata: &Metadata, life: Leader) -> Vec<Orphan> {
        let open = metadata.led_by(|leader| leader == life);
        let open = open.filter(|(_, chain)| !rolls::is_left_to_its_node(metadata, chain));
        let orphan = |(id, chain): (TopicPartition, &Arc<walrus_metadata::Partition>)| {
            let topic = metadata.topic(id.topic)?;
            let lax = self.cluster.terms_of(topic).lax;
            Some(rolls::orphan(id, chain, topic, lax))
        };
        open.filter_map(orphan).collect()
    }

    /// Looks whether the processes are gone whose connections have ended. A connection may be of
    /// an earlier life of the same process: what is asked is whether anybody listens there.
    fn probe(&mut self) {
        let metadata = self.metadata();
        for (node, ended) in self.state.ended() {
            let Some(known) = metadata.node(node).filter(|known| known.incarnation >= ended) else {
                // It has yet to register, and then this is done again.
                continue;
            };
            let life = (node, known.incarnation);
            if !known.state.serves() {
                self.state.settled(node, ended);
            } else if self.probing.insert(life) {
                let (cluster, at) = (Arc::clone(&self.cluster), known.addresses.peer.clone());
                self.under_way.spawn(async move {
                    let gone = probe(&*cluster, at).await;
                    Event::Probed { life, ended, gone }
                });
            }
        }
    }

    fn ended(&mut self, event: Event) {
        match event {
            Event::Fenced(life) => {
                self.fencing.remove(&life);
            }
            Event::Probed { life, ended, gone } => {
                self.probing.remove(&life);
                self.state.settled(life.0, ended);
                if gone == Gone::Yes
                    && let Some(fence) = self.state.process_gone(life, self.cluster.uptime())
                {
                    self.fence(fence);
                }
            }
            Event::Sealed(life) => {
                self.sealing.remove(&life);
                let metadata = self.metadata();
                self.begin_seals(&metadata);
            }
            Event::Chored { done } => {
                let wait_ms = if done { CHORE_EACH_MS } else { CHORE_AGAIN_MS };
                self.chore_at = Some(UptimeMs(self.cluster.uptime().0 + wait_ms));
            }
            Event::Ordered { orders, given } => {
                if !given {
                    self.balance.lost(&orders);
                }
            }
            Event::Copied { segment, is_made } => {
                self.repair.ended(segment, is_made, self.cluster.uptime());
                self.make_copies();
            }
            Event::Left => self.repair.is_set(),
            // What is left of them stands in the metadata.
            Event::Arrived => {}
        }
    }

    fn tick(&mut self) {
        let now = self.cluster.uptime();
        stay_in_touch(&*self.cluster, &self.state, now);
        for fence in self.state.tick(now) {
            self.fence(fence);
        }
        if self.chore_at.is_some_and(|at| now >= at) {
            self.look_at_members(now);
        }
        // What is being sealed is placed anew already.
        if now >= self.balance_at && self.sealing.is_empty() {
            self.look_at_balance(now);
        }
        if now >= self.repair_at && self.sealing.is_empty() {
            self.look_at_copies(now);
        }
        self.make_copies();
    }

    fn fence(&mut self, fence: Fence) {
        let Fence { node, incarnation, why } = fence;
        if !self.fencing.insert((node, incarnation)) {
            return;
        }
        warn!(%node, %incarnation, %why, "fencing a node");
        let at = self.cluster.now();
        let command = Command::Fence(walrus_metadata::Fence { node, incarnation, at });
        let cluster = Arc::clone(&self.cluster);
        self.under_way.spawn(async move {
            match cluster.propose(command).await {
                Ok(Reply::Fenced(Ok(fenced))) => {
                    info!(%node, %incarnation, leads = fenced.leads, "a node is fenced");
                }
                Ok(Reply::Fenced(Err(why))) => debug!(%node, %incarnation, %why, "no fence"),
                Ok(other) => error!(?other, "a fence was answered with something else"),
                // The watch asks for it again while metadata does not have it.
                Err(why) => warn!(%node, %incarnation, %why, "a fence may not be applied"),
            }
            Event::Fenced((node, incarnation))
        });
    }

    /// Has leaders roll what should lie elsewhere.
    fn look_at_balance(&mut self, now: UptimeMs) {
        self.balance_at = UptimeMs(now.0 + BALANCE_EACH_MS);
        let metadata = self.metadata();
        if !self.balance.is_due(&metadata, now) {
            return;
        }
        let held = nodes::held(&metadata);
        let nodes = self.state.nodes(&metadata, &held, (now, self.cluster.now()));
        let terms = |topic: &_| self.cluster.terms_of(topic);
        for (node, orders) in self.balance.look(&metadata, &nodes, terms, now) {
            info!(%node, rolls = orders.0.len(), "a leader is asked to roll for the balance");
            let cluster = Arc::clone(&self.cluster);
            self.under_way.spawn(async move {
                let given = timeout(ORDER_MAX, cluster.order(node, orders.clone())).await;
                let given = given.unwrap_or_else(|_elapsed| Err("no answer in time".into()));
                if let Err(why) = &given {
                    debug!(%node, why, "orders did not reach their leader");
                }
                Event::Ordered { orders, given: given.is_ok() }
            });
        }
    }

    /// Looks for sealed segments with too few copies, and for members that may leave.
    fn look_at_copies(&mut self, now: UptimeMs) {
        self.repair_at = UptimeMs(now.0 + REPAIR_EACH_MS);
        let metadata = self.metadata();
        if !self.repair.is_due(&metadata, now) {
            return;
        }
        let nodes = repair::view(&*self.cluster, &self.state, &metadata);
        let sets = self.repair.look(&metadata, nodes, now);
        let arrived = Repair::arrived(&metadata);
        if !arrived.is_empty() {
            let cluster = Arc::clone(&self.cluster);
            self.under_way.spawn(async move {
                repair::note_arrived(cluster, arrived).await;
                Event::Arrived
            });
        }
        if !sets.is_empty() {
            let cluster = Arc::clone(&self.cluster);
            self.under_way.spawn(async move {
                repair::let_go(cluster, sets).await;
                Event::Left
            });
        }
    }

    /// Has copies made that are due.
    fn make_copies(&mut self) {
        let metadata = self.metadata();
        for wanted in self.repair.next(&metadata, self.cluster.uptime()) {
            let (cluster, state) = (Arc::clone(&self.cluster), Arc::clone(&self.state));
            let segment = wanted.segment;
            self.under_way.spawn(async move {
                let is_made = repair::make(cluster, state, wanted).await;
                Event::Copied { segment, is_made }
            });
        }
    }

    /// Changes the metadata group's members if that is due, one at a time.
    fn look_at_members(&mut self, now: UptimeMs) {
        self.chore_at = Some(UptimeMs(now.0 + CHORE_EACH_MS));
        let (members, me) = (self.cluster.members(), self.cluster.me());
        let hears = |node| self.state.hears(node, now);
        let Some(chore) = members::chore(&members, me.storage, &self.metadata(), hears) else {
            return;
        };
        self.chore_at = None;
        let cluster = Arc::clone(&self.cluster);
        self.under_way.spawn(async move {
            let changed = timeout(CHORE_MAX, cluster.carry_out(chore)).await;
            let changed = changed.unwrap_or_else(|_elapsed| Err("it took too long".into()));
            match &changed {
                Ok(()) => tell_chore(chore),
                Err(why) => warn!(?chore, why, "the metadata group's members are as they were"),
            }
            Event::Chored { done: changed.is_ok() }
        });
    }
}

/// Notes until when the voters that were heard keep this node the controller.
fn stay_in_touch<C: Cluster>(cluster: &C, state: &ControllerState, now: UptimeMs) {
    if let Some(age_ms) = cluster.quorum_age_ms() {
        state.in_touch_until(UptimeMs((now.0 + ms(QUORUM_AGE_MAX)).saturating_sub(age_ms)));
    }
}

fn tell_chore(chore: Chore) {
    match chore {
        Chore::Promote(member) => info!(storage = %member, "a node votes on metadata from now on"),
        Chore::Expel(member) => info!(storage = %member, "a removed node left the metadata group"),
        Chore::HandOver(member) => info!(storage = %member, "another node is asked to lead"),
    }
}

/// Looks several times whether nobody listens there any more.
async fn probe<C: Cluster>(cluster: &C, at: Address) -> Gone {
    for wait_ms in PROBES_MS {
        sleep(Duration::from_millis(wait_ms)).await;
        if timeout(PROBE_MAX, cluster.is_refused(at.clone())).await == Ok(true) {
            return Gone::Yes;
        }
    }
    Gone::NotKnown
}

#[cfg(test)]
mod tests;
