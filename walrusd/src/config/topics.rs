//! Sections `topics`, `segments` and `producers`: what a topic has that says nothing of its own.

use std::{fmt, str::FromStr};

use walrus_types::limits::{BATCH_BYTES_MAX, TOPIC_PARTITIONS_MAX};

use super::{
    kafka::KafkaKind,
    setting::{Conflict, Section, Setting, Switch, bytes, millis, parsed, whole},
};

/// When an acknowledged batch is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before it is acknowledged.
    #[default]
    Fsync,
    /// Soon after it is acknowledged.
    Interval,
    /// When the operating system thinks fit.
    Os,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fsync => "fsync",
            Self::Interval => "interval",
            Self::Os => "os",
        })
    }
}

impl FromStr for Durability {
    type Err = ();

    fn from_str(given: &str) -> Result<Self, ()> {
        match given {
            "fsync" => Ok(Self::Fsync),
            "interval" => Ok(Self::Interval),
            "os" => Ok(Self::Os),
            _ => Err(()),
        }
    }
}

/// `topics`: defaults of topics, under the names that topic configs have, and how they are made.
#[derive(Debug, Clone)]
pub struct TopicsConfig {
    /// Make a topic when a client asks for one that is not there.
    pub auto_create: bool,
    /// Partitions of a topic that is made without saying how many.
    pub partitions: i32,
    /// Replicas that each partition is to have, as far as there are nodes.
    pub replication_factor: i16,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i16,
    /// `retention.ms`; -1: no limit.
    pub retention_ms: i64,
    /// `retention.bytes`, per partition; -1: no limit.
    pub retention_bytes: i64,
    /// Sealed segments kept per partition; -1: no limit.
    pub retention_generations: i64,
    /// `max.message.bytes`: the largest record batch.
    pub message_bytes_max: u32,
    /// `walrus.durability`. Only [`Durability::Fsync`] is built.
    pub durability: Durability,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            auto_create: true,
            partitions: 1,
            replication_factor: 3,
            min_insync_replicas: 1,
            retention_ms: 7 * 86_400_000,
            retention_bytes: -1,
            retention_generations: -1,
            message_bytes_max: 1_048_588,
            durability: Durability::default(),
        }
    }
}

impl Section for TopicsConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            auto_create,
            partitions,
            replication_factor,
            min_insync_replicas,
            retention_ms,
            retention_bytes,
            retention_generations,
            message_bytes_max,
            durability,
        } = self;
        let batch_max = u32::try_from(BATCH_BYTES_MAX).expect("a batch limit fits 32 bits");
        vec![
            Setting::new(
                "topics.auto-create",
                "Make a topic when a client asks for a missing one",
                Switch(auto_create),
            )
            .kafka("auto.create.topics.enable", KafkaKind::Boolean),
            Setting::new(
                "topics.partitions",
                "Partitions of a topic that is made without a number",
                whole(partitions, 1..=TOPIC_PARTITIONS_MAX),
            )
            .kafka("num.partitions", KafkaKind::Int),
            Setting::new(
                "topics.replication-factor",
                "Replicas a partition is to have, as far as there are nodes",
                whole(replication_factor, 1..=9),
            )
            .kafka("default.replication.factor", KafkaKind::Int),
            Setting::new(
                "topics.min-insync-replicas",
                "Replicas that must have a batch before acks=all is answered",
                whole(min_insync_replicas, 1..=9),
            )
            .kafka("min.insync.replicas", KafkaKind::Int),
            Setting::new(
                "topics.retention-ms",
                "How long records are kept",
                millis(retention_ms, 1..=i64::MAX).or_unlimited(),
            )
            .kafka("log.retention.ms", KafkaKind::Long),
            Setting::new(
                "topics.retention-bytes",
                "Bytes that a partition keeps",
                bytes(retention_bytes, 0..=i64::MAX).or_unlimited(),
            )
            .env("WALRUS_RETENTION_BYTES")
            .kafka("log.retention.bytes", KafkaKind::Long),
            Setting::new(
                "topics.retention-generations",
                "Sealed segments that a partition keeps",
                whole(retention_generations, 0..=1_000_000_000).or_unlimited(),
            )
            .env("WALRUS_RETENTION_GENERATIONS"),
            Setting::new(
                "topics.message-bytes-max",
                "The largest record batch",
                bytes(message_bytes_max, 256..=batch_max),
            )
            .kafka("message.max.bytes", KafkaKind::Int),
            Setting::new(
                "topics.durability",
                "When an acknowledged batch is on disk: before it is acknowledged (fsync); soon \
                 (interval) and when the operating system writes it (os) are not built yet",
                parsed(durability, "fsync, interval or os"),
            ),
        ]
    }

    /// Weaker promises are not built yet, and a node must not promise what it does not do, nor
    /// be measured by what it was not asked for.
    fn conflicts(&self) -> Vec<Conflict> {
        let refuse = || Conflict {
            key: "topics.durability",
            why: format!(
                "is {}, which is not built yet: leave it away, and every record is on disk before \
                 it is acknowledged (fsync)",
                self.durability
            ),
        };
        (self.durability != Durability::Fsync).then(refuse).into_iter().collect()
    }
}

/// `segments`: when a partition's open segment is sealed and the next one opened.
#[derive(Debug, Clone)]
pub struct SegmentsConfig {
    /// Offsets after which a segment rolls.
    pub entries_max: u32,
    /// Bytes after which a segment rolls (`segment.bytes`).
    pub bytes_max: u32,
    /// Age after which a segment rolls (`segment.ms`).
    pub age_ms_max: i64,
    /// How often limits and retention are looked at.
    pub check_ms: u64,
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        Self {
            entries_max: 1_000_000,
            bytes_max: 1 << 30,
            age_ms_max: 7 * 86_400_000,
            check_ms: 10_000,
        }
    }
}

impl Section for SegmentsConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { entries_max, bytes_max, age_ms_max, check_ms } = self;
        vec![
            Setting::new(
                "segments.entries-max",
                "Offsets after which a segment rolls",
                whole(entries_max, 1..=i32::MAX.unsigned_abs()),
            )
            .env("WALRUS_MAX_SEGMENT_ENTRIES"),
            Setting::new(
                "segments.bytes-max",
                "Bytes after which a segment rolls",
                bytes(bytes_max, 1024..=i32::MAX.unsigned_abs()),
            )
            .env("WALRUS_MAX_SEGMENT_BYTES")
            .kafka("log.segment.bytes", KafkaKind::Int),
            Setting::new(
                "segments.age-ms-max",
                "Age after which a segment rolls",
                millis(age_ms_max, 1..=i64::MAX),
            )
            .kafka("log.roll.ms", KafkaKind::Long),
            Setting::new(
                "segments.check-ms",
                "How often limits and retention are looked at",
                millis(check_ms, 10..=86_400_000),
            )
            .env("WALRUS_MONITOR_CHECK_MS")
            .kafka("log.retention.check.interval.ms", KafkaKind::Long),
        ]
    }
}

/// `producers`: what is remembered of idempotent producers.
#[derive(Debug, Clone)]
pub struct ProducersConfig {
    /// A producer that sent nothing for this long is forgotten.
    pub expiration_ms: u32,
}

impl Default for ProducersConfig {
    fn default() -> Self {
        Self { expiration_ms: 86_400_000 }
    }
}

impl Section for ProducersConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { expiration_ms } = self;
        vec![
            Setting::new(
                "producers.expiration-ms",
                "An idempotent producer that sent nothing for this long is forgotten",
                millis(expiration_ms, 1000..=i32::MAX.unsigned_abs()),
            )
            .kafka("producer.id.expiration.ms", KafkaKind::Int),
        ]
    }
}
