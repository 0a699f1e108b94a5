//! Three nodes: they form a cluster, they share topics, and any one of them may go at any time.

#![expect(clippy::print_stdout, reason = "a run tells what it did")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use walrus_load::topic::{self, Topics};
use walrus_tests::{
    Addresses, Cluster, Node, NodeSettings,
    files::the_same_on_all,
    load::{self, Load, PARTITIONS, read, until},
    raw::RawClient,
};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, CreateTopicsRequest, TopicName,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
    },
    protocol::StrBytes,
};

const NODES: usize = 3;

/// Where a cluster's data lies. It stays there after the test when `WALRUS_KEEP_DATA` is set.
fn folder() -> Result<tempfile::TempDir> {
    let keeps = std::env::var_os("WALRUS_KEEP_DATA").is_some();
    let folder = tempfile::Builder::new().disable_cleanup(keeps).tempdir()?;
    if keeps {
        println!("data in {}", folder.path().display());
    }
    Ok(folder)
}

fn three(folder: &tempfile::TempDir) -> Result<Cluster> {
    Cluster::start(folder.path(), NODES, &NodeSettings::default())
}

/// Three that roll their segments often: what happens falls into rolls, too.
fn rolling(folder: &tempfile::TempDir) -> Result<Cluster> {
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_BYTES", 128 << 10)
        .env("WALRUS_MONITOR_CHECK_MS", 50);
    Cluster::start(folder.path(), NODES, &settings)
}

/// Load on a topic of three copies.
fn load(cluster: &Cluster, topic: &str) -> Result<Load> {
    Load::start(cluster, topic, 3)
}

/// Stops the load, reads everything back, and holds it against what was acked.
fn verify(load: Load, cluster: &Cluster) -> Result<()> {
    let (history, topics) = load.stop()?;
    if cluster.ids().into_iter().all(|id| cluster.node(id).is_running()) {
        println!("all nodes had all after {:?}", the_same_on_all(cluster)?);
    }
    let verdict = read(&cluster.client(), &topics, &history)?;
    println!(
        "{} acked, {} unknown, {} refused, {} read",
        verdict.acked, verdict.unknown, verdict.refused, verdict.records_read
    );
    Ok(())
}

/// Waits until every replica of every partition is shown in sync by every node.
fn whole(cluster: &Cluster, topic: &str) -> Result<Duration> {
    load::whole(cluster, topic, NODES)
}

#[test]
fn nodes_that_are_told_of_each_other_form_one_cluster_and_find_it_again() -> Result<()> {
    let folder = folder()?;
    let mut cluster = three(&folder)?;
    let first = cluster.shown_by(1)?;
    ensure!(first.nodes.len() == NODES, "{first:?}");
    for id in cluster.ids() {
        ensure!(cluster.shown_by(id)?.id == first.id, "node {id} is in another cluster");
    }
    for id in cluster.ids() {
        ensure!(cluster.node_mut(id).terminate()?.success());
    }
    // In another order than they were started in, and none of them founds anything.
    for id in [3, 1, 2] {
        cluster.node_mut(id).spawn()?;
    }
    for id in cluster.ids() {
        cluster.node_mut(id).wait_ready()?;
    }
    cluster.wait_until_all_are_shown()?;
    ensure!(cluster.shown_by(3)?.id == first.id, "the cluster is another one");
    Ok(())
}

#[test]
fn a_cluster_of_one_is_joined_through_any_member() -> Result<()> {
    let folder = folder()?;
    let alone = Node::start(&folder.path().join("n1"), NodeSettings::default())?;
    let mut cluster = Cluster::of(alone);
    topic::create(&cluster.client(), &Topics::one("before", 2), 1, &[])?;
    ensure!(cluster.join(folder.path(), 1, &NodeSettings::default())? == 2);
    ensure!(cluster.join(folder.path(), 2, &NodeSettings::default())? == 3);
    let shown = cluster.shown_by(3)?;
    ensure!(shown.nodes.len() == NODES && shown == cluster.shown_by(1)?, "{shown:?}");
    ensure!(cluster.leader(3, "before", 0)? == 1, "what was there is there");
    Ok(())
}

#[test]
fn a_node_without_its_folder_is_sent_away_with_both_storage_ids() -> Result<()> {
    let folder = folder()?;
    let mut cluster = three(&folder)?;
    cluster.node_mut(2).kill()?;
    let data_dir = cluster.node(2).data_dir().to_path_buf();
    let old = storage_id(&data_dir)?;
    fs::remove_dir_all(&data_dir)?;
    let node = cluster.node_mut(2);
    node.spawn()?;
    ensure!(!node.ended()?.success(), "a node without its folder took part");
    let (log, new) = (node.log(), storage_id(&data_dir)?);
    ensure!(old != new && log.contains(&old) && log.contains(&new), "{log}");
    ensure!(log.contains("\n  next: "), "{log}");
    Ok(())
}

/// What the folder of node 2 says that it is.
fn storage_id(data_dir: &Path) -> Result<String> {
    let text = fs::read_to_string(data_dir.join("node_2").join("identity.json"))?;
    let (_, rest) = text.split_once("\"storage_id\": \"").context("no storage id")?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

#[test]
fn a_node_of_another_cluster_is_refused_with_both_cluster_ids() -> Result<()> {
    let folder = folder()?;
    let cluster = three(&folder)?;
    let ours = cluster.shown_by(1)?.id;
    let addresses = Addresses::free(1)?.remove(0);
    let data_dir = folder.path().join("stranger");
    let mut alone = Node::new(4, &data_dir, addresses, NodeSettings::default());
    alone.restart()?;
    let mut asked = RawClient::connect(alone.client_address())?;
    let request = walrus_wire::kafka_protocol::messages::DescribeClusterRequest::default();
    let theirs = asked.ask(0, &request)?.cluster_id.to_string();
    ensure!(alone.terminate()?.success());
    let join = NodeSettings::default().flag("--join", cluster.node(1).peer_address());
    let mut stranger = Node::new(4, &data_dir, addresses, join);
    stranger.spawn()?;
    ensure!(!stranger.ended()?.success(), "a node of another cluster took part");
    let log = stranger.log();
    ensure!(log.contains(&ours) && log.contains(&theirs) && log.contains("\n  next: "), "{log}");
    Ok(())
}

#[test]
fn partitions_spread_over_the_nodes_and_assignments_are_kept() -> Result<()> {
    let folder = folder()?;
    let cluster = three(&folder)?;
    topic::create(&cluster.client(), &Topics::one("spread", PARTITIONS), 3, &[])?;
    let mut led = Vec::new();
    for index in (0..).take(PARTITIONS) {
        let partition = cluster.partition_shown_by(2, "spread", index)?;
        ensure!(partition.replica_nodes.len() == NODES, "{partition:?}");
        led.push(partition.leader_id.0);
    }
    for id in cluster.ids() {
        let leads = led.iter().filter(|leader| **leader == id).count();
        ensure!(leads == PARTITIONS / NODES, "node {id} leads {leads}: {led:?}");
    }
    let mut client = RawClient::connect(cluster.node(3).client_address())?;
    let assigned = [[2, 3], [3, 1]];
    let assignments = (0..).zip(&assigned).map(|(index, nodes)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(nodes.iter().map(|id| BrokerId(*id)).collect())
    });
    let chosen = any_topic("chosen").with_assignments(assignments.collect());
    let many = any_topic("many").with_num_partitions(1).with_replication_factor(4);
    let request = CreateTopicsRequest::default().with_topics(vec![chosen, many]);
    let codes: Vec<i16> =
        client.ask(7, &request)?.topics.iter().map(|topic| topic.error_code).collect();
    ensure!(codes == [0, ResponseError::InvalidReplicationFactor.code()], "{codes:?}");
    for (index, nodes) in (0..).zip(assigned) {
        let partition = cluster.partition_shown_by(1, "chosen", index)?;
        let replicas: Vec<i32> = partition.replica_nodes.iter().map(|id| id.0).collect();
        ensure!(replicas == nodes && partition.leader_id.0 == nodes[0], "{partition:?}");
    }
    Ok(())
}

#[test]
fn what_was_acked_is_read_back_from_three_nodes() -> Result<()> {
    let folder = folder()?;
    let cluster = rolling(&folder)?;
    let load = load(&cluster, "plain")?;
    load.goes_on("at first")?;
    load.until_more(5_000)?;
    verify(load, &cluster)
}

/// Whom a fault hits.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// Who leads partition 0, and is not the controller if that can be.
    Leader,
    /// Who leads the metadata.
    Controller,
    /// A node that does not lead partition 0.
    Follower,
}

fn choose(cluster: &Cluster, topic: &str, victim: Victim) -> Result<i32> {
    let mut chosen = None;
    until("a leader and a controller", || {
        chosen = cluster.leader(1, topic, 0).ok().zip(cluster.controller().ok());
        chosen.is_some()
    })?;
    let (leader, controller) = chosen.context("just seen")?;
    let others = || cluster.ids().into_iter().filter(|id| *id != leader);
    Ok(match victim {
        Victim::Leader => leader,
        Victim::Controller => controller,
        Victim::Follower => others().find(|id| *id != controller).context("three nodes")?,
    })
}

#[test]
fn producers_go_on_when_any_node_is_killed_and_nothing_acked_is_lost() -> Result<()> {
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "kills")?;
    load.goes_on("at first")?;
    for victim in [Victim::Follower, Victim::Leader, Victim::Controller] {
        let id = choose(&cluster, "kills", victim)?;
        cluster.node_mut(id).kill()?;
        let first = load.goes_on(&format!("after the {victim:?} was killed"))?;
        println!("{victim:?} {id} killed: nothing waits after {first:?}");
        cluster.node_mut(id).restart()?;
        whole(&cluster, "kills")?;
        load.goes_on(&format!("after the {victim:?} was back"))?;
    }
    verify(load, &cluster)
}

/// The number of rounds; a long run sets more.
/// A topic without any choice of nodes.
fn any_topic(name: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

/// Makes one topic after the other until it is told to stop. Answers how many.
fn make_topics(at: SocketAddr, name: &str, stop: &AtomicBool) -> Result<usize> {
    let mut client = RawClient::connect(at)?;
    for made in 0.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(made);
        }
        let topic = any_topic(&format!("{name}-{made}"));
        let topic = topic.with_num_partitions(12).with_replication_factor(2);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer = client.ask(7, &request)?;
        let topic = answer.topics.first().context("an answer for the topic")?;
        ensure!(topic.error_code == 0, "topic {made}: {:?}", topic.error_message);
    }
    unreachable!("it makes topics for ever")
}

#[test]
fn no_topic_is_refused_because_a_node_dies_while_it_is_made() -> Result<()> {
    let folder = folder()?;
    let mut cluster = three(&folder)?;
    cluster.wait_until_all_vote()?;
    let asked = cluster.controller()?;
    let at = cluster.node(asked).client_address();
    for victim in cluster.ids().into_iter().filter(|id| *id != asked) {
        let stop = AtomicBool::new(false);
        let made = thread::scope(|scope| -> Result<usize> {
            let making = scope.spawn(|| make_topics(at, &format!("made-{victim}"), &stop));
            let killed = kill_and_see(&mut cluster, victim, asked);
            stop.store(true, Ordering::Relaxed);
            let made = making.join().map_err(|_panic| anyhow!("making topics panics"))?;
            killed.and(made)
        })?;
        println!("{made} topics were made while node {victim} died");
        cluster.node_mut(victim).restart()?;
        cluster.wait_until_all_are_shown()?;
    }
    Ok(())
}

/// Kills a node and waits until another says that it is fenced.
fn kill_and_see(cluster: &mut Cluster, victim: i32, asked: i32) -> Result<()> {
    cluster.node_mut(victim).kill()?;
    until("a fence", || {
        let nodes = cluster.node(asked).admin_get("/v1/nodes").ok();
        let nodes: Option<Value> = nodes.and_then(|(_, body)| serde_json::from_str(&body).ok());
        let nodes = nodes.as_ref().and_then(|nodes| nodes["items"].as_array());
        let fenced = |node: &Value| node["node"] == victim && node["state"] == "fenced";
        nodes.is_some_and(|nodes| nodes.iter().any(fenced))
    })
    .map(drop)
}

fn rounds() -> Result<u32> {
    match std::env::var("WALRUS_CLUSTER_ROUNDS") {
        Ok(rounds) => rounds.parse().context("WALRUS_CLUSTER_ROUNDS must be a number"),
        Err(_) => Ok(6),
    }
}

fn seed() -> Result<u64> {
    match std::env::var("WALRUS_CLUSTER_SEED") {
        Ok(seed) => seed.parse().context("WALRUS_CLUSTER_SEED must be a number"),
        Err(_) => Ok(rand::random()),
    }
}

#[test]
fn what_was_acked_survives_kill_9_of_a_random_node_at_a_random_moment() -> Result<()> {
    let (rounds, seed) = (rounds()?, seed()?);
    println!("seed {seed} (WALRUS_CLUSTER_SEED={seed} repeats the pattern), {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "random")?;
    load.goes_on("at first")?;
    for round in 0..rounds {
        let id = random.random_range(1..=3);
        thread::sleep(Duration::from_millis(random.random_range(20..400)));
        cluster.node_mut(id).kill()?;
        thread::sleep(Duration::from_millis(random.random_range(0..2_000)));
        cluster.node_mut(id).restart()?;
        load.goes_on(&format!("in round {round}, after node {id} was killed"))?;
    }
    verify(load, &cluster)
}

#[test]
fn a_node_that_was_away_catches_up_and_then_stands_in_for_the_others() -> Result<()> {
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "away")?;
    load.goes_on("at first")?;
    cluster.node_mut(3).kill()?;
    load.goes_on("without node 3")?;
    load.until_more(5_000)?;
    cluster.node_mut(3).restart()?;
    whole(&cluster, "away")?;
    // From now on a commit needs node 3.
    cluster.node_mut(1).kill()?;
    load.goes_on("without node 1")?;
    cluster.node_mut(1).restart()?;
    load.goes_on("with node 1 again")?;
    verify(load, &cluster)
}

#[test]
fn a_frozen_node_is_replaced_and_finds_itself_fenced_when_it_goes_on() -> Result<()> {
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "frozen")?;
    load.goes_on("at first")?;
    for victim in [Victim::Leader, Victim::Controller] {
        let id = choose(&cluster, "frozen", victim)?;
        cluster.node(id).freeze()?;
        let others = cluster.ids().into_iter().find(|other| *other != id).context("three")?;
        let led_elsewhere = until("another leader of each partition", || {
            (0..).take(PARTITIONS).all(|index| {
                cluster.leader(others, "frozen", index).is_ok_and(|leader| leader != id)
            })
        })?;
        println!("{victim:?} {id} frozen: all led elsewhere after {led_elsewhere:?}");
        cluster.node(id).thaw()?;
        load.goes_on("after the frozen node went on")?;
        whole(&cluster, "frozen")?;
        ensure!(cluster.node_mut(id).is_running());
    }
    verify(load, &cluster)
}

#[test]
fn a_rolling_restart_costs_no_record() -> Result<()> {
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "rolling")?;
    load.goes_on("at first")?;
    for id in cluster.ids() {
        let ended = cluster.node_mut(id).terminate()?;
        ensure!(ended.success(), "node {id} ended with {ended}:\n{}", cluster.node(id).log());
        let first = load.goes_on(&format!("while node {id} is away"))?;
        println!("node {id} stopped: nothing waits after {first:?}");
        cluster.node_mut(id).restart()?;
        whole(&cluster, "rolling")?;
    }
    load.goes_on("at the end")?;
    verify(load, &cluster)
}

#[test]
fn a_whole_cluster_that_was_killed_has_everything_when_it_is_back() -> Result<()> {
    let folder = folder()?;
    let mut cluster = rolling(&folder)?;
    let load = load(&cluster, "all")?;
    load.goes_on("at first")?;
    load.until_more(2_000)?;
    for id in cluster.ids() {
        cluster.node_mut(id).kill()?;
    }
    for id in cluster.ids() {
        cluster.node_mut(id).spawn()?;
    }
    for id in cluster.ids() {
        cluster.node_mut(id).wait_ready()?;
    }
    load.goes_on("after all were killed")?;
    verify(load, &cluster)
}

#[test]
fn a_node_alone_has_nothing_to_do_with_others() -> Result<()> {
    let folder = folder()?;
    let nodes: Vec<Node> = ["a", "b"]
        .into_iter()
        .map(|name| Node::start(&folder.path().join(name), NodeSettings::default()))
        .collect::<Result<_>>()?;
    let clusters: BTreeSet<String> = nodes
        .into_iter()
        .map(|node| Cluster::of(node).shown_by(1).map(|shown| shown.id))
        .collect::<Result<_>>()?;
    ensure!(clusters.len() == 2, "{clusters:?}");
    Ok(())
}

#[test]
fn a_node_that_waits_for_others_says_for_whom_and_stops_when_it_is_asked() -> Result<()> {
    let folder = folder()?;
    let [own, absent] = Addresses::free(2)?[..] else { unreachable!("two were asked for") };
    for (name, flag) in [("j", "--join"), ("p", "--peers")] {
        let peers = match flag {
            "--join" => absent.peer.to_string(),
            _ => format!("{},{}", own.peer, absent.peer),
        };
        let settings = NodeSettings::default().flag(flag, peers);
        let mut node = Node::new(1, &folder.path().join(name), own, settings);
        node.spawn()?;
        let waits = |answer: Result<(u16, String)>| {
            answer.is_ok_and(|(status, body)| {
                status == 503 && body.contains(&absent.peer.to_string())
            })
        };
        until("whom it waits for", || waits(node.admin_get("/readyz")))?;
        ensure!(RawClient::connect(own.client).is_err(), "clients would wait with it");
        let ended = node.terminate()?;
        ensure!(ended.success(), "{ended}:\n{}", node.log());
    }
    Ok(())
}
