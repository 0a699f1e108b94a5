//! One seeded run: operations, faults, crashes, and the comparison with the model.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "the trace of a failing seed")]

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;
use walrus_storage::{
    disk::{Disk as _, SimDisk, SimFaults},
    segment::{AppendError, ReadError, Segment},
    store::{Store, StoreConfig, StoreDriver, StoreOpened},
    wal::{Done, WalConfig, WalStep},
};
use walrus_types::{
    Epoch, Offset, PartitionIndex, SegmentId, TimestampMs, TopicId, TopicPartition, batch,
};

use crate::model::{Model, Op, header};

const DIR: &str = "/data";
const PARTITIONS: u128 = 4;

/// See the file's header.
pub(crate) struct World {
    random: StdRng,
    disk: SimDisk,
    running: Option<(Store, StoreDriver)>,
    config: StoreConfig,
    /// After everything that was called done.
    durable: Model,
    /// After everything that was asked for.
    live: Model,
    /// What was asked for and not called done, with its number.
    pending: VecDeque<(u64, Op)>,
    asked: u64,
    /// Numbers that were called done.
    done: Arc<Mutex<Vec<u64>>>,
    /// Pruned: what a crash leaves of them until the prune is durable does not matter.
    pruned: BTreeSet<SegmentId>,
    /// Pruned, and the WAL was not told.
    unsure: BTreeSet<SegmentId>,
    /// Every batch that was ever taken.
    ever: BTreeSet<Vec<u8>>,
    /// The segment of each partition that takes appends.
    open: Vec<SegmentId>,
    /// A byte was flipped: what is lost must be named, what is read must be right.
    rotten: bool,
    restarts: u64,
    /// `WALRUS_SIM_TRACE` is set: every step is told.
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let config = random_config(&mut random);
        let mut world = Self {
            disk: SimDisk::new(seed),
            random,
            running: None,
            config,
            durable: Model::default(),
            live: Model::default(),
            pending: VecDeque::new(),
            asked: 0,
            done: Arc::default(),
            pruned: BTreeSet::new(),
            unsure: BTreeSet::new(),
            ever: BTreeSet::new(),
            open: (0..PARTITIONS).map(first_segment).collect(),
            rotten: false,
            restarts: 0,
            trace: std::env::var_os("WALRUS_SIM_TRACE").is_some(),
        };
        let opened = world.start();
        assert!(opened.damage.is_empty());
        world
    }

    /// Does one thing; false when this world is over.
    pub(crate) fn step(&mut self) -> bool {
        let drawn = self.random.random_range(0..1000);
        if self.trace {
            println!("step {drawn}, {} asked, {} pending", self.asked, self.pending.len());
        }
        match drawn {
            0..330 => self.append(),
            330..600 => self.wal_step(),
            600..680 => self.driven(|driver| driver.flush().is_ok()),
            680..720 => self.driven(|driver| driver.begin_checkpoint().is_ok()),
            720..780 => self.driven(|driver| driver.finish_checkpoint().is_ok()),
            780..800 => self.driven(|driver| driver.sweep().is_ok()),
            800..880 => self.read_somewhere(),
            880..900 => self.roll(),
            900..915 => self.truncate(),
            915..930 => self.write_state(),
            930..955 => self.put_control(),
            955..965 => self.prune(),
            965..970 => self.fail_for_a_while(),
            970..975 => self.fill_the_disk(),
            975..985 => self.crash_with_power_cut(),
            985..992 => self.kill(),
            992..997 => self.close(),
            997..999 => return self.rot_a_log(),
            _ => return self.rot_the_wal(),
        }
        self.settle();
        if self.store().failed().is_some() {
            if self.random.random() { self.kill() } else { self.crash_with_power_cut() }
        }
        true
    }

    /// The last comparison; how often it was restarted.
    pub(crate) fn end(mut self) -> u64 {
        if !self.rotten {
            self.crash_with_power_cut();
        }
        self.restarts
    }

    // --- starting and ending

    fn start(&mut self) -> StoreOpened {
        let disk = Arc::new(self.disk.clone());
        let opened = Store::open_inline(disk, Path::new(DIR), self.config);
        let (store, driver, opened) = opened.expect("an undisturbed disk lets the store open");
        self.running = Some((store, driver));
        if self.trace {
            println!("  opened {opened:?}");
        }
        self.restarts += 1;
        opened
    }

    fn crash_with_power_cut(&mut self) {
        self.disk = self.disk.power_cut();
        self.restart();
    }

    /// The process goes, what the system has in its caches stays.
    fn kill(&mut self) {
        self.disk.set_faults(SimFaults::default());
        self.restart();
    }

    fn close(&mut self) {
        self.disk.set_faults(SimFaults::default());
        let (store, driver) = self.running.take().expect("it runs");
        if driver.close(store).is_err() {
            return self.restart();
        }
        self.settle();
        assert!(
            self.pending.iter().all(|(_, op)| matches!(op, Op::Prune(_))),
            "a clean close leaves nothing undone: {:?}",
            self.pending
        );
        if self.random.random() {
            self.disk = self.disk.power_cut();
        }
        let opened = self.start();
        assert_eq!((opened.segments, opened.bytes), (0, 0), "a clean close leaves no replay");
        self.compare(&opened);
    }

    fn restart(&mut self) {
        self.settle();
        self.running = None;
        let opened = self.start();
        self.compare(&opened);
    }

    /// What is there must be the state after some prefix of what was asked for, and all that was
    /// called done is in it.
    fn compare(&mut self, opened: &StoreOpened) {
        for damage in &opened.damage {
            assert!(self.pruned.contains(&damage.segment), "{damage:?} without cause");
        }
        assert!(opened.wal.damage.is_empty(), "{:?} without cause", opened.wal.damage);
        let mut candidate = self.durable.clone();
        let mut why = vec![("all that was called done".into(), self.differs(&candidate))];
        let mut found = why[0].1.is_none().then(|| candidate.clone());
        for (_, op) in self.pending.clone() {
            candidate.apply(&op);
            let differs = self.differs(&candidate);
            if differs.is_none() {
                found = Some(candidate.clone());
            }
            why.push((op.name(), differs));
        }
        let Some(found) = found else {
            let why = why.into_iter().map(|(up_to, why)| format!("\n  up to {up_to}: {why:?}"));
            panic!("no prefix of what was asked for fits:{}", why.collect::<String>());
        };
        self.durable = found.clone();
        self.live = found;
        self.done.lock().unwrap().clear();
        self.reopen_segments();
        // What was pruned without that being durable is pruned again, as metadata asks for it:
        // its names may be gone now and be back after a power cut.
        let pending = std::mem::take(&mut self.pending).into_iter();
        let prunes = pending.filter_map(|(_, op)| match op {
            Op::Prune(id) => Some(id),
            _ => None,
        });
        for id in prunes.chain(self.unsure.clone()).collect::<BTreeSet<_>>() {
            self.prune_segment(id);
        }
    }

    /// Where the next appends go, after a crash that may have undone the last rolls.
    fn reopen_segments(&mut self) {
        for open in &mut self.open {
            let partition = open.partition;
            let of_it = |id: &&SegmentId| id.partition == partition;
            let last = self.live.segments.keys().filter(of_it).max_by_key(|id| id.epoch);
            *open = match last {
                Some(last) if !self.live.segments[last].sealed && !self.pruned.contains(last) => {
                    *last
                }
                Some(last) => {
                    let base = self.live.segments[last].end(*last);
                    SegmentId { base, epoch: Epoch(open.epoch.0.max(last.epoch.0) + 1), ..*last }
                }
                None => SegmentId { epoch: Epoch(open.epoch.0 + 1), ..*open },
            };
        }
    }

    /// Why what is there is not `model`, if it is not.
    fn differs(&self, model: &Model) -> Option<String> {
        for (key, value) in &model.controls {
            if self.store().control(*key).as_ref() != Some(value) {
                return Some(format!("control {key} is not what it was"));
            }
        }
        for id in &self.pruned {
            let on_disk = self.store().segments_on_disk(id.partition).unwrap();
            // Its names may be gone before that is durable, and be back after a power cut.
            let asked_again =
                self.pending.iter().any(|(_, op)| matches!(op, Op::Prune(pruned) if pruned == id));
            let is_gone = !asked_again && !self.unsure.contains(id);
            if is_gone && on_disk.contains(id) {
                return Some(format!("{id} was pruned and is back"));
            }
        }
        let every = self.durable.segments.keys().chain(self.live.segments.keys());
        for id in every.collect::<BTreeSet<_>>() {
            if self.pruned.contains(id) {
                continue;
            }
            let segment = self.store().segment(*id);
            let expected = model.segments.get(id).cloned().unwrap_or_default();
            let end = segment.end().unwrap_or_else(|error| panic!("{id}: {error}"));
            if end != expected.end(*id) {
                return Some(format!("{id} ends at {end}, not at {}", expected.end(*id)));
            }
            if segment.is_sealed().unwrap() != expected.sealed && !expected.batches.is_empty() {
                return Some(format!("{id} sealed: {}", !expected.sealed));
            }
            if segment.read_state().unwrap() != expected.state {
                return Some(format!("{id} has another state"));
            }
            let all = read_all(&segment).unwrap_or_else(|error| panic!("{id}: {error}"));
            if all != expected.batches.concat() {
                return Some(format!("{id} has other bytes"));
            }
        }
        None
    }

    // --- what a user does

    fn append(&mut self) {
        let id = self.open[self.random.random_range(0..self.open.len())];
        let count = self.random.random_range(1..5);
        let bytes = match self.random.random_range(0..10) {
            0 => self.random.random_range(0..6000),
            _ => self.random.random_range(0..600),
        };
        let end = self.live.segments.get(&id).map_or(id.base, |segment| segment.end(id));
        let batch = self.batch(id, end, count, bytes);
        let segment = self.store().segment(id);
        let op = Op::Append(id, batch.clone());
        let done = self.done();
        match segment.append(batch, done) {
            Ok(new_end) => {
                if let Op::Append(_, batch) = &op {
                    self.ever.insert(batch.to_vec());
                }
                self.asked_for(op);
                assert_eq!(new_end, end.plus(i64::from(count)));
            }
            Err(AppendError::Busy) => self.driven(|driver| driver.begin_checkpoint().is_ok()),
            Err(AppendError::Full) => self.driven(|driver| {
                driver.refresh_reserve();
                true
            }),
            Err(AppendError::Failed(_)) => {}
            Err(error) => panic!("{id}: {error}"),
        }
    }

    /// Seals the open segment of a partition, sometimes short of its end, and opens the next.
    fn roll(&mut self) {
        let number = self.random.random_range(0..self.open.len());
        let id = self.open[number];
        let end = self.some_boundary(id);
        let segment = self.store().segment(id);
        let done = self.done();
        if segment.seal_then(end, done).is_ok() {
            self.asked_for(Op::Seal(id, end));
            self.open[number] = SegmentId { base: end, epoch: id.epoch.next(), ..id };
        }
    }

    fn truncate(&mut self) {
        let id = self.open[self.random.random_range(0..self.open.len())];
        let end = self.some_boundary(id);
        let segment = self.store().segment(id);
        let done = self.done();
        if segment.truncate(end, done).is_ok() {
            self.asked_for(Op::Truncate(id, end));
        }
    }

    fn write_state(&mut self) {
        let id = self.open[self.random.random_range(0..self.open.len())];
        let bytes = self.noise(50);
        let segment = self.store().segment(id);
        let done = self.done();
        if segment.write_state(bytes.clone(), done).is_ok() {
            self.asked_for(Op::State(id, bytes));
        }
    }

    fn put_control(&mut self) {
        let (key, value) = (self.random.random_range(0..3), self.noise(40));
        let done = self.done();
        if self.store().put_control(key, value.clone(), done).is_ok() {
            self.asked_for(Op::Control(key, value));
        }
    }

    fn prune(&mut self) {
        let sealed = self.live.segments.iter().filter(|(_, segment)| segment.sealed);
        if let Some(id) = sealed.map(|(id, _)| *id).next() {
            self.prune_segment(id);
        }
    }

    fn prune_segment(&mut self, id: SegmentId) {
        self.pruned.insert(id);
        if self.store().prune(id).is_ok() {
            self.unsure.remove(&id);
            self.asked_for(Op::Prune(id));
        } else {
            // The files are gone; the WAL was not told, so a crash may bring them back.
            self.unsure.insert(id);
        }
    }

    fn read_somewhere(&mut self) {
        let there = self.live.segments.keys().filter(|id| !self.pruned.contains(*id));
        let ids: Vec<SegmentId> = there.copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.random.random_range(0..ids.len())];
        let expected = &self.live.segments[&id];
        let end = expected.end(id);
        let from = Offset(self.random.random_range(id.base.0..=end.0));
        let limit = Offset(self.random.random_range(id.base.0..=end.0 + 3));
        let bytes_max = self.random.random_range(0..5000);
        let segment = self.store().segment(id);
        let chunk = match segment.try_read(from, limit, bytes_max) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => segment.read(from, limit, bytes_max).unwrap(),
            Err(error) => panic!("{id}: {error}"),
        };
        let mut total = 0;
        let wanted = expected.batches.iter().filter(|batch| {
            let header = header(batch);
            header.end() > from && header.end() <= limit
        });
        let first: Vec<&Bytes> = wanted
            .take_while(|batch| {
                total += batch.len();
                total == batch.len() || total <= bytes_max
            })
            .collect();
        let given = chunk.bytes.concat();
        let mut rest = &given[..];
        for batch in first {
            if rest.is_empty() && !given.is_empty() {
                // Fewer than were asked for is fine, as long as there is one.
                break;
            }
            assert!(rest.starts_with(batch), "{id}: read {from} to {limit}, {bytes_max} bytes");
            rest = &rest[batch.len()..];
        }
        assert!(rest.is_empty(), "{id}: more was read than is there");
    }

    // --- what goes wrong

    fn fail_for_a_while(&mut self) {
        let mut faults = SimFaults { waits_max: 3, cold_reads: 0.3, ..SimFaults::default() };
        match self.random.random_range(0..4) {
            0 => faults.sync_fails_at = Some(self.random.random_range(1..12)),
            1 => faults.write_fails_at = Some(self.random.random_range(1..30)),
            2 => faults.sync_fails = 0.05,
            _ => {}
        }
        self.disk.set_faults(faults);
    }

    /// Leaves a little more than the reserve; at the second time gives it back.
    fn fill_the_disk(&mut self) {
        while self.driver().take_wal(WalStep::Fill) {}
        let mut faults = SimFaults::default();
        if !self.store().disk_full() {
            let free = self.disk.free_bytes(Path::new(DIR)).unwrap();
            let used = (1 << 40) - free.min(1 << 40);
            faults.bytes_max = Some(used + self.config.reserve_bytes + 20_000);
        }
        self.disk.set_faults(faults);
        self.driver().refresh_reserve();
    }

    /// Flips a byte of a segment's log. Whatever is read afterwards is right, or an error.
    fn rot_a_log(&mut self) -> bool {
        if !self.come_to_rest() {
            return true;
        }
        self.driven(|driver| driver.begin_checkpoint().is_ok());
        self.driven(|driver| driver.finish_checkpoint().is_ok());
        if self.store().failed().is_some() {
            return true;
        }
        let ids = self.live.segments.iter().filter(|(_, segment)| !segment.batches.is_empty());
        let ids = ids.filter(|(id, _)| !self.pruned.contains(*id));
        let ids: Vec<SegmentId> = ids.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return true;
        }
        let id = ids[self.random.random_range(0..ids.len())];
        let path = log_path(id);
        let Ok(content) = self.disk.content(&path) else {
            return true;
        };
        if content.is_empty() {
            return true;
        }
        let at = self.random.random_range(0..content.len() as u64);
        self.disk.flip(&path, at, 1 << self.random.random_range(0..8)).unwrap();
        self.rotten = true;
        self.look_at_rot(false);
        self.settle();
        self.running = None;
        self.start();
        self.look_at_rot(false);
        false
    }

    /// Lets everything become durable; false when something is in the way.
    fn come_to_rest(&mut self) -> bool {
        self.disk.set_faults(SimFaults::default());
        // A slow disk may do nothing in one step and something in the next.
        for _ in 0..50 {
            while self.driver().step_wal() {}
        }
        self.settle();
        self.store().failed().is_none() && self.pending.is_empty()
    }

    /// Flips a byte of the ring behind an idle mark. What is lost is named.
    fn rot_the_wal(&mut self) -> bool {
        // A full ring has no room for the mark that tells rot from a torn end.
        if !self.come_to_rest() || !self.store().stats().wal.settled {
            return true;
        }
        let wal = Path::new(DIR).join("wal");
        let files = self.disk.list(&wal).unwrap();
        let file = wal.join(&files[self.random.random_range(0..files.len())].name);
        let bytes = self.disk.content(&file).unwrap().len() as u64;
        // The header of a ring file says what it is: without it the store may not open.
        let at = self.random.random_range(4096..bytes);
        self.running = None;
        self.tell(|| format!("flips {} at {at}", file.display()));
        self.disk.flip(&file, at, 1 << self.random.random_range(0..8)).unwrap();
        self.disk = self.disk.power_cut();
        self.rotten = true;
        let opened = self.start();
        let named = !opened.damage.is_empty() || !opened.wal.damage.is_empty();
        let whole = self.look_at_rot(named);
        assert!(whole || named, "something was lost and nobody says so");
        false
    }

    /// Reads everything: each batch is right or an error. Whether all was there.
    fn look_at_rot(&self, cuts_lost: bool) -> bool {
        let mut whole = true;
        for (id, expected) in &self.live.segments {
            if self.pruned.contains(id) {
                continue;
            }
            let segment = self.store().segment(*id);
            for batch in &expected.batches {
                let header = header(batch);
                match segment.read(header.base_offset, header.end(), 1) {
                    Ok(chunk) if chunk.bytes.is_empty() => {
                        self.tell(|| format!("{id}: {} is not there", header.base_offset));
                        whole = false;
                    }
                    Ok(chunk) => {
                        let given = chunk.bytes.concat();
                        // The entry of a cut may be among what is lost and named.
                        let was_cut = cuts_lost && self.ever.contains(&given);
                        assert!(given == *batch || was_cut, "{id}: wrong bytes");
                        whole &= given == *batch;
                    }
                    Err(ReadError::Damaged { from, to, .. }) => {
                        assert!(
                            from <= header.base_offset && (to > header.base_offset || to == from),
                            "{id}: damage {from} to {to} does not hold {}",
                            header.base_offset
                        );
                        self.tell(|| format!("{id}: {from} to {to} is damaged"));
                        whole = false;
                    }
                    Err(error) => panic!("{id}: {error}"),
                }
            }
        }
        whole
    }

    // --- small things

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("  {}", what());
        }
    }

    fn store(&self) -> &Store {
        &self.running.as_ref().expect("it runs").0
    }

    fn driver(&mut self) -> &mut StoreDriver {
        &mut self.running.as_mut().expect("it runs").1
    }

    /// Failures are looked at after the step.
    fn driven(&mut self, step: impl FnOnce(&mut StoreDriver) -> bool) {
        let fine = step(self.driver());
        assert!(fine || self.store().failed().is_some(), "a step failed and the store did not");
    }

    fn wal_step(&mut self) {
        let step = match self.random.random_range(0..20) {
            0 => WalStep::Mark,
            1 => WalStep::Fill,
            2..10 => WalStep::Begin,
            _ => WalStep::Complete,
        };
        self.driver().take_wal(step);
    }

    /// The next operation's number, called done when it is.
    fn done(&self) -> Done {
        let (number, done) = (self.asked, Arc::clone(&self.done));
        Box::new(move |result| {
            if result.is_ok() {
                done.lock().unwrap().push(number);
            }
        })
    }

    fn asked_for(&mut self, op: Op) {
        if self.trace {
            println!("  {} {}", self.asked, op.name());
        }
        self.live.apply(&op);
        self.pending.push_back((self.asked, op));
        self.asked += 1;
    }

    /// Moves what was called done into the durable model.
    fn settle(&mut self) {
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        if self.trace && !done.is_empty() {
            println!("  done {done:?}");
        }
        assert!(done.is_sorted(), "called done out of order: {done:?}");
        let Some(last) = done.last() else {
            return;
        };
        while let Some((number, op)) = self.pending.front()
            && *number <= *last
        {
            self.durable.apply(op);
            self.pending.pop_front();
        }
    }

    fn some_boundary(&mut self, id: SegmentId) -> Offset {
        let Some(segment) = self.live.segments.get(&id) else {
            return id.base;
        };
        let back = match self.random.random_range(0..4) {
            0 => self.random.random_range(0..=segment.batches.len()),
            1 => self.random.random_range(0..=segment.batches.len().min(3)),
            _ => 0,
        };
        match segment.batches.len() - back {
            0 => id.base,
            kept => header(&segment.batches[kept - 1]).end(),
        }
    }

    fn batch(&mut self, id: SegmentId, base: Offset, count: i32, bytes: usize) -> Bytes {
        let time = TimestampMs(self.random.random_range(0..1000));
        let header = batch::BatchHeader {
            base_offset: base,
            epoch: id.epoch,
            max_timestamp: time,
            ..batch::plain_header(count)
        };
        Bytes::from(batch::build(&header, &self.noise(bytes)))
    }

    fn noise(&mut self, bytes: usize) -> Bytes {
        let mut noise = vec![0; bytes];
        self.random.fill(&mut noise[..]);
        noise.into()
    }
}

fn random_config(random: &mut StdRng) -> StoreConfig {
    let wal = WalConfig {
        file_bytes: [32 << 10, 64 << 10][random.random_range(0..2)],
        files: random.random_range(4..6),
        group_bytes_max: [4096, 16 << 10][random.random_range(0..2)],
        groups_in_flight: random.random_range(1..4),
        queue_bytes_max: 48 << 10,
        ..WalConfig::small()
    };
    StoreConfig {
        wal,
        tail_bytes_max: 64 << 10,
        flush_bytes: 4096,
        checkpoint_bytes: 16 << 10,
        open_files_max: random.random_range(4..9),
        index_interval_bytes: 1 << 10,
        reserve_bytes: 60_000,
        ..StoreConfig::default()
    }
}

fn first_segment(partition: u128) -> SegmentId {
    let topic = TopicId(Uuid::from_u128(7 + partition % 2));
    let index = PartitionIndex(i32::try_from(partition / 2).unwrap());
    let partition = TopicPartition { topic, partition: index };
    SegmentId { partition, base: Offset(0), epoch: Epoch(1) }
}

fn log_path(id: SegmentId) -> std::path::PathBuf {
    Path::new(DIR)
        .join(id.partition.topic.0.hyphenated().to_string())
        .join(id.partition.partition.0.to_string())
        .join(format!("{:020}.{}.log", id.base.0, id.epoch.0))
}

fn read_all(segment: &Segment) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    let mut from = segment.id().base;
    loop {
        let chunk = segment.read(from, Offset(i64::MAX), 2000)?;
        if chunk.bytes.is_empty() {
            return Ok(all);
        }
        all.extend(chunk.bytes.concat());
        from = chunk.next;
    }
}
