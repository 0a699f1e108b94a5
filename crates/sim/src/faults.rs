//! What goes wrong: processes, machines, links, disks, operators.

use walrus_metadata::{Assign, Assignment, Command, Fence, NodeChange, Reply, SetNodeState};
use walrus_replication::{ProducerTable, RollReason, Writer};
use walrus_types::{Incarnation, TimestampMs};

use crate::{
    node::{Memory, Node, Process},
    raft::{PARTITION, register},
    world::{By, Event, World},
};

/// The next number that a node gets whose disk was lost.
const NEXT_ID: i32 = 10;

impl World {
    pub(crate) fn fault(&mut self) {
        if self.healing {
            return;
        }
        let total = self.nodes.len();
        let (at, other) = (self.rng.index(total), self.rng.index(total));
        match self.rng.index(24) {
            0..=4 => self.crash(at),
            5 if self.rng.one_in(3) => {
                self.counts.power_cuts += 1;
                (0..total).for_each(|at| self.crash(at));
            }
            6..=8 => self.pause(at),
            9..=11 => {
                self.counts.one_way += 1;
                let ms = self.rng.between(50, 4000);
                self.cut(at, other, ms);
            }
            12..=14 => self.isolate(at),
            15 | 16 => self.lose_disk(at),
            17 => self.suspect(),
            18 => {
                self.counts.drains += 1;
                let change = [NodeChange::Drain, NodeChange::Undrain][self.rng.index(2)];
                self.set_state(at, change);
            }
            19 if self.reaches_raft(at) && self.nodes[at].is_up() => self.take_over(at),
            20 | 21 => {
                let ms = self.rng.between(100, 4000);
                self.nodes[at].disk_stuck = Some((self.now, self.now + ms));
            }
            22 => {
                self.counts.behind += 1;
                let ms = self.rng.between(500, 6000);
                self.nodes[at].behind_until = self.now + ms;
            }
            _ if self.rules.assigns => self.reassign(at),
            _ => {}
        }
    }

    fn set_state(&mut self, at: usize, change: NodeChange) {
        let set = SetNodeState { node: self.nodes[at].id, expected: None, change };
        self.propose(at, By::Operator, Command::SetNodeState(set));
    }

    /// An operator says where the partition is to be, or thinks better of it.
    fn reassign(&mut self, at: usize) {
        let expected = self.raft.assignment().cloned();
        let mut to: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        while to.len() > self.rules.target {
            let gone = self.rng.index(to.len());
            to.remove(gone);
        }
        let first = self.rng.index(to.len());
        to.rotate_left(first);
        let from = self.raft.open().open.members.iter().map(|member| member.node).collect();
        let assignment =
            (expected.is_none() || self.rng.one_in(2)).then_some(Assignment { to, from });
        self.note(|| format!("the partition is assigned to {assignment:?}"));
        let assign = Assign { partition: PARTITION, expected, assignment };
        self.propose(at, By::Operator, Command::Assign(vec![assign]));
    }

    /// Everything takes part again.
    pub(crate) fn undrain_all(&mut self) {
        for at in 0..self.nodes.len() {
            let node = self.nodes[at].id;
            let set = SetNodeState { node, expected: None, change: NodeChange::Undrain };
            self.raft.apply(&Command::SetNodeState(set));
        }
    }

    fn pause(&mut self, at: usize) {
        self.counts.pauses += 1;
        let ms = self.rng.between(50, 3500);
        self.note(|| format!("{at} is paused for {ms} ms"));
        self.nodes[at].paused_until = self.now + ms;
    }

    /// A node and all others, in both directions or in one.
    fn isolate(&mut self, at: usize) {
        self.counts.partitions += 1;
        let (ms, way) = (self.rng.between(100, 4000), self.rng.index(4));
        self.note(|| format!("{at} is cut off for {ms} ms, {way}"));
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            if way != 0 {
                self.cut(at, other, ms);
            }
            if way != 1 {
                self.cut(other, at, ms);
            }
        }
    }

    /// Somebody is fenced who need not be: its leader goes on until it hears of it.
    fn suspect(&mut self) {
        let Writer { node, incarnation } = self.raft.open().writer;
        let at = TimestampMs(i64::try_from(self.now).unwrap());
        let (from, cut) = (self.rng.index(self.nodes.len()), self.rng.one_in(2));
        if let Some(slot) = self.slot_of(node).filter(|slot| cut && *slot != from) {
            self.isolate(slot);
        }
        let command = Command::Fence(Fence { node, incarnation, at });
        self.propose(from, By::Operator, command);
    }

    /// An operator rolls, or gives up.
    pub(crate) fn planned_roll(&mut self) {
        let Some(at) = self.some_leader().filter(|_| !self.healing) else {
            return;
        };
        match self.rng.index(6) {
            0 => self.cancel_roll(at),
            1 if self.rng.one_in(3) => self.begin_roll(at, RollReason::QuorumLost),
            _ => self.begin_roll(at, RollReason::Operator),
        }
    }

    pub(crate) fn crash(&mut self, at: usize) {
        if self.nodes[at].process == Process::Down {
            return;
        }
        self.note(|| format!("{at} crashes"));
        self.counts.crashes += 1;
        self.nodes[at].disk.crash();
        let ms = self.rng.between(20, 3000);
        self.go_down(at, ms);
    }

    /// The process is gone. It begins again after a while.
    fn go_down(&mut self, at: usize, ms: u64) {
        let life = self.nodes[at].memory.life;
        self.client_lost_leader(life);
        let node = &mut self.nodes[at];
        node.memory = Memory::new(life, &node.disk);
        node.process = Process::Down;
        node.paused_until = 0;
        self.after(ms, Event::Start(at));
        if !self.rng.one_in(3) {
            let told = self.rng.between(1, 30);
            self.after(told, Event::ProcessGone(life));
        }
    }

    /// A fenced process ends by itself, with or without a last flush.
    pub(crate) fn end(&mut self, at: usize, life: Writer) {
        if self.nodes[at].memory.life != life || !self.nodes[at].is_up() {
            return;
        }
        if self.healing || self.rng.one_in(2) {
            while !self.nodes[at].disk.queue.is_empty() {
                self.flush_one(at);
            }
        } else {
            self.nodes[at].disk.crash();
        }
        let ms = self.rng.between(5, 200);
        self.go_down(at, ms);
    }

    fn lose_disk(&mut self, at: usize) {
        let member = self.member(at);
        if !self.truth.can_lose(&self.nodes, &self.raft, member) {
            return;
        }
        self.lost_at = self.now;
        self.note(|| format!("{at} loses its disk"));
        self.counts.lost_disks += 1;
        self.nodes[at].disk = self.new_disk();
        let ms = self.rng.between(20, 1000);
        self.go_down(at, ms);
    }

    /// A process begins: a new life registers, applies all metadata, and opens what its disk has.
    pub(crate) fn start(&mut self, at: usize) {
        let before = self.nodes[at].process;
        if before == Process::Up {
            return;
        }
        if before == Process::Down {
            self.nodes[at].process = Process::Starting;
        }
        if !self.reaches_raft(at) {
            self.after(50, Event::Start(at));
            return;
        }
        let member = self.member(at);
        let known = self.raft.newest().node(member.node).map(|node| node.incarnation);
        let incarnation = known.map_or(Incarnation(1), |known| Incarnation(known.0 + 1));
        let reply = self.raft.apply(&register(member, incarnation));
        let life = match reply {
            Reply::Registered(Ok(_)) => {
                self.nodes[at].process = Process::Up;
                Writer { node: member.node, incarnation }
            }
            // The disk is another one. An operator gives the node another number, after a while.
            Reply::Registered(Err(_)) if before == Process::Refused => {
                self.rename(at);
                return;
            }
            Reply::Registered(Err(refusal)) => {
                self.note(|| format!("{at} is refused: {refusal}"));
                self.counts.refused_disks += 1;
                self.nodes[at].process = Process::Refused;
                let ms = self.rng.between(300, 4000);
                self.after(ms, Event::Start(at));
                Writer { node: member.node, incarnation: Incarnation(0) }
            }
            reply => panic!("{reply:?}"),
        };
        self.open_all(at, life);
    }

    fn rename(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.id.0 += NEXT_ID;
        node.disk.crash();
        node.memory = Memory::new(node.memory.life, &node.disk);
        node.process = Process::Down;
        let (id, ms) = (node.id, self.rng.between(1, 20));
        self.note(|| format!("{at} is {id} from now on"));
        self.after(ms, Event::Start(at));
    }

    /// What the disk has of all segments.
    fn open_all(&mut self, at: usize, life: Writer) {
        self.note(|| format!("{at} begins life {}", life.incarnation));
        let Node { disk, memory, .. } = &mut self.nodes[at];
        *memory = Memory::new(life, disk);
        memory.applied = self.raft.len();
        let newest = disk.states.last_key_value();
        let mut table = newest.map_or_else(ProducerTable::default, |(_, table)| {
            ProducerTable::decode(table).unwrap()
        });
        let chain: Vec<_> =
            self.raft.chain.iter().map(|r| (r.open.epoch, r.open.base, r.end)).collect();
        for (epoch, base, end) in chain {
            let known = (table.end() == base).then(|| table.clone());
            self.opened(at, epoch, known);
            if let Some(end) = end
                && let Some(after) = self.seal_member(at, epoch, end)
            {
                table = after;
            }
        }
        for leader in 0..self.nodes.len() {
            let to = self.nodes[at].id;
            self.after(20, Event::Reset { at: leader, to });
        }
    }

    /// The metadata's next command is applied here.
    pub(crate) fn apply_event(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        if memory.applied == self.raft.len() {
            return;
        }
        let sealed = self.raft.sealed_by(memory.applied);
        memory.applied += 1;
        if let Some(epoch) = sealed {
            let memory = &self.nodes[at].memory;
            let end = self.raft.record(epoch).unwrap().end.unwrap();
            let leads = memory.lead.as_ref().is_some_and(|lead| lead.leader.epoch() == epoch);
            let table =
                if leads { self.lead_sealed(at, end) } else { self.seal_member(at, epoch, end) };
            self.settle_waiting(at, epoch, end);
            self.opened(at, epoch.next(), table);
            self.hand_in_parked(at);
        }
        let Node { memory, process, .. } = &self.nodes[at];
        let over = !self.raft.may_lead(memory.applied, memory.life);
        if over && *process == Process::Up {
            self.end_soon(at);
        } else {
            self.look_at_members(at);
        }
    }
}
