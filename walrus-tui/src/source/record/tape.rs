//! Records in their order, as many as there is room for.

use std::collections::VecDeque;

use walrus_types::{TimestampMs, UptimeMs};

use super::{Kind, Record};

/// How long what was told is kept in memory.
pub const RING_SPAN_MS: u64 = 30 * 60_000;
/// What that may take.
pub const RING_BYTES_MAX: usize = 16 << 20;
/// What a recording that is replayed may take.
pub const REPLAY_BYTES_MAX: usize = 256 << 20;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes: usize,
    /// Older records than that go.
    span_ms: Option<u64>,
}

/// Records, by numbers that stay theirs.
#[derive(Debug, Clone)]
pub struct Tape {
    records: VecDeque<Record>,
    /// The number of the first one that is there.
    first: u64,
    bytes: usize,
    room: Room,
    /// Why it goes on no more, if it does not.
    ended: Option<Ended>,
}

/// How a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Whole,
    /// With something that is missing or wrong, in words.
    Short(String),
}

/// Where a record may stand that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Before.
    Back,
    /// After.
    On,
}

impl Tape {
    /// A ring of what was told last.
    #[must_use]
    pub const fn ring() -> Self {
        Self::with_room(Room { bytes: RING_BYTES_MAX, span_ms: Some(RING_SPAN_MS) })
    }

    /// A recording, from its beginning on.
    #[must_use]
    pub const fn replayed() -> Self {
        Self::with_room(Room { bytes: REPLAY_BYTES_MAX, span_ms: None })
    }

    const fn with_room(room: Room) -> Self {
        Self { records: VecDeque::new(), first: 0, bytes: 0, room, ended: None }
    }

    /// One more. Of a ring the oldest go where there is no room; a recording ends there.
    pub fn push(&mut self, record: Record) {
        if self.ended.is_some() {
            return;
        }
        let bytes = self.bytes + record.bytes();
        if self.room.span_ms.is_none() && bytes > self.room.bytes {
            let most = self.room.bytes >> 20;
            self.end(Ended::Short(format!("only the first {most} MiB of it are shown")));
            return;
        }
        self.bytes = bytes;
        self.records.push_back(record);
        while self.is_over() {
            self.drop_oldest();
        }
    }

    fn is_over(&self) -> bool {
        let Some((span_ms, last)) = self.room.span_ms.zip(self.records.back()) else {
            return false;
        };
        // What a later one builds on goes with it, not before it.
        let next_whole = self.records.iter().skip(1).find(|record| record.kind == Kind::Whole);
        let is_old = next_whole.is_some_and(|whole| last.at.since(whole.at) >= span_ms);
        self.bytes > self.room.bytes || is_old
    }

    /// The oldest goes, and what builds on it.
    fn drop_oldest(&mut self) {
        let mut is_first = true;
        while self.records.front().is_some_and(|one| is_first || one.kind != Kind::Whole) {
            is_first = false;
            if let Some(gone) = self.records.pop_front() {
                self.bytes -= gone.bytes();
                self.first += 1;
            }
        }
    }

    /// It goes on no more.
    pub fn end(&mut self, how: Ended) {
        self.ended.get_or_insert(how);
    }

    /// How it ended, if it did.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// What it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A record by its number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Record> {
        self.records.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number of the first that is there.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the last.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let many = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        many.checked_sub(1).map(|last| self.first + last)
    }

    /// All of them.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + '_ {
        self.records.iter()
    }

    /// The nearest record from `number` on its way that is so; not that one itself.
    pub fn find(&self, number: u64, way: Way, is: impl Fn(&Record) -> bool) -> Option<u64> {
        let is = |number: &u64| self.get(*number).is_some_and(&is);
        match way {
            Way::Back => (self.first..number).rev().find(is),
            Way::On => (number + 1..=self.last()?).find(is),
        }
    }

    /// The last record that came at `at` or before.
    #[must_use]
    pub fn at(&self, at: UptimeMs) -> Option<u64> {
        self.upto(|record| record.at <= at)
    }

    /// The last record of that time of the cluster or before.
    #[must_use]
    pub fn at_wall(&self, wall: TimestampMs) -> Option<u64> {
        self.upto(|record| record.wall.is_none_or(|at| at <= wall))
    }

    /// Times of a recording rise; where somebody wrote one in which they do not, some record is
    /// as good as another.
    fn upto(&self, is: impl Fn(&Record) -> bool) -> Option<u64> {
        let many = self.records.partition_point(is);
        Some(self.first + u64::try_from(many.checked_sub(1)?).ok()?)
    }
}
