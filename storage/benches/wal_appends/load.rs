//! The load of the append benchmark and its table.
//!
//! A writer appends 1 KiB, waits until it is durable, and appends again. As *threads* each
//! writer is a thread, which is what a blocking engine needs; as *tasks* all writers share one
//! thread, which is how a runtime drives them.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use walrus_storage::{
    disk::{ALIGN_BYTES, AlignedBuffer, Backend, Disk as _, RealDisk},
    wal::{Entry, EntryHead, Wal, WalConfig},
};

pub(crate) const ENTRY_BYTES: usize = 1024;

/// What a run measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of the whole process for each append: it says more than the rate where
    /// others use the machine too.
    pub(crate) cpu_us: f64,
}

type Run = Box<dyn Fn(&Path, usize, Duration) -> Measured>;

pub(crate) struct Case {
    name: &'static str,
    writers: usize,
    run: Run,
    rounds: Vec<Measured>,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        writers: usize,
        run: impl Fn(&Path, usize, Duration) -> Measured + 'static,
    ) -> Self {
        Self { name, writers, run: Box::new(run), rounds: Vec::new() }
    }

    /// The median run.
    fn median(&self) -> Measured {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        rounds[rounds.len() / 2]
    }
}

/// Runs every case three times, in turn, so that a noisy minute hits all alike.
pub(crate) fn run_rounds(cases: &mut [Case]) {
    let seconds = std::env::var("WALRUS_BENCH_SECONDS").map_or(1.0, |text| text.parse().unwrap());
    let base =
        std::env::var("WALRUS_BENCH_DIR").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    for _ in 0..3 {
        for case in &mut *cases {
            let dir = tempfile::tempdir_in(&base).unwrap();
            case.rounds.push((case.run)(
                dir.path(),
                case.writers,
                Duration::from_secs_f64(seconds),
            ));
        }
    }
}

/// A table with each case's share of what `reference` reached, then the raw numbers as JSON.
pub(crate) fn print(cases: &[Case], reference: &str) {
    println!(
        "{:<24}{:>8}{:>12}{:>9}{:>9}{:>8}{:>8}",
        "engine", "writers", "appends/s", "p50 us", "p99 us", "cpu us", "ratio"
    );
    for case in cases {
        let Measured { per_second, p50_us, p99_us, cpu_us } = case.median();
        let base =
            cases.iter().find(|other| other.name == reference && other.writers == case.writers);
        let ratio = base.map_or(0.0, |base| per_second / base.median().per_second);
        println!(
            "{:<24}{:>8}{per_second:>12.0}{p50_us:>9.0}{p99_us:>9.0}{cpu_us:>8.1}{ratio:>8.2}",
            case.name, case.writers
        );
    }
    let rows: Vec<_> = cases
        .iter()
        .flat_map(|case| case.rounds.iter().map(move |round| (case, round)))
        .map(|(case, round)| {
            let Measured { per_second, p50_us, p99_us, cpu_us } = round;
            format!(
                r#"{{"engine":"{}","writers":{},"appends_per_second":{per_second:.0},"p50_us":{p50_us:.1},"p99_us":{p99_us:.1},"cpu_us":{cpu_us:.2}}}"#,
                case.name, case.writers
            )
        })
        .collect();
    println!("[{}]", rows.join(",\n "));
}

/// When a run began, and how much processor time had been used then.
pub(crate) struct Begun {
    at: Instant,
    cpu_ms: u64,
}

impl Begun {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_ms: cpu_ms() }
    }
}

/// Processor time of this process, in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn measured(mut latencies: Vec<Duration>, begun: &Begun) -> Measured {
    let took = begun.at.elapsed();
    let cpu_us = (cpu_ms() - begun.cpu_ms) as f64 * 1000.0 / latencies.len().max(1) as f64;
    latencies.sort_unstable();
    let at = |percent: usize| {
        let place = latencies.len() * percent / 100;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    Measured {
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50_us: at(50),
        p99_us: at(99),
        cpu_us,
    }
}

/// Runs `append` on as many threads as there are writers.
pub(crate) fn threads(
    writers: usize,
    time: Duration,
    append: impl Fn(usize) + Send + Sync + 'static,
) -> Measured {
    let append = Arc::new(append);
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Begun::now();
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let (append, stop) = (Arc::clone(&append), Arc::clone(&stop));
            thread::spawn(move || {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    append(writer);
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    let latencies = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    measured(latencies, &begun)
}

fn open(backend: Backend, dir: &Path) -> Wal {
    let disk = Arc::new(RealDisk::new(backend));
    let (wal, opened) =
        Wal::open(disk, &dir.join("wal"), WalConfig::default(), &mut |_| Ok(())).unwrap();
    assert_eq!(opened.entries, 0);
    while wal.stats().files_ready < WalConfig::default().files {
        thread::sleep(Duration::from_millis(5));
    }
    wal
}

fn entry(body: &Bytes) -> Entry {
    Entry { kind: 16, head: EntryHead::new(&[1; 48]), body: body.clone() }
}

pub(crate) fn wal_threads(
    backend: Backend,
    dir: &Path,
    writers: usize,
    time: Duration,
) -> Measured {
    let wal = open(backend, dir);
    let body = Bytes::from(vec![7; ENTRY_BYTES]);
    let measured = threads(writers, time, {
        let wal = wal.clone();
        move |writer| {
            let waiting = thread::current();
            let done = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&done);
            let release = (writer == 0).then(|| wal.clone());
            let tell = Box::new(move |result: Result<_, _>| {
                let lsn = result.unwrap();
                if let Some(wal) = release {
                    wal.release(lsn);
                }
                told.store(true, Ordering::Release);
                waiting.unpark();
            });
            wal.append(entry(&body), tell).unwrap();
            while !done.load(Ordering::Acquire) {
                thread::park();
            }
        }
    });
    if std::env::var_os("WALRUS_BENCH_STATS").is_some() {
        println!("{:?}", wal.stats());
    }
    wal.close();
    measured
}

pub(crate) fn wal_tasks(backend: Backend, dir: &Path, writers: usize, time: Duration) -> Measured {
    let wal = open(backend, dir);
    let body = Bytes::from(vec![7; ENTRY_BYTES]);
    let (told, done) = mpsc::channel();
    let append = |writer: usize| {
        let told = told.clone();
        let begun = Instant::now();
        let tell = Box::new(move |result: Result<_, _>| {
            // The benchmark's end drops the receiver.
            told.send((writer, begun, result.unwrap())).unwrap_or_default();
        });
        wal.append(entry(&body), tell).unwrap();
    };
    let begun = Begun::now();
    (0..writers).for_each(append);
    let mut latencies = Vec::new();
    while begun.at.elapsed() < time {
        let (writer, asked, lsn) = done.recv().unwrap();
        latencies.push(asked.elapsed());
        if writer == 0 {
            wal.release(lsn);
        }
        append(writer);
    }
    let measured = measured(latencies, &begun);
    drop(done);
    wal.close();
    measured
}

/// Writes groups as long as the writers' entries together, one or two at a time, whichever is
/// quicker, and nothing else.
pub(crate) fn bare_loop(dir: &Path, writers: usize, time: Duration) -> Measured {
    let one = bare_groups(dir, writers, 1, time / 2);
    let two = bare_groups(dir, writers, 2, time / 2);
    if one.per_second > two.per_second { one } else { two }
}

fn bare_groups(dir: &Path, writers: usize, depth: usize, time: Duration) -> Measured {
    const FILE_BYTES: u64 = 256 << 20;
    if writers < depth {
        return Measured::default();
    }
    let disk = RealDisk::new(Backend::Auto);
    let path = dir.join("bare");
    disk.fill(&path, FILE_BYTES).unwrap();
    let mut writer = disk.group_writer(std::slice::from_ref(&path), depth).unwrap();
    let entries = writers / depth;
    let bytes = (entries * (ENTRY_BYTES + 76) + 72).next_multiple_of(ALIGN_BYTES);
    let mut buffers: Vec<_> = (0..depth).map(|_| AlignedBuffer::zeroed(bytes)).collect();
    let (mut at, mut ticket) = (0, 0);
    let mut begun_at = std::collections::HashMap::new();
    let (mut latencies, mut finished) = (Vec::new(), Vec::new());
    let begun = Begun::now();
    while begun.at.elapsed() < time {
        while let Some(buffer) = buffers.pop() {
            begun_at.insert(ticket, Instant::now());
            writer.submit(ticket, 0, buffer, bytes, at).unwrap();
            ticket += 1;
            at = (at + bytes as u64) % (FILE_BYTES - 2 * bytes as u64);
            at -= at % ALIGN_BYTES as u64;
        }
        writer.wait(&mut finished, None).unwrap();
        for group in finished.drain(..) {
            group.result.unwrap();
            let latency = begun_at.remove(&group.ticket).unwrap().elapsed();
            latencies.extend(std::iter::repeat_n(latency, entries));
            buffers.push(group.buffer);
        }
    }
    let measured = measured(latencies, &begun);
    drop(writer);
    measured
}
