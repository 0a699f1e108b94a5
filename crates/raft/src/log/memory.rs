//! The log as it is in memory, and where in the WAL each part of it stands.
//!
//! Owns what the log is after each record, the same whether the record is being written or
//! replayed, and the answer to how much of the WAL is still needed. Owns no WAL.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::{Bound, RangeBounds},
};

use openraft::{entry::RaftEntry as _, storage::LogState};
use walrus_storage::wal::Lsn;

use super::records::Record;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// The entries after the purged ones, the vote, and where they are durable.
///
/// Invariant: entries have consecutive indexes, and the first follows the purged one. (Before the
/// first purge marker is replayed the front is not known yet; see [`Memory::finish`].)
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: VecDeque<Kept>,
    purged: Option<LogId>,
    purged_at: Option<Lsn>,
    vote: Option<Vote>,
    vote_at: Option<Lsn>,
    /// As far as the last entry said that the log is committed.
    committed: Option<u64>,
    /// Entries whose bodies are lost, as far as replay knows of them.
    lost: BTreeSet<u64>,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// `None` until it is durable.
    at: Option<Lsn>,
}

/// What is wrong with a log that was read back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Entries that should follow each other do not.
    #[error("entry {found} follows entry {before}")]
    Hole {
        /// The last entry that is there.
        before: u64,
        /// The one that comes next.
        found: u64,
    },
    /// The first entries are missing and were never purged.
    #[error("the first entry is {first}, and entries are purged up to {purged:?}")]
    Front {
        /// The first entry that is there.
        first: u64,
        /// The last one that may be missing.
        purged: Option<u64>,
    },
    /// An entry that is still needed is damaged.
    #[error("entry {index} is damaged")]
    Lost {
        /// Which one.
        index: u64,
    },
}

impl Memory {
    pub(super) fn replay(&mut self, at: Lsn, record: Record) -> Result<(), Broken> {
        match record {
            Record::Log { entry, committed } => {
                let index = entry.index();
                self.truncate_from(index);
                self.follow(index)?;
                self.committed = self.committed.max(committed);
                self.entries.push_back(Kept { entry, at: Some(at) });
            }
            Record::LostLog(log_id) => {
                let index = log_id.index;
                self.truncate_from(index);
                self.follow(index)?;
                self.lost.insert(index);
                // A blank entry holds its place until it is known whether anybody needs it.
                let entry = Entry::new(log_id, crate::types::Payload::Blank);
                self.entries.push_back(Kept { entry, at: Some(at) });
            }
            Record::Vote(vote) => {
                self.set_vote(vote);
                self.vote_at = Some(at);
            }
            Record::TruncateFrom(index) => self.truncate_from(index),
            Record::PurgeTo(log_id) => {
                self.purge(log_id);
                self.purged_at = Some(at);
            }
        }
        Ok(())
    }

    /// Checks what replay came to. Records before the oldest one needed may have been replayed
    /// too, so nothing is judged before the last one was.
    pub(super) fn finish(&self) -> Result<(), Broken> {
        if let Some(index) = self.lost.first() {
            return Err(Broken::Lost { index: *index });
        }
        let Some(first) = self.entries.front().map(|kept| kept.entry.index()) else {
            return Ok(());
        };
        let purged = self.purged.as_ref().map(|log_id| log_id.index);
        if first != purged.map_or(0, |index| index + 1) {
            return Err(Broken::Front { first, purged });
        }
        Ok(())
    }

    /// Only entries are compared here, not the purge marker: what stood between the two may have
    /// been purged later and its records be gone from the WAL.
    fn follow(&self, index: u64) -> Result<(), Broken> {
        match self.entries.back().map(|kept| kept.entry.index()) {
            Some(before) if index != before + 1 => Err(Broken::Hole { before, found: index }),
            _ => Ok(()),
        }
    }

    pub(super) fn append(&mut self, entry: Entry) {
        let index = entry.index();
        let last = self.entries.back().map(|kept| kept.entry.index());
        assert!(last.is_none_or(|last| last + 1 == index), "entry {index} after {last:?}");
        self.entries.push_back(Kept { entry, at: None });
    }

    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.entries.back().is_some_and(|kept| kept.entry.index() >= index) {
            self.entries.pop_back();
        }
        let _gone = self.lost.split_off(&index);
    }

    pub(super) fn purge(&mut self, to: LogId) {
        while self.entries.front().is_some_and(|kept| kept.entry.index() <= to.index) {
            self.entries.pop_front();
        }
        self.lost = self.lost.split_off(&(to.index + 1));
        self.purged = self.purged.max(Some(to));
    }

    pub(super) fn set_vote(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    pub(super) fn set_committed(&mut self, index: Option<u64>) {
        self.committed = index;
    }

    /// An entry became durable. One that was cut off meanwhile has no place any more.
    pub(super) fn entry_durable(&mut self, index: u64, at: Lsn) {
        let place = self.place(index);
        if let Some(kept) = place.and_then(|place| self.entries.get_mut(place)) {
            kept.at = Some(at);
        }
    }

    pub(super) fn vote_durable(&mut self, at: Lsn) {
        self.vote_at = Some(at);
    }

    pub(super) fn purge_durable(&mut self, at: Lsn) {
        self.purged_at = Some(at);
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(super) fn committed_index(&self) -> Option<u64> {
        self.committed
    }

    /// The entry up to which the log was known to be committed, if it is still there.
    pub(super) fn committed(&self) -> Option<LogId> {
        let index = self.committed?;
        let kept = self.place(index).and_then(|place| self.entries.get(place));
        kept.map(|kept| kept.entry.log_id()).or(self.purged)
    }

    pub(super) fn log_state(&self) -> LogState<TypeConfig> {
        let last = self.entries.back().map(|kept| kept.entry.log_id());
        LogState { last_purged_log_id: self.purged, last_log_id: last.or(self.purged) }
    }

    /// The entries whose indexes lie in `range`, as far as they are there.
    pub(super) fn range(&self, range: &impl RangeBounds<u64>) -> Vec<Entry> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let Some(first) = self.entries.front().map(|kept| kept.entry.index()) else {
            return Vec::new();
        };
        let count = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).take(count).map(|kept| kept.entry.clone()).collect()
    }

    /// Where the entry of that index stands, if it is not purged.
    fn place(&self, index: u64) -> Option<usize> {
        let first = self.entries.front()?.entry.index();
        usize::try_from(index.checked_sub(first)?).ok()
    }

    /// The oldest group of the WAL that is still needed; `None` while that is not known because
    /// the first entry is not durable yet.
    pub(super) fn needed_from(&self) -> Option<Lsn> {
        let first = match self.entries.front() {
            Some(kept) => Some(kept.at?),
            None => None,
        };
        [first, self.vote_at, self.purged_at].into_iter().flatten().min()
    }
}
