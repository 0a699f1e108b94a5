//! How a workload's client is set up: the settings all workloads share, and librdkafka's own.
//!
//! A workload says what it means (acks, linger, batch bytes); this file says it to librdkafka.
//! `-X key=value` comes last, so that any property of librdkafka can be set from outside.

use anyhow::{Result, bail};
use rdkafka::ClientConfig;
use serde::Serialize;

/// What makes a produced record count as acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// Handed to the socket.
    #[value(name = "0")]
    None,
    /// The leader has it.
    #[value(name = "1")]
    Leader,
    /// Every replica that must have it has it.
    All,
}

impl Acks {
    fn as_property(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        }
    }
}

/// The codecs this build of librdkafka has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
}

impl Compression {
    fn as_property(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
}

/// Where the cluster is, and properties of librdkafka that override everything else.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct Cluster {
    /// First address to ask, host:port, comma-separated
    #[arg(long, short = 'b', default_value = "127.0.0.1:9091", global = true)]
    pub bootstrap: String,
    /// Set any property of librdkafka; may be repeated
    #[arg(short = 'X', value_name = "KEY=VALUE", global = true)]
    pub properties: Vec<String>,
}

impl Cluster {
    /// A cluster with nothing overridden.
    pub fn at(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), properties: Vec::new() }
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "walrus-load")
            // Nagle's delay would be measured as the broker's latency.
            .set("socket.nagle.disable", "true")
            // Loopback names resolve to ::1 first; brokers under test listen on IPv4.
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "3");
        config
    }

    fn with_overrides(&self, mut config: ClientConfig) -> Result<ClientConfig> {
        for property in &self.properties {
            let Some((key, value)) = property.split_once('=') else {
                bail!("-X {property}: expected KEY=VALUE, for example -X socket.timeout.ms=10000");
            };
            config.set(key, value);
        }
        Ok(config)
    }

    /// Settings of a client that makes topics or asks for metadata.
    pub fn admin(&self) -> Result<ClientConfig> {
        self.with_overrides(self.base())
    }

    /// Settings of a producer.
    pub fn producer(&self, settings: &Producing) -> Result<ClientConfig> {
        let Producing {
            acks,
            idempotence,
            linger_ms,
            batch_bytes,
            compression,
            queue_records,
            queue_kbytes,
            message_timeout_ms,
        } = settings;
        if *idempotence && *acks != Acks::All {
            bail!("--idempotence needs --acks all: a producer cannot be both idempotent and lax");
        }
        let mut config = self.base();
        config
            .set("acks", acks.as_property())
            .set("enable.idempotence", idempotence.to_string())
            .set("linger.ms", linger_ms.to_string())
            .set("batch.size", batch_bytes.to_string())
            // Only bytes and linger close a batch, as in the Java client.
            .set("batch.num.messages", "1000000")
            .set("compression.type", compression.as_property())
            .set("queue.buffering.max.messages", queue_records.to_string())
            .set("queue.buffering.max.kbytes", queue_kbytes.to_string())
            .set("message.timeout.ms", message_timeout_ms.to_string());
        self.with_overrides(config)
    }

    /// Settings of a member of a group, with the client's own sessions and heartbeats.
    pub fn member(&self, group: &str) -> Result<ClientConfig> {
        let mut config = self.base();
        config.set("group.id", group).set("auto.offset.reset", "latest");
        self.with_overrides(config)
    }

    /// Settings of a consumer that is told its partitions and commits nothing.
    pub fn consumer(&self) -> Result<ClientConfig> {
        let mut config = self.base();
        config
            // librdkafka wants a group even under assign(); nothing is ever committed to it.
            .set("group.id", "walrus-load")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "20");
        self.with_overrides(config)
    }
}

/// How a producer batches and what it waits for.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct Producing {
    /// Acknowledgement to wait for
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// Number batches so that a retry is stored once (needs --acks all)
    #[arg(long)]
    pub idempotence: bool,
    /// Longest a record waits in the client for its batch to fill
    #[arg(long, default_value_t = 5.0)]
    pub linger_ms: f64,
    /// A batch is closed at this size
    #[arg(long, default_value_t = 131_072)]
    pub batch_bytes: u32,
    /// Codec of the batches
    #[arg(long, value_enum, default_value = "none")]
    pub compression: Compression,
    /// Records the client may hold; at the limit sending waits
    #[arg(long, default_value_t = 200_000)]
    pub queue_records: u32,
    /// KiB the client may hold; at the limit sending waits
    #[arg(long, default_value_t = 65_536)]
    pub queue_kbytes: u32,
    /// A record without an ack after this time is given up
    #[arg(long, default_value_t = 60_000)]
    pub message_timeout_ms: u32,
}

impl Default for Producing {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: false,
            linger_ms: 5.0,
            batch_bytes: 131_072,
            compression: Compression::None,
            queue_records: 200_000,
            queue_kbytes: 65_536,
            message_timeout_ms: 60_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotent_producer_must_wait_for_all() {
        let cluster = Cluster::at("127.0.0.1:1");
        for (acks, allowed) in [(Acks::All, true), (Acks::Leader, false), (Acks::None, false)] {
            let settings = Producing { acks, idempotence: true, ..Producing::default() };
            assert_eq!(cluster.producer(&settings).is_ok(), allowed, "{acks:?}");
        }
    }

    #[test]
    fn properties_from_outside_win() {
        let mut cluster = Cluster::at("127.0.0.1:1");
        cluster.properties.push("linger.ms=77".to_owned());
        let config = cluster.producer(&Producing::default()).expect("settings are valid");
        assert_eq!(config.get("linger.ms"), Some("77"));
        cluster.properties.push("no-equals-sign".to_owned());
        assert!(cluster.producer(&Producing::default()).is_err());
    }
}
