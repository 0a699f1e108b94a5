//! One partition's world, and the events that may happen to it.

use std::collections::{BTreeMap, VecDeque};

use walrus_replication::{
    Accepted, Acks, AppendRefusal, Phase, ProducerTable, Proposal, RollReason, Rolled,
    SequenceError,
};
use walrus_types::{
    Epoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    batch::{BatchHeader, plain_header},
    chance::Chance,
};

use crate::parts::{Key, NOW, Node, Shell, key, lead, member, segment};

const NODES: usize = 5;
const PRODUCERS: usize = 3;
const IN_FLIGHT_MAX: usize = 5;

struct Client {
    id: ProducerId,
    next: Sequence,
    in_flight: VecDeque<BatchHeader>,
    /// The epoch of the leader to which all that is in flight was sent, in order.
    sent_to: Option<Epoch>,
}

struct Ack {
    epoch: Epoch,
    member: usize,
    end: Offset,
}

#[derive(Clone)]
pub(crate) struct Seal {
    end: Offset,
    next_node: usize,
    next_members: Vec<usize>,
}

pub(crate) struct World {
    rng: Chance,
    nodes: Vec<Node>,
    shells: Vec<Shell>,
    clients: Vec<Client>,
    acks: Vec<Ack>,
    late_proposals: Vec<(Proposal, usize, Vec<usize>)>,
    /// Raft: the seals so far; the open segment's epoch is one more than their number.
    pub(crate) seals: Vec<Seal>,
    pub(crate) acked: BTreeMap<Key, Offset>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Chance::seeded(seed);
        let node = || Node {
            log: Vec::new(),
            table: ProducerTable::default(),
            follows: Some(Epoch::FIRST),
        };
        let nodes: Vec<Node> = std::iter::repeat_with(node).take(NODES).collect();
        let client = |id| Client {
            id: ProducerId(i64::try_from(id).unwrap()),
            // One of them wraps soon.
            next: Sequence(if id == 0 { i32::MAX - 9 } else { 0 }),
            in_flight: VecDeque::new(),
            sent_to: None,
        };
        let clients = (0..PRODUCERS).map(client).collect();
        let members: Vec<usize> = (0..[1, 2, 3, 3, 5][rng.index(5)]).collect();
        let first = lead(0, Epoch::FIRST, Offset::ZERO, &members, &nodes[0].table);
        Self {
            rng,
            nodes,
            shells: vec![first],
            clients,
            acks: Vec::new(),
            late_proposals: Vec::new(),
            seals: Vec::new(),
            acked: BTreeMap::new(),
        }
    }

    fn epoch(&self) -> Epoch {
        Epoch(i32::try_from(self.seals.len()).unwrap() + 1)
    }

    pub(crate) fn step(&mut self) {
        let shell = self.rng.index(self.shells.len());
        match self.rng.index(24) {
            0..=5 => {
                let client = self.rng.index(PRODUCERS);
                self.produce(client, shell);
            }
            6 | 7 => {
                let client = self.rng.index(PRODUCERS);
                self.resend(client, shell);
            }
            8..=10 => self.flush(shell),
            11..=14 => self.replicate(shell),
            15..=18 => self.deliver_ack(),
            19 => self.roll(shell),
            20 => self.propose(shell),
            21 => self.learn(shell),
            22 => self.hand_in_parked(shell),
            _ => match self.rng.index(6) {
                0 => self.force_seal(),
                1 => self.lose_quorum(shell),
                2 => {
                    if self.shells[shell].leader.cancel_roll() {
                        self.hand_in_parked(shell);
                    }
                }
                _ => self.apply_late(),
            },
        }
        self.check_commits();
    }

    /// A client sends its next batch, behind all that is in flight.
    fn produce(&mut self, client: usize, shell: usize) {
        let records = i32::try_from(self.rng.index(3) + 1).unwrap();
        let timestamp = TimestampMs(i64::try_from(self.rng.index(1000)).unwrap());
        let to = self.shells[shell].leader.epoch();
        let Client { id, next, in_flight, sent_to } = &mut self.clients[client];
        if in_flight.len() == IN_FLIGHT_MAX {
            return;
        }
        let batch = BatchHeader {
            producer_id: *id,
            producer_epoch: ProducerEpoch(0),
            base_sequence: *next,
            max_timestamp: timestamp,
            ..plain_header(records)
        };
        *next = next.plus(records);
        in_flight.push_back(batch);
        if *sent_to == Some(to) {
            self.request(client, shell, batch);
        } else {
            self.resend(client, shell);
        }
    }

    /// A client lost its connection or its leader: all that is in flight again, in order.
    fn resend(&mut self, client: usize, shell: usize) {
        let to = Some(self.shells[shell].leader.epoch());
        self.clients[client].sent_to = to;
        for batch in self.clients[client].in_flight.clone() {
            if self.clients[client].sent_to == to {
                self.request(client, shell, batch);
            }
        }
    }

    fn request(&mut self, client: usize, shell: usize, batch: BatchHeader) {
        let answer = self.shells[shell].leader.append(&batch, Acks::All, NOW);
        self.answered(client, shell, batch, answer);
    }

    fn answered(
        &mut self,
        client: usize,
        shell: usize,
        batch: BatchHeader,
        answer: Result<Accepted, AppendRefusal>,
    ) {
        let Shell { node, leader, parked, waiting, .. } = &mut self.shells[shell];
        match answer {
            Ok(Accepted::Fresh { base, end }) => {
                if self.rng.one_in(20) {
                    // The store is full: the client begins again.
                    leader.retract(base);
                    self.clients[client].sent_to = None;
                    return;
                }
                self.nodes[*node].store(BatchHeader { base_offset: base, ..batch });
                waiting.push((key(&batch), base, end));
            }
            Ok(Accepted::Duplicate { base, end, committed, .. }) => {
                assert_eq!(committed, end <= leader.cursors().commit());
                waiting.push((key(&batch), base, end));
                self.answer_waiting(shell);
            }
            Ok(Accepted::Parked) => parked.push_back(batch),
            Err(AppendRefusal::Sequence(SequenceError::DuplicateOld { .. })) => {
                let commit = leader.cursors().commit();
                let log = &self.nodes[*node].log;
                let there = log.iter().any(|old| key(old) == key(&batch) && old.end() <= commit);
                assert!(there, "{batch:?} was called an old duplicate and is not in the log");
                self.clients[client].in_flight.retain(|sent| key(sent) != key(&batch));
            }
            Err(AppendRefusal::Fenced(_) | AppendRefusal::Sequence(_)) => {
                self.clients[client].sent_to = None;
            }
            Err(refusal) => panic!("refused: {refusal}"),
        }
    }

    /// Acknowledges what is committed.
    fn answer_waiting(&mut self, shell: usize) {
        let Shell { leader, waiting, .. } = &mut self.shells[shell];
        let commit = leader.cursors().commit();
        for (key, base, _) in waiting.extract_if(.., |(_, _, end)| *end <= commit) {
            let told = *self.acked.entry(key).or_insert(base);
            assert_eq!(told, base, "{key:?} was acknowledged at two offsets");
            for client in &mut self.clients {
                client.in_flight.retain(|sent| (sent.producer_id, sent.base_sequence) != key);
            }
        }
    }

    /// One more batch of the leader's own log is on its disk.
    fn flush(&mut self, shell: usize) {
        let Shell { node, leader, heard, .. } = &mut self.shells[shell];
        if leader.phase() == Phase::Sealed {
            return;
        }
        let from = heard.get(node).copied().unwrap_or(leader.cursors().base());
        let more = self.rng.index(3);
        let log = &self.nodes[*node].log;
        let Some(batch) = log.iter().filter(|batch| batch.base_offset >= from).nth(more) else {
            return;
        };
        let counts = matches!(leader.phase(), Phase::Open | Phase::Draining(_));
        let advance = leader.flushed(leader.epoch(), batch.end());
        if counts {
            heard.insert(*node, batch.end());
        }
        self.proposed(shell, advance.propose);
        self.answer_waiting(shell);
    }

    /// A member takes some of the leader's batches and answers.
    fn replicate(&mut self, shell: usize) {
        let Shell { node: leads, leader, members, .. } = &self.shells[shell];
        let to = members[self.rng.index(members.len())];
        let (epoch, commit) = (leader.epoch(), leader.cursors().commit());
        if to == *leads || self.nodes[to].follows != Some(epoch) {
            return;
        }
        let (low, high) = self.nodes.split_at_mut(to.max(*leads));
        let (from, to_node) =
            if to > *leads { (&low[*leads], &mut high[0]) } else { (&high[0], &mut low[to]) };
        for batch in from.log.iter().skip(to_node.log.len()).take(self.rng.index(3)) {
            to_node.store(*batch);
            to_node.table.appended(batch);
        }
        to_node.table.committed(commit.min(to_node.end()));
        self.acks.push(Ack { epoch, member: to, end: to_node.end() });
    }

    /// Some answer reaches some leader: in any order, perhaps twice.
    fn deliver_ack(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        let at = self.rng.index(self.acks.len());
        let Ack { epoch, member: from, end } = self.acks[at];
        if !self.rng.one_in(4) {
            self.acks.swap_remove(at);
        }
        for shell in 0..self.shells.len() {
            let Shell { leader, heard, .. } = &mut self.shells[shell];
            if leader.epoch() == epoch && matches!(leader.phase(), Phase::Open | Phase::Draining(_))
            {
                let known = heard.entry(from).or_insert(end);
                *known = end.max(*known);
            }
            let advance = leader.acked(epoch, member(from), end);
            self.proposed(shell, advance.propose);
            self.answer_waiting(shell);
        }
    }

    fn check_commits(&self) {
        for Shell { leader, members, heard, .. } in &self.shells {
            if matches!(leader.phase(), Phase::Open | Phase::Draining(_)) {
                let base = leader.cursors().base();
                let end = |node| heard.get(node).copied().unwrap_or(base).max(base);
                let mut ends: Vec<Offset> = members.iter().map(end).collect();
                ends.sort_unstable_by(|a, b| b.cmp(a));
                let expected = ends[leader.cursors().write_quorum() - 1];
                assert_eq!(leader.cursors().commit(), expected, "{ends:?}");
            }
        }
    }

    fn roll(&mut self, shell: usize) {
        if let Ok(proposal) = self.shells[shell].leader.begin_roll(RollReason::Operator, NOW) {
            self.proposed(shell, proposal);
        }
    }

    /// The other members are silent and fenced; the leader goes on alone.
    fn lose_quorum(&mut self, shell: usize) {
        let Shell { node, leader, members, .. } = &mut self.shells[shell];
        if leader.epoch() != Epoch(i32::try_from(self.seals.len()).unwrap() + 1) {
            return;
        }
        for &other in members.iter().filter(|other| *other != node) {
            self.nodes[other].follows = None;
        }
        if let Ok(proposal) = leader.begin_roll(RollReason::QuorumLost, NOW) {
            self.proposed(shell, proposal);
        }
    }

    /// A leader spoke a proposal for the first time: compare what it counts.
    fn proposed(&self, shell: usize, proposal: Option<Proposal>) {
        let Some(Proposal { end, bytes, max_timestamp, .. }) = proposal else {
            return;
        };
        let Shell { node, leader, .. } = &self.shells[shell];
        let base = leader.cursors().base();
        let held = || {
            let log = self.nodes[*node].log.iter();
            log.filter(|batch| batch.base_offset >= base && batch.end() <= end)
        };
        let held_bytes: usize = held().map(|batch| batch.batch_bytes).sum();
        assert_eq!(bytes, u64::try_from(held_bytes).unwrap());
        let newest = held().map(|batch| batch.max_timestamp).max();
        assert_eq!(max_timestamp, newest.unwrap_or(TimestampMs::NONE));
    }

    /// The leader sends its proposal, again or for the first time. It may be lost, applied, or
    /// applied later.
    fn propose(&mut self, shell: usize) {
        let Shell { node, leader, .. } = &self.shells[shell];
        let Some(proposal) = leader.proposal() else {
            return;
        };
        let (next, members) = if proposal.reason == RollReason::QuorumLost {
            (*node, vec![*node])
        } else {
            let n = [1, 2, 3, 3, 5][self.rng.index(5)];
            let others = (0..NODES).filter(|other| other != node);
            let members: Vec<usize> = std::iter::once(*node).chain(others).take(n).collect();
            let next = if self.rng.one_in(2) { *node } else { members[self.rng.index(n)] };
            (next, members)
        };
        if self.rng.one_in(2) {
            self.late_proposals.push((proposal, next, members.clone()));
        }
        if self.rng.one_in(2) {
            self.apply(proposal.expected, proposal.end, next, members);
        }
    }

    fn apply_late(&mut self) {
        if !self.late_proposals.is_empty() {
            let at = self.rng.index(self.late_proposals.len());
            let (proposal, next, members) = self.late_proposals.swap_remove(at);
            self.apply(proposal.expected, proposal.end, next, members);
        }
    }

    /// Raft applies a Roll, if its epoch is the open one. All nodes hear of it at once but for
    /// the old leader's, which goes on until it learns.
    fn apply(&mut self, expected: Epoch, end: Offset, next_node: usize, next_members: Vec<usize>) {
        if expected != self.epoch() {
            return;
        }
        self.learn_before(expected, &next_members);
        let old = self.shells.iter().find(|shell| shell.leader.epoch() == expected);
        let old_node = old.expect("the open segment has a leader").node;
        let epoch = expected.next();
        let from = self.nodes[old_node].log.clone();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if self.shells.iter().all(|shell| shell.node != at) {
                node.cut(end);
                node.follows = next_members.contains(&at).then_some(epoch);
                if node.follows.is_some() {
                    node.catch_up(&from, end);
                    node.table.committed(end);
                }
            }
        }
        if next_node != old_node {
            let table = &self.nodes[next_node].table;
            self.shells.push(lead(next_node, epoch, end, &next_members, table));
        }
        self.seals.push(Seal { end, next_node, next_members });
    }

    /// Nodes that are asked about an epoch have applied all before it, and so know that they were
    /// deposed.
    fn learn_before(&mut self, epoch: Epoch, nodes: &[usize]) {
        let behind = |shell: &Shell| shell.leader.epoch() < epoch && nodes.contains(&shell.node);
        while let Some(at) = self.shells.iter().position(behind) {
            self.learn(at);
        }
    }

    /// The controller deposes the leader of the open segment, which may not notice.
    fn force_seal(&mut self) {
        let epoch = self.epoch();
        let Some(shell) = self.shells.iter().find(|shell| shell.leader.epoch() == epoch) else {
            return; // the successor's leader has not yet heard that it is
        };
        let (leads, w) = (shell.node, shell.leader.cursors().write_quorum());
        let mut voters: Vec<usize> =
            shell.members.iter().copied().filter(|node| *node != leads).collect();
        let needed = shell.members.len() - w + 1;
        while voters.len() > needed && self.rng.one_in(2) {
            voters.swap_remove(self.rng.index(voters.len()));
        }
        if voters.len() < needed {
            return;
        }
        self.learn_before(epoch, &voters);
        let end = voters.iter().map(|node| self.nodes[*node].end()).max().unwrap();
        let longest = voters.iter().copied().find(|node| self.nodes[*node].end() == end).unwrap();
        // The old leader is left out, as a fenced node is.
        let members: Vec<usize> = std::iter::once(longest)
            .chain(voters.into_iter().filter(|node| *node != longest))
            .collect();
        self.apply(epoch, end, longest, members);
    }

    /// A leader reads that its segment is sealed.
    fn learn(&mut self, at: usize) {
        let shell = &mut self.shells[at];
        let epoch = shell.leader.epoch();
        let Some(Seal { end, next_node, next_members }) =
            self.seals.get(usize::try_from(epoch.0).unwrap() - 1).cloned()
        else {
            return;
        };
        if next_node == shell.node {
            let next = segment(epoch.next(), end, &next_members);
            let Rolled::Leads { carry } = shell.leader.sealed(end, Some(&next), NOW) else {
                panic!("it leads")
            };
            assert_eq!(carry, end..self.nodes[shell.node].end());
            shell.members.clone_from(&next_members);
            shell.heard.clear();
            self.answer_waiting(at);
            self.hand_in_parked(at);
            return;
        }
        assert_eq!(shell.leader.sealed(end, None, NOW), Rolled::Stopped);
        let node = &mut self.nodes[shell.node];
        node.table = shell.leader.producers().clone();
        assert_eq!(node.table.end(), end, "a deposed leader undoes what the seal cut");
        node.cut(end);
        let newest = epoch.next() == Epoch(i32::try_from(self.seals.len()).unwrap() + 1);
        node.follows = Some(epoch.next()).filter(|_| newest && next_members.contains(&shell.node));
        self.answer_waiting(at);
        // What waited or was parked is answered NOT_LEADER_OR_FOLLOWER.
        let gone = self.shells.swap_remove(at);
        assert_eq!(gone.leader.parked(), gone.parked.len());
        for client in &mut self.clients {
            client.sent_to = client.sent_to.filter(|to| *to != epoch);
        }
        // The seals since then took from its log what they took from all others'.
        let kept =
            self.seals[usize::try_from(epoch.0).unwrap()..].iter().map(|seal| seal.end).min();
        self.nodes[gone.node].cut(kept.unwrap_or(end));
    }

    fn hand_in_parked(&mut self, shell: usize) {
        while let Some(batch) = self.shells[shell].parked.pop_front() {
            let client = usize::try_from(batch.producer_id.0).unwrap();
            let answer = self.shells[shell].leader.append_parked(&batch, Acks::All, NOW);
            if answer == Ok(Accepted::Parked) {
                self.shells[shell].parked.push_front(batch);
                return;
            }
            self.answered(client, shell, batch, answer);
        }
    }

    /// Everybody learns, and the log of the last leader is what counts.
    pub(crate) fn finish(&mut self) {
        while let Some(at) =
            (0..self.shells.len()).find(|at| self.shells[*at].leader.epoch() < self.epoch())
        {
            self.learn(at);
        }
        assert_eq!(self.shells.len(), 1, "one leader is left");
        let log = &self.nodes[self.shells[0].node].log;
        let mut places = BTreeMap::new();
        let mut next = BTreeMap::new();
        for batch in log {
            let twice = places.insert(key(batch), batch.base_offset);
            assert_eq!(twice, None, "{batch:?} is in the log twice");
            let follows = batch.base_sequence.plus(batch.record_count);
            if let Some(expected) = next.insert(batch.producer_id, follows) {
                assert_eq!(batch.base_sequence, expected, "{batch:?} comes after a gap");
            }
        }
        for (key, base) in &self.acked {
            assert_eq!(places.get(key), Some(base), "{key:?} was acknowledged at {base}");
        }
    }
}
