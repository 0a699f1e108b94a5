//! I4: a forced seal fences so many members that the others are no write quorum.

use walrus_replication::Member;

use super::Truth;
use crate::{node::Node, raft::Record};

impl Truth {
    pub(super) fn check_fences(nodes: &[Node], record: &Record) {
        let takes = |member: &&Member| {
            Self::keeper(nodes, **member)
                .is_some_and(|node| !node.disk.fences.covers_durably(record.writer))
        };
        let open = record.open.members.iter().filter(takes).count();
        let (epoch, w) = (record.open.epoch, record.open.write_quorum);
        assert!(open < w, "I4: {open} members still take appends of {epoch}");
    }
}
