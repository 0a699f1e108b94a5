//! Several `walrusd` that form one cluster on loopback.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use walrus_load::client;
use walrus_wire::kafka_protocol::{
    messages::{
        DescribeClusterRequest, MetadataRequest, TopicName, metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponsePartition,
    },
    protocol::StrBytes,
};

use crate::{
    lab::{Host, Lab},
    node::{Addresses, Node, NodeSettings},
    raw::RawClient,
};

/// What must come is waited for so long; the limit is only there so that a broken cluster ends
/// the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many nodes as this vote on metadata.
const VOTERS_MAX: usize = 5;

/// The nodes, numbered from 1.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

/// Where a cluster's data lies. It stays there after the test when `WALRUS_KEEP_DATA` is set.
///
/// # Errors
/// When there is no place for it.
#[expect(clippy::print_stdout, reason = "who keeps data wants to find it")]
pub fn folder() -> Result<tempfile::TempDir> {
    let keeps = std::env::var_os("WALRUS_KEEP_DATA").is_some();
    let folder = tempfile::Builder::new().disable_cleanup(keeps).tempdir()?;
    if keeps {
        println!("data in {}", folder.path().display());
    }
    Ok(folder)
}

/// A file of settings that let several nodes share one small machine. `more` are lines for its
/// section `storage`.
fn small(folder: &Path, more: &[&str]) -> Result<String> {
    let file = folder.join("small.yaml");
    let mut text = "storage:\n  wal-ring-bytes: 128MiB\n  hot-tail-bytes: 32MiB\n".to_owned();
    for line in more {
        text += &format!("  {line}\n");
    }
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

/// Nodes of a cluster in that folder go by these lines of the section `storage`, too, when they are
/// started the next time.
///
/// # Errors
/// When the file cannot be written.
pub fn store_with(folder: &Path, more: &[&str]) -> Result<()> {
    small(folder, more).map(drop)
}

/// The cluster as one of its nodes shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Who leads the metadata.
    pub controller: i32,
    /// Each node that serves, with its client address.
    pub nodes: Vec<(i32, String)>,
}

impl Cluster {
    /// Starts so many nodes on empty folders, each with the list of all, and waits until they
    /// serve and every one of them shows all. Settings with a `--config` of their own say
    /// themselves how little of the machine a node takes.
    ///
    /// # Errors
    /// When one of them does not serve; its log is in the error.
    pub fn start(folder: &Path, nodes: usize, settings: &NodeSettings) -> Result<Self> {
        let places = Addresses::free(nodes)?.into_iter().map(|addresses| (None, addresses));
        Self::begin(folder, places.collect(), |_| settings.clone())
    }

    /// As [`Cluster::start`], at addresses that somebody knows already.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_at(
        folder: &Path,
        addresses: Vec<Addresses>,
        settings: &NodeSettings,
    ) -> Result<Self> {
        let places = addresses.into_iter().map(|addresses| (None, addresses));
        Self::begin(folder, places.collect(), |_| settings.clone())
    }

    /// As [`Cluster::start`], with settings for each by its number.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_each(
        folder: &Path,
        nodes: usize,
        settings: impl Fn(i32) -> NodeSettings,
    ) -> Result<Self> {
        let places = Addresses::free(nodes)?.into_iter().map(|addresses| (None, addresses));
        Self::begin(folder, places.collect(), settings)
    }

    /// As [`Cluster::start`], with one node on each machine of a lab.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn across(lab: &Lab, folder: &Path, settings: &NodeSettings) -> Result<Self> {
        let place = |host: &Host| (Some(host.clone()), host.addresses());
        Self::begin(folder, lab.hosts().iter().map(place).collect(), |_| settings.clone())
    }

    fn begin(
        folder: &Path,
        places: Vec<(Option<Host>, Addresses)>,
        settings: impl Fn(i32) -> NodeSettings,
    ) -> Result<Self> {
        let small = small(folder, &[])?;
        let list: Vec<String> = places.iter().map(|(_, at)| at.peer.to_string()).collect();
        let list = list.join(",");
        let nodes = (1..).zip(places).map(|(id, (host, addresses))| {
            let data_dir = folder.join(format!("n{id}"));
            let mut settings = settings(id).flag("--peers", &list);
            if !settings.flags.iter().any(|flag| flag == "--config") {
                settings = settings.flag("--config", &small);
            }
            let node = Node::new(id, &data_dir, addresses, settings);
            match host {
                Some(host) => node.on(host),
                None => node,
            }
        });
        let mut cluster = Self { nodes: nodes.collect() };
        for node in &mut cluster.nodes {
            node.spawn()?;
        }
        for at in 0..cluster.nodes.len() {
            let ready = cluster.nodes[at].wait_ready();
            // One that waits for another does not know why that is not there.
            ready.map_err(|why| why.context(cluster.last_words()))?;
        }
        cluster.wait_until_all_are_shown()?;
        cluster.wait_until_all_vote()?;
        Ok(cluster)
    }

    /// Starts another node on an empty folder, which joins through node `through`.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn join(&mut self, folder: &Path, through: i32, settings: &NodeSettings) -> Result<i32> {
        let id = i32::try_from(self.nodes.len())? + 1;
        let addresses = Addresses::free(1)?.remove(0);
        let join = self.node(through).peer_address();
        let settings = settings.clone().flag("--config", small(folder, &[])?).flag("--join", join);
        let mut node = Node::new(id, &folder.join(format!("n{id}")), addresses, settings);
        node.restart()?;
        self.nodes.push(node);
        self.wait_until_all_are_shown()?;
        Ok(id)
    }

    /// A cluster of one node that runs already, to be joined.
    pub fn of(first: Node) -> Self {
        Self { nodes: vec![first] }
    }

    /// A node more, however it was started.
    pub fn add(&mut self, node: Node) {
        self.nodes.push(node);
        self.nodes.sort_by_key(Node::id);
    }

    /// A node that is no longer one of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn take(&mut self, id: i32) -> Node {
        let at = self.nodes.iter().position(|node| node.id() == id).expect("the test made it");
        self.nodes.remove(at)
    }

    /// A node by its number.
    ///
    /// # Panics
    /// When there is none.
    pub fn node(&self, id: i32) -> &Node {
        self.nodes.iter().find(|node| node.id() == id).expect("the test made it")
    }

    /// A node by its number.
    ///
    /// # Panics
    /// When there is none.
    pub fn node_mut(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("the test made it")
    }

    /// All numbers.
    pub fn ids(&self) -> Vec<i32> {
        self.nodes.iter().map(Node::id).collect()
    }

    /// For clients, who are told of all nodes and so survive the end of each.
    pub fn client(&self) -> client::Cluster {
        let all: Vec<String> = self.nodes.iter().map(Node::bootstrap).collect();
        client::Cluster::at(all.join(","))
    }

    /// The cluster as that node shows it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn shown_by(&self, id: i32) -> Result<Shown> {
        let mut client = RawClient::connect(self.node(id).client_address())?;
        let answer = client.ask(0, &DescribeClusterRequest::default())?;
        ensure!(answer.error_code == 0, "{answer:?}");
        let mut nodes: Vec<(i32, String)> = Vec::new();
        for at in &answer.brokers {
            nodes.push((at.broker_id.0, format!("{}:{}", &*at.host, at.port)));
        }
        nodes.sort();
        let (id, controller) = (answer.cluster_id.to_string(), answer.controller_id.0);
        Ok(Shown { id, controller, nodes })
    }

    /// The last lines that each node has logged, for whoever wonders why a test failed.
    pub fn last_words(&self) -> String {
        let last = |node: &Node| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(30)..].join("\n");
            format!("-- node {}:\n{last}\n", node.id())
        };
        self.nodes.iter().map(last).collect()
    }

    /// Who leads the metadata, as a node says that runs.
    ///
    /// # Errors
    /// When none answers.
    pub fn controller(&self) -> Result<i32> {
        let running = self.nodes.iter().filter(|node| node.is_running());
        let mut answers = running.map(|node| self.shown_by(node.id()));
        let answered = answers.find_map(Result::ok).context("no node answers")?;
        Ok(answered.controller)
    }

    /// A partition as node `id` shows it.
    ///
    /// # Errors
    /// When it does not answer, or knows of no such partition.
    pub fn partition_shown_by(
        &self,
        id: i32,
        topic: &str,
        index: i32,
    ) -> Result<MetadataResponsePartition> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let one = MetadataRequestTopic::default().with_name(Some(name));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![one]))
            .with_allow_auto_topic_creation(false);
        let mut client = RawClient::connect(self.node(id).client_address())?;
        let topic = client.ask(9, &request)?.topics.into_iter().next().context("no topic")?;
        let partitions = topic.partitions.into_iter();
        let mut partitions = partitions.filter(|partition| partition.partition_index == index);
        partitions.next().with_context(|| format!("code {}", topic.error_code))
    }

    /// Who leads a partition, as node `id` says.
    ///
    /// # Errors
    /// When it does not answer, or nobody leads.
    pub fn leader(&self, id: i32, topic: &str, index: i32) -> Result<i32> {
        let leader = self.partition_shown_by(id, topic, index)?.leader_id.0;
        ensure!(leader >= 0, "nobody leads");
        Ok(leader)
    }

    /// Waits until every node that runs shows every node that runs, and no other.
    ///
    /// # Errors
    /// When that does not come; what each node shows is in the error.
    pub fn wait_until_all_vote(&self) -> Result<()> {
        let wanted = self.nodes.len().min(VOTERS_MAX);
        let began = Instant::now();
        loop {
            let (_status, body) = self.nodes[0].admin_get("/v1/cluster")?;
            let cluster: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let voters = cluster["group"]["voters"].as_u64();
            if voters == Some(u64::try_from(wanted)?) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{voters:?} vote, not {wanted}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until every node that runs shows all of them.
    ///
    /// # Errors
    /// When that does not come.
    pub fn wait_until_all_are_shown(&self) -> Result<()> {
        let running: Vec<i32> =
            self.nodes.iter().filter(|node| node.is_running()).map(Node::id).collect();
        let expected: Vec<(i32, String)> =
            running.iter().map(|id| (*id, self.node(*id).bootstrap())).collect();
        let began = Instant::now();
        loop {
            let shown: Vec<Result<Shown>> = running.iter().map(|id| self.shown_by(*id)).collect();
            let all =
                |shown: &Result<Shown>| shown.as_ref().is_ok_and(|shown| shown.nodes == expected);
            if shown.iter().all(all) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "not all show {expected:?}: {shown:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
