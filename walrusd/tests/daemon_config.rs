//! What `walrusd` says of its settings, on the real binary: help, man page, `config print`, and
//! every kind of refusal. Nothing here starts a broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// A run of the binary, in an empty folder, with an environment of its own.
struct Run<'a> {
    args: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    /// `w.yaml` in that folder.
    file: Option<&'a str>,
}

impl Run<'_> {
    #[track_caller]
    fn go(&self) -> (i32, String, String) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = self.file {
            fs::write(folder.path().join("w.yaml"), text).unwrap();
        }
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_walrusd"))
            .args(self.args)
            .current_dir(folder.path())
            .env_clear()
            .envs(self.env.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| Path::new(name) == Path::new("w.yaml")), "left {left:?}");
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

#[track_caller]
fn print(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Vec<Value> {
    let args: Vec<&str> =
        ["config", "print", "-o", "json"].into_iter().chain(args.iter().copied()).collect();
    let (code, out, err) = Run { args: &args, env, file }.go();
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    document["items"].as_array().unwrap().clone()
}

/// Value and source of a setting, like `9091 default`.
#[track_caller]
fn one(items: &[Value], key: &str) -> String {
    let item = items.iter().find(|item| item["key"] == key).unwrap();
    let source = &item["source"];
    let name = source["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
    let line = source["line"].as_u64().map(|line| format!(" line {line}")).unwrap_or_default();
    format!("{} {}{name}{line}", item["value"], source["kind"].as_str().unwrap())
}

#[test]
fn help_shows_examples_variables_and_exit_codes() {
    for flag in ["-h", "--help"] {
        let (code, out, _) = Run { args: &[flag], env: &[], file: None }.go();
        assert_eq!(code, 0);
        for part in [
            "Examples:\n  walrusd\n",
            "kcat -P -b 127.0.0.1:9091",
            "WALRUS_DISABLE_IO_URING",
            "Exit status:",
            "--client-advertise",
            "[alias: --port]",
        ] {
            assert!(out.contains(part), "{flag} shows no {part:?}:\n{out}");
        }
    }
    let (code, out, _) = Run { args: &["--version"], env: &[], file: None }.go();
    assert_eq!((code, out), (0, format!("walrusd {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_setting_is_in_the_man_page_and_in_the_keys() {
    let (_, man, _) = Run { args: &["man"], env: &[], file: None }.go();
    let (_, keys, _) = Run { args: &["config", "keys"], env: &[], file: None }.go();
    assert!(man.starts_with(".ie"), "{man}");
    for item in print(&[], &[], None) {
        let key = item["key"].as_str().unwrap();
        assert!(keys.contains(&format!("{key}\n    ")), "{key}");
        assert!(man.contains(&key.replace('-', "\\-")), "{key} is not in {man}");
    }
}

#[test]
fn a_flag_stands_above_the_environment_that_above_the_file_that_above_the_default() {
    let file =
        "# mine\nsegments:\n  check-ms: 20\n  entries-max: 30\nclient:\n  port: 1\n  host: '::1'\n";
    let env = [("WALRUS_MONITOR_CHECK_MS", "40"), ("WALRUS_RETENTION_BYTES", "")];
    let items = print(&["--config", "w.yaml", "--port", "2"], &env, Some(file));
    for (key, expected) in [
        ("segments.check-ms", "40 env WALRUS_MONITOR_CHECK_MS"),
        ("segments.entries-max", "30 file line 4"),
        ("client.port", "2 flag --client-port"),
        ("client.host", "\"::1\" file line 7"),
        ("raft.port", "6001 default"),
        ("topics.retention-bytes", "-1 default"),
        ("node.id", "1 default"),
    ] {
        assert_eq!(one(&items, key), expected, "{key}");
    }
}

#[test]
fn what_is_printed_as_yaml_is_read_back_as_the_same() {
    let args = &["--node-id", "n7", "--rack", "a b: #c"];
    let env = [("RUST_LOG", "info,walrusd=trace"), ("WALRUS_RETENTION_BYTES", "1GiB")];
    let print_args: Vec<&str> =
        ["config", "print", "-o", "yaml"].into_iter().chain(args.iter().copied()).collect();
    let (_, yaml, _) = Run { args: &print_args, env: &env, file: None }.go();
    let (first, again) =
        (print(args, &env, None), print(&["--config", "w.yaml"], &[], Some(&yaml)));
    for (one, other) in first.iter().zip(&again) {
        assert_eq!((&one["key"], &one["value"]), (&other["key"], &other["value"]));
        assert_eq!(other["source"]["kind"], "file");
    }
    assert_eq!(one(&first, "topics.retention-bytes"), "1073741824 env WALRUS_RETENTION_BYTES");
}

/// Flags, variables, file.
type Given<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

/// Flags, variables, file, and the lines that the refusal must have.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

const REFUSED: &[Case<'_>] = &[
    (&["--node-id", "x"], &[], "", &["--node-id=x: node.id must be a number from 0"]),
    (&["--node-id=-1"], &[], "", &["--node-id=-1: node.id must be a number from 0"]),
    (
        &["--port", "65536"],
        &[],
        "",
        &["--client-port=65536: client.port must be a whole number in 0 ..= 65535"],
    ),
    (&["--raft-port", "6001x"], &[], "", &["--raft-port=6001x: raft.port must be"]),
    (&["--admin-port", ""], &[], "", &["--admin-port=: admin.port must be"]),
    (&["--client-host", "a b"], &[], "", &["--client-host=a b: client.host must be a host name"]),
    (
        &["--raft-host", "1.2.3.4:6001"],
        &[],
        "",
        &[
            "--raft-host=1.2.3.4:6001: raft.host must be a host name or an IP address without a port",
        ],
    ),
    (
        &["--client-advertise", "here"],
        &[],
        "",
        &["--client-advertise=here: client.advertise must be host:port"],
    ),
    (
        &["--client-advertise", "0.0.0.0:1"],
        &[],
        "",
        &["--client-advertise: client.advertise must name an address that clients can connect to"],
    ),
    (&["--log-format", "xml"], &[], "", &["--log-format=xml: log.format must be text or json"]),
    (&["--data-dir", ""], &[], "", &["--data-dir=: node.data-dir must be a path"]),
    (
        &["--join", "node1"],
        &[],
        "",
        &["--join=node1: cluster.join must be host:peerport, like node1:6001"],
    ),
    (
        &["--peers", "a:1,b"],
        &[],
        "",
        &["--peers=a:1,b: cluster.peers must be a list of host:peerport, separated by commas"],
    ),
    (
        &["--join", "a:1"],
        &[("WALRUS_PEERS", "a:1,b:2")],
        "",
        &["WALRUS_PEERS: cluster.peers is given and so is cluster.join (a:1)"],
    ),
    (
        &[],
        &[],
        "cluster:\n  peers: [a:1, b:2, a:1]\n",
        &["w.yaml:2: cluster.peers names a:1 twice: name every node once"],
    ),
    (
        &["--join", "a:1", "--raft-host", "0.0.0.0", "--raft-port", "0"],
        &[],
        "",
        &[
            "raft.advertise-host must name an address that other nodes can connect to, for \
             cluster.join is given, and 0.0.0.0 is none",
            "--raft-port: raft.port is 0, and cluster.join is given: other nodes must find this \
             one at the same port",
        ],
    ),
    (
        &["--await-bootstrap", "--join", "a:1"],
        &[],
        "",
        &["--await-bootstrap: cluster.await-bootstrap waits to be told what cluster.join"],
    ),
    (&["--port", "6001"], &[], "", &["raft.port is 6001 and so is client.port"]),
    (
        &[],
        &[("WALRUS_MAX_SEGMENT_ENTRIES", "0")],
        "",
        &["WALRUS_MAX_SEGMENT_ENTRIES=0: segments.entries-max must be"],
    ),
    (
        &[],
        &[("WALRUS_MAX_SEGMENT_BYTES", "1e9")],
        "",
        &["WALRUS_MAX_SEGMENT_BYTES=1e9: segments.bytes-max must be bytes in 1024"],
    ),
    (
        &[],
        &[("WALRUS_RETENTION_BYTES", "lots")],
        "",
        &["WALRUS_RETENTION_BYTES=lots: topics.retention-bytes must be"],
    ),
    (
        &[],
        &[("WALRUS_RETENTION_GENERATIONS", "-2")],
        "",
        &["WALRUS_RETENTION_GENERATIONS=-2: topics.retention-generations must be"],
    ),
    (
        &[],
        &[("WALRUS_MONITOR_CHECK_MS", "9")],
        "",
        &["WALRUS_MONITOR_CHECK_MS=9: segments.check-ms must be milliseconds in 10 ..="],
    ),
    (
        &[],
        &[("WALRUS_DISABLE_IO_URING", "maybe")],
        "",
        &["WALRUS_DISABLE_IO_URING=maybe: storage.disable-io-uring must be true or false"],
    ),
    (
        &[],
        &[("RUST_LOG", "walrusd=loud")],
        "",
        &["RUST_LOG=walrusd=loud: log.filter must be a filter"],
    ),
    (
        &[],
        &[],
        "storage:\n  wal-ring-bytes: 1MiB\n",
        &["w.yaml:2: storage.wal-ring-bytes: 1MiB: must be bytes in 67108864 ..="],
    ),
    (
        &[],
        &[],
        "\nclient:\n  prot: 1\n",
        &["w.yaml:3: client.prot is no setting; did you mean client.port?"],
    ),
    (
        &[],
        &[],
        "topics:\n  zzz: 1\n",
        &["w.yaml:2: topics.zzz is no setting; topics has topics.auto-create, "],
    ),
    (
        &[],
        &[],
        "num.partitions: 3\n",
        &["w.yaml:1: num.partitions is no setting; did you mean topics.partitions?"],
    ),
    (
        &[],
        &[],
        "zoo:\n  lion: 1\n",
        &["w.yaml:2: zoo.lion is no setting; the sections are node, cluster, client"],
    ),
    (
        &[],
        &[],
        "topics:\n  partitions: {a: 1}\n",
        &["w.yaml:2: topics.partitions must be one value"],
    ),
    (&[], &[], "topics:\n  partitions: 1\n  partitions: 2\n", &["w.yaml:", "duplicate"]),
    (&[], &[], "topics: [\n", &["w.yaml:"]),
    (&[], &[], "- 1\n", &["w.yaml:1: the file must be a mapping of sections"]),
    (
        &[],
        &[],
        "storage:\n  wal-ring-bytes: 64MiB\n  hot-tail-bytes: 16MiB\ntopics:\n  message-bytes-max: 16MiB\n",
        &[
            "w.yaml:5: topics.message-bytes-max is 16777216 and must be at most 4194304, which is half a file of the WAL ring",
        ],
    ),
    (
        &[],
        &[],
        "storage:\n  hot-tail-bytes: 1GiB\n",
        &[
            "w.yaml:2: storage.hot-tail-bytes is 1073741824 and must be at most half of storage.wal-ring-bytes",
        ],
    ),
    (
        &[],
        &[],
        "topics:\n  min-insync-replicas: 4\n",
        &["w.yaml:2: topics.min-insync-replicas is 4 and must be at most 3"],
    ),
    (
        &[],
        &[],
        "memory:\n  requests-bytes-max: 8MiB\n",
        &["client.request-bytes-max is 104857600 and must be at most 8388608"],
    ),
    (
        &[],
        &[],
        "topics:\n  durability: os\n",
        &["w.yaml:2: topics.durability is os, which is not built yet"],
    ),
    // Everything that is wrong is told at once.
    (
        &["--port", "x"],
        &[("RUST_LOG", "=")],
        "admin:\n  port: y\n",
        &["--client-port=x:", "RUST_LOG==:", "w.yaml:2: admin.port: y:"],
    ),
];

#[test]
fn every_bad_value_is_refused_with_its_name_and_place_before_anything_is_touched() {
    for (args, env, file, expected) in REFUSED {
        let mut args = args.to_vec();
        if !file.is_empty() {
            args.extend(["--config", "w.yaml"]);
        }
        let (code, out, err) = Run { args: &args, env, file: Some(file) }.go();
        assert_eq!((code, out.as_str()), (2, ""), "{args:?} {env:?} {file:?}: {err}");
        for line in *expected {
            assert!(err.contains(line), "{args:?} {env:?} {file:?} wants {line:?}:\n{err}");
        }
        assert!(err.starts_with("walrusd: ") && err.contains("\n  next: "), "{err}");
    }
}

#[test]
fn a_cluster_is_joined_or_formed_by_any_kind_of_setting() {
    let kinds: [Given<'_>; 3] = [
        (&["--join", "node1:6001"], &[], ""),
        (&[], &[("WALRUS_JOIN", "node1:6001")], ""),
        (&[], &[], "cluster:\n  join: node1:6001\n"),
    ];
    let lists: [Given<'_>; 3] = [
        (&["--peers", "a:1,b:2"], &[], ""),
        (&[], &[("WALRUS_PEERS", "a:1, b:2")], ""),
        (&[], &[], "cluster:\n  peers:\n    - a:1\n    - b:2\n"),
    ];
    for (key, kinds, expected) in
        [("cluster.join", kinds, "\"node1:6001\""), ("cluster.peers", lists, "[\"a:1\",\"b:2\"]")]
    {
        for (args, env, file) in kinds {
            let mut args = args.to_vec();
            args.extend(["--config", "w.yaml"]);
            let found = one(&print(&args, env, Some(file)), key);
            assert!(found.starts_with(&format!("{expected} ")), "{found}");
        }
    }
    let (_, help, _) = Run { args: &["--help"], env: &[], file: None }.go();
    assert!(help.contains("--join node1:6001") && help.contains("--peers 10.0.0.1"), "{help}");
}

#[test]
fn a_file_that_is_not_there_and_a_flag_that_is_unknown_are_refused() {
    let (code, _, err) = Run { args: &["--config", "none.yaml"], env: &[], file: None }.go();
    assert_eq!(code, 2);
    assert!(err.contains("\"none.yaml\" (from --config) cannot be read"), "{err}");
    let (code, _, err) = Run { args: &["--prot", "1"], env: &[], file: None }.go();
    assert_eq!(code, 2);
    assert!(err.contains("--port"), "a similar flag is named: {err}");
}

#[test]
fn a_variable_that_nobody_reads_is_told() {
    let env = [("WALRUS_RETENTION_BYTE", "1")];
    let (code, _, err) = Run { args: &["config", "print"], env: &env, file: None }.go();
    assert_eq!(code, 0);
    assert!(err.contains("WALRUS_RETENTION_BYTE is set and means nothing to walrusd"), "{err}");
}
