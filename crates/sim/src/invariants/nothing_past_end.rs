//! I8: nothing at or past the end of a segment is ever called committed, or served from it.

use walrus_replication::ReplicaSegment;
use walrus_types::Offset;

use super::Truth;
use crate::raft::Record;

impl Truth {
    pub(super) fn check_commit_below_end(record: &Record, commit: Offset) {
        if let Some(end) = record.end {
            let epoch = record.open.epoch;
            assert!(commit <= end, "I8: {commit} is committed past the end {end} of {epoch}");
        }
    }

    pub(super) fn check_served(&self, record: &Record, replica: &ReplicaSegment) {
        let (epoch, upto) = (replica.epoch(), replica.readable_end());
        let end = record.end.unwrap_or(self.visible_end());
        assert!(upto <= end, "I8: {upto} is served of {epoch}, which ends at {end}");
    }
}
