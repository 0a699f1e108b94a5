//! Topics that come and go.

use std::{collections::BTreeMap, sync::Arc};

use walrus_types::{
    Epoch, Offset, PartitionIndex, TimestampMs, TopicId,
    limits::{PARTITIONS_MAX, TOPIC_NAME_BYTES_MAX, TOPIC_PARTITIONS_MAX},
};

use super::configs::change;
use crate::{
    command::{AddPartitions, NewTopic, Placement},
    limits::{MEMBERS_MAX, TOMBSTONES_MAX},
    map::Map,
    metadata::Metadata,
    partition::Partition,
    reply::{
        AddRefusal, CreateRefusal, PartitionCountRefusal, PlacementRefusal, TopicCreated,
        UnknownTopic,
    },
    segment::{Reason, SegmentKey},
    topic::Topic,
};

impl Metadata {
    pub(super) fn create_topic(&mut self, new: &NewTopic) -> Result<TopicCreated, CreateRefusal> {
        if !is_name(&new.name) {
            return Err(CreateRefusal::Name);
        }
        if let Some(id) = self.names.get(new.name.as_str()) {
            return Err(CreateRefusal::NameTaken { id: *id });
        }
        if self.topics.get(&new.id).is_some() {
            return Err(CreateRefusal::IdTaken);
        }
        if new.replicas_target == 0 || usize::from(new.replicas_target) > MEMBERS_MAX {
            return Err(CreateRefusal::ReplicasTarget { limit: MEMBERS_MAX as u64 });
        }
        self.judge_count(0, new.partitions.len())?;
        let first_epoch = self.first_epoch(&new.name);
        if first_epoch.0 == i32::MAX {
            return Err(CreateRefusal::EpochsSpent);
        }
        let sets = new.configs.iter().map(|(key, value)| (key, Some(value)));
        let configs = change(&BTreeMap::new(), sets)?;
        let mut topic = Topic {
            id: new.id,
            name: new.name.as_str().into(),
            replicas_target: new.replicas_target,
            first_epoch,
            configs: Arc::new(configs),
            partitions: Map::default(),
        };
        self.place_all(&mut topic, &new.partitions, new.at)
            .map_err(|(partition, why)| CreateRefusal::Placement { partition, why })?;

        self.tombstones.remove(new.name.as_str());
        self.partitions += new.partitions.len();
        new.partitions.iter().for_each(|placement| self.lease_given(placement.leader));
        self.names.insert(Arc::clone(&topic.name), new.id);
        self.topics.insert(new.id, Arc::new(topic));
        Ok(TopicCreated { epoch: first_epoch })
    }

    pub(super) fn add_partitions(&mut self, add: &AddPartitions) -> Result<(), AddRefusal> {
        let topic = self.topics.get(&add.topic).ok_or(UnknownTopic { topic: add.topic })?;
        let found = topic.partitions.len();
        if found as u64 != u64::from(add.expected) {
            return Err(AddRefusal::OtherCount { found: found as u64 });
        }
        self.judge_count(found, add.partitions.len())?;
        let mut topic = Topic::clone(topic);
        self.place_all(&mut topic, &add.partitions, add.at)
            .map_err(|(partition, why)| AddRefusal::Placement { partition, why })?;

        self.partitions += add.partitions.len();
        add.partitions.iter().for_each(|placement| self.lease_given(placement.leader));
        self.topics.insert(add.topic, Arc::new(topic));
        Ok(())
    }

    /// The chain goes, the spent epochs stay known under the name: see [`Topic::first_epoch`].
    pub(super) fn delete_topic(&mut self, id: TopicId) -> Result<(), UnknownTopic> {
        let topic = self.topics.remove(&id).ok_or(UnknownTopic { topic: id })?;
        let named = self.names.remove(&topic.name);
        assert_eq!(named, Some(id), "{} names its topic", topic.name);
        self.partitions -= topic.partitions.len();
        for (_, partition) in &topic.partitions {
            self.lease_taken(partition.open.leader);
        }
        self.bury(Arc::clone(&topic.name), topic.epoch_after());
        Ok(())
    }

    /// Past the limit all tombstones are given up for one floor, which no new topic begins below:
    /// epochs are plenty, memory is not.
    fn bury(&mut self, name: Arc<str>, epoch: Epoch) {
        self.tombstones.insert(name, epoch);
        if self.tombstones.len() > TOMBSTONES_MAX {
            let greatest = self.tombstones.iter().map(|(_, epoch)| *epoch).max();
            self.epoch_floor = self.epoch_floor.max(greatest.unwrap_or(Epoch::FIRST));
            self.tombstones = Map::default();
        }
    }

    /// Puts new partitions behind those that `topic` has; says which one is refused.
    fn place_all(
        &self,
        topic: &mut Topic,
        placements: &[Placement],
        at: TimestampMs,
    ) -> Result<(), (u32, PlacementRefusal)> {
        let key = SegmentKey { base: Offset::ZERO, epoch: topic.first_epoch };
        let mut members = None;
        for placement in placements {
            let number = u32::try_from(topic.partitions.len()).expect("few partitions");
            let target = topic.replicas_target;
            let open = self
                .open_segment(key, placement, target, members.as_ref(), (Reason::Created, at))
                .map_err(|why| (number, why))?;
            members = Some(Arc::clone(&open.members));
            let index = PartitionIndex(number.try_into().expect("few partitions"));
            topic.partitions.insert(index, Arc::new(Partition::new(open)));
        }
        Ok(())
    }

    fn judge_count(&self, has: usize, more: usize) -> Result<(), PartitionCountRefusal> {
        let of_topic = usize::try_from(TOPIC_PARTITIONS_MAX).expect("a positive constant");
        if more == 0 {
            return Err(PartitionCountRefusal::None);
        }
        if has.saturating_add(more) > of_topic {
            return Err(PartitionCountRefusal::Topic { limit: of_topic as u64 });
        }
        if self.partitions.saturating_add(more) > PARTITIONS_MAX {
            return Err(PartitionCountRefusal::Cluster { limit: PARTITIONS_MAX as u64 });
        }
        Ok(())
    }
}

/// Kafka's rule for the names of topics.
fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(legal)
        && name != "."
        && name != ".."
}
