//! The configuration as a whole: default, then file, then environment, then flags; then the
//! checks that no single setting can make.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use super::{
    AdminConfig, ClientConfig, ClusterConfig, ConfigError, Flags, GroupsConfig, KafkaKind,
    LogConfig, MemoryConfig, NodeConfig, Problem, ProducersConfig, RaftConfig, SegmentsConfig,
    Source, StorageConfig, TopicsConfig,
    setting::{Conflict, Section, Setting},
    yaml,
};

/// Answers to fetches that are on their way to consumers, all connections together.
pub const ANSWERS_BYTES_MAX: usize = 128 << 20;

/// Variables that begin with `WALRUS_` and are for others: tests and `walrusctl`.
const FOREIGN_VARIABLES: [&str; 3] = ["WALRUS_PROFILE", "WALRUS_SKIP_BUILD", "WALRUS_LOG_TAIL"];

/// Everything that `walrusd` is told. Loaded once, never changed.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Who the node is.
    pub node: NodeConfig,
    /// How it finds the others.
    pub cluster: ClusterConfig,
    /// The client port.
    pub client: ClientConfig,
    /// The peer port.
    pub raft: RaftConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Log lines.
    pub log: LogConfig,
    /// The disk.
    pub storage: StorageConfig,
    /// The bound on memory.
    pub memory: MemoryConfig,
    /// Defaults of topics.
    pub topics: TopicsConfig,
    /// When segments roll.
    pub segments: SegmentsConfig,
    /// Idempotent producers.
    pub producers: ProducersConfig,
    /// Consumer groups.
    pub groups: GroupsConfig,
    /// Worth telling, no reason to refuse: told when logging has started.
    pub warnings: Vec<String>,
    sources: BTreeMap<&'static str, Source>,
}

/// One setting with its value, for tables, YAML, JSON, the man page and DescribeConfigs.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) key: &'static str,
    pub(super) about: &'static str,
    pub(super) allowed: String,
    pub(super) flag: Option<&'static str>,
    pub(super) env: Option<&'static str>,
    pub(super) kafka: Option<(&'static str, KafkaKind)>,
    pub(super) value: Value,
    pub(super) default: Value,
    pub(super) source: Source,
}

impl Listed {
    pub(super) fn value_text(&self) -> Option<String> {
        text(&self.value)
    }

    pub(super) fn default_text(&self) -> Option<String> {
        text(&self.default)
    }
}

/// A value without JSON's quotes; `None` for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(word) => Some(word.clone()),
        Value::Array(words) => {
            Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(value.to_string()),
    }
}

impl Config {
    /// Reads what the process was given.
    ///
    /// # Errors
    /// Everything that cannot be used, with its place; the caller exits with
    /// [`ConfigError::exit_code`].
    pub fn load(flags: &Flags, env: &BTreeMap<OsString, OsString>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        if let Some(path) = &flags.config {
            config.put_file(path, &mut problems)?;
        }
        config.put_env(env, &mut problems);
        for (flag, given) in flags.given() {
            let declared =
                config.put(|setting| setting.flag == Some(flag), Source::Flag(flag), &given);
            problems.extend(declared.expect("every flag belongs to a setting").err());
        }
        // A value that was refused left its default behind: no second complaint about it.
        let mut late = config.problems();
        late.retain(|problem| problems.iter().all(|earlier| earlier.key != problem.key));
        problems.extend(late);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Refused(problems)) }
    }

    /// Whether every value lies within its bounds and goes together with the others. What
    /// [`Config::load`] returned always passes; this is for a value put together by hand.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Refused(problems)) }
    }

    /// Where a setting's value came from.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.get(key).unwrap_or(&Source::Default)
    }

    /// Bytes that records, requests and answers take at most. Beside them stand the program
    /// itself, indexes of open segments and what each connection and partition needs.
    pub fn memory_bytes_max(&self) -> u64 {
        let answers = u64::try_from(ANSWERS_BYTES_MAX).unwrap_or(u64::MAX);
        self.storage.hot_tail_bytes + self.memory.requests_bytes_max + answers
    }

    pub(super) fn listed(&self) -> Vec<Listed> {
        let (mut values, mut defaults) = (self.clone(), Self::default());
        let pairs = values.settings().into_iter().zip(defaults.settings());
        pairs
            .map(|(setting, default)| Listed {
                key: setting.key,
                about: setting.about,
                allowed: setting.slot.allowed(),
                flag: setting.flag,
                env: setting.env,
                kafka: setting.kafka,
                value: setting.slot.show(),
                default: default.slot.show(),
                source: self.source(setting.key).clone(),
            })
            .collect()
    }

    fn sections(&mut self) -> [&mut dyn Section; 12] {
        let Self {
            node,
            cluster,
            client,
            raft,
            admin,
            log,
            storage,
            memory,
            topics,
            segments,
            producers,
            groups,
            warnings: _,
            sources: _,
        } = self;
        [
            node, cluster, client, raft, admin, log, storage, memory, topics, segments, producers,
            groups,
        ]
    }

    fn settings(&mut self) -> Vec<Setting<'_>> {
        self.sections().into_iter().flat_map(|section| section.settings()).collect()
    }

    /// Puts a value where `which` says. `None`: there is no such setting.
    fn put(
        &mut self,
        which: impl Fn(&Setting<'_>) -> bool,
        source: Source,
        given: &str,
    ) -> Option<Result<(), Problem>> {
        let mut setting = self.settings().into_iter().find(which)?;
        let (key, put) = (setting.key, setting.slot.put(given));
        drop(setting);
        Some(match put {
            Ok(()) => {
                self.sources.insert(key, source);
                Ok(())
            }
            Err(allowed) => Err(Problem {
                source,
                key: key.into(),
                given: Some(given.into()),
                why: format!("must be {allowed}"),
            }),
        })
    }

    fn put_file(&mut self, path: &Path, problems: &mut Vec<Problem>) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        let path: Arc<Path> = path.into();
        for leaf in yaml::leaves(&path, &text)? {
            let source = Source::line_of(&path, leaf.line);
            let key = leaf.key;
            let put = match leaf.value {
                Ok(given) => self.put(|setting| setting.key == key, source.clone(), &given),
                Err(why) => Some(Err(Problem {
                    source: source.clone(),
                    key: key.clone(),
                    given: None,
                    why,
                })),
            };
            let unknown = || Err(self.unknown(source, &key));
            problems.extend(put.unwrap_or_else(unknown).err());
        }
        Ok(())
    }

    fn put_env(&mut self, env: &BTreeMap<OsString, OsString>, problems: &mut Vec<Problem>) {
        let named =
            self.settings().into_iter().filter_map(|setting| Some((setting.env?, setting.key)));
        let named: BTreeMap<&'static str, &'static str> = named.collect();
        for (&name, &key) in &named {
            let Some(given) = env.get(OsStr::new(name)).filter(|given| !given.is_empty()) else {
                continue;
            };
            let source = Source::Env(name);
            let Some(given) = given.to_str() else {
                let (given, why) = (Some(given.display().to_string()), "must be UTF-8".into());
                problems.push(Problem { source, key: key.into(), given, why });
                continue;
            };
            let put = self.put(|setting| setting.key == key, source, given);
            problems.extend(put.expect("the key was found a moment ago").err());
        }
        let unknown = env.keys().filter_map(|name| name.to_str()).filter(|name| {
            name.starts_with("WALRUS_")
                && !named.contains_key(name)
                && !FOREIGN_VARIABLES.contains(name)
        });
        let names: Vec<&str> =
            named.keys().copied().filter(|name| name.starts_with("WALRUS_")).collect();
        self.warnings.extend(unknown.map(|name| {
            format!("{name} is set and means nothing to walrusd, which reads {}", names.join(", "))
        }));
    }

    /// A key that no setting has: says which one was meant, as far as that can be guessed.
    fn unknown(&mut self, source: Source, key: &str) -> Problem {
        let settings = self.settings();
        let as_kafka = settings.iter().find(|one| one.kafka.is_some_and(|(name, _)| name == key));
        let nearest = settings.iter().min_by_key(|one| distance(one.key, key));
        let nearest = nearest.filter(|one| distance(one.key, key) <= 1 + key.len() / 4);
        let section = key.split('.').next().unwrap_or(key);
        let mut siblings =
            settings.iter().filter(|one| one.key.split('.').next() == Some(section)).peekable();
        let why = if let Some(one) = as_kafka.or(nearest) {
            format!("is no setting; did you mean {}?", one.key)
        } else if siblings.peek().is_some() {
            let keys: Vec<&str> = siblings.map(|one| one.key).collect();
            format!("is no setting; {section} has {}", keys.join(", "))
        } else {
            let mut sections: Vec<&str> =
                settings.iter().filter_map(|one| one.key.split('.').next()).collect();
            sections.dedup();
            format!("is no setting; the sections are {}", sections.join(", "))
        };
        Problem { source, key: key.into(), given: None, why }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut copy = self.clone();
        let mut found: Vec<Conflict> = Vec::new();
        for setting in copy.settings().iter().filter(|setting| !setting.slot.holds()) {
            let why = format!("is {} and must be {}", setting.slot.show(), setting.slot.allowed());
            found.push(Conflict { key: setting.key, why });
        }
        if found.is_empty() {
            found.extend(copy.sections().iter().flat_map(|section| section.conflicts()));
            found.extend(self.conflicts());
        }
        let place = |Conflict { key, why }| Problem {
            source: self.source(key).clone(),
            key: key.into(),
            given: None,
            why,
        };
        found.into_iter().map(place).collect()
    }

    /// What is wrong between sections.
    fn conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        let mut at_most = |key, value: u64, other: &str, limit: u64, reason: &str| {
            if value > limit {
                let why = format!("is {value} and must be at most {limit}, {other}: {reason}");
                found.push(Conflict { key, why });
            }
        };
        let Self { client, memory, topics, storage, .. } = self;
        let request = u64::from(client.request_bytes_max);
        at_most(
            "client.request-bytes-max",
            request,
            "which is memory.requests-bytes-max",
            memory.requests_bytes_max,
            "no request would fit memory",
        );
        at_most(
            "client.text-frame-bytes-max",
            client.text_frame_bytes_max.into(),
            "which is memory.requests-bytes-max",
            memory.requests_bytes_max,
            "no frame would fit memory",
        );
        let message = u64::from(topics.message_bytes_max);
        at_most(
            "topics.message-bytes-max",
            message,
            "which is client.request-bytes-max less 1 KiB",
            request - 1024,
            "no request could carry the batch",
        );
        at_most(
            "topics.message-bytes-max",
            message,
            "which is half a file of the WAL ring",
            storage.wal_ring().file_bytes / 2,
            "the batch must fit a file with what stands beside it",
        );
        at_most(
            "topics.min-insync-replicas",
            topics.min_insync_replicas.unsigned_abs().into(),
            "which is topics.replication-factor",
            topics.replication_factor.unsigned_abs().into(),
            "no topic could ever be written with acks=all",
        );
        found.extend(self.shared_ports());
        found.extend(self.unreachable());
        found
    }

    /// What other nodes could not find this one by. A node alone has nobody to tell.
    fn unreachable(&self) -> Vec<Conflict> {
        if !self.cluster.expects_others() {
            return Vec::new();
        }
        let told_by = self.cluster.key();
        let told = self.raft.advertised();
        let host = told.host.is_wildcard().then(|| Conflict {
            key: "raft.advertise-host",
            why: format!(
                "must name an address that other nodes can connect to, for {told_by} is given, and \
                 {} is none",
                told.host
            ),
        });
        let port = (told.port == 0).then(|| Conflict {
            key: "raft.port",
            why: format!(
                "is 0, and {told_by} is given: other nodes must find this one at the same port \
                 after a restart"
            ),
        });
        host.into_iter().chain(port).collect()
    }

    fn shared_ports(&self) -> Vec<Conflict> {
        let ports = [
            ("client.port", self.client.listen()),
            ("raft.port", self.raft.listen()),
            ("admin.port", self.admin.listen()),
        ];
        let mut found = Vec::new();
        for (at, (key, one)) in ports.iter().enumerate() {
            for (other_key, other) in &ports[..at] {
                let meet =
                    one.host == other.host || one.host.is_wildcard() || other.host.is_wildcard();
                if one.port != 0 && one.port == other.port && meet {
                    let why = format!("is {} and so is {other_key}: give each its own", one.port);
                    found.push(Conflict { key, why });
                }
            }
        }
        found
    }
}

/// How many letters must change to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, &opposite) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != opposite);
            diagonal = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
