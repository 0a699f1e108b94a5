//! A member's side of a node: carries out what `ReplicaSegment` and `Fences` say.

use walrus_replication::{
    Append, FenceEffect, Flushed, NoAnswer, ProducerTable, Refusal, ReplicaSegment, Sealing, Taken,
    Writer,
};
use walrus_types::{Epoch, Offset, StorageId, batch::BatchHeader};

use crate::{
    node::{Disk, Node, Write},
    parts::{Body, Message, NODES, node_of},
    world::World,
};

impl World {
    /// The leader's message reaches a member.
    pub(crate) fn append(&mut self, at: usize, append: &Append, batch: Option<BatchHeader>) {
        let (me, full) = (self.member(at), !self.healing && self.rng.one_in(40));
        let Node { disk, memory } = &mut self.nodes[at];
        let applied = u64::try_from(memory.applied).unwrap();
        let known = usize::try_from(append.epoch.0).unwrap() <= memory.known;
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
        self.send(Message { to: node_of(append.from.node), body });
    }

    pub(crate) fn fence(&mut self, at: usize, controller: usize, writer: Writer) {
        let memory = &self.nodes[at].memory;
        if memory.life == writer && memory.lead.is_some() {
            self.step_down(at);
        }
        let memory = &mut self.nodes[at].memory;
        if memory.fences.fence(writer) == FenceEffect::FlushThenAnswer {
            self.nodes[at].disk.queue.push_back(Write::Fence(writer));
        }
        let asked = &mut self.nodes[at].memory.asked;
        if !asked.contains(&(controller, writer)) {
            asked.push((controller, writer));
        }
        self.answer_fences(at);
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
        let from = self.member(at);
        for (controller, writer) in std::mem::take(&mut self.nodes[at].memory.asked) {
            let memory = &self.nodes[at].memory;
            let answers: Result<Vec<_>, NoAnswer> = memory
                .replicas
                .values()
                .filter(|replica| replica.writer() == writer && replica.sealed_end().is_none())
                .map(|replica| Ok((replica.epoch(), replica.answer_fence(&memory.fences)?)))
                .collect();
            match answers {
                Ok(answers) => {
                    for (epoch, answer) in answers {
                        let body = Body::FenceAnswer { from, epoch, answer };
                        self.send(Message { to: controller, body });
                    }
                }
                Err(_not_yet) => self.nodes[at].memory.asked.push((controller, writer)),
            }
        }
    }

    pub(crate) fn take_copy(
        &mut self,
        at: usize,
        (epoch, storage): (Epoch, StorageId),
        batch: BatchHeader,
        upto: Offset,
    ) {
        let Node { disk, memory } = &mut self.nodes[at];
        let Some(replica) = memory.replicas.get_mut(&epoch) else {
            return;
        };
        if let Ok(Taken::Store { .. }) = replica.copy(storage, &batch, upto, &memory.fences) {
            self.truth.stored(&batch);
            disk.store(batch);
            let pulled = replica.sealed_end().is_some();
            *(if pulled { &mut self.counts.pulls } else { &mut self.counts.copies }) += 1;
        }
    }

    /// A member that is short of a sealed segment's end asks another one for the rest.
    pub(crate) fn pull(&mut self, at: usize) {
        let short = |replica: &&ReplicaSegment| {
            replica.sealed_end().is_some_and(|end| replica.end() < end)
                && !self.truth.lost.contains(&(replica.epoch(), at))
        };
        let Some(replica) = self.nodes[at].memory.replicas.values().find(short) else {
            return;
        };
        let (epoch, from, upto) = (replica.epoch(), replica.end(), replica.sealed_end().unwrap());
        let source = self.rng.below(NODES);
        self.copy(source, at, epoch, (from, upto));
    }

    /// Some of what the WAL holds becomes durable.
    pub(crate) fn flush(&mut self, at: usize) {
        let writes = self.rng.below(self.nodes[at].disk.queue.len() + 1);
        for _ in 0..writes {
            self.flush_one(at);
        }
        self.answer_fences(at);
    }

    pub(crate) fn flush_one(&mut self, at: usize) {
        let from = self.member(at);
        let Node { disk, memory } = &mut self.nodes[at];
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
                    let to = node_of(replica.writer().node);
                    if finish.is_some() {
                        self.finish(at, epoch);
                    }
                    if let Some(position) = answer {
                        self.send(Message { to, body: Body::Position { from, position } });
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
        let Node { disk, memory } = &mut self.nodes[at];
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
        let record = self.metadata.record(epoch).unwrap();
        let Node { disk, memory } = &mut self.nodes[at];
        memory.known = usize::try_from(epoch.0).unwrap();
        if memory.lead.is_some() {
            return; // it went on
        }
        if record.writer == memory.life {
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
        let Node { disk, memory } = &mut self.nodes[at];
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
