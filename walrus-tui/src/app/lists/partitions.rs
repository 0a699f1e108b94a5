//! The list of partitions, which is long: it is made anew only where it would be another, and
//! ordered from where it stood.

use std::{cmp::Reverse, fmt::Write as _};

use walrus_admin::snapshot::{PartitionEntry, Snapshot};
use walrus_types::NodeId;

use super::Listed;
use crate::model::{Model, PartitionName, figures::Mark};

/// Topic's and partition's places in a snapshot.
type Row = (usize, usize);

/// What a list was made of: of the same there is no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// Which partitions there were.
    listed: Mark,
    /// How they were, where that matters.
    changed: Option<Mark>,
    order: usize,
    reversed: bool,
    filter: String,
}

/// Makes it as it is to be now.
pub(super) fn refresh(listed: &mut Listed, model: &Model) {
    let Some(snapshot) = model.seen() else {
        (listed.rows, listed.made) = (Vec::new(), None);
        return;
    };
    let by_name = listed.order == 0 || listed.order > 3;
    let made = Made {
        listed: model.figures.listed.clone(),
        changed: (!by_name || !listed.filter.is_empty()).then(|| model.figures.changed.clone()),
        order: listed.order,
        reversed: listed.reversed,
        filter: listed.filter.clone(),
    };
    if listed.made.as_ref() == Some(&made) {
        return;
    }
    let before = listed.made.take().filter(|before| before.listed == made.listed);
    let is_near = before.is_some_and(|before| {
        (before.order, before.reversed) == (made.order, made.reversed)
            && before.filter.is_empty()
            && made.filter.is_empty()
    });
    let mut rows = if is_near { std::mem::take(&mut listed.rows) } else { kept(snapshot, &made) };
    if is_near && made.reversed {
        rows.reverse();
    }
    order(&mut rows, snapshot, made.order);
    if made.reversed {
        rows.reverse();
    }
    (listed.rows, listed.made) = (rows, Some(made));
}

/// Where a partition stands in the list.
pub(super) fn position(listed: &Listed, model: &Model, name: &PartitionName) -> Option<usize> {
    let topics = &model.seen()?.topics;
    let topic = topics.binary_search_by(|topic| topic.topic.as_str().cmp(&name.topic)).ok()?;
    let partitions = &topics[topic].partitions;
    let at = partitions.binary_search_by_key(&name.partition, |one| one.partition).ok()?;
    let chosen = listed.window.chosen;
    if listed.rows.get(chosen) == Some(&(topic, at)) {
        return Some(chosen);
    }
    listed.rows.iter().position(|row| *row == (topic, at))
}

/// Those that the filter leaves, as the snapshot has them.
fn kept(snapshot: &Snapshot, made: &Made) -> Vec<Row> {
    let filter = made.filter.as_str();
    let (wanted, text) = filter.strip_prefix('!').map_or((true, filter), |text| (false, text));
    let leader = text.parse::<NodeId>().ok().filter(|leader| leader.to_string() == text);
    let mut name = String::new();
    let mut rows = Vec::new();
    for (at, topic) in snapshot.topics.iter().enumerate() {
        let all = topic.topic.contains(text);
        for (index, partition) in topic.partitions.iter().enumerate() {
            let has = all || leader == Some(partition.leader) || {
                name.clear();
                let written = write!(name, "{}/{}", topic.topic, partition.partition);
                written.is_ok() && name.contains(text)
            };
            if text.is_empty() || has == wanted {
                rows.push((at, index));
            }
        }
    }
    rows
}

/// By what is wanted, then as the snapshot has them. What is in order almost is so soon.
fn order(rows: &mut [Row], snapshot: &Snapshot, order: usize) {
    let entry = |row: &Row| -> &PartitionEntry { &snapshot.topics[row.0].partitions[row.1] };
    match order {
        1 => rows.sort_by_key(|row| (entry(row).leader, *row)),
        2 => rows.sort_by_key(|row| (Reverse(entry(row).segments), *row)),
        3 => rows.sort_by_key(|row| (Reverse(entry(row).sealed_bytes), *row)),
        // The cluster's own topics are not what people look for first.
        _ => {
            let is_own: Vec<bool> =
                snapshot.topics.iter().map(|topic| topic.topic.starts_with("__")).collect();
            rows.sort_by_key(|row| (is_own[row.0], *row));
        }
    }
}
