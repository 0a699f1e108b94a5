//! `walrusctl group`.

use walrus_admin::{
    client::Client,
    escape,
    group::{GROUPS_PAGE_MAX, Group, GroupList, GroupStatus, PartitionLag, ReadState, Risk},
};

use crate::{
    failure::Failure,
    out::{Console, Flush, age, bytes, table},
};

/// Lists the groups of the cluster and what they have to read.
///
/// # Errors
/// Nobody answers.
pub(super) async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let mut all = GroupList { items: Vec::new(), next: None, missing: Vec::new() };
    let mut after = String::new();
    loop {
        let path = format!("/v1/groups?limit={GROUPS_PAGE_MAX}{after}");
        let page: GroupList = client.get(&path).await?;
        all.items.extend(page.items);
        all.missing.extend(page.missing.into_iter().filter(|_| after.is_empty()));
        let Some(next) = page.next else { break };
        after = format!("&after={}", escape(&next));
    }
    console.show(&all, list_text)?;
    for missing in &all.missing {
        console.note(format_args!("the groups of {} are missing: {}", missing.node, missing.why));
    }
    Ok(())
}

fn list_text(list: &GroupList) -> String {
    let head = [
        ("GROUP", Flush::Left),
        ("STATE", Flush::Left),
        ("TYPE", Flush::Left),
        ("MEMBERS", Flush::Right),
        ("COORDINATOR", Flush::Left),
        ("LAG", Flush::Right),
        ("BYTES", Flush::Right),
        ("BEHIND", Flush::Right),
        ("RISK", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = list
        .items
        .iter()
        .map(|group| {
            let at_least = |text: String| if group.unknown > 0 { text + "+" } else { text };
            vec![
                group.group.clone(),
                group.state.clone(),
                group.protocol_type.clone(),
                group.members.to_string(),
                group.coordinator.to_string(),
                at_least(group.lag_records.to_string()),
                at_least(bytes(group.lag_bytes)),
                at_least(age(group.lag_ms)),
                group.risk.as_ref().map_or_else(String::new, |risk| risk_text(risk, group)),
            ]
        })
        .collect();
    table(&head, &rows)
}

/// What a group loses first.
fn risk_text(risk: &Risk, group: &Group) -> String {
    let Risk { topic, partition, in_ms, from, .. } = risk;
    match in_ms {
        0 if group.lost_records > 0 => {
            format!("{} records were deleted unread", group.lost_records)
        }
        0 => format!("loses {topic}/{partition}@{from} now"),
        ms => format!("loses {topic}/{partition}@{from} in {}", age(*ms)),
    }
}

/// Shows a group, its members and what it has to read of each partition.
///
/// # Errors
/// There is no such group, or nobody tells of it.
pub(super) async fn get(client: &Client, console: &Console, name: &str) -> Result<(), Failure> {
    let group: GroupStatus = client.get(&format!("/v1/groups/{}", escape(name))).await?;
    console.show(&group, group_text)
}

fn group_text(status: &GroupStatus) -> String {
    let GroupStatus { group, protocol, generation, .. } = status;
    let at_least = if group.unknown > 0 { "at least " } else { "" };
    let mut text = format!(
        "group        {}, {}, {} members, generation {generation}{}\n\
         coordinator  {}\n\
         lag          {at_least}{} records, {}, {} behind\n",
        group.group,
        group.state,
        group.members,
        if protocol.is_empty() { String::new() } else { format!(", {protocol}") },
        group.coordinator,
        group.lag_records,
        bytes(group.lag_bytes),
        age(group.lag_ms),
    );
    if let Some(risk) = &group.risk {
        text += &format!("risk         {}\n", risk_text(risk, group));
    }
    text += "\n";
    text += &partitions_text(status);
    let shown = u64::try_from(status.items.len()).unwrap_or(u64::MAX);
    if group.partitions > shown {
        text += &format!("{} partitions more were not looked at\n", group.partitions - shown);
    }
    for lag in &status.items {
        for why in &lag.unknown {
            text += &format!("{}/{}: {why}\n", lag.topic, lag.partition);
        }
    }
    if !status.member_list.is_empty() {
        text += "\n";
        text += &members_text(status);
    }
    text
}

fn partitions_text(status: &GroupStatus) -> String {
    let head = [
        ("TOPIC/P", Flush::Left),
        ("STATE", Flush::Left),
        ("COMMITTED", Flush::Right),
        ("END", Flush::Right),
        ("LAG", Flush::Right),
        ("BYTES", Flush::Right),
        ("BEHIND", Flush::Right),
        ("READS/S", Flush::Right),
        ("APPENDS/S", Flush::Right),
        ("DELETED IN", Flush::Right),
        ("RISK", Flush::Left),
        ("LEADER", Flush::Left),
        ("MEMBER", Flush::Left),
    ];
    let number = |number: Option<String>| number.unwrap_or_default();
    let row = |lag: &PartitionLag| {
        vec![
            format!("{}/{}", lag.topic, lag.partition),
            state_text(lag),
            number(lag.committed.map(|offset| offset.to_string())),
            number(lag.end.map(|offset| offset.to_string())),
            number(lag.lag_records.map(|records| records.to_string())),
            number(lag.lag_bytes.map(bytes)),
            number(lag.lag_ms.map(age)),
            number(lag.reads_per_s.map(|rate| rate.to_string())),
            number(lag.appends_per_s.map(|rate| rate.to_string())),
            number(lag.deleted.as_ref().map(|deletion| age(deletion.in_ms))),
            number(lag.risk.as_ref().map(|risk| risk_text(risk, &status.group))),
            number(lag.leader.map(|node| node.to_string())),
            lag.member.clone().unwrap_or_default(),
        ]
    };
    table(&head, &status.items.iter().map(row).collect::<Vec<_>>())
}

fn state_text(lag: &PartitionLag) -> String {
    match lag.state {
        ReadState::Read => "read".to_owned(),
        ReadState::Behind => "behind".to_owned(),
        ReadState::Lost => format!("lost {}", lag.lost_records.unwrap_or(0)),
        ReadState::NoCommit => "no commit".to_owned(),
        ReadState::PastEnd => "past the end".to_owned(),
        ReadState::Unknown => "unknown".to_owned(),
    }
}

fn members_text(status: &GroupStatus) -> String {
    let head = [
        ("MEMBER", Flush::Left),
        ("INSTANCE", Flush::Left),
        ("CLIENT", Flush::Left),
        ("HOST", Flush::Left),
        ("PARTITIONS", Flush::Right),
    ];
    let rows: Vec<Vec<String>> = status
        .member_list
        .iter()
        .map(|member| {
            vec![
                member.member.clone(),
                member.instance.clone().unwrap_or_default(),
                member.client_id.clone(),
                member.client_host.clone(),
                member.partitions.to_string(),
            ]
        })
        .collect();
    table(&head, &rows)
}
