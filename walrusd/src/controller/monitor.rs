//! Looks at every partition every `WALRUS_MONITOR_CHECK_MS`: segments that are due are rolled,
//! what retention no longer keeps is pruned.

use std::{sync::Arc, time::Duration};

use tracing::{error, info, warn};
use walrus_admin::gc::DueSegment;
use walrus_metadata::{Command, Partition as Chain, Prune, Reply, Sealed, SegmentKey};
use walrus_replication::{
    RollReason,
    retention::{self, Why},
};
use walrus_types::{TimestampMs, TopicPartition, limits};

use crate::{
    broker::{Broker, TopicView},
    controller::follow,
    gc, groups,
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
    let mut look = gc::Look::begin(broker.config.segments.check_ms);
    let metadata = broker.metadata();
    let mut prunes = Vec::new();
    for topic in metadata.topics() {
        let view = broker.view(topic);
        for (index, chain) in topic.partitions() {
            let id = TopicPartition { topic: topic.id, partition: *index };
            prunes.extend(judge(broker, &view, (id, chain, now), &mut look).await);
        }
    }
    for some in prunes.chunks(limits::CHANGES_PER_COMMAND_MAX) {
        let command = Command::Prune(some.iter().map(|(prune, _)| prune.clone()).collect());
        // One that was refused or lost is found again at the next look.
        let refused: Vec<Option<String>> = match broker.raft.propose(&command).await {
            Ok(Reply::Pruned(all)) => {
                all.into_iter().map(|one| one.err().map(|why| why.to_string())).collect()
            }
            Ok(other) => {
                error!(?other, "what is to be pruned is answered to something else");
                vec![Some("it answered to something else".to_owned()); some.len()]
            }
            Err(why) => {
                warn!(%why, prunes = some.len(), "segments that retention gave up are pruned later");
                vec![Some(why.to_string()); some.len()]
            }
        };
        for ((_, due), refused) in some.iter().zip(refused) {
            match refused {
                None => look.taken(due),
                Some(why) => look.waits(not_taken(due, &why)),
            }
        }
    }
    let again = Arc::clone(broker);
    let looked = tokio::task::spawn_blocking(move || {
        follow::remove_leftovers(&again);
        again.store.stats().gone.freed_bytes
    });
    if let Ok(freed_bytes) = looked.await {
        broker.gc.note(look, freed_bytes, broker.clock.uptime());
    }
}

/// They wait for the metadata, which did not prune them.
fn not_taken(due: &[DueSegment], why: &str) -> Vec<DueSegment> {
    let waits_for = format!("the metadata, which did not take it: {why}");
    due.iter().map(|due| DueSegment { waits_for: waits_for.clone(), ..due.clone() }).collect()
}

/// What retention wants of one partition.
async fn judge(
    broker: &Arc<Broker>,
    topic: &TopicView,
    (id, chain, now): (TopicPartition, &Chain, TimestampMs),
    look: &mut gc::Look,
) -> Option<(Prune, Vec<DueSegment>)> {
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
    let name = &topic.topic.name;
    look.partition(name, id, decision.next);
    let due = |epoch, bytes, why: Why, waits_for: &str| DueSegment {
        topic: name.to_string(),
        partition: id.partition,
        epoch,
        bytes,
        why: why.to_string(),
        waits_for: waits_for.to_owned(),
    };
    let mut going = Vec::with_capacity(decision.drop.len());
    // They are the oldest, in the same order.
    for (segment, (epoch, why)) in sealed.iter().zip(&decision.drop) {
        info!(topic = %name, partition = %id.partition, %epoch, %why, "segment goes");
        going.push(due(*epoch, segment.bytes, *why, "the next look"));
    }
    if let (Some(why), Some(open)) = (decision.roll_first, &open) {
        look.waits([due(open.epoch, open.bytes, why, "its seal")]);
    }
    if let (Some(why), Some(partition)) = (decision.roll_first, &loaded)
        && partition.begin_roll(RollReason::Retention, broker.clock.uptime())
    {
        info!(topic = %name, partition = %id.partition, %why, "open segment is rolled");
    }
    let prune =
        Prune { partition: id, expected: chain.open().key.epoch, log_start: decision.log_start };
    if decision.log_start > chain.log_start() {
        return Some((prune, going));
    }
    look.waits(going);
    None
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
