//! Lag as Prometheus is told it, by the node that coordinates the group.

use std::sync::Arc;

use walrus_admin::group::{GroupStatus, PartitionLag, ReadState};

use crate::{
    broker::Broker,
    metrics::{LagFacts, PlaceLag},
};

/// Partitions of groups that one scrape tells of, in the order of names: each makes four series, and a
/// fifth where it is at risk. How many are left out is told.
pub const SCRAPED_MAX: usize = 5_000;

/// What a scrape is told; `None` while this node does not know.
pub async fn scraped(broker: &Arc<Broker>) -> Option<LagFacts> {
    match super::board(broker).await {
        Ok(board) => Some(facts(&board)),
        Err(why) => {
            tracing::debug!(why, "a scrape is told nothing of groups");
            None
        }
    }
}

fn facts(board: &[GroupStatus]) -> LagFacts {
    let all = || {
        let places = board.iter().flat_map(|one| one.items.iter().map(move |lag| (one, lag)));
        places.filter(|(_, lag)| lag.state != ReadState::Unknown)
    };
    let over = all().count().saturating_sub(SCRAPED_MAX);
    // What was not even looked at.
    let unseen = |one: &GroupStatus| {
        let seen = u64::try_from(one.items.len()).unwrap_or(u64::MAX);
        one.group.partitions.saturating_sub(seen)
    };
    let unseen: u64 = board.iter().map(unseen).sum();
    let unknown = board.iter().map(|one| one.group.unknown).sum();
    let place = |(group, lag): (&GroupStatus, &PartitionLag)| PlaceLag {
        group: group.group.group.clone(),
        topic: lag.topic.clone(),
        partition: lag.partition,
        records: lag.lag_records,
        bytes: lag.lag_bytes,
        age_ms: lag.lag_ms,
        lost_records: lag.lost_records.unwrap_or(0),
        risk_ms: lag.risk.as_ref().map(|risk| risk.in_ms),
    };
    LagFacts {
        groups: u64::try_from(board.len()).unwrap_or(u64::MAX),
        places: all().take(SCRAPED_MAX).map(place).collect(),
        left_out: u64::try_from(over).unwrap_or(u64::MAX).saturating_add(unseen),
        unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A group with so many partitions, of which the last is not known.
    fn group(name: &str, partitions: usize) -> GroupStatus {
        let item = |partition: usize| {
            let state = if partition + 1 == partitions { "unknown" } else { "behind" };
            json!({ "topic": "t", "partition": partition, "state": state, "lag_records": 3 })
        };
        let items: Vec<_> = (0..partitions).map(item).collect();
        let group = json!({
            "group": name, "state": "Empty", "protocol_type": "", "members": 0, "coordinator": 1,
            "partitions": partitions, "unknown": 1, "lag_records": 0, "lag_bytes": 0, "lag_ms": 0,
            "lost_records": 0, "protocol": "", "generation": 0, "member_list": [], "items": items,
        });
        serde_json::from_value(group).expect("it is a group")
    }

    #[test]
    fn a_scrape_is_bounded_and_says_what_it_leaves_out() {
        let facts = facts(&[group("a", SCRAPED_MAX - 1), group("b", 6)]);
        assert_eq!((facts.places.len(), facts.left_out), (SCRAPED_MAX, 3));
        assert_eq!((facts.groups, facts.unknown), (2, 2));
        let last = facts.places.last().expect("there are some");
        assert_eq!((last.group.as_str(), last.partition.0, last.records), ("b", 1, Some(3)));
    }
}
