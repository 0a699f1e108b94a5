//! Members of librdkafka come to a large group and one goes, under steady production: how long the
//! partitions that stay where they are go without a record.
//!
//! Every record that comes is noted with its member. A partition stays if one member alone read it
//! from before the change until all have their share again; its gap is the longest time between two
//! of its records, and what it is held against is the same of a time when nobody comes or goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde::Serialize;

use super::committing::Told;
use super::{Reasons, count};
use crate::client::{Cluster, Producing};
use crate::pace::{Pace, nanos};
use crate::payload::Payloads;
use crate::produce::is_queue_full;

/// Until all have their share.
const SHARED_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time to look on when all have their share, and to be at rest before something begins.
const AFTER: Duration = Duration::from_secs(2);

/// Who comes and goes, and what is read meanwhile.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct RebalanceSettings {
    /// Name of the topic; it must be there
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// Its partitions
    #[arg(long, short = 'p', default_value_t = 100)]
    pub partitions: usize,
    /// Name of the group
    #[arg(long, default_value = "rebalance")]
    pub group: String,
    /// Members at first
    #[arg(long, default_value_t = 50)]
    pub members: usize,
    /// Members that come; one of the first goes afterwards
    #[arg(long, default_value_t = 2)]
    pub joiners: usize,
    /// librdkafka's `partition.assignment.strategy`
    #[arg(long, default_value = "cooperative-sticky")]
    pub strategy: String,
    /// Records per second to each partition
    #[arg(long, short = 'r', default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Seconds of looking on while nobody comes or goes
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct RebalanceReport {
    pub settings: RebalanceSettings,
    /// From the first member's start until all had their share.
    pub shared_s: f64,
    /// While nobody comes or goes.
    pub quiet: Phase,
    pub join: Phase,
    pub leave: Phase,
    /// Errors that members were told of.
    pub errors: Reasons,
}

/// What a time did to the partitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Until all had their share again.
    pub seconds: f64,
    /// Rebalances that all members together were told of.
    pub rebalances: u64,
    pub stayed: Gaps,
    pub moved: Gaps,
}

/// The longest gap of each of several partitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gaps {
    pub partitions: usize,
    pub p50_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

impl Gaps {
    fn of(mut gaps_us: Vec<u64>) -> Self {
        gaps_us.sort_unstable();
        let ms = |us: &u64| Duration::from_micros(*us).as_secs_f64() * 1000.0;
        Self {
            partitions: gaps_us.len(),
            p50_ms: gaps_us.get(gaps_us.len() / 2).map(ms),
            max_ms: gaps_us.last().map(ms),
        }
    }
}

/// Runs the workload.
pub fn run(cluster: &Cluster, settings: &RebalanceSettings) -> Result<RebalanceReport> {
    let quiet_for = Duration::try_from_secs_f64(settings.seconds).context("--seconds")?;
    let start = Instant::now();
    let producing = Production::start(cluster, settings, start)?;
    let mut group = Group { cluster, settings, start, members: Vec::new(), gone: Vec::new() };
    for _ in 0..settings.members {
        group.come()?;
    }
    let shared_s = group.until_shared(start)?;
    thread::sleep(2 * AFTER);
    let quiet = group.observe(|_| {
        thread::sleep(quiet_for);
        Ok(())
    })?;
    let join = group.observe(|group| (0..settings.joiners).try_for_each(|_| group.come()))?;
    thread::sleep(AFTER);
    let leave = group.observe(|group| group.go())?;
    let mut seen = Vec::new();
    let mut errors = Reasons::new();
    let staying = std::mem::take(&mut group.members);
    staying.iter().for_each(Reader::tell_to_end);
    for reader in staying.into_iter().chain(group.gone) {
        let read = reader.end()?;
        seen.extend(read.seen);
        read.errors.into_iter().for_each(|why| count(&mut errors, why));
    }
    producing.end()?;
    let arrivals = by_partition(seen, settings.partitions);
    let phase = |watched: Watched| watched.phase(&arrivals);
    Ok(RebalanceReport {
        settings: settings.clone(),
        shared_s,
        quiet: phase(quiet),
        join: phase(join),
        leave: phase(leave),
        errors,
    })
}

/// The members, while they run.
struct Group<'a> {
    cluster: &'a Cluster,
    settings: &'a RebalanceSettings,
    start: Instant,
    members: Vec<Reader>,
    gone: Vec<Reader>,
}

impl Group<'_> {
    fn come(&mut self) -> Result<()> {
        let mut config = self.cluster.member(&self.settings.group)?;
        config.set("partition.assignment.strategy", &self.settings.strategy);
        let number = self.members.len() + self.gone.len();
        self.members.push(Reader::start(number, config, &self.settings.topic, self.start)?);
        Ok(())
    }

    fn go(&mut self) -> Result<()> {
        let reader = self.members.swap_remove(0);
        reader.tell_to_end();
        self.gone.push(reader);
        Ok(())
    }

    /// Waits until every member has as many partitions as any other, or one less; the seconds since
    /// `began`.
    fn until_shared(&self, began: Instant) -> Result<f64> {
        loop {
            let shares: Vec<usize> = self.members.iter().map(Reader::share).collect();
            let least = shares.iter().min().copied().unwrap_or(0);
            let most = shares.iter().max().copied().unwrap_or(0);
            if shares.iter().sum::<usize>() == self.settings.partitions && most - least <= 1 {
                return Ok(began.elapsed().as_secs_f64());
            }
            if began.elapsed() > SHARED_MAX {
                bail!("the members' shares are {shares:?}");
            }
            if let Some(ended) = self.members.iter().position(|one| one.thread.is_finished()) {
                bail!("member {ended} ended");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn rebalances(&self) -> u64 {
        let all = self.members.iter().chain(&self.gone);
        all.map(|reader| reader.rebalances.load(Ordering::Relaxed)).sum()
    }

    /// Does something, and looks on until all have their share and a little longer.
    fn observe(&mut self, deed: impl FnOnce(&mut Self) -> Result<()>) -> Result<Watched> {
        let (began, rebalances) = (Instant::now(), self.rebalances());
        let from_us = nanos(self.start.elapsed()) / 1000;
        deed(self)?;
        let seconds = self.until_shared(began)?;
        thread::sleep(AFTER);
        Ok(Watched {
            from_us,
            to_us: nanos(self.start.elapsed()) / 1000,
            seconds,
            rebalances: self.rebalances() - rebalances,
        })
    }
}

/// When something was looked at.
#[derive(Debug, Clone, Copy)]
struct Watched {
    from_us: u64,
    to_us: u64,
    seconds: f64,
    rebalances: u64,
}

impl Watched {
    fn phase(self, arrivals: &[Vec<Arrival>]) -> Phase {
        let (mut stayed, mut moved) = (Vec::new(), Vec::new());
        for records in arrivals {
            let (gap_us, one_reader) = longest_gap(records, self.from_us, self.to_us);
            if one_reader { stayed.push(gap_us) } else { moved.push(gap_us) }
        }
        Phase {
            seconds: self.seconds,
            rebalances: self.rebalances,
            stayed: Gaps::of(stayed),
            moved: Gaps::of(moved),
        }
    }
}

/// A record that came to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at_us: u64,
    member: usize,
}

fn by_partition(seen: Vec<(usize, Arrival)>, partitions: usize) -> Vec<Vec<Arrival>> {
    let mut arrivals = vec![Vec::new(); partitions];
    for (partition, arrival) in seen {
        if let Some(of_partition) = arrivals.get_mut(partition) {
            of_partition.push(arrival);
        }
    }
    for of_partition in &mut arrivals {
        of_partition.sort_unstable();
    }
    arrivals
}

/// The longest time without a record between two instants, counted from the last record before the
/// first of them, and whether one member had them all. Nothing at all is a gap as long as that time.
fn longest_gap(records: &[Arrival], from_us: u64, to_us: u64) -> (u64, bool) {
    let first = records.partition_point(|record| record.at_us < from_us).saturating_sub(1);
    let end = records.partition_point(|record| record.at_us <= to_us);
    let window = &records[first.min(end)..end];
    let Some(last) = window.last() else { return (to_us - from_us, true) };
    let between = window.windows(2).map(|pair| pair[1].at_us - pair[0].at_us).max();
    let open = to_us.saturating_sub(last.at_us);
    (between.unwrap_or(0).max(open), window.iter().all(|record| record.member == last.member))
}

/// What a member read.
#[derive(Debug, Default)]
struct Read {
    seen: Vec<(usize, Arrival)>,
    errors: Vec<String>,
}

/// A member on a thread of its own.
struct Reader {
    thread: JoinHandle<Result<Read>>,
    stop: Arc<AtomicBool>,
    share: Arc<AtomicUsize>,
    rebalances: Arc<AtomicU64>,
}

impl Reader {
    fn start(number: usize, config: ClientConfig, topic: &str, start: Instant) -> Result<Self> {
        let (stop, share) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let rebalances = Arc::<AtomicU64>::default();
        let of_thread = (Arc::clone(&stop), Arc::clone(&share), Arc::clone(&rebalances));
        let topic = topic.to_owned();
        let thread = thread::Builder::new().name(format!("member {number}")).spawn(move || {
            let (stop, share, rebalances) = of_thread;
            let consumer: BaseConsumer<Told> = config.create_with_context(Told::default())?;
            consumer.subscribe(&[&topic])?;
            let mut read = Read::default();
            while !stop.load(Ordering::Acquire) {
                match consumer.poll(LOOK_EVERY) {
                    Some(Ok(record)) => {
                        let at_us = nanos(start.elapsed()) / 1000;
                        let partition = usize::try_from(record.partition())?;
                        read.seen.push((partition, Arrival { at_us, member: number }));
                    }
                    Some(Err(why)) => read.errors.push(
                        why.rdkafka_error_code()
                            .map_or_else(|| why.to_string(), |code| format!("{code:?}")),
                    ),
                    None => {}
                }
                let told = consumer.context().rebalances();
                if rebalances.swap(told, Ordering::AcqRel) != told || read.seen.len() % 64 == 0 {
                    share.store(consumer.assignment()?.count(), Ordering::Release);
                }
            }
            Ok(read)
        });
        Ok(Self { thread: thread.context("no thread for a member")?, stop, share, rebalances })
    }

    fn share(&self) -> usize {
        self.share.load(Ordering::Acquire)
    }

    /// It leaves the group when it has ended what it does.
    fn tell_to_end(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn end(self) -> Result<Read> {
        self.tell_to_end();
        self.thread.join().expect("a member has nothing to panic about")
    }
}

/// A steady producer on a thread of its own.
struct Production {
    thread: JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Production {
    fn start(cluster: &Cluster, settings: &RebalanceSettings, start: Instant) -> Result<Self> {
        let producing = Producing { linger_ms: 0.0, ..Producing::default() };
        let producer: ThreadedProducer<DefaultProducerContext> =
            cluster.producer(&producing)?.create()?;
        let stop = Arc::<AtomicBool>::default();
        let (of_thread, settings) = (Arc::clone(&stop), settings.clone());
        let thread = thread::Builder::new()
            .name("producer".into())
            .spawn(move || produce(&producer, &settings, start, &of_thread));
        Ok(Self { thread: thread.context("no thread for the producer")?, stop })
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("it has nothing to panic about")
    }
}

fn produce(
    producer: &ThreadedProducer<DefaultProducerContext>,
    settings: &RebalanceSettings,
    start: Instant,
    stop: &AtomicBool,
) -> Result<()> {
    let partitions = u64::try_from(settings.partitions)?;
    let pace = Pace::PerSecond(settings.rate * partitions);
    let mut payloads = Payloads::new(100, 1);
    let mut sent = 0;
    while !stop.load(Ordering::Acquire) {
        let now_ns = nanos(start.elapsed());
        let due_ns = pace.due_ns(sent).unwrap_or(now_ns);
        if now_ns < due_ns {
            thread::sleep(Duration::from_nanos(due_ns - now_ns));
        }
        let partition = i32::try_from(sent % partitions)?;
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&settings.topic).partition(partition).payload(payloads.next_value());
        match producer.send(record) {
            Ok(()) => sent += 1,
            Err((error, _)) if is_queue_full(&error) => thread::sleep(Duration::from_millis(1)),
            Err((error, _)) => return Err(error).context("the client refused a record"),
        }
    }
    match producer.flush(SHARED_MAX) {
        Err(why) if why.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut) => {
            Err(why).context("the last records")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(records: &[(u64, usize)]) -> Vec<Arrival> {
        records.iter().map(|(at_us, member)| Arrival { at_us: *at_us, member: *member }).collect()
    }

    #[test]
    fn a_gap_reaches_from_the_record_before_the_change_to_the_end() {
        let records = at(&[(10, 1), (50, 1), (90, 1), (200, 1), (220, 1), (900, 1)]);
        // (from, to, gap)
        let cases = [
            (60, 250, 110),
            (60, 195, 105),
            (100, 400, 180),
            (0, 5, 5),
            (901, 1000, 100),
            (9, 11, 1),
        ];
        for (from, to, gap) in cases {
            assert_eq!(longest_gap(&records, from, to), (gap, true), "{from} to {to}");
        }
    }

    #[test]
    fn a_partition_that_another_member_reads_has_moved() {
        let records = at(&[(10, 1), (50, 1), (90, 2), (200, 2)]);
        for (from, to, stayed) in [(0, 60, true), (0, 95, false), (60, 300, false), (95, 300, true)]
        {
            assert_eq!(longest_gap(&records, from, to).1, stayed, "{from} to {to}");
        }
    }
}
