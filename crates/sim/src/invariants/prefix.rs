//! I2: each member's log is a prefix of what the leader wrote.

use walrus_types::batch::BatchHeader;

use super::Truth;

impl Truth {
    /// A member stores a batch behind what it has; its own log refuses gaps.
    pub(crate) fn stored(&self, batch: &BatchHeader) {
        let written = self.written.get(&(batch.epoch, batch.base_offset));
        assert_eq!(written, Some(batch), "I2: a member stored what the leader did not write");
    }
}
