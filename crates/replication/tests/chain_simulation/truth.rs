//! What really happened, and the invariants that it must keep (`I1` to `I8` of the design).

use std::collections::{BTreeMap, BTreeSet};

use walrus_replication::{Member, ProducerTable};
use walrus_types::{Epoch, Offset, ProducerId, Sequence, batch::BatchHeader};

use crate::{
    metadata::{Metadata, Record, Roll},
    node::Node,
    parts::{Key, key, node_of},
};

#[derive(Default)]
pub(crate) struct Truth {
    /// Each batch that a leader wrote, by segment and place.
    written: BTreeMap<(Epoch, Offset), BatchHeader>,
    /// What anyone was told is committed, in order.
    pub(crate) visible: Vec<BatchHeader>,
    /// Where producers were told that their batch stands.
    pub(crate) acked: BTreeMap<Key, Offset>,
    /// The greatest commit offset that the leader of a segment came to.
    commits: BTreeMap<Epoch, Offset>,
    /// Members that lost the disk that a segment's record names.
    pub(crate) lost: BTreeSet<(Epoch, usize)>,
}

impl Truth {
    /// I1: one writer, so each place of a segment is written once.
    pub(crate) fn wrote(&mut self, batch: BatchHeader) {
        let before = self.written.insert((batch.epoch, batch.base_offset), batch);
        assert_eq!(before, None, "I1: a place was written twice");
    }

    /// I2: a member stores what the leader wrote there.
    pub(crate) fn stored(&self, batch: &BatchHeader) {
        let written = self.written.get(&(batch.epoch, batch.base_offset));
        assert_eq!(written, Some(batch), "I2: a member stored what the leader did not write");
    }

    pub(crate) fn visible_end(&self) -> Offset {
        self.visible.last().map_or(Offset::ZERO, BatchHeader::end)
    }

    /// Everything of this segment below `end` is called committed.
    fn reveal(&mut self, record: &Record, end: Offset) {
        while self.visible_end() < end {
            let at = self.visible_end();
            assert!(at >= record.open.base, "a hole before a visible batch");
            let batch = self.written.get(&(record.open.epoch, at));
            let batch = *batch.expect("what is committed was written");
            assert!(batch.end() <= end, "{end} is inside a batch");
            let twice = self.visible.iter().any(|old| key(old) == key(&batch));
            assert!(!twice, "{batch:?} is in the log twice");
            self.check_sequence(&batch);
            self.visible.push(batch);
        }
    }

    /// Each producer's batches follow each other.
    fn check_sequence(&self, batch: &BatchHeader) {
        let mine = |old: &&BatchHeader| old.producer_id == batch.producer_id;
        if let Some(last) = self.visible.iter().rev().find(mine) {
            let expected = last.base_sequence.plus(last.record_count);
            assert_eq!(batch.base_sequence, expected, "a gap before {batch:?}");
        } else {
            assert_eq!(batch.base_sequence, Sequence(0), "a gap before {batch:?}");
        }
    }

    fn holders(&self, nodes: &[Node], record: &Record, end: Offset) -> usize {
        let epoch = record.open.epoch;
        let holds = |node: usize| {
            end == record.open.base
                || nodes[node].disk.durable(epoch) >= end
                || self.lost.contains(&(epoch, node))
        };
        record.open.members.iter().filter(|member| holds(node_of(member.node))).count()
    }

    /// A leader says that all below `commit` is committed.
    pub(crate) fn committed(&mut self, nodes: &[Node], record: &Record, commit: Offset) {
        let (epoch, w) = (record.open.epoch, record.open.write_quorum);
        let holders = self.holders(nodes, record, commit);
        assert!(holders >= w, "I3: {commit} is committed in {epoch}, {holders} of {w} hold it");
        if let Some(end) = record.end {
            assert!(commit <= end, "I8: {commit} is committed past the end {end} of {epoch}");
        }
        self.commits.insert(epoch, commit);
        self.reveal(record, commit);
    }

    /// A producer is told that its batch stands at `base`.
    pub(crate) fn acked(&mut self, key_told: Key, base: Offset) {
        let there = self.visible.iter().rfind(|batch| batch.base_offset == base).map(key);
        assert_eq!(there, Some(key_told), "acknowledged at {base}, where something else is");
        let told = *self.acked.entry(key_told).or_insert(base);
        assert_eq!(told, base, "{key_told:?} was acknowledged at two offsets");
    }

    /// A Roll is about to be applied.
    pub(crate) fn rolls(&mut self, nodes: &[Node], metadata: &Metadata, roll: &Roll) {
        let record = metadata.open();
        let (epoch, end) = (record.open.epoch, roll.end);
        let commit = self.commits.get(&epoch).copied().unwrap_or(record.open.base);
        assert!(end >= commit, "{commit} is committed in {epoch} and lost: it is sealed at {end}");
        if roll.forced {
            let takes = |node: usize| {
                !nodes[node].disk.fences.covers_durably(record.writer)
                    && !self.lost.contains(&(epoch, node))
            };
            let members = record.open.members.iter();
            let open = members.filter(|member| takes(node_of(member.node))).count();
            let w = record.open.write_quorum;
            assert!(open < w, "I4: {open} members still take appends of {epoch}");
        }
        let holders = self.holders(nodes, record, end);
        let needed = if roll.narrow { 1 } else { record.open.write_quorum };
        assert!(holders >= needed, "I7: {holders} of {needed} hold [.., {end}) of {epoch}");
        let kept = |member: &Member| {
            let node = node_of(member.node);
            nodes[node].disk.durable(epoch) >= end && !self.lost.contains(&(epoch, node))
        };
        let somewhere = end == record.open.base || record.open.members.iter().any(kept);
        assert!(somewhere, "nobody has what was sealed: [.., {end}) of {epoch}");
        self.reveal(record, end);
        assert_eq!(self.visible_end(), end, "I6: the successor begins where the visible ends");
    }

    /// I8, and that whatever two nodes serve for one offset is the same batch.
    pub(crate) fn check_reads(&self, nodes: &[Node], metadata: &Metadata) {
        for node in nodes {
            for replica in node.memory.replicas.values() {
                let (epoch, upto) = (replica.epoch(), replica.readable_end());
                let record = metadata.record(epoch).unwrap();
                let end = record.end.unwrap_or(self.visible_end());
                assert!(upto <= end, "I8: {upto} is served of {epoch}, which ends at {end}");
                let served = node.disk.batches(epoch, record.open.base, upto);
                let first = self.visible.partition_point(|old| old.end() <= record.open.base);
                for (mine, theirs) in served.zip(&self.visible[first..]) {
                    let place = |batch: &BatchHeader| (batch.base_offset, batch.end(), key(batch));
                    assert_eq!(place(mine), place(theirs), "two nodes serve different batches");
                }
            }
        }
    }

    /// A node may lose its disk only while all that is visible is on another one, and each
    /// segment loses one member at most: more is not promised.
    pub(crate) fn can_lose(&self, nodes: &[Node], metadata: &Metadata, node: usize) -> bool {
        metadata.chain.iter().all(|record| {
            let epoch = record.open.epoch;
            let others = || {
                let ids = record.open.members.iter().map(|member| node_of(member.node));
                ids.filter(|other| *other != node && !self.lost.contains(&(epoch, *other)))
            };
            let visible = record.end.unwrap_or(self.visible_end()).min(self.visible_end());
            let holds = |other: usize| {
                visible <= record.open.base || nodes[other].disk.durable(epoch) >= visible
            };
            let all = others().count() + 1 >= record.open.members.len();
            others().any(holds) && (all || record.end.is_some())
        })
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

    /// Everything that was acknowledged is where its producer was told, and each producer's
    /// batches are all there.
    pub(crate) fn check_end(&self, sent: &BTreeMap<ProducerId, Sequence>) {
        let places: BTreeMap<Key, Offset> =
            self.visible.iter().map(|batch| (key(batch), batch.base_offset)).collect();
        for (told, base) in &self.acked {
            assert_eq!(places.get(told), Some(base), "{told:?} was acknowledged at {base}");
        }
        for (id, next) in sent {
            let last = self.visible.iter().rfind(|batch| batch.producer_id == *id);
            let reached =
                last.map_or(Sequence(0), |last| last.base_sequence.plus(last.record_count));
            assert_eq!(reached, *next, "what producer {id} sent is in the log");
        }
    }
}
