//! `walrus-load`: the workloads of this crate as a program.
//!
//! Results are JSON on stdout (or `--json FILE`), everything else goes to stderr. Exit code 0: it
//! ran; 1: it could not; 2: wrong arguments; 3: `verify check` found a broken promise.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use walrus_load::client::Cluster;
use walrus_load::consume::{self, ConsumeSettings};
use walrus_load::groups::commits::{self, CommitsSettings};
use walrus_load::groups::committing::{self, CommittingSettings};
use walrus_load::groups::heartbeats::{self, HeartbeatsSettings};
use walrus_load::groups::idle::{self, IdleGroupsSettings};
use walrus_load::groups::rebalance::{self, RebalanceSettings};
use walrus_load::pauses::{self, PausesSettings};
use walrus_load::produce::{self, ProduceSettings};
use walrus_load::roundtrip::{self, RoundtripSettings};
use walrus_load::topic::{self, Topics};
use walrus_load::verify::{History, VerifyProducer, VerifySettings, read_back};

const EXAMPLES: &str = "\
Examples:
  walrus-load create-topic -b 127.0.0.1:9091 -t load -p 6
  walrus-load produce -t load -p 6 -s 1024 --warmup 10 --seconds 30
  walrus-load produce -t load -p 6 --rate 5000 --linger-ms 0 --broker-pid 4711
  walrus-load roundtrip -t load --seconds 10
  walrus-load consume -t load -p 6
  sleep 10 | walrus-load pauses -t load -p 6 --rate 200
  walrus-load commits -t load -p 6 --consumers 64 --rate 10000
  walrus-load idle-groups --groups 1000 --members 3
  walrus-load verify produce -t check -p 6 --seconds 20 --history /tmp/check.jsonl
  walrus-load verify check   -t check -p 6 --history /tmp/check.jsonl";

/// Drive a Kafka-compatible broker and measure what it does
#[derive(Debug, Parser)]
#[command(name = "walrus-load", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    cluster: Cluster,
    /// Write the result here instead of to stdout
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Keep every bucket of the latency histogram in the result
    #[arg(long, global = true)]
    buckets: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make topics and wait until every partition has a leader
    CreateTopic(CreateTopic),
    /// Remove topics
    DeleteTopic(Topics),
    /// Produce in an open loop and measure throughput and latency
    Produce(Box<ProduceSettings>),
    /// Measure latency with one record in flight
    Roundtrip(RoundtripSettings),
    /// Note every ack of an idempotent producer until standard input ends
    Pauses(PausesSettings),
    /// Read topics from their start to their end
    Consume(ConsumeSettings),
    /// Commit offsets, one in flight for each consumer, and show that they are there
    Commits(CommitsSettings),
    /// Keep many groups that do nothing but heartbeat
    IdleGroups(IdleGroupsSettings),
    /// Note every heartbeat of a group until standard input ends
    Heartbeats(HeartbeatsSettings),
    /// Note every commit of librdkafka's members until standard input ends
    Committing(CommittingSettings),
    /// Have members come to a large group and go, and note how long partitions stop
    Rebalance(RebalanceSettings),
    /// Show whether what was acked is there
    #[command(subcommand)]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct CreateTopic {
    #[command(flatten)]
    topics: Topics,
    /// Copies of each partition; -1 is the cluster's default
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    replication_factor: i32,
    /// Set a config of the topic; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Verify {
    /// Produce idempotently and note what became of each value
    Produce(VerifyProduce),
    /// Read the topic back and judge it by the notes
    Check(VerifyCheck),
}

#[derive(Debug, Args)]
struct VerifyProduce {
    #[command(flatten)]
    settings: VerifySettings,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// The notes are appended to this file
    #[arg(long)]
    history: PathBuf,
}

#[derive(Debug, Args)]
struct VerifyCheck {
    #[command(flatten)]
    topics: Topics,
    /// Notes of `verify produce`; may be repeated
    #[arg(long, required = true)]
    history: Vec<PathBuf>,
    /// Give up when nothing came for this many seconds
    #[arg(long, default_value_t = 30)]
    patience: u64,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let output = Output { json: cli.json.as_deref() };
    let keep = |latency: walrus_load::latency::LatencySummary| {
        if cli.buckets { latency } else { latency.without_buckets() }
    };
    match cli.command {
        Command::CreateTopic(create) => {
            let configs = &create.config;
            topic::create(&cli.cluster, &create.topics, create.replication_factor, configs)?;
        }
        Command::DeleteTopic(topics) => topic::delete(&cli.cluster, &topics)?,
        Command::Produce(settings) => {
            let mut report = produce::run(&cli.cluster, &settings)?;
            report.latency = keep(report.latency);
            output.write(&report)?;
        }
        Command::Roundtrip(settings) => {
            let mut report = roundtrip::run(&cli.cluster, &settings)?;
            report.latency = keep(report.latency);
            output.write(&report)?;
        }
        Command::Pauses(settings) => output.write(&pauses::run(&cli.cluster, &settings)?)?,
        Command::Consume(settings) => output.write(&consume::run(&cli.cluster, &settings)?)?,
        Command::Commits(settings) => {
            let mut report = commits::run(&cli.cluster, &settings)?;
            report.latency = keep(report.latency);
            output.write(&report)?;
        }
        Command::IdleGroups(settings) => output.write(&idle::run(&cli.cluster, &settings)?)?,
        Command::Heartbeats(settings) => {
            output.write(&heartbeats::run(&cli.cluster, &settings)?)?;
        }
        Command::Committing(settings) => {
            output.write(&committing::run(&cli.cluster, &settings)?)?;
        }
        Command::Rebalance(settings) => output.write(&rebalance::run(&cli.cluster, &settings)?)?,
        Command::Verify(Verify::Produce(verify)) => {
            output.write(&verify_produce(&cli.cluster, verify)?)?;
        }
        Command::Verify(Verify::Check(check)) => {
            let mut history = History::default();
            for path in &check.history {
                history.absorb(History::load(path)?);
            }
            let patience = Duration::from_secs(check.patience);
            let verdict = read_back(&cli.cluster, &check.topics, &history, patience)?;
            output.write(&verdict)?;
            if !verdict.is_clean() {
                return Ok(ExitCode::from(3));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Produced {
    run: u64,
    acked: u64,
    outcomes: usize,
}

fn verify_produce(cluster: &Cluster, verify: VerifyProduce) -> Result<Produced> {
    let time = Duration::try_from_secs_f64(verify.seconds).context("--seconds")?;
    let history = History::appending_to(&verify.history)?;
    let producer = VerifyProducer::start(cluster, verify.settings, history)?;
    let end = Instant::now() + time;
    while Instant::now() < end && !producer.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = producer.run();
    let history = producer.stop()?;
    let acked = history
        .sent
        .iter()
        .filter(|sent| matches!(sent.outcome, walrus_load::verify::Outcome::Acked { .. }));
    Ok(Produced { run, acked: u64::try_from(acked.count())?, outcomes: history.sent.len() })
}

/// Where results go.
struct Output<'a> {
    json: Option<&'a Path>,
}

impl Output<'_> {
    fn write(&self, result: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(result)?;
        text.push('\n');
        match self.json {
            Some(path) => File::create(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display())),
            None => std::io::stdout().write_all(text.as_bytes()).context("stdout"),
        }
    }
}
