//! Reads a ring after a restart: what is still needed, where the log ends, what was damaged.
//!
//! Groups that were in flight at a crash tear in any order, so the end of the log is the first
//! group that is not whole, even when a later one is. But a group that was durable and rots
//! looks the same; so each group says up to which all were durable when it was written:
//!
//! ```text
//!  | 7 whole | 8 bad | 9 whole, says 6 is durable |     8 was in flight: the log ends behind 7
//!  | 7 whole | 8 bad | 9 whole, says 8 is durable |     8 is damaged: reported, the log goes on
//! ```
//!
//! Three things keep leftovers from being taken for the log: the turn, since files are used
//! again; the run, since a log that ended behind 7 writes another 8 next, in front of the old 9;
//! and the ring's id. Leftovers where recovery looks first are blanked
//! before the log goes on.
//!
//! Owns no decision about what is written next: it hands `core.rs` a [`Start`].

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    Cut, Damage, Lsn, Replayed, ReplayedBody, WalOpenError,
    core::Start,
    find::{Ring, failed},
    format::{self, Header},
    reader::{Next, Reader},
    ring::{GROUPS_START, path_of},
    salvage::{self, Lost},
};
use crate::planted;

/// How many files groups in flight may reach behind the one where the log ends.
const REACH_TURNS: u64 = 4;

/// What is called with every entry.
pub(crate) type Replay<'a> = dyn FnMut(Replayed<'_>) -> io::Result<()> + 'a;

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) start: Start,
    /// Whole groups that none calls durable: a flush that failed may have left them in the page
    /// cache only. They are written again before anything builds on them.
    pub(crate) unsure: Vec<Unsure>,
    /// Pages behind the log's end, by file and place, where a group of its own future may have
    /// been left: where it ends, and at the start of later files. They must be blanked, even
    /// those that look blank, for a flush that failed may have left them so in the page cache
    /// only. The log will reach those numbers again, perhaps in other places, and a later
    /// recovery would take what stands here for its own.
    pub(crate) leftovers: Vec<(u32, u64)>,
    pub(crate) groups: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) from: Lsn,
    pub(crate) cut: Option<Cut>,
    pub(crate) damage: Vec<Damage>,
}

/// A group to be written again where it is.
#[derive(Debug)]
pub(crate) struct Unsure {
    pub(crate) lsn: Lsn,
    pub(crate) file: u32,
    pub(crate) at: u64,
    pub(crate) bytes: Bytes,
}

/// What the headers near the log's end say, before anything is replayed.
#[derive(Debug, Default)]
struct Survey {
    /// The first group of each turn whose file still begins with it.
    firsts: BTreeMap<u64, Lsn>,
    /// The greatest turn among them.
    newest: u64,
    run_max: u32,
    /// The last group of each run that was seen.
    runs: BTreeMap<u32, Lsn>,
    /// The greatest claim.
    durable: Lsn,
    released: Lsn,
}

impl Survey {
    /// Looks at the first group of each file, then at every page of the newest file and of the
    /// one behind, into which groups in flight may reach. What groups claim grows with their
    /// number, so the greatest claims are there.
    fn take(ring: &Ring, dir: &Path) -> Result<Self, WalOpenError> {
        let mut survey = Self::default();
        for (index, file) in (0u32..).zip(&ring.files) {
            let reader = Reader::new(file.clone(), ring.shape);
            let header = reader.first_header().map_err(failed("reading", &path_of(dir, index)))?;
            if let Some(header) = header.filter(|found| ring.shape.file_of(found.turn) == index) {
                survey.firsts.insert(header.turn, header.lsn);
                survey.see(&header);
            }
        }
        survey.newest = survey.firsts.last_key_value().map_or(0, |(turn, _)| *turn);
        for turn in survey.newest..=survey.newest + 1 {
            let index = ring.shape.file_of(turn);
            let mut reader = Reader::new(ring.files[index as usize].clone(), ring.shape);
            let mut see = |_, header: Header| {
                if header.turn == turn {
                    survey.see(&header);
                }
                Next::Go
            };
            reader
                .headers_from(GROUPS_START, &mut see)
                .map_err(failed("reading", &path_of(dir, index)))?;
        }
        Ok(survey)
    }

    fn see(&mut self, header: &Header) {
        self.run_max = self.run_max.max(header.run);
        self.durable = self.durable.max(header.durable);
        self.released = self.released.max(header.released);
        let last = self.runs.entry(header.run).or_default();
        *last = header.lsn.max(*last);
    }

    /// Where to begin: the last turn that begins at or before what is needed.
    ///
    /// Where the file that should hold it does not begin with a group, that place is a guess, and
    /// the third answer is true: the first group at or past `needed` has to be looked for.
    fn start(&self, needed: Lsn) -> (u64, Lsn, bool) {
        let before = self.firsts.iter().rfind(|(_, first)| **first <= needed);
        match (before, self.firsts.first_key_value()) {
            (Some((turn, first)), _) => (*turn, *first, false),
            (None, Some((turn, _))) => (turn.saturating_sub(1), needed, true),
            (None, None) => (0, needed, true),
        }
    }

    /// Whether a group that `run` or a later one wrote at or past `lsn` was seen.
    fn was_begun(&self, lsn: Lsn, run: u32) -> bool {
        self.runs.range(run..).any(|(_, last)| *last >= lsn)
    }
}

/// The turns in front of `start` that the ring still holds, with the first group of each as far as
/// it is known. `expected` is the first of what comes behind them.
///
/// None is needed as the survey has it. But a group that is cut may have said so, and then nothing
/// on the disk says it any more: their files must not be written before a group does again.
fn turns_before(survey: &Survey, files: u32, start: u64, expected: Lsn) -> VecDeque<(u64, Lsn)> {
    let oldest = (start + 1).saturating_sub(u64::from(files));
    let first_of = |turn| survey.firsts.range(turn..start).next().map(|(_, first)| *first);
    (oldest..start).map(|turn| (turn, first_of(turn).unwrap_or(expected))).collect()
}

/// Follows the log from group to group.
struct Walk<'a> {
    ring: &'a Ring,
    dir: &'a Path,
    survey: Survey,
    /// Nothing below is replayed.
    needed: Lsn,
    reader: Reader,
    turn: u64,
    at: u64,
    expected: Lsn,
    /// No group was found yet, and where the first one stands is not known.
    seeking: bool,
    run: u32,
    last_full: Lsn,
    /// What the groups of the log itself say, which may be less than what the survey saw: some
    /// of that is cut, and what it said must be said again.
    marked: Lsn,
    released: Lsn,
    turns: VecDeque<(u64, Lsn)>,
    /// Where it began.
    first_turn: u64,
    found: Found,
}

/// What the walk has counted and kept so far.
#[derive(Default)]
struct Found {
    unsure: Vec<Unsure>,
    groups: u64,
    entries: u64,
    bytes: u64,
    cut: Option<Cut>,
    damage: Vec<Damage>,
}

/// Reads what is needed and hands every entry to `replay`, in order.
pub(crate) fn recover(
    ring: &Ring,
    dir: &Path,
    replay: &mut Replay<'_>,
) -> Result<Recovered, WalOpenError> {
    let survey = Survey::take(ring, dir)?;
    let needed = survey.released.max(Lsn(1));
    let (turn, expected, seeking) = survey.start(needed);
    let mut walk = Walk {
        ring,
        dir,
        needed,
        reader: Reader::new(None, ring.shape),
        turn,
        at: GROUPS_START,
        expected,
        seeking,
        run: 0,
        last_full: Lsn::ZERO,
        marked: Lsn::ZERO,
        released: Lsn::ZERO,
        turns: turns_before(&survey, ring.shape.files, turn, expected),
        first_turn: turn,
        found: Found::default(),
        survey,
    };
    walk.enter(turn, GROUPS_START);
    while walk.step(replay)? {}
    Ok(walk.end())
}

impl Walk<'_> {
    /// Follows one group; `false` at the log's end.
    fn step(&mut self, replay: &mut Replay<'_>) -> Result<bool, WalOpenError> {
        let here = self.read(Reader::header)?;
        if let Some(header) = here.filter(|header| self.continues(header, self.turn)) {
            return self.group(header, replay);
        }
        if self.next_file_continues()? {
            self.enter(self.turn + 1, GROUPS_START);
            return Ok(true);
        }
        self.gap(replay)
    }

    /// Whether a header is the one that comes next.
    fn continues(&self, header: &Header, turn: u64) -> bool {
        header.turn == turn && header.lsn == self.expected && header.run >= self.run
    }

    fn next_file_continues(&self) -> Result<bool, WalOpenError> {
        let turn = self.turn + 1;
        let reader = self.open(turn);
        let header = reader.first_header().map_err(self.reading(turn))?;
        Ok(header.is_some_and(|header| self.continues(&header, turn)))
    }

    /// A group whose header is whole and comes next.
    fn group(&mut self, header: Header, replay: &mut Replay<'_>) -> Result<bool, WalOpenError> {
        let bytes = u64::from(header.bytes);
        if header.lsn >= self.needed {
            let at = self.at;
            let group = self.read(|reader, at| reader.bytes(at..at + bytes))?;
            if format::is_whole(&group, &header) {
                self.replay(&header, &group, replay)?;
            } else if header.lsn <= self.survey.durable {
                let lost = Lost { region: &group, first: header.lsn, header: Some(header) };
                self.damaged(&lost, header.lsn, (self.turn, at), replay)?;
            } else if planted::is("cut-at-later-group") {
                self.found.groups += 1;
            } else {
                self.cut();
                return Ok(false);
            }
        }
        if header.entries > 0 {
            self.last_full = header.lsn;
        }
        self.seeking = false;
        self.marked = self.marked.max(header.durable);
        self.released = self.released.max(header.released);
        self.run = header.run;
        self.expected = header.lsn.next();
        self.at += bytes;
        Ok(true)
    }

    fn replay(
        &mut self,
        header: &Header,
        group: &Bytes,
        replay: &mut Replay<'_>,
    ) -> Result<(), WalOpenError> {
        for (head, user) in format::heads(group, header) {
            let start = head.body_at as usize;
            let body = group.slice(start..start + head.body_bytes as usize);
            let body = ReplayedBody::Intact(&body);
            let entry = Replayed { lsn: header.lsn, kind: head.kind, head: user, body };
            replay(entry).map_err(self.refused(header.lsn))?;
        }
        self.found.groups += 1;
        self.found.entries += u64::from(header.entries);
        self.found.bytes += u64::from(header.bytes);
        if header.lsn > self.survey.durable {
            self.found.unsure.push(Unsure {
                lsn: header.lsn,
                file: self.ring.shape.file_of(self.turn),
                at: self.at,
                bytes: group.clone(),
            });
        }
        Ok(())
    }

    /// No header that comes next, here or at the start of the next file: the end, or damage.
    fn gap(&mut self, replay: &mut Replay<'_>) -> Result<bool, WalOpenError> {
        let is_durable = self.expected <= self.survey.durable;
        let found = if is_durable || self.seeking { self.find_later()? } else { None };
        let follows = found.is_some_and(|(_, _, header)| header.lsn == self.expected);
        if !is_durable && !follows {
            if self.survey.was_begun(self.expected, self.run) {
                self.cut();
            }
            return Ok(false);
        }
        let last = found.map_or(self.survey.durable, |(_, _, header)| Lsn(header.lsn.0 - 1));
        if last >= self.needed {
            self.report_gap(last, found.map(|(turn, at, _)| (turn, at)), replay)?;
        }
        self.seeking = false;
        self.last_full = last;
        self.expected = last.next();
        let Some((turn, at, _)) = found else { return Ok(false) };
        self.enter(turn, at);
        Ok(true)
    }

    /// Reports groups from the expected one up to `last`, in front of what was `found`.
    ///
    /// They stood here, or, when the log had moved on to the next file, at the start of that.
    fn report_gap(
        &mut self,
        last: Lsn,
        found: Option<(u64, u64)>,
        replay: &mut Replay<'_>,
    ) -> Result<(), WalOpenError> {
        let file_end = self.ring.shape.file_bytes;
        let mut places = match found {
            Some((turn, at)) if turn == self.turn => vec![(turn, self.at..at)],
            Some((turn, at)) => vec![(self.turn, self.at..file_end), (turn, GROUPS_START..at)],
            None => vec![(self.turn, self.at..file_end)],
        };
        places.retain(|(_, range)| !range.is_empty());
        let mut regions = Vec::new();
        for (turn, range) in places {
            let region = self.open(turn).bytes(range.clone()).map_err(self.reading(turn))?;
            let lost = Lost { region: &region, first: self.expected, header: None };
            let is_there = salvage::is_there(&lost, self.ring.shape.ring_id, self.run);
            regions.push((is_there, turn, range, region));
        }
        let Some((_, turn, range, region)) =
            regions.into_iter().max_by_key(|(is_there, turn, ..)| (*is_there, *turn))
        else {
            return Ok(());
        };
        let lost = Lost { region: &region, first: self.expected, header: None };
        self.damaged(&lost, last, (turn, range.start), replay)?;
        let bytes = found.filter(|found| found.0 == turn).map(|(_, at)| at - range.start);
        if let Some(damage) = self.found.damage.last_mut() {
            damage.bytes = bytes;
        }
        Ok(())
    }

    /// The next whole header of a later group, in this file or in one behind.
    fn find_later(&mut self) -> Result<Option<(u64, u64, Header)>, WalOpenError> {
        let files = u64::from(self.ring.shape.files);
        let last = self.survey.newest + 1;
        let later = (self.turn + 1).max((last + 1).saturating_sub(files));
        for turn in std::iter::once(self.turn).chain(later..=last) {
            let start = if turn == self.turn { self.at } else { GROUPS_START };
            let (expected, run) = (self.expected, self.run);
            let mut found = None;
            let mut see = |at, header: Header| {
                if header.turn != turn || header.lsn < expected || header.run < run {
                    return Next::Go;
                }
                found = Some((turn, at, header));
                Next::Stop
            };
            let mut reader = self.open(turn);
            reader.headers_from(start, &mut see).map_err(self.reading(turn))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reports damaged groups and replays what is left of them.
    fn damaged(
        &mut self,
        lost: &Lost<'_>,
        last: Lsn,
        (turn, at): (u64, u64),
        replay: &mut Replay<'_>,
    ) -> Result<(), WalOpenError> {
        let mut damage = Damage {
            first: lost.first,
            last,
            file: path_of(self.dir, self.ring.shape.file_of(turn)),
            at,
            bytes: lost.header.map(|header| u64::from(header.bytes)),
            entries_intact: 0,
            entries_named: 0,
            entries_lost: None,
        };
        for entry in salvage::entries(lost, self.ring.shape.ring_id, self.run) {
            let intact = entry.body.map(|body| lost.region.slice(body));
            let body = match &intact {
                Some(body) => ReplayedBody::Intact(body),
                None => ReplayedBody::Damaged { bytes: entry.body_bytes },
            };
            match intact {
                Some(_) => damage.entries_intact += 1,
                None => damage.entries_named += 1,
            }
            let entry = Replayed { lsn: lost.first, kind: entry.kind, head: entry.head, body };
            replay(entry).map_err(self.refused(lost.first))?;
        }
        let seen = damage.entries_intact + damage.entries_named;
        damage.entries_lost = lost.header.map(|header| header.entries.saturating_sub(seen));
        self.found.entries += u64::from(seen);
        self.found.damage.push(damage);
        Ok(())
    }

    fn cut(&mut self) {
        let file = path_of(self.dir, self.ring.shape.file_of(self.turn));
        self.found.cut = Some(Cut { lsn: self.expected, file, at: self.at });
    }

    /// Goes on at `at` in the file of `turn`.
    fn enter(&mut self, turn: u64, at: u64) {
        let oldest = (turn + 1).saturating_sub(u64::from(self.ring.shape.files));
        while self.turns.front().is_some_and(|(kept, _)| *kept < oldest) {
            self.turns.pop_front();
        }
        // Turns that left nothing readable begin, as far as is known, with what comes now.
        let next = self.turns.back().map_or(turn, |(last, _)| last + 1);
        self.turns.extend((next..=turn).map(|turn| (turn, self.expected)));
        self.reader = self.open(turn);
        self.turn = turn;
        self.at = at;
    }

    fn open(&self, turn: u64) -> Reader {
        let index = self.ring.shape.file_of(turn) as usize;
        Reader::new(self.ring.files[index].clone(), self.ring.shape)
    }

    fn read<T>(
        &mut self,
        what: impl FnOnce(&mut Reader, u64) -> io::Result<T>,
    ) -> Result<T, WalOpenError> {
        let read = what(&mut self.reader, self.at);
        read.map_err(self.reading(self.turn))
    }

    fn reading(&self, turn: u64) -> impl FnOnce(io::Error) -> WalOpenError + use<> {
        failed("reading", &path_of(self.dir, self.ring.shape.file_of(turn)))
    }

    fn refused(&self, lsn: Lsn) -> impl FnOnce(io::Error) -> WalOpenError + use<> {
        let dir: PathBuf = self.dir.to_path_buf();
        move |source| WalOpenError::Replay { dir, lsn, source }
    }

    /// See [`Recovered::leftovers`]. Files that hold older turns are left alone.
    fn leftovers(&self) -> Vec<(u32, u64)> {
        let shape = &self.ring.shape;
        let mut places = Vec::new();
        if planted::is("tail-not-cut") {
            return places;
        }
        if self.at < shape.file_bytes {
            places.push((shape.file_of(self.turn), self.at));
        }
        let holds_older = |file: u32| {
            let firsts = self.survey.firsts.range(..=self.turn).map(|(turn, _)| *turn);
            // Those before may be overwritten by now, as `firsts` knows.
            let walked = self.turns.iter().map(|(turn, _)| *turn);
            let walked = walked.filter(|turn| *turn >= self.first_turn);
            firsts.chain(walked).any(|turn| shape.file_of(turn) == file)
        };
        for turn in self.turn + 1..=self.turn + REACH_TURNS {
            let file = shape.file_of(turn);
            let is_there = self.ring.files[file as usize].is_some();
            if is_there && !holds_older(file) && !places.contains(&(file, GROUPS_START)) {
                places.push((file, GROUPS_START));
            }
        }
        places
    }

    fn end(self) -> Recovered {
        let leftovers = self.leftovers();
        let Found { unsure, groups, entries, bytes, cut, damage } = self.found;
        let made = self.ring.files.iter().take_while(|file| file.is_some()).count();
        let released = self.survey.released.min(self.expected);
        let start = Start {
            shape: self.ring.shape,
            run: self.survey.run_max + u32::from(!planted::is("tail-not-cut")),
            next: self.expected,
            turn: self.turn,
            at: self.at,
            marked: self.marked,
            last_full: self.last_full,
            released,
            // Files that lie about it, each group in its own way, must not get past the newest
            // claim, which is what replay began with.
            released_durable: self.released.min(released),
            turns: self.turns,
            files_ready: u32::try_from(made).expect("a ring has at most 1000 files"),
        };
        Recovered {
            start,
            unsure,
            leftovers,
            groups,
            entries,
            bytes,
            from: self.needed,
            cut,
            damage,
        }
    }
}
