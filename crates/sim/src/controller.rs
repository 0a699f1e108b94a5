//! The controller's side of a node: carries out what `Watch` and `ForcedSeal` say. There may be
//! several that think they are it; each acts on the metadata that its node has applied.

use std::collections::BTreeMap;

use walrus_metadata::{Command, Coverage, Fence, Reason, Reply, Roll, RollRefusal, SealedAt};
use walrus_replication::{
    Held, Member, Writer,
    liveness::{self, Answer, Beat, Terms, Watch},
    placement::{self, Occasion, Standing},
    seal::{Effect, ForcedSeal, Orphan, Outcome, Report, SealDecision},
};
use walrus_types::{NodeId, SegmentId, TimestampMs};

use crate::{
    message::{Body, CopyOrder},
    raft::{PARTITION, from_metadata, to_metadata},
    world::{By, World},
};

/// So long before it is followed a controller has extended its last lease.
const SILENT_BEFORE_MS: u64 = 250;

pub(crate) struct Controller {
    pub(crate) term: u64,
    watch: Watch,
    seals: BTreeMap<Writer, ForcedSeal>,
    /// When the end of a segment was decided.
    decided_at: BTreeMap<SegmentId, u64>,
}

impl World {
    pub(crate) fn begin_rule(&mut self, at: usize, before: Option<usize>) {
        let watch = Watch::take_over(Terms::default(), self.clock(at));
        let watch = match before {
            Some(before) => watch.after(self.nodes[before].id, SILENT_BEFORE_MS),
            None => watch,
        };
        let term = self.term;
        let (seals, decided_at) = (BTreeMap::new(), BTreeMap::new());
        self.nodes[at].memory.controller = Some(Controller { term, watch, seals, decided_at });
        self.rule(at);
    }

    /// What a controller does now and then.
    pub(crate) fn rule(&mut self, at: usize) {
        let newest = self.term;
        let deposed = self.reaches_raft(at) && (self.healing || self.rng.one_in(3));
        let (now, up) = (self.clock(at), self.nodes[at].is_up());
        let memory = &mut self.nodes[at].memory;
        memory.controller.take_if(|controller| !up || deposed && controller.term < newest);
        let Some(controller) = &mut memory.controller else {
            return;
        };
        let state = self.raft.at(memory.applied);
        for (id, node) in state.nodes() {
            controller.watch.registered(*id, node.incarnation, now);
            if node.state == walrus_metadata::NodeState::Fenced {
                controller.watch.fenced(*id, node.incarnation, now);
            }
        }
        let open = self.raft.known(memory.applied);
        let record = self.raft.chain[open - 1].clone();
        let fences = controller.watch.tick(now);
        let mut todo = Vec::new();
        for (writer, seal) in &mut controller.seals {
            // Metadata shows that somebody sealed it.
            let sealed = self.raft.chain[..open - 1].iter();
            let over: Vec<_> = sealed.map(|old| (old.id(), Outcome::OtherEpoch)).collect();
            todo.push((*writer, seal.proposed(&over, now)));
            todo.push((*writer, seal.tick(now)));
        }
        if !self.raft.may_lead(memory.applied, record.writer) {
            let orphan = Orphan {
                id: record.id(),
                members: record.open.members.clone(),
                w: record.open.write_quorum,
                hotness: 0,
                lax: false,
            };
            let effects = match controller.seals.get_mut(&record.writer) {
                Some(seal) => seal.add(vec![orphan], now),
                None => {
                    let (seal, effects) = ForcedSeal::begin(record.writer, vec![orphan], now);
                    controller.seals.insert(record.writer, seal);
                    effects
                }
            };
            todo.push((record.writer, effects));
        }
        for fence in fences {
            self.propose_fence(at, fence);
        }
        for (writer, effects) in todo {
            self.seal_on(at, writer, effects);
        }
    }

    fn propose_fence(&mut self, at: usize, fence: liveness::Fence) {
        let liveness::Fence { node, incarnation, .. } = fence;
        let at_ms = TimestampMs(i64::try_from(self.now).unwrap());
        let command = Command::Fence(Fence { node, incarnation, at: at_ms });
        self.propose(at, By::Operator, command);
    }

    fn seal_on(&mut self, at: usize, fenced: Writer, effects: Vec<Effect>) {
        for effect in effects {
            let memory = &mut self.nodes[at].memory;
            let Some(controller) = &mut memory.controller else {
                return;
            };
            let me = (at, controller.term);
            match effect {
                Effect::AskFence { node, segments } => {
                    let index = memory.applied;
                    let body = Body::Fence { controller: me, writer: fenced, index, segments };
                    self.send(at, node, body);
                }
                Effect::CopySuffix { segment, from_member, to_member, to, .. } => {
                    let order = CopyOrder { controller: me, fenced, segment, upto: to };
                    self.send(at, to_member.node, Body::Order { order, from: from_member });
                }
                Effect::ProposeRolls(decisions) => {
                    for decision in decisions {
                        self.propose_seal(at, fenced, decision);
                    }
                }
                Effect::Blocked(_) => {}
                Effect::Done => {
                    controller.seals.remove(&fenced);
                }
            }
        }
    }

    fn propose_seal(&mut self, at: usize, fenced: Writer, decision: SealDecision) {
        let SealDecision { segment, end, bytes, max_timestamp, .. } = decision;
        let holders: Vec<_> = decision.holders.iter().map(to_metadata).collect();
        assert_eq!(decision.may_lack_from, None, "nothing is sealed by hand here");
        let coverage = if decision.short { Coverage::Narrow(holders) } else { Coverage::Quorum };
        let members = &self.raft.record(segment.epoch).unwrap().open.members;
        let lacks = members.iter().filter(|member| !decision.holders.contains(member));
        let short: Vec<NodeId> = lacks.map(|member| member.node).collect();
        let controller = self.nodes[at].memory.controller.as_mut().unwrap();
        let decided_at = *controller.decided_at.entry(segment).or_insert(self.now);
        let by = By::Controller { term: controller.term, fenced, segment, decided_at };
        let Ok(next) = self.place(at, segment.epoch, Occasion::Forced, &short) else {
            self.seal_outcome(at, fenced, segment, Outcome::Refused);
            return;
        };
        let roll = Roll {
            partition: PARTITION,
            expected: segment.epoch,
            sealed: SealedAt { end, bytes, max_timestamp },
            coverage,
            next,
            reason: Reason::Failover,
            at: TimestampMs(i64::try_from(self.now).unwrap()),
        };
        self.propose(at, by, Command::Roll(vec![roll]));
    }

    /// Raft answered a proposal, or nobody knows what became of it.
    pub(crate) fn seal_answered(
        &mut self,
        at: usize,
        (term, fenced): (u64, Writer),
        segment: SegmentId,
        reply: Option<&Reply>,
    ) {
        let controller = self.nodes[at].memory.controller.as_ref();
        if controller.is_none_or(|controller| controller.term != term) {
            return;
        }
        let outcome = match reply {
            Some(Reply::Rolled(each)) => match &each[0] {
                Ok(_) => Outcome::Sealed,
                Err(RollRefusal::OtherEpoch { .. }) => Outcome::OtherEpoch,
                Err(RollRefusal::Placement(_)) => Outcome::Refused,
                Err(refusal) => panic!("a seal was refused: {refusal}"),
            },
            _ => Outcome::Unknown,
        };
        self.seal_outcome(at, fenced, segment, outcome);
    }

    fn seal_outcome(&mut self, at: usize, fenced: Writer, segment: SegmentId, outcome: Outcome) {
        let now = self.clock(at);
        self.with_seal(at, fenced, |seal| seal.proposed(&[(segment, outcome)], now));
    }

    fn with_seal(
        &mut self,
        at: usize,
        fenced: Writer,
        act: impl FnOnce(&mut ForcedSeal) -> Vec<Effect>,
    ) {
        let controller = self.nodes[at].memory.controller.as_mut();
        if let Some(seal) = controller.and_then(|controller| controller.seals.get_mut(&fenced)) {
            let effects = act(seal);
            self.seal_on(at, fenced, effects);
        }
    }

    pub(crate) fn fence_answered(
        &mut self,
        at: usize,
        (term, fenced): (u64, Writer),
        from: NodeId,
        reports: &[(SegmentId, Report)],
    ) {
        let now = self.clock(at);
        let controller = self.nodes[at].memory.controller.as_ref();
        if controller.is_some_and(|controller| controller.term == term) {
            self.with_seal(at, fenced, |seal| seal.answered(from, reports, now));
        }
    }

    pub(crate) fn copied(
        &mut self,
        at: usize,
        order: &CopyOrder,
        from: NodeId,
        held: Option<Held>,
    ) {
        let now = self.clock(at);
        let controller = self.nodes[at].memory.controller.as_ref();
        if controller.is_some_and(|controller| controller.term == order.controller.1) {
            let segment = order.segment;
            self.with_seal(at, order.fenced, |seal| seal.copied(segment, from, held, now));
        }
    }

    /// A node says that it lives.
    pub(crate) fn beat(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(ruler) = self.ruler.filter(|_| node.is_up()) else {
            return;
        };
        let stuck = node.disk_stuck.filter(|_| !node.disk.queue.is_empty());
        let beat = Beat {
            incarnation: node.memory.life.incarnation,
            applied: u64::try_from(node.memory.applied).unwrap(),
            flush_age_ms: stuck.map_or(0, |(since, _)| self.now - since),
            unreachable: Vec::new(),
            is_leaving: false,
        };
        let (to, sent) = (self.nodes[ruler].id, self.clock(at));
        self.send(at, to, Body::Beat { beat, sent });
    }

    /// A controller hears a node. One that was deposed knows it, for it asks a quorum first.
    pub(crate) fn heard(
        &mut self,
        at: usize,
        from: usize,
        beat: Beat,
        sent: walrus_replication::UptimeMs,
    ) {
        let (now, newest, sure) = (self.clock(at), self.term, self.reaches_raft(at));
        let Some(controller) = &mut self.nodes[at].memory.controller else {
            return;
        };
        if controller.term != newest || !sure {
            return;
        }
        let node = self.nodes[from].id;
        let life = Writer { node, incarnation: beat.incarnation };
        let controller = self.nodes[at].memory.controller.as_mut().unwrap();
        let answer = controller.watch.heartbeat(node, beat, now);
        let term = controller.term;
        self.send(at, node, Body::BeatAnswer { term, sent, life, answer });
    }

    pub(crate) fn beat_answered(
        &mut self,
        at: usize,
        term: u64,
        sent: walrus_replication::UptimeMs,
        (life, answer): (Writer, Answer),
    ) {
        if self.nodes[at].memory.life != life {
            return;
        }
        match answer {
            Answer::Extended => self.nodes[at].memory.lease.heartbeat_answered(term, sent),
            Answer::Fenced => self.end_soon(at),
            Answer::Withheld => {}
        }
    }

    /// The controller's connection to a process was reset, and a new one refused.
    pub(crate) fn process_gone(&mut self, life: Writer) {
        let Some(at) = self.ruler.filter(|at| self.nodes[*at].runs(self.now)) else {
            return;
        };
        let now = self.clock(at);
        if let Some(controller) = &mut self.nodes[at].memory.controller
            && let Some(fence) = controller.watch.process_gone(life.node, life.incarnation, now)
        {
            self.propose_fence(at, fence);
        }
    }

    /// The cluster as a node sees it that is to place a segment.
    pub(crate) fn view(&self, at: usize) -> placement::Nodes {
        let memory = &self.nodes[at].memory;
        let (state, now) = (self.raft.at(memory.applied), self.clock(at));
        let watch = memory.controller.as_ref().map(|controller| &controller.watch);
        let seen = |(id, node): (&NodeId, &std::sync::Arc<walrus_metadata::Node>)| {
            let standing = match node.state {
                walrus_metadata::NodeState::Active => Standing::Active,
                walrus_metadata::NodeState::Draining => Standing::Draining,
                walrus_metadata::NodeState::Fenced => Standing::Fenced,
                walrus_metadata::NodeState::Removed => Standing::Removed,
            };
            placement::Node {
                id: *id,
                storage: node.storage,
                incarnation: node.incarnation,
                standing,
                may_take_leases: watch.is_none_or(|watch| watch.may_take_leases(*id, now)),
                silent_ms: watch.and_then(|watch| watch.silent_ms(*id, now)),
                leases: state.leases_of(*id),
                ..placement::Node::default()
            }
        };
        state.nodes().iter().map(seen).collect()
    }

    /// The members that have to have a sealed segment.
    pub(crate) fn must_have(&self, epoch: walrus_types::Epoch) -> Vec<Member> {
        let state = self.raft.newest().partition(PARTITION).unwrap();
        let sealed = state.sealed().iter().find(|(key, _)| key.epoch == epoch);
        sealed
            .map_or_else(Vec::new, |(_, sealed)| sealed.members.iter().map(from_metadata).collect())
    }
}
