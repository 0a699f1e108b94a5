//! What the node says on standard output once it serves: what it is, where it listens, what it
//! promises, and the first command to try. Scripts may wait for the first line.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, absolute},
    time::Duration,
};

use walrus_types::{ClusterId, Incarnation};

use crate::config::{Config, Durability};

/// What is known only when the node runs.
#[derive(Debug, Clone, Copy)]
pub struct Started<'a> {
    /// The cluster, once there is one.
    pub cluster: Option<ClusterId>,
    /// How many nodes the cluster has, this one among them.
    pub nodes: usize,
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// The client port.
    pub client: Option<SocketAddr>,
    /// The peer port, where it is open.
    pub peer: Option<SocketAddr>,
    /// The admin port.
    pub admin: SocketAddr,
    /// `<data-dir>/node_<id>`.
    pub folder: &'a Path,
    /// How the WAL reaches the disk, like `io_uring`.
    pub backend: &'a str,
    /// From the start of the process until it served.
    pub took: Duration,
}

/// Writes the text. Nobody may be listening, and that is no reason to stop.
pub fn show(config: &Config, started: &Started<'_>) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text(config, started).as_bytes()).and_then(|()| out.flush()));
}

fn text(config: &Config, started: &Started<'_>) -> String {
    let Started { cluster, nodes, incarnation, client, peer, admin, folder, backend, took } =
        started;
    let version = env!("CARGO_PKG_VERSION");
    let node = config.node.id;
    let cluster = cluster.map_or_else(|| "no cluster".into(), |id| format!("cluster {id}"));
    let folder = absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let durable = match config.topics.durability {
        Durability::Fsync => "fsync: a record is on disk before it is acknowledged",
        Durability::Interval => "interval: a record is on disk soon after it is acknowledged",
        Durability::Os => "os: a power cut may lose records that were acknowledged",
    };
    let none = || "not open".to_owned();
    let shown = |address: &Option<SocketAddr>| address.map_or_else(none, |at| at.to_string());
    let others = match nodes.saturating_sub(1) {
        0 => String::new(),
        1 => "  1 other node".to_owned(),
        others => format!("  {others} other nodes"),
    };
    let default = if config.source("node.data-dir").kind() == "default" {
        " (the default; choose with --data-dir)"
    } else {
        ""
    };
    let mut text = format!(
        "walrusd {version}: a Kafka-compatible broker, node {node} of {cluster}, start \
         {incarnation}, ready after {} ms\n  \
         clients   {}\n  \
         peers     {}{others}\n  \
         admin     http://{admin}  /healthz /readyz /metrics\n  \
         data      {}{default}\n  \
         durable   {durable} ({backend})\n  \
         memory    records and requests take at most {} MiB\n",
        took.as_millis(),
        shown(client),
        shown(peer),
        folder.display(),
        config.memory_bytes_max() >> 20,
    );
    if let Some(at) = client.map(reachable) {
        text += &format!(
            "try\n  echo hello | kcat -P -b {at} -t greetings\n  kcat -C -b {at} -t greetings -e\n"
        );
    }
    text
}

/// An address that a client on this machine can connect to.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut at = bound;
    if at.ip().is_unspecified() {
        at.set_ip(match at {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    at
}
