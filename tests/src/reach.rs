//! What a fault brought about, by the nodes' own accounts. A run that moved nothing has not tested
//! what its name says.

use std::{fmt, ops::Sub};

use anyhow::{Context as _, Result, ensure};

use walrus_load::topic::{self, Topics};

use crate::{
    Cluster, files,
    load::{Load, PARTITIONS, read},
};

/// Begins a load on a new topic that is kept three times, and two times before an ack.
///
/// # Errors
/// When there is no such topic to be had.
pub fn load_on(cluster: &Cluster, name: &str, configs: &[(&str, &str)]) -> Result<Load> {
    let configs = [("min.insync.replicas", "2")].iter().chain(configs);
    let configs: Vec<_> =
        configs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    topic::create(&cluster.client(), &Topics::one(name, PARTITIONS), 3, &configs)?;
    Load::start(cluster, name, 3)
}

/// Counts since the cluster was formed, or between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Terms of the metadata group.
    pub elections: u64,
    /// Segments that were sealed without their leader.
    pub seals: u64,
    /// Segments that their leaders ended, and those that were sealed empty.
    pub rolls: u64,
    /// Segments whose tails were in no log and were cut.
    pub truncations: u64,
}

impl Sub for Reach {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            elections: self.elections - earlier.elections,
            seals: self.seals - earlier.seals,
            rolls: self.rolls - earlier.rolls,
            truncations: self.truncations - earlier.truncations,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elections, seals, rolls, truncations } = self;
        write!(
            f,
            "{elections} elections, {seals} forced seals, {rolls} rolls, {truncations} truncations"
        )
    }
}

impl Reach {
    /// As the nodes tell it now, when all of them run.
    ///
    /// # Errors
    /// When one does not answer.
    pub fn of(cluster: &Cluster, topic: &str) -> Result<Self> {
        let mut reach = Self::default();
        for id in cluster.ids() {
            let node = cluster.node(id);
            reach.elections = reach.elections.max(node.metric("raft_term")?);
            reach.truncations += node.counted("walrus_segments_cut_total")?;
        }
        for index in 0..PARTITIONS {
            let path = format!("/v1/topics/{topic}/partitions/{index}/segments?limit=1000");
            let (status, body) = cluster.node(1).admin_get(&path)?;
            ensure!(status == 200, "{body}");
            let chain: serde_json::Value = serde_json::from_str(&body)?;
            let links = chain["items"].as_array().context("a chain has links")?;
            let forced = links.iter().filter(|link| link["reason"] == "failover").count();
            let epoch_of = |link: Option<&serde_json::Value>| link?["epoch"].as_u64();
            let (first, last) = (epoch_of(links.first()), epoch_of(links.last()));
            let (first, last) = first.zip(last).context("a link has an epoch")?;
            let forced = u64::try_from(forced)?;
            reach.seals += forced;
            reach.rolls += last - first - forced;
        }
        Ok(reach)
    }
}

/// Ends a load: nothing that was acknowledged is lost, nothing is there twice, nothing is missing
/// in between, and every disk has the same. Tells how much that was and what was reached since.
///
/// # Errors
/// When it is not so.
#[expect(clippy::print_stdout, reason = "a run tells what it reached")]
pub fn verify(load: Load, cluster: &Cluster, since: Reach) -> Result<Reach> {
    let (history, topics) = load.stop()?;
    let took = files::the_same_on_all(cluster)?;
    let verdict = read(&cluster.client(), &topics, &history)?;
    let reached = Reach::of(cluster, &topics.names()[0])? - since;
    println!(
        "{} acked, {} unknown, {} refused, {} read; the same on all disks after {took:?}",
        verdict.acked, verdict.unknown, verdict.refused, verdict.records_read
    );
    println!("reached: {reached}");
    ensure!(verdict.refused == 0 && verdict.unknown == 0, "clients saw errors: {verdict:#?}");
    Ok(reached)
}
