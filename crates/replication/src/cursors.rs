//! How far one partition has got, as the leader of its open segment sees it.
//!
//! ```text
//!  log_start            base            commit               log_end
//!      |  sealed segments |  consumers may  |  on fewer than w   |
//!      |                  |  read           |  members' disks    |
//! -----+------------------+-----------------+--------------------+--> offset
//! ```
//!
//! Owns the cursors, each member's durable end and the rule that moves them. Owns no bytes: the
//! shell says what became durable where. `leader.rs` decides what may be appended.

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, StorageId};

/// How many members must have a batch durable before it is committed.
///
/// The larger of a majority of `members` and `min.insync.replicas`, but never more than there
/// are. It is decided when a segment is opened and written in its record: a config that changes
/// while the segment is open must not change what its seal has to reach (M11).
#[must_use]
pub fn write_quorum(members: usize, min_insync: usize) -> usize {
    let majority = members / 2 + 1;
    majority.max(min_insync.min(members))
}

/// One of the places where a segment is kept: a node with one certain disk. A node that comes
/// back with an empty disk is another member (M2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub storage: StorageId,
}

/// A segment's record, as the Roll that opened it wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSegment {
    /// Its number, greater than that of every segment before it.
    pub epoch: Epoch,
    /// Its first offset: the end of the segment before it.
    pub base: Offset,
    /// Its replica set.
    pub members: Vec<Member>,
    /// The write quorum: see [`write_quorum`].
    pub write_quorum: usize,
}

/// What the leader knows of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    member: Member,
    /// Everything of the open segment below this is durable there. Never moves back.
    durable: Offset,
    /// Whether the member is taken for alive. Starts true: the Roll names only active nodes.
    live: bool,
}

/// The marks of a partition's open segment, and what each member has made durable.
///
/// Invariants: `log_start <= commit`; `base <= commit <= log_end`; each member's durable end
/// lies in `base ..= log_end`; `1 <= write_quorum <= n`; no member stands twice. No mark moves
/// back within an epoch, but for `log_end` when the store refused the very last batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursors {
    log_start: Offset,
    base: Offset,
    commit: Offset,
    log_end: Offset,
    write_quorum: usize,
    members: Vec<Progress>,
}

impl Cursors {
    /// The marks of a segment that was just opened. `log_end` is past its base only when the
    /// leader succeeds itself and takes batches along that were not committed.
    ///
    /// # Panics
    /// When the record breaks an invariant: metadata promised otherwise.
    #[must_use]
    pub fn open(segment: &OpenSegment, log_start: Offset, log_end: Offset) -> Self {
        let start =
            |member: &Member| Progress { member: *member, durable: segment.base, live: true };
        let cursors = Self {
            log_start,
            base: segment.base,
            commit: segment.base,
            log_end,
            write_quorum: segment.write_quorum,
            members: segment.members.iter().map(start).collect(),
        };
        cursors.check();
        cursors
    }

    /// The leader gave the offsets below `end` away.
    ///
    /// # Panics
    /// When that moves the log end back.
    pub fn appended(&mut self, end: Offset) {
        assert!(end > self.log_end, "appended up to {end}, the log ends at {}", self.log_end);
        self.log_end = end;
    }

    /// The last append came to nothing: the log ends at `end` again.
    ///
    /// # Panics
    /// When a member is past `end`, for then the append did happen.
    pub fn retracted(&mut self, end: Offset) {
        assert!(end <= self.log_end, "retracted to {end}, past the log end {}", self.log_end);
        self.log_end = end;
        self.check();
    }

    /// `member` has made everything below `end` durable. Returns the new commit offset if it rose.
    ///
    /// `end` may come off the network, so an unknown member or an impossible end is the peer's
    /// mistake, not ours: it is ignored, never asserted.
    pub fn durable(&mut self, member: Member, end: Offset) -> Option<Offset> {
        let log_end = self.log_end;
        let known = self.members.iter_mut().find(|known| known.member == member)?;
        if end <= known.durable || end > log_end {
            return None;
        }
        known.durable = end;
        self.raise_commit()
    }

    /// The commit offset is the `w`-th greatest durable end of the members.
    fn raise_commit(&mut self) -> Option<Offset> {
        // Sets are small (at most a handful), so counting beats sorting a copy.
        let held_by = |end| self.members.iter().filter(|member| member.durable >= end).count();
        let committed = self
            .members
            .iter()
            .map(|member| member.durable)
            .filter(|end| held_by(*end) >= self.write_quorum)
            .max()
            .expect("all n >= w members hold the least of the durable ends");
        if committed <= self.commit {
            return None;
        }
        self.commit = committed;
        self.check();
        Some(committed)
    }

    /// Raft fixed the segment's end, so everything below it counts as committed (I5, I7).
    pub(crate) fn sealed(&mut self, end: Offset) {
        assert!(end >= self.commit, "sealed at {end}, but {} is committed", self.commit);
        assert!(end <= self.log_end, "sealed at {end}, but the log ends at {}", self.log_end);
        self.commit = end;
        self.log_end = end;
        for member in &mut self.members {
            member.durable = member.durable.min(end);
        }
        self.check();
    }

    /// Whether `member` is alive, as far as the shell knows. Says nothing about what is
    /// committed: only how many members an `acks=all` append may hope for.
    pub fn set_live(&mut self, member: Member, live: bool) {
        if let Some(known) = self.members.iter_mut().find(|known| known.member == member) {
            known.live = live;
        }
    }

    /// Moves the log start up to `to`; one that is further already stays.
    ///
    /// # Panics
    /// When `to` is not committed: nothing but a bug can have pruned what is not.
    pub fn move_log_start(&mut self, to: Offset) {
        assert!(to <= self.commit, "log start {to} is past the commit offset {}", self.commit);
        self.log_start = self.log_start.max(to);
    }

    /// The first offset that is still there.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The open segment's first offset.
    #[must_use]
    pub const fn base(&self) -> Offset {
        self.base
    }

    /// Everything below is on `w` disks: Kafka's high watermark.
    #[must_use]
    pub const fn commit(&self) -> Offset {
        self.commit
    }

    /// The offset that the next record gets.
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// How many members must hold a batch.
    #[must_use]
    pub const fn write_quorum(&self) -> usize {
        self.write_quorum
    }

    /// How many members are taken for alive.
    #[must_use]
    pub fn live_members(&self) -> usize {
        self.members.iter().filter(|member| member.live).count()
    }

    /// Each member with its durable end and whether it is taken for alive.
    pub fn members(&self) -> impl Iterator<Item = (Member, Offset, bool)> + '_ {
        self.members.iter().map(|known| (known.member, known.durable, known.live))
    }

    /// The durable end of one member.
    #[must_use]
    pub fn durable_end(&self, member: Member) -> Option<Offset> {
        self.members.iter().find(|known| known.member == member).map(|known| known.durable)
    }

    fn check(&self) {
        let Self { log_start, base, commit, log_end, write_quorum, members } = self;
        assert!(log_start <= commit, "log start {log_start} is past commit {commit}");
        assert!(base <= commit && commit <= log_end, "{base} <= {commit} <= {log_end} broken");
        let n = members.len();
        assert!((1..=n).contains(write_quorum), "w={write_quorum} with {n} members");
        for (at, known) in members.iter().enumerate() {
            let durable = known.durable;
            assert!((*base..=*log_end).contains(&durable), "{:?} holds {durable}", known.member);
            let twice = members[..at].iter().any(|other| other.member == known.member);
            assert!(!twice, "{:?} stands twice in its segment's members", known.member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: i32) -> Member {
        Member { node: NodeId(node), storage: StorageId::default() }
    }

    /// Plays `script` against an empty segment of `n` members, of which 1 leads, and compares
    /// where the cursors end. `2 4` is: member 2 has all below 4 durable.
    #[track_caller]
    fn check(n: i32, w: usize, script: &str, expected: &str) {
        let members = (1..=n).map(member).collect();
        let segment =
            OpenSegment { epoch: Epoch::FIRST, base: Offset::ZERO, members, write_quorum: w };
        let mut cursors = Cursors::open(&segment, Offset::ZERO, Offset::ZERO);
        for step in script.split(", ") {
            let (word, end) = step.split_once(' ').unwrap();
            let end = Offset(end.parse().unwrap());
            match word {
                "append" => cursors.appended(end),
                "start" => cursors.move_log_start(end),
                node => {
                    let before = cursors.commit();
                    let rose = cursors.durable(member(node.parse().unwrap()), end);
                    let now = (cursors.commit() > before).then(|| cursors.commit());
                    assert_eq!(rose, now, "{step}: what is said is what happened");
                }
            }
        }
        let Cursors { log_start, commit, log_end, .. } = cursors;
        assert_eq!(
            format!("start={log_start} commit={commit} end={log_end}"),
            expected,
            "{script}"
        );
    }

    #[test]
    fn a_batch_is_committed_once_w_members_have_it_durable() {
        check(1, 1, "append 4, 1 4", "start=0 commit=4 end=4");
        check(3, 2, "append 4, 1 4", "start=0 commit=0 end=4");
        check(3, 2, "append 4, 1 4, 3 4", "start=0 commit=4 end=4");
        check(3, 2, "append 4, 1 4, 3 1, 2 3", "start=0 commit=3 end=4");
        check(3, 3, "append 4, 1 4, 3 4", "start=0 commit=0 end=4");
        check(3, 3, "append 4, 1 4, 3 1, 2 2", "start=0 commit=1 end=4");
        check(5, 3, "append 9, 1 9, 2 7, 3 5, 4 3", "start=0 commit=5 end=9");
    }

    #[test]
    fn the_leader_counts_only_after_its_own_flush_and_is_not_needed() {
        check(3, 2, "append 4, 2 4", "start=0 commit=0 end=4");
        check(3, 2, "append 4, 2 4, 3 4", "start=0 commit=4 end=4");
    }

    #[test]
    fn an_impossible_or_late_answer_changes_nothing() {
        check(3, 2, "append 4, 1 4, 2 5", "start=0 commit=0 end=4");
        check(3, 2, "append 4, 1 4, 7 4", "start=0 commit=0 end=4");
        check(3, 2, "append 4, 1 4, 2 3, 2 1", "start=0 commit=3 end=4");
    }

    #[test]
    fn the_log_start_moves_up_only() {
        check(1, 1, "append 4, 1 4, start 3, start 1", "start=3 commit=4 end=4");
    }

    #[test]
    #[should_panic(expected = "log start 4 is past the commit offset 0")]
    fn the_log_start_never_passes_the_commit_offset() {
        check(3, 2, "append 4, 1 4, start 4", "");
    }

    #[test]
    #[should_panic(expected = "w=2 with 1 members")]
    fn a_quorum_that_can_never_be_met_is_refused() {
        check(1, 2, "append 1", "");
    }

    #[test]
    fn the_write_quorum_is_a_majority_or_min_insync_but_never_more_than_there_are() {
        // members, min.insync.replicas, expected
        let table = [
            (1, 1, 1),
            (1, 2, 1), // M12: narrowed to one member, w=2 would stand still for ever
            (2, 1, 2), // one of two is no majority
            (2, 2, 2),
            (2, 3, 2),
            (3, 1, 2), // M11: min.insync 1 does not commit on one disk of three
            (3, 2, 2),
            (3, 3, 3),
            (4, 2, 3),
            (5, 2, 3),
            (5, 4, 4),
            (5, 9, 5),
        ];
        for (members, min_insync, expected) in table {
            let w = write_quorum(members, min_insync);
            assert_eq!(w, expected, "n={members}, min.insync={min_insync}");
            assert!(2 * w > members, "two write quorums of {members} must meet");
        }
    }
}
