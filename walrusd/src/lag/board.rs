//! The groups that this node coordinates, with what they have to read: for lists, for one of them and
//! for the scrape.

use std::{collections::BTreeMap, sync::Arc};

use walrus_admin::group::{
    self, Deletion, GroupList, GroupStatus, Member, PartitionLag, ReadState, Risk,
};
use walrus_groups::{Coordinator, Described};
use walrus_replication::backlog::{self, Backlog, Goes, Rate, State};
use walrus_types::{NodeId, PartitionIndex};

use super::look::{self, Group, Place, Seen};
use crate::{broker::Broker, groups::Shard};

/// What the groups of this node have to read, of one moment; by name.
pub type Board = Vec<GroupStatus>;

/// Takes a look at all groups.
pub(super) async fn take(broker: &Arc<Broker>) -> Result<Board, String> {
    let shards = broker.groups.all(broker).await.map_err(|why| why.to_string())?;
    let groups = groups_of(&shards).await;
    let seen = look::look(broker, &groups).await;
    let me = broker.identity.node;
    let mut board: Board =
        groups.iter().zip(&seen).map(|(group, seen)| status(me, group, seen)).collect();
    board.sort_by(|one, other| one.group.group.cmp(&other.group.group));
    Ok(board)
}

/// All groups of these partitions of the topic of offsets.
pub(super) async fn groups_of(shards: &[Arc<Shard>]) -> Vec<Group> {
    let mut groups = Vec::new();
    for shard in shards {
        // Those that this node coordinates no more are told by the node that does.
        groups.extend(
            shard.ask_now(|coordinator, _, _| all_of(coordinator)).await.unwrap_or_default(),
        );
    }
    groups
}

fn all_of(coordinator: &Coordinator) -> Vec<Group> {
    let names: Vec<String> = coordinator.list().map(|listed| listed.group).collect();
    names.iter().filter_map(|name| group_of(coordinator, name)).collect()
}

fn group_of(coordinator: &Coordinator, name: &str) -> Option<Group> {
    let described = coordinator.describe(name)?;
    let mut places: BTreeMap<(String, i32), Place> = BTreeMap::new();
    for (topic, partition, committed) in coordinator.offsets(name) {
        let place = places.entry((topic.to_owned(), partition)).or_default();
        place.committed = Some(committed.clone());
    }
    for member in &described.members {
        for (topic, partition) in member.partitions() {
            let place = places.entry((topic.as_ref().to_owned(), partition)).or_default();
            place.member = Some(member.member.clone());
        }
    }
    Some(Group { name: name.into(), described, places })
}

/// A page of the groups that this node coordinates.
pub(super) async fn list_here(
    broker: &Arc<Broker>,
    after: Option<&str>,
    limit: usize,
) -> Result<GroupList, String> {
    let board = super::board(broker).await?;
    let behind = board.iter().filter(|one| after.is_none_or(|after| *one.group.group > *after));
    let mut items: Vec<group::Group> =
        behind.take(limit.saturating_add(1)).map(|one| one.group.clone()).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.group.clone());
    Ok(GroupList { items, next, missing: Vec::new() })
}

/// A group that this node coordinates, as it is now; `None` when there is none of that name.
pub(super) async fn group_here(
    broker: &Arc<Broker>,
    name: &str,
) -> Result<Option<GroupStatus>, String> {
    let shard = broker.groups.shard(broker, name).await.map_err(|why| why.to_string())?;
    let group = shard.ask_now(|coordinator, _, _| group_of(coordinator, name)).await;
    let Some(group) = group.map_err(|why| why.to_string())? else { return Ok(None) };
    let groups = [group];
    let seen = look::look(broker, &groups).await;
    let me = broker.identity.node;
    Ok(groups.first().zip(seen.first()).map(|(group, seen)| status(me, group, seen)))
}

fn status(me: NodeId, group: &Group, seen: &[Seen]) -> GroupStatus {
    let Described { state, protocol_type, protocol, generation, members, .. } = &group.described;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let items: Vec<PartitionLag> =
        group.places.iter().zip(seen).map(|(place, seen)| partition(place, seen)).collect();
    let member = |member: &walrus_groups::DescribedMember| Member {
        member: member.member.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        partitions: count(member.partitions().len()),
    };
    let whole = group::Group {
        group: group.name.to_string(),
        state: state.name().to_owned(),
        protocol_type: protocol_type.clone(),
        members: count(members.len()),
        coordinator: me,
        partitions: 0,
        unknown: 0,
        lag_records: 0,
        lag_bytes: 0,
        lag_ms: 0,
        lost_records: 0,
        risk: None,
    };
    GroupStatus {
        group: whole.sum(&items),
        protocol: protocol.clone(),
        generation: *generation,
        member_list: members.iter().map(member).collect(),
        items,
    }
}

/// In a second, with three digits behind the point.
#[expect(clippy::cast_precision_loss, reason = "a rate of 2^53 in five minutes is not met")]
fn per_s(rate: Rate) -> f64 {
    let per_s = rate.amount as f64 * 1e3 / rate.over_ms.max(1) as f64;
    (per_s * 1e3).round() / 1e3
}

fn partition(((topic, index), place): (&(String, i32), &Place), seen: &Seen) -> PartitionLag {
    let Seen { found, reads, backlog } = seen;
    let committed = place.committed.as_ref();
    let mut lag = PartitionLag {
        topic: topic.clone(),
        partition: PartitionIndex(*index),
        leader: found.as_ref().ok().map(|found| found.leader),
        member: place.member.clone(),
        state: ReadState::Unknown,
        committed: committed.map(|committed| walrus_types::Offset(committed.offset)),
        committed_at_ms: committed.map(|committed| committed.committed_at),
        log_start: None,
        end: None,
        lag_records: None,
        lag_bytes: None,
        lag_ms: None,
        lost_records: None,
        reads_per_s: reads.as_ref().ok().map(|rate| per_s(*rate)),
        appends_per_s: None,
        appends_bytes_per_s: None,
        deleted: None,
        risk: None,
        unknown: Vec::new(),
    };
    match (found, backlog) {
        (Ok(found), Some(backlog)) => {
            if let Ok(outlook) = &found.outlook {
                (lag.log_start, lag.end) = (Some(outlook.log_start()), Some(outlook.commit()));
            }
            if let Ok(growth) = &found.growth {
                lag.appends_per_s = Some(per_s(growth.records));
                lag.appends_bytes_per_s = Some(per_s(growth.bytes));
            }
            tell(&mut lag, backlog);
        }
        (Err(why), _) => lag.unknown.push(format!("lag: {why}")),
        (Ok(found), None) => {
            let why = found.outlook.as_ref().err().map_or("nobody looked", |why| why);
            lag.unknown.push(format!("lag: {why}"));
        }
    }
    lag
}

/// Writes what was judged into `lag`.
fn tell(lag: &mut PartitionLag, backlog: &Backlog) {
    let Backlog { state, next, records, bytes, age_ms, goes, risk } = backlog;
    lag.state = match state {
        State::Read => ReadState::Read,
        State::Behind => ReadState::Behind,
        State::Lost { .. } => ReadState::Lost,
        State::NoCommit => ReadState::NoCommit,
        State::PastEnd { .. } => ReadState::PastEnd,
    };
    lag.lag_records = Some(*records);
    let mut unknown = |what: &str, why: &str| lag.unknown.push(format!("{what}: {why}"));
    match bytes {
        Ok(bytes) => lag.lag_bytes = Some(*bytes),
        Err(why) => unknown("lag_bytes", why),
    }
    match age_ms {
        Ok(age_ms) => lag.lag_ms = Some(*age_ms),
        Err(why) => unknown("lag_ms", why),
    }
    match goes {
        Goes::In { ms, cause } => {
            lag.deleted = Some(Deletion { in_ms: *ms, setting: cause.setting().to_owned() });
        }
        Goes::Never => {}
        Goes::Unknown(why) => unknown("deleted", why),
    }
    let (topic, partition) = (lag.topic.clone(), lag.partition);
    match risk {
        backlog::Risk::None => {}
        backlog::Risk::Loses { in_ms, from, cause } => {
            let setting = Some(cause.setting().to_owned());
            lag.risk = Some(Risk { topic, partition, in_ms: *in_ms, from: *from, setting });
        }
        backlog::Risk::Unknown(why) => unknown("risk", why),
    }
    if let State::Lost { records } = state {
        lag.lost_records = Some(*records);
        let (topic, partition) = (lag.topic.clone(), lag.partition);
        let from = lag.committed.unwrap_or(*next);
        lag.risk = Some(Risk { topic, partition, in_ms: 0, from, setting: None });
    }
}
