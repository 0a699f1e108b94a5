//! I7: what is sealed is on the disks of a write quorum first, or on all that can be reached, and
//! the Roll says so. Somebody has it in any case: else readers would wait for ever.

use walrus_metadata::{Coverage, Roll};
use walrus_replication::Member;
use walrus_types::Offset;

use super::Truth;
use crate::{node::Node, raft::Record};

impl Truth {
    pub(super) fn check_sealed(nodes: &[Node], record: &Record, roll: &Roll) {
        let (epoch, end) = (record.open.epoch, roll.sealed.end);
        let narrow = matches!(roll.coverage, Coverage::Narrow(_));
        let needed = if narrow { 1 } else { record.open.write_quorum };
        let holders = Self::holders(nodes, record, end);
        assert!(holders >= needed, "I7: {holders} of {needed} hold [.., {end}) of {epoch}");
        assert!(
            Self::is_kept(nodes, record, end),
            "I7: nobody has what was sealed: [.., {end}) of {epoch}"
        );
    }

    /// Whether somebody has all below `end` on a disk that was not lost.
    pub(crate) fn is_kept(nodes: &[Node], record: &Record, end: Offset) -> bool {
        let kept = |member: &Member| {
            Self::keeper(nodes, *member)
                .is_some_and(|node| node.disk.durable(record.open.epoch) >= end)
        };
        end == record.open.base || record.open.members.iter().any(kept)
    }
}
