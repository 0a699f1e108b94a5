//! What a thing that is asked for would come to: what happens, what an operator may not want, what
//! stands against it, and the work that carries it out. Pure.

use std::collections::BTreeMap;

use walrus_admin::{
    ApiError, Code,
    health::count,
    node::{Change, Holding},
    plan::{Impact, Place, Wanted, Which},
};
use walrus_metadata::{
    Metadata, NodeState, OperationRefusal, Rollover, Target, Topic, Work,
    limits::OPERATION_TARGETS_MAX,
};
use walrus_raft::{Member, RaftId};
use walrus_replication::seal::UnsafePlan;
use walrus_types::{NodeId, PartitionIndex, TopicPartition};

use super::{
    census,
    node_change::{self, Facts},
    refusal,
};

/// A voter that lacks more of the log is not asked to lead.
const LAG_MAX: u64 = 1_000;

/// What is known when something is judged.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The cluster.
    pub facts: Facts<'a>,
    /// Connections of clients to the node that is changed, where it said.
    pub clients: Option<u64>,
    /// What an unsafe seal of the segment would do, where one is waited for.
    pub unsafe_plan: Option<&'a UnsafePlan>,
}

/// What something that is asked for comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judged {
    /// Whether there is anything to change.
    pub changes: bool,
    /// What happens.
    pub effects: Vec<String>,
    /// What an operator may not want.
    pub warnings: Vec<String>,
    /// What stands against it.
    pub refusals: Vec<ApiError>,
    /// The same in numbers.
    pub impact: Impact,
    /// What carries it out.
    pub work: Option<Work>,
    /// How many segments that moves, rolls or copies.
    pub segments: u64,
}

/// Judges what is asked for.
///
/// # Errors
/// It names what is not there.
pub fn judge(known: Known<'_>, wanted: &Wanted) -> Result<Judged, ApiError> {
    let voters = known.facts.members.iter().filter(|member| member.votes).count();
    let mut judged = match wanted {
        Wanted::Drain { node } => drain(known, *node)?,
        Wanted::Undrain { node } => undrain(known, *node)?,
        Wanted::Remove { node } => {
            let judged = remove(known, *node, voters)?;
            return Ok(beside(known.facts.metadata, judged));
        }
        Wanted::Rollover { which, per_minute } => rollover(known.facts, which, *per_minute)?,
        Wanted::TransferRaft { to } => transfer(known.facts, *to)?,
        Wanted::UnsafeSeal { topic, partition } => unsafe_seal(known, topic, *partition)?,
    };
    (judged.impact.voters, judged.impact.quorum) = quorum(voters);
    Ok(beside(known.facts.metadata, judged))
}

/// What is under way may stand against it.
fn beside(metadata: &Metadata, mut judged: Judged) -> Judged {
    let Some(work) = &judged.work else { return judged };
    let mut running = metadata.operations().iter().filter(|(_, known)| known.is_running());
    if let Some((id, _)) = running.find(|(_, known)| known.work.keeps_out(work)) {
        judged.refusals.push(refusal::not_begun(&OperationRefusal::Busy { id: *id }));
        judged.work = None;
    }
    judged
}

fn quorum(voters: usize) -> (u64, u64) {
    let voters = whole(voters);
    (voters, voters / 2 + 1)
}

fn whole(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn of_node(plan: node_change::Plan, work: Work) -> Judged {
    let node_change::Plan { changes, effects, warnings, refusals } = plan;
    let work = (changes && refusals.is_empty()).then_some(work);
    Judged { changes, effects, warnings, refusals, work, ..Judged::default() }
}

fn drain(known: Known<'_>, id: NodeId) -> Result<Judged, ApiError> {
    let mut judged = of_node(node_change::plan(known.facts, id, Change::Drain)?, Work::Drain(id));
    let Holding { leads, open, .. } = known.facts.census.holding(id);
    if !judged.changes && judged.refusals.is_empty() && leads + open > 0 {
        // It drains already, and is not empty: the operation follows it.
        (judged.changes, judged.work) = (true, Some(Work::Drain(id)));
    }
    let impact = Impact {
        leases_move: leads,
        segments_roll: open,
        topics_short: node_change::topics_short_without(known.facts.metadata, id),
        clients: known.clients,
        ..Impact::default()
    };
    Ok(Judged { impact, segments: open, ..judged })
}

fn undrain(known: Known<'_>, id: NodeId) -> Result<Judged, ApiError> {
    let mut judged =
        of_node(node_change::plan(known.facts, id, Change::Undrain)?, Work::Undrain(id));
    for (operation, running) in known.facts.metadata.operations() {
        if running.is_running() && running.work.node() == Some(id) {
            judged.effects.push(format!("operation {operation} on it is cancelled"));
        }
    }
    judged.impact.clients = known.clients;
    Ok(judged)
}

/// The steps that come first are the operation's own: they do not stand against it.
fn remove(known: Known<'_>, id: NodeId, voters: usize) -> Result<Judged, ApiError> {
    let facts = known.facts;
    let node = facts.metadata.node(id).ok_or_else(|| node_change::no_such_node(id))?;
    let node_change::Plan { changes, effects, warnings, refusals } =
        node_change::plan(facts, id, Change::Remove)?;
    let own_step = |refusal: &ApiError| {
        matches!(refusal.code, Code::NotDrained | Code::Needed | Code::LeadsRaft)
    };
    let (steps, refusals): (Vec<ApiError>, Vec<ApiError>) =
        refusals.into_iter().partition(own_step);
    let Holding { leads, open, needed, .. } = facts.census.holding(id);
    let bytes_copy = census::needed_bytes(facts.metadata, id);
    let mut first = Vec::new();
    if node.state == NodeState::Active {
        first.extend(node_change::plan(facts, id, Change::Drain)?.effects);
    }
    if needed > 0 {
        first.push(format!(
            "{needed} sealed segments ({bytes_copy} bytes) are copied to other nodes first"
        ));
    }
    if steps.iter().any(|step| step.code == Code::LeadsRaft) {
        first.push("another voter leads the metadata group in its place".to_owned());
    }
    let votes =
        facts.members.iter().any(|member| member.votes && member.id == RaftId::from(node.storage));
    let (voters, quorum) = quorum(voters - usize::from(votes));
    let impact = Impact {
        leases_move: leads,
        segments_roll: open,
        segments_copy: needed,
        bytes_copy,
        topics_short: node_change::topics_short_without(facts.metadata, id),
        voters,
        quorum,
        clients: known.clients,
    };
    let storage = node.storage;
    let work = (changes && refusals.is_empty()).then_some(Work::Remove { node: id, storage });
    let effects = first.into_iter().chain(effects).collect();
    let segments = open + needed;
    Ok(Judged { changes, effects, warnings, refusals, impact, work, segments })
}

fn rollover(facts: Facts<'_>, which: &Which, per_minute: u32) -> Result<Judged, ApiError> {
    let metadata = facts.metadata;
    let found = match which {
        Which::All => metadata.partitions().map(|(id, _)| id).collect(),
        Which::LedBy(node) => {
            metadata.node(*node).ok_or_else(|| node_change::no_such_node(*node))?;
            let led = metadata.partitions().filter(|(_, chain)| chain.open().leader.node == *node);
            led.map(|(id, _)| id).collect()
        }
        Which::These(places) => these(metadata, places)?,
    };
    if found.len() > OPERATION_TARGETS_MAX {
        let what =
            format!("{} are more than {OPERATION_TARGETS_MAX} at once", partitions(found.len()));
        let error = ApiError::new(Code::BadRequest, what);
        return Err(error.hint("name topics, or --node: some at a time"));
    }
    let mut judged = Judged::default();
    let mut leaders: BTreeMap<NodeId, usize> = BTreeMap::new();
    let (mut targets, mut left_open) = (Vec::with_capacity(found.len()), 0);
    for partition in found {
        let Some(chain) = metadata.partition(partition) else { continue };
        let open = chain.open();
        *leaders.entry(open.leader.node).or_default() += 1;
        left_open += usize::from(!metadata.may_lead(open.leader));
        targets.push(Target { partition, epoch: open.key.epoch });
    }
    let total = targets.len();
    let per_minute = per_minute.max(1);
    let led: Vec<String> =
        leaders.iter().map(|(node, number)| format!("{node} leads {number}")).collect();
    judged.changes = total > 0;
    if total == 0 {
        judged.effects.push("there is no partition to be rolled over".to_owned());
        return Ok(judged);
    }
    let takes_s = (whole(total) * 60).div_ceil(u64::from(per_minute));
    judged.effects.push(format!(
        "rolls over {} ({}) in about {takes_s} s: each open segment is sealed and the next one opened",
        partitions(total),
        led.join(", ")
    ));
    if left_open > 0 {
        judged.warnings.push(format!(
            "{} have no leader in service: they are rolled over when the controller has sealed them",
            partitions(left_open)
        ));
    }
    judged.impact.segments_roll = whole(total);
    judged.segments = whole(total);
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    judged.work = Some(Work::Rollover(Rollover { targets, total, per_minute }));
    Ok(judged)
}

fn partitions(number: usize) -> String {
    count(number, "partition")
}

/// What was named, each once.
fn these(metadata: &Metadata, places: &[Place]) -> Result<Vec<TopicPartition>, ApiError> {
    let mut found = std::collections::BTreeSet::new();
    for place in places {
        let topic = topic_of(metadata, &place.topic)?;
        let id = |partition| TopicPartition { topic: topic.id, partition };
        match place.partition {
            None => found.extend(topic.partitions().iter().map(|(index, _)| id(*index))),
            Some(index) if topic.partition(index).is_some() => {
                found.insert(id(index));
            }
            Some(_) => return Err(no_such_partition(place)),
        }
    }
    Ok(found.into_iter().collect())
}

fn no_such_partition(place: &Place) -> ApiError {
    ApiError::new(Code::NotFound, format!("{place}: the topic has no such partition"))
}

fn topic_of<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Topic, ApiError> {
    metadata.topic_named(name).map(AsRef::as_ref).ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no topic {name:?}"))
            .hint("topics are listed by any Kafka client, as kcat -L")
    })
}

fn transfer(facts: Facts<'_>, to: NodeId) -> Result<Judged, ApiError> {
    let mut judged = Judged::default();
    let leads = facts.leader.and_then(|leader| {
        facts.members.iter().find(|member| member.id == leader).map(|member| member.peer.node)
    });
    if leads == Some(to) {
        judged.effects.push(format!("{to} leads the metadata group already"));
        return Ok(judged);
    }
    let now = leads.map_or_else(String::new, |node| format!(" after {node}"));
    judged.effects.push(format!("{to} leads the metadata group, and is the controller,{now}"));
    judged.effects.push("changes of the metadata wait while it takes over".to_owned());
    judged.refusals.extend(may_lead(facts, to).err());
    judged.changes = true;
    judged.segments = 1;
    judged.work = judged.refusals.is_empty().then_some(Work::TransferRaft { to });
    Ok(judged)
}

/// The member of the metadata group that would lead, if it can.
///
/// # Errors
/// Why it cannot.
pub fn may_lead<'a>(facts: Facts<'a>, to: NodeId) -> Result<&'a Member, ApiError> {
    let node = facts.metadata.node(to);
    let member = facts.members.iter().find(|member| {
        member.peer.node == to && node.is_none_or(|node| RaftId::from(node.storage) == member.id)
    });
    let Some(member) = member else {
        let what = format!("{to} is not in the metadata group");
        return Err(ApiError::new(Code::NotFound, what).hint("walrusctl raft status"));
    };
    if !member.votes {
        let what = format!("{to} has no vote in the metadata group");
        let error = ApiError::new(Code::NotAVoter, what);
        return Err(error.hint("it is given one when it has caught up: walrusctl raft status"));
    }
    if node.is_none_or(|node| !node.state.serves()) {
        let error = ApiError::new(Code::Lags, format!("{to} is fenced: it would not lead"));
        return Err(error.hint(format!("start walrusd of {to} again")));
    }
    if let Some(lag) = member.lag_entries.filter(|lag| *lag > LAG_MAX) {
        let what = format!("{to} lacks {lag} entries of the metadata log");
        return Err(ApiError::new(Code::Lags, what).hint("wait until it has caught up"));
    }
    Ok(member)
}

fn unsafe_seal(known: Known<'_>, topic: &str, index: PartitionIndex) -> Result<Judged, ApiError> {
    let metadata = known.facts.metadata;
    let place = Place { topic: topic.to_owned(), partition: Some(index) };
    let id = topic_of(metadata, topic)?.id;
    let partition = TopicPartition { topic: id, partition: index };
    let chain = metadata.partition(partition).ok_or_else(|| no_such_partition(&place))?;
    let mut judged = Judged::default();
    let open = chain.open();
    if metadata.may_lead(open.leader) {
        let what = format!("{place} is led by {}, which is in service", open.leader.node);
        let error = ApiError::new(Code::NotBlocked, what);
        let hint = format!("nothing has to be given up: walrusctl segment chain {place}");
        judged.refusals.push(error.hint(hint));
        return Ok(judged);
    }
    let Some(UnsafePlan { blocked, end, seen }) = known.unsafe_plan else {
        let what = format!("{place} is being sealed, and waits for no votes so far");
        let error = ApiError::new(Code::NotBlocked, what);
        judged.refusals.push(error.hint("ask again in a few seconds"));
        return Ok(judged);
    };
    judged.changes = true;
    judged.effects.push(format!("epoch {} of {place} ends at {end}", blocked.segment.epoch));
    judged.effects.push(format!("it is sealed with {} of {} votes", blocked.have, blocked.need));
    judged.warnings.push(match seen {
        Some(seen) => format!("{} records from {end} on are lost for good", seen.0 - end.0),
        None => format!("what was acknowledged past {end} is lost for good: nobody knows how much"),
    });
    for (member, why) in &blocked.missing {
        judged.warnings.push(format!("{}: {why}; with it nothing would be lost", member.node));
    }
    judged.segments = 1;
    judged.impact.segments_roll = 1;
    let (epoch, end) = (blocked.segment.epoch, *end);
    judged.work = Some(Work::UnsafeSeal { partition, epoch, end });
    Ok(judged)
}

#[cfg(test)]
mod tests;
