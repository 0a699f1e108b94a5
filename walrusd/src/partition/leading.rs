//! What all partitions that this node leads share: where they order rolls and ticks, the
//! connections to other members, the lease.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{runtime::Handle, sync::mpsc, time::Instant};
use walrus_replication::{Member, SenderLimits, UptimeMs, Writer};
use walrus_types::{Incarnation, NodeId, limits};

use super::{Partition, roll::RollOrders};
use crate::{clock::Clock, lease::Lease, peer::feed::Feeds};

/// Bytes that one member of one segment may be sent and not have answered.
const WINDOW_BYTES: u64 = 8 << 20;
/// What is read at once for a member that is behind.
const READ_BYTES_MAX: u64 = 1 << 20;
/// `replica.lag.time.max.ms`.
const LAG_MAX_MS: u64 = 10_000;
/// An idle member is told within this time what was committed.
const COMMIT_IDLE_MS: u64 = 3;
/// A life of a node to which there was no connection for so long cannot be reached. Who has just
/// begun is there before that, and so is a connection that was only lost.
const UNREACHED_AFTER_MS: u64 = 2_000;
/// How long a tick may be waited for at most; one that is due sooner is woken for.
const IDLE: Duration = Duration::from_secs(3600);

/// The bounds of what is sent to a member.
pub(super) const SENDER_LIMITS: SenderLimits = SenderLimits {
    window_bytes: WINDOW_BYTES,
    read_bytes_max: READ_BYTES_MAX,
    lag_max_ms: LAG_MAX_MS,
    commit_idle_ms: COMMIT_IDLE_MS,
};

/// A partition that wants to be told that it is so late.
type Tick = (UptimeMs, Weak<Partition>);

/// What the partitions share.
#[derive(Debug)]
pub struct Leading {
    /// This node in this life.
    pub(super) writer: Writer,
    pub(super) rolls: RollOrders,
    pub(super) lease: Arc<Lease>,
    pub(super) clock: Clock,
    /// For work that a callback begins on a thread of the log's.
    pub(super) runtime: Handle,
    feeds: Arc<Feeds>,
    ticks: mpsc::Sender<Tick>,
    /// The disks that there are connections to.
    connected: RwLock<HashMap<NodeId, Member>>,
    /// When the connection to a node ended that is not connected again.
    lost: RwLock<HashMap<NodeId, Instant>>,
    missed: Mutex<Missed>,
}

/// Lives of nodes to which there is no connection, and since when.
#[derive(Debug, Default)]
struct Missed(HashMap<NodeId, (Incarnation, UptimeMs)>);

impl Missed {
    /// These are missed now; answers which of them have been for so long that they cannot be
    /// reached.
    fn look(
        &mut self,
        missed: impl Iterator<Item = (NodeId, Incarnation)>,
        now: UptimeMs,
    ) -> Vec<NodeId> {
        let since = |(node, life)| match self.0.get(&node) {
            Some((of, since)) if *of == life => (node, (life, *since)),
            Some(_) | None => (node, (life, now)),
        };
        self.0 = missed.map(since).collect();
        let is_long = |since: UptimeMs| now.since(since) >= UNREACHED_AFTER_MS;
        let long = self.0.iter().filter(|(_, (_, since))| is_long(*since));
        let mut unreached: Vec<NodeId> = long.map(|(node, _)| *node).collect();
        unreached.sort_unstable();
        unreached
    }
}

/// The other end of a node's [`Leading`].
#[derive(Debug)]
pub struct OrderedTicks(mpsc::Receiver<Tick>);

impl Leading {
    /// A node that leads nothing yet. To be called in a runtime.
    pub fn new(
        writer: Writer,
        (rolls, feeds): (RollOrders, Arc<Feeds>),
        (lease, clock): (Arc<Lease>, Clock),
    ) -> (Arc<Self>, OrderedTicks) {
        // A partition orders its next tick when the one before has come, or for an earlier time.
        let (ticks, ordered) = mpsc::channel(2 * limits::PARTITIONS_MAX);
        let leading = Self {
            writer,
            rolls,
            lease,
            clock,
            runtime: Handle::current(),
            feeds,
            ticks,
            connected: RwLock::default(),
            lost: RwLock::default(),
            missed: Mutex::default(),
        };
        (Arc::new(leading), OrderedTicks(ordered))
    }

    pub(super) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Whether there is a connection to that disk.
    pub(super) fn is_connected(&self, member: Member) -> bool {
        self.connected.read().get(&member.node) == Some(&member)
    }

    /// There is a connection, from now on.
    pub fn connected(&self, member: Member) {
        self.lost.write().remove(&member.node);
        self.connected.write().insert(member.node, member);
    }

    /// It is gone.
    pub fn disconnected(&self, member: Member) {
        let mut connected = self.connected.write();
        if connected.get(&member.node) == Some(&member) {
            connected.remove(&member.node);
            self.lost.write().insert(member.node, Instant::now());
        }
    }

    /// The nodes whose connections ended no longer ago and that were not connected since.
    pub fn lost_within(&self, time: Duration) -> Vec<NodeId> {
        let lost = self.lost.read();
        let lately = lost.iter().filter(|(_, since)| since.elapsed() < time);
        lately.map(|(node, _)| *node).collect()
    }

    /// Those of `others` that this node cannot reach (L16); to be asked now and then.
    pub fn unreached(&self, others: impl Iterator<Item = (NodeId, Incarnation)>) -> Vec<NodeId> {
        let connected = self.connected.read();
        let missed = others.filter(|(node, _)| !connected.contains_key(node));
        self.missed.lock().look(missed, self.clock.uptime())
    }

    /// Has `partition` ticked at `at`. False when that cannot be now.
    pub(super) fn order_tick(&self, at: UptimeMs, partition: &Arc<Partition>) -> bool {
        self.ticks.try_send((at, Arc::downgrade(partition))).is_ok()
    }
}

impl OrderedTicks {
    /// Ticks partitions until all that could order are gone.
    pub async fn run(mut self, clock: Clock) {
        let mut due: BTreeMap<(UptimeMs, u64), Weak<Partition>> = BTreeMap::new();
        let mut number = 0;
        loop {
            let now = clock.uptime();
            while let Some(first) = due.first_entry().filter(|first| first.key().0 <= now) {
                if let Some(partition) = first.remove().upgrade() {
                    partition.tick(now);
                }
            }
            let wait =
                due.first_key_value().map(|((at, _), _)| Duration::from_millis(at.since(now)));
            tokio::select! {
                ordered = self.0.recv() => match ordered {
                    Some((at, partition)) => {
                        number += 1;
                        due.insert((at, number), partition);
                    }
                    None => return,
                },
                () = tokio::time::sleep(wait.unwrap_or(IDLE)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_without_a_connection_for_a_while_cannot_be_reached() {
        let mut missed = Missed::default();
        let mut look = |lives: &[(i32, u64)], now| {
            let lives = lives.iter().map(|(node, life)| (NodeId(*node), Incarnation(*life)));
            missed.look(lives, UptimeMs(now))
        };
        assert_eq!(look(&[(2, 1), (3, 1)], 1000), []);
        assert_eq!(look(&[(2, 1), (3, 1)], 2999), []);
        assert_eq!(look(&[(2, 1), (3, 1)], 3000), [NodeId(2), NodeId(3)]);
        // It was there in between, or is another one.
        assert_eq!(look(&[(3, 2)], 3100), []);
        assert_eq!(look(&[(2, 1), (3, 2)], 5100), [NodeId(3)]);
    }
}
