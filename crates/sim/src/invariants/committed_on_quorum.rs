//! I3: what is committed is on the disks of a write quorum.

use walrus_types::Offset;

use super::Truth;
use crate::{node::Node, raft::Record};

impl Truth {
    pub(super) fn check_commit(nodes: &[Node], record: &Record, commit: Offset) {
        let (epoch, w) = (record.open.epoch, record.open.write_quorum);
        let holders = Self::holders(nodes, record, commit);
        assert!(holders >= w, "I3: {commit} is committed in {epoch}, {holders} of {w} hold it");
    }
}
