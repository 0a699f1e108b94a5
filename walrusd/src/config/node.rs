//! Sections `node`, `cluster` and `log`: who the node is, whom it joins, and what it tells.

use std::{fmt, path::PathBuf, str::FromStr};

use walrus_types::NodeId;

use super::{
    HostPort,
    kafka::KafkaKind,
    setting::{
        Conflict, MaybePlace, Place, Section, Setting, Several, Slot, Switch, maybe, millis, parsed,
    },
};

/// The most nodes that are named to form a cluster. More can join later.
const PEERS_MAX: usize = 100;

/// What `--join` is for.
pub(super) const JOIN: &str = "A node of the cluster to join, by its peer port";
/// What `--peers` is for.
pub(super) const PEERS: &str =
    "Nodes that form a cluster together, by their peer ports; the first founds it";

/// `node`: who this node is and where its data lies.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Kafka's broker id.
    pub id: NodeId,
    /// Holds `node_<id>/`. Made when it is not there.
    pub data_dir: PathBuf,
    /// Kafka's `broker.rack`.
    pub rack: Option<Rack>,
    /// How long a stop waits for what is under way.
    pub stop_ms: u64,
    /// Whether the hooks that tests use to do harm are reachable.
    pub test_hooks: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            id: NodeId(1),
            data_dir: PathBuf::from("./walrus-data"),
            rack: None,
            stop_ms: 20_000,
            test_hooks: false,
        }
    }
}

/// A rack or zone: up to 255 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rack(String);

impl fmt::Display for Rack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Rack {
    type Err = ();

    fn from_str(given: &str) -> Result<Self, ()> {
        let fits = given.len() <= 255 && !given.chars().any(char::is_control);
        if fits { Ok(Self(given.into())) } else { Err(()) }
    }
}

/// A node's number: read with or without its letter, shown without, as Kafka does.
struct Id<'a>(&'a mut NodeId);

impl Slot for Id<'_> {
    fn put(&mut self, given: &str) -> Result<(), String> {
        *self.0 = given.parse().ok().ok_or_else(|| self.allowed())?;
        Ok(())
    }

    fn show(&self) -> serde_json::Value {
        self.0.0.into()
    }

    fn allowed(&self) -> String {
        "a number from 0 to 2147483647, like 1 or n1".into()
    }

    fn holds(&self) -> bool {
        self.0.0 >= 0
    }
}

impl Section for NodeConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { id, data_dir, rack, stop_ms, test_hooks } = self;
        vec![
            Setting::new("node.id", "The node's number in its cluster, Kafka's broker id", Id(id))
                .flag("--node-id")
                .kafka("node.id", KafkaKind::Int),
            Setting::new(
                "node.data-dir",
                "Folder that holds node_<id>/; made when it is not there",
                Place(data_dir),
            )
            .flag("--data-dir")
            .env("WALRUS_DATA_DIR")
            .kafka("log.dirs", KafkaKind::String),
            Setting::new(
                "node.rack",
                "Rack or zone, told to clients and used for placement",
                maybe(rack, "up to 255 characters without control characters"),
            )
            .flag("--rack")
            .kafka("broker.rack", KafkaKind::String),
            Setting::new(
                "node.stop-ms",
                "How long a stop waits for what is under way",
                millis(stop_ms, 0..=3_600_000),
            ),
            Setting::new(
                "node.test-hooks",
                "Let tests do harm to this node; never in production",
                Switch(test_hooks),
            )
            .flag("--enable-test-hooks"),
        ]
    }
}

/// `cluster`: how the node finds the others. On a folder that belongs to a cluster these are
/// hints.
#[derive(Debug, Clone, Default)]
pub struct ClusterConfig {
    /// A node of the cluster to join.
    pub join: Option<HostPort>,
    /// The nodes of a cluster that forms itself, this one among them.
    pub peers: Vec<HostPort>,
    /// Whether an empty node waits for `walrusctl cluster bootstrap`.
    pub await_bootstrap: bool,
}

impl ClusterConfig {
    /// Whether the node was told where others are. It never founds a cluster because they do not
    /// answer.
    pub fn names_others(&self) -> bool {
        self.join.is_some() || !self.peers.is_empty()
    }

    /// Whether it was told where others are, or will be: they must be able to reach it.
    pub fn expects_others(&self) -> bool {
        self.names_others() || self.await_bootstrap
    }

    /// The setting that does, for what is wrong with it.
    pub(super) fn key(&self) -> &'static str {
        match (&self.join, self.peers.as_slice()) {
            (Some(_), _) => "cluster.join",
            (None, [_, ..]) => "cluster.peers",
            (None, []) => "cluster.await-bootstrap",
        }
    }

    /// Two ways to find others, or a list that does not say how many there are.
    fn at_odds(&self) -> Vec<Conflict> {
        let Self { join, peers, await_bootstrap } = self;
        let refuse = |why: String| Some(Conflict { key: "cluster.peers", why });
        let told = (*await_bootstrap && self.names_others()).then(|| Conflict {
            key: "cluster.await-bootstrap",
            why: "waits to be told what cluster.join and cluster.peers say: give one of them"
                .into(),
        });
        let both = join.as_ref().filter(|_| !peers.is_empty()).and_then(|join| {
            refuse(format!(
                "is given and so is cluster.join ({join}): one of them finds the cluster"
            ))
        });
        let again = |(at, peer): (usize, &HostPort)| peers[..at].contains(peer);
        let twice = peers.iter().enumerate().find(|pair| again(*pair)).and_then(|(_, peer)| {
            refuse(format!("names {peer} twice: name every node once, in the same order on all"))
        });
        let many = (peers.len() > PEERS_MAX)
            .then_some(())
            .and_then(|()| refuse(format!("names {} nodes and may name {PEERS_MAX}", peers.len())));
        [told, both, twice, many].into_iter().flatten().collect()
    }
}

impl Section for ClusterConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { join, peers, await_bootstrap } = self;
        let allowed = "host:peerport, like node1:6001";
        vec![
            Setting::new("cluster.join", JOIN, maybe(join, allowed))
                .flag("--join")
                .env("WALRUS_JOIN"),
            Setting::new(
                "cluster.peers",
                PEERS,
                Several { at: peers, allowed: "a list of host:peerport, separated by commas" },
            )
            .flag("--peers")
            .env("WALRUS_PEERS"),
            Setting::new(
                "cluster.await-bootstrap",
                "An empty node waits for walrusctl cluster bootstrap or join",
                Switch(await_bootstrap),
            )
            .flag("--await-bootstrap"),
        ]
    }

    fn conflicts(&self) -> Vec<Conflict> {
        self.at_odds()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(given: &str) -> Result<Self, ()> {
        match given {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// Which log lines are written, in the notation of `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = ();

    fn from_str(given: &str) -> Result<Self, ()> {
        match tracing_subscriber::EnvFilter::builder().parse(given) {
            Ok(_) if !given.is_empty() => Ok(Self(given.into())),
            _ => Err(()),
        }
    }
}

/// `log`: what the node tells about itself. Never what clients send.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Appended to; `None`: standard error.
    pub file: Option<PathBuf>,
    /// Text or JSON.
    pub format: LogFormat,
    /// Which lines.
    pub filter: LogFilter,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            file: None,
            format: LogFormat::default(),
            // openraft warns of a peer that is away at each of its heartbeats, ten times a second.
            // That a node is away is told once, by whoever fences it.
            filter: LogFilter("info,openraft=error".into()),
        }
    }
}

impl Section for LogConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { file, format, filter } = self;
        vec![
            Setting::new(
                "log.file",
                "File that log lines are appended to; unset: standard error",
                MaybePlace(file),
            )
            .flag("--log-file"),
            Setting::new("log.format", "How log lines look", parsed(format, "text or json"))
                .flag("--log-format"),
            Setting::new(
                "log.filter",
                "Which log lines are written",
                parsed(filter, "a filter like info, debug or info,walrusd::net=trace"),
            )
            .env("RUST_LOG"),
        ]
    }
}
