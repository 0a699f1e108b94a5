//! Whatever two nodes serve for one offset is the same batch, and what was visible once stays.

use walrus_types::{Offset, ProducerId, Sequence, batch::BatchHeader};

use super::Truth;
use crate::{message::key, node::Node, raft::Raft};

fn place(batch: &BatchHeader) -> (Offset, Offset, (ProducerId, Sequence)) {
    (batch.base_offset, batch.end(), key(batch))
}

impl Truth {
    /// All that a node would serve.
    pub(crate) fn check_reads(&self, node: &Node, raft: &Raft) {
        for replica in node.memory.replicas.values() {
            let record = raft.record(replica.epoch()).unwrap();
            self.check_served(record, replica);
            let served =
                node.disk.batches(record.open.epoch, record.open.base, replica.readable_end());
            self.check_same(record.open.base, served);
        }
    }

    /// What a consumer was given.
    pub(crate) fn check_read(&self, from: Offset, read: &[BatchHeader]) {
        let end = read.last().map_or(from, BatchHeader::end);
        assert!(end <= self.visible_end(), "{end} was read, {} is visible", self.visible_end());
        self.check_same(from, read.iter());
    }

    fn check_same<'a>(&self, from: Offset, served: impl Iterator<Item = &'a BatchHeader>) {
        let first = self.visible.partition_point(|old| old.end() <= from);
        for (mine, theirs) in served.zip(&self.visible[first..]) {
            assert_eq!(place(mine), place(theirs), "two nodes serve different batches");
        }
    }
}
