//! How fast the store is on this machine, and what it costs.
//!
//! `cargo run --release -p walrus-storage --example store_bench -- DIR [SECONDS] [MIB_PER_SECOND]`
//!
//! Appends batches of 16 KiB to 6 and then to 1,000 segments, as fast as it may or at a rate, and
//! reads the first segments back in order. Then one batch to each of 5,000 segments, and how long
//! a start takes after a crash and after a clean end. Prints throughput, CPU seconds for each GB,
//! and the greatest memory of the process.

#![expect(clippy::print_stdout, reason = "it is a program for people")]

use std::{
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;
use walrus_storage::{
    disk::{Backend, RealDisk},
    segment::{AppendError, Segment},
    store::{Store, StoreConfig},
};
use walrus_types::{Epoch, Offset, PartitionIndex, SegmentId, TopicId, TopicPartition, batch};

const BATCH_BYTES: usize = 16 << 10;
const GB: f64 = 1e9;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("give a folder to write to");
    let seconds: u64 = args.next().map_or(5, |text| text.parse().expect("seconds"));
    let rate: u64 = args.next().map_or(0, |text| text.parse().expect("MiB each second"));
    for segments in [6, 1000] {
        let dir = Path::new(&dir).join(format!("segments-{segments}"));
        let config = StoreConfig::default();
        let (store, _) = Store::open(Arc::new(RealDisk::new(Backend::Auto)), &dir, config)
            .expect("the folder is usable");
        // The ring is filled in the background once; that is not what is measured.
        let ready = || std::fs::read_dir(dir.join("wal")).map_or(0, Iterator::count);
        while ready() < config.wal.files as usize {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
        write(&store, segments, seconds, rate << 20);
        read(&store, segments);
        store.close().expect("it ends cleanly");
        let begun = Instant::now();
        let (store, opened) = Store::open(Arc::new(RealDisk::new(Backend::Auto)), &dir, config)
            .expect("the folder is usable");
        println!("  opened again in {:?}: {} segments", begun.elapsed(), opened.segments);
        drop(store);
        std::fs::remove_dir_all(&dir).expect("the folder is ours");
    }
    many(&Path::new(&dir).join("many"));
}

/// Many partitions that are mostly idle.
fn many(dir: &Path) {
    const SEGMENTS: i32 = 5000;
    let open = || {
        let begun = Instant::now();
        let disk = Arc::new(RealDisk::new(Backend::Auto));
        let (store, opened) =
            Store::open(disk, dir, StoreConfig::default()).expect("the folder is usable");
        println!(
            "  opened in {:?}, the WAL in {:?}: {} segments, {} bytes written again",
            begun.elapsed(),
            opened.wal.took,
            opened.segments,
            opened.bytes
        );
        store
    };
    let store = open();
    let mut handles: Vec<Arc<Segment>> = (0..SEGMENTS).map(|n| store.segment(id(n))).collect();
    let before = memory();
    append_to_each(&handles, Offset::ZERO);
    println!(
        "{SEGMENTS} segments with a batch each: {} KiB more memory",
        (memory() - before) >> 10
    );
    // The files are made and flushed; then each has a batch that only the WAL has.
    std::thread::sleep(Duration::from_secs(4));
    append_to_each(&handles, Offset(1));
    drop((handles, store));
    let store = open();
    let begun = Instant::now();
    handles = (0..SEGMENTS).map(|n| store.segment(id(n))).collect();
    let ends = handles.iter().filter(|segment| segment.end().is_ok_and(|end| end.0 == 2)).count();
    println!("  {ends} ends known in {:?} after a crash", begun.elapsed());
    drop(handles);
    store.close().expect("it ends cleanly");
    let store = open();
    let begun = Instant::now();
    handles = (0..SEGMENTS).map(|n| store.segment(id(n))).collect();
    let ends = handles.iter().filter(|segment| segment.end().is_ok_and(|end| end.0 == 2)).count();
    println!("  {ends} ends known in {:?} after a clean end", begun.elapsed());
    let size = |handles: &[Arc<Segment>]| handles.iter().map(|h| h.memory_bytes()).sum::<usize>();
    let in_use = size(&handles) / handles.len();
    std::thread::sleep(Duration::from_secs(16));
    println!(
        "  {in_use} bytes a handle in use, {} idle, {} files open",
        size(&handles) / handles.len(),
        store.stats().open_files
    );
    drop((handles, store));
    std::fs::remove_dir_all(dir).expect("the folder is ours");
}

fn append_to_each(handles: &[Arc<Segment>], base: Offset) {
    let done = Arc::new(AtomicU64::new(0));
    for segment in handles {
        let mut one = batch::build(&batch::plain_header(1), &[7; 200]);
        batch::set_place(&mut one, base, segment.id().epoch);
        let done = Arc::clone(&done);
        let count = Box::new(move |_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        segment.append(one.into(), count).expect("there is room");
    }
    while done.load(Ordering::Relaxed) < handles.len() as u64 {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn write(store: &Store, segments: i32, seconds: u64, rate: u64) {
    let handles: Vec<Arc<Segment>> = (0..segments).map(|n| store.segment(id(n))).collect();
    let payload = vec![0x5a; BATCH_BYTES - batch::HEADER_BYTES];
    let template = batch::build(&batch::plain_header(16), &payload);
    let done = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu());
    let (mut bytes, mut busy) = (0u64, 0u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        for (number, segment) in handles.iter().enumerate() {
            wait_for_room(store);
            let offset = segment.end().expect("it is open");
            let mut one = template.clone();
            batch::set_place(&mut one, offset, segment.id().epoch);
            let one = Bytes::from(one);
            loop {
                let done = Arc::clone(&done);
                let count = Box::new(move |_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
                match segment.append(one.clone(), count) {
                    Ok(_) => break,
                    Err(AppendError::Busy) => {
                        busy += 1;
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    Err(error) => panic!("segment {number}: {error}"),
                }
            }
            bytes += BATCH_BYTES as u64;
            // What waits is kept to a window, as a broker's clients would.
            while bytes - done.load(Ordering::Relaxed) * BATCH_BYTES as u64 > 16 << 20 {
                std::thread::sleep(Duration::from_micros(100));
            }
            while rate > 0 && bytes as f64 > begun.elapsed().as_secs_f64() * rate as f64 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
    while done.load(Ordering::Relaxed) * (BATCH_BYTES as u64) < bytes {
        std::thread::sleep(Duration::from_micros(100));
    }
    let took = begun.elapsed().as_secs_f64();
    let gb = bytes as f64 / GB;
    let stats = store.stats();
    println!(
        "{segments} segments: {:.0} MB/s acknowledged, {:.2} CPU s/GB, {} MiB memory at most, \
         {busy} times busy, flush p50 {} us p99 {} us, {} entries a group",
        gb * 1e3 / took,
        (self::cpu() - cpu) / gb,
        memory_max() >> 20,
        stats.wal.flush.quantile_us(0.5),
        stats.wal.flush.quantile_us(0.99),
        stats.wal.entries / stats.wal.groups.max(1),
    );
}

/// What a broker awaits before it appends.
fn wait_for_room(store: &Store) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut room = pin!(store.room());
    while room.as_mut().poll(&mut context).is_pending() {
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn read(store: &Store, segments: i32) {
    let (begun, cpu) = (Instant::now(), cpu());
    let (mut bytes, mut waited) = (0u64, 0u64);
    'segments: for number in 0..segments {
        let segment = store.segment(id(number));
        let end = segment.end().expect("it is open");
        let mut from = Offset::ZERO;
        while from < end {
            let chunk = match segment.try_read(from, end, 1 << 20).expect("undamaged") {
                Some(chunk) => chunk,
                None => {
                    waited += 1;
                    segment.read(from, end, 1 << 20).expect("undamaged")
                }
            };
            bytes += chunk.total as u64;
            from = chunk.next;
            if bytes > 4 << 30 {
                break 'segments;
            }
        }
    }
    let gb = bytes as f64 / GB;
    println!(
        "  read {gb:.2} GB in order: {:.2} GB/s, {:.2} CPU s/GB, {waited} reads waited for the disk",
        gb / begun.elapsed().as_secs_f64(),
        (self::cpu() - cpu) / gb,
    );
}

fn id(number: i32) -> SegmentId {
    let topic = TopicId(Uuid::from_u128(1));
    let partition = TopicPartition { topic, partition: PartitionIndex(number) };
    SegmentId { partition, base: Offset::ZERO, epoch: Epoch::FIRST }
}

/// User and system seconds of this process.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / GB
}

/// The greatest resident memory so far, in bytes.
fn memory_max() -> u64 {
    memory_as("VmHWM:")
}

/// Resident memory now, in bytes.
fn memory() -> u64 {
    memory_as("VmRSS:")
}

fn memory_as(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
