//! When the background writer does what: its thread, and the one that waits for flushes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    shared::Shared,
    writer::{Checkpoint, Flush, Writer},
};
use crate::segment::StoreFailed;

/// How often memory of unused segments is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often a full disk is asked whether it still is.
const FULL_EVERY: Duration = Duration::from_millis(250);

/// The two threads of a store.
#[derive(Debug)]
pub(super) struct Threads {
    writer: JoinHandle<Writer>,
    flusher: JoinHandle<()>,
}

impl Threads {
    /// Starts both.
    pub(super) fn start(writer: Writer) -> std::io::Result<Self> {
        let shared = Arc::clone(writer.shared());
        let flushing = Arc::new(AtomicBool::new(false));
        // One checkpoint is being flushed, none waits: the writer looks at `flushing` first.
        let (to_flusher, checkpoints) = sync_channel(1);
        let done = Arc::clone(&flushing);
        let flusher = thread::Builder::new()
            .name("walrus-flush".into())
            .spawn(move || flush_checkpoints(&shared, &checkpoints, &done))?;
        let schedule = Schedule {
            flushing,
            to_flusher,
            waiting_since: None,
            unsynced_since: None,
            swept: Instant::now(),
        };
        let writer = thread::Builder::new()
            .name("walrus-write".into())
            .spawn(move || schedule.run(writer))?;
        Ok(Self { writer, flusher })
    }

    /// Waits for both to end, after the store has told them to. The writer comes back for what
    /// is left to do at a clean end, unless it panicked.
    pub(super) fn join(self) -> Option<Writer> {
        let writer = self.writer.join();
        let flusher = self.flusher.join();
        flusher.ok().and(writer.ok())
    }
}

fn flush_checkpoints(shared: &Shared, checkpoints: &Receiver<Checkpoint>, flushing: &AtomicBool) {
    for checkpoint in checkpoints {
        let finished = checkpoint.finish(shared);
        flushing.store(false, Ordering::Release);
        if let Err(failed) = finished {
            shared.fail(failed);
        }
        shared.progress.nudge();
    }
}

/// The writer's clock.
struct Schedule {
    /// A checkpoint is being flushed.
    flushing: Arc<AtomicBool>,
    to_flusher: SyncSender<Checkpoint>,
    /// When the first of what waits to be written came.
    waiting_since: Option<Instant>,
    /// When the first of what waits to be flushed was written.
    unsynced_since: Option<Instant>,
    swept: Instant,
}

impl Schedule {
    fn run(mut self, mut writer: Writer) -> Writer {
        loop {
            let patience = self.patience(&writer);
            let news = writer.shared().progress.news(patience);
            let (stop, flush) = (news.stop, news.flush);
            writer.take(news);
            if stop {
                return writer;
            }
            let flushed = if flush { writer.flush(Flush::All) } else { Ok(()) };
            if let Err(failed) = flushed.and_then(|()| self.work(&mut writer)) {
                writer.shared().fail(failed);
                return writer;
            }
        }
    }

    /// How long nothing can become due.
    fn patience(&self, writer: &Writer) -> Option<Duration> {
        let config = &writer.shared().config;
        let left = |since: Option<Instant>, age: Duration| {
            since.map(|since| age.saturating_sub(since.elapsed()))
        };
        let flush = left(self.waiting_since, millis(config.flush_age_ms));
        let flushing = self.flushing.load(Ordering::Acquire);
        let checkpoint = left(self.unsynced_since, millis(config.checkpoint_age_ms));
        let sweep = writer.holds_memory().then(|| SWEEP_EVERY.saturating_sub(self.swept.elapsed()));
        let full = writer.shared().reserve.is_used_up().then_some(FULL_EVERY);
        let least =
            [flush, checkpoint.filter(|_| !flushing), sweep, full].into_iter().flatten().min();
        // A wait of nothing would only look; a moment's wait also lets more come together.
        least.map(|least| least.max(Duration::from_millis(1)))
    }

    fn work(&mut self, writer: &mut Writer) -> Result<(), StoreFailed> {
        let shared = Arc::clone(writer.shared());
        let config = &shared.config;
        self.note(writer);
        let aged = |since: Option<Instant>, ms| since.is_some_and(|at| at.elapsed() >= millis(ms));
        let waiting = shared.progress.durable_bytes();
        if aged(self.waiting_since, config.flush_age_ms) || waiting >= config.tail_bytes_max / 2 {
            writer.flush(Flush::All)?;
            self.waiting_since = None;
        } else if waiting >= config.flush_bytes {
            writer.flush(Flush::Large)?;
        }
        self.note(writer);
        refresh_reserve(&shared);
        let due =
            writer.is_checkpoint_full() || aged(self.unsynced_since, config.checkpoint_age_ms);
        if due && !self.flushing.load(Ordering::Acquire) {
            let checkpoint = writer.begin_checkpoint()?;
            (self.waiting_since, self.unsynced_since) = (None, None);
            self.flushing.store(true, Ordering::Release);
            if self.to_flusher.send(checkpoint).is_err() {
                // It panicked: nothing can be made durable any more.
                return Err(StoreFailed::Closed);
            }
        }
        if self.swept.elapsed() >= SWEEP_EVERY {
            self.swept = Instant::now();
            writer.sweep()?;
        }
        Ok(())
    }

    fn note(&mut self, writer: &Writer) {
        if !writer.has_list() {
            self.waiting_since = None;
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
        if writer.has_unsynced() && self.unsynced_since.is_none() {
            self.unsynced_since = Some(Instant::now());
        }
    }
}

/// Asks the disk how much is free, and lets appends go so far.
pub(super) fn refresh_reserve(shared: &Shared) {
    match shared.disk.free_bytes(&shared.dir) {
        Ok(free) => {
            let was_full = shared.reserve.is_used_up();
            let unwritten = shared.budget.unwritten();
            shared.reserve.refresh(free, shared.config.reserve_bytes, unwritten);
            let is_full = shared.reserve.is_used_up();
            if is_full && !was_full {
                let reserve = shared.config.reserve_bytes;
                tracing::warn!(
                    free,
                    reserve,
                    "disk is full up to its reserve; appends are refused"
                );
            } else if was_full && !is_full {
                tracing::info!(free, "appends are taken");
            }
        }
        // What was known before goes on to hold: appends stop when it is used up.
        Err(error) => tracing::warn!(%error, "cannot tell how much disk is free"),
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}
