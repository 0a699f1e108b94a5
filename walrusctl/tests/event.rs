//! `walrusctl event` against real nodes.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, Node, NodeSettings, text::TextClient};

const PATIENCE: Duration = Duration::from_secs(60);

fn ctl(endpoints: &[SocketAddr], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusctl"));
    command.env_remove("WALRUS_ENDPOINTS").stdin(Stdio::null());
    for endpoint in endpoints {
        command.args(["--endpoint", &endpoint.to_string()]);
    }
    command.args(args);
    command
}

fn listed(node: &Node, args: &[&str]) -> Result<Value> {
    let args = [&["event", "list", "-o", "json"], args].concat();
    let output = ctl(&[node.admin_address()], &args).output()?;
    ensure!(output.status.success(), "{args:?}: {output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn subjects(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|event| event["subject"].as_str()).collect()
}

fn register(node: &Node, topic: &str) -> Result<()> {
    let mut client = TextClient::connect(node.client_address())?;
    let answer = client.ask(format!("REGISTER {topic}").as_bytes())?;
    ensure!(answer == b"OK", "{topic}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// One that follows.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(endpoints: &[SocketAddr], args: &[&str]) -> Result<Self> {
        let args = [&["event", "watch"], args].concat();
        let mut child = ctl(endpoints, &args).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "it ended");
        Ok(line)
    }

    /// The events up to the one about `subject`.
    fn until(&mut self, subject: &str) -> Result<Vec<Value>> {
        let mut seen = Vec::new();
        loop {
            let document: Value = serde_json::from_str(&self.line()?)?;
            ensure!(document["kind"] == "Event", "{document}");
            let event = document["event"].clone();
            let is_it = event["subject"] == subject;
            seen.push(event);
            if is_it {
                return Ok(seen);
            }
        }
    }

    fn ended(mut self) -> Result<Option<i32>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(began.elapsed() < PATIENCE, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn events_are_listed_by_version_kind_and_node() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    for topic in ["a", "b", "c"] {
        register(&node, topic)?;
    }
    let all = listed(&node, &[])?;
    ensure!(all["kind"] == "EventList" && all["truncated"] == false, "{all}");
    let found = subjects(&all);
    assert_eq!(found[found.len() - 3..], ["a", "b", "c"], "{all}");
    assert_eq!(subjects(&listed(&node, &["--kind", "topic"])?), ["a", "b", "c"]);
    assert_eq!(subjects(&listed(&node, &["--kind", "topic", "--limit", "2"])?), ["b", "c"]);
    assert_eq!(subjects(&listed(&node, &["--kind", "topic", "--node", "1"])?), [""; 0]);
    let version = all["items"][found.len() - 3]["version"].as_u64().context("a version")?;
    let after = listed(&node, &["--after", &version.to_string()])?;
    assert_eq!(subjects(&after), ["b", "c"]);
    let old = listed(&node, &["--after", "0"])?;
    ensure!(old["truncated"] == true, "of before the node began nothing is known: {old}");

    let table = ctl(&[node.admin_address()], &["event", "list"]).output()?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(table.starts_with("TIME") && table.contains("made, with 1 partition\n"), "{table}");
    for wrong in [&["--kind", "weather"][..], &["--limit", "0"], &["--after", "x"]] {
        let args = [&["event", "list"], wrong].concat();
        assert_eq!(ctl(&[node.admin_address()], &args).output()?.status.code(), Some(2));
    }
    Ok(())
}

#[test]
fn a_watch_ends_by_who_interrupts_it_and_by_who_reads_no_more() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let at = [node.admin_address()];
    let mut watch = Watch::start(&at, &["-q", "-o", "json", "--after", "0", "--kind", "topic"])?;
    register(&node, "a")?;
    let seen = watch.until("a")?;
    ensure!(seen.len() == 1 && seen[0]["kind"] == "topic", "{seen:?}");
    let pid = watch.child.id().to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success());
    assert_eq!(watch.ended()?, Some(130));

    let mut watch = Watch::start(&at, &["-q", "--after", "0"])?;
    while !watch.line()?.contains("made, with 1 partition") {}
    // Nobody reads, and it notices when it has something to say.
    watch.lines = BufReader::new(closed()?);
    register(&node, "b")?;
    assert_eq!(watch.ended()?, Some(141));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    assert_eq!(Watch::start(&[nobody], &["-q"])?.ended()?, Some(5));
    Ok(())
}

/// The output of a program that has ended, in the place of one that goes on.
fn closed() -> Result<ChildStdout> {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("its output")?;
    child.wait()?;
    Ok(out)
}

#[test]
fn a_watch_goes_on_at_another_node_and_tells_each_thing_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let at = [1, 2, 3].map(|id| cluster.node(id).admin_address());
    let mut watch = Watch::start(&at, &["-o", "json", "--after", "0"])?;
    register(cluster.node(2), "before")?;
    let mut seen = watch.until("before")?;
    cluster.node_mut(1).kill()?;
    let began = Instant::now();
    while register(cluster.node(2), "after").is_err() {
        ensure!(began.elapsed() < PATIENCE, "the cluster does not go on");
    }
    // Others may be quicker than the fence: what comes after both is looked at.
    let is_fenced = || -> Result<bool> {
        let (_, nodes) = cluster.node(2).admin_get("/v1/nodes")?;
        Ok(serde_json::from_str::<Value>(&nodes)?["items"][0]["state"] == "fenced")
    };
    while !is_fenced()? {
        ensure!(began.elapsed() < PATIENCE, "node 1 is not fenced");
    }
    register(cluster.node(2), "last")?;
    seen.extend(watch.until("last")?);
    ensure!(
        seen.iter().any(|event| event["subject"] == "n1" && event["severity"] == "error"),
        "the fence is told: {seen:?}"
    );
    let mut ids: Vec<&str> = seen.iter().filter_map(|event| event["id"].as_str()).collect();
    let told = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), told, "{seen:?}");
    Ok(())
}
