//! What a WAL promised so far, and whether a replay keeps it.
//!
//! Owns no log: `wal_simulation.rs` tells it what was asked and what came back.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use walrus_storage::wal::{Done, EntryHead, Lsn, Replayed, ReplayedBody, WalOpened};
use walrus_types::chance::Chance;

pub(crate) fn head_of(name: u64) -> EntryHead {
    EntryHead::new(&name.to_le_bytes())
}

/// Bytes that only this entry has.
pub(crate) fn body_of(name: u64, bytes: usize) -> Vec<u8> {
    let mut random = Chance::seeded(name);
    let mut body = Vec::with_capacity(bytes + 8);
    while body.len() < bytes {
        body.extend(random.draw().to_le_bytes());
    }
    body.truncate(bytes);
    body
}

/// What may be wrong with a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// A byte was flipped: entries may be lost, if they are named or their groups are.
    pub(crate) damage: bool,
    /// The log may refuse to open.
    pub(crate) refusal: bool,
    /// It was closed in order: nothing that was released comes again.
    pub(crate) clean: bool,
}

impl Allowed {
    pub(crate) const NONE: Self = Self { damage: false, refusal: false, clean: false };
    pub(crate) const CLEAN: Self = Self { damage: false, refusal: false, clean: true };
}

/// An entry as it was replayed.
pub(crate) struct Seen {
    name: u64,
    lsn: Lsn,
    /// `None` when it was damaged.
    body: Option<Vec<u8>>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.body.is_some() { "" } else { ", damaged" };
        write!(f, "entry {} in group {}{body}", self.name, self.lsn)
    }
}

impl From<Replayed<'_>> for Seen {
    fn from(entry: Replayed<'_>) -> Self {
        let name = u64::from_le_bytes(entry.head.try_into().unwrap());
        let body = match entry.body {
            ReplayedBody::Intact(body) => Some(body.to_vec()),
            ReplayedBody::Damaged { .. } => None,
        };
        Self { name, lsn: entry.lsn, body }
    }
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was said, or that it may be lost.
    Open,
    /// It was called durable.
    Durable(Lsn),
}

#[derive(Debug)]
struct Asked {
    name: u64,
    bytes: u64,
    fate: Fate,
}

/// What was said to those who waited, in the order in which it was said.
type Told = Arc<Mutex<Vec<(u64, Option<Lsn>)>>>;

/// The log as its user knows it.
#[derive(Default)]
pub(crate) struct Model {
    /// Entries that were taken and may still come back, in order.
    log: Vec<Asked>,
    /// The entry that is being appended.
    asking: Option<Asked>,
    released: Lsn,
    /// The same, of what was said since the log was opened: a crash may forget it.
    released_now: Lsn,
    /// Groups of this run are numbered from here.
    next: Lsn,
    told: Told,
    told_failed: bool,
}

impl Model {
    pub(crate) fn appending(&mut self, name: u64, bytes: u64) -> Done {
        self.asking = Some(Asked { name, bytes, fate: Fate::Open });
        let told = Arc::clone(&self.told);
        Box::new(move |result| told.lock().unwrap().push((name, result.ok())))
    }

    pub(crate) fn appended(&mut self) {
        let asked = self.asking.take().expect("an append was begun");
        assert!(!self.told_failed, "{} was taken after a failure", asked.name);
        self.log.push(asked);
    }

    pub(crate) fn refused(&mut self) {
        self.asking = None;
    }

    /// A group that is known to be durable, and the one behind it.
    pub(crate) fn any_done(&self, random: &mut Chance) -> Option<Lsn> {
        let done: Vec<_> = self
            .log
            .iter()
            .filter_map(|asked| match asked.fate {
                Fate::Durable(lsn) => Some(lsn),
                Fate::Open => None,
            })
            .collect();
        // Mostly nearly all, or a small ring would stand still.
        let newest = done.len() as u64;
        let place = if random.one_in(2) { newest } else { random.below(newest + 1) };
        let lsn = done.get(usize::try_from(place).unwrap().checked_sub(1)?)?;
        Some(if random.one_in(2) { lsn.next() } else { *lsn })
    }

    pub(crate) fn released(&mut self, below: Lsn) {
        self.released = self.released.max(below);
        self.released_now = self.released_now.max(below);
    }

    /// Takes in what was said since the last call: in the order of appends, each once, groups
    /// in order, and nothing good after a failure.
    pub(crate) fn check_order(&mut self) {
        for (name, lsn) in self.told.lock().unwrap().drain(..) {
            let first =
                self.log.iter().position(|asked| asked.fate == Fate::Open && !self.told_failed);
            let Some(lsn) = lsn else {
                self.told_failed = true;
                continue;
            };
            assert!(!self.told_failed, "{name} was called durable after a failure");
            let place = first.expect("only what was taken is called durable");
            assert_eq!(self.log[place].name, name, "called durable out of order");
            assert!(lsn >= self.next, "{name} went into group {lsn}, of an earlier run");
            if let Some(before) = place.checked_sub(1) {
                let Fate::Durable(before) = self.log[before].fate else { panic!("a gap") };
                assert!(before <= lsn, "{name} went into group {lsn}, behind {before}");
            }
            self.log[place].fate = Fate::Durable(lsn);
        }
    }

    /// Holds a replay against the promises; what was not replayed is forgotten.
    pub(crate) fn check_replay(&mut self, replayed: &[Seen], opened: &WalOpened, allowed: Allowed) {
        self.check_order();
        assert!(allowed.damage || opened.damage.is_empty(), "no byte rotted: {:?}", opened.damage);
        let mut kept = Vec::new();
        let mut log = std::mem::take(&mut self.log).into_iter();
        for (came_back, seen) in replayed.iter().enumerate() {
            let asked = loop {
                let asked = log.next();
                let asked = asked.unwrap_or_else(|| panic!("{seen:?} was never appended there"));
                if asked.name == seen.name {
                    break asked;
                }
                assert!(asked.name < seen.name, "{seen:?} stands in front of {asked:?}");
                self.check_missing(&asked, opened, came_back == 0, allowed);
                if matches!(asked.fate, Fate::Durable(lsn) if lsn < self.released) {
                    // What was released may come back after a crash, or not.
                    kept.push(asked);
                }
            };
            kept.push(Self::check_entry(asked, seen, allowed));
            let again = allowed.clean && seen.lsn < self.released_now;
            assert!(!again, "{seen:?} was released");
        }
        for asked in log {
            // Behind the last one that came back: lost in flight, or released.
            let lost = matches!(asked.fate, Fate::Durable(lsn) if lsn >= self.released);
            let named = matches!(asked.fate, Fate::Durable(lsn) if is_damaged(opened, lsn));
            assert!(!lost || (allowed.damage && named), "{asked:?} was durable and is lost");
            if !lost && asked.fate != Fate::Open {
                kept.push(asked);
            }
        }
        if !allowed.damage {
            self.check_nothing_in_between(&kept);
        }
        self.log = kept;
        self.next = opened.next;
        self.released_now = Lsn::ZERO;
        self.told = Told::default();
        self.told_failed = false;
        if let Some(last) = self.log.last() {
            assert!(matches!(last.fate, Fate::Durable(lsn) if lsn < self.next), "{last:?}");
        }
        assert!(self.released <= self.next, "group {} is numbered again", self.next);
    }

    /// An entry that did not come back although one behind it did.
    fn check_missing(&self, asked: &Asked, opened: &WalOpened, at_start: bool, allowed: Allowed) {
        match asked.fate {
            Fate::Durable(lsn) if lsn < self.released => {
                assert!(at_start || allowed.damage, "{asked:?} is missing in the middle");
            }
            Fate::Durable(lsn) => {
                let named = allowed.damage && is_damaged(opened, lsn);
                assert!(named, "{asked:?} was durable and is missing");
            }
            Fate::Open => panic!("{asked:?} is missing, and what was appended later is there"),
        }
    }

    fn check_entry(asked: Asked, seen: &Seen, allowed: Allowed) -> Asked {
        match &seen.body {
            Some(body) => {
                let bytes = usize::try_from(asked.bytes).unwrap();
                assert!(*body == body_of(asked.name, bytes), "the body of {} is wrong", asked.name);
            }
            None => assert!(allowed.damage, "{} is damaged", asked.name),
        }
        if let Fate::Durable(lsn) = asked.fate {
            assert_eq!(lsn, seen.lsn, "{} came back in another group", asked.name);
        }
        // What came back once is durable: it must come back until it is released.
        Asked { fate: Fate::Durable(seen.lsn), ..asked }
    }

    fn check_nothing_in_between(&self, kept: &[Asked]) {
        let lsn = |asked: &Asked| match asked.fate {
            Fate::Durable(lsn) => lsn,
            Fate::Open => Lsn::ZERO,
        };
        assert!(kept.is_sorted_by_key(lsn), "groups out of order");
        assert!(
            kept.first().is_none_or(|first| lsn(first) >= Lsn(1)),
            "released {}",
            self.released
        );
    }
}

fn is_damaged(opened: &WalOpened, lsn: Lsn) -> bool {
    opened.damage.iter().any(|damage| (damage.first..=damage.last).contains(&lsn))
}
