//! What a scrape is told of groups.

use std::fmt;

use super::{
    LagFacts, PlaceLag,
    scrape::{GAUGE, Page},
};

/// The labels of a place.
type Labels = [(&'static str, String); 3];

pub(super) fn tell(page: &mut Page<'_>, lags: Option<&LagFacts>) -> fmt::Result {
    let Some(LagFacts { groups, places, left_out, unknown }) = lags else { return Ok(()) };
    let lines = |of: fn(&PlaceLag) -> Option<u64>| {
        places.iter().filter_map(move |place| Some((labels(place), of(place)?)))
    };
    page.gauge("walrus_groups", "Consumer groups that this node coordinates", Some(*groups))?;
    let help = "Records that a group has still to read";
    page.family(("walrus_group_lag_records", help, GAUGE), lines(|place| place.records))?;
    let help = "Bytes of the batches that a group has still to read";
    page.family(("walrus_group_lag_bytes", help, GAUGE), lines(|place| place.bytes))?;
    let help = "Age of the record that a group reads next, in seconds; 0 when all is read";
    page.seconds_family(("walrus_group_lag_seconds", help), lines(|place| place.age_ms))?;
    let help = "Records that were deleted before a group read them";
    let lost = lines(|place| Some(place.lost_records));
    page.family(("walrus_group_lost_records", help, GAUGE), lost)?;
    let help = "When the first record is deleted that a group will not have read by then, in seconds; \
                missing when it reads all in time";
    page.seconds_family(
        ("walrus_group_retention_risk_seconds", help),
        lines(|place| place.risk_ms),
    )?;
    let help = "Partitions of groups that a limit leaves out of the lines above";
    page.gauge("walrus_group_partitions_left_out", help, Some(*left_out))?;
    let help = "Partitions of groups of which not everything is known";
    page.gauge("walrus_group_partitions_unknown", help, Some(*unknown))
}

fn labels(place: &PlaceLag) -> Labels {
    [
        ("group", place.group.clone()),
        ("topic", place.topic.clone()),
        ("partition", place.partition.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use walrus_types::PartitionIndex;

    use super::*;
    use crate::{
        admin::Health,
        metrics::{Metrics, NodeFacts},
    };

    fn place(group: &str, records: Option<u64>, risk_ms: Option<u64>) -> PlaceLag {
        PlaceLag {
            group: group.into(),
            topic: "t".into(),
            partition: PartitionIndex(2),
            records,
            bytes: records.map(|records| records * 100),
            age_ms: records.map(|records| records * 250),
            lost_records: 0,
            risk_ms,
        }
    }

    #[test]
    fn what_is_known_of_groups_is_told_by_group_topic_and_partition() {
        let places = vec![place("a", Some(7), Some(90_500)), place("b", None, None)];
        let lags = LagFacts { groups: 2, places, left_out: 3, unknown: 1 };
        let facts = NodeFacts { lags: Some(lags), ..NodeFacts::default() };
        let text = Metrics::default().render(facts, &Health::new("storage"));
        let a = "{group=\"a\",topic=\"t\",partition=\"2\"}";
        for line in [
            "walrus_groups 2".to_owned(),
            format!("walrus_group_lag_records{a} 7"),
            format!("walrus_group_lag_bytes{a} 700"),
            format!("walrus_group_lag_seconds{a} 1.75"),
            format!("walrus_group_lost_records{a} 0"),
            format!("walrus_group_retention_risk_seconds{a} 90.5"),
            "walrus_group_partitions_left_out 3".to_owned(),
            "walrus_group_partitions_unknown 1".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "no line {line:?} in:\n{text}");
        }
        assert!(!text.contains("walrus_group_lag_records{group=\"b\""), "unknown is not zero");
        let nobody = Metrics::default().render(NodeFacts::default(), &Health::new("storage"));
        assert!(!nobody.contains("walrus_group"), "what nobody knows is not told");
    }
}
