//! Carries each change of the metadata into this node's partitions and files.
//!
//! The metadata is the truth about which segments there are; what lies on disk beyond it is
//! garbage. Changes are followed as they are applied; what was missed while the node was down is
//! found once, by [`sweep`], after the start.

use std::{collections::BTreeSet, sync::Arc};

use tracing::{debug, info, warn};
use walrus_metadata::{
    Difference, Member, Metadata, NodeState, Partition as Chain, Segment as Link, SegmentKey, Topic,
};
use walrus_replication::RollReason;
use walrus_storage::store::{Leftover, Removal};
use walrus_types::{NodeId, SegmentId, TopicPartition};

use crate::{
    broker::Broker,
    partition::{fed, read::segment_of, roll},
};

/// Follows the metadata until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    let mut views = broker.raft.watch();
    let mut seen = views.borrow_and_update().clone();
    look_at_nodes(&broker, &seen);
    loop {
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = broker.draining() => return,
        }
        let now = views.borrow_and_update().clone();
        let differences = now.diff(&seen);
        if differences.iter().any(|difference| matches!(difference, Difference::Node(_))) {
            look_at_nodes(&broker, &now);
        }
        for node in reborn(&seen, &now, &differences) {
            // It is there again: who waits before it tries to connect need not.
            broker.feeds.hurry(node);
        }
        for difference in differences {
            carry(&broker, &seen, &now, difference);
        }
        seen = now;
    }
}

fn carry(broker: &Arc<Broker>, old: &Metadata, new: &Metadata, difference: Difference) {
    match difference {
        Difference::TopicRemoved(topic) => remove_topic(broker, &topic),
        Difference::TopicConfigs(id) => {
            let Some(topic) = new.topic(id) else { return };
            let view = broker.view(topic);
            let limits = broker.leader_limits(&view.config);
            for (index, _) in topic.partitions() {
                let partition = TopicPartition { topic: id, partition: *index };
                if let Some(partition) = broker.partitions().loaded(partition) {
                    partition.set_limits(limits, broker.clock.uptime());
                }
            }
        }
        Difference::Partition(id) => {
            let Some(chain) = new.partition(id) else { return };
            broker.replicas.follow(id, old.partition(id).map(|old| &**old), Some(chain));
            if let Some(partition) = broker.partitions().loaded(id) {
                partition.move_log_start(chain.log_start());
                let epoch = partition.marks().epoch;
                if chain.open().key.epoch > epoch {
                    let broker = Arc::clone(broker);
                    tokio::spawn(async move { roll::settle(&broker, &partition, epoch).await });
                }
            }
            let gone = old.partition(id).map(|old| gone_since(broker, old, chain));
            let gone: Vec<SegmentId> =
                gone.unwrap_or_default().into_iter().map(|key| segment_of(id, key)).collect();
            if !gone.is_empty() {
                prune(broker, gone);
            }
        }
        Difference::TopicAdded(_)
        | Difference::Node(_)
        | Difference::ClusterConfigs
        | Difference::Operation(_) => {}
    }
}

/// Nodes that have begun another life.
fn reborn<'a>(
    old: &'a Metadata,
    new: &'a Metadata,
    differences: &'a [Difference],
) -> impl Iterator<Item = NodeId> + 'a {
    differences.iter().filter_map(move |difference| {
        let Difference::Node(id) = difference else { return None };
        let life = |metadata: &Metadata| metadata.node(*id).map(|node| node.incarnation);
        (life(new) != life(old)).then_some(*id)
    })
}

/// This node, as metadata names it among members.
fn me(broker: &Broker) -> Member {
    Member { node: broker.identity.node, storage: broker.identity.storage }
}

/// The segments that are of no use here since `old`: those that left the chain, and those that
/// others hold in this node's place.
fn gone_since(broker: &Broker, old: &Chain, new: &Chain) -> Vec<SegmentKey> {
    let me = me(broker);
    let mut gone = new.dropped_since(old);
    gone.extend(new.regrouped_since(old).into_iter().filter(|key| {
        // One that was open at the time of a narrow seal is left: few have what lies here.
        let before = old.sealed().get(key).is_some_and(|sealed| sealed.members.contains(&me));
        let after = new.sealed().get(key).is_some_and(|sealed| sealed.members.contains(&me));
        before && !after
    }));
    gone
}

/// Who is in the cluster, and who of them is alive, has changed.
fn look_at_nodes(broker: &Arc<Broker>, now: &Metadata) {
    let me = broker.leader();
    let fenced = now.node(me.node).is_some_and(|node| {
        node.incarnation > me.incarnation
            || (node.incarnation == me.incarnation && !node.state.serves())
    });
    if fenced {
        broker.lease.fence_heard("the metadata");
    }
    broker.feeds.set_peers(fed::peers(now, me.node));
    for partition in broker.partitions().all() {
        let Some(chain) = now.partition(partition.id()) else { continue };
        let mut has_quorum = true;
        for member in roll::open_segment(chain.open()).members {
            let serves = now
                .node(member.node)
                .is_some_and(|node| node.state.serves() && node.storage == member.storage);
            has_quorum = partition.set_live(member, serves);
        }
        if !has_quorum && partition.begin_roll(RollReason::QuorumLost, broker.clock.uptime()) {
            info!(partition = %partition.id(), "the segment lost its write quorum and is rolled");
        }
    }
}

fn remove_topic(broker: &Arc<Broker>, topic: &Topic) {
    info!(topic = %topic.name, id = %topic.id, "topic deleted");
    broker.forget_topic(topic.id);
    broker.groups.forget_topic(&topic.name);
    broker.replicas.forget_topic(topic.id);
    let (store, id) = (broker.store.clone(), topic.id);
    tokio::task::spawn_blocking(move || {
        if let Err(why) = store.remove_topic(id) {
            warn!(%id, %why, "a deleted topic's files are removed later");
        }
    });
}

fn prune(broker: &Arc<Broker>, segments: Vec<SegmentId>) {
    let broker = Arc::clone(broker);
    tokio::task::spawn_blocking(move || {
        for segment in segments {
            // This node may hold it again by now.
            let Some(_going) = broker.replicas.let_go(segment) else { continue };
            match broker.store.prune(segment) {
                Ok(()) => debug!(%segment, "segment pruned"),
                Err(why) => warn!(%segment, %why, "a pruned segment is removed later"),
            }
        }
    });
}

/// Tries once more to remove what could not be. Waits for the disk.
pub fn remove_leftovers(broker: &Broker) {
    for Leftover { what, why, .. } in broker.store.stats().gone.leftovers {
        // Looked at anew for each: it may be wanted here by now.
        let metadata = broker.metadata();
        let removed = match what {
            Removal::Segment(id) if is_wanted(broker, &metadata, id) => continue,
            Removal::Segment(id) => {
                let Some(_going) = broker.replicas.let_go(id) else { continue };
                broker.store.prune(id)
            }
            Removal::Partition(id) if metadata.partition(id).is_some() => continue,
            Removal::Partition(id) => broker.store.remove_partition(id),
            Removal::Topic(id) if metadata.topic(id).is_some() => continue,
            Removal::Topic(id) => broker.store.remove_topic(id),
        };
        match removed {
            Ok(()) => info!(?what, "what could not be removed before is removed"),
            Err(again) => debug!(?what, before = why, %again, "it is still not to be removed"),
        }
    }
}

/// Whether a segment is to be kept here.
fn is_wanted(broker: &Broker, metadata: &Metadata, id: SegmentId) -> bool {
    let topic = metadata.topic(id.partition.topic);
    let chain = metadata.partition(id.partition);
    topic.zip(chain).is_some_and(|(topic, chain)| {
        let kept = kept(metadata, topic, chain, me(broker));
        kept.into_iter().any(|key| segment_of(id.partition, key) == id)
    })
}

/// Removes what lies on disk and is in no chain. Waits for the disk.
pub fn sweep(broker: &Broker) {
    let topics = match broker.store.topics_on_disk() {
        Ok(topics) => topics,
        Err(why) => {
            warn!(%why, "what is left of deleted topics could not be looked for");
            return;
        }
    };
    for id in topics {
        // Looked at anew for each: a topic made meanwhile must not be taken for garbage.
        let metadata = broker.metadata();
        let removed = match metadata.topic(id) {
            None => {
                info!(%id, "removing what is left of a deleted topic");
                broker.store.remove_topic(id).map_err(|why| why.to_string())
            }
            Some(topic) => sweep_topic(broker, &metadata, topic),
        };
        if let Err(why) = removed {
            warn!(%id, %why, "garbage on disk was left");
        }
    }
}

/// What is kept here of a partition, as far as it is in its chain: all but what others hold in this
/// node's place, as many as the topic wants.
///
/// Of those others only nodes that stay count. Where one leaves, or is gone for a while, an earlier
/// life of this node may have reported a copy: it becomes a member then at any moment, and who left
/// needs its own copy no more.
fn kept(metadata: &Metadata, topic: &Topic, chain: &Chain, me: Member) -> Vec<SegmentKey> {
    let stays = |member: &&Member| {
        let node = metadata.node(member.node);
        node.is_some_and(|node| node.storage == member.storage && node.state == NodeState::Active)
    };
    let is_kept = |link: &Link<'_>| match link {
        Link::Open(_) => true,
        Link::Sealed(_, sealed) => {
            let others = sealed.members.iter().filter(stays).count();
            others < usize::from(topic.replicas_target) || sealed.members.contains(&me)
        }
    };
    chain.chain().filter(is_kept).map(|link| link.key()).collect()
}

fn sweep_topic(broker: &Broker, metadata: &Metadata, topic: &Topic) -> Result<(), String> {
    for (index, chain) in topic.partitions() {
        let id = TopicPartition { topic: topic.id, partition: *index };
        let kept = kept(metadata, topic, chain, me(broker)).into_iter();
        let kept: BTreeSet<SegmentId> = kept.map(|key| segment_of(id, key)).collect();
        let newest = chain.open().key.epoch;
        let on_disk = broker.store.segments_on_disk(id).map_err(|why| why.to_string())?;
        for segment in on_disk {
            // A segment that was opened after this look is newer than all that were there.
            if segment.epoch <= newest && !kept.contains(&segment) {
                let Some(_going) = broker.replicas.let_go(segment) else { continue };
                info!(%segment, "removing a segment that is not to be kept here");
                broker.store.prune(segment).map_err(|why| why.to_string())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, NodeChange, SetNodeState};

    use super::*;
    use crate::controller::{
        fake::{self, partition, seal},
        nodes::stored,
    };

    fn drain(node: i32) -> Command {
        let node = NodeId(node);
        Command::SetNodeState(SetNodeState { node, expected: None, change: NodeChange::Drain })
    }

    #[test]
    fn a_copy_that_an_earlier_life_reported_for_a_node_that_leaves_survives_the_sweep() {
        for (what, nodes, change, sweeps, expected) in [
            ("all stay", 3, None, 4, false),
            ("all stay, and this one is of them", 3, None, 3, true),
            ("one drains", 3, Some(drain(2)), 4, true),
            ("one is fenced", 3, Some(fake::fence(2, 1)), 4, true),
            ("the only one drains", 1, Some(drain(1)), 4, true),
            ("another one drains", 3, Some(drain(5)), 4, false),
        ] {
            let members: Vec<i32> = (1..=nodes).collect();
            let mut metadata = fake::cluster(5, 0);
            fake::add_topic(&mut metadata, partition(0).topic, &members, 1);
            let first = metadata.partition(partition(0)).unwrap().open().key;
            seal(&mut metadata, &members, &members);
            if let Some(change) = change {
                fake::apply(&mut metadata, &change);
            }
            let topic = metadata.topic(partition(0).topic).unwrap();
            let chain = metadata.partition(partition(0)).unwrap();
            let kept = kept(&metadata, topic, chain, stored(fake::member(sweeps)));
            assert_eq!(kept.contains(&first), expected, "{what}");
            assert!(kept.contains(&chain.open().key), "{what}: what is open is left alone");
        }
    }
}
