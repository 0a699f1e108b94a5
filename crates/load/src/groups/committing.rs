//! When each commit of librdkafka's members was acknowledged, while something is done to their
//! coordinator, and whether they were told of a rebalance.
//!
//! As in [`crate::pauses`], whoever runs this does the deed and ends standard input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, ClientContext};
use serde::Serialize;

use super::{Reasons, count};
use crate::client::Cluster;
use crate::pace::nanos;
use crate::pauses::{at_end_of_input, say_going};

/// Until all partitions are somebody's.
const ASSIGNED_MAX: Duration = Duration::from_secs(60);

/// Who commits, and how often.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct CommittingSettings {
    /// Name of the topic; it must be there
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// Its partitions
    #[arg(long, short = 'p', default_value_t = 6)]
    pub partitions: usize,
    /// Name of the group
    #[arg(long, default_value = "committing")]
    pub group: String,
    /// Its members
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub members: u16,
    /// A member's time between commits
    #[arg(long, default_value_t = 50)]
    pub every_ms: u64,
    /// Longest that it runs, in seconds
    #[arg(long, default_value_t = 120.0)]
    pub seconds: f64,
}

/// The instants of all commits.
#[derive(Debug, Clone, Serialize)]
pub struct CommittingReport {
    pub settings: CommittingSettings,
    /// The wall clock at the start, in seconds since 1970; all else is counted from it.
    pub started_unix_s: f64,
    pub members: Vec<MemberReport>,
}

/// One member's.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemberReport {
    /// When commits were asked for and acknowledged, in µs since the start.
    pub committed_us: Vec<(u64, u64)>,
    /// Commits that the client gave up.
    pub failed: Reasons,
    /// Rebalances that it was told of since all partitions were somebody's.
    pub rebalances: u64,
}

/// Counts what librdkafka tells of rebalances.
#[derive(Debug, Default)]
pub(super) struct Told(AtomicU64);

impl Told {
    pub(super) fn rebalances(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientContext for Told {}

impl ConsumerContext for Told {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, _rebalance: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs the workload until standard input ends. Says `going` on standard error as soon as all
/// partitions are somebody's and every member has committed.
pub fn run(cluster: &Cluster, settings: &CommittingSettings) -> Result<CommittingReport> {
    let config = cluster.member(&settings.group)?;
    let ended = at_end_of_input()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set")?;
    let all = Arc::new(All {
        settings: settings.clone(),
        start: Instant::now(),
        ended,
        assigned: AtomicU64::new(0),
        ready: AtomicU64::new(0),
        going: AtomicBool::new(false),
    });
    let threads: Vec<_> = (0..settings.members)
        .map(|_| {
            let (all, config) = (Arc::clone(&all), config.clone());
            thread::spawn(move || member(&all, &config))
        })
        .collect();
    while all.ready.load(Ordering::Acquire) < u64::from(settings.members)
        && !threads.iter().any(thread::JoinHandle::is_finished)
    {
        thread::sleep(Duration::from_millis(10));
    }
    all.going.store(true, Ordering::Release);
    say_going()?;
    let mut members = Vec::new();
    for thread in threads {
        members.push(thread.join().expect("a member has nothing to panic about")?);
    }
    Ok(CommittingReport {
        settings: settings.clone(),
        started_unix_s: since_epoch.as_secs_f64(),
        members,
    })
}

/// What all members know.
struct All {
    settings: CommittingSettings,
    start: Instant,
    ended: Arc<AtomicBool>,
    /// Partitions that members had when they looked last.
    assigned: AtomicU64,
    /// Members that have their partitions and a commit.
    ready: AtomicU64,
    /// All are.
    going: AtomicBool,
}

fn member(all: &All, config: &ClientConfig) -> Result<MemberReport> {
    let consumer: BaseConsumer<Told> = config.create_with_context(Told::default())?;
    consumer.subscribe(&[&all.settings.topic])?;
    let places = until_shared(all, &consumer)?;
    let mut report = MemberReport::default();
    let (mut offset, mut ready, mut before) = (0, false, None);
    while !all.ended.load(Ordering::Acquire)
        && all.start.elapsed().as_secs_f64() < all.settings.seconds
    {
        commit(all, &consumer, &places, &mut offset, &mut report)?;
        if !ready && !report.committed_us.is_empty() {
            ready = true;
            all.ready.fetch_add(1, Ordering::AcqRel);
        }
        if before.is_none() && all.going.load(Ordering::Acquire) {
            before = Some(consumer.context().rebalances());
        }
    }
    report.rebalances = consumer.context().rebalances() - before.context("it never began")?;
    Ok(report)
}

/// Polls until the members have all partitions among them; this member's.
fn until_shared(all: &All, consumer: &BaseConsumer<Told>) -> Result<TopicPartitionList> {
    let mut mine = 0;
    let partitions = u64::try_from(all.settings.partitions)?;
    while all.start.elapsed() < ASSIGNED_MAX {
        drop(consumer.poll(Duration::from_millis(20)));
        let assigned = consumer.assignment()?;
        let now = u64::try_from(assigned.count())?;
        all.assigned.fetch_add(now, Ordering::AcqRel);
        all.assigned.fetch_sub(mine, Ordering::AcqRel);
        mine = now;
        let fair = partitions / u64::from(all.settings.members);
        if all.assigned.load(Ordering::Acquire) == partitions && mine == fair {
            return Ok(assigned);
        }
    }
    bail!("a member has {mine} partitions of {partitions}")
}

fn commit(
    all: &All,
    consumer: &BaseConsumer<Told>,
    places: &TopicPartitionList,
    offset: &mut i64,
    report: &mut MemberReport,
) -> Result<()> {
    drop(consumer.poll(Duration::from_millis(all.settings.every_ms)));
    *offset += 1;
    let mut next = TopicPartitionList::new();
    for place in places.elements() {
        next.add_partition_offset(place.topic(), place.partition(), Offset::Offset(*offset))?;
    }
    let asked_us = nanos(all.start.elapsed()) / 1000;
    match consumer.commit(&next, CommitMode::Sync) {
        Ok(()) => report.committed_us.push((asked_us, nanos(all.start.elapsed()) / 1000)),
        Err(why) => count(
            &mut report.failed,
            why.rdkafka_error_code().map_or_else(|| why.to_string(), |code| format!("{code:?}")),
        ),
    }
    Ok(())
}
