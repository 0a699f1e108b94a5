//! What a producer was told is so, and stays so: its batch is at that offset, once.

use std::collections::BTreeMap;

use walrus_types::{Offset, ProducerId, Sequence};

use super::Truth;
use crate::{
    message::{Key, key},
    raft::Record,
};

impl Truth {
    /// A producer is told that its batch stands at `base`.
    pub(crate) fn acked(&mut self, key_told: Key, base: Offset) {
        let there = self.visible.iter().rfind(|batch| batch.base_offset == base).map(key);
        assert_eq!(there, Some(key_told), "acknowledged at {base}, where something else is");
        let told = *self.acked.entry(key_told).or_insert(base);
        assert_eq!(told, base, "{key_told:?} was acknowledged at two offsets");
    }

    /// No seal may end below what was committed.
    pub(super) fn check_nothing_lost(&self, record: &Record, end: Offset) {
        let epoch = record.open.epoch;
        let commit = self.commits.get(&epoch).copied().unwrap_or(record.open.base);
        assert!(end >= commit, "{commit} is committed in {epoch} and lost: it is sealed at {end}");
    }

    /// Everything that was acknowledged is where its producer was told, and each producer's
    /// batches are all there.
    pub(crate) fn check_end(&self, sent: &BTreeMap<ProducerId, Sequence>) {
        let places: BTreeMap<Key, Offset> =
            self.visible.iter().map(|batch| (key(batch), batch.base_offset)).collect();
        for (told, base) in &self.acked {
            assert_eq!(places.get(told), Some(base), "{told:?} was acknowledged at {base}");
        }
        for (id, next) in sent {
            let last = self.visible.iter().rfind(|batch| batch.producer_id == *id);
            let reached =
                last.map_or(Sequence(0), |last| last.base_sequence.plus(last.record_count));
            assert_eq!(reached, *next, "what producer {id} sent is in the log");
        }
    }
}
