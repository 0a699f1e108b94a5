//! The end of a world: all faults stop, and what was sent must become readable.

use walrus_replication::RollReason;
use walrus_types::Epoch;

use crate::{
    node::Memory,
    parts::{CONTROLLERS, NODES},
    world::World,
};

/// After so many rounds without a fault everything must be well.
const HEALED_AFTER: usize = 400;

impl World {
    /// All faults stop. Everything that was sent must be acknowledged, and every member whole.
    pub(crate) fn heal(&mut self) {
        self.healing = true;
        // A message that was lost is a connection that was: those that live on lost nothing.
        for at in 0..NODES {
            self.disconnect_all(at);
        }
        for _round in 0..HEALED_AFTER {
            self.heal_once();
            if self.is_well() {
                let sent = self.clients.iter().map(|client| (client.id, client.next)).collect();
                self.truth.check_end(&sent);
                return;
            }
        }
        let stuck: Vec<usize> = self.clients.iter().map(|client| client.in_flight.len()).collect();
        let mut told = format!("not well after {HEALED_AFTER} rounds: {stuck:?} in flight\n");
        told += &format!("open {:?}, visible {}\n", self.metadata.open(), self.truth.visible_end());
        for (at, node) in self.nodes.iter().enumerate() {
            let Memory { life, lead, replicas, .. } = &node.memory;
            let lead = lead.as_ref().map(|lead| (lead.leader.epoch(), lead.leader.phase()));
            told += &format!("node {at}, life {}: leads {lead:?}", life.incarnation);
            for replica in replicas.values() {
                let (epoch, end, upto) = (replica.epoch(), replica.end(), replica.readable_end());
                told += &format!(", {epoch}: {end} {upto} {:?}", replica.sealed_end());
            }
            told.push('\n');
        }
        panic!("{told}");
    }

    pub(crate) fn heal_once(&mut self) {
        self.now.0 += 50;
        for at in 0..NODES {
            if self.metadata.is_fenced(self.nodes[at].memory.life) {
                self.restart_cleanly(at);
            }
            while self.nodes[at].memory.applied < self.metadata.events.len() {
                self.apply_event(at);
            }
            while !self.nodes[at].disk.queue.is_empty() {
                self.flush_one(at);
            }
            self.answer_fences(at);
            self.pull(at);
            if let Some(lead) = &self.nodes[at].memory.lead {
                if !lead.leader.has_quorum() {
                    self.begin_roll(at, RollReason::QuorumLost);
                }
                self.connect_all(at);
                self.tick(at);
                self.propose_again(at);
                for client in 0..self.clients.len() {
                    if self.clients[client].sent_to != Some(self.nodes[at].memory.life) {
                        self.resend(client, at);
                    }
                }
            }
        }
        for controller in 0..CONTROLLERS {
            self.control(controller);
        }
        self.apply_proposal();
        for _ in 0..self.messages.len() {
            let message = self.messages.pop_front().unwrap();
            self.receive(message);
        }
        self.truth.check_reads(&self.nodes, &self.metadata);
    }

    /// What a fenced node does in the end.
    pub(crate) fn restart_cleanly(&mut self, at: usize) {
        while !self.nodes[at].disk.queue.is_empty() {
            self.flush_one(at);
        }
        self.restart(at);
    }

    pub(crate) fn is_well(&self) -> bool {
        let open = &self.metadata.open().open;
        // A disk that was lost is no member of what it was named in.
        let kept = |at: usize, epoch: Epoch| !self.truth.lost.contains(&(epoch, at));
        let whole = |at: usize| {
            self.nodes[at].memory.replicas.values().all(|replica| {
                let (end, epoch) = (replica.sealed_end(), replica.epoch());
                !kept(at, epoch) || end.is_none_or(|end| replica.end() == end)
            })
        };
        let led = self.nodes.iter().any(|node| {
            let lead = node.memory.lead.as_ref();
            lead.is_some_and(|lead| lead.leader.epoch() == open.epoch)
        });
        let at_end = |at: usize| {
            let replica = self.nodes[at].memory.replicas.get(&open.epoch);
            let replica = replica.filter(|_| kept(at, open.epoch));
            replica.is_none_or(|replica| replica.readable_end() == self.truth.visible_end())
        };
        led && self.clients.iter().all(|client| client.in_flight.is_empty())
            && (0..NODES).all(|at| whole(at) && at_end(at))
    }
}
