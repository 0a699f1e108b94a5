//! Consumer groups of the made-up cluster: one that keeps up, one that is slow, one that stopped.

use walrus_admin::group::{Group, GroupList, GroupStatus, Member, PartitionLag, ReadState, Risk};
use walrus_types::{Offset, TimestampMs};

use super::{Log, Simulated, node_id};

/// A group: its name, the topic that it reads, how many seconds it is behind, and how many more it
/// is each hour.
const GROUPS: [(&str, &str, u64, u64); 3] = [
    ("billing", "orders", 0, 0),
    ("search-index", "clicks", 40, 30),
    ("archive", "audit", 900, 3_600),
];
/// Members of a group that runs.
const MEMBERS: usize = 2;
/// How long the made-up topics keep records.
const KEEPS_MS: u64 = 7_200_000;

impl Simulated {
    /// All groups.
    #[must_use]
    pub fn groups(&self) -> GroupList {
        let statuses = GROUPS.iter().filter_map(|(name, ..)| self.group(name).ok());
        let mut items: Vec<Group> = statuses.map(|status| status.group).collect();
        items.sort_by(|one, other| one.group.cmp(&other.group));
        GroupList { items, next: None, missing: Vec::new() }
    }

    /// One of them.
    ///
    /// # Errors
    /// That there is no such group.
    pub fn group(&self, name: &str) -> Result<GroupStatus, String> {
        let found = GROUPS.iter().find(|(group, ..)| *group == name);
        let (name, topic, behind, slower) = found.ok_or_else(|| format!("no group {name}"))?;
        let behind = behind + slower * self.now_ms / 3_600_000;
        let runs = *slower < 3_600;
        let logs = self.logs.iter().filter(|log| log.name.topic == *topic);
        let items: Vec<PartitionLag> = logs.map(|log| self.lag(log, behind, runs)).collect();
        let member = |at: usize| Member {
            member: member(name, at),
            instance: None,
            client_id: (*name).to_owned(),
            client_host: format!("10.0.4.{}", 12 + at),
            partitions: items
                .iter()
                .filter(|one| one.partition.0 % 2 == i32::from(at == 1))
                .fold(0, |sum, _| sum + 1),
        };
        let members: Vec<Member> =
            if runs { (0..MEMBERS).map(member).collect() } else { Vec::new() };
        let group = Group {
            group: (*name).to_owned(),
            state: if runs { "Stable" } else { "Empty" }.to_owned(),
            protocol_type: "consumer".to_owned(),
            members: u64::try_from(members.len()).unwrap_or(0),
            coordinator: node_id(self.controller),
            partitions: 0,
            unknown: 0,
            lag_records: 0,
            lag_bytes: 0,
            lag_ms: 0,
            lost_records: 0,
            risk: None,
        };
        Ok(GroupStatus {
            group: group.sum(&items),
            protocol: if runs { "range" } else { "" }.to_owned(),
            generation: 3,
            member_list: members,
            items,
        })
    }

    fn lag(&self, log: &Log, behind_s: u64, runs: bool) -> PartitionLag {
        let records = log.pace * behind_s;
        let records = records.min(u64::try_from(log.end).unwrap_or(0));
        let committed = log.end - i64::try_from(records).unwrap_or(0);
        let start = log.sealed.first().map_or(log.base, |first| first.base.0);
        let lag_ms = if records == 0 { 0 } else { behind_s * 1_000 };
        let risk = (!runs && records > 0).then(|| Risk {
            topic: log.name.topic.clone(),
            partition: log.name.partition,
            in_ms: KEEPS_MS.saturating_sub(lag_ms),
            from: Offset(committed),
            setting: Some("retention.ms".to_owned()),
        });
        let group = GROUPS.iter().find(|(_, topic, ..)| *topic == log.name.topic);
        let at = usize::from(log.name.partition.0 % 2 == 1);
        PartitionLag {
            topic: log.name.topic.clone(),
            partition: log.name.partition,
            leader: Some(node_id(log.leader)),
            member: group.filter(|_| runs).map(|(name, ..)| member(name, at)),
            state: if records == 0 { ReadState::Read } else { ReadState::Behind },
            committed: Some(Offset(committed)),
            committed_at_ms: Some(TimestampMs(self.now().0 - 400)),
            log_start: Some(Offset(start)),
            end: Some(Offset(log.end)),
            lag_records: Some(records),
            lag_bytes: Some(records * 300),
            lag_ms: Some(lag_ms),
            lost_records: Some(0),
            reads_per_s: Some(if runs { per_second(log.pace) } else { 0.0 }),
            appends_per_s: Some(per_second(log.pace)),
            appends_bytes_per_s: Some(per_second(log.pace) * 300.0),
            deleted: None,
            risk,
            unknown: Vec::new(),
        }
    }
}

fn member(group: &str, at: usize) -> String {
    format!("{group}-{}", at + 1)
}

/// A pace is a small number.
fn per_second(pace: u64) -> f64 {
    pace as f64
}
