//! The whole life of a cluster, driven by `walrusctl` alone, while records are written to it that
//! are all accounted for.

#![expect(clippy::print_stdout, reason = "a run tells how long each step took")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use walrus_tests::{
    Addresses, Cluster, Node, NodeSettings,
    files::{files, the_same_on_all},
    load::{History, Load, PARTITIONS, Topics, read, until},
};

const TOPIC: &str = "life";

/// The cluster, its clients, and the addresses of all nodes that it will have.
struct Life {
    folder: TempDir,
    addresses: Vec<Addresses>,
    settings: NodeSettings,
    cluster: Cluster,
    load: Load,
    begun: Instant,
}

/// A partition as clients are told of it.
#[derive(Debug)]
struct Shown {
    leader: i32,
    replicas: Vec<i32>,
    /// Those in sync.
    isr: Vec<i32>,
}

/// Exit status, and the document or error that is shown.
fn ctl(through: &Node, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .args(["-q", "-o", "json", "--endpoint"])
        .arg(through.admin_address().to_string())
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    let shown = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok((output.status.code(), serde_json::from_slice(shown).with_context(|| format!("{args:?}"))?))
}

/// Runs it to its end, which must be a good one.
fn done(through: &Node, args: &[&str]) -> Result<Value> {
    let limits = if args.contains(&"--wait") { &["--timeout", "1m"][..] } else { &[] };
    let args = [args, limits].concat();
    let (status, shown) = ctl(through, &args)?;
    ensure!(status == Some(0), "{args:?} ends with {status:?}: {shown}");
    Ok(shown)
}

/// A node on an empty folder that waits to be told where it belongs.
fn waiting(folder: &Path, settings: &NodeSettings, id: i32, at: Addresses) -> Result<Node> {
    let mut node = Node::new(id, &folder.join(format!("n{id}")), at, settings.clone());
    node.spawn()?;
    until(&format!("node {id} that waits"), || {
        node.admin_get("/v1/self")
            .is_ok_and(|(status, body)| status == 200 && body.contains("\"awaits_bootstrap\":true"))
    })?;
    Ok(node)
}

impl Life {
    /// One node that was told to found a cluster, and the load on it.
    fn bootstrap() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let small = folder.path().join("small.yaml");
        fs::write(&small, "storage:\n  wal-ring-bytes: 128MiB\n  hot-tail-bytes: 32MiB\n")?;
        let settings =
            NodeSettings { flags: vec!["--await-bootstrap".into()], ..NodeSettings::default() }
                .flag("--config", small.display())
                .env("WALRUS_MAX_SEGMENT_BYTES", 512 << 10)
                .env("WALRUS_MONITOR_CHECK_MS", 50);
        let addresses = Addresses::free(4)?;
        let first = waiting(folder.path(), &settings, 1, addresses[0])?;
        let begun = Instant::now();
        done(&first, &["cluster", "bootstrap", "--yes", "--wait"])?;
        let cluster = Cluster::of(first);
        let load = Load::start(&cluster, TOPIC, -1)?;
        load.until_more(2_000)?;
        Ok(Self { folder, addresses, settings, cluster, load, begun })
    }

    fn tell(&self, step: &str) {
        println!("{:6.2?} {step}, {} acked", self.begun.elapsed(), self.load.acked());
    }

    fn through(&self, id: i32) -> &Node {
        self.cluster.node(id)
    }

    /// What the cluster says of itself through that node: all is well, every segment has the
    /// copies that there could be.
    fn is_well(&self, through: i32) -> Result<()> {
        done(self.through(through), &["cluster", "health", "--wait"])?;
        let status = done(self.through(through), &["cluster", "status"])?;
        let short = &status["segments"]["repairable"];
        ensure!(*short == 0, "{short} segments are short of copies: {status}");
        self.load.goes_on("when all is well")?;
        Ok(())
    }

    /// A node joins; clients and operators are shown it.
    fn join(&mut self, id: i32, through: i32) -> Result<()> {
        let at = self.addresses[usize::try_from(id)? - 1];
        let node = waiting(self.folder.path(), &self.settings, id, at)?;
        let peer = self.through(through).peer_address().to_string();
        done(&node, &["cluster", "join", &peer, "--yes", "--wait"]).with_context(|| node.log())?;
        self.cluster.add(node);
        self.cluster.wait_until_all_are_shown()?;
        ensure!(self.node(through, id)?["state"] == "active");
        self.tell(&format!("node {id} joined"));
        Ok(())
    }

    fn node(&self, through: i32, id: i32) -> Result<Value> {
        let list = done(self.through(through), &["node", "list", "--all"])?;
        let items = list["items"].as_array().context("a list")?;
        Ok(items.iter().find(|node| node["node"] == id).context("no such node")?.clone())
    }

    /// Each partition, as that node tells clients.
    fn partitions(&self, through: i32) -> Result<Vec<Shown>> {
        let shown = |index| {
            let shown = self.cluster.partition_shown_by(through, TOPIC, index)?;
            let mut replicas: Vec<i32> = shown.replica_nodes.iter().map(|id| id.0).collect();
            let mut isr: Vec<i32> = shown.isr_nodes.iter().map(|id| id.0).collect();
            replicas.sort_unstable();
            isr.sort_unstable();
            Ok(Shown { leader: shown.leader_id.0, replicas, isr })
        };
        (0..).take(PARTITIONS).map(shown).collect()
    }

    /// Waits until the open segments are on exactly these nodes.
    fn spread_over(&self, nodes: &[i32]) -> Result<()> {
        for id in self.cluster.ids() {
            let what = format!("node {id} shows all partitions in sync on {nodes:?}");
            until(&what, || {
                self.partitions(id).is_ok_and(|all| {
                    all.iter().all(|shown| shown.replicas == nodes && shown.isr == nodes)
                })
            })?;
        }
        Ok(())
    }

    fn rollover(&self) -> Result<()> {
        let epochs = || -> Result<Vec<i64>> {
            let list = done(self.through(2), &["cluster", "status"])?;
            ensure!(list["topics"] == 1, "{list}");
            (0..PARTITIONS)
                .map(|index| {
                    let place = format!("{TOPIC}/{index}");
                    let chain = done(self.through(2), &["segment", "chain", &place])?;
                    let last = chain["items"].as_array().and_then(|all| all.last());
                    last.and_then(|last| last["epoch"].as_i64()).context("an epoch")
                })
                .collect()
        };
        let before = epochs()?;
        let args = ["rollover", "--all", "--rate", "20/s", "--yes", "--wait"];
        let told = done(self.through(2), &args)?;
        ensure!(told["state"] == "done" && told["total"] == PARTITIONS, "{told}");
        let after = epochs()?;
        ensure!(before.iter().zip(&after).all(|(before, after)| after > before), "{after:?}");
        self.tell("everything rolled over");
        Ok(())
    }

    /// Drained means that it is needed for no open segment, and is shown to clients for none.
    fn drain_and_undrain(&self, id: i32) -> Result<()> {
        let (number, through) = (id.to_string(), id % 3 + 1);
        let drained = done(self.through(through), &["node", "drain", &number, "--yes", "--wait"])?;
        ensure!(drained["state"] == "done", "{drained}");
        let node = self.node(through, id)?;
        let held = &node["holding"];
        ensure!(held["leads"] == 0 && held["open"] == 0, "{node}");
        for shown in self.partitions(through)? {
            ensure!(shown.leader != id && !shown.replicas.contains(&id), "still there: {shown:?}");
        }
        self.load.goes_on("while a node is drained")?;
        let back = done(self.through(through), &["node", "undrain", &number, "--yes"])?;
        ensure!(back["state"] == "done" && self.node(through, id)?["state"] == "active", "{back}");
        self.spread_over(&[1, 2, 3])?;
        self.tell(&format!("node {id} drained and undrained"));
        Ok(())
    }

    /// Safe means that its process and its disk may be gone the moment after.
    fn remove(&mut self, id: i32, through: i32) -> Result<()> {
        let (number, confirm) = (id.to_string(), format!("--confirm={id}"));
        let args = ["node", "remove", &number, &confirm, "--wait"];
        let gone = done(self.through(through), &args)?;
        ensure!(gone["state"] == "done", "{gone}");
        ensure!(self.node(through, id)?["state"] == "removed");
        let mut node = self.cluster.take(id);
        if node.is_running() {
            node.kill()?;
            fs::remove_dir_all(node.data_dir())?;
        }
        self.load.goes_on("after a node was removed and switched off")?;
        self.tell(&format!("node {id} removed, its process and its disk gone"));
        Ok(())
    }

    fn is_refused(&self, id: i32, through: i32, code: &str) -> Result<()> {
        let (number, confirm) = (id.to_string(), format!("--confirm={id}"));
        let (status, shown) = ctl(self.through(through), &["node", "remove", &number, &confirm])?;
        ensure!(status != Some(0) && shown["error"]["code"] == code, "{status:?}: {shown}");
        Ok(())
    }

    /// A node is back under its id with an empty disk: it is refused, for its place belongs to the
    /// lost disk; when that was given up it is admitted as new.
    fn replace(&mut self, id: i32, through: i32) -> Result<()> {
        let old = self.node(through, id)?["storage"].as_str().context("a storage id")?.to_owned();
        let node = self.cluster.node_mut(id);
        node.kill()?;
        fs::remove_dir_all(node.data_dir())?;
        self.load.goes_on("after a disk was lost")?;
        let at = self.addresses[usize::try_from(id)? - 1];
        let mut empty = waiting(self.folder.path(), &self.settings, id, at)?;
        let peer = self.through(through).peer_address().to_string();
        let args = ["cluster", "join", &peer, "--yes", "--wait", "--timeout", "10m"];
        let (status, shown) = ctl(&empty, &args)?;
        ensure!(status == Some(6), "an empty disk passes for the lost one: {status:?}: {shown}");
        let error = &shown["error"];
        ensure!(error["message"].as_str().is_some_and(|why| why.contains(&old)), "{shown}");
        ensure!(error["hint"].is_string(), "{shown}");
        ensure!(!empty.ended()?.success(), "a node that was refused goes on");
        ensure!(empty.log().contains(&old), "{}", empty.log());
        fs::remove_dir_all(empty.data_dir())?;
        self.tell(&format!("node {id} lost its disk and was refused without it"));
        let other = self.cluster.ids().into_iter().find(|other| ![id, through].contains(other));
        self.is_refused(other.context("a third node")?, through, "quorum")?;
        self.remove(id, through)?;
        self.join(id, through)?;
        let new = self.node(through, id)?;
        ensure!(new["storage"] != old.as_str() && new["state"] == "active", "{new}");
        Ok(())
    }

    fn restart_each(&mut self) -> Result<()> {
        for id in self.cluster.ids() {
            let ended = self.cluster.node_mut(id).terminate()?;
            ensure!(ended.success(), "node {id} ended with {ended}");
            self.cluster.node_mut(id).restart()?;
            self.is_well(id)?;
            self.tell(&format!("node {id} restarted"));
        }
        Ok(())
    }

    /// Waits until a node that drains is a member of nothing and has no file of it.
    fn gives_up_everything(&self, id: i32, through: i32) -> Result<()> {
        until(&format!("node {id} is a member of nothing"), || {
            let sealed = |node: &Value| node["holding"]["sealed"] == 0;
            self.node(through, id).is_ok_and(|node| sealed(&node))
        })?;
        Ok(())
    }

    fn has_no_files(&self, id: i32) -> Result<()> {
        let there = || files(&self.cluster, id);
        until("no file of a segment", || there().is_empty())
            .with_context(|| format!("node {id} has {:?}", there()))?;
        self.tell(&format!("node {id} gave up what others have"));
        Ok(())
    }

    /// All nodes have the same, nothing was lost, and no send failed.
    fn verify_all_alike(self) -> Result<()> {
        let Self { cluster, load, begun, .. } = self;
        let (history, topics) = load.stop()?;
        the_same_on_all(&cluster)?;
        Self::check(&cluster, begun, (&history, &topics))
    }

    /// Nothing was lost, and no send failed.
    fn verify(self) -> Result<()> {
        let Self { cluster, load, begun, .. } = self;
        let (history, topics) = load.stop()?;
        Self::check(&cluster, begun, (&history, &topics))
    }

    fn check(
        cluster: &Cluster,
        begun: Instant,
        (history, topics): (&History, &Topics),
    ) -> Result<()> {
        let verdict = read(&cluster.client(), topics, history)?;
        println!("{:6.2?} {verdict:?}", begun.elapsed());
        if verdict.refused > 0 || verdict.unknown > 0 {
            bail!("sends failed: {verdict:#?}");
        }
        Ok(())
    }
}

#[test]
fn a_cluster_grows_rolls_drains_shrinks_and_loses_a_disk_and_clients_see_nothing() -> Result<()> {
    let mut life = Life::bootstrap()?;
    life.tell("one node founded a cluster");
    life.join(2, 1)?;
    life.join(3, 2)?;
    life.spread_over(&[1, 2, 3])?;
    life.is_well(3)?;
    life.tell("three have everything");
    life.rollover()?;
    for id in 1..=3 {
        life.drain_and_undrain(id)?;
    }
    life.is_well(1)?;
    life.join(4, 3)?;
    life.remove(1, 2)?;
    life.spread_over(&[2, 3, 4])?;
    life.is_well(4)?;
    life.replace(3, 2)?;
    life.spread_over(&[2, 3, 4])?;
    life.is_well(3)?;
    life.restart_each()?;
    life.verify_all_alike()
}

#[test]
fn a_lost_disk_is_refused_and_replaced_and_its_copies_are_made_again() -> Result<()> {
    let mut life = Life::bootstrap()?;
    life.join(2, 1)?;
    life.join(3, 1)?;
    life.spread_over(&[1, 2, 3])?;
    life.is_well(1)?;
    life.replace(2, 3)?;
    life.spread_over(&[1, 2, 3])?;
    life.is_well(2)?;
    life.verify_all_alike()
}

#[test]
fn a_node_that_drains_gives_up_what_others_have_and_so_does_one_that_is_stopped() -> Result<()> {
    let mut life = Life::bootstrap()?;
    for id in 2..=4 {
        life.join(id, 1)?;
    }
    life.is_well(1)?;
    life.rollover()?;
    done(life.through(1), &["node", "drain", "2", "--yes", "--wait"])?;
    life.gives_up_everything(2, 1)?;
    life.has_no_files(2)?;
    done(life.through(1), &["node", "undrain", "2", "--yes"])?;
    ensure!(life.cluster.node_mut(3).terminate()?.success());
    done(life.through(1), &["node", "drain", "3", "--yes", "--wait"])?;
    life.gives_up_everything(3, 1)?;
    ensure!(!files(&life.cluster, 3).is_empty(), "it does not run");
    life.cluster.node_mut(3).restart()?;
    life.has_no_files(3)?;
    done(life.through(1), &["node", "undrain", "3", "--yes"])?;
    life.is_well(4)?;
    life.verify()
}

#[test]
fn a_last_copy_is_neither_removed_nor_lost() -> Result<()> {
    let mut life = Life::bootstrap()?;
    life.join(2, 1)?;
    life.join(3, 1)?;
    let single = Load::start(&life.cluster, "single", 1)?;
    single.until_more(2_000)?;
    life.is_well(1)?;
    life.cluster.node_mut(2).kill()?;
    until("the fence of node 2", || life.node(1, 2).is_ok_and(|node| node["state"] == "fenced"))?;
    life.is_refused(2, 1, "last_copy")?;
    life.cluster.node_mut(2).restart()?;
    single.goes_on("when the only copy is back")?;
    life.is_well(1)?;
    life.remove(2, 1)?;
    single.goes_on("at other nodes")?;
    let verdict = single.verify(&life.cluster.client())?;
    ensure!(verdict.refused == 0 && verdict.unknown == 0, "{verdict:#?}");
    life.verify()
}
