//! What a source told, kept so that it can be shown again.
//!
//! Each message becomes a [`Record`] with its time. A snapshot is kept whole once in
//! [`WHOLE_EVERY_MS`], more seldom where it is large and little changes, else as what is different
//! from the one before: whoever goes back in time begins at one that is whole. Bytes: [`format`](self::format). Pure: times come in as
//! parameters, and nothing here knows of files.

mod body;
mod delta;
pub mod file;
pub mod format;
pub mod tape;

use std::sync::Arc;

use walrus_admin::snapshot::Snapshot;
use walrus_types::{TimestampMs, UptimeMs};

use self::body::Packer;
pub use self::{
    body::{BODY_MAX, PLAIN_MAX, Unkept, Unread},
    delta::between,
    tape::{RING_BYTES_MAX, RING_SPAN_MS, Tape},
};
use super::Told;
use crate::model::change::{self, Level};

/// So long from one whole snapshot to the next, and at most so long from one that is larger than
/// all that follows it.
pub const WHOLE_EVERY_MS: u64 = 60_000;
const LARGE_EVERY_MS: u64 = 600_000;
/// What follows a whole snapshot may be so long before the next, however small that was.
const AFTER_WHOLE_MIN: usize = 64 << 10;

/// What a record is of, as far as that matters without looking into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole snapshot.
    Whole,
    /// What is different from the snapshot before.
    Delta,
    /// A chain, groups, or one of them.
    Also,
    /// That nobody answered.
    Lost,
}

/// One message, kept.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is of.
    pub kind: Kind,
    /// Whether something happened by it, and how much that mattered.
    pub mark: Option<Level>,
    /// When it came, by the time of the console that kept it.
    pub at: UptimeMs,
    /// The cluster's time then, if that was known.
    pub wall: Option<TimestampMs>,
    body: Arc<[u8]>,
}

impl Record {
    /// Whether it shows the cluster at a moment, or that it could not be seen: a step in time goes
    /// from one such record to the next.
    #[must_use]
    pub const fn is_sample(&self) -> bool {
        !matches!(self.kind, Kind::Also)
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.body.len()
    }

    /// The message. `known` is the snapshot that was told before it, and then the one that this
    /// tells, if it is one.
    ///
    /// # Errors
    /// What is wrong with its bytes, or that the snapshot that it builds on is not there.
    pub fn told(&self, known: &mut Option<Arc<Snapshot>>) -> Result<Told, Unread> {
        body::told(&self.body, known)
    }
}

/// Makes records of what a source tells.
#[derive(Debug, Default)]
pub struct Recorder {
    before: Option<Arc<Snapshot>>,
    /// When the last whole snapshot came, and what it takes.
    whole: Option<(UptimeMs, usize)>,
    after_whole: usize,
    is_lost: bool,
    packer: Packer,
}

impl Recorder {
    /// The record of what was told at `now`.
    ///
    /// # Errors
    /// That it is too large to be kept. What is told next is kept as if this had not been told.
    pub fn take(&mut self, told: &Told, now: UptimeMs) -> Result<Record, Unkept> {
        match told {
            Told::Snapshot(snapshot) => self.snapshot(snapshot, now),
            Told::Lost { .. } => {
                let mark = (!self.is_lost).then_some(Level::Error);
                self.is_lost = true;
                let body = self.packer.plain(told)?;
                self.record(Kind::Lost, mark, now, body)
            }
            Told::Events(_)
            | Told::Chain { .. }
            | Told::Groups(_)
            | Told::Clients(_)
            | Told::Group { .. }
            | Told::Kept(_)
            | Told::Ended(_) => {
                let body = self.packer.plain(told)?;
                self.record(Kind::Also, None, now, body)
            }
        }
    }

    fn snapshot(&mut self, now_told: &Arc<Snapshot>, now: UptimeMs) -> Result<Record, Unkept> {
        let before = self.before.as_deref();
        let mark = before.and_then(|before| change::greatest(before, now_told));
        let delta = before.filter(|_| !self.is_whole_due(now));
        let delta = delta.and_then(|before| delta::between(before, now_told));
        let (kind, body) = match &delta {
            Some(delta) => (Kind::Delta, self.packer.snapshot(delta)?),
            None => (Kind::Whole, self.packer.snapshot(now_told)?),
        };
        self.before = Some(Arc::clone(now_told));
        self.is_lost = false;
        if kind == Kind::Whole {
            (self.whole, self.after_whole) = (Some((now, body.len())), 0);
        }
        self.record(kind, mark, now, body)
    }

    /// Whether the record of it is one of a whole snapshot.
    #[must_use]
    pub fn takes_long(&self, told: &Told, now: UptimeMs) -> bool {
        matches!(told, Told::Snapshot(_)) && self.is_whole_due(now)
    }

    fn is_whole_due(&self, now: UptimeMs) -> bool {
        self.whole.is_none_or(|(at, bytes)| {
            let is_large = self.after_whole < bytes;
            now.since(at) >= if is_large { LARGE_EVERY_MS } else { WHOLE_EVERY_MS }
                || self.after_whole >= bytes.max(AFTER_WHOLE_MIN)
        })
    }

    fn record(
        &mut self,
        kind: Kind,
        mark: Option<Level>,
        at: UptimeMs,
        body: Vec<u8>,
    ) -> Result<Record, Unkept> {
        if kind != Kind::Whole {
            self.after_whole += body.len();
        }
        let wall = self.before.as_ref().map(|snapshot| snapshot.at_ms);
        Ok(Record { kind, mark, at, wall, body: body.into() })
    }
}
