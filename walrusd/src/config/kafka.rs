//! The settings under the names of Kafka's broker configs, for DescribeConfigs.

use super::{Config, Source};

/// The type that DescribeConfigs declares for an entry, of a node or a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaKind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A fraction.
    Double,
    /// Texts, separated by commas.
    List,
}

impl KafkaKind {
    /// The number on the wire.
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

/// A setting as a Kafka tool shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaEntry {
    /// Kafka's name.
    pub name: &'static str,
    /// As text; `None` where nothing is set.
    pub value: Option<String>,
    /// What the value would be without any flag, variable or file.
    pub default: Option<String>,
    /// [`Source::Default`] is Kafka's `DEFAULT_CONFIG`, all others its `STATIC_BROKER_CONFIG`.
    pub source: Source,
    /// Always true so far: a setting of a node changes with a restart.
    pub read_only: bool,
    /// Its type.
    pub kind: KafkaKind,
    /// What it means here.
    pub documentation: &'static str,
}

impl Config {
    /// Every setting that has a name among Kafka's broker configs, sorted by that name.
    ///
    /// `listeners` and `advertised.listeners` are composed of host and port as configured; where
    /// no address is advertised and the host is a wildcard, the latter has no value, because each
    /// client is told the address it reached.
    pub fn kafka_entries(&self) -> Vec<KafkaEntry> {
        let mut entries: Vec<KafkaEntry> = self
            .listed()
            .into_iter()
            .filter_map(|listed| {
                let (name, kind) = listed.kafka?;
                Some(KafkaEntry {
                    name,
                    value: listed.value_text(),
                    default: listed.default_text(),
                    source: listed.source,
                    read_only: true,
                    kind,
                    documentation: listed.about,
                })
            })
            .collect();
        let entry = |name, value: Option<String>, key, documentation| KafkaEntry {
            name,
            value,
            default: None,
            source: self.source(key).clone(),
            read_only: true,
            kind: KafkaKind::List,
            documentation,
        };
        let listen = format!("PLAINTEXT://{}", self.client.listen());
        let advertised = self.client.advertised().map(|at| format!("PLAINTEXT://{at}"));
        entries.push(entry("listeners", Some(listen), "client.host", "Where clients are awaited"));
        entries.push(entry(
            "advertised.listeners",
            advertised,
            "client.advertise",
            "What Metadata tells clients to connect to",
        ));
        entries.sort_by_key(|entry| entry.name);
        entries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Flags;

    fn entry(config: &Config, name: &str) -> KafkaEntry {
        config.kafka_entries().into_iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn kafka_s_names_show_what_is_in_force() {
        let flags = Flags {
            client_host: Some("0.0.0.0".into()),
            node_id: Some("n4".into()),
            ..Flags::default()
        };
        let config = Config::load(&flags, &std::collections::BTreeMap::new()).unwrap();
        for (name, value, default, from_flag) in [
            ("node.id", Some("4"), Some("1"), true),
            ("num.partitions", Some("1"), Some("1"), false),
            ("auto.create.topics.enable", Some("true"), Some("true"), false),
            ("message.max.bytes", Some("1048588"), Some("1048588"), false),
            ("log.retention.ms", Some("604800000"), Some("604800000"), false),
            ("broker.rack", None, None, false),
            ("listeners", Some("PLAINTEXT://0.0.0.0:9091"), None, true),
            ("advertised.listeners", None, None, false),
        ] {
            let entry = entry(&config, name);
            let found = (entry.value.as_deref(), entry.default.as_deref());
            assert_eq!(found, (value, default), "{name}");
            assert_eq!(entry.source != Source::Default, from_flag, "{name}");
            assert!(entry.read_only);
        }
    }

    #[test]
    fn each_name_stands_for_one_setting_and_each_key_flag_and_variable_too() {
        let config = Config::default();
        let (mut keys, mut names) = (BTreeSet::new(), BTreeSet::new());
        for listed in config.listed() {
            assert!(keys.insert(listed.key), "{} twice", listed.key);
            for name in [listed.flag, listed.env].into_iter().flatten() {
                assert!(names.insert(name), "{name} twice");
            }
            assert!(!listed.about.ends_with('.') && !listed.about.contains('\n'), "{}", listed.key);
        }
        let entries = config.kafka_entries();
        assert!(entries.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(config.check().is_ok());
    }
}
