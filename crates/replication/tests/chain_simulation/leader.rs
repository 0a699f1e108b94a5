//! The leader's side of a node: carries out what `PartitionLeader` and `Senders` say.

use std::collections::VecDeque;

use walrus_replication::{
    Accepted, Acks, Advance, Append, AppendRefusal, Effect, Limits, Member, PartitionLeader,
    Position, ProducerTable, Proposal, Refusal, RollLimits, RollReason, Rolled, SenderLimits,
    Senders, SequenceError,
};
use walrus_types::{Epoch, NodeId, Offset, batch::BatchHeader};

use crate::{
    metadata::Roll,
    node::{Lead, Waiting},
    parts::{Body, Message, key, node_of},
    world::World,
};

/// Three batches without records fit the window.
const LIMITS: SenderLimits =
    SenderLimits { window_bytes: 200, read_bytes_max: 130, lag_max_ms: 100, commit_idle_ms: 5 };

impl World {
    /// Node `at` leads the segment of `epoch`, which was just opened.
    pub(crate) fn lead(&mut self, at: usize, epoch: Epoch, table: Option<ProducerTable>) {
        let record = self.metadata.record(epoch).unwrap();
        let (open, base) = (&record.open, record.open.base);
        // A leader that was no member of the segment before fetches the table from one that was.
        let table = table.unwrap_or_else(|| self.truth.table(base));
        // Through its bytes, as it comes from a file or from another node.
        let table = ProducerTable::decode(&table.encode()).unwrap();
        let roll = RollLimits { bytes: 0, entries: 0, age_ms: 0, interval_ms: 0, burst: 1 };
        let limits = Limits { min_insync: 1, roll };
        let me = self.member(at);
        let leader = PartitionLeader::open(me, open, Offset::ZERO, table, limits, self.now);
        let senders = Senders::open(me, open, base, LIMITS, self.now);
        self.nodes[at].memory.lead = Some(Lead { leader, senders, parked: VecDeque::new() });
        self.connect_all(at);
    }

    pub(crate) fn connect_all(&mut self, at: usize) {
        let epoch = self.nodes[at].memory.lead.as_ref().unwrap().leader.epoch();
        let members = self.metadata.record(epoch).unwrap().open.members.clone();
        for member in members {
            self.connect(at, member);
        }
    }

    pub(crate) fn disconnect_all(&mut self, at: usize) {
        if let Some(lead) = &mut self.nodes[at].memory.lead {
            let record = self.metadata.record(lead.leader.epoch()).unwrap();
            for member in &record.open.members {
                lead.senders.disconnected(*member);
            }
        }
    }

    pub(crate) fn connect(&mut self, at: usize, member: Member) {
        let mut out = Vec::new();
        if let Some(lead) = &mut self.nodes[at].memory.lead {
            lead.senders.connected(member, self.now, &mut out);
        }
        self.carry_out(at, out);
    }

    pub(crate) fn tick(&mut self, at: usize) {
        let mut out = Vec::new();
        if let Some(lead) = &mut self.nodes[at].memory.lead {
            lead.senders.tick(self.now, &mut out);
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
        let node = &mut self.nodes[at];
        let lead = node.memory.lead.as_mut().unwrap();
        if fails {
            lead.senders.not_sent(to, self.now);
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
        if lead.senders.read(to, (end, bytes), self.now, effects) {
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
            sent_at: self.now,
        };
        self.send(Message { to: node_of(member.node), body: Body::Append { append, batch } });
    }

    /// A member answers the leader of its segment, if that still is one.
    pub(crate) fn answered(&mut self, at: usize, from: Member, position: &Position) {
        let Some(lead) = &mut self.nodes[at].memory.lead else {
            return;
        };
        let mut out = Vec::new();
        lead.senders.answered(from, position, self.now, &mut out);
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
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && lead.leader.epoch() == epoch
        {
            let mut out = Vec::new();
            lead.senders.refused(from, refusal, self.now, &mut out);
            self.carry_out(at, out);
        }
    }

    pub(crate) fn advance(&mut self, at: usize, advance: Advance) {
        if let Some(commit) = advance.commit {
            let lead = self.nodes[at].memory.lead.as_mut().unwrap();
            lead.senders.committed(commit);
            let record = self.metadata.record(lead.leader.epoch()).unwrap();
            self.truth.committed(&self.nodes, record, commit);
            self.answer_waiting(at);
        }
        if let Some(proposal) = advance.propose {
            self.propose(at, proposal);
        }
    }

    /// A batch of a client's, or one that was parked.
    pub(crate) fn request(&mut self, at: usize, batch: BatchHeader) {
        let lead = self.nodes[at].memory.lead.as_mut().unwrap();
        let answer = lead.leader.append(&batch, Acks::All, self.now);
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
        let node = &mut self.nodes[at];
        node.disk.store(batch);
        let mut out = Vec::new();
        let bytes = u64::try_from(batch.batch_bytes).unwrap();
        let lead = node.memory.lead.as_mut().unwrap();
        lead.senders.appended(batch.end(), bytes, self.now, &mut out);
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
        while let Some(lead) = &mut self.nodes[at].memory.lead
            && let Some(batch) = lead.parked.pop_front()
        {
            let answer = lead.leader.append_parked(&batch, Acks::All, self.now);
            if answer == Ok(Accepted::Parked) {
                lead.parked.push_front(batch);
                return;
            }
            self.judged(at, batch, answer);
        }
    }

    pub(crate) fn begin_roll(&mut self, at: usize, reason: RollReason) {
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && let Ok(Some(proposal)) = lead.leader.begin_roll(reason, self.now)
        {
            self.propose(at, proposal);
        }
    }

    pub(crate) fn cancel_roll(&mut self, at: usize) {
        if let Some(lead) = &mut self.nodes[at].memory.lead
            && lead.leader.cancel_roll()
        {
            self.hand_in_parked(at);
        }
    }

    pub(crate) fn propose_again(&mut self, at: usize) {
        let lead = self.nodes[at].memory.lead.as_ref();
        if let Some(proposal) = lead.and_then(|lead| lead.leader.proposal()) {
            self.propose(at, proposal);
        }
    }

    fn propose(&mut self, at: usize, Proposal { expected, end, reason, .. }: Proposal) {
        let keeps = reason == RollReason::QuorumLost || self.rng.one_in(2);
        let Some((mut next, mut members)) = self.placement() else {
            return;
        };
        if keeps {
            next = self.nodes[at].memory.life;
            if members.iter().all(|member| member.node != next.node) {
                members[0] = self.metadata.member(at);
            }
        }
        let roll = Roll { expected, end, next, members, forced: false, narrow: false };
        self.propose_roll(roll);
    }

    /// The segment that node `at` leads is sealed at `end`. Returns the table for its successor,
    /// unless this node goes on in that.
    pub(crate) fn lead_sealed(&mut self, at: usize, end: Offset) -> Option<ProducerTable> {
        let me = self.member(at);
        let node = &mut self.nodes[at];
        let mut lead = node.memory.lead.take().unwrap();
        let epoch = lead.leader.epoch();
        let next = self.metadata.record(epoch.next()).unwrap();
        let mine = next.writer == node.memory.life;
        let log_end = lead.leader.cursors().log_end();
        match lead.leader.sealed(end, mine.then_some(&next.open), self.now) {
            Rolled::Stopped => {
                node.disk.cut(epoch, end);
                self.counts.cuts += u64::from(end < log_end);
                self.client_lost_leader(node_life(&self.nodes[at]));
                Some(lead.leader.producers().clone())
            }
            Rolled::Leads { carry } => {
                assert_eq!(carry, end..log_end);
                let carried: Vec<BatchHeader> =
                    node.disk.batches(epoch, end, log_end).copied().collect();
                node.disk.cut(epoch, end);
                lead.senders = Senders::open(me, &next.open, log_end, LIMITS, self.now);
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

fn node_life(node: &crate::node::Node) -> walrus_replication::Writer {
    node.memory.life
}
