//! Carries out what `core.rs` decides: packs groups, hands them to the disk, tells the waiting.
//!
//! Owns the buffers and the entries that are under way. Belongs to one thread, or to the test
//! that drives it step by step.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Done, Lsn, WalFailed, WalFault,
    core::{Core, Held, Plan},
    format,
    ring::path_of,
    shared::{Shared, Waiting},
};
use crate::{
    disk::{AlignedBuffer, GroupWriter, GroupWritten},
    planted,
};

/// A group that is being written, and who waits for its entries.
struct Flight {
    lsn: Lsn,
    file: u32,
    at: u64,
    bytes: u64,
    dones: Vec<Done>,
    begun: Instant,
}

/// One log's hands.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Core,
    writer: Box<dyn GroupWriter>,
    dir: PathBuf,
    /// The length of an ordinary buffer; a group of one large entry has a buffer of its own.
    buffer_bytes: usize,
    buffers: Vec<AlignedBuffer>,
    /// Taken from the queue, not yet in a group.
    waiting: VecDeque<Waiting>,
    flights: VecDeque<Flight>,
    finished: Vec<GroupWritten>,
    failed: Option<WalFailed>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        core: Core,
        writer: Box<dyn GroupWriter>,
        dir: PathBuf,
        buffer_bytes: usize,
    ) -> Self {
        Self {
            shared,
            core,
            writer,
            dir,
            buffer_bytes,
            buffers: Vec::new(),
            waiting: VecDeque::new(),
            flights: VecDeque::new(),
            finished: Vec::new(),
            failed: None,
        }
    }

    /// What a thread does until the log is closed or fails.
    pub(crate) fn run(&mut self, idle_mark: Duration) {
        let mut idle_since = Instant::now();
        loop {
            let held = self.begin_all();
            if self.failed.is_some() {
                return;
            }
            if held == Held::Idle && !self.shared.hunger() {
                continue;
            }
            let mut at_most = None;
            if self.core.in_flight() == 0 {
                let closing = self.shared.is_closing();
                if self.core.plan_mark().is_some() {
                    let idle = idle_since.elapsed();
                    if closing || idle >= idle_mark {
                        self.begin_mark();
                        continue;
                    }
                    at_most = Some(idle_mark - idle);
                }
                if closing {
                    self.end(self.shared.refuse(WalFault::Closed));
                    return;
                }
            }
            if self.complete(at_most) {
                idle_since = Instant::now();
            }
        }
    }

    /// Begins groups until something holds them up, and says what.
    pub(crate) fn begin_all(&mut self) -> Held {
        loop {
            if let Err(held) = self.begin() {
                return held;
            }
        }
    }

    /// Takes what is queued and begins one group.
    pub(crate) fn begin(&mut self) -> Result<(), Held> {
        self.shared.take(&mut self.waiting);
        self.core.release(self.shared.released());
        self.open_files();
        let sizes = self.waiting.iter().map(|waiting| format::entry_bytes(&waiting.entry));
        let planned = self.core.plan(sizes);
        self.shared.seen.lock().stats.ring_full = planned == Err(Held::RingFull);
        self.write(planned?);
        Ok(())
    }

    /// Begins a group without entries, if it would say anything new.
    pub(crate) fn begin_mark(&mut self) -> bool {
        self.core.release(self.shared.released());
        // An idle log needs no buffers but the one for its mark.
        self.buffers.truncate(1);
        self.show();
        let planned = self.core.plan_mark();
        if let Some(plan) = planned {
            self.write(plan);
        }
        planned.is_some()
    }

    fn write(&mut self, plan: Plan) {
        let begun = self.core.begin(plan);
        let bytes = usize::try_from(plan.bytes).expect("a file is at most 1 GiB");
        let mut buffer = self.buffer(bytes);
        let entries = self.waiting.range(..plan.entries).map(|waiting| &waiting.entry);
        let header = format::encode(&mut buffer, begun.header, entries);
        assert_eq!(u64::from(header.bytes), plan.bytes, "a group is as long as it was planned");
        let entries_bytes = header.used as usize - format::HEADER_BYTES;
        self.shared.packed(entries_bytes);
        let dones = self.waiting.drain(..plan.entries).map(|waiting| waiting.done).collect();
        let lsn = header.lsn;
        let flight = Flight {
            lsn,
            file: begun.file,
            at: begun.at,
            bytes: plan.bytes,
            dones,
            begun: Instant::now(),
        };
        if self.flights.is_empty() {
            self.shared.seen.lock().oldest_flush = Some(flight.begun);
        }
        self.flights.push_back(flight);
        if planted::is("ack-before-flush") {
            let flight = self.flights.back_mut().expect("it was just pushed");
            for done in std::mem::take(&mut flight.dones) {
                done(Ok(lsn));
            }
        }
        let started = self.writer.submit(lsn.0, begun.file as usize, buffer, bytes, begun.at);
        if let Err(source) = started {
            self.write_failed(lsn, source);
        }
    }

    /// Waits for the disk or for a wake-up, and tells those whose entries are durable. Answers
    /// whether a group was written.
    pub(crate) fn complete(&mut self, at_most: Option<Duration>) -> bool {
        let mut finished = std::mem::take(&mut self.finished);
        if let Err(source) = self.writer.wait(&mut finished, at_most) {
            self.fail(WalFault::Wait(source));
        }
        let any = !finished.is_empty();
        for GroupWritten { ticket, buffer, result } in finished.drain(..) {
            if buffer.len() == self.buffer_bytes {
                self.buffers.push(buffer);
            }
            match result {
                _ if self.failed.is_some() => {}
                Ok(()) => self.written(Lsn(ticket)),
                Err(source) => self.write_failed(Lsn(ticket), source),
            }
        }
        self.finished = finished;
        any
    }

    fn written(&mut self, lsn: Lsn) {
        let durable = self.core.written(lsn);
        while self.flights.front().is_some_and(|flight| flight.lsn <= durable) {
            let flight = self.flights.pop_front().expect("it was just seen");
            {
                let mut seen = self.shared.seen.lock();
                seen.oldest_flush = self.flights.front().map(|flight| flight.begun);
                seen.stats.groups += 1;
                seen.stats.entries += flight.dones.len() as u64;
                seen.stats.bytes += flight.bytes;
                seen.stats.flush.record(flight.begun.elapsed());
            }
            self.show();
            for done in flight.dones {
                done(Ok(flight.lsn));
            }
        }
    }

    /// Lets the counters show where the log stands.
    pub(crate) fn show(&self) {
        let stats = &mut self.shared.seen.lock().stats;
        stats.durable = self.core.durable();
        stats.next = self.core.next();
        stats.released = self.core.released();
        stats.oldest = self.core.oldest();
        stats.ring_used_bytes = self.core.used_bytes();
        stats.files_ready = self.core.files_ready();
        stats.settled = self.core.is_settled();
    }

    fn write_failed(&mut self, lsn: Lsn, source: io::Error) {
        let flight = self.flights.iter().find(|flight| flight.lsn == lsn);
        let (file, at) = flight.map_or((0, 0), |flight| (flight.file, flight.at));
        self.fail(WalFault::Write { lsn, file: path_of(&self.dir, file), at, source });
    }

    /// Stops for good. Nothing is written again and nothing that was not durable becomes so.
    fn fail(&mut self, fault: WalFault) {
        self.core.failed();
        let failed = self.shared.refuse(fault);
        if self.failed.is_none() {
            tracing::error!(error = %failed, "the write-ahead log failed");
        }
        self.failed = Some(failed.clone());
        self.end(failed);
    }

    /// Tells all who still wait, in order, that it is over.
    fn end(&mut self, failed: WalFailed) {
        self.shared.take(&mut self.waiting);
        self.shared.seen.lock().oldest_flush = None;
        let under_way = self.flights.drain(..).flat_map(|flight| flight.dones);
        let waiting = self.waiting.drain(..).map(|waiting| {
            self.shared.packed(format::entry_bytes(&waiting.entry));
            waiting.done
        });
        for done in under_way.chain(waiting) {
            done(Err(failed.clone()));
        }
    }

    /// Opens ring files that were made since.
    fn open_files(&mut self) {
        for file in self.core.files_ready()..self.shared.files_made() {
            let path = path_of(&self.dir, file);
            match self.writer.add_file(&path) {
                Ok(()) => {
                    self.core.files_are_ready(file + 1);
                    self.show();
                }
                Err(source) => {
                    self.fail(WalFault::Fill { file: path, source });
                    return;
                }
            }
        }
    }

    fn buffer(&mut self, bytes: usize) -> AlignedBuffer {
        if bytes > self.buffer_bytes {
            return AlignedBuffer::zeroed(bytes);
        }
        self.buffers.pop().unwrap_or_else(|| AlignedBuffer::zeroed(self.buffer_bytes))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.core.in_flight()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}
