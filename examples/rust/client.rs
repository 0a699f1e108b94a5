//! A Walrus client in Rust: Kafka's protocol through rdkafka, the text protocol by hand.
//!
//! ```sh
//! cargo run --release -p walrus-load --example client -- [HOST:PORT] [kafka|text]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:9091".to_owned());
    let part = args.next().unwrap_or_else(|| "both".to_owned());
    let run = SystemTime::UNIX_EPOCH.elapsed()?.as_millis();
    if part != "text" {
        println!("Kafka's protocol, topic letters-{run}");
        kafka(&address, &format!("letters-{run}")).await?;
    }
    if part != "kafka" {
        println!("the text protocol, topic notes-{run}");
        text(&address, &format!("notes-{run}"))?;
    }
    Ok(())
}

/// Walrus speaks Kafka's protocol, so any Kafka client will do.
async fn kafka(address: &str, topic: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let new = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}"))?;
    }

    // acks=all is answered when the record is on disk; an idempotent producer may retry as often
    // as it likes without storing a record twice.
    let producer: FutureProducer = config.clone().set("enable.idempotence", "true").create()?;
    for city in ["Tromsø", "Bodø", "Narvik"] {
        let letter = format!("a letter from {city}");
        let record = FutureRecord::to(topic).key(city).payload(&letter);
        let stored = producer.send(record, Duration::from_secs(20)).await;
        let stored = stored.map_err(|(error, _)| error).context("not delivered")?;
        println!("  stored {letter} in {topic}-{} at offset {}", stored.partition, stored.offset);
    }
    let found = read(address, topic, 3, 3)?;
    ensure!(found.len() == 3, "{} records came back", found.len());
    Ok(())
}

/// Reads `count` records from the start. It says itself which partitions it wants: `assign`.
fn read(address: &str, topic: &str, partitions: i32, count: usize) -> Result<Vec<Vec<u8>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "example")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut wanted = TopicPartitionList::new();
    for partition in 0..partitions {
        wanted.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&wanted)?;
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < count && Instant::now() < give_up {
        if let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) {
            let payload = message.payload().unwrap_or_default();
            let shown = String::from_utf8_lossy(payload);
            println!("  read {shown} from {topic}-{}", message.partition());
            found.push(payload.to_vec());
        }
    }
    Ok(found)
}

/// One question and its answer: four bytes of length, little-endian, then so many bytes.
fn ask(walrus: &mut TcpStream, command: &str, payload: &[u8]) -> Result<Vec<u8>> {
    let frame = [command.as_bytes(), payload].concat();
    walrus.write_all(&u32::try_from(frame.len())?.to_le_bytes())?;
    walrus.write_all(&frame)?;
    let mut length = [0; 4];
    walrus.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_le_bytes(length))?];
    walrus.read_exact(&mut answer)?;
    if answer.starts_with(b"ERR ") {
        bail!("{command}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(answer)
}

/// The same port understands short commands, for when a Kafka client is too much.
fn text(address: &str, topic: &str) -> Result<()> {
    let mut walrus = TcpStream::connect(address)?;
    walrus.set_read_timeout(Some(Duration::from_secs(20)))?;
    ask(&mut walrus, &format!("REGISTER {topic}"), b"")?;
    // The payload is everything after the topic and one blank: any bytes, line ends included.
    for payload in [&b"first"[..], b"second\nwith a second line", b""] {
        ask(&mut walrus, &format!("PUT {topic} "), payload)?;
    }
    for expected in [&b"OK first"[..], b"OK second\nwith a second line", b"OK ", b"EMPTY"] {
        let answer = ask(&mut walrus, &format!("GET {topic}"), b"")?;
        println!("  GET {topic}: {}", answer.escape_ascii());
        ensure!(answer == expected, "expected {}", expected.escape_ascii());
    }
    let state = ask(&mut walrus, &format!("STATE {topic}"), b"")?;
    println!("  STATE {topic}: {}", String::from_utf8_lossy(&state));
    // What was written here is ordinary records, which a Kafka client reads.
    let found = read(address, topic, 1, 3)?;
    ensure!(found.first().is_some_and(|value| value == b"first"), "another first record");
    Ok(())
}
