//! I5: where a segment ends is decided once.

use walrus_types::Offset;

use super::Truth;
use crate::raft::Record;

impl Truth {
    pub(super) fn check_decided(&mut self, record: &Record, end: Offset) {
        let epoch = record.open.epoch;
        let before = self.ends.insert(epoch, end);
        assert_eq!(before, None, "I5: the end of {epoch} was decided twice");
        assert!(end >= record.open.base, "I5: {epoch} ends before it begins");
    }
}
