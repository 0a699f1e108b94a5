//! The groups that this node coordinates, with what they have to read: for lists, for one of them and
//! for the scrape.

use std::sync::Arc;

use walrus_admin::group::{
    self, Deletion, GroupList, GroupStatus, Member, PartitionLag, ReadState, Risk,
};
use walrus_groups::{Coordinator, Described, DescribedMember};
use walrus_replication::backlog::{self, Backlog, Goes, Rate, State};
use walrus_types::{NodeId, Offset, PartitionIndex};

use super::look::{self, Committed, Group, Place, Places, Seen};
use crate::{broker::Broker, groups::Shard};

/// Partitions of groups that one look at all groups looks at, or one at a group. Of a group that has
/// more the others count as unknown.
const PLACES_MAX: usize = 20_000;

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

/// All groups of these partitions of the topic of offsets, with [`PLACES_MAX`] places together.
pub(super) async fn groups_of(shards: &[Arc<Shard>]) -> Vec<Group> {
    let (mut groups, mut room) = (Vec::new(), PLACES_MAX);
    for shard in shards {
        let some = shard.ask_now(|coordinator, _, _| all_of(coordinator, &mut room)).await;
        // Those that this node coordinates no more are told by the node that does.
        groups.extend(some.unwrap_or_default());
    }
    groups
}

fn all_of(coordinator: &Coordinator, room: &mut usize) -> Vec<Group> {
    let names: Vec<String> = coordinator.list().map(|listed| listed.group).collect();
    names.iter().filter_map(|name| group_of(coordinator, name, room)).collect()
}

fn group_of(coordinator: &Coordinator, name: &str, room: &mut usize) -> Option<Group> {
    let described = coordinator.describe(name)?;
    let offsets = coordinator.offsets(name).map(|(topic, partition, kept)| {
        let committed = Committed { offset: Offset(kept.offset), at: kept.committed_at };
        (topic, partition, committed)
    });
    let (places, left_out) = places_of(offsets, &described.members, room);
    Some(Group { name: name.into(), described, places, left_out })
}

/// The places of a group, as many as there is room for, and how many there is none for; of those one
/// that is committed and assigned counts twice.
fn places_of<'a>(
    offsets: impl Iterator<Item = (&'a str, i32, Committed)>,
    members: &[DescribedMember],
    room: &mut usize,
) -> (Places, u64) {
    let (mut places, mut left_out) = (Places::new(), 0);
    let mut add = |topic: &str, partition: i32, change: &dyn Fn(&mut Place)| {
        let key = (topic.to_owned(), partition);
        if let Some(known) = places.get_mut(&key) {
            change(known);
        } else if *room > 0 {
            *room -= 1;
            change(places.entry(key).or_default());
        } else {
            left_out += 1;
        }
    };
    for (topic, partition, committed) in offsets {
        add(topic, partition, &|place| place.committed = Some(committed));
    }
    for member in members {
        for (topic, partition) in member.partitions() {
            add(&topic, partition, &|place| place.member = Some(member.member.clone()));
        }
    }
    (places, left_out)
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
    let mut room = PLACES_MAX;
    let group = shard.ask_now(|coordinator, _, _| group_of(coordinator, name, &mut room)).await;
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
    let member = |member: &DescribedMember| Member {
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
    let mut whole = whole.sum(&items);
    whole.partitions += group.left_out;
    whole.unknown += group.left_out;
    GroupStatus {
        group: whole,
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
    let committed = place.committed;
    let mut lag = PartitionLag {
        topic: topic.clone(),
        partition: PartitionIndex(*index),
        leader: found.as_ref().ok().map(|found| found.leader),
        member: place.member.clone(),
        state: ReadState::Unknown,
        committed: committed.map(|committed| committed.offset),
        committed_at_ms: committed.map(|committed| committed.at),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use walrus_types::TimestampMs;

    use super::*;

    fn member(assignment: &'static [u8]) -> DescribedMember {
        DescribedMember {
            member: "m".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            metadata: Bytes::new(),
            assignment: Bytes::from_static(assignment),
        }
    }

    #[test]
    fn a_look_takes_as_many_places_as_there_is_room_for_and_counts_the_others() {
        let committed = Committed { offset: Offset(7), at: TimestampMs(1) };
        let offsets = || [("t", 0, committed), ("t", 1, committed)].into_iter();
        // Partitions 1 and 2 of t.
        let members = [member(b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02")];
        for (room, taken, left_out) in [(9, 3, 0), (3, 3, 0), (2, 2, 1), (0, 0, 4)] {
            let mut left = room;
            let (places, out) = places_of(offsets(), &members, &mut left);
            assert_eq!((places.len(), out, left), (taken, left_out, room - taken), "room {room}");
        }
        let (places, _) = places_of(offsets(), &members, &mut 9);
        let shown: Vec<_> =
            places.values().map(|one| (one.committed, one.member.as_deref())).collect();
        assert_eq!(
            shown,
            [(Some(committed), None), (Some(committed), Some("m")), (None, Some("m"))]
        );
    }
}
