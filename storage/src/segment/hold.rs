//! Who uses a segment, by name: what was pruned can say whom it waits for.
//!
//! Whoever reads or writes a segment for somebody holds it by a [`Held`]. A plain handle holds it
//! just as well, and is counted as one that nobody named.

use std::{fmt, ops::Deref, sync::Arc, time::Instant};

use super::Segment;

/// Holders of one segment that are named; the rest is counted.
pub const HOLDERS_MAX: usize = 16;

/// For whom a segment is held, in words that are made when somebody asks for them.
pub type Whose = Arc<dyn fmt::Display + Send + Sync>;

/// What a segment is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its batches are read for a client.
    Read,
    /// A place in it is looked for: an offset, a time.
    Lookup,
    /// Another node is sent what it lacks.
    Copy,
    /// It is copied to this node.
    Repair,
    /// The background writer has not passed it yet.
    Write,
}

/// Somebody who holds a segment.
#[derive(Clone)]
pub struct Holder {
    /// What for.
    pub purpose: Purpose,
    /// For whom, where that is known.
    pub whose: Option<Whose>,
    /// Since when; missing where that is not noted.
    pub since: Option<Instant>,
}

/// The named holders of one segment. One entry may stand for several handles.
#[derive(Default)]
pub(super) struct Holders {
    next: u64,
    named: Vec<Entry>,
}

struct Entry {
    number: u64,
    handles: usize,
    holder: Holder,
}

/// A segment that somebody holds by name; given back when dropped.
pub struct Held {
    segment: Arc<Segment>,
    /// None where too many are named already.
    number: Option<u64>,
}

impl Segment {
    /// Holds the segment by name.
    #[must_use]
    pub fn held_for(self: &Arc<Self>, purpose: Purpose, whose: Option<Whose>) -> Held {
        let mut holders = self.holders.lock();
        let number = (holders.named.len() < HOLDERS_MAX).then(|| {
            let number = holders.next;
            holders.next += 1;
            let holder = Holder { purpose, whose, since: Some(Instant::now()) };
            holders.named.push(Entry { number, handles: 1, holder });
            number
        });
        drop(holders);
        Held { segment: Arc::clone(self), number }
    }

    /// Who holds it by name, and by how many handles all of them do.
    pub(crate) fn named_holders(&self) -> (Vec<Holder>, usize) {
        let holders = self.holders.lock();
        let named = holders.named.iter().map(|entry| entry.holder.clone()).collect();
        (named, holders.named.iter().map(|entry| entry.handles).sum())
    }
}

impl Held {
    /// The segment itself.
    #[must_use]
    pub const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Deref for Held {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.segment
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        if let Some(number) = self.number {
            let mut holders = self.segment.holders.lock();
            let own = holders.named.iter_mut().find(|entry| entry.number == number);
            own.expect("an entry stays while one of its handles is there").handles += 1;
        }
        Self { segment: Arc::clone(&self.segment), number: self.number }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut holders = self.segment.holders.lock();
        let own = holders.named.iter().position(|entry| entry.number == number);
        let own = own.expect("an entry stays while one of its handles is there");
        holders.named[own].handles -= 1;
        if holders.named[own].handles == 0 {
            holders.named.swap_remove(own);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("id", &self.segment.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = self.whose.as_ref().map(ToString::to_string);
        f.debug_struct("Holder").field("purpose", &self.purpose).field("whose", &whose).finish()
    }
}
