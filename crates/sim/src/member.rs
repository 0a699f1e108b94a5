//! A member's side of a node: carries out what `ReplicaSegment` and `Fences` say.

use walrus_replication::{
    Append, FenceAnswer, FenceEffect, Flushed, Held, Member, NoAnswer, ProducerTable, Refusal,
    ReplicaSegment, Sealing, Taken, Writer, seal::Report,
};
use walrus_types::{Epoch, Offset, SegmentId, StorageId, batch::BatchHeader};

use crate::{
    message::{Body, CopyOrder},
    node::{Asked, Disk, Node, Write},
    world::World,
};

/// Orders of controllers that a node keeps; the oldest go.
const ORDERS_MAX: usize = 8;

impl World {
    /// The leader's message reaches a member.
    pub(crate) fn append(&mut self, at: usize, append: &Append, batch: Option<BatchHeader>) {
        let (me, full) = (self.member(at), !self.healing && self.rng.one_in(40));
        let Node { disk, memory, .. } = &mut self.nodes[at];
        let applied = u64::try_from(memory.applied).unwrap();
        let known = usize::try_from(append.epoch.0).unwrap() <= self.raft.known(memory.applied);
        let answer = match (memory.replicas.get_mut(&append.epoch), batch) {
            (None, _) if known => Err(Refusal::NotMember),
            (None, _) => Err(Refusal::of_unknown(append, &memory.fences, applied)),
            (Some(replica), None) => replica.ask(append, &memory.fences, applied).map(Taken::Known),
            (Some(replica), Some(batch)) => {
                match replica.append(append, &batch, &memory.fences, applied) {
                    Ok(Taken::Store { .. }) if full => {
                        replica.retract();
                        Err(Refusal::Busy)
                    }
                    Ok(Taken::Store { end }) => {
                        self.truth.stored(&batch);
                        disk.store(batch);
                        Ok(Taken::Store { end })
                    }
                    answer => answer,
                }
            }
        };
        let (from, epoch, stream) = (me, append.epoch, append.stream);
        let body = match answer {
            Ok(Taken::Store { .. }) => return,
            Ok(Taken::Known(position)) => Body::Position { from, position },
            Err(refusal) => Body::Refused { from: from.node, epoch, stream, refusal },
        };
        self.send(at, append.from.node, body);
    }

    /// A controller asks this node to fence a life and to report of what that leads.
    pub(crate) fn fence(
        &mut self,
        at: usize,
        controller: (usize, u64),
        writer: Writer,
        segments: Vec<SegmentId>,
    ) {
        let applied = self.nodes[at].memory.applied;
        assert!(!self.raft.may_lead(applied, writer), "{writer:?} is to be fenced and is not");
        if self.nodes[at].memory.life == writer {
            self.end_soon(at);
        }
        let memory = &mut self.nodes[at].memory;
        if memory.fences.fence(writer) == FenceEffect::FlushThenAnswer {
            self.nodes[at].disk.queue.push_back(Write::Fence(writer));
        }
        let asked = Asked { controller, writer, segments };
        let all = &mut self.nodes[at].memory.asked;
        if !all.contains(&asked) {
            all.push(asked);
        }
        self.answer_fences(at);
    }

    /// This life is over, as somebody said: it leads no more, and the process begins another.
    pub(crate) fn end_soon(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        memory.lease.fence_heard();
        let life = memory.life;
        if memory.lead.is_some() {
            self.step_down(at);
        }
        if self.nodes[at].is_up() && !self.nodes[at].memory.ends {
            self.nodes[at].memory.ends = true;
            let ms = self.rng.between(1, 300);
            self.after(ms, crate::world::Event::End(at, life));
        }
    }

    pub(crate) fn step_down(&mut self, at: usize) {
        let memory = &mut self.nodes[at].memory;
        let life = memory.life;
        let mut lead = memory.lead.take().unwrap();
        lead.leader.fenced();
        let replica = lead.leader.into_member(life);
        memory.replicas.insert(replica.epoch(), replica);
        self.client_lost_leader(life);
    }

    /// Answers the controllers that wait, as soon as everything they ask for can be answered.
    pub(crate) fn answer_fences(&mut self, at: usize) {
        for asked in std::mem::take(&mut self.nodes[at].memory.asked) {
            let memory = &self.nodes[at].memory;
            let report = |id: &SegmentId| match memory.replicas.get(&id.epoch) {
                Some(replica) if replica.writer() == asked.writer => {
                    Ok((*id, Report::from(replica.answer_fence(&memory.fences)?)))
                }
                Some(_) | None => Ok((*id, Report::NoMember)),
            };
            let reports: Result<Vec<_>, NoAnswer> = asked.segments.iter().map(report).collect();
            match reports {
                Ok(reports) => {
                    let (slot, term) = asked.controller;
                    let (to, from) = (self.nodes[slot].id, self.nodes[at].id);
                    let body = Body::FenceAnswer { term, fenced: asked.writer, from, reports };
                    self.send(at, to, body);
                }
                Err(_not_yet) => self.nodes[at].memory.asked.push(asked),
            }
        }
    }

    /// A controller has this node take what it lacks from another member.
    pub(crate) fn ordered(&mut self, at: usize, order: CopyOrder, from: Member) {
        let to = self.member(at);
        let epoch = order.segment.epoch;
        let memory = &mut self.nodes[at].memory;
        let Some(replica) = memory.replicas.get(&epoch) else {
            self.copy_ended(at, order, None);
            return;
        };
        let lacks = replica.end();
        if memory.orders.len() == ORDERS_MAX {
            memory.orders.remove(0);
        }
        memory.orders.push(order);
        if self.slot_of(from.node).is_none() {
            self.nodes[at].memory.orders.pop();
            self.copy_ended(at, order, None);
            return;
        }
        let (from, upto, order) = (from.node, order.upto, Some(order));
        self.send(at, from, Body::Read { epoch, from: lacks, upto, to, order });
        self.settle_orders(at);
    }

    fn copy_ended(&mut self, at: usize, order: CopyOrder, held: Option<Held>) {
        let (from, to) = (self.nodes[at].id, self.nodes[order.controller.0].id);
        self.send(at, to, Body::Copied { order, from, held });
    }

    /// Another member asks for durable batches.
    pub(crate) fn read(
        &mut self,
        at: usize,
        epoch: Epoch,
        (from, upto): (Offset, Offset),
        to: Member,
        order: Option<CopyOrder>,
    ) {
        let disk = &self.nodes[at].disk;
        let durable = disk.durable(epoch).min(upto);
        let batches: Vec<_> = disk.batches(epoch, from, durable).copied().collect();
        let storage = to.storage;
        self.send(at, to.node, Body::Copy { epoch, storage, batches, upto, order });
    }

    pub(crate) fn take_copy(
        &mut self,
        at: usize,
        (epoch, storage): (Epoch, StorageId),
        batches: Vec<BatchHeader>,
        upto: Offset,
        order: Option<CopyOrder>,
    ) {
        let mut refused = batches.is_empty();
        for batch in batches {
            let Node { disk, memory, .. } = &mut self.nodes[at];
            let Some(replica) = memory.replicas.get_mut(&epoch) else {
                return;
            };
            match replica.copy(storage, &batch, upto, &memory.fences) {
                Ok(Taken::Store { .. }) => {
                    let pulled = replica.sealed_end().is_some();
                    self.truth.stored(&batch);
                    disk.store(batch);
                    *(if pulled { &mut self.counts.pulls } else { &mut self.counts.copies }) += 1;
                }
                Ok(Taken::Known(_)) => {}
                Err(_) => refused = true,
            }
        }
        if let Some(order) = order.filter(|_| refused) {
            self.nodes[at].memory.orders.retain(|other| *other != order);
            self.copy_ended(at, order, None);
        }
        self.settle_orders(at);
    }

    /// Tells controllers what came of their copies, once that is on disk.
    fn settle_orders(&mut self, at: usize) {
        for order in std::mem::take(&mut self.nodes[at].memory.orders) {
            let memory = &mut self.nodes[at].memory;
            let Some(replica) = memory.replicas.get(&order.segment.epoch) else {
                continue;
            };
            if replica.sealed_end().is_some() {
                continue;
            }
            match replica.answer_fence(&memory.fences) {
                Ok(FenceAnswer::Held(held)) if held.end >= order.upto => {
                    self.copy_ended(at, order, Some(held));
                }
                _ => memory.orders.push(order),
            }
        }
    }

    /// A member that is short of a sealed segment's end asks another one for the rest.
    pub(crate) fn pull(&mut self, at: usize) {
        let me = self.member(at);
        let short = |replica: &&ReplicaSegment| {
            let members = &self.raft.record(replica.epoch()).unwrap().open.members;
            members.contains(&me) && replica.sealed_end().is_some_and(|end| replica.end() < end)
        };
        let Some(replica) = self.nodes[at].memory.replicas.values().find(short) else {
            return;
        };
        let (epoch, from, upto) = (replica.epoch(), replica.end(), replica.sealed_end().unwrap());
        let source = self.nodes[self.rng.index(self.nodes.len())].id;
        self.send(at, source, Body::Read { epoch, from, upto, to: me, order: None });
    }

    /// Some of what the WAL holds becomes durable.
    pub(crate) fn flush(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.disk_stuck = node.disk_stuck.filter(|(_, until)| *until > self.now);
        if !node.listens() || node.disk_stuck.is_some() {
            return;
        }
        let writes = self.rng.index(self.nodes[at].disk.queue.len() + 1);
        for _ in 0..writes {
            self.flush_one(at);
        }
        self.answer_fences(at);
        self.settle_orders(at);
    }

    pub(crate) fn flush_one(&mut self, at: usize) {
        let from = self.member(at);
        let Node { disk, memory, .. } = &mut self.nodes[at];
        match disk.queue.pop_front() {
            None => {}
            Some(Write::Fence(writer)) => {
                disk.fences.fence(writer);
                disk.fences.durable(writer);
                memory.fences.durable(writer);
            }
            Some(Write::State { epoch, table }) => {
                disk.states.insert(epoch, table);
            }
            Some(Write::Batch { epoch, end }) => {
                disk.flushed(epoch, end);
                if let Some(replica) = memory.replicas.get_mut(&epoch) {
                    let Flushed { answer, finish } = replica.flushed(end);
                    let to = replica.writer().node;
                    if finish.is_some() {
                        self.finish(at, epoch);
                    }
                    if let Some(position) = answer {
                        self.send(at, to, Body::Position { from, position });
                    }
                } else if let Some(lead) = &mut memory.lead {
                    let advance = lead.leader.flushed(epoch, end);
                    self.advance(at, advance);
                }
            }
        }
    }

    /// A sealed segment is whole: its producers' table is written beside it, and one that was
    /// opened before that was so learns what it begins with.
    pub(crate) fn finish(&mut self, at: usize, epoch: Epoch) {
        let Node { disk, memory, .. } = &mut self.nodes[at];
        let Some(table) = memory.replicas[&epoch].producers().cloned() else {
            return;
        };
        disk.queue.push_back(Write::State { epoch, table: table.encode() });
        if let Some(next) = memory.replicas.get_mut(&epoch.next())
            && next.producers().is_none()
        {
            let table = fed(table, disk, next.epoch(), next.end());
            next.learn_producers(table).unwrap();
        }
    }

    /// The segment of `epoch` is open, as far as this node has heard. `table` is the producers' at
    /// its base, if it is known.
    pub(crate) fn opened(&mut self, at: usize, epoch: Epoch, table: Option<ProducerTable>) {
        let me = self.member(at);
        let record = self.raft.record(epoch).unwrap();
        let Node { disk, memory, .. } = &mut self.nodes[at];
        if memory.lead.is_some() {
            return; // it went on
        }
        if record.writer == memory.life && !memory.lease.is_fenced() {
            self.lead(at, epoch, table);
            return;
        }
        let base = record.open.base;
        let Some(named) = record.open.members.iter().find(|member| member.node == me.node) else {
            return;
        };
        let has = disk.on_disk(epoch, base);
        let table = table.filter(|_| named.storage == me.storage);
        let table = table.map(|table| fed(table, disk, epoch, has.end));
        let replica = ReplicaSegment::open(me, record.writer, &record.open, has, table);
        memory.replicas.insert(epoch, replica);
    }

    /// Returns the producers' table at the end, when all is here.
    pub(crate) fn seal_member(
        &mut self,
        at: usize,
        epoch: Epoch,
        end: Offset,
    ) -> Option<ProducerTable> {
        let Node { disk, memory, .. } = &mut self.nodes[at];
        let replica = memory.replicas.get_mut(&epoch)?;
        let Sealing { cut, pull: _, finish } = replica.sealed(end);
        let table = replica.producers().filter(|_| replica.end() == end).cloned();
        if let Some(cut) = cut {
            disk.cut(epoch, cut);
            self.counts.cuts += 1;
        }
        if finish.is_some() {
            self.finish(at, epoch);
        }
        table
    }
}

/// A table that knows all before a segment, fed what the disk has of it.
fn fed(mut table: ProducerTable, disk: &Disk, epoch: Epoch, upto: Offset) -> ProducerTable {
    let base = table.end();
    for batch in disk.batches(epoch, base, upto) {
        table.appended(batch);
    }
    table
}
