//! Disks that fail and bytes that changed, under a real process.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use walrus_tests::{Node, NodeSettings, raw::RawClient, text::TextClient};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
    protocol::StrBytes,
};

/// Files of this kind below `folder`, by name.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, kind));
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit of the first of `files` that holds `marker`, inside it.
fn flip(files: &[PathBuf], marker: &[u8]) -> Result<()> {
    for path in files {
        let bytes = fs::read(path)?;
        if let Some(at) = bytes.windows(marker.len()).position(|bytes| bytes == marker) {
            let file = File::options().write(true).open(path)?;
            file.write_all_at(&[bytes[at] ^ 0x20], at as u64)?;
            return Ok(());
        }
    }
    anyhow::bail!("no file holds {:?}", String::from_utf8_lossy(marker))
}

fn fetch(client: &mut RawClient, topic: &'static str, from: i64) -> Result<PartitionData> {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(from)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    Ok(client.ask(4, &request)?.responses.remove(0).partitions.remove(0))
}

fn holds(data: &PartitionData, marker: &str) -> bool {
    let records = data.records.as_deref().unwrap_or_default();
    records.windows(marker.len()).any(|bytes| bytes == marker.as_bytes())
}

#[test]
fn a_flipped_byte_in_a_segment_is_named_and_never_served() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default().env("WALRUS_MAX_SEGMENT_ENTRIES", 10);
    let mut node = Node::start(&folder.path().join("data"), settings)?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER flips")?;
    for entry in 0..30 {
        assert_eq!(client.ask(format!("PUT flips payload-{entry:02}").as_bytes())?, b"OK");
    }
    assert!(node.terminate()?.success());
    flip(&files(node.data_dir(), "log"), b"payload-04")?;
    node.restart()?;

    let mut client = RawClient::connect(node.client_address())?;
    let damaged = fetch(&mut client, "flips", 4)?;
    assert_eq!(damaged.error_code, ResponseError::CorruptMessage.code(), "{damaged:?}");
    assert!(damaged.records.as_deref().unwrap_or_default().is_empty());
    // Whatever of the segment is served before it, the changed record is not in it.
    assert!(!holds(&fetch(&mut client, "flips", 0)?, "ayload-04"));
    let sound = fetch(&mut client, "flips", 10)?;
    assert!(sound.error_code == 0 && holds(&sound, "payload-10"), "other segments are served");
    let log = node.log();
    assert!(
        log.contains("damaged bytes were found") && log.contains("offsets 4 to 5 are damaged"),
        "{log}"
    );
    Ok(())
}

#[test]
fn a_flipped_byte_in_the_wal_before_its_tail_is_named_and_never_served() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER flips")?;
    for entry in 0..30 {
        assert_eq!(client.ask(format!("PUT flips payload-{entry:02}").as_bytes())?, b"OK");
    }
    node.kill()?;
    // Nothing of it is in a segment file that early, or what is there is cut off with it.
    for log in files(node.data_dir(), "log") {
        File::options().write(true).open(log)?.set_len(0)?;
    }
    flip(&files(node.data_dir(), "wal"), b"payload-04")?;
    node.restart()?;

    let mut client = RawClient::connect(node.client_address())?;
    let damaged = fetch(&mut client, "flips", 4)?;
    assert_eq!(damaged.error_code, ResponseError::KafkaStorageError.code(), "{damaged:?}");
    let log = node.log();
    assert!(log.contains("damaged records were found") && log.contains("from=4 to=5"), "{log}");
    Ok(())
}

/// Makes every flush of a process fail from now on; `None` without strace on this machine.
fn fail_flushes(pid: u32) -> Result<Option<Child>> {
    let tracing = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()])
        .args(["-e", "trace=fdatasync,fsync,syncfs"])
        .args(["-e", "inject=fdatasync,fsync,syncfs:error=EIO"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(tracing) = tracing else { return Ok(None) };
    let began = Instant::now();
    while !is_traced(pid)? {
        ensure!(began.elapsed() < Duration::from_secs(20), "strace did not attach");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(Some(tracing))
}

/// Whether every thread of a process is traced.
fn is_traced(pid: u32) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        if status.contains("TracerPid:\t0\n") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn a_failed_flush_is_never_acked_and_ends_the_node_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER t")?;
    for entry in 0..10 {
        assert_eq!(client.ask(format!("PUT t {entry}").as_bytes())?, b"OK");
    }
    let Some(mut tracing) = fail_flushes(node.pid()?)? else {
        println!("skipped: strace is not on this machine");
        return Ok(());
    };
    let answer = client.ask(b"PUT t unflushed");
    assert!(!answer.is_ok_and(|answer| answer == b"OK"), "a failed flush was acked");
    let status = node.ended()?;
    tracing.wait()?;
    assert!(!status.success(), "{status}");
    let log = node.log();
    assert!(log.contains("the node cannot go on"), "{log}");

    node.restart()?;
    let mut client = TextClient::connect(node.client_address())?;
    for entry in 0..10 {
        assert_eq!(client.ask(b"GET t")?, format!("OK {entry}").as_bytes());
    }
    Ok(())
}
