//! Goes to a moment of a tape: applies its records to what is known, one after the other.
//!
//! Who goes back begins at a model that was left on the way, or at a whole snapshot some way
//! before; what that model did not see (older changes, older rates) is not on the screen then.

use std::{collections::VecDeque, sync::Arc};

use walrus_admin::snapshot::Snapshot;

use crate::{
    model::Model,
    source::{
        Also, Told,
        record::{Kind, Record, Tape, tape::Way},
    },
};

/// So many records lie between two models that are left on the way.
const LEAVE_EVERY: u64 = 64;
/// Models that are kept, and partitions of all of them.
const LEFT_MAX: usize = 32;
const LEFT_PARTITIONS_MAX: u64 = 200_000;
/// From how many records before a moment it is made, and how many partitions times records that
/// may be.
const LOOK_BACK_MAX: u64 = 4_000;
const LOOK_BACK_MIN: u64 = 60;
const LOOK_BACK_PARTITIONS_MAX: u64 = 2_000_000;
/// Records that are looked into for what was looked at then.
const LOOK_UP_MAX: usize = 600;

/// Where on a tape a model stands.
#[derive(Debug, Clone, Default)]
pub struct Player {
    /// The last record that it has heard.
    at: Option<u64>,
    /// The last snapshot that was told up to there, on which the next builds.
    known: Option<Arc<Snapshot>>,
    left: VecDeque<Left>,
    /// What could not be played, since that was looked at last.
    trouble: Option<String>,
}

/// Where a way begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Where it stands.
    Here,
    /// Behind a record at which a model was left.
    Left(u64),
    /// Behind the record before a whole snapshot; before all of them where that is none.
    Whole(Option<u64>),
}

/// A model that was left on the way.
#[derive(Debug, Clone)]
struct Left {
    at: u64,
    known: Option<Arc<Snapshot>>,
    model: Model,
}

impl Player {
    /// Stands behind the last record.
    #[must_use]
    pub fn at_end(tape: &Tape) -> Self {
        Self { at: tape.last(), ..Self::default() }
    }

    /// The last record that was heard.
    #[must_use]
    pub const fn at(&self) -> Option<u64> {
        self.at
    }

    /// Why something is missing in what is shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Brings the model to a record, with what `also` was told up to there.
    pub fn seek(&mut self, model: &mut Model, tape: &Tape, to: u64, also: Option<&Also>) {
        let many = model.figures.partitions;
        let start = self.start(tape, to, many);
        let jumps = start != Start::Here;
        if jumps {
            self.begin(model, tape, start);
        } else if self.known.is_none() {
            self.known = self.at.and_then(|at| snapshot_at(tape, at));
        }
        let from = self.at.map_or(tape.first(), |at| at + 1).max(tape.first());
        for number in from..=to {
            self.hear(model, tape, number, also);
            if to - from >= LEAVE_EVERY && number.is_multiple_of(LEAVE_EVERY) {
                self.leave_behind(model, number, many);
            }
        }
        self.at = Some(to);
        if jumps {
            self.look_up(model, tape, also);
        }
    }

    /// Bytes of the records that are gone through on the way to one.
    #[must_use]
    pub fn bytes_to(&self, model: &Model, tape: &Tape, to: u64) -> usize {
        let at = match self.start(tape, to, model.figures.partitions) {
            // What was told up to here is to be known first.
            Start::Here if self.known.is_none() => {
                self.at.and_then(|at| tape.find(at + 1, Way::Back, is_whole)).or(self.at)
            }
            Start::Here => self.at,
            Start::Left(at) => Some(at),
            Start::Whole(at) => at,
        };
        let from = at.map_or(tape.first(), |at| at + 1);
        (from..=to).filter_map(|number| tape.get(number)).map(Record::bytes).sum()
    }

    /// Bytes of the records that are looked into for what else is looked at.
    #[must_use]
    pub fn bytes_to_look_up(&self, tape: &Tape, also: Option<&Also>) -> usize {
        let (Some(_), Some(at)) = (also, self.at) else { return 0 };
        told_beside(tape, at).map(Record::bytes).sum()
    }

    /// Stands where it stands, without what it needs to go on: whoever goes on has that.
    pub fn leave(&mut self) -> Self {
        let (at, trouble) = (self.at, self.trouble.clone());
        std::mem::replace(self, Self { at, trouble, ..Self::default() })
    }

    /// Where the way to a record begins, with so many partitions.
    fn start(&self, tape: &Tape, to: u64, partitions: u64) -> Start {
        let look_back = LOOK_BACK_PARTITIONS_MAX / partitions.max(1);
        let look_back = look_back.clamp(LOOK_BACK_MIN, LOOK_BACK_MAX);
        let reaches = |at: u64| at <= to && to - at <= look_back && at + 1 >= tape.first();
        if self.at.is_some_and(reaches) {
            return Start::Here;
        }
        let left = self.left.iter().map(|left| left.at).filter(|at| reaches(*at)).max();
        if let Some(at) = left {
            return Start::Left(at);
        }
        let earliest = to.saturating_sub(look_back).max(tape.first());
        let after = (earliest..=to).find(|number| tape.get(*number).is_some_and(is_whole));
        let begin = after.or_else(|| tape.find(earliest, Way::Back, is_whole));
        Start::Whole(begin.unwrap_or(tape.first()).checked_sub(1))
    }

    /// Takes the model that was left there, or none at all before a whole snapshot.
    fn begin(&mut self, model: &mut Model, tape: &Tape, start: Start) {
        self.trouble = None;
        self.left.retain(|left| left.at + 1 >= tape.first());
        let left = self.left.iter().find(|left| start == Start::Left(left.at));
        if let Some(left) = left {
            *model = left.model.clone();
            (self.at, self.known) = (Some(left.at), left.known.clone());
        } else if let Start::Whole(at) = start {
            (*model, self.known, self.at) = (Model::default(), None, at);
        }
    }

    fn hear(&mut self, model: &mut Model, tape: &Tape, number: u64, also: Option<&Also>) {
        let Some(record) = tape.get(number) else { return };
        match record.told(&mut self.known) {
            Ok(told) => model.hear(told, record.at, also),
            Err(why) => self.trouble = Some(why.to_string()),
        }
    }

    fn leave_behind(&mut self, model: &Model, at: u64, partitions: u64) {
        if self.left.iter().any(|left| left.at == at) {
            return;
        }
        let most = usize::try_from(LEFT_PARTITIONS_MAX / partitions.max(1)).unwrap_or(LEFT_MAX);
        let most = most.clamp(1, LEFT_MAX);
        while self.left.len() >= most {
            self.left.pop_front();
        }
        self.left.push_back(Left { at, known: self.known.clone(), model: model.clone() });
    }

    /// What was told last, up to here, of what is looked at beside the cluster.
    pub fn look_up(&self, model: &mut Model, tape: &Tape, also: Option<&Also>) {
        model.forget_beside();
        let (Some(also), Some(at)) = (also, self.at) else { return };
        for record in told_beside(tape, at) {
            if let Ok(told) = record.told(&mut None)
                && told.is_of(also)
            {
                return model.hear(told, record.at, Some(also));
            }
        }
        let why = || "nothing of it was kept up to here".to_owned();
        let now = tape.get(at).map(|record| record.at).unwrap_or_default();
        let told = match also.clone() {
            Also::Chain(name) => Told::Chain { name, chain: Err(why()) },
            Also::Groups => Told::Groups(Err(why())),
            Also::Clients => Told::Clients(Err(why())),
            Also::Group(name) => Told::Group { name, group: Err(why()) },
        };
        model.hear(told, now, Some(also));
    }
}

const fn is_whole(record: &Record) -> bool {
    matches!(record.kind, Kind::Whole)
}

/// What was told beside the cluster up to a record, the newest first.
fn told_beside(tape: &Tape, at: u64) -> impl Iterator<Item = &Record> {
    let kept = (tape.first()..=at).rev().filter_map(|number| tape.get(number));
    kept.filter(|record| record.kind == Kind::Also).take(LOOK_UP_MAX)
}

/// The snapshot that was told last, up to a record.
fn snapshot_at(tape: &Tape, at: u64) -> Option<Arc<Snapshot>> {
    let whole = tape.find(at + 1, Way::Back, is_whole)?;
    let mut known = None;
    for record in (whole..=at).filter_map(|number| tape.get(number)) {
        if matches!(record.kind, Kind::Whole | Kind::Delta) {
            record.told(&mut known).ok()?;
        }
    }
    known
}
