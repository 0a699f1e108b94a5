//! The leader's side of a node: carries out what `PartitionLeader` and `Senders` say.

use std::collections::VecDeque;

use walrus_metadata::{Command, Coverage, Reason, Roll, SealedAt};
use walrus_replication::{
    Accepted, Acks, Advance, Append, AppendRefusal, Effect, Limits, Member, PartitionLeader, Phase,
    Position, ProducerTable, Proposal, Refusal, RollLimits, RollReason, Rolled, SenderLimits,
    Senders, SequenceError, Writer,
    liveness::PartitionLease,
    placement::{self, Occasion},
};
use walrus_types::{Epoch, NodeId, Offset, TimestampMs, batch::BatchHeader};

use crate::{
    message::{Body, key},
    node::{Lead, Waiting},
    raft::PARTITION,
    world::{By, Event, World},
};

/// Three batches without records fit the window.
const LIMITS: SenderLimits =
    SenderLimits { window_bytes: 200, read_bytes_max: 130, lag_max_ms: 100, commit_idle_ms: 5 };
/// Members of an idle partition are asked so often, for the lease.
const PROBE_MS: u64 = 200;
/// A proposal without an outcome is repeated after this.
const PROPOSE_AGAIN_MS: u64 = 200;

impl World {
    /// Node `at` leads the segment of `epoch`, which was just opened.
    pub(crate) fn lead(&mut self, at: usize, epoch: Epoch, table: Option<ProducerTable>) {
        let record = self.raft.record(epoch).unwrap();
        let (open, base) = (&record.open, record.open.base);
        // A leader that was no member of the segment before fetches the table from one that was.
        let table = table.unwrap_or_else(|| self.truth.table(base));
        // Through its bytes, as it comes from a file or from another node.
        let table = ProducerTable::decode(&table.encode()).unwrap();
        let roll = RollLimits { bytes: 0, entries: 0, age_ms: 0, interval_ms: 0, burst: 1 };
        let limits = Limits { min_insync: 1, roll };
        let (me, now) = (self.member(at), self.clock(at));
        let leader = PartitionLeader::open(me, open, Offset::ZERO, table, limits, now);
        let senders = Senders::open(me, open, base, LIMITS, now);
        let others = open.members.iter().filter(|member| **member != me);
        let lease = PartitionLease::open(open.write_quorum, others.map(|member| member.node));
        let (parked, proposed_at) = (VecDeque::new(), None);
        let lead = Lead { leader, senders, lease, parked, proposed_at, probed_at: now };
        self.nodes[at].memory.lead = Some(lead);
        self.connect_all(at);
        self.look_at_members(at);
    }

    /// What a leader does now and then.
    pub(crate) fn tick(&mut self, at: usize) {
        if !self.nodes[at].listens() {
            return;
        }
        if self.rng.one_in(10) {
            self.pull(at);
        }
        let now = self.clock(at);
        if let Some(lead) = &mut self.nodes[at].memory.lead {
            let mut out = Vec::new();
            lead.senders.tick(now, &mut out);
            if now.since(lead.probed_at) >= PROBE_MS {
                lead.probed_at = now;
                lead.senders.probe(now, &mut out);
            }
            let again = lead.proposed_at.is_none_or(|then| now.since(then) >= PROPOSE_AGAIN_MS);
            let proposal = lead.leader.proposal().filter(|_| again);
            let waits = lead.proposed_at.is_some();
            self.carry_out(at, out);
            if waits && !self.healing && self.rng.one_in(50) {
                // Somebody has no patience with a roll that does not come.
                self.cancel_roll(at);
            }
            if let Some(proposal) = proposal {
                self.propose_roll(at, proposal);
            }
            self.hand_in_parked(at);
            self.go_on_without_quorum(at);
        }
        self.check_lease(at);
        self.truth.check_reads(&self.nodes[at], &self.raft);
    }

    /// Whether the leader here may write: it has a lease, or this world has no law.
    pub(crate) fn may_append(&self, at: usize) -> bool {
        let memory = &self.nodes[at].memory;
        let now = self.clock(at);
        memory
            .lead
            .as_ref()
            .is_some_and(|lead| self.rules.lawless || memory.lease.may_append(&lead.lease, now))
    }

    /// Metadata says which members are in service.
    pub(crate) fn look_at_members(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        let Some(lead) = &mut memory.lead else {
            return;
        };
        let state = self.raft.at(memory.applied);
        for member in &self.raft.record(lead.leader.epoch()).unwrap().open.members {
            let serves = state
                .node(member.node)
                .is_some_and(|node| node.state.serves() && node.storage == member.storage);
            lead.leader.set_live(*member, serves);
        }
        self.go_on_without_quorum(at);
    }

    /// A leader that lives and cannot commit any more, for its members are fenced, rolls.
    fn go_on_without_quorum(&mut self, at: usize) {
        let lead = self.nodes[at].memory.lead.as_ref();
        if lead.is_some_and(|lead| {
            !lead.leader.has_quorum()
                && matches!(lead.leader.phase(), Phase::Open | Phase::Draining(_))
        }) {
            self.begin_roll(at, RollReason::QuorumLost);
        }
    }

    /// The connection to a member was lost, and is made again when that can be.
    pub(crate) fn reset(&mut self, at: usize, to: NodeId) {
        let Some(lead) = &mut self.nodes[at].memory.lead else {
            return;
        };
        let record = self.raft.record(lead.leader.epoch()).unwrap();
        let Some(member) = record.open.members.iter().find(|m| m.node == to).copied() else {
            return;
        };
        lead.senders.disconnected(member);
        self.connect(at, member);
    }

    pub(crate) fn connect_all(&mut self, at: usize) {
        let epoch = self.nodes[at].memory.lead.as_ref().unwrap().leader.epoch();
        let me = self.nodes[at].id;
        let members = self.raft.record(epoch).unwrap().open.members.clone();
        for member in members.into_iter().filter(|member| member.node != me) {
            self.connect(at, member);
        }
    }

    /// All connections of a leader were lost.
    pub(crate) fn reset_all(&mut self, at: usize) {
        if let Some(lead) = &self.nodes[at].memory.lead {
            let members = self.raft.record(lead.leader.epoch()).unwrap().open.members.clone();
            for member in members {
                self.reset(at, member.node);
            }
        }
    }

    pub(crate) fn connect(&mut self, at: usize, member: Member) {
        let there = self.slot_of(member.node).filter(|there| self.linked(at, *there));
        if there.is_none() {
            self.after(50, Event::Reset { at, to: member.node });
            return;
        }
        let (mut out, now) = (Vec::new(), self.clock(at));
        if let Some(lead) = &mut self.nodes[at].memory.lead {
            lead.senders.connected(member, now, &mut out);
        }
        self.carry_out(at, out);
    }

    fn carry_out(&mut self, at: usize, mut effects: Vec<Effect>) {
        while let Some(effect) = effects.pop() {
            let Some(lead) = &mut self.nodes[at].memory.lead else {
                return;
            };
            match effect {
                Effect::Send { to, stream } => {
                    let (epoch, end) = (lead.leader.epoch(), lead.leader.cursors().log_end());
                    let all = self.nodes[at].disk.batches(epoch, Offset::ZERO, end);
                    let last = all.last().copied();
                    self.send_append(at, (to, stream), last);
                }
                Effect::ReadFromDisk { to, stream, from, bytes_max } => {
                    self.feed(at, (to, stream), (from, bytes_max), &mut effects);
                }
                Effect::Ask { to, stream } | Effect::TellCommit { to, stream } => {
                    self.send_append(at, (to, stream), None);
                }
                Effect::MemberGone(member) => lead.leader.set_live(member, false),
                Effect::Fenced => lead.leader.fenced(),
                Effect::Sealed => lead.leader.member_sealed(),
            }
        }
    }

    fn feed(
        &mut self,
        at: usize,
        to: (Member, u32),
        (from, bytes_max): (Offset, u64),
        effects: &mut Vec<Effect>,
    ) {
        let fails = !self.healing && self.rng.one_in(20);
        let now = self.clock(at);
        let node = &mut self.nodes[at];
        let lead = node.memory.lead.as_mut().unwrap();
        if fails {
            lead.senders.not_sent(to, now);
            return;
        }
        let (epoch, mut bytes) = (lead.leader.epoch(), 0);
        let mut read: Vec<BatchHeader> = Vec::new();
        for batch in node.disk.batches(epoch, from, lead.leader.cursors().log_end()) {
            let more = u64::try_from(batch.batch_bytes).unwrap();
            if !read.is_empty() && bytes + more > bytes_max {
                break;
            }
            bytes += more;
            read.push(*batch);
        }
        let end = read.last().expect("a member is fed what is there").end();
        if lead.senders.read(to, (end, bytes), now, effects) {
            for batch in read {
                self.send_append(at, to, Some(batch));
            }
        }
    }

    fn send_append(&mut self, at: usize, to: (Member, u32), batch: Option<BatchHeader>) {
        let (member, stream) = to;
        let memory = &self.nodes[at].memory;
        let leader = &memory.lead.as_ref().unwrap().leader;
        let append = Append {
            from: memory.life,
            storage: member.storage,
            epoch: leader.epoch(),
            prev_end: batch.map_or(Offset::ZERO, |batch| batch.base_offset),
            commit: leader.cursors().commit(),
            stream,
            sent_at: self.clock(at),
        };
        self.send(at, member.node, Body::Append { append, batch });
    }

    /// A member answers the leader of its segment, if that still is one.
    pub(crate) fn answered(&mut self, at: usize, from: Member, position: &Position) {
        let now = self.clock(at);
        let Some(lead) = &mut self.nodes[at].memory.lead else {
            return;
        };
        let mut out = Vec::new();
        lead.senders.answered(from, position, now, &mut out);
        if position.epoch == lead.leader.epoch() {
            lead.lease.append_answered(from.node, position.sent_at);
        }
        let advance = lead.leader.acked(position.epoch, from, position.durable);
        self.advance(at, advance);
        self.carry_out(at, out);
    }

    pub(crate) fn refused(
        &mut self,
        at: usize,
        epoch: Epoch,
        from: (NodeId, u32),
        refusal: &Refusal,
    ) {
        let now = self.clock(at);
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && lead.leader.epoch() == epoch
        {
            let mut out = Vec::new();
            lead.senders.refused(from, refusal, now, &mut out);
            self.carry_out(at, out);
        }
    }

    pub(crate) fn advance(&mut self, at: usize, advance: Advance) {
        if let Some(commit) = advance.commit {
            let lead = self.nodes[at].memory.lead.as_mut().unwrap();
            lead.senders.committed(commit);
            let record = self.raft.record(lead.leader.epoch()).unwrap();
            self.truth.committed(&self.nodes, record, commit);
            self.answer_waiting(at);
        }
        if let Some(proposal) = advance.propose {
            self.propose_roll(at, proposal);
        }
    }

    /// A batch of a client's, or one that was parked.
    pub(crate) fn request(&mut self, at: usize, batch: BatchHeader) {
        let now = self.clock(at);
        let lead = self.nodes[at].memory.lead.as_mut().unwrap();
        let answer = lead.leader.append(&batch, Acks::All, now);
        self.judged(at, batch, answer);
    }

    fn judged(&mut self, at: usize, batch: BatchHeader, answer: Result<Accepted, AppendRefusal>) {
        let memory = &mut self.nodes[at].memory;
        let lead = memory.lead.as_mut().unwrap();
        let epoch = lead.leader.epoch();
        match answer {
            Ok(Accepted::Fresh { base, end }) => {
                // The store is full. Not at a producer's first batch: its second would then be taken
                // for the first of one that was forgotten, as Kafka does (KIP-360).
                if !self.healing && batch.base_sequence.0 > 0 && self.rng.one_in(30) {
                    lead.leader.retract(base);
                    self.client_begins_again(batch.producer_id);
                    return;
                }
                memory.waiting.push(Waiting { epoch, key: key(&batch), base, end });
                self.wrote(at, BatchHeader { base_offset: base, epoch, ..batch });
            }
            Ok(Accepted::Duplicate { base, end, .. }) => {
                self.counts.duplicates += 1;
                memory.waiting.push(Waiting { epoch, key: key(&batch), base, end });
                self.answer_waiting(at);
            }
            Ok(Accepted::Parked) => lead.parked.push_back(batch),
            Err(AppendRefusal::Sequence(SequenceError::DuplicateOld { .. })) => {
                let there = self.truth.visible.iter().any(|old| key(old) == key(&batch));
                assert!(there, "{batch:?} was called an old duplicate and is not in the log");
                self.client_is_done(key(&batch));
            }
            Err(AppendRefusal::Fenced(_) | AppendRefusal::Sequence(_)) => {
                self.client_begins_again(batch.producer_id);
            }
            Err(refusal) => panic!("refused: {refusal}"),
        }
    }

    /// The leader's store has a batch of its own.
    fn wrote(&mut self, at: usize, batch: BatchHeader) {
        self.truth.wrote(batch);
        let now = self.clock(at);
        let node = &mut self.nodes[at];
        node.disk.store(batch);
        let mut out = Vec::new();
        let bytes = u64::try_from(batch.batch_bytes).unwrap();
        let lead = node.memory.lead.as_mut().unwrap();
        lead.senders.appended(batch.end(), bytes, now, &mut out);
        self.carry_out(at, out);
    }

    fn answer_waiting(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        let commit = memory.lead.as_ref().unwrap().leader.cursors().commit();
        let done: Vec<Waiting> =
            memory.waiting.extract_if(.., |waiting| waiting.end <= commit).collect();
        self.tell(&done);
    }

    pub(crate) fn tell(&mut self, done: &[Waiting]) {
        for waiting in done {
            self.truth.acked(waiting.key, waiting.base);
            self.counts.acked += 1;
            self.client_is_done(waiting.key);
        }
    }

    pub(crate) fn hand_in_parked(&mut self, at: usize) {
        let now = self.clock(at);
        while let Some(lead) = &mut self.nodes[at].memory.lead
            && let Some(batch) = lead.parked.pop_front()
        {
            let answer = lead.leader.append_parked(&batch, Acks::All, now);
            if answer == Ok(Accepted::Parked) {
                lead.parked.push_front(batch);
                return;
            }
            self.judged(at, batch, answer);
        }
    }

    pub(crate) fn begin_roll(&mut self, at: usize, reason: RollReason) {
        let now = self.clock(at);
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && let Ok(Some(proposal)) = lead.leader.begin_roll(reason, now)
        {
            self.propose_roll(at, proposal);
        }
    }

    pub(crate) fn cancel_roll(&mut self, at: usize) {
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && lead.leader.cancel_roll()
        {
            self.hand_in_parked(at);
        }
    }

    fn propose_roll(&mut self, at: usize, proposal: Proposal) {
        let Proposal { expected, end, bytes, max_timestamp, reason } = proposal;
        let now = self.clock(at);
        let lead = self.nodes[at].memory.lead.as_mut().unwrap();
        lead.proposed_at = Some(now);
        lead.lease.proposed(now);
        let Ok(next) = self.place(at, expected, Occasion::Planned(reason), &[]) else {
            return;
        };
        let reason = match reason {
            RollReason::QuorumLost => Reason::QuorumLost,
            _ => Reason::Operator,
        };
        let roll = Roll {
            partition: PARTITION,
            expected,
            sealed: SealedAt { end, bytes, max_timestamp },
            coverage: Coverage::Quorum,
            next,
            reason,
            at: TimestampMs(i64::try_from(self.now).unwrap()),
        };
        self.propose(at, By::Leader, Command::Roll(vec![roll]));
    }

    /// Where the successor of a segment goes, as node `at` sees the cluster.
    pub(crate) fn place(
        &mut self,
        at: usize,
        epoch: Epoch,
        occasion: Occasion,
        short: &[NodeId],
    ) -> Result<walrus_metadata::Placement, placement::Refusal> {
        let nodes = self.view(at);
        let record = self.raft.record(epoch).unwrap();
        let known = self.raft.at(self.nodes[at].memory.applied);
        let assigned = known.assigned(known.partition(PARTITION).unwrap());
        let assigned: Vec<NodeId> = assigned.iter().map(|member| member.node).collect();
        let policy = [
            placement::LeaderPolicy::LeastLoaded,
            placement::LeaderPolicy::Rotate,
            placement::LeaderPolicy::Keep,
        ][self.rng.index(3)];
        let request = placement::Request {
            partition: PARTITION.partition,
            target: self.rules.target,
            min_insync: self.rules.min_insync,
            previous: Some(placement::Previous {
                members: &record.open.members,
                leader: record.writer.node,
                short,
            }),
            policy,
            occasion,
            salt: 1,
            assigned: &assigned,
        };
        let placed = placement::place(&nodes, &request)?;
        let Writer { node, incarnation } = placed.leader;
        Ok(walrus_metadata::Placement {
            leader: walrus_metadata::Leader { node, incarnation },
            members: placed.members.iter().map(crate::raft::to_metadata).collect(),
            w: u8::try_from(placed.w).unwrap(),
        })
    }

    /// The segment that node `at` leads is sealed at `end`. Returns the table for its successor,
    /// unless this node goes on in that.
    pub(crate) fn lead_sealed(&mut self, at: usize, end: Offset) -> Option<ProducerTable> {
        let (me, now) = (self.member(at), self.clock(at));
        let node = &mut self.nodes[at];
        let mut lead = node.memory.lead.take().unwrap();
        let epoch = lead.leader.epoch();
        let next = self.raft.record(epoch.next()).unwrap();
        let mine = next.writer == node.memory.life && !node.memory.lease.is_fenced();
        let log_end = lead.leader.cursors().log_end();
        match lead.leader.sealed(end, mine.then_some(&next.open), now) {
            Rolled::Stopped => {
                node.disk.cut(epoch, end);
                self.counts.cuts += u64::from(end < log_end);
                let life = node.memory.life;
                self.client_lost_leader(life);
                Some(lead.leader.producers().clone())
            }
            Rolled::Leads { carry } => {
                assert_eq!(carry, end..log_end);
                let carried: Vec<BatchHeader> =
                    node.disk.batches(epoch, end, log_end).copied().collect();
                node.disk.cut(epoch, end);
                lead.senders = Senders::open(me, &next.open, log_end, LIMITS, now);
                let others = next.open.members.iter().filter(|member| **member != me);
                let w = next.open.write_quorum;
                lead.lease = PartitionLease::open(w, others.map(|member| member.node));
                lead.proposed_at = None;
                for batch in carried {
                    let batch = BatchHeader { epoch: epoch.next(), ..batch };
                    self.counts.carried += 1;
                    self.truth.wrote(batch);
                    node.disk.store(batch);
                }
                node.memory.lead = Some(lead);
                self.connect_all(at);
                None
            }
        }
    }
}
