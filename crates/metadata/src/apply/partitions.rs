//! Rolls and prunes: the two ways a chain changes.

use walrus_types::{Offset, TimestampMs};

use crate::{
    command::{Prune, Roll},
    metadata::Metadata,
    partition::{SealedAt, SegmentKey},
    reply::{PruneRefusal, Pruned, RollRefusal, Rolled},
};

impl Metadata {
    /// Seals and opens as one move, so that a partition is never without an open segment and its
    /// end is decided once: the next Roll finds another epoch open.
    pub(super) fn roll(&mut self, roll: &Roll) -> Result<Rolled, RollRefusal> {
        let of = roll.partition;
        let topic = self.topics.get(&of.topic).ok_or(RollRefusal::UnknownPartition)?;
        let partition = topic.partition(of.partition).ok_or(RollRefusal::UnknownPartition)?;
        let open = &partition.open;
        if open.key.epoch != roll.expected {
            return Err(RollRefusal::OtherEpoch { current: open.key.epoch });
        }
        if !is_end(open.key.base, partition.log_start, roll.sealed) {
            let (base, log_start) = (open.key.base, partition.log_start);
            return Err(RollRefusal::End { base, log_start });
        }
        if open.key.epoch.0 == i32::MAX {
            return Err(RollRefusal::EpochsSpent);
        }
        let key = SegmentKey { base: roll.sealed.end, epoch: open.key.epoch.next() };
        let why = (roll.reason, roll.at);
        let next =
            self.open_segment(key, &roll.next, topic.replicas_target, Some(&open.members), why)?;
        let partition = self.partition_mut(of).expect("it was looked up above");
        let stays = partition.roll(roll.sealed, next);
        Ok(Rolled { epoch: key.epoch, stays })
    }

    /// Raises the log start. Repeated or late within the same epoch it changes nothing.
    pub(super) fn prune(&mut self, prune: &Prune) -> Result<Pruned, PruneRefusal> {
        let partition = self.partition(prune.partition).ok_or(PruneRefusal::UnknownPartition)?;
        let current = partition.open.key.epoch;
        if current != prune.expected {
            return Err(PruneRefusal::OtherEpoch { current });
        }
        if prune.log_start <= partition.log_start {
            return Ok(Pruned { log_start: partition.log_start, dropped: 0 });
        }
        let partition = self.partition_mut(prune.partition).expect("it was looked up above");
        let dropped = partition.prune(prune.log_start);
        Ok(Pruned { log_start: partition.log_start, dropped })
    }
}

/// Whether a segment from `base` can have ended so: not before what it or the log starts with,
/// with bytes if and only if it has offsets.
fn is_end(base: Offset, log_start: Offset, sealed: SealedAt) -> bool {
    let SealedAt { end, bytes, max_timestamp } = sealed;
    let empty = end == base;
    end >= base
        && end >= log_start
        && empty == (bytes == 0)
        && (!empty || max_timestamp == TimestampMs::NONE)
}
