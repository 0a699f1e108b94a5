//! I1: one node, in one life, ever writes a segment. So each place of it is written once.

use walrus_types::batch::BatchHeader;

use super::Truth;

impl Truth {
    pub(crate) fn wrote(&mut self, batch: BatchHeader) {
        let before = self.written.insert((batch.epoch, batch.base_offset), batch);
        assert_eq!(before, None, "I1: a place was written twice");
    }
}
