//! The search against one that looks at every record.

use std::sync::mpsc;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use walrus_metadata::{Command, Prune};
use walrus_storage::{
    disk::{Backend, RealDisk},
    store::StoreConfig,
    wal::WalConfig,
};
use walrus_types::{
    Epoch,
    batch::{build, plain_header, set_log_append_time, set_place},
};
use walrus_wire::records::{NewRecord, build_batch};

use super::*;
use crate::api::world::World;

/// A batch whose first offset is 10, a record for each timestamp.
fn batch_of(timestamps: &[i64]) -> Vec<u8> {
    let record = |at: &i64| NewRecord {
        timestamp: TimestampMs(*at),
        key: None,
        value: Some(b"v"),
        headers: &[],
    };
    let records: Vec<_> = timestamps.iter().map(record).collect();
    let mut batch = build_batch(&records);
    set_place(&mut batch, Offset(10), Epoch(1));
    batch
}

fn told(found: Option<Found>) -> Option<(i64, i64)> {
    found.map(|found| (found.offset.0, found.timestamp.0))
}

#[test]
fn a_record_is_found_by_its_own_time_and_not_below_the_log_start() {
    let batch = batch_of(&[5, 9, 7, 9, 3]);
    let header = BatchHeader::parse(&batch).unwrap();
    for (from, at, expected) in [
        (0, 0, Some((10, 5))),
        (0, 5, Some((10, 5))),
        (0, 6, Some((11, 9))),
        (0, 10, None),
        (11, 5, Some((11, 9))),
        (12, 8, Some((13, 9))),
        (14, 3, Some((14, 3))),
        (14, 4, None),
        (15, 0, None),
    ] {
        let found = first_of(&batch, &header, Offset(from), TimestampMs(at));
        assert_eq!(told(found), expected, "from {from} at {at}");
    }
    for (from, expected) in
        [(0, Some((11, 9))), (12, Some((13, 9))), (14, Some((14, 3))), (15, None)]
    {
        let found = youngest_of(&batch, &header, Offset(from));
        assert_eq!(told(found), expected, "from {from}");
    }
}

#[test]
fn records_that_the_broker_stamped_are_all_of_one_time() {
    let mut batch = batch_of(&[5, 9, 7]);
    set_log_append_time(&mut batch, TimestampMs(100));
    let header = BatchHeader::parse(&batch).unwrap();
    let first = first_of(&batch, &header, Offset(0), TimestampMs(50));
    assert_eq!(told(first), Some((10, 100)));
    assert_eq!(told(youngest_of(&batch, &header, Offset(11))), Some((11, 100)));
}

#[test]
fn a_batch_whose_records_cannot_be_read_stands_for_its_first_offset() {
    let mut header = plain_header(3);
    header.max_timestamp = TimestampMs(9);
    header.base_offset = Offset(10);
    let batch = build(&header, b"no records at all");
    for (from, expected) in [(0, 10), (12, 12)] {
        let first = first_of(&batch, &header, Offset(from), TimestampMs(5));
        assert_eq!(told(first), Some((expected, 9)));
        assert_eq!(told(youngest_of(&batch, &header, Offset(from))), Some((expected, 9)));
    }
}

/// A partition that is written, rolled and pruned, and what every record's time is.
struct Written {
    world: World,
    store: Store,
    /// By offset.
    times: Vec<i64>,
    seed: u64,
}

impl Written {
    fn id(&self) -> TopicPartition {
        self.world.partition("t")
    }

    fn chain(&self) -> &Arc<Chain> {
        self.world.metadata.partition(self.id()).unwrap()
    }

    fn end(&self) -> i64 {
        i64::try_from(self.times.len()).unwrap()
    }

    fn append(&mut self, times: &[i64], stamp: Option<i64>) {
        let open = self.chain().open().key;
        let segment = self.store.segment(segment_id(self.id(), Link::Open(self.chain().open())));
        let record = |at: &i64| NewRecord {
            timestamp: TimestampMs(*at),
            key: None,
            value: Some(b"value"),
            headers: &[],
        };
        let mut batch = build_batch(&times.iter().map(record).collect::<Vec<_>>());
        if let Some(stamp) = stamp {
            set_log_append_time(&mut batch, TimestampMs(stamp));
        }
        set_place(&mut batch, Offset(self.end()), open.epoch);
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |result| tell.send(result).unwrap());
        segment.append(Bytes::from(batch), done).unwrap();
        told.recv().unwrap().unwrap();
        self.times.extend(times.iter().map(|at| stamp.unwrap_or(*at)));
    }

    fn roll(&mut self) {
        let base = usize::try_from(self.chain().open().key.base.0).unwrap();
        let youngest = self.times[base..].iter().max().copied().unwrap_or(-1);
        let end = self.end();
        self.world.roll("t", end, youngest);
    }

    fn prune(&mut self, log_start: i64) {
        let (partition, expected) = (self.id(), self.chain().open().key.epoch);
        let prune = Prune { partition, expected, log_start: Offset(log_start) };
        self.world.apply(&Command::Prune(vec![prune]));
    }

    /// What may be read when `end` is committed.
    fn log(&self, end: i64) -> Log {
        let chain = Arc::clone(self.chain());
        let start = chain.log_start();
        Log { store: self.store.clone(), id: self.id(), chain, start, end: Offset(end) }
    }

    #[track_caller]
    fn check(&self, end: i64, at: i64) {
        let log = self.log(end);
        let readable =
            || (log.start.0..end).zip(&self.times[usize::try_from(log.start.0).unwrap()..]);
        let expected = readable().find(|(_, time)| **time >= at).map(|(at, time)| (at, *time));
        let found = log.first_at(TimestampMs(at)).unwrap();
        assert_eq!(told(found), expected, "seed {}: [{}, {end}) at {at}", self.seed, log.start);

        let greatest = readable().map(|(_, time)| *time).max();
        let expected = readable().find(|(_, time)| Some(**time) == greatest);
        let found = log.youngest().unwrap();
        assert_eq!(
            told(found),
            expected.map(|(at, time)| (at, *time)),
            "seed {}: [{}, {end})",
            self.seed,
            log.start
        );
    }
}

#[test]
fn every_time_is_found_where_a_look_at_every_record_finds_it() {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let wal = WalConfig { file_bytes: 1 << 20, files: 4, ..WalConfig::small() };
    let config = StoreConfig {
        wal,
        checkpoint_bytes: 256 << 10,
        reserve_bytes: 0,
        index_interval_bytes: 1024,
        ..StoreConfig::default()
    };
    let disk = Arc::new(RealDisk::new(Backend::Auto));
    let (store, _) = Store::open(disk, folder.path(), config).unwrap();
    let world = World::with_topics(&[("t", 1)]);
    let mut written = Written { world, store, times: Vec::new(), seed };
    for step in 0..300 {
        let around = 1_000 + step * random.random_range(0..3);
        let count = random.random_range(1..6);
        let times: Vec<i64> = (0..count).map(|_| around + random.random_range(0..200)).collect();
        // Where a batch ends, for what is committed ends there.
        let before = written.end();
        let stamp = random.random_bool(0.2).then_some(around);
        written.append(&times, stamp);
        if random.random_bool(0.1) {
            written.roll();
        }
        if random.random_bool(0.03) {
            let start = written.chain().log_start().0;
            written.prune(random.random_range(start..=before.max(start)));
        }
        let open = written.chain().open().key.base.0;
        let end = if before >= open && random.random() { before } else { written.end() };
        let end = end.max(written.chain().log_start().0);
        written.check(end, random.random_range(900..2_000));
    }
    written.store.clone().close().unwrap();
}
