//! A life of `walrusd` on the real binary: it starts, tells how it stands, keeps others off its
//! folder, and stops as it was asked to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far more than anything here takes: a test that waits longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node; killed when the test ends before it does.
struct Node {
    child: Child,
    admin: SocketAddr,
    banner: String,
}

fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusd"));
    command
        .args(["--client-port", "0", "--raft-port", "0", "--admin-port", "0", "--data-dir"])
        .arg(root)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Node {
    /// Starts and waits until it serves.
    #[track_caller]
    fn start(root: &Path, args: &[&str]) -> Self {
        let mut child = command(root, args).spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut banner = String::new();
            while !banner.contains("\n  memory ") && out.read_line(&mut banner).unwrap() > 0 {}
            tell.send(banner).unwrap();
            // Whoever goes on writing must not fail for want of a reader.
            std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        });
        let banner = told.recv_timeout(PATIENCE).unwrap();
        let admin = banner.lines().find_map(|line| line.trim().strip_prefix("admin     http://"));
        let Some(admin) = admin else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("it did not start: {banner}{err}");
        };
        let admin = admin.split(' ').next().unwrap().parse().unwrap();
        Self { child, admin, banner }
    }

    /// Status line, headers and body of an answer.
    fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.into())
    }

    fn get_json(&self, path: &str) -> (u16, Value) {
        let (code, _, body) = self.ask("GET", path);
        (code, serde_json::from_str(&body).unwrap())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end: exit code and what stood on standard error.
    fn end(mut self) -> (i32, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap(), err)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, and that is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_node_without_settings_says_what_it_is_and_stops_when_asked() {
    let root = tempfile::tempdir().unwrap();
    for (signal, start) in [(Signal::TERM, 1), (Signal::INT, 2)] {
        let node = Node::start(root.path(), &[]);
        for part in [
            concat!("walrusd ", env!("CARGO_PKG_VERSION"), ": "),
            "node n1 of ",
            &format!("start {start}, "),
            "node_1",
            "fsync: a record is on disk before it is acknowledged",
        ] {
            assert!(node.banner.contains(part), "no {part:?} in {}", node.banner);
        }
        node.signal(signal);
        let (code, err) = node.end();
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("asked to stop"), "{err}");
    }
    let run = fs::read_to_string(root.path().join("node_1/run.json")).unwrap();
    assert!(run.contains("\"clean\": true") && run.contains("\"incarnation\": 2"), "{run}");
}

#[test]
fn a_node_tells_how_it_stands() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &["--log-format", "json"]);
    for path in ["/healthz", "/readyz"] {
        let (code, body) = node.get_json(path);
        assert_eq!((code, &body["state"]), (200, &Value::from("ready")), "{path}");
    }
    let (code, head, body) = node.ask("GET", "/metrics");
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    for line in ["walrus_state{state=\"ready\"} 1", "walrus_connections 0", "# EOF"] {
        assert!(body.lines().any(|one| one == line), "no {line} in {body}");
    }
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(body.contains(&format!("\n{name} ")), "no {name} in {body}");
    }
    let (code, body) = node.get_json("/v1/nothing");
    assert_eq!((code, &body["error"]["code"]), (404, &Value::from("not_found")));
    assert!(body["routes"].as_array().unwrap().contains(&"GET /metrics".into()), "{body}");
    assert_eq!(node.ask("POST", "/metrics").0, 405);
    assert_eq!(node.ask("POST", "/test/fail").0, 404, "hooks are closed unless asked for");
    node.signal(Signal::TERM);
    let (code, err) = node.end();
    assert_eq!(code, 0);
    for line in err.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn a_second_process_on_the_folder_is_refused_with_the_pid_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let first = Node::start(root.path(), &[]);
    let second = command(root.path(), &[]).output().unwrap();
    let err = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("(pid {})", first.child.id())), "{err}");
    assert!(err.contains("\n  next: stop that one"), "{err}");
    assert_eq!(first.get_json("/readyz").0, 200, "the first goes on");
    // Another node has a folder of its own beside it.
    let other = Node::start(root.path(), &["--node-id", "2"]);
    assert!(other.banner.contains("node n2 of "), "{}", other.banner);
}

#[test]
fn a_folder_that_is_not_this_node_s_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &["--node-id", "7"]);
    node.signal(Signal::TERM);
    assert_eq!(node.end().0, 0);
    fs::rename(root.path().join("node_7"), root.path().join("node_1")).unwrap();
    fs::create_dir_all(root.path().join("node_2/user_data/data_plane")).unwrap();
    fs::write(root.path().join("not-a-folder"), "x").unwrap();
    for (below, args, expected) in [
        ("", &[][..], "belongs to node n7, and this node is n1"),
        ("", &["--node-id", "2"], "holds \"user_data\" but no identity.json"),
        ("not-a-folder", &[], "cannot make the folder"),
    ] {
        let root = root.path().join(below);
        let refused = command(&root, args).output().unwrap();
        let err = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{err}");
        assert!(err.contains(expected) && err.contains("\n  next: "), "{expected}: {err}");
    }
}

#[test]
fn a_node_that_lost_its_metadata_log_founds_no_second_one_under_the_same_name() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &[]);
    node.signal(Signal::TERM);
    assert_eq!(node.end().0, 0);
    fs::remove_dir_all(root.path().join("node_1/raft_meta")).unwrap();
    let refused = command(root.path(), &[]).output().unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{err}");
    assert!(err.contains("has no metadata log") && err.contains("\n  next: "), "{err}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = Command::new(env!("CARGO_BIN_EXE_walrusd"))
        .args(["--admin-port", &port, "--client-port", "0", "--raft-port", "0", "--data-dir"])
        .arg(root.path())
        .output()
        .unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("cannot listen for operators on 127.0.0.1:{port}")), "{err}");
}

#[test]
fn a_log_file_is_appended_to_and_one_that_cannot_be_opened_is_named() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("w.log");
    fs::write(&log, "before\n").unwrap();
    let node = Node::start(root.path(), &["--log-file", log.to_str().unwrap()]);
    node.signal(Signal::TERM);
    assert_eq!(node.end(), (0, String::new()));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("before\n") && text.contains("stopped"), "{text}");

    let refused = command(root.path(), &["--log-file", "/nowhere/w.log"]).output().unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert!(err.contains("\"/nowhere/w.log\" cannot be opened"), "{err}");
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_node_that_failed_says_why_and_ends_with_1() {
    let root = tempfile::tempdir().unwrap();
    for (hook, why) in
        [("/test/fail", "a test asked for it"), ("/test/panic", "\"test-panic\" panicked")]
    {
        let node = Node::start(root.path(), &["--enable-test-hooks"]);
        assert_eq!(node.ask("POST", hook).0, 202);
        let (code, err) = node.end();
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(why), "{why}: {err}");
    }
    let run = fs::read_to_string(root.path().join("node_1/run.json")).unwrap();
    assert!(run.contains("\"clean\": false"), "{run}");
}

#[test]
fn a_second_signal_ends_a_node_that_still_drains() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &["--enable-test-hooks"]);
    assert_eq!(node.ask("POST", "/test/hang").0, 202);
    node.signal(Signal::TERM);
    let begun = std::time::Instant::now();
    while node.get_json("/readyz").1["state"] != "draining" {
        assert!(begun.elapsed() < PATIENCE, "it never drains");
        thread::yield_now();
    }
    let (code, body) = node.get_json("/readyz");
    assert_eq!(
        (code, &body["reason"]),
        (503, &Value::from("draining: the node was asked to stop"))
    );
    assert_eq!(node.get_json("/healthz").0, 200, "a node that drains is healthy");
    node.signal(Signal::TERM);
    let (code, err) = node.end();
    assert_eq!(code, 130, "{err}");
}
