//! Rolls and prunes: the two ways a chain changes.

use walrus_types::{TimestampMs, planted};

use crate::{
    command::{Prune, Roll},
    metadata::Metadata,
    partition::Partition,
    reply::{CoverageRefusal, PruneRefusal, Pruned, RollRefusal, Rolled},
    segment::{Coverage, Open, Reason, SealedAt, SegmentKey},
};

impl Metadata {
    /// Seals and opens as one move, so that a partition is never without an open segment and its
    /// end is decided once: the next Roll finds another epoch open.
    pub(super) fn roll(&mut self, roll: &Roll) -> Result<Rolled, RollRefusal> {
        let of = roll.partition;
        let topic = self.topics.get(&of.topic).ok_or(RollRefusal::UnknownPartition)?;
        let partition = topic.partition(of.partition).ok_or(RollRefusal::UnknownPartition)?;
        let open = &partition.open;
        if open.key.epoch != roll.expected && !planted::is("late-roll-accepted") {
            return Err(RollRefusal::OtherEpoch { current: open.key.epoch });
        }
        judge_coverage(open, roll)?;
        if !is_end(partition, roll.sealed, &roll.coverage) {
            let (base, log_start) = (open.key.base, partition.log_start);
            return Err(RollRefusal::End { base, log_start });
        }
        // The fence is in the metadata before anybody seals in a leader's place.
        let was = open.leader;
        if is_forced(roll.reason) && self.may_lead(was) {
            let (node, incarnation) = (was.node, was.incarnation);
            return Err(RollRefusal::LeaderLives { node, incarnation });
        }
        if open.key.epoch.0 == i32::MAX {
            return Err(RollRefusal::EpochsSpent);
        }
        let key = SegmentKey { base: roll.sealed.end, epoch: open.key.epoch.next() };
        let why = (roll.reason, roll.at);
        let next =
            self.open_segment(key, &roll.next, topic.replicas_target, Some(&open.members), why)?;
        let leads = next.leader;
        let partition = self.partition_mut(of).expect("it was looked up above");
        let stays = partition.roll(roll.sealed, &roll.coverage, next);
        if leads != was {
            self.lease_taken(was);
            self.lease_given(leads);
        }
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

/// Whether who is said to hold the open segment can do so, and goes with why it is sealed.
fn judge_coverage(open: &Open, roll: &Roll) -> Result<(), CoverageRefusal> {
    let holders = roll.coverage.holders().unwrap_or_default();
    let once = |(at, holder)| !holders[..at].contains(holder) && open.members.contains(holder);
    if holders.len() > open.members.len() || !holders.iter().enumerate().all(once) {
        return Err(CoverageRefusal::Holders);
    }
    match roll.coverage {
        Coverage::Narrow(_) if !(1..usize::from(open.w)).contains(&holders.len()) => {
            Err(CoverageRefusal::Count { given: holders.len() as u64, w: open.w })
        }
        Coverage::Lossy { seen, .. } if !is_forced(roll.reason) || seen < roll.sealed.end => {
            Err(CoverageRefusal::Loss)
        }
        Coverage::Quorum | Coverage::Narrow(_) if roll.reason == Reason::Unsafe => {
            Err(CoverageRefusal::Loss)
        }
        Coverage::Quorum | Coverage::Narrow(_) | Coverage::Lossy { .. } => Ok(()),
    }
}

/// Whether it is somebody else than its leader who seals.
fn is_forced(reason: Reason) -> bool {
    matches!(reason, Reason::Failover | Reason::Unsafe)
}

/// Whether the open segment can have ended so: not before what it or the log starts with; with
/// bytes that somebody holds if something of it is to stay, and with none if it has no offsets.
fn is_end(partition: &Partition, sealed: SealedAt, coverage: &Coverage) -> bool {
    let SealedAt { end, bytes, max_timestamp } = sealed;
    let base = partition.open.key.base;
    let first = base.max(partition.log_start);
    let lost = coverage.holders().is_some_and(<[_]>::is_empty);
    let sound = if end == base {
        bytes == 0 && max_timestamp == TimestampMs::NONE
    } else {
        bytes > 0 && !lost || end == first
    };
    end >= first && sound
}
