//! The text protocol by hand, beside a Kafka client on the same topic.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use walrus_tests::{Node, NodeSettings, text::TextClient};

fn node(folder: &tempfile::TempDir) -> Result<Node> {
    Node::start(&folder.path().join("data"), NodeSettings::default())
}

/// Reads `count` values of partition 0 from the start, as a Kafka client sees them.
fn read_values(node: &Node, topic: &str, count: usize) -> Result<Vec<Vec<u8>>> {
    let consumer: BaseConsumer = node.cluster().consumer()?.create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut values = Vec::new();
    while values.len() < count {
        let message = consumer.poll(Duration::from_secs(20)).context("nothing more came")?;
        match message {
            Ok(message) => values.push(message.payload().unwrap_or_default().to_vec()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(values)
}

fn produce(node: &Node, topic: &str, value: &[u8]) -> Result<()> {
    let producer: BaseProducer = node.cluster().admin()?.create()?;
    producer.send(BaseRecord::<(), [u8]>::to(topic).payload(value)).map_err(|(why, _)| why)?;
    producer.flush(Duration::from_secs(20))?;
    Ok(())
}

#[test]
fn an_entry_is_a_record_and_a_record_is_an_entry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = node(&folder)?;
    let mut client = TextClient::connect(node.client_address())?;
    assert_eq!(client.ask(b"REGISTER logs")?, b"OK");
    assert_eq!(client.ask(b"REGISTER logs")?, b"OK", "registering again changes nothing");
    let entries: [&[u8]; 6] =
        [b"hello", b"", b"  two  spaces  \n", b"\0\xff\xfe", &[b'x'; 100_000], b" "];
    for entry in entries {
        assert_eq!(client.ask(&[b"PUT logs ", entry].concat())?, b"OK");
    }
    produce(&node, "logs", b"from a Kafka client")?;
    let mut expected: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_vec()).collect();
    expected.push(b"from a Kafka client".to_vec());
    assert_eq!(read_values(&node, "logs", expected.len())?, expected);
    for entry in &expected {
        assert_eq!(client.ask(b"GET logs")?, [b"OK ", entry.as_slice()].concat());
    }
    assert_eq!(client.ask(b"GET logs")?, b"EMPTY");
    let state = String::from_utf8(client.ask(b"STATE logs")?)?;
    for key in
        ["current_segment", "leader_node", "sealed_segments", "segment_leaders", "partitions"]
    {
        assert!(state.contains(key), "{key} is missing: {state}");
    }
    let metrics = String::from_utf8(client.ask(b"METRICS")?)?;
    for key in ["state", "current_leader", "membership_config", "current_term", "last_log_index"] {
        assert!(metrics.contains(key), "{key} is missing: {metrics}");
    }
    Ok(())
}

#[test]
fn the_cursor_is_one_for_all_connections_and_survives_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut node = node(&folder)?;
    let mut first = TextClient::connect(node.client_address())?;
    let mut second = TextClient::connect(node.client_address())?;
    first.ask(b"REGISTER jobs")?;
    for entry in 0..6 {
        first.ask(format!("PUT jobs {entry}").as_bytes())?;
    }
    assert_eq!(first.ask(b"GET jobs")?, b"OK 0");
    assert_eq!(second.ask(b"GET jobs")?, b"OK 1");
    assert_eq!(first.ask(b"GET jobs")?, b"OK 2");
    // A clean stop commits the cursor; nothing comes twice.
    assert!(node.terminate()?.success());
    node.restart()?;
    let mut third = TextClient::connect(node.client_address())?;
    assert_eq!(third.ask(b"GET jobs")?, b"OK 3");
    // A crash may hand entries out again, but skips none.
    node.kill()?;
    node.restart()?;
    let mut fourth = TextClient::connect(node.client_address())?;
    let mut seen = Vec::new();
    loop {
        let answer = fourth.ask(b"GET jobs")?;
        if answer == b"EMPTY" {
            break;
        }
        seen.push(answer);
    }
    assert!(seen.ends_with(&[b"OK 4".to_vec(), b"OK 5".to_vec()]), "{seen:?}");
    Ok(())
}

#[test]
fn an_oversized_frame_ends_the_connection_and_its_bytes_are_never_commands() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = node(&folder)?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER t")?;
    // The length says more than any frame may have; what follows would be a command if it were
    // read as one.
    let mut other = std::net::TcpStream::connect(node.client_address())?;
    {
        use std::io::{Read as _, Write as _};
        other.write_all(&[0xff, 0xff, 0xff, 0x7f])?;
        for _ in 0..1000 {
            if other.write_all(b"\x08\0\0\0PUT t xx").is_err() {
                break;
            }
        }
        other.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answer = Vec::new();
        // The answer may be lost to a reset, for we go on writing.
        drop(other.read_to_end(&mut answer));
        if !answer.is_empty() {
            assert!(answer[4..].starts_with(b"ERR invalid frame length"), "{answer:?}");
        }
    }
    assert_eq!(client.ask(b"GET t")?, b"EMPTY");
    Ok(())
}

#[test]
fn what_is_no_command_gets_an_error_that_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = node(&folder)?;
    let mut client = TextClient::connect(node.client_address())?;
    for (command, part) in [
        (&b"FROB x"[..], "unknown command"),
        (b"GET", "needs a topic"),
        (b"PUT nowhere x", "unknown topic nowhere"),
        (b"GET nowhere", "unknown topic nowhere"),
        (b"STATE nowhere", "unknown topic nowhere"),
        (b"REGISTER bad/name", "ERR"),
    ] {
        let answer = String::from_utf8(client.ask(command)?)?;
        assert!(answer.starts_with("ERR ") && answer.contains(part), "{answer}");
    }
    Ok(())
}
