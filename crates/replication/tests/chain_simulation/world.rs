//! The world: what may happen next, and what happens then.

use std::collections::VecDeque;

use walrus_replication::{Member, ProducerTable, RollReason, UptimeMs, Writer};
use walrus_types::{Epoch, Offset};

use crate::{
    clients::Client,
    controller::Controller,
    metadata::{Event, Metadata, Roll},
    node::{Disk, Memory, Node, Waiting},
    parts::{Body, CONTROLLERS, Counts, Message, NODES, Rng, node_id},
    truth::Truth,
};

/// Messages and proposals on their way; more are lost.
const MESSAGES_MAX: usize = 200;
const PROPOSALS_MAX: usize = 8;
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: UptimeMs,
    pub(crate) metadata: Metadata,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) truth: Truth,
    pub(crate) counts: Counts,
    pub(crate) healing: bool,
    pub(crate) messages: VecDeque<Message>,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let metadata = Metadata::new(2 + rng.below(2));
        let node = |at| {
            let disk = Disk::new(metadata.member(at).storage);
            let memory = Memory::new(metadata.life(at), &disk);
            Node { disk, memory }
        };
        let nodes = (0..NODES).map(node).collect();
        let mut world = Self {
            rng,
            now: UptimeMs(1),
            metadata,
            nodes,
            clients: (0..3).map(Client::new).collect(),
            controllers: (0..CONTROLLERS).map(|_| Controller::default()).collect(),
            truth: Truth::default(),
            counts: Counts::default(),
            healing: false,
            messages: VecDeque::new(),
            trace: std::env::var_os("WALRUS_SIM_TRACE").is_some(),
        };
        for at in 0..NODES {
            world.opened(at, Epoch::FIRST, Some(ProducerTable::default()));
        }
        world
    }

    #[expect(clippy::print_stdout, reason = "this is what a trace is")]
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", self.now.0, what());
        }
    }

    pub(crate) fn step(&mut self) {
        self.now.0 += u64::try_from(self.rng.below(4)).unwrap();
        let (at, client) = (self.rng.below(NODES), self.rng.below(self.clients.len()));
        let some_leader = self.some_leader().unwrap_or(at);
        match self.rng.below(100) {
            0..=11 => self.produce(client, some_leader),
            12 | 13 => self.resend(client, some_leader),
            14..=29 => self.flush(at),
            30..=69 => self.deliver(),
            70..=76 => self.apply_event(at),
            77..=81 => self.tick(at),
            82..=85 => self.reconnect(at),
            86..=89 => {
                let controller = self.rng.below(CONTROLLERS);
                self.control(controller);
            }
            90 | 91 => self.pull(at),
            92 => self.propose_again(some_leader),
            93..=95 => self.apply_proposal(),
            96 => self.hand_in_parked(at),
            97 | 98 => match self.rng.below(6) {
                0 => self.begin_roll(some_leader, RollReason::QuorumLost),
                1 => self.cancel_roll(some_leader),
                _ => self.begin_roll(some_leader, RollReason::Operator),
            },
            _ => self.fault(at),
        }
        self.truth.check_reads(&self.nodes, &self.metadata);
    }

    /// A node that leads, or thinks so.
    pub(crate) fn some_leader(&mut self) -> Option<usize> {
        let leads = |at: &usize| self.nodes[*at].memory.lead.is_some();
        let leading: Vec<usize> = (0..NODES).filter(leads).collect();
        (!leading.is_empty()).then(|| leading[self.rng.below(leading.len())])
    }

    pub(crate) fn fault(&mut self, at: usize) {
        match self.rng.below(16) {
            // Suspected, perhaps wrongly: its leader goes on until it hears of it.
            0..=2 => {
                let writer = self.metadata.open().writer;
                self.metadata.fence(writer);
            }
            3..=5 => self.crash(at),
            6 if self.truth.can_lose(&self.nodes, &self.metadata, at) => self.lose_disk(at),
            _ => {}
        }
    }

    pub(crate) fn send(&mut self, message: Message) {
        if self.messages.len() == MESSAGES_MAX && !self.healing {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Some message arrives: in any order, perhaps again later, perhaps not at all.
    pub(crate) fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        // Mostly in order, for little is reached otherwise.
        let near = if self.rng.one_in(4) { self.messages.len() } else { 1 };
        let at = self.rng.below(near);
        let message = self.messages.remove(at).unwrap();
        match self.rng.below(30) {
            0 => return,
            1 | 2 => self.messages.push_back(message.clone()),
            _ => {}
        }
        self.receive(message);
    }

    pub(crate) fn receive(&mut self, Message { to, body }: Message) {
        self.trace(|| format!("to {to}: {body:?}"));
        match body {
            Body::Append { append, batch } => self.append(to, &append, batch),
            Body::Position { from, position } => self.answered(to, from, &position),
            Body::Refused { from, epoch, stream, refusal } => {
                self.refused(to, epoch, (from, stream), &refusal);
            }
            Body::Fence { controller, writer, index } => {
                while self.nodes[to].memory.applied < index {
                    self.apply_event(to);
                }
                self.fence(to, controller, writer);
            }
            Body::FenceAnswer { from, epoch, answer } => {
                self.controller_heard(to, from, epoch, &answer);
            }
            Body::Copy { epoch, storage, batch, upto } => {
                self.take_copy(to, (epoch, storage), batch, upto);
            }
        }
    }

    /// This node with the disk that it has.
    pub(crate) fn member(&self, at: usize) -> Member {
        Member { node: node_id(at), storage: self.nodes[at].disk.storage }
    }

    /// The metadata's next event is applied here.
    pub(crate) fn apply_event(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        let Some(event) = self.metadata.events.get(memory.applied) else {
            return;
        };
        memory.applied += 1;
        let Event::Rolled(epoch) = *event else {
            return;
        };
        let end = self.metadata.record(epoch).unwrap().end.unwrap();
        let leads = memory.lead.as_ref().is_some_and(|lead| lead.leader.epoch() == epoch);
        let table =
            if leads { self.lead_sealed(at, end) } else { self.seal_member(at, epoch, end) };
        self.settle_waiting(at, epoch, end);
        self.opened(at, epoch.next(), table);
        self.hand_in_parked(at);
    }

    /// Those who wait for what the seal covers are answered, whoever sealed; the others wait for
    /// the successor if it is led here too.
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

    pub(crate) fn crash(&mut self, at: usize) {
        self.trace(|| format!("{at} crashes"));
        self.counts.crashes += 1;
        self.nodes[at].disk.crash();
        self.restart(at);
    }

    pub(crate) fn lose_disk(&mut self, at: usize) {
        self.trace(|| format!("{at} loses its disk"));
        self.counts.disks_lost += 1;
        let member = self.member(at);
        let named =
            self.metadata.chain.iter().filter(|record| record.open.members.contains(&member));
        self.truth.lost.extend(named.map(|record| (record.open.epoch, at)));
        self.nodes[at].disk = Disk::new(self.metadata.new_disk());
        self.restart(at);
    }

    /// A new life registers, applies all metadata, and opens what its disk has.
    pub(crate) fn restart(&mut self, at: usize) {
        self.client_lost_leader(self.nodes[at].memory.life);
        self.metadata.register(at, self.nodes[at].disk.storage);
        let Node { disk, memory } = &mut self.nodes[at];
        *memory = Memory::new(self.metadata.life(at), disk);
        let newest = disk.states.last_key_value();
        let mut table = newest.map_or_else(ProducerTable::default, |(_, table)| {
            ProducerTable::decode(table).unwrap()
        });
        for epoch in (1..).map(Epoch).take(self.metadata.chain.len()) {
            let record = self.metadata.record(epoch).unwrap();
            let (base, end) = (record.open.base, record.end);
            let known = (table.end() == base).then(|| table.clone());
            self.opened(at, epoch, known);
            if let Some(end) = end
                && let Some(after) = self.seal_member(at, epoch, end)
            {
                table = after;
            }
        }
        self.nodes[at].memory.applied = self.metadata.events.len();
    }

    pub(crate) fn reconnect(&mut self, at: usize) {
        let Some(lead) = &mut self.nodes[at].memory.lead else {
            return;
        };
        let epoch = lead.leader.epoch();
        let members = &self.metadata.record(epoch).unwrap().open.members;
        let member = members[self.rng.below(members.len())];
        lead.senders.disconnected(member);
        if !self.rng.one_in(3) {
            self.connect(at, member);
        }
    }

    /// A leader and members for the next segment. None while all lives are fenced.
    pub(crate) fn placement(&mut self) -> Option<(Writer, Vec<Member>)> {
        let lives = (0..NODES).map(|node| self.metadata.life(node));
        let able: Vec<Writer> = lives.filter(|life| !self.metadata.is_fenced(*life)).collect();
        if able.is_empty() {
            return None;
        }
        let next = able[self.rng.below(able.len())];
        let mut members: Vec<Member> = (0..NODES).map(|node| self.metadata.member(node)).collect();
        if self.rng.one_in(3) {
            let gone = self.rng.below(NODES);
            members.retain(|member| member.node == next.node || member.node != node_id(gone));
        }
        Some((next, members))
    }

    pub(crate) fn propose_roll(&mut self, roll: Roll) {
        if self.metadata.pending.len() == PROPOSALS_MAX {
            self.metadata.pending.remove(self.rng.below(PROPOSALS_MAX));
        }
        if self.healing || !self.rng.one_in(4) {
            self.metadata.pending.push(roll);
        }
    }

    /// Some proposal is applied, if its epoch is still the open one.
    pub(crate) fn apply_proposal(&mut self) {
        if self.metadata.pending.is_empty() {
            return;
        }
        let at = self.rng.below(self.metadata.pending.len());
        let roll = self.metadata.pending[at].clone();
        if !self.rng.one_in(3) {
            self.metadata.pending.swap_remove(at);
        }
        if !self.metadata.judge(&roll) {
            return;
        }
        self.trace(|| format!("applied: {roll:?}"));
        self.truth.rolls(&self.nodes, &self.metadata, &roll);
        self.metadata.apply(&roll);
        let Counts { planned, forced, narrow, .. } = &mut self.counts;
        *(if roll.forced { forced } else { planned }) += 1;
        *narrow += u64::from(roll.narrow);
    }
}
