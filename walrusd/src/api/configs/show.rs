//! Configs as DescribeConfigs and CreateTopics tell them: value, where it comes from, what else
//! was said of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    broker::Broker,
    config::{Config, KafkaKind, Source as ConfigSource},
    topic_config::{ENTRIES, TopicConfig},
};

/// Where a value comes from, in Kafka's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The topic sets it.
    Topic,
    /// The node was told so when it was started.
    Node,
    /// Nobody said anything.
    Default,
}

impl Source {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Node => 4,
            Self::Default => 5,
        }
    }
}

/// One config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// What is in force.
    pub value: Option<String>,
    /// Whether a client may change it.
    pub read_only: bool,
    /// Who decided on the value.
    pub source: Source,
    /// Its type, as a number of the protocol.
    pub kind: i8,
    /// What it means.
    pub doc: &'static str,
    /// All that was said of it, the decisive first.
    pub synonyms: Vec<Synonym>,
}

/// A value for a config, under the name it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The name there.
    pub name: &'static str,
    /// The value there.
    pub value: Option<String>,
    /// Where.
    pub source: Source,
}

/// Topic configs whose default is a setting of the node: Kafka's name of that setting, where it
/// has one, and ours.
const INHERITED: &[(&str, Option<&str>, &str)] = &[
    ("max.message.bytes", Some("message.max.bytes"), "topics.message-bytes-max"),
    ("min.insync.replicas", Some("min.insync.replicas"), "topics.min-insync-replicas"),
    ("retention.bytes", Some("log.retention.bytes"), "topics.retention-bytes"),
    ("retention.ms", Some("log.retention.ms"), "topics.retention-ms"),
    ("segment.bytes", Some("log.segment.bytes"), "segments.bytes-max"),
    ("segment.ms", Some("log.roll.ms"), "segments.age-ms-max"),
    ("walrus.durability", None, "topics.durability"),
    ("walrus.retention.generations", None, "topics.retention-generations"),
    ("walrus.segment.entries", None, "segments.entries-max"),
];

/// A node's configs that are always the same: tools look for them.
const FIXED: &[(&str, KafkaKind, &str, &str)] = &[
    ("authorizer.class.name", KafkaKind::String, "", "Nothing is forbidden to anybody yet"),
    ("compression.type", KafkaKind::String, "producer", "Batches are stored as they come"),
    ("delete.topic.enable", KafkaKind::Boolean, "true", "Topics can be deleted"),
    (
        "inter.broker.protocol.version",
        KafkaKind::String,
        "3.9-IV0",
        "The version of Kafka whose requests tools may expect; nodes do not speak it",
    ),
    ("log.cleanup.policy", KafkaKind::List, "delete", "Compaction is not built yet"),
    (
        "log.flush.interval.messages",
        KafkaKind::Long,
        "1",
        "Every batch is flushed before it is acknowledged",
    ),
    (
        "log.message.timestamp.type",
        KafkaKind::String,
        "CreateTime",
        "Topics that do not say otherwise keep the producers' timestamps",
    ),
    ("process.roles", KafkaKind::List, "broker,controller", "Every node is both"),
    (
        "unclean.leader.election.enable",
        KafkaKind::Boolean,
        "false",
        "A copy that lacks acknowledged records is never made the leader by itself",
    ),
];

/// Every config of a topic that sets `set` itself, by name.
pub fn of_topic(broker: &Broker, set: &BTreeMap<String, String>) -> Vec<Shown> {
    let levels = Levels {
        set,
        node: broker.topic_defaults(),
        built_in: &TopicConfig::defaults(&Config::default()),
    };
    let told = |key: &str| *broker.config.source(key) != ConfigSource::Default;
    topic_entries(levels, told)
}

/// What decides on a topic config, the decisive first.
#[derive(Debug, Clone, Copy)]
struct Levels<'a> {
    set: &'a BTreeMap<String, String>,
    node: &'a TopicConfig,
    built_in: &'a TopicConfig,
}

fn topic_entries(levels: Levels<'_>, told: impl Fn(&str) -> bool) -> Vec<Shown> {
    let Levels { set, node, built_in } = levels;
    let in_force = node.with(set);
    let entries = ENTRIES.iter().map(|entry| {
        let inherited = INHERITED.iter().find(|(name, _, _)| *name == entry.name);
        let broker_name = inherited.and_then(|(_, kafka, _)| *kafka).unwrap_or(entry.name);
        let synonym = |name, value, source| Synonym { name, value: Some(value), source };
        let mut synonyms = Vec::new();
        if set.contains_key(entry.name) {
            synonyms.push(synonym(entry.name, entry.value(&in_force), Source::Topic));
        }
        if inherited.is_some_and(|(_, _, key)| told(key)) {
            synonyms.push(synonym(broker_name, entry.value(node), Source::Node));
        }
        synonyms.push(synonym(broker_name, entry.value(built_in), Source::Default));
        Shown {
            name: entry.name,
            value: Some(entry.value(&in_force)),
            read_only: entry.is_read_only(),
            source: synonyms[0].source,
            kind: entry.kind.code(),
            doc: entry.doc,
            synonyms,
        }
    });
    entries.collect()
}

/// Every config of this node that has a name among Kafka's, and those that tools look for.
pub(super) fn of_node(config: &Config) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for entry in config.kafka_entries() {
        let told = entry.source != ConfigSource::Default;
        let synonym = |value: &Option<String>, source| Synonym {
            name: entry.name,
            value: value.clone(),
            source,
        };
        let mut synonyms = Vec::new();
        if told {
            synonyms.push(synonym(&entry.value, Source::Node));
        }
        // What is put together from several settings has no default of its own.
        if !told || entry.default.is_some() {
            let value = if told { &entry.default } else { &entry.value };
            synonyms.push(synonym(value, Source::Default));
        }
        let source = if told { Source::Node } else { Source::Default };
        shown.push(Shown {
            name: entry.name,
            value: entry.value.clone(),
            read_only: entry.read_only,
            source,
            kind: entry.kind.code(),
            doc: entry.documentation,
            synonyms,
        });
    }
    let id = ("broker.id", KafkaKind::Int, config.node.id.0.to_string(), "The same as node.id");
    let fixed = FIXED.iter().map(|(name, kind, value, doc)| (*name, *kind, (*value).into(), *doc));
    for (name, kind, value, doc) in fixed.chain([id]) {
        shown.push(fixed_entry(name, kind, value, doc));
    }
    // What the configuration knows of comes first and stays.
    let mut seen = BTreeSet::new();
    shown.retain(|entry| seen.insert(entry.name));
    shown.sort_by_key(|entry| entry.name);
    shown
}

fn fixed_entry(name: &'static str, kind: KafkaKind, value: String, doc: &'static str) -> Shown {
    let synonym = Synonym { name, value: Some(value.clone()), source: Source::Default };
    Shown {
        name,
        value: Some(value),
        read_only: true,
        source: Source::Default,
        kind: kind.code(),
        doc,
        synonyms: vec![synonym],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic_config;

    fn shown(set: &[(&str, &str)], told: &[&str]) -> BTreeMap<&'static str, Shown> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let built_in = TopicConfig::defaults(&Config::default());
        let node = TopicConfig { retention_ms: 42, ..built_in };
        let levels = Levels { set: &set.collect(), node: &node, built_in: &built_in };
        let entries = topic_entries(levels, |key| told.contains(&key));
        entries.into_iter().map(|entry| (entry.name, entry)).collect()
    }

    #[test]
    fn every_entry_is_told_with_a_value_a_type_and_words() {
        let all = shown(&[], &[]);
        assert_eq!(all.len(), ENTRIES.len());
        for entry in all.values() {
            assert!(entry.value.is_some() && !entry.doc.is_empty(), "{entry:?}");
            assert!((1..=9).contains(&entry.kind), "{entry:?}");
        }
    }

    #[test]
    fn the_source_is_whoever_decided() {
        let retention = |set: &[(&str, &str)], told: &[&str]| {
            let entry = shown(set, told).remove("retention.ms").unwrap();
            let told_at: Vec<_> = entry.synonyms.iter().map(|one| (one.name, one.source)).collect();
            assert_eq!(entry.source, told_at[0].1);
            (entry.value.unwrap(), told_at)
        };
        let topic = ("retention.ms", Source::Topic);
        let node = ("log.retention.ms", Source::Node);
        let default = ("log.retention.ms", Source::Default);
        let told = &["topics.retention-ms"][..];
        let set = &[("retention.ms", "7")][..];
        assert_eq!(retention(&[], told), ("42".into(), vec![node, default]));
        assert_eq!(retention(set, told), ("7".into(), vec![topic, node, default]));
        assert_eq!(retention(set, &[]), ("7".into(), vec![topic, default]));
    }

    #[test]
    fn what_a_topic_inherits_is_a_topic_config_and_a_setting() {
        let config = Config::default();
        let kafka: BTreeSet<_> = config.kafka_entries().iter().map(|entry| entry.name).collect();
        for (name, broker_name, _) in INHERITED {
            assert!(topic_config::entry(name).is_some(), "{name}");
            assert!(broker_name.is_none_or(|name| kafka.contains(name)), "{broker_name:?}");
        }
    }

    #[test]
    fn a_node_tells_what_tools_look_for_and_nothing_twice() {
        let all = of_node(&Config::default());
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
        for name in
            ["inter.broker.protocol.version", "delete.topic.enable", "broker.id", "log.dirs"]
        {
            let entry = all.iter().find(|entry| entry.name == name);
            assert!(entry.is_some_and(|entry| entry.value.is_some()), "{name}");
        }
        assert!(all.iter().all(|entry| !entry.doc.is_empty() && entry.read_only));
    }
}
