//! The state as bytes.
//!
//! ```text
//!  0       u8   version (4)
//!  1       …    postcard of [`Image`]
//!  end-4   u32  CRC-32C of all before, little-endian
//! ```
//!
//! The image is a form of its own, so that the state in memory may change its shape. Lists of
//! members stand in one table, for most segments share theirs with thousands of others: a sealed
//! segment takes about 30 bytes, and 16 more with its digest. Versions 1 to 3 are read too, see
//! `v1.rs`, `v2.rs` and `v3.rs`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_types::{
    ClusterId, Epoch, NodeId, Offset, OperationId, PartitionIndex, ProducerId, StorageId,
    TimestampMs, TopicId, batch,
};

use crate::{
    command::{DecodeError, decode_versioned, decode_whole},
    map::Map,
    metadata::Metadata,
    node::{Leader, Member, Node},
    operation::Operation,
    partition::{Assignment, Partition},
    segment::{Digest, Loss, Open, Reason, Sealed, SegmentKey},
    topic::Topic,
    v1, v2, v3,
};

const VERSION: u8 = 4;
const CRC_BYTES: usize = 4;

/// Why bytes are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes were damaged.
    #[error("metadata snapshot: crc is {computed:#010x}, its end says {stored:#010x}")]
    Crc {
        /// What the bytes say.
        stored: u32,
        /// What they come to.
        computed: u32,
    },
    /// They are whole, and no snapshot of a version that is known here.
    #[error("metadata snapshot: {0}")]
    Decode(#[from] DecodeError),
    /// They are a snapshot of what cannot be.
    #[error("metadata snapshot: {0}")]
    Broken(&'static str),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) applied: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) epoch_floor: Epoch,
    pub(crate) next_producer: ProducerId,
    pub(crate) nodes: Vec<(NodeId, Node)>,
    pub(crate) spent: Vec<(StorageId, NodeId)>,
    pub(crate) cluster_configs: BTreeMap<String, String>,
    pub(crate) tombstones: Vec<(String, Epoch)>,
    pub(crate) members: Vec<Vec<Member>>,
    pub(crate) topics: Vec<TopicImage>,
    pub(crate) operations: Vec<(OperationId, Operation)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TopicImage {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    pub(crate) replicas_target: u8,
    pub(crate) first_epoch: Epoch,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) partitions: Vec<PartitionImage>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PartitionImage {
    pub(crate) log_start: Offset,
    pub(crate) sealed: Vec<SealedImage>,
    pub(crate) losses: Vec<(SegmentKey, Loss)>,
    pub(crate) key: SegmentKey,
    pub(crate) leader: Leader,
    pub(crate) members: u32,
    pub(crate) w: u8,
    pub(crate) opened_at: TimestampMs,
    pub(crate) reason: Reason,
    pub(crate) assignment: Option<Assignment>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SealedImage {
    pub(crate) key: SegmentKey,
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: TimestampMs,
    pub(crate) members: u32,
    pub(crate) leader: NodeId,
    pub(crate) reason: Reason,
    pub(crate) digest: Option<Digest>,
}

impl Metadata {
    /// The state as bytes. Takes its time with great states: call it on a clone, off the path of
    /// `apply`.
    pub fn encode(&self) -> Vec<u8> {
        let mut table = MemberTable::default();
        let topics = self.topics.iter().map(|(_, topic)| topic_image(topic, &mut table)).collect();
        let operations = self.operations.iter();
        let image = Image {
            applied: self.applied,
            cluster: self.cluster,
            epoch_floor: self.epoch_floor,
            next_producer: self.next_producer,
            nodes: self.nodes.iter().map(|(id, node)| (*id, Node::clone(node))).collect(),
            spent: self.spent.iter().map(|(storage, node)| (*storage, *node)).collect(),
            cluster_configs: self.cluster_configs.as_ref().clone(),
            tombstones: self.tombstones.iter().map(|(n, e)| ((**n).to_owned(), *e)).collect(),
            members: table.lists,
            topics,
            operations: operations.map(|(id, one)| (*id, Operation::clone(one))).collect(),
        };
        let bytes = postcard::to_extend(&image, vec![VERSION]);
        let mut bytes = bytes.expect("an image has only plain data");
        bytes.extend(batch::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`Metadata::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else, or a state that breaks an invariant.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let short = DecodeError::Malformed(postcard::Error::DeserializeUnexpectedEnd);
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(short)?;
        let (stored, computed) = (u32::from_le_bytes(*crc), batch::crc32c(body));
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let image = match body.split_first() {
            Some((&v2::VERSION, body)) => decode_whole::<v2::Image>(body)?.into(),
            Some((&v3::VERSION, body)) => decode_whole::<v3::Image>(body)?.into(),
            _ => decode_versioned::<Image, v1::Image>(body, VERSION)?,
        };
        let state = state_of(image)?;
        state.verify().map_err(SnapshotError::Broken)?;
        Ok(state)
    }
}

/// Numbers for lists of members, by content.
#[derive(Default)]
struct MemberTable {
    lists: Vec<Vec<Member>>,
    numbers: BTreeMap<Arc<[Member]>, u32>,
    /// The list asked for last and its number: neighbours mostly share theirs.
    last: Option<(Arc<[Member]>, u32)>,
}

impl MemberTable {
    fn number(&mut self, members: &Arc<[Member]>) -> u32 {
        if let Some((last, number)) = &self.last
            && Arc::ptr_eq(last, members)
        {
            return *number;
        }
        let next = u32::try_from(self.lists.len()).expect("fewer lists than segments");
        let number = *self.numbers.entry(Arc::clone(members)).or_insert(next);
        if number == next {
            self.lists.push(members.to_vec());
        }
        self.last = Some((Arc::clone(members), number));
        number
    }
}

fn topic_image(topic: &Topic, table: &mut MemberTable) -> TopicImage {
    let partitions = &topic.partitions;
    TopicImage {
        id: topic.id,
        name: (*topic.name).to_owned(),
        replicas_target: topic.replicas_target,
        first_epoch: topic.first_epoch,
        configs: topic.configs.as_ref().clone(),
        partitions: partitions.iter().map(|(_, p)| partition_image(p, table)).collect(),
    }
}

fn partition_image(partition: &Partition, table: &mut MemberTable) -> PartitionImage {
    let mut sealed_image = |(key, sealed): (&SegmentKey, &Sealed)| SealedImage {
        key: *key,
        end: sealed.end,
        bytes: sealed.bytes,
        max_timestamp: sealed.max_timestamp,
        members: table.number(&sealed.members),
        leader: sealed.leader,
        reason: sealed.reason,
        digest: sealed.digest,
    };
    let sealed = partition.sealed.iter().map(&mut sealed_image).collect();
    let Open { key, leader, ref members, w, opened_at, reason } = partition.open;
    PartitionImage {
        log_start: partition.log_start,
        sealed,
        losses: partition.losses.iter().map(|(key, loss)| (*key, *loss)).collect(),
        key,
        leader,
        members: table.number(members),
        w,
        opened_at,
        reason,
        assignment: partition.assignment.as_deref().cloned(),
    }
}

fn state_of(image: Image) -> Result<Metadata, SnapshotError> {
    let members: Vec<Arc<[Member]>> = image.members.into_iter().map(Into::into).collect();
    let mut state = Metadata {
        applied: image.applied,
        cluster: image.cluster,
        epoch_floor: image.epoch_floor,
        next_producer: image.next_producer,
        cluster_configs: Arc::new(image.cluster_configs),
        ..Metadata::default()
    };
    for (id, node) in image.nodes {
        if state.nodes.insert(id, Arc::new(node)).is_some() {
            return Err(SnapshotError::Broken("a node is there twice"));
        }
    }
    state.spent = image.spent.into_iter().collect();
    for (name, epoch) in image.tombstones {
        state.tombstones.insert(name.into(), epoch);
    }
    for topic in image.topics {
        let topic = topic_of(topic, &members)?;
        state.partitions += topic.partitions.len();
        let named = state.names.insert(Arc::clone(&topic.name), topic.id);
        if state.topics.insert(topic.id, Arc::new(topic)).is_some() || named.is_some() {
            return Err(SnapshotError::Broken("a topic is there twice"));
        }
    }
    for (id, operation) in image.operations {
        if state.operations.insert(id, Arc::new(operation)).is_some() {
            return Err(SnapshotError::Broken("an operation is there twice"));
        }
    }
    state.leases = state.count_leases();
    Ok(state)
}

fn topic_of(image: TopicImage, members: &[Arc<[Member]>]) -> Result<Topic, SnapshotError> {
    let mut partitions = Map::default();
    for (index, partition) in (0..).zip(image.partitions) {
        partitions.insert(PartitionIndex(index), Arc::new(partition_of(partition, members)?));
    }
    Ok(Topic {
        id: image.id,
        name: image.name.into(),
        replicas_target: image.replicas_target,
        first_epoch: image.first_epoch,
        configs: Arc::new(image.configs),
        partitions,
    })
}

fn partition_of(
    image: PartitionImage,
    members: &[Arc<[Member]>],
) -> Result<Partition, SnapshotError> {
    let list = |number: u32| {
        let list = usize::try_from(number).ok().and_then(|number| members.get(number));
        list.cloned().ok_or(SnapshotError::Broken("a list of members is not in the table"))
    };
    let mut sealed = Map::default();
    for segment in image.sealed {
        let SealedImage { key, end, bytes, max_timestamp, leader, reason, digest, .. } = segment;
        let members = list(segment.members)?;
        let segment = Sealed { end, bytes, max_timestamp, members, leader, reason, digest };
        sealed.insert(key, segment);
    }
    let PartitionImage { key, leader, w, opened_at, reason, log_start, .. } = image;
    let members = list(image.members)?;
    let open = Open { key, leader, members, w, opened_at, reason };
    let losses = image.losses.into_iter().collect();
    let assignment = image.assignment.map(Arc::new);
    Ok(Partition { sealed, open, log_start, losses, assignment })
}
