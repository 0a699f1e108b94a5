//! What there is at a broker before a case asks: the same at both of them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use uuid::Uuid;
use walrus_tests::raw::RawClient;
use walrus_types::TimestampMs;
use walrus_wire::{
    kafka_protocol::{messages::*, protocol::StrBytes},
    records::{NewRecord, build_batch},
};

/// How long what comes in the background may take: a leader, a coordinator.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first record's time; each record is a second younger than the one before it.
pub(crate) const FIRST_AT: i64 = 1_760_000_000_000;
/// The topic that every other request of the set-up names.
const PARTITIONS: i32 = 2;

/// A broker, and what was made there for one case.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) client: RawClient,
    /// In which the case asks.
    pub(crate) version: i16,
    /// The case's own, the same name at both brokers.
    pub(crate) topic: TopicName,
    pub(crate) topic_id: Uuid,
    /// Of the topic's leaders, which is where the broker begins to count.
    pub(crate) epoch: i32,
    pub(crate) group: GroupId,
    pub(crate) member: StrBytes,
    pub(crate) generation: i32,
    pub(crate) producer: ProducerId,
    pub(crate) session: i32,
}

/// Makes what a case needs.
pub(crate) type SetUp = fn(&mut Scene) -> Result<()>;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A batch of so many records.
pub(crate) fn batch(count: i64) -> Bytes {
    batch_at(FIRST_AT, count)
}

pub(crate) fn batch_at(first: i64, count: i64) -> Bytes {
    let records: Vec<NewRecord<'_>> = (0..count)
        .map(|at| NewRecord {
            timestamp: TimestampMs(first + 1_000 * at),
            key: Some(b"k"),
            value: Some(b"value"),
            headers: &[],
        })
        .collect();
    build_batch(&records).into()
}

impl Scene {
    pub(crate) fn new(at: SocketAddr, name: &str, version: i16) -> Result<Self> {
        Ok(Self {
            client: RawClient::connect(at)?,
            version,
            topic: TopicName(text(name)),
            topic_id: Uuid::nil(),
            epoch: -1,
            group: GroupId(text(name)),
            member: StrBytes::default(),
            generation: -1,
            producer: ProducerId(-1),
            session: 0,
        })
    }

    fn produce(&mut self, records: Bytes) -> Result<i16> {
        use produce_request::{PartitionProduceData, TopicProduceData};
        let data = PartitionProduceData::default().with_records(Some(records));
        let named = TopicProduceData::default()
            .with_name(self.topic.clone())
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(9_000);
        let told = self.client.ask(9, &request.with_topic_data(vec![named]))?;
        Ok(told.responses[0].partition_responses[0].error_code)
    }

    fn create(&mut self, configs: &[(&str, &str)]) -> Result<()> {
        use create_topics_request::{CreatableTopic, CreatableTopicConfig};
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let new = CreatableTopic::default()
            .with_name(self.topic.clone())
            .with_num_partitions(PARTITIONS)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(30_000);
        let made = self.client.ask(7, &request)?;
        ensure!(made.topics[0].error_code == 0, "{made:?}");
        self.topic_id = made.topics[0].topic_id;
        self.wait_for_leaders()
    }

    /// A broker may tell of a topic before it serves it.
    fn wait_for_leaders(&mut self) -> Result<()> {
        use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        let parts = (0..PARTITIONS).map(|index| {
            ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1)
        });
        let named = ListOffsetsTopic::default()
            .with_name(self.topic.clone())
            .with_partitions(parts.collect());
        let request = ListOffsetsRequest::default().with_topics(vec![named]);
        let began = Instant::now();
        loop {
            let told = self.client.ask(6, &request)?;
            if told.topics[0].partitions.iter().all(|part| part.error_code == 0) {
                self.epoch = told.topics[0].partitions[0].leader_epoch;
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "nobody leads: {told:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn join(&self, protocol: &'static str) -> JoinGroupRequest {
        use join_group_request::JoinGroupRequestProtocol;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(protocol))
            .with_metadata(subscription(&self.topic));
        JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.member.clone())
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(if self.version >= 1 { 1_000 } else { -1 })
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    pub(crate) fn sync(&self) -> SyncGroupRequest {
        use sync_group_request::SyncGroupRequestAssignment;
        let mine = SyncGroupRequestAssignment::default()
            .with_member_id(self.member.clone())
            .with_assignment(Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
        SyncGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.member.clone())
            .with_assignments(vec![mine])
    }
}

/// The consumer protocol's subscription to one topic, version 0.
fn subscription(topic: &TopicName) -> Bytes {
    let name = topic.0.as_bytes();
    let length = i16::try_from(name.len()).expect("a topic's name is short");
    [&[0, 0, 0, 0, 0, 1][..], &length.to_be_bytes(), name, &[0xff; 4]].concat().into()
}

/// Nothing of its own.
#[expect(clippy::unnecessary_wraps, reason = "one of several")]
pub(crate) fn nothing(_scene: &mut Scene) -> Result<()> {
    Ok(())
}

/// A topic of two partitions.
pub(crate) fn topic(scene: &mut Scene) -> Result<()> {
    scene.create(&[])
}

/// One that takes batches of 200 bytes.
pub(crate) fn small(scene: &mut Scene) -> Result<()> {
    scene.create(&[("max.message.bytes", "200")])
}

/// One whose retention was chosen.
pub(crate) fn tuned(scene: &mut Scene) -> Result<()> {
    scene.create(&[("retention.ms", "60000"), ("max.message.bytes", "2000")])
}

/// Five records in two batches, in partition 0.
pub(crate) fn records(scene: &mut Scene) -> Result<()> {
    topic(scene)?;
    for records in [batch(2), batch_at(FIRST_AT + 2_000, 3)] {
        ensure!(scene.produce(records)? == 0, "a set-up's records were refused");
    }
    Ok(())
}

/// The first two of them deleted.
pub(crate) fn trimmed(scene: &mut Scene) -> Result<()> {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    records(scene)?;
    let part = DeleteRecordsPartition::default().with_offset(2);
    let named =
        DeleteRecordsTopic::default().with_name(scene.topic.clone()).with_partitions(vec![part]);
    let request = DeleteRecordsRequest::default().with_topics(vec![named]).with_timeout_ms(9_000);
    let told = scene.client.ask(2, &request)?;
    ensure!(told.topics[0].partitions[0].error_code == 0, "{told:?}");
    Ok(())
}

/// A fetch session about partition 0.
pub(crate) fn session(scene: &mut Scene) -> Result<()> {
    use fetch_request::{FetchPartition, FetchTopic};
    records(scene)?;
    let part = FetchPartition::default().with_partition_max_bytes(1 << 20).with_fetch_offset(5);
    let named = FetchTopic::default().with_topic(scene.topic.clone()).with_partitions(vec![part]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_max_wait_ms(10)
        .with_session_epoch(0)
        .with_topics(vec![named]);
    let told = scene.client.ask(12, &request)?;
    ensure!(told.session_id != 0, "there is no session: {told:?}");
    scene.session = told.session_id;
    Ok(())
}

/// A producer with an id, which has written one batch of two records with sequence 0.
pub(crate) fn producer(scene: &mut Scene) -> Result<()> {
    topic(scene)?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let began = Instant::now();
    while scene.producer.0 < 0 {
        // The first ids are still on their way to a broker that has just begun.
        scene.producer = scene.client.ask(4, &request)?.producer_id;
        ensure!(began.elapsed() < PATIENCE, "there are no producer ids");
    }
    let first = idempotent(scene, 0, 0, 2);
    ensure!(scene.produce(first)? == 0, "the first batch was refused");
    Ok(())
}

/// A batch of the scene's producer.
pub(crate) fn idempotent(scene: &Scene, epoch: i16, sequence: i32, count: i64) -> Bytes {
    stamped(&batch(count), |bytes| {
        bytes[43..51].copy_from_slice(&scene.producer.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    })
}

/// A batch with something changed and the checksum right again.
pub(crate) fn stamped(batch: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let crc = walrus_types::batch::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A group's coordinator, found.
pub(crate) fn coordinator(scene: &mut Scene) -> Result<()> {
    let request = FindCoordinatorRequest::default().with_key(scene.group.0.clone());
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let told = scene.client.ask(2, &request)?;
        let fetch = OffsetFetchRequest::default()
            .with_group_id(scene.group.clone())
            .with_topics(Some(Vec::new()));
        if told.error_code == 0 && scene.client.ask(5, &fetch)?.error_code == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("no coordinator after {PATIENCE:?}")
}

/// A group that has committed 3 with words, and has no members.
pub(crate) fn committed(scene: &mut Scene) -> Result<()> {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    topic(scene)?;
    coordinator(scene)?;
    let part = OffsetCommitRequestPartition::default()
        .with_committed_offset(3)
        .with_committed_leader_epoch(0)
        .with_committed_metadata(Some(text("words")));
    let named = OffsetCommitRequestTopic::default()
        .with_name(scene.topic.clone())
        .with_partitions(vec![part]);
    let request = OffsetCommitRequest::default()
        .with_group_id(scene.group.clone())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![named]);
    let told = scene.client.ask(8, &request)?;
    ensure!(told.topics[0].partitions[0].error_code == 0, "{told:?}");
    Ok(())
}

/// A group of one member that has joined and not synced.
pub(crate) fn joined(scene: &mut Scene) -> Result<()> {
    if scene.topic_id.is_nil() {
        topic(scene)?;
        coordinator(scene)?;
    }
    take_part(scene, None)
}

fn take_part(scene: &mut Scene, instance: Option<StrBytes>) -> Result<()> {
    // In version 5 whoever is new is told its id first, unless it is static.
    let request = scene.join("range").with_rebalance_timeout_ms(1_000);
    let request = request.with_group_instance_id(instance);
    let mut told = scene.client.ask(5, &request)?;
    if told.error_code == 79 {
        let again = request.with_member_id(told.member_id);
        told = scene.client.ask(5, &again)?;
    }
    ensure!(told.error_code == 0, "{told:?}");
    scene.member = told.member_id;
    scene.generation = told.generation_id;
    Ok(())
}

/// A group of one member, stable.
pub(crate) fn stable(scene: &mut Scene) -> Result<()> {
    joined(scene)?;
    let request = scene.sync();
    let told = scene.client.ask(3, &request)?;
    ensure!(told.error_code == 0, "{told:?}");
    Ok(())
}

/// A group of one static member, `i`, stable.
pub(crate) fn static_member(scene: &mut Scene) -> Result<()> {
    topic(scene)?;
    coordinator(scene)?;
    take_part(scene, Some(text("i")))?;
    let request = scene.sync().with_group_instance_id(Some(text("i")));
    let told = scene.client.ask(3, &request)?;
    ensure!(told.error_code == 0, "{told:?}");
    Ok(())
}

/// A group whose only member has left.
pub(crate) fn left(scene: &mut Scene) -> Result<()> {
    stable(scene)?;
    let request = LeaveGroupRequest::default()
        .with_group_id(scene.group.clone())
        .with_member_id(scene.member.clone());
    let told = scene.client.ask(1, &request)?;
    ensure!(told.error_code == 0, "{told:?}");
    Ok(())
}

/// What the broker serves: first and last version by key.
pub(crate) fn served(client: &mut RawClient) -> Result<Vec<(i16, i16, i16)>> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("differential"))
        .with_client_software_version(text("1"));
    let told = client.ask(3, &request).context("ApiVersions")?;
    Ok(told.api_keys.iter().map(|one| (one.api_key, one.min_version, one.max_version)).collect())
}
