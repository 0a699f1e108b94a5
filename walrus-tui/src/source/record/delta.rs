//! What of a snapshot is different from the one before, as `Snapshot::onto` puts it back.

use std::sync::Arc;

use walrus_admin::snapshot::{NodeEntry, PartitionEntry, Snapshot, TopicEntry, unshared};

/// What changed from `before` to `now`, to be put onto that again; `None` where that cannot be said.
pub fn between(before: &Snapshot, now: &Snapshot) -> Option<Snapshot> {
    let is_next = before.cluster == now.cluster && before.metadata_version <= now.metadata_version;
    let is_plain = before.since.is_none() && now.since.is_none() && now.gone.is_empty();
    // Nothing says that there were operations and are none any more.
    let is_known = now.operations.is_some() || before.operations.is_none();
    if !is_next || !is_plain || !is_known || !has_order(before) || !has_order(now) {
        return None;
    }
    let mut gone = Vec::new();
    let mut topics = Vec::new();
    for two in unshared(before, now) {
        match two {
            (Some(was), None) => gone.push(was.topic.clone()),
            (None, Some(is)) if is_sorted(is) => topics.push(Arc::clone(is)),
            (Some(was), Some(is)) if is == was => {}
            (Some(was), Some(is)) if is_sorted(was) && is_sorted(is) => match changed(was, is) {
                Some(changed) => topics.push(Arc::new(changed)),
                // It was made anew.
                None => {
                    gone.push(was.topic.clone());
                    topics.push(Arc::clone(is));
                }
            },
            _ => return None,
        }
    }
    Some(Snapshot {
        cluster: now.cluster.clone(),
        answered_by: now.answered_by,
        metadata_version: now.metadata_version,
        since: Some(before.metadata_version),
        gone,
        at_ms: now.at_ms,
        group: now.group.clone(),
        nodes: now.nodes.iter().map(|entry| node(before, entry)).collect(),
        topics,
        operations: now.operations.clone().filter(|_| now.operations != before.operations),
    })
}

/// A node without what it said before of its files, where it says the same.
fn node(before: &Snapshot, now: &NodeEntry) -> NodeEntry {
    let mut told = now.clone();
    let known = before.nodes.iter().find(|known| known.node.node == now.node.node);
    if let Some((vitals, known)) =
        told.vitals.as_mut().zip(known.and_then(|one| one.vitals.as_ref()))
        && known.uptime_ms <= vitals.uptime_ms
        && known.gc == vitals.gc
    {
        vitals.gc = None;
    }
    told
}

/// The partitions that are others now; `None` where one is there no more.
fn changed(was: &TopicEntry, is: &TopicEntry) -> Option<TopicEntry> {
    let find = |one: &PartitionEntry, of: &TopicEntry| {
        of.partitions.binary_search_by_key(&one.partition, |other| other.partition).ok()
    };
    if was.partitions.iter().any(|one| find(one, is).is_none()) {
        return None;
    }
    let others = is
        .partitions
        .iter()
        .filter(|one| find(one, was).is_none_or(|at| was.partitions[at] != **one));
    Some(TopicEntry {
        topic: is.topic.clone(),
        replicas_target: is.replicas_target,
        keeps: is.keeps,
        partitions: others.cloned().collect(),
    })
}

/// Whether topics stand in their order, once each: who puts a change back searches.
fn has_order(snapshot: &Snapshot) -> bool {
    snapshot.topics.is_sorted_by(|one, other| one.topic < other.topic)
}

/// Whether partitions do.
fn is_sorted(topic: &TopicEntry) -> bool {
    topic.partitions.is_sorted_by(|one, other| one.partition < other.partition)
}
