//! The world: what happens next, and when.

use std::collections::BTreeMap;

use walrus_metadata::{Command, Reply};
use walrus_replication::{Member, ProducerTable, UptimeMs, Writer, liveness::Terms};
use walrus_types::{Epoch, NodeId, Offset, SegmentId, chance::Chance};

use crate::{
    clients::{Client, Consumer},
    counts::Counts,
    invariants::Truth,
    message::Body,
    network::Network,
    node::{Disk, Node, Waiting},
    raft::{Raft, node_id, storage},
    trace::Trace,
};

/// So long faults go on.
const FAULTS_MS: u64 = 20_000;

/// What this world is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) target: usize,
    pub(crate) min_insync: usize,
    /// One in so many messages is lost.
    pub(crate) loss: u64,
    /// Operators say where the partition is to be. Not in all worlds: seeds that are tests were
    /// found before, and keep theirs.
    pub(crate) assigns: bool,
    /// Leaders write without a lease: nothing may rest on it.
    pub(crate) lawless: bool,
    /// The mean time between two faults.
    pub(crate) fault_ms: u64,
}

/// Who proposed a command.
#[derive(Debug, Clone)]
pub(crate) enum By {
    Leader,
    Controller { term: u64, fenced: Writer, segment: SegmentId, decided_at: u64 },
    Operator,
}

#[derive(Debug, Clone)]
pub(crate) struct Proposed {
    pub(crate) slot: usize,
    pub(crate) life: Writer,
    pub(crate) by: By,
    pub(crate) command: Command,
    pub(crate) at: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Deliver {
        from: usize,
        to: NodeId,
        body: Body,
    },
    /// What a node does by itself now and then.
    Tick(usize),
    Flush(usize),
    Beat(usize),
    Rule(usize),
    Follow(usize),
    /// A process begins.
    Start(usize),
    /// A fenced process ends.
    End(usize, Writer),
    Produce(usize),
    Consume,
    PlannedRoll,
    Fault,
    Elect,
    Apply(Box<Proposed>),
    /// What became of a proposal; nothing when nobody knows.
    Answer(Box<Proposed>, Option<Reply>),
    /// A leader's connection to a member was lost.
    Reset {
        at: usize,
        to: NodeId,
    },
    /// A connection was reset and the next one refused.
    ProcessGone(Writer),
}

pub(crate) struct World {
    pub(crate) rng: Chance,
    pub(crate) now: u64,
    pub(crate) rules: Rules,
    pub(crate) raft: Raft,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) truth: Truth,
    pub(crate) counts: Counts,
    pub(crate) healing: bool,
    pub(crate) net: Network,
    pub(crate) trace: Trace,
    /// Who leads Raft, and in which term.
    pub(crate) ruler: Option<usize>,
    pub(crate) term: u64,
    pub(crate) ruler_missed: u32,
    /// When a disk was lost last.
    pub(crate) lost_at: u64,
    /// A disk was lost in the moment in which a segment was sealed with what it alone had.
    pub(crate) hole: bool,
    events: BTreeMap<(u64, u64), Event>,
    events_total: u64,
    disks: u64,
}

impl World {
    pub(crate) fn new(seed: u64, aloud: bool) -> Self {
        let mut rng = Chance::seeded(seed);
        let slots = 3 + rng.index(2);
        let (target, min_insync) = [(3, 2), (3, 2), (3, 2), (3, 3), (2, 1), (2, 2)][rng.index(6)];
        let rules = Rules {
            target,
            min_insync,
            loss: [30, 100, 1000][rng.index(3)],
            assigns: seed % 8 == 3,
            lawless: rng.one_in(2),
            fault_ms: [300, 900, 2500][rng.index(3)],
        };
        let nodes: Vec<Node> = (1..=slots)
            .map(|number| {
                let disk = Disk::new(storage(u64::try_from(number).unwrap()));
                // Two clocks drift apart by less than the two margins of a lease.
                Node::new(node_id(number), disk, rng.between(960, 1040))
            })
            .collect();
        let members: Vec<Member> = nodes.iter().map(Node::member).collect();
        let mut world = Self {
            raft: Raft::new(&members, target, min_insync),
            rng,
            now: 1,
            rules,
            disks: u64::try_from(slots).unwrap(),
            nodes,
            clients: (0..3).map(Client::new).collect(),
            consumers: vec![Consumer::default(); 2],
            truth: Truth::default(),
            counts: Counts::default(),
            healing: false,
            net: Network::default(),
            trace: Trace::new(aloud),
            ruler: None,
            term: 0,
            ruler_missed: u32::MAX,
            lost_at: 0,
            hole: false,
            events: BTreeMap::new(),
            events_total: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let rules = self.rules;
        self.note(|| format!("{rules:?}"));
        for at in 0..self.nodes.len() {
            self.nodes[at].memory.applied = self.raft.len();
            self.opened(at, self.raft.open().open.epoch, Some(ProducerTable::default()));
            for event in [Event::Tick(at), Event::Flush(at), Event::Beat(at), Event::Rule(at)] {
                self.after(5, event);
            }
            self.after(5, Event::Follow(at));
        }
        for client in 0..self.clients.len() {
            self.after(10, Event::Produce(client));
        }
        for event in [Event::Elect, Event::Consume, Event::PlannedRoll, Event::Fault] {
            self.after(20, event);
        }
    }

    /// Everything that goes wrong, then everything that must be well.
    pub(crate) fn play(&mut self) {
        while self.now < FAULTS_MS && !self.hole {
            self.step();
        }
        if !self.hole {
            self.heal();
        }
    }

    pub(crate) fn step(&mut self) {
        let ((at, _), event) = self.events.pop_first().expect("something always happens");
        self.now = self.now.max(at);
        if let Some(slot) = self.whose(&event) {
            let until = self.nodes[slot].paused_until;
            if until > self.now {
                self.at(until, event);
                return;
            }
        }
        self.happen(event);
    }

    /// A process that is paused takes no steps.
    fn whose(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { to, .. } => self.slot_of(*to),
            Event::Tick(at)
            | Event::Flush(at)
            | Event::Beat(at)
            | Event::Rule(at)
            | Event::Follow(at)
            | Event::End(at, _)
            | Event::Reset { at, .. } => Some(*at),
            Event::Answer(proposed, _) => Some(proposed.slot),
            Event::Start(_)
            | Event::Produce(_)
            | Event::Consume
            | Event::PlannedRoll
            | Event::Fault
            | Event::Elect
            | Event::Apply(_)
            | Event::ProcessGone(_) => None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, body } => self.deliver(from, to, body),
            Event::Tick(at) => self.again(3, 8, Event::Tick(at), |world| world.tick(at)),
            Event::Flush(at) => self.again(1, 12, Event::Flush(at), |world| world.flush(at)),
            Event::Beat(at) => self.again(95, 105, Event::Beat(at), |world| world.beat(at)),
            Event::Rule(at) => self.again(40, 60, Event::Rule(at), |world| world.rule(at)),
            Event::Follow(at) => {
                let slow = !self.healing && self.rng.one_in(20);
                let most = if slow { 300 } else { 6 };
                self.again(1, most, Event::Follow(at), |world| world.follow(at));
            }
            Event::Start(at) => self.start(at),
            Event::End(at, life) => self.end(at, life),
            Event::Produce(client) => {
                let event = Event::Produce(client);
                self.again(5, 150, event, |world| world.client_acts(client));
            }
            Event::Consume => self.again(5, 60, Event::Consume, Self::consume),
            Event::PlannedRoll => self.again(100, 1500, Event::PlannedRoll, Self::planned_roll),
            Event::Fault => {
                let mean = self.rules.fault_ms;
                self.again(mean / 4, mean * 2, Event::Fault, Self::fault);
            }
            Event::Elect => self.again(50, 100, Event::Elect, Self::elect),
            Event::Apply(proposed) => self.apply(*proposed),
            Event::Answer(proposed, reply) => self.proposal_answered(&proposed, reply.as_ref()),
            Event::Reset { at, to } => self.reset(at, to),
            Event::ProcessGone(writer) => self.process_gone(writer),
        }
    }

    fn again(&mut self, least: u64, most: u64, event: Event, act: impl FnOnce(&mut Self)) {
        act(self);
        let ms = self.rng.between(least, most);
        self.after(ms, event);
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    pub(crate) fn at(&mut self, when: u64, event: Event) {
        self.events_total += 1;
        self.events.insert((when, self.events_total), event);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:>6} {}", self.now, what());
        self.trace.note(line);
    }

    fn deliver(&mut self, from: usize, to: NodeId, body: Body) {
        let Some(at) = self.slot_of(to).filter(|at| self.nodes[*at].listens()) else {
            return;
        };
        self.note(|| format!("{from} to {at}: {body:?}"));
        match body {
            Body::Append { append, batch } => self.append(at, &append, batch),
            Body::Position { from, position } => self.answered(at, from, &position),
            Body::Refused { from, epoch, stream, refusal } => {
                self.refused(at, epoch, (from, stream), &refusal);
            }
            Body::Fence { controller, writer, index, segments } => {
                while self.nodes[at].memory.applied < index {
                    self.apply_event(at);
                }
                self.fence(at, controller, writer, segments);
            }
            Body::FenceAnswer { term, fenced, from, reports } => {
                self.fence_answered(at, (term, fenced), from, &reports);
            }
            Body::Order { order, from } => self.ordered(at, order, from),
            Body::Read { epoch, from, upto, to, order } => {
                self.read(at, epoch, (from, upto), to, order);
            }
            Body::Copy { epoch, storage, batches, upto, order } => {
                self.take_copy(at, (epoch, storage), batches, upto, order);
            }
            Body::Copied { order, from, held } => self.copied(at, &order, from, held),
            Body::Beat { beat, sent } => self.heard(at, from, beat, sent),
            Body::BeatAnswer { term, sent, life, answer } => {
                self.beat_answered(at, term, sent, (life, answer));
            }
        }
    }

    pub(crate) fn slot_of(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    pub(crate) fn member(&self, at: usize) -> Member {
        self.nodes[at].member()
    }

    /// What a node's clock says.
    pub(crate) fn clock(&self, at: usize) -> UptimeMs {
        UptimeMs(1 + self.now * self.nodes[at].rate / 1000)
    }

    pub(crate) fn new_disk(&mut self) -> Disk {
        self.disks += 1;
        Disk::new(storage(self.disks))
    }

    /// A node that leads, or thinks so.
    pub(crate) fn some_leader(&mut self) -> Option<usize> {
        let leads =
            |at: &usize| self.nodes[*at].runs(self.now) && self.nodes[*at].memory.lead.is_some();
        let leading: Vec<usize> = (0..self.nodes.len()).filter(leads).collect();
        (!leading.is_empty()).then(|| leading[self.rng.index(leading.len())])
    }

    /// A command goes to Raft. It may be applied at any later time, twice, or never.
    pub(crate) fn propose(&mut self, slot: usize, by: By, command: Command) {
        let life = self.nodes[slot].memory.life;
        let at = self.now;
        let proposed = Box::new(Proposed { slot, life, by, command, at });
        if matches!(proposed.by, By::Controller { .. }) {
            self.after(400, Event::Answer(proposed.clone(), None));
        }
        let lost = !self.healing && self.rng.one_in(20);
        if lost || !self.reaches_raft(slot) {
            return;
        }
        let quick = self.healing || !self.rng.one_in(12);
        let ms = if quick { self.rng.between(1, 8) } else { self.rng.between(1, 2500) };
        if !self.healing && self.rng.one_in(15) {
            let again = ms + self.rng.between(0, 2000);
            self.after(again, Event::Apply(proposed.clone()));
        }
        self.after(ms, Event::Apply(proposed));
    }

    fn apply(&mut self, proposed: Proposed) {
        if let Command::Roll(rolls) = &proposed.command
            && !Truth::can_be_sealed(&self.nodes, &rolls[0])
        {
            return;
        }
        let before = self.raft.open().clone();
        let reply = self.raft.apply(&proposed.command);
        self.note(|| format!("applied {:?}: {reply:?}", proposed.command));
        if self.raft.sealed_by(self.raft.len() - 1).is_some() {
            let Command::Roll(rolls) = &proposed.command else { unreachable!("a Roll seals") };
            let narrow = matches!(rolls[0].coverage, walrus_metadata::Coverage::Narrow(_));
            if narrow && !Truth::is_kept(&self.nodes, &before, rolls[0].sealed.end) {
                // Its holders said a moment before that they have it: nothing could know better.
                let By::Controller { decided_at, .. } = proposed.by else { unreachable!("forced") };
                let unknown = self.lost_at + 500 >= decided_at;
                assert!(unknown, "I7: nobody has what was sealed at {}", rolls[0].sealed.end);
                self.hole = true;
                return;
            }
            self.truth.rolls(&self.nodes, &before, &rolls[0], self.now);
            self.count_roll(&rolls[0]);
            self.counts.late_proposals += u64::from(self.now - proposed.at > 200);
        } else if let Reply::Fenced(Ok(_)) = reply {
            self.counts.fences += 1;
        }
        // Raft's leader applies first.
        if let Some(ruler) = self.ruler.filter(|ruler| self.nodes[*ruler].runs(self.now)) {
            self.catch_up(ruler);
        }
        if !self.healing && self.rng.one_in(10) {
            self.counts.unknown_outcomes += 1;
            return;
        }
        let ms = self.rng.between(1, 5);
        self.after(ms, Event::Answer(Box::new(proposed), Some(reply)));
    }

    fn count_roll(&mut self, roll: &walrus_metadata::Roll) {
        use walrus_metadata::{Coverage, Reason};
        let Counts { planned, forced, narrow, quorum_lost, .. } = &mut self.counts;
        match roll.reason {
            Reason::Failover => *forced += 1,
            Reason::QuorumLost => *quorum_lost += 1,
            _ => *planned += 1,
        }
        *narrow += u64::from(matches!(roll.coverage, Coverage::Narrow(_)));
        let opened = self.raft.open().open.members.iter().map(|member| member.node);
        let opened: Vec<_> = opened.collect();
        let as_asked = self.raft.assignment().is_some_and(|assignment| assignment.to == opened);
        self.counts.assigned += u64::from(as_asked);
    }

    fn proposal_answered(&mut self, proposed: &Proposed, reply: Option<&Reply>) {
        if self.nodes[proposed.slot].memory.life != proposed.life {
            return;
        }
        if let By::Controller { term, fenced, segment, .. } = proposed.by {
            self.seal_answered(proposed.slot, (term, fenced), segment, reply);
        }
    }

    /// Those who wait for what a seal covers are answered, whoever sealed; the others wait for the
    /// successor if it is led here too.
    pub(crate) fn settle_waiting(&mut self, at: usize, epoch: Epoch, end: Offset) {
        let memory = &mut self.nodes[at].memory;
        let of_it = |waiting: &mut Waiting| waiting.epoch == epoch;
        let (done, rest): (Vec<_>, Vec<_>) =
            memory.waiting.extract_if(.., of_it).partition(|waiting| waiting.end <= end);
        if memory.lead.is_some() {
            let next = epoch.next();
            memory.waiting.extend(rest.into_iter().map(|old| Waiting { epoch: next, ..old }));
        }
        self.tell(&done);
    }

    /// The metadata's next command is applied here, if this node hears of any.
    fn follow(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.listens() && node.behind_until <= self.now && self.reaches_raft(at) {
            self.apply_event(at);
        }
    }

    fn catch_up(&mut self, at: usize) {
        while self.nodes[at].listens() && self.nodes[at].memory.applied < self.raft.len() {
            self.apply_event(at);
        }
    }

    /// Who leads Raft is away for too long: the next one does.
    fn elect(&mut self) {
        let well = |world: &Self, at: usize| {
            world.nodes[at].is_up() && world.nodes[at].runs(world.now) && world.reaches_raft(at)
        };
        let leads = |ruler: usize| {
            // One that begins again is no leader any more.
            let controller = self.nodes[ruler].memory.controller.as_ref();
            controller.is_some_and(|controller| controller.term == self.term) && well(self, ruler)
        };
        if self.ruler.is_some_and(leads) {
            self.ruler_missed = 0;
            return;
        }
        self.ruler_missed = self.ruler_missed.saturating_add(1);
        let able: Vec<usize> = (0..self.nodes.len()).filter(|at| well(self, *at)).collect();
        if self.ruler_missed < 4 || able.is_empty() {
            return;
        }
        let next = able[self.rng.index(able.len())];
        self.take_over(next);
    }

    pub(crate) fn take_over(&mut self, at: usize) {
        self.term += 1;
        let before = self.ruler.replace(at).filter(|before| *before != at);
        self.counts.elections += 1;
        self.note(|| format!("{at} leads raft"));
        // Before it acts it applies all that was committed, or it would extend leases of lives
        // that are fenced.
        self.catch_up(at);
        self.begin_rule(at, before);
    }

    pub(crate) fn ttl_ms() -> u64 {
        Terms::default().ttl_ms
    }
}
