//! What really happened, and what must hold of it: one rule in each file. `I1` to `I8` are the
//! design's; the TLA+ model in `tests/spec` has them under the same names.
//!
//! A rule that is broken panics, with its name first.

mod acked_stays;
mod committed_on_quorum;
mod end_decided_once;
mod fence_meets_quorum;
mod leases;
mod no_gap;
mod nothing_past_end;
mod one_writer;
mod prefix;
mod reads_agree;
mod sealed_on_quorum;
mod sequences;

use std::collections::BTreeMap;

use walrus_metadata::{Placement, Reason, Roll};
use walrus_replication::{Member, ProducerTable};
use walrus_types::{Epoch, Offset, batch::BatchHeader};

use crate::{
    message::Key,
    node::Node,
    raft::{Raft, Record},
};

#[derive(Default)]
pub(crate) struct Truth {
    /// Each batch that a leader wrote, by segment and place.
    written: BTreeMap<(Epoch, Offset), BatchHeader>,
    /// What anyone was told is committed, in order.
    pub(crate) visible: Vec<BatchHeader>,
    /// Where producers were told that their batch stands.
    acked: BTreeMap<Key, Offset>,
    /// The greatest commit offset that the leader of a segment came to.
    commits: BTreeMap<Epoch, Offset>,
    /// When segments were sealed.
    pub(super) sealed_at: BTreeMap<Epoch, u64>,
    ends: BTreeMap<Epoch, Offset>,
}

impl Truth {
    pub(crate) fn visible_end(&self) -> Offset {
        self.visible.last().map_or(Offset::ZERO, BatchHeader::end)
    }

    /// The node that still has a disk that a record names.
    fn keeper(nodes: &[Node], member: Member) -> Option<&Node> {
        nodes.iter().find(|node| node.disk.storage == member.storage)
    }

    /// How many members have all below `end` on disk. A disk that was lost since counts: it had
    /// that.
    fn holders(nodes: &[Node], record: &Record, end: Offset) -> usize {
        let holds = |member: &&Member| {
            end == record.open.base
                || Self::keeper(nodes, **member)
                    .is_none_or(|node| node.disk.durable(record.open.epoch) >= end)
        };
        record.open.members.iter().filter(holds).count()
    }

    /// Everything of this segment below `end` is called committed.
    fn reveal(&mut self, record: &Record, end: Offset) {
        while self.visible_end() < end {
            let at = self.visible_end();
            assert!(at >= record.open.base, "I6: a hole before a visible batch");
            let batch = self.written.get(&(record.open.epoch, at));
            let batch = *batch.expect("what is committed was written");
            assert!(batch.end() <= end, "{end} is inside a batch");
            self.check_sequence(&batch);
            self.visible.push(batch);
        }
    }

    /// A leader says that all below `commit` is committed.
    pub(crate) fn committed(&mut self, nodes: &[Node], record: &Record, commit: Offset) {
        Self::check_commit(nodes, record, commit);
        Self::check_commit_below_end(record, commit);
        self.commits.insert(record.open.epoch, commit);
        self.reveal(record, commit);
    }

    /// A Roll was applied to the segment that `record` was.
    pub(crate) fn rolls(&mut self, nodes: &[Node], record: &Record, roll: &Roll, now: u64) {
        self.check_decided(record, roll.sealed.end);
        self.check_nothing_lost(record, roll.sealed.end);
        if roll.reason == Reason::Failover {
            Self::check_fences(nodes, record);
        }
        self.sealed_at.insert(record.open.epoch, now);
        Self::check_sealed(nodes, record, roll);
        self.reveal(record, roll.sealed.end);
        self.check_no_gap(roll.sealed.end);
    }

    /// A node may lose its disk only while all that is visible is on another one, and the open
    /// segment has as many left as its seal needs: more is not promised.
    pub(crate) fn can_lose(&self, nodes: &[Node], raft: &Raft, lost: Member) -> bool {
        raft.chain.iter().all(|record| {
            let others = || {
                let others = record.open.members.iter().filter(|member| **member != lost);
                others.filter_map(|member| Self::keeper(nodes, *member))
            };
            let visible = record.end.unwrap_or(self.visible_end()).min(self.visible_end());
            let holds = |node: &Node| {
                visible <= record.open.base || node.disk.durable(record.open.epoch) >= visible
            };
            let enough = others().count() >= record.fences_needed();
            others().any(holds) && (enough || record.end.is_some())
        })
    }

    /// Whether a Roll opens a segment that could be sealed: so many of its members have their disk.
    /// Nobody can know that, so it is no rule; a world in which it is not so ends nowhere.
    pub(crate) fn can_be_sealed(nodes: &[Node], roll: &Roll) -> bool {
        let Placement { members, w, .. } = &roll.next;
        let kept = members
            .iter()
            .filter(|member| Self::keeper(nodes, crate::raft::from_metadata(member)).is_some());
        kept.count() > members.len() - usize::from(*w)
    }

    /// What a leader or member that has no table of its own is given by another.
    pub(crate) fn table(&self, upto: Offset) -> ProducerTable {
        let mut table = ProducerTable::default();
        for batch in self.visible.iter().take_while(|batch| batch.end() <= upto) {
            table.appended(batch);
            table.committed(table.end());
        }
        table
    }
}
