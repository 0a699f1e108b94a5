//! I6: the successor begins where the segment ends, and so where the visible ends.

use walrus_types::Offset;

use super::Truth;

impl Truth {
    pub(super) fn check_no_gap(&self, end: Offset) {
        assert_eq!(self.visible_end(), end, "I6: the successor begins where the visible ends");
    }
}
