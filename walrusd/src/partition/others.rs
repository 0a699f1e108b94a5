//! The other members of a led partition's open segment: what they are sent, and what they answer.
//!
//! The decider (`walrus_replication::Senders`) says what; here it is carried out, under the
//! partition's lock, so that what a member is sent stands in the order in which it was decided.
//! Pushing to a connection never waits; reads from the disk are tasks of their own.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};
use walrus_replication::{
    Advance, Append, Effect, Member, OpenSegment, PartitionLeader, Senders, UptimeMs,
    liveness::PartitionLease,
};
use walrus_storage::segment::{Chunk, ReadError, Segment};
use walrus_types::{Epoch, NodeId, Offset, batch::BatchHeader};

use super::{
    Partition,
    append::Core,
    leading::{Leading, SENDER_LIMITS},
    roll::split_batches,
};
use crate::peer::{
    PeerIdentity,
    append::{AppendAnswer, AppendMessage},
};

/// What the leader holds for the other members of its open segment.
#[derive(Debug)]
pub(super) struct Others {
    senders: Senders,
    /// Empty between two events.
    effects: Vec<Effect>,
    /// The earliest tick that was ordered and has not come.
    tick_at: Option<UptimeMs>,
}

impl Others {
    /// Those of `segment`, none of them sent anything; none where this node stores it alone.
    pub(super) fn open(
        me: Member,
        segment: &OpenSegment,
        log_end: Offset,
        leading: &Leading,
    ) -> Option<Self> {
        let others: Vec<Member> =
            segment.members.iter().copied().filter(|member| *member != me).collect();
        if others.is_empty() {
            return None;
        }
        let now = leading.clock.uptime();
        let mut senders = Senders::open(me, segment, log_end, SENDER_LIMITS, now);
        let mut effects = Vec::new();
        for member in &others {
            if leading.is_connected(*member) {
                senders.connected(*member, now, &mut effects);
            }
        }
        Some(Self { senders, effects, tick_at: None })
    }

    /// The commit offset rose.
    pub(super) fn committed(&mut self, commit: Offset) {
        self.senders.committed(commit);
    }

    /// The members that are in sync, beside the leader.
    pub(super) fn in_sync(&self, now: UptimeMs) -> Vec<Member> {
        self.senders.in_sync(now).collect()
    }

    /// The nodes of those that are not.
    pub(super) fn behind(&self, now: UptimeMs) -> Vec<NodeId> {
        self.senders.behind(now).map(|member| member.node).collect()
    }
}

/// The lease on `segment`, of which nothing was heard yet.
pub(super) fn lease(me: Member, segment: &OpenSegment) -> PartitionLease {
    let others = segment.members.iter().filter(|member| **member != me);
    PartitionLease::open(segment.write_quorum, others.map(|member| member.node))
}

/// A batch that was just appended.
pub(super) struct Tail {
    pub(super) prev_end: Offset,
    pub(super) end: Offset,
    pub(super) batch: Bytes,
}

impl Partition {
    /// The store took a batch: it goes to the other members as well.
    pub(super) fn feed(self: &Arc<Self>, core: &mut Core, tail: &Tail) {
        let Some(others) = &mut core.others else { return };
        let now = self.leading.clock.uptime();
        let bytes = u64::try_from(tail.batch.len()).unwrap_or(u64::MAX);
        others.senders.appended(tail.end, bytes, now, &mut others.effects);
        self.carry_out_effects(core, Some(tail), now);
    }

    /// Begins to send what the decider wants sent at the start of a segment.
    pub(super) fn begin_feeding(self: &Arc<Self>, core: &mut Core) {
        self.carry_out_effects(core, None, self.leading.clock.uptime());
    }

    /// There is a connection to a member's node.
    pub fn connected(self: &Arc<Self>, member: Member) {
        self.with_others(|others, now| others.senders.connected(member, now, &mut others.effects));
    }

    /// The connection to a member's node is gone.
    pub fn disconnected(self: &Arc<Self>, member: Member) {
        self.with_others(|others, _now| others.senders.disconnected(member));
    }

    /// It is as late as was asked for.
    pub(super) fn tick(self: &Arc<Self>, now: UptimeMs) {
        self.with_others(|others, _now| {
            if others.tick_at.is_some_and(|at| at <= now) {
                others.tick_at = None;
            }
            others.senders.tick(now, &mut others.effects);
        });
    }

    /// Sends every member something for the sake of the answer: see [`Senders::probe`].
    pub fn probe(self: &Arc<Self>) {
        self.with_others(|others, now| others.senders.probe(now, &mut others.effects));
    }

    fn with_others(self: &Arc<Self>, event: impl FnOnce(&mut Others, UptimeMs)) {
        let mut core = self.core.lock();
        let now = self.leading.clock.uptime();
        if core.closed.is_some() {
            return;
        }
        let Some(others) = &mut core.others else { return };
        event(others, now);
        self.carry_out_effects(&mut core, None, now);
    }

    /// A member answered what it was sent.
    pub fn answered(self: &Arc<Self>, from: &PeerIdentity, answer: &AppendAnswer) {
        let mut core = self.core.lock();
        let now = self.leading.clock.uptime();
        if core.closed.is_some() {
            return;
        }
        let epoch = core.leader.epoch();
        let Core { leader, others: Some(others), lease, until_answered, .. } = &mut *core else {
            return;
        };
        let mut advance = Advance::default();
        match answer {
            AppendAnswer::Position(position) => {
                let member = Member { node: from.node, storage: from.storage };
                if position.epoch == epoch {
                    lease.append_answered(from.node, position.sent_at);
                    until_answered.wake();
                }
                others.senders.answered(member, position, now, &mut others.effects);
                advance = leader.acked(position.epoch, member, position.durable);
            }
            AppendAnswer::Refused { epoch: of, stream, refusal } if *of == epoch => {
                debug!(partition = %self.id(), peer = %from.node, %refusal, "a member refused");
                let of = (from.node, *stream);
                others.senders.refused(of, refusal, now, &mut others.effects);
            }
            AppendAnswer::Refused { .. } => {}
        }
        self.advance(&mut core, advance);
        self.carry_out_effects(&mut core, None, now);
    }

    /// Does what the decider asked for. `tail` is the batch that was just appended.
    fn carry_out_effects(self: &Arc<Self>, core: &mut Core, tail: Option<&Tail>, now: UptimeMs) {
        let Some(mut effects) = core.others.as_mut().map(|o| std::mem::take(&mut o.effects)) else {
            return;
        };
        for effect in effects.drain(..) {
            self.carry_out_effect(core, effect, tail, now);
        }
        if let Some(others) = &mut core.others {
            others.effects = effects;
            self.order_tick(others);
        }
    }

    fn carry_out_effect(
        self: &Arc<Self>,
        core: &mut Core,
        effect: Effect,
        tail: Option<&Tail>,
        now: UptimeMs,
    ) {
        match effect {
            Effect::Send { to, stream } => {
                let Tail { prev_end, batch, .. } = tail.expect("a batch was just appended");
                self.push(core, (to, stream), *prev_end, Some(batch.clone()), now);
            }
            Effect::Ask { to, stream } | Effect::TellCommit { to, stream } => {
                let end = core.leader.cursors().log_end();
                self.push(core, (to, stream), end, None, now);
            }
            Effect::ReadFromDisk { to, stream, from, bytes_max } => {
                let (segment, end) = (Arc::clone(&core.open), core.leader.cursors().log_end());
                let (partition, epoch) = (Arc::clone(self), core.leader.epoch());
                self.leading.runtime.spawn(async move {
                    let read = read_for(segment, from, end, bytes_max).await;
                    partition.was_read((to, stream), epoch, read);
                });
            }
            Effect::MemberGone(member) => {
                warn!(partition = %self.id(), node = %member.node, storage = %member.storage,
                    "a member's disk is another one: it counts no more in this segment");
                core.leader.set_live(member, false);
            }
            Effect::Fenced => {
                core.leader.fenced();
                self.leading.lease.fence_heard("a member");
            }
            Effect::Sealed => core.leader.member_sealed(),
        }
    }

    /// Hands one message to a member's connection, or says that it took none.
    fn push(
        &self,
        core: &mut Core,
        (to, stream): (Member, u32),
        prev_end: Offset,
        batch: Option<Bytes>,
        now: UptimeMs,
    ) -> bool {
        let append = self.append_to(&core.leader, (to, stream), prev_end, now);
        let base = core.leader.cursors().base();
        let message = AppendMessage { partition: self.id(), base, append, batch };
        let pushed = self.leading.feeds().push(to, &message);
        if !pushed && let Some(others) = &mut core.others {
            others.senders.not_sent((to, stream), now);
        }
        pushed
    }

    fn append_to(
        &self,
        leader: &PartitionLeader,
        (to, stream): (Member, u32),
        prev_end: Offset,
        now: UptimeMs,
    ) -> Append {
        Append {
            from: self.leading.writer,
            storage: to.storage,
            epoch: leader.epoch(),
            prev_end,
            commit: leader.cursors().commit(),
            stream,
            sent_at: now,
        }
    }

    /// What a member lacks was read from the store.
    fn was_read(
        self: &Arc<Self>,
        (to, stream): (Member, u32),
        epoch: Epoch,
        read: Result<Chunk, ReadError>,
    ) {
        let mut core = self.core.lock();
        let now = self.leading.clock.uptime();
        if core.closed.is_some() || core.leader.epoch() != epoch {
            return;
        }
        let Some(others) = &mut core.others else { return };
        let chunk = match read {
            Ok(chunk) if chunk.total > 0 => chunk,
            Ok(_nothing) => return others.senders.not_sent((to, stream), now),
            Err(why) => {
                warn!(partition = %self.id(), node = %to.node, %why, "a member is behind and what it lacks cannot be read");
                return others.senders.not_sent((to, stream), now);
            }
        };
        let bytes = u64::try_from(chunk.total).unwrap_or(u64::MAX);
        let what = (chunk.next, bytes);
        let wanted = others.senders.read((to, stream), what, now, &mut others.effects);
        if wanted {
            self.push_all(&mut core, (to, stream), chunk, now);
        }
        self.carry_out_effects(&mut core, None, now);
    }

    /// Sends a chunk batch by batch, up to the first that is not taken.
    fn push_all(&self, core: &mut Core, to: (Member, u32), chunk: Chunk, now: UptimeMs) {
        for batch in chunk.bytes.into_iter().flat_map(split_batches) {
            let header = BatchHeader::parse(&batch).expect("the store gives whole batches");
            if !self.push(core, to, header.base_offset, Some(batch), now) {
                return;
            }
        }
    }

    /// Has the partition ticked when the decider next has something to do for time's sake.
    pub(super) fn order_tick(self: &Arc<Self>, others: &mut Others) {
        let Some(next) = others.senders.next_tick() else { return };
        if others.tick_at.is_none_or(|at| next < at) && self.leading.order_tick(next, self) {
            others.tick_at = Some(next);
        }
    }
}

async fn read_for(
    segment: Arc<Segment>,
    from: Offset,
    end: Offset,
    bytes_max: u64,
) -> Result<Chunk, ReadError> {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if let Some(chunk) = segment.try_read(from, end, bytes_max)? {
        return Ok(chunk);
    }
    let id = segment.id();
    let read = tokio::task::spawn_blocking(move || segment.read(from, end, bytes_max)).await;
    // Only a runtime that ends breaks it off.
    read.unwrap_or(Err(ReadError::Gone(id)))
}
