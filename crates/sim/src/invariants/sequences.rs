//! Each producer's batches are in the log in order, without a gap, once.

use walrus_types::{Sequence, batch::BatchHeader};

use super::Truth;
use crate::message::key;

impl Truth {
    pub(super) fn check_sequence(&self, batch: &BatchHeader) {
        let mut mine = self.visible.iter().filter(|old| old.producer_id == batch.producer_id);
        let twice = mine.clone().any(|old| key(old) == key(batch));
        assert!(!twice, "{batch:?} is in the log twice");
        let follows = mine.next_back().map(|last| last.base_sequence.plus(last.record_count));
        assert_eq!(batch.base_sequence, follows.unwrap_or(Sequence(0)), "a gap before {batch:?}");
    }
}
