//! The whole cluster at one moment, for consoles.

use std::sync::Arc;

use axum::{extract::State as Extract, http::Uri};
use walrus_admin::{
    cluster::Group,
    snapshot::{NodeEntry, PartitionEntry, Snapshot, TopicEntry, Vitals},
};
use walrus_metadata::{Metadata, Partition, Topic};
use walrus_types::PartitionIndex;

use super::{
    answer::{Answer, Live, Told, broken_off, parameters},
    census, nodes, raft,
};
use crate::{admin::routes::Sources, broker::Broker, vitals};

pub(super) async fn vitals(Live(broker): Live, uri: Uri) -> Answer<Vitals> {
    parameters(&uri, &[])?;
    let look = tokio::task::spawn_blocking(move || vitals::of_self(&broker)).await;
    Ok(Told(look.map_err(|why| broken_off(&why))?))
}

pub(super) async fn snapshot(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
) -> Answer<Snapshot> {
    parameters(&uri, &[])?;
    vitals::gather(&broker).await;
    let look = tokio::task::spawn_blocking(move || look(&sources, &broker)).await;
    Ok(Told(look.map_err(|why| broken_off(&why))?))
}

fn look(sources: &Sources, broker: &Arc<Broker>) -> Snapshot {
    let metadata = broker.metadata();
    let group = raft::group(broker);
    let census = census::take(&metadata, |topic| nodes::min_insync(broker, topic));
    let now = broker.clock.uptime();
    let me = broker.identity.node;
    let entry = |node: walrus_admin::node::Node| {
        if node.node == me {
            let vitals = Some(vitals::of_self(broker));
            return NodeEntry { node, vitals, vitals_age_ms: Some(0), silent: None };
        }
        let heard = broker.vitals.of(node.node);
        let age = heard.said.as_ref().map(|(_, at)| now.since(*at));
        let vitals = heard.said.map(|(said, _)| Vitals::clone(&said));
        NodeEntry { node, vitals, vitals_age_ms: age, silent: heard.silent }
    };
    let nodes = nodes::all(sources, broker, &metadata, &census);
    let mut topics: Vec<TopicEntry> =
        metadata.topics().map(|topic| topic_of(&metadata, topic)).collect();
    topics.sort_by(|one, other| one.topic.cmp(&other.topic));
    Snapshot {
        cluster: broker.identity.cluster.to_string(),
        answered_by: me,
        metadata_version: metadata.applied(),
        at_ms: broker.clock.now(),
        group: Group {
            leader: group.leader,
            term: group.term,
            voters: group.voters,
            quorum: group.quorum,
        },
        nodes: nodes.into_iter().map(entry).collect(),
        topics,
    }
}

fn topic_of(metadata: &Metadata, topic: &Topic) -> TopicEntry {
    let partition = |(index, chain): (&PartitionIndex, &Arc<Partition>)| {
        let open = chain.open();
        PartitionEntry {
            partition: *index,
            epoch: open.key.epoch,
            base: open.key.base,
            leader: open.leader.node,
            leader_serves: metadata.may_lead(open.leader),
            members: open.members.iter().map(|member| member.node).collect(),
            write_quorum: open.w,
            log_start: chain.log_start(),
            segments: u64::try_from(chain.segments()).unwrap_or(u64::MAX),
            sealed_bytes: chain.sealed().iter().map(|(_, sealed)| sealed.bytes).sum(),
            reason: open.reason.to_string(),
        }
    };
    TopicEntry {
        topic: topic.name.to_string(),
        replicas_target: topic.replicas_target,
        partitions: topic.partitions().iter().map(partition).collect(),
    }
}
