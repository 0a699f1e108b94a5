//! Commits of offsets, one in flight for each consumer: as fast as they are answered, or at a rate.
//!
//! A commit is an OffsetCommit of one partition by a client that is no member, which is what tools
//! and clients with partitions of their own choosing send; that of a member takes the same way
//! through a broker. At a rate a commit is due by the timetable of [`crate::pace`] and its latency
//! counts from then on, whatever its consumer was waiting for: the commit before, or the timer,
//! which rings every millisecond. Afterwards every consumer asks for its offset, which must be the
//! last one that was acknowledged.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::link::{Finder, Link, RETRY};
use super::{Reasons, count, name_of};
use crate::client::Cluster;
use crate::latency::{Latencies, LatencySummary};
use crate::pace::{Pace, Window, nanos};
use crate::process::{self, Cost, Meter};
use crate::produce::as_f64;

const COMMIT_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 5;
/// Something is broken when a commit takes so long.
const COMMIT_MAX: Duration = Duration::from_secs(60);
/// What is due at a rate and was not sent so long after the window is given up.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Who commits what.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct CommitsSettings {
    /// Name of the topic; it must be there
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// Its partitions
    #[arg(long, short = 'p', default_value_t = 6)]
    pub partitions: usize,
    /// Consumers, each with a connection and one commit in flight
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumers: u16,
    /// Groups that they are spread over; 0 is one for each. Those of one group commit for
    /// partitions of their own
    #[arg(long, default_value_t = 0)]
    pub groups: u16,
    /// What the groups' names begin with
    #[arg(long, default_value = "commits")]
    pub group: String,
    /// Commits per second of all together; 0 is as fast as they are answered
    #[arg(long, short = 'r', default_value_t = 0)]
    pub rate: u64,
    /// Seconds before the measured window
    #[arg(long, default_value_t = 5.0)]
    pub warmup: f64,
    /// Seconds of the measured window
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Measure CPU and memory of this process in the window; may be repeated, all are added up
    #[arg(long)]
    pub broker_pid: Vec<u32>,
}

impl CommitsSettings {
    /// The group and the partition of a consumer.
    fn place(&self, consumer: u16) -> Result<(String, i32)> {
        let groups = if self.groups == 0 { self.consumers } else { self.groups };
        let partition = consumer / groups;
        if usize::from(partition) >= self.partitions {
            bail!("{} partitions are too few for {} consumers", self.partitions, self.consumers);
        }
        Ok((format!("{}-{}", self.group, consumer % groups), i32::from(partition)))
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct CommitsReport {
    pub settings: CommitsSettings,
    /// Length of the measured window.
    pub seconds: f64,
    /// Commits that were acknowledged in the window.
    pub committed: u64,
    pub commits_per_s: f64,
    /// From the instant when a commit was due; as fast as possible, from when it was sent.
    pub latency: LatencySummary,
    /// Why commits were sent again, warm-up included.
    pub repeated: Reasons,
    /// Commits that were due and never sent; their latency is the time that they waited.
    pub given_up: u64,
    /// Consumers whose offset was the last one acknowledged; it is an error if one is not.
    pub verified: usize,
    /// How late a timer rang at worst: the client's share of the latency.
    pub timer_late_max_us: u64,
    pub broker: Option<Cost>,
    pub broker_cpu_s_per_million: Option<f64>,
    pub client_cpu_s: f64,
}

/// Runs the workload on one thread.
pub fn run(cluster: &Cluster, settings: &CommitsSettings) -> Result<CommitsReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_here(cluster, settings))
}

async fn run_here(cluster: &Cluster, settings: &CommitsSettings) -> Result<CommitsReport> {
    let window = Window::new(
        Duration::try_from_secs_f64(settings.warmup).context("--warmup")?,
        Duration::try_from_secs_f64(settings.seconds).context("--seconds")?,
    );
    let mut consumers = Vec::new();
    for number in 0..settings.consumers {
        let (group, partition) = settings.place(number)?;
        let finder = Finder::new(&cluster.bootstrap, number.into());
        let mut consumer = Consumer::new(finder, &group, &settings.topic, partition);
        consumer.commit(1).await?;
        consumers.push(consumer);
    }
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (number, mut consumer) in (0_u64..).zip(consumers) {
        let timetable = Timetable { start, window, number, of: settings.consumers.into() };
        let rate = settings.rate;
        running.spawn(async move {
            let done = match rate {
                0 => consumer.run_freely(timetable).await,
                rate => consumer.run_paced(timetable, Pace::PerSecond(rate)).await,
            };
            done.map(|()| consumer)
        });
    }
    let (broker, client_cpu_s) = measure(settings, start, window).await?;
    let mut consumers = Vec::new();
    while let Some(done) = running.join_next().await {
        consumers.push(done??);
    }
    for consumer in &mut consumers {
        consumer.verify().await?;
    }
    Ok(report(settings, window, consumers, (broker, client_cpu_s)))
}

/// When a consumer, one of several, commits.
#[derive(Debug, Clone, Copy)]
struct Timetable {
    start: Instant,
    window: Window,
    number: u64,
    of: u64,
}

impl Timetable {
    fn now_ns(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

async fn measure(
    settings: &CommitsSettings,
    start: Instant,
    window: Window,
) -> Result<(Option<Cost>, f64)> {
    sleep_until((start + Duration::from_nanos(window.start_ns)).into()).await;
    let meter = Meter::start(&settings.broker_pid)?;
    let before_s = process::usage(std::process::id())?.cpu_s;
    sleep_until((start + Duration::from_nanos(window.end_ns)).into()).await;
    let client_cpu_s = process::usage(std::process::id())?.cpu_s - before_s;
    Ok((meter.map(Meter::finish).transpose()?, client_cpu_s))
}

fn report(
    settings: &CommitsSettings,
    window: Window,
    consumers: Vec<Consumer>,
    (broker, client_cpu_s): (Option<Cost>, f64),
) -> CommitsReport {
    let verified = consumers.len();
    let mut all = Tally::default();
    for consumer in consumers {
        all.absorb(consumer.tally);
    }
    let per_million =
        broker.filter(|_| all.committed > 0).map(|cost| cost.cpu_s * 1e6 / as_f64(all.committed));
    CommitsReport {
        settings: settings.clone(),
        seconds: window.seconds(),
        committed: all.committed,
        commits_per_s: as_f64(all.committed) / window.seconds(),
        latency: all.latencies.summary(),
        repeated: all.repeated,
        given_up: all.given_up,
        verified,
        timer_late_max_us: all.timer_late_ns / 1000,
        broker,
        broker_cpu_s_per_million: per_million,
        client_cpu_s,
    }
}

/// What consumers counted.
#[derive(Debug, Default)]
struct Tally {
    committed: u64,
    given_up: u64,
    timer_late_ns: u64,
    repeated: Reasons,
    latencies: Latencies,
}

impl Tally {
    fn acked(&mut self, window: Window, due_ns: u64, now_ns: u64) {
        if window.contains(now_ns) {
            self.committed += 1;
        }
        if window.contains(due_ns) {
            self.latencies.record(Duration::from_nanos(now_ns.saturating_sub(due_ns)));
        }
    }

    fn absorb(&mut self, other: Self) {
        self.committed += other.committed;
        self.given_up += other.given_up;
        self.timer_late_ns = self.timer_late_ns.max(other.timer_late_ns);
        self.latencies.absorb(&other.latencies);
        for (why, times) in other.repeated {
            *self.repeated.entry(why).or_default() += times;
        }
    }
}

/// One committing consumer.
struct Consumer {
    finder: Finder,
    group: StrBytes,
    link: Option<Link>,
    request: OffsetCommitRequest,
    /// The last offset that was acknowledged.
    acked: i64,
    tally: Tally,
}

impl Consumer {
    fn new(finder: Finder, group: &str, topic: &str, partition: i32) -> Self {
        let group = StrBytes::from_string(group.to_owned());
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(StrBytes::new()));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(group.clone()))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        Self { finder, group, link: None, request, acked: 0, tally: Tally::default() }
    }

    async fn run_freely(&mut self, timetable: Timetable) -> Result<()> {
        loop {
            let sent_ns = timetable.now_ns();
            if sent_ns >= timetable.window.end_ns {
                return Ok(());
            }
            self.commit(self.acked + 1).await?;
            self.tally.acked(timetable.window, sent_ns, timetable.now_ns());
        }
    }

    async fn run_paced(&mut self, timetable: Timetable, pace: Pace) -> Result<()> {
        let Timetable { start, window, number, of } = timetable;
        let drained_ns = window.end_ns + nanos(DRAIN_MAX);
        for index in (0..).map(|round| round * of + number) {
            let due_ns = pace.due_ns(index).expect("a rate has due times");
            if due_ns >= window.end_ns {
                break;
            }
            if timetable.now_ns() < due_ns {
                sleep_until((start + Duration::from_nanos(due_ns)).into()).await;
                let late_ns = timetable.now_ns().saturating_sub(due_ns);
                self.tally.timer_late_ns = self.tally.timer_late_ns.max(late_ns);
            }
            if timetable.now_ns() < drained_ns {
                self.commit(self.acked + 1).await?;
            } else {
                self.tally.given_up += 1;
            }
            self.tally.acked(window, due_ns, timetable.now_ns());
        }
        Ok(())
    }

    /// Commits until it is acknowledged.
    async fn commit(&mut self, offset: i64) -> Result<()> {
        self.request.topics[0].partitions[0].committed_offset = offset;
        let began = Instant::now();
        loop {
            match self.commit_once().await {
                Ok(()) => {
                    self.acked = offset;
                    return Ok(());
                }
                Err(why) if began.elapsed() > COMMIT_MAX => return Err(why),
                Err(why) => {
                    count(&mut self.tally.repeated, why.to_string());
                    self.link = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn commit_once(&mut self) -> Result<()> {
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(self.finder.connect(&self.group).await?.1),
        };
        let answer = link.ask(COMMIT_VERSION, &self.request).await?;
        let told = answer.topics.first().and_then(|topic| topic.partitions.first());
        match told.context("an answer without the partition")?.error_code {
            0 => Ok(()),
            code => bail!(name_of(code)),
        }
    }

    /// Asks for the offset, which must be the one that was acknowledged last.
    async fn verify(&mut self) -> Result<()> {
        let wanted = &self.request.topics[0];
        let partition = wanted.partitions[0].partition_index;
        let topic = OffsetFetchRequestTopic::default()
            .with_name(wanted.name.clone())
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_topics(Some(vec![topic]));
        let (_, mut link) = self.finder.wait(&self.group, COMMIT_MAX).await?;
        let answer = link.ask(FETCH_VERSION, &request).await?;
        let told = answer.topics.first().and_then(|topic| topic.partitions.first());
        let told = told.context("an answer without the partition")?;
        ensure!(
            answer.error_code == 0 && told.error_code == 0 && told.committed_offset == self.acked,
            "{} acknowledged {}, and its offset is {} ({}, {})",
            self.group.as_str(),
            self.acked,
            told.committed_offset,
            name_of(answer.error_code),
            name_of(told.error_code),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(consumers: u16, groups: u16, partitions: usize) -> CommitsSettings {
        CommitsSettings {
            topic: "t".into(),
            partitions,
            consumers,
            groups,
            group: "g".into(),
            rate: 0,
            warmup: 0.0,
            seconds: 1.0,
            broker_pid: Vec::new(),
        }
    }

    #[test]
    fn no_two_consumers_commit_for_the_same_partition_of_a_group() {
        for (consumers, groups, partitions) in [(64, 0, 1), (64, 1, 64), (64, 7, 10)] {
            let settings = settings(consumers, groups, partitions);
            let places: std::collections::BTreeSet<_> =
                (0..consumers).map(|one| settings.place(one).expect("it has a place")).collect();
            assert_eq!(places.len(), usize::from(consumers), "{groups} groups");
        }
        assert!(settings(64, 1, 63).place(63).is_err());
    }

    #[test]
    fn a_commit_that_waited_for_the_one_before_is_counted_from_when_it_was_due() {
        let window = Window::new(Duration::ZERO, Duration::from_secs(2));
        let mut tally = Tally::default();
        for due_ms in 0..1000_u64 {
            tally.acked(window, due_ms * 1_000_000, 1_000_000_000);
        }
        let p50 = tally.latencies.summary().p50_us;
        assert!((499_000..=501_500).contains(&p50), "p50 {p50} us");
        assert_eq!(tally.committed, 1000);
    }
}
