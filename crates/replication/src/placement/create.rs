//! The first segments of new partitions: spread evenly over the nodes, each topic for itself.

use std::collections::{BTreeMap, VecDeque};

use walrus_types::{NodeId, PartitionIndex};

use super::{
    Lead, LeaderPolicy, Nodes, Occasion, Placed, Refusal, Request, Why, nodes::Load, place_beside,
};

/// Partitions to be made, of a new topic or behind those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPartitions {
    /// The number of the first.
    pub first: PartitionIndex,
    /// How many.
    pub count: u16,
    /// The topic's target replication factor. It may be more than there are nodes (M13).
    pub target: usize,
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// Different for each topic.
    pub salt: u64,
}

/// Places each of them. Members are spread by how many of the new partitions a node has been
/// given, then by its load; leaders within the sets so that none could lead fewer.
///
/// # Errors
/// [`Refusal::NobodyLives`].
pub fn create(nodes: &Nodes, new: NewPartitions) -> Result<Vec<Placed>, Refusal> {
    let mut load = Load::default();
    let mut all = Vec::with_capacity(usize::from(new.count));
    for at in 0..i32::from(new.count) {
        let request = Request {
            partition: PartitionIndex(new.first.0.saturating_add(at)),
            target: new.target,
            min_insync: new.min_insync,
            previous: None,
            policy: LeaderPolicy::LeastLoaded,
            occasion: Occasion::Created,
            salt: new.salt,
            assigned: &[],
        };
        let placed = place_beside(nodes, &request, &load)?;
        for member in &placed.members {
            load.give(member.node).held += 1;
        }
        load.give(placed.leader.node).led += 1;
        all.push(placed);
    }
    while level_one(nodes, &mut all) {}
    Ok(all)
}

/// Passes one lease on from a node that leads at least two more than another, along a chain of
/// sets if no set has both. Returns whether there was such a chain.
fn level_one(nodes: &Nodes, all: &mut [Placed]) -> bool {
    let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
    for placed in all.iter() {
        for member in placed.members.iter().filter(|m| nodes.at(m.node).takes_leases()) {
            led.entry(member.node).or_default();
        }
        *led.entry(placed.leader.node).or_default() += 1;
    }
    let least = led.values().copied().min().unwrap_or(0);
    let mut givers: Vec<(usize, NodeId)> = led.iter().map(|(id, count)| (*count, *id)).collect();
    givers.sort_unstable_by(|a, b| b.cmp(a));
    for (count, giver) in givers.into_iter().take_while(|(count, _)| *count >= least + 2) {
        let fewer = |id: NodeId| led.get(&id).is_some_and(|led| led + 2 <= count);
        if let Some(chain) = chain(nodes, all, giver, fewer) {
            for (at, to) in chain {
                pass_on(nodes, &mut all[at], to);
            }
            return true;
        }
    }
    false
}

/// The shortest chain of leases to pass on, from `giver` to a node for which `ends` holds: each
/// is the index of a partition and the member that takes it.
fn chain(
    nodes: &Nodes,
    all: &[Placed],
    giver: NodeId,
    ends: impl Fn(NodeId) -> bool,
) -> Option<Vec<(usize, NodeId)>> {
    let mut led_by: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (at, placed) in all.iter().enumerate() {
        led_by.entry(placed.leader.node).or_default().push(at);
    }
    // From whom, and of which partition, each node would take a lease.
    let mut taken: BTreeMap<NodeId, (NodeId, usize)> = BTreeMap::new();
    let mut queue = VecDeque::from([giver]);
    while let Some(from) = queue.pop_front() {
        if ends(from) {
            let mut steps = Vec::new();
            let mut to = from;
            while to != giver {
                let (from, at) = taken[&to];
                steps.push((at, to));
                to = from;
            }
            return Some(steps);
        }
        for &at in led_by.get(&from).map_or(&[][..], Vec::as_slice) {
            for member in &all[at].members {
                let to = member.node;
                let may = to != giver && nodes.at(to).takes_leases();
                if may && !taken.contains_key(&to) {
                    taken.insert(to, (from, at));
                    queue.push_back(to);
                }
            }
        }
    }
    None
}

fn pass_on(nodes: &Nodes, placed: &mut Placed, to: NodeId) {
    let from = std::mem::replace(&mut placed.leader, nodes.writer(to)).node;
    placed.why.retain(|why| !matches!(why, Why::Leads { .. }));
    placed.why.push(Why::Leads { node: to, because: Lead::Share { from } });
}
