//! Topic configs: their names, what is allowed, what is in force.
//!
//! One table, [`ENTRIES`], serves CreateTopics, the two alter requests and DescribeConfigs. An
//! entry is either settable, and then the code reads it, or fixed, and then its value is what
//! the broker does; setting a fixed entry to anything else is refused by name.

use std::collections::BTreeMap;

use walrus_replication::placement::LeaderPolicy;
use walrus_types::limits;

use crate::config::KafkaKind;

/// Who stamps a batch (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker, when the batch arrives.
    LogAppendTime,
}

/// A topic's settings, resolved: what the topic sets, else the node's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Sealed segments whose newest record is older go; -1 keeps them.
    pub retention_ms: i64,
    /// Oldest segments go while the partition holds more; -1 keeps them.
    pub retention_bytes: i64,
    /// At most this many sealed segments are kept; -1 keeps them all.
    pub retention_generations: i64,
    /// A segment is rolled at this size.
    pub segment_bytes: i64,
    /// A segment is rolled at this age, counted from its first append.
    pub segment_ms: i64,
    /// A segment is rolled after this many offsets.
    pub segment_entries: i64,
    /// The largest batch that is taken.
    pub batch_bytes_max: i64,
    /// Who stamps batches.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// How far a producer's timestamp may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// Copies that acks=all needs.
    pub min_insync_replicas: i64,
    /// Who leads the next segment. `None` where the topic does not say.
    pub rollover_leader: Option<LeaderPolicy>,
}

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigRefusal {
    /// No such config.
    #[error("unknown topic config {0}")]
    Unknown(String),
    /// Not a value of this config's kind, or out of its range.
    #[error("invalid value {value:?} for {name}: {expected}")]
    Invalid {
        /// Which config.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be taken.
        expected: String,
    },
    /// The value asks for something that the broker does not do.
    #[error("{name} is {fixed} here and cannot be {value:?}: {why}")]
    Fixed {
        /// Which config.
        name: &'static str,
        /// What is in force.
        fixed: &'static str,
        /// What was asked.
        value: String,
        /// Why it is fixed.
        why: &'static str,
    },
}

/// What may be done with an entry.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// A whole number in a range, kept in a field.
    Number {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Where it is kept.
        field: fn(&mut TopicConfig) -> &mut i64,
    },
    /// `message.timestamp.type`.
    Timestamps,
    /// `walrus.rollover.leader`.
    RolloverLeader,
    /// Always this, and why.
    Fixed(&'static str, &'static str),
}

/// One config.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Kafka's name, or one of ours under `walrus.`.
    pub name: &'static str,
    /// For DescribeConfigs.
    pub kind: KafkaKind,
    /// Whether and how it is set.
    pub access: Access,
    /// For DescribeConfigs, in our words.
    pub doc: &'static str,
}

/// Kafka's `log.message.timestamp.after.max.ms`: one hour. A timestamp from the future would keep
/// its segment from ever being too old.
const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// As a config's value.
const BATCH_BYTES_MAX: i64 = 32 << 20;
const _: () = assert!(BATCH_BYTES_MAX.unsigned_abs() == limits::BATCH_BYTES_MAX as u64);

/// Which config says who leads the next segment.
pub const ROLLOVER_LEADER: &str = "walrus.rollover.leader";
/// Its values.
const POLICIES: [(&str, LeaderPolicy); 3] = [
    ("least-loaded", LeaderPolicy::LeastLoaded),
    ("rotate", LeaderPolicy::Rotate),
    ("keep", LeaderPolicy::Keep),
];

const NO_COMPACTION: &str = "compaction is not built yet";
const FLUSHED: &str = "every batch is flushed before it is acknowledged";

/// Every topic config, by name.
pub const ENTRIES: &[Entry] = &[
    fixed(
        "cleanup.policy",
        KafkaKind::List,
        "delete",
        NO_COMPACTION,
        "What happens to old segments.",
    ),
    fixed(
        "compression.type",
        KafkaKind::String,
        "producer",
        "batches are stored as they come",
        "The codec of stored batches.",
    ),
    fixed(
        "delete.retention.ms",
        KafkaKind::Long,
        "86400000",
        NO_COMPACTION,
        "How long a compacted topic keeps tombstones.",
    ),
    fixed(
        "file.delete.delay.ms",
        KafkaKind::Long,
        "0",
        "pruned files are unlinked at once",
        "How long a pruned file stays.",
    ),
    fixed(
        "flush.messages",
        KafkaKind::Long,
        "1",
        FLUSHED,
        "Records after which the log is flushed.",
    ),
    fixed("flush.ms", KafkaKind::Long, "0", FLUSHED, "Time after which the log is flushed."),
    fixed(
        "index.interval.bytes",
        KafkaKind::Int,
        "16384",
        "one interval serves all segments",
        "Bytes between two index entries.",
    ),
    fixed(
        "max.compaction.lag.ms",
        KafkaKind::Long,
        "9223372036854775807",
        NO_COMPACTION,
        "The longest a record stays uncompacted.",
    ),
    number(
        "max.message.bytes",
        KafkaKind::Int,
        (0, BATCH_BYTES_MAX, |c| &mut c.batch_bytes_max),
        "The largest record batch that is taken, in bytes.",
    ),
    number(
        "message.timestamp.after.max.ms",
        KafkaKind::Long,
        (0, i64::MAX, |c| &mut c.timestamp_after_max_ms),
        "How far a producer's timestamp may lie in the future.",
    ),
    number(
        "message.timestamp.before.max.ms",
        KafkaKind::Long,
        (0, i64::MAX, |c| &mut c.timestamp_before_max_ms),
        "How far a producer's timestamp may lie in the past.",
    ),
    Entry {
        name: "message.timestamp.type",
        kind: KafkaKind::String,
        access: Access::Timestamps,
        doc: "Who stamps records: CreateTime (the producer) or LogAppendTime (the broker).",
    },
    fixed(
        "min.cleanable.dirty.ratio",
        KafkaKind::Double,
        "0.5",
        NO_COMPACTION,
        "How dirty a log is before it is compacted.",
    ),
    fixed(
        "min.compaction.lag.ms",
        KafkaKind::Long,
        "0",
        NO_COMPACTION,
        "The least time a record stays uncompacted.",
    ),
    number(
        "min.insync.replicas",
        KafkaKind::Int,
        (1, 1_000, |c| &mut c.min_insync_replicas),
        "Copies that acks=all needs, counted when the next segment is opened.",
    ),
    fixed(
        "preallocate",
        KafkaKind::Boolean,
        "false",
        "the WAL is preallocated, segments are not",
        "Whether segment files are preallocated.",
    ),
    number(
        "retention.bytes",
        KafkaKind::Long,
        (-1, i64::MAX, |c| &mut c.retention_bytes),
        "Oldest segments are pruned while the partition holds more; -1 for no limit.",
    ),
    number(
        "retention.ms",
        KafkaKind::Long,
        (-1, i64::MAX, |c| &mut c.retention_ms),
        "Segments whose newest record is older are pruned; -1 for no limit.",
    ),
    number(
        "segment.bytes",
        KafkaKind::Int,
        (1 << 10, i32::MAX as i64, |c| &mut c.segment_bytes),
        "A segment is rolled at this size.",
    ),
    fixed(
        "segment.index.bytes",
        KafkaKind::Int,
        "10485760",
        "an index grows with its segment",
        "The largest index.",
    ),
    fixed(
        "segment.jitter.ms",
        KafkaKind::Long,
        "0",
        "rolls are spread by a token bucket",
        "Random delay of rolls by age.",
    ),
    number(
        "segment.ms",
        KafkaKind::Long,
        (1, i64::MAX, |c| &mut c.segment_ms),
        "A segment is rolled at this age.",
    ),
    fixed(
        "unclean.leader.election.enable",
        KafkaKind::Boolean,
        "false",
        "a copy that lacks acknowledged records is never made the leader by itself",
        "Whether a stale copy may lead.",
    ),
    fixed(
        "walrus.durability",
        KafkaKind::String,
        "fsync",
        "other modes are not built yet",
        "When a batch counts as written: after its flush.",
    ),
    number(
        "walrus.retention.generations",
        KafkaKind::Long,
        (-1, i64::MAX, |c| &mut c.retention_generations),
        "At most this many sealed segments are kept; -1 for no limit.",
    ),
    Entry {
        name: ROLLOVER_LEADER,
        kind: KafkaKind::String,
        access: Access::RolloverLeader,
        doc: "Who of its replicas leads the next segment: least-loaded, rotate (the next one) or keep (the same).",
    },
    number(
        "walrus.segment.entries",
        KafkaKind::Long,
        (1, i64::MAX, |c| &mut c.segment_entries),
        "A segment is rolled after this many offsets.",
    ),
];

const fn fixed(
    name: &'static str,
    kind: KafkaKind,
    value: &'static str,
    why: &'static str,
    doc: &'static str,
) -> Entry {
    Entry { name, kind, access: Access::Fixed(value, why), doc }
}

const fn number(
    name: &'static str,
    kind: KafkaKind,
    (min, max, field): (i64, i64, fn(&mut TopicConfig) -> &mut i64),
    doc: &'static str,
) -> Entry {
    Entry { name, kind, access: Access::Number { min, max, field }, doc }
}

/// The entry of that name.
pub fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|at| &ENTRIES[at])
}

/// Judges a value before it is stored.
///
/// # Errors
/// [`ConfigRefusal`], which says what would be taken.
pub fn check(name: &str, value: &str) -> Result<(), ConfigRefusal> {
    let entry = entry(name).ok_or_else(|| ConfigRefusal::Unknown(name.into()))?;
    let mut tried = TopicConfig::ANY;
    entry.set(value, &mut tried)
}

impl Entry {
    /// Puts `value` where the entry is kept.
    fn set(&self, value: &str, config: &mut TopicConfig) -> Result<(), ConfigRefusal> {
        let invalid = |expected: String| ConfigRefusal::Invalid {
            name: self.name,
            value: value.into(),
            expected,
        };
        match self.access {
            Access::Number { min, max, field } => match value.trim().parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => *field(config) = number,
                _ => return Err(invalid(format!("a whole number from {min} to {max}"))),
            },
            Access::Timestamps => {
                config.timestamp_type = match value.trim() {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => return Err(invalid("CreateTime or LogAppendTime".into())),
                };
            }
            Access::RolloverLeader => {
                let known = POLICIES.iter().find(|(name, _)| *name == value.trim());
                let (_, policy) =
                    known.ok_or_else(|| invalid("least-loaded, rotate or keep".into()))?;
                config.rollover_leader = Some(*policy);
            }
            Access::Fixed(fixed, _) if value.trim() == fixed => {}
            Access::Fixed(fixed, why) => {
                let value = value.into();
                return Err(ConfigRefusal::Fixed { name: self.name, fixed, value, why });
            }
        }
        Ok(())
    }

    /// The value that `config` puts in force.
    pub fn value(&self, config: &TopicConfig) -> String {
        match self.access {
            Access::Number { field, .. } => field(&mut config.clone()).to_string(),
            Access::Timestamps => match config.timestamp_type {
                TimestampType::CreateTime => "CreateTime".into(),
                TimestampType::LogAppendTime => "LogAppendTime".into(),
            },
            Access::RolloverLeader => {
                let policy = config.rollover_leader.unwrap_or(LeaderPolicy::LeastLoaded);
                let known = POLICIES.iter().find(|(_, known)| *known == policy);
                known.expect("every policy has a name").0.into()
            }
            Access::Fixed(value, _) => value.into(),
        }
    }

    /// Whether a client may change it.
    pub const fn is_read_only(&self) -> bool {
        matches!(self.access, Access::Fixed(..))
    }
}

impl TopicConfig {
    /// A value to try settings on.
    const ANY: Self = Self {
        retention_ms: -1,
        retention_bytes: -1,
        retention_generations: -1,
        segment_bytes: 1 << 30,
        segment_ms: i64::MAX,
        segment_entries: i64::MAX,
        batch_bytes_max: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        min_insync_replicas: 1,
        rollover_leader: None,
    };

    /// What a topic has that sets nothing itself.
    pub fn defaults(config: &crate::config::Config) -> Self {
        Self {
            retention_ms: config.topics.retention_ms,
            retention_bytes: config.topics.retention_bytes,
            retention_generations: config.topics.retention_generations,
            segment_bytes: config.segments.bytes_max.into(),
            segment_ms: config.segments.age_ms_max,
            segment_entries: config.segments.entries_max.into(),
            batch_bytes_max: config.topics.message_bytes_max.into(),
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: TIMESTAMP_AFTER_MAX_MS,
            min_insync_replicas: config.topics.min_insync_replicas.into(),
            rollover_leader: None,
        }
    }

    /// These defaults with what a topic sets itself. Settings were judged by [`check`] when they
    /// were made; one that no longer passes leaves the default in force.
    #[must_use]
    pub fn with(&self, set: &BTreeMap<String, String>) -> Self {
        let mut config = self.clone();
        for (name, value) in set {
            if let Some(entry) = entry(name)
                && let Err(refusal) = entry.set(value, &mut config)
            {
                tracing::warn!(%refusal, "a stored topic config is not in force");
            }
        }
        config
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn any() -> TopicConfig {
        TopicConfig::ANY
    }

    #[test]
    fn the_table_is_sorted_for_its_search() {
        assert!(ENTRIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        for entry in ENTRIES {
            assert_eq!(super::entry(entry.name).unwrap().name, entry.name);
        }
    }

    #[test]
    fn every_settable_entry_changes_what_is_in_force_and_every_fixed_one_does_not() {
        for entry in ENTRIES {
            let value = match entry.access {
                Access::Number { min, .. } => (min + 7).to_string(),
                Access::Timestamps => "LogAppendTime".into(),
                Access::RolloverLeader => "rotate".into(),
                Access::Fixed(..) => "something else".into(),
            };
            let set = BTreeMap::from([(entry.name.to_owned(), value.clone())]);
            assert_eq!(check(entry.name, &value).is_ok(), !entry.is_read_only(), "{}", entry.name);
            let config = TopicConfig::ANY.with(&set);
            assert_eq!(config != TopicConfig::ANY, !entry.is_read_only(), "{}", entry.name);
            if !entry.is_read_only() {
                assert_eq!(entry.value(&config), value);
            }
        }
    }

    #[test]
    fn a_value_that_is_not_taken_says_what_would_be() {
        for (name, value, part) in [
            ("retention.ms", "-2", "from -1"),
            ("retention.ms", "soon", "a whole number"),
            ("max.message.bytes", "99999999999", "to 33554432"),
            ("message.timestamp.type", "Now", "LogAppendTime"),
            ("walrus.rollover.leader", "me", "least-loaded, rotate or keep"),
            ("cleanup.policy", "compact", "compaction is not built yet"),
            ("cleanup.policy", "delete,compact", "compaction is not built yet"),
            ("no.such", "1", "unknown topic config no.such"),
        ] {
            let refusal = check(name, value).unwrap_err().to_string();
            assert!(refusal.contains(part), "{name}={value}: {refusal}");
        }
        assert_eq!(check("cleanup.policy", "delete"), Ok(()), "what is in force may be named");
    }
}
