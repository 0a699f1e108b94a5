//! How a led partition's open segment ends: by a roll, by a seal of others, by a fence, a deletion
//! or a failure.
//!
//! A roll begins here and its proposal goes to [`super::roll`]; what metadata answers comes back
//! through [`Partition::sealed`]. All of it happens under the partition's lock.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tracing::warn;
use walrus_metadata::Placement;
use walrus_replication::{
    Accepted, Advance, OpenSegment, ProducerTable, ReplicaSegment, RollReason, Rolled, UptimeMs,
};
use walrus_storage::segment::Segment;
use walrus_types::{Epoch, Offset, batch, batch::BatchHeader};

use super::{
    Partition,
    append::{AppendFailure, Core},
    others::{self, Others},
};

/// What lies behind a seal: a segment that this node wrote, and what its producers had done.
#[derive(Debug)]
pub struct Behind {
    /// The segment.
    pub sealed: Arc<Segment>,
    /// Its end.
    pub end: Offset,
    /// As of its end.
    pub producers: ProducerTable,
    /// How long appends were parked until the first of them went to the successor; `None` where
    /// they were not, or where this node does not lead that.
    pub parked: Option<Duration>,
}

/// The segment that follows one that this node led, and that it leads as well.
#[derive(Debug)]
pub struct Successor {
    /// Its record in the metadata.
    pub record: OpenSegment,
    /// Where its bytes go.
    pub segment: Arc<Segment>,
    /// The batches past the end of the one before, which it takes along.
    pub carried: Vec<Bytes>,
}

impl Partition {
    /// Looks at the limits; a roll that is due begins. Asked on append and by the monitor.
    pub fn look_at_limits(self: &Arc<Self>, now: UptimeMs) {
        self.roll_if_due(&mut self.core.lock(), now);
    }

    pub(super) fn roll_if_due(self: &Arc<Self>, core: &mut Core, now: UptimeMs) {
        if core.closed.is_none()
            && let Some(reason) = core.leader.roll_due(now)
        {
            self.begin_roll_locked(core, reason, now);
        }
    }

    /// Begins a roll for a reason of the caller's. False when there is nothing to roll, or a roll
    /// is under way.
    pub fn begin_roll(self: &Arc<Self>, reason: RollReason, now: UptimeMs) -> bool {
        let mut core = self.core.lock();
        core.closed.is_none() && self.begin_roll_locked(&mut core, reason, now)
    }

    /// As [`Partition::begin_roll`], of the segment of `epoch` and to a place that the controller
    /// chose.
    pub fn begin_roll_to(
        self: &Arc<Self>,
        epoch: Epoch,
        (reason, to): (RollReason, Placement),
        now: UptimeMs,
    ) -> bool {
        let mut core = self.core.lock();
        if core.closed.is_some() || core.leader.epoch() != epoch {
            return false;
        }
        core.wanted = Some(to);
        let begun = self.begin_roll_locked(&mut core, reason, now);
        if !begun {
            core.wanted = None;
        }
        begun
    }

    /// Where the controller wants the next segment; told once.
    pub(super) fn take_wanted(&self) -> Option<Placement> {
        self.core.lock().wanted.take()
    }

    fn begin_roll_locked(
        self: &Arc<Self>,
        core: &mut Core,
        reason: RollReason,
        now: UptimeMs,
    ) -> bool {
        match core.leader.begin_roll(reason, now) {
            Ok(Some(proposal)) => {
                core.lease.proposed(now);
                self.leading.rolls.propose(self, proposal);
            }
            // It drains: the last flush brings the proposal.
            Ok(None) => {}
            Err(_refusal) => return false,
        }
        core.parks_since.get_or_insert_with(Instant::now);
        true
    }

    /// Metadata sealed the open segment at `end`. `next` is given when this node leads what follows:
    /// then what was parked goes first there; else everybody who waits past `end` is sent away.
    ///
    /// Answers what lies behind the seal; `None` when that was known already.
    ///
    /// # Panics
    /// When committed batches would be cut (I4).
    pub fn sealed(
        self: &Arc<Self>,
        end: Offset,
        next: Option<Successor>,
        now: UptimeMs,
    ) -> Option<Behind> {
        let mut core = self.core.lock();
        let known = next.as_ref().is_some_and(|next| core.leader.epoch() >= next.record.epoch);
        if core.closed.is_some() || known {
            return None;
        }
        let sealed = Arc::clone(&core.open);
        let parks_since = core.parks_since.take();
        // Everything below the end is committed, whoever sealed it.
        self.advance(&mut core, Advance { commit: Some(end), propose: None });
        let mut producers = core.leader.producers().clone();
        producers.undo_from(end);
        let mut parked = None;
        if let Some(next) = next {
            self.go_on(&mut core, end, next, now);
            parked = parks_since.filter(|_| core.closed.is_none()).map(|since| since.elapsed());
        } else {
            let rolled = core.leader.sealed(end, None, now);
            assert_eq!(rolled, Rolled::Stopped, "no successor was given");
            self.close_locked(&mut core, &AppendFailure::NotLeader);
        }
        Some(Behind { sealed, end, producers, parked })
    }

    /// Leads the successor from now on.
    fn go_on(self: &Arc<Self>, core: &mut Core, end: Offset, next: Successor, now: UptimeMs) {
        let Successor { record, segment, carried } = next;
        let rolled = core.leader.sealed(end, Some(&record), now);
        let Rolled::Leads { carry } = rolled else { unreachable!("a successor was given") };
        core.open = segment;
        core.others = Others::open(self.me(), &record, carry.end, &self.leading);
        core.lease = others::lease(self.me(), &record);
        if core.leader.commits_below_min_insync() {
            // Their batches will be committed, with fewer copies than they asked for (M12).
            core.committed.fail(&AppendFailure::TooFewCopiesAfterAppend);
        }
        for batch in carried {
            if let Err(failure) = self.take_along(core, &batch, record.epoch) {
                warn!(partition = %self.id(), why = %failure, "partition stopped");
                return self.close_locked(core, &failure);
            }
        }
        self.begin_feeding(core);
        self.append_parked(core, now);
    }

    /// Writes a batch that the sealed segment no longer covers to its successor, at its offset.
    fn take_along(
        self: &Arc<Self>,
        core: &mut Core,
        batch: &[u8],
        epoch: Epoch,
    ) -> Result<(), AppendFailure> {
        let header = BatchHeader::parse(batch).expect("the store gives whole batches");
        let mut bytes = BytesMut::from(batch);
        batch::set_place(&mut bytes, header.base_offset, epoch);
        let done = self.done(epoch, header.end());
        core.open
            .append(bytes.freeze(), done)
            .map(|_end| ())
            .map_err(|refused| AppendFailure::Storage(refused.to_string()))
    }

    /// What a successor of the open segment would take along now: the segment, and where in it.
    pub fn uncommitted(&self) -> (Arc<Segment>, Range<Offset>) {
        let core = self.core.lock();
        let cursors = core.leader.cursors();
        (Arc::clone(&core.open), cursors.commit()..cursors.log_end())
    }

    fn append_parked(self: &Arc<Self>, core: &mut Core, now: UptimeMs) {
        while core.leader.parked() > 0 {
            let parked = core.parked.pop_front().expect("the leader counts those that are there");
            let judged = core.leader.append_parked(&parked.batch.header, parked.acks, now);
            if judged == Ok(Accepted::Parked) {
                core.parked.push_front(parked);
                return;
            }
            self.carry_out(core, judged, parked);
        }
    }

    /// The topic is gone: all that wait are told, and every append from now on.
    pub fn deleted(&self) {
        self.close(&AppendFailure::Deleted);
    }

    /// The store failed: nothing that waits will ever be durable here.
    pub(super) fn failed(&self, failure: &AppendFailure) {
        if self.close(failure) {
            warn!(partition = %self.id(), why = %failure, "partition stopped");
        }
    }

    fn close(&self, failure: &AppendFailure) -> bool {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return false;
        }
        core.leader.fenced();
        self.close_locked(&mut core, failure);
        true
    }

    /// Sends everybody away who waits, and all who come.
    fn close_locked(&self, core: &mut Core, failure: &AppendFailure) {
        core.closed = Some(failure.clone());
        core.others = None;
        // Those are in the log, and it is not known whether they stay.
        let stored = match failure {
            AppendFailure::NotLeader => &AppendFailure::Overtaken,
            other => other,
        };
        core.flushed.fail(stored);
        core.committed.fail(stored);
        refuse_parked(core, failure);
        core.watchers.wake();
        core.until_closed.wake();
        core.until_answered.wake();
    }

    /// This life of the node is fenced: the leader becomes the member that it is from now on.
    /// `None` when it had stopped before.
    pub fn fenced(&self) -> Option<(ReplicaSegment, Arc<Segment>)> {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return None;
        }
        core.leader.fenced();
        let (leader, segment) = (core.leader.clone(), Arc::clone(&core.open));
        self.close_locked(&mut core, &AppendFailure::NotLeader);
        Some((leader.into_member(self.leading.writer), segment))
    }

    /// This node hears of nobody, and somebody else may lead by now: where it has no lease, those
    /// that wait are sent to look for the leader. What was appended stays. It may yet be committed,
    /// and a producer that comes again is told where it is.
    pub fn send_away(&self, now: UptimeMs) {
        let mut core = self.core.lock();
        if core.closed.is_some() || self.may_append(&core, now) {
            return;
        }
        core.committed.fail(&AppendFailure::Overtaken);
        refuse_parked(&mut core, &AppendFailure::NotLeader);
    }
}

/// Nothing of what is parked was stored, and the decider forgets it as well.
fn refuse_parked(core: &mut Core, failure: &AppendFailure) {
    while let Some(parked) = core.parked.pop_front() {
        core.leader.parked_gone();
        // A client that went no longer waits.
        drop(parked.answer.send(Err(failure.clone())));
    }
}
