//! What the WAL decides: which group comes next, where it goes, what it may claim, when its
//! entries are durable, and when a file may be written again.
//!
//! Owns no bytes, files, threads or clocks: `driver.rs` asks, carries out, and reports.
//!
//! ```text
//!  turn 5 (file 1)             turn 6 (file 2)          turn 7 (file 3)
//!  | g 40 | g 41 | .. | page |  | g 57 | g 58 | ..       | .. of turn 3: free once group 40's
//!                                        ^ next            predecessors there are released
//! ```
//!
//! Groups are numbered without gaps and written one behind the other. A *turn* is one pass over
//! one file; turn `t` writes file `t % files`. A group that does not fit begins the next turn.
//!
//! A file is written again only when a **durable** group says that all it held is released:
//! otherwise a crash could leave a log that still asks for what was overwritten. The last page
//! of each file is kept for a mark, a group without entries, that says so.

use std::collections::VecDeque;

use super::{
    Lsn,
    format::{ENTRIES_MAX, HEADER_BYTES, Header},
    ring::{GROUPS_START, Shape},
};
use crate::disk::ALIGN_BYTES;

const PAGE: u64 = ALIGN_BYTES as u64;

/// Where the log stands when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) shape: Shape,
    /// Greater than that of any group that is still in the ring.
    pub(crate) run: u32,
    pub(crate) next: Lsn,
    pub(crate) turn: u64,
    /// Where in the turn's file the next group goes.
    pub(crate) at: u64,
    /// The greatest number that a durable group calls durable.
    pub(crate) marked: Lsn,
    /// The last group that has entries.
    pub(crate) last_full: Lsn,
    pub(crate) released: Lsn,
    /// How much of that a durable group says.
    pub(crate) released_durable: Lsn,
    /// The turns that the ring holds, needed or not, with the first group of each, oldest first;
    /// the current turn is the last.
    pub(crate) turns: VecDeque<(u64, Lsn)>,
    /// Files `0..files_ready` are filled.
    pub(crate) files_ready: u32,
}

/// How much the log does at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) group_bytes_max: usize,
    pub(crate) groups_in_flight: usize,
}

/// A group that is being written.
#[derive(Debug, Clone, Copy)]
struct Flight {
    lsn: Lsn,
    released: Lsn,
    claims: Lsn,
    written: bool,
}

/// The next group, as [`Core::plan`] decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many of the waiting entries go in, from the front; none in a mark.
    pub(crate) entries: usize,
    /// How long it will be.
    pub(crate) bytes: u64,
    /// Whether it is the first of a new turn.
    next_turn: bool,
}

/// Why no group can be started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing waits.
    Idle,
    /// As many groups are being written as may be, or one of them must be durable first.
    Flights,
    /// The next file is not made yet.
    Filling,
    /// The next file still holds what is not released.
    RingFull,
    /// A write failed.
    Failed,
}

/// A group that was begun: its header without lengths, and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) header: Header,
    pub(crate) file: u32,
    pub(crate) at: u64,
}

/// The state of one log.
///
/// Invariants: `marked <= durable < next`; flights are numbered `durable + 1 .. next` without
/// gaps; `released_durable <= released <= durable + 1`; `turns` are consecutive and never more than
/// there are files.
#[derive(Debug)]
pub(crate) struct Core {
    shape: Shape,
    pace: Pace,
    run: u32,
    next: Lsn,
    turn: u64,
    at: u64,
    flights: VecDeque<Flight>,
    durable: Lsn,
    marked: Lsn,
    last_full: Lsn,
    released: Lsn,
    released_durable: Lsn,
    turns: VecDeque<(u64, Lsn)>,
    files_ready: u32,
    failed: bool,
}

impl Core {
    /// A log that goes on where `start` says. Everything before is durable.
    pub(crate) fn new(start: Start, pace: Pace) -> Self {
        let core = Self {
            shape: start.shape,
            pace,
            run: start.run,
            next: start.next,
            turn: start.turn,
            at: start.at,
            flights: VecDeque::new(),
            durable: Lsn(start.next.0 - 1),
            marked: start.marked,
            last_full: start.last_full,
            released: start.released,
            released_durable: start.released_durable,
            turns: start.turns,
            files_ready: start.files_ready,
            failed: false,
        };
        core.check();
        core
    }

    /// Decides on the next group, given the sizes of the waiting entries.
    pub(crate) fn plan(&self, waiting: impl Iterator<Item = usize>) -> Result<Plan, Held> {
        let mut waiting = waiting.peekable();
        let Some(first) = waiting.peek().copied() else { return Err(Held::Idle) };
        self.may_begin()?;
        let smallest = pages((HEADER_BYTES + first) as u64);
        assert!(
            smallest <= self.shape.group_bytes_max(),
            "an entry of {first} bytes was taken, and no group can hold it"
        );
        let next_turn = self.at + smallest > self.shape.groups_end();
        let start = if next_turn {
            match self.may_turn() {
                Ok(()) => GROUPS_START,
                Err(Turn::NeedsMark) => return Ok(self.mark_here()),
                Err(Turn::Held(held)) => return Err(held),
            }
        } else {
            self.at
        };
        let room = self.shape.groups_end() - start;
        let limit = room.min((self.pace.group_bytes_max as u64).max(smallest));
        let mut used = HEADER_BYTES as u64;
        let mut entries = 0;
        while let Some(bytes) = waiting.next_if(|bytes| used + *bytes as u64 <= limit) {
            used += bytes as u64;
            entries += 1;
            if entries == ENTRIES_MAX {
                break;
            }
        }
        Ok(Plan { entries, bytes: pages(used), next_turn })
    }

    /// Decides on a mark, a group without entries, if one would say anything new: that the last
    /// entries are durable, or that more was released. Meant for a log that has gone idle.
    pub(crate) fn plan_mark(&self) -> Option<Plan> {
        if self.is_settled() || !self.flights.is_empty() || self.failed {
            return None;
        }
        if self.at + PAGE <= self.shape.groups_end() {
            return Some(self.mark_here());
        }
        match self.may_turn() {
            Ok(()) => Some(Plan { entries: 0, bytes: PAGE, next_turn: true }),
            Err(Turn::NeedsMark) => Some(self.mark_here()),
            Err(Turn::Held(_)) => None,
        }
    }

    /// Whether durable groups say all that there is to say.
    pub(crate) fn is_settled(&self) -> bool {
        self.last_full <= self.marked && self.released <= self.released_durable
    }

    const fn mark_here(&self) -> Plan {
        Plan { entries: 0, bytes: PAGE, next_turn: false }
    }

    fn may_begin(&self) -> Result<(), Held> {
        if self.failed {
            return Err(Held::Failed);
        }
        if self.flights.len() >= self.pace.groups_in_flight {
            return Err(Held::Flights);
        }
        Ok(())
    }

    /// Whether the next turn's file may be overwritten.
    fn may_turn(&self) -> Result<(), Turn> {
        let next = self.turn + 1;
        if self.shape.file_of(next) >= self.files_ready {
            return Err(Turn::Held(Held::Filling));
        }
        let Some(needed) = self.released_before_turn(next) else { return Ok(()) };
        if self.released_durable >= needed {
            return Ok(());
        }
        if self.released < needed {
            return Err(Turn::Held(Held::RingFull));
        }
        if self.flights.iter().any(|flight| flight.released >= needed) {
            return Err(Turn::Held(Held::Flights));
        }
        // Cannot happen twice in one turn: once the mark is durable the turn may begin.
        assert!(self.at + PAGE <= self.shape.file_bytes, "a file's last page was used for a mark");
        if self.flights.len() >= self.pace.groups_in_flight {
            return Err(Turn::Held(Held::Flights));
        }
        Err(Turn::NeedsMark)
    }

    /// The group up to which all must be released before turn `next` may overwrite its file.
    fn released_before_turn(&self, next: u64) -> Option<Lsn> {
        let old = next.checked_sub(u64::from(self.shape.files))?;
        let place = self.turns.iter().position(|(turn, _)| *turn == old)?;
        Some(self.turns[place + 1].1)
    }

    /// Begins the group that was planned.
    pub(crate) fn begin(&mut self, plan: Plan) -> Begun {
        if plan.next_turn {
            self.turn += 1;
            self.at = GROUPS_START;
            let oldest = (self.turn + 1).saturating_sub(u64::from(self.shape.files));
            while self.turns.front().is_some_and(|(turn, _)| *turn < oldest) {
                self.turns.pop_front();
            }
            self.turns.push_back((self.turn, self.next));
        }
        let header = Header {
            ring_id: self.shape.ring_id,
            lsn: self.next,
            turn: self.turn,
            run: self.run,
            durable: self.durable,
            released: self.released,
            entries: 0,
            heads_bytes: 0,
            used: 0,
            bytes: 0,
        };
        let begun = Begun { header, file: self.shape.file_of(self.turn), at: self.at };
        self.flights.push_back(Flight {
            lsn: self.next,
            released: self.released,
            claims: self.durable,
            written: false,
        });
        if plan.entries > 0 {
            self.last_full = self.next;
        }
        self.at += plan.bytes;
        self.next = self.next.next();
        self.check();
        begun
    }

    /// A group was written and flushed. Answers the group up to which all are durable now.
    pub(crate) fn written(&mut self, lsn: Lsn) -> Lsn {
        let flight = self.flights.iter_mut().find(|flight| flight.lsn == lsn);
        flight.expect("a completion belongs to a group that was begun").written = true;
        // Groups complete in any order and become durable in theirs: an entry may only be called
        // durable when everything before it is.
        while self.flights.front().is_some_and(|flight| flight.written) {
            let flight = self.flights.pop_front().expect("it was just seen");
            self.durable = flight.lsn;
            self.marked = self.marked.max(flight.claims);
            self.released_durable = self.released_durable.max(flight.released);
        }
        self.check();
        self.durable
    }

    /// A group could not be written or flushed. Nothing is begun any more.
    pub(crate) const fn failed(&mut self) {
        self.failed = true;
    }

    /// Nothing below `lsn` is needed by the user. What is not durable yet cannot be released: a
    /// log that lost it would number other groups the same, and take them for released.
    pub(crate) fn release(&mut self, lsn: Lsn) {
        self.released = self.released.max(lsn.min(self.durable.next()));
    }

    /// Files `0..files` are filled.
    pub(crate) const fn files_are_ready(&mut self, files: u32) {
        self.files_ready = files;
    }

    pub(crate) const fn files_ready(&self) -> u32 {
        self.files_ready
    }

    pub(crate) const fn durable(&self) -> Lsn {
        self.durable
    }

    pub(crate) const fn next(&self) -> Lsn {
        self.next
    }

    pub(crate) const fn released(&self) -> Lsn {
        self.released
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The oldest group that is still in the ring.
    pub(crate) fn oldest(&self) -> Lsn {
        self.turns.front().map_or(self.next, |(_, first)| *first)
    }

    /// Bytes of files that hold something that is not released.
    pub(crate) fn used_bytes(&self) -> u64 {
        let kept = self.turns.iter().skip(1).filter(|(_, first)| *first > self.released).count();
        kept as u64 * self.shape.file_bytes + self.at
    }

    fn check(&self) {
        assert!(self.marked <= self.durable, "{self:?}");
        assert!(self.durable.0 + self.flights.len() as u64 + 1 == self.next.0, "{self:?}");
        assert!(self.released_durable <= self.released, "{self:?}");
        assert!(self.released <= self.durable.next(), "{self:?}");
        assert!(self.turns.len() <= self.shape.files as usize, "{self:?}");
        assert!(self.turns.back().is_some_and(|(turn, _)| *turn == self.turn), "{self:?}");
        assert!(self.at >= GROUPS_START && self.at <= self.shape.file_bytes, "{self:?}");
    }
}

/// Why the log cannot move on to the next file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It could, if a durable group said what is released.
    NeedsMark,
    Held(Held),
}

const fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = 32 << 10;

    /// A log of `files` files of 8 pages: one for the header, one kept for a mark, six for groups.
    fn core(files: u32, groups_in_flight: usize) -> Core {
        let shape = Shape { ring_id: 1, file_bytes: FILE, files };
        let start = Start {
            shape,
            run: 1,
            next: Lsn(1),
            turn: 0,
            at: GROUPS_START,
            marked: Lsn(0),
            last_full: Lsn(0),
            released: Lsn(0),
            released_durable: Lsn(0),
            turns: VecDeque::from([(0, Lsn(1))]),
            files_ready: files,
        };
        Core::new(start, Pace { group_bytes_max: 16 << 10, groups_in_flight })
    }

    fn begin(core: &mut Core, waiting: &[usize]) -> Begun {
        let plan = core.plan(waiting.iter().copied()).unwrap();
        core.begin(plan)
    }

    /// Writes a group of `pages` pages and makes it durable.
    fn write(core: &mut Core, pages: usize) -> Begun {
        let begun = begin(core, &[pages * 4096 - HEADER_BYTES]);
        core.written(begun.header.lsn);
        begun
    }

    #[test]
    fn a_group_takes_what_waits_up_to_its_limit() {
        let core = core(4, 2);
        for (waiting, entries, pages) in [
            (vec![1], 1, 1),
            (vec![4096 - HEADER_BYTES], 1, 1),
            (vec![4096 - HEADER_BYTES, 1], 2, 2),
            (vec![4000; 10], 4, 4),
            (vec![20_000, 1], 2, 5),
            (vec![20_000, 4000], 1, 5),
        ] {
            let plan = core.plan(waiting.iter().copied()).unwrap();
            assert_eq!((plan.entries, plan.bytes), (entries, pages * 4096), "{waiting:?}");
        }
        assert_eq!(core.plan(std::iter::empty()), Err(Held::Idle));
    }

    #[test]
    fn no_more_groups_are_begun_than_may_be_under_way() {
        let mut core = core(4, 2);
        begin(&mut core, &[1]);
        begin(&mut core, &[1]);
        assert_eq!(core.plan([1].into_iter()), Err(Held::Flights));
        core.written(Lsn(1));
        assert!(core.plan([1].into_iter()).is_ok());
    }

    #[test]
    fn groups_become_durable_in_order_whatever_order_they_complete_in() {
        let mut core = core(4, 4);
        for _ in 0..4 {
            begin(&mut core, &[1]);
        }
        let durable: Vec<_> = [3, 1, 4, 2].map(|lsn| core.written(Lsn(lsn)).0).to_vec();
        assert_eq!(durable, [0, 1, 1, 4]);
    }

    #[test]
    fn a_group_claims_only_what_was_durable_when_it_began() {
        let mut core = core(4, 2);
        let first = begin(&mut core, &[1]);
        let second = begin(&mut core, &[1]);
        assert_eq!((first.header.durable, second.header.durable), (Lsn(0), Lsn(0)));
        core.written(Lsn(2));
        core.written(Lsn(1));
        assert_eq!(begin(&mut core, &[1]).header.durable, Lsn(2));
    }

    #[test]
    fn a_group_that_does_not_fit_begins_the_next_file() {
        let mut core = core(4, 2);
        assert_eq!(write(&mut core, 4).at, 4096);
        let begun = write(&mut core, 3);
        assert_eq!((begun.file, begun.at, begun.header.turn), (1, 4096, 1));
    }

    #[test]
    fn a_file_that_holds_what_is_not_released_is_not_written_again() {
        let mut core = core(2, 2);
        for _ in 0..4 {
            write(&mut core, 3);
        }
        assert_eq!(core.plan([1].into_iter()), Err(Held::RingFull));
        core.release(Lsn(2));
        assert_eq!(core.plan([1].into_iter()), Err(Held::RingFull), "group 2 is in that file too");
        core.release(Lsn(3));
        assert!(core.plan([1].into_iter()).is_ok());
    }

    #[test]
    fn a_file_is_written_again_only_after_a_durable_group_said_that_it_is_released() {
        let mut core = core(2, 2);
        for _ in 0..4 {
            write(&mut core, 3);
        }
        core.release(Lsn(3));
        let mark = core.plan([1].into_iter()).unwrap();
        assert_eq!(mark, core.mark_here());
        let mark = core.begin(mark);
        assert_eq!((mark.at, mark.header.released), (FILE - 4096, Lsn(3)));
        assert_eq!(core.plan([1].into_iter()), Err(Held::Flights), "the mark is not durable yet");
        core.written(mark.header.lsn);
        let begun = begin(&mut core, &[1]);
        assert_eq!((begun.file, begun.header.turn), (0, 2));
    }

    #[test]
    fn an_idle_log_is_marked_once() {
        let mut core = core(4, 2);
        assert_eq!(core.plan_mark(), None, "nothing was written");
        begin(&mut core, &[1]);
        assert_eq!(core.plan_mark(), None, "it is not durable yet");
        core.written(Lsn(1));
        let plan = core.plan_mark().unwrap();
        let mark = core.begin(plan);
        assert_eq!(mark.header.durable, Lsn(1));
        core.written(Lsn(2));
        assert_eq!(core.plan_mark(), None);
        core.release(Lsn(2));
        assert!(core.plan_mark().is_some(), "what is released must be known after a restart");
    }

    #[test]
    fn a_file_that_is_not_made_yet_is_waited_for() {
        let mut core = core(4, 2);
        core.files_are_ready(1);
        for _ in 0..2 {
            write(&mut core, 3);
        }
        assert_eq!(core.plan([1].into_iter()), Err(Held::Filling));
        core.files_are_ready(2);
        assert!(core.plan([1].into_iter()).is_ok());
    }

    #[test]
    fn a_failed_log_begins_nothing() {
        let mut core = core(4, 2);
        write(&mut core, 1);
        core.failed();
        assert_eq!(core.plan([1].into_iter()), Err(Held::Failed));
        assert_eq!(core.plan_mark(), None);
    }

    #[test]
    fn more_than_is_durable_cannot_be_released() {
        let mut core = core(4, 2);
        write(&mut core, 1);
        core.release(Lsn(u64::MAX));
        assert_eq!(core.released(), Lsn(2));
    }
}
