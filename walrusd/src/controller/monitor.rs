//! Looks at every partition every `WALRUS_MONITOR_CHECK_MS`: segments that are due are rolled,
//! what retention no longer keeps is pruned.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};
use walrus_metadata::{Command, Partition as Chain, Prune, Sealed, SegmentKey};
use walrus_replication::{RollReason, retention};
use walrus_types::{TimestampMs, TopicPartition, limits};

use crate::{
    broker::{Broker, TopicView},
    groups,
    partition::Partition,
    topic_config::TopicConfig,
};

/// Looks until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    let period = Duration::from_millis(broker.config.segments.check_ms);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => look(&broker).await,
            () = broker.draining() => return,
        }
    }
}

/// One look at all partitions.
async fn look(broker: &Arc<Broker>) {
    let (now, uptime) = (broker.clock.now(), broker.clock.uptime());
    for partition in broker.partitions().all() {
        partition.look_at_limits(uptime);
        partition.expire_producers(broker.config.producers.expiration_ms.into(), now);
    }
    let metadata = broker.metadata();
    let mut prunes = Vec::new();
    for topic in metadata.topics() {
        let view = broker.view(topic);
        for (index, chain) in topic.partitions() {
            let id = TopicPartition { topic: topic.id, partition: *index };
            prunes.extend(judge(broker, &view, id, chain, now).await);
        }
    }
    for some in prunes.chunks(limits::CHANGES_PER_COMMAND_MAX) {
        // One that was refused or lost is found again at the next look.
        if let Err(why) = broker.raft.propose(&Command::Prune(some.to_vec())).await {
            warn!(%why, prunes = some.len(), "segments that retention gave up are pruned later");
        }
    }
}

/// What retention wants of one partition.
async fn judge(
    broker: &Arc<Broker>,
    topic: &TopicView,
    id: TopicPartition,
    chain: &Chain,
    now: TimestampMs,
) -> Option<Prune> {
    // What groups need is known by their coordinators alone.
    if chain.open().leader.node != broker.identity.node || *topic.topic.name == *groups::TOPIC {
        return None;
    }
    let keep = keep(&topic.config);
    let sealed = sealed_of(chain);
    let loaded = broker.partitions().loaded(id);
    if loaded.is_none() && is_old(chain, &topic.config, now) {
        // What an earlier life left open is sealed when the partition is loaded.
        if let Err(why) = broker.partition(topic, id.partition.0).await {
            warn!(partition = %id, %why, "retention cannot look at a partition");
        }
    }
    let open = loaded.as_ref().and_then(|partition| open_of(partition, chain));
    let decision = retention::judge(&sealed, open.as_ref(), chain.log_start(), &keep, now);
    for (epoch, why) in &decision.drop {
        info!(topic = %topic.topic.name, partition = %id.partition, %epoch, %why, "segment goes");
    }
    if let (Some(why), Some(partition)) = (decision.roll_first, &loaded)
        && partition.begin_roll(RollReason::Retention, broker.clock.uptime())
    {
        info!(topic = %topic.topic.name, partition = %id.partition, %why, "open segment is rolled");
    }
    (decision.log_start > chain.log_start()).then(|| Prune {
        partition: id,
        expected: chain.open().key.epoch,
        log_start: decision.log_start,
    })
}

/// The sealed segments of a chain, oldest first, as retention looks at them.
pub fn sealed_of(chain: &Chain) -> Vec<retention::Segment> {
    let segment = |(key, sealed): (&SegmentKey, &Sealed)| retention::Segment {
        epoch: key.epoch,
        base: key.base,
        end: sealed.end,
        bytes: sealed.bytes,
        max_timestamp: sealed.max_timestamp,
        written_at: None,
    };
    chain.sealed().iter().map(segment).collect()
}

/// The open segment, as far as it belongs to this chain: a roll may have come between.
fn open_of(partition: &Partition, chain: &Chain) -> Option<retention::Segment> {
    let (facts, marks) = partition.with_leader(|leader| (leader.facts(), leader.epoch()));
    let commit = partition.commit_seen();
    let key = chain.open().key;
    (marks == key.epoch && commit >= key.base).then_some(retention::Segment {
        epoch: key.epoch,
        base: key.base,
        end: commit,
        bytes: facts.bytes,
        max_timestamp: facts.max_timestamp,
        written_at: None,
    })
}

/// Whether the open segment was opened so long ago that retention may want what is in it.
fn is_old(chain: &Chain, config: &TopicConfig, now: TimestampMs) -> bool {
    config.retention_ms >= 0
        && now.0.saturating_sub(chain.open().opened_at.0) > config.retention_ms
        && chain.open().opened_at.0 > 0
}

/// What a topic's settings keep.
pub fn keep(config: &TopicConfig) -> retention::Keep {
    retention::Keep {
        ms: u64::try_from(config.retention_ms).ok(),
        bytes: u64::try_from(config.retention_bytes).ok(),
        generations: usize::try_from(config.retention_generations).ok(),
    }
}
