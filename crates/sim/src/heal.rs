//! The end of a world: all faults stop, and what was sent must become readable.

use walrus_replication::Member;

use crate::{
    node::{Memory, Process},
    raft::Record,
    world::World,
};

/// After so long without a fault everything must be well.
const HEALED_AFTER_MS: u64 = 60_000;

impl World {
    /// All faults stop. Everything that was sent must be acknowledged, and every member whole; but
    /// where the last disk with an end goes while its seal is proposed, the world ends there.
    pub(crate) fn heal(&mut self) {
        self.note(|| "all faults stop".into());
        self.healing = true;
        self.mend_all();
        self.undrain_all();
        for at in 0..self.nodes.len() {
            self.nodes[at].paused_until = 0;
            self.nodes[at].disk_stuck = None;
            self.nodes[at].behind_until = 0;
            // A message that was lost is a connection that was: those that live on lost nothing.
            self.reset_all(at);
        }
        let (begun, mut looked) = (self.now, self.now);
        while self.now < begun + HEALED_AFTER_MS {
            self.step();
            if self.hole {
                return;
            }
            if self.now >= looked + 100 {
                looked = self.now;
                if self.is_well() {
                    let sent = self.clients.iter().map(|client| (client.id, client.next));
                    self.truth.check_end(&sent.collect());
                    return;
                }
            }
        }
        panic!("not well {HEALED_AFTER_MS} ms after the last fault\n{}", self.standing());
    }

    fn standing(&self) -> String {
        let stuck: Vec<usize> = self.clients.iter().map(|client| client.in_flight.len()).collect();
        let (open, visible) = (self.raft.open(), self.truth.visible_end());
        let mut told = format!("{stuck:?} in flight, open {open:?}, visible {visible}\n");
        for (at, node) in self.nodes.iter().enumerate() {
            let Memory { life, lead, replicas, .. } = &node.memory;
            let lead = lead.as_ref().map(|lead| (lead.leader.epoch(), lead.leader.phase()));
            told += &format!("{at} is {:?}, {:?}, leads {lead:?}", life, node.process);
            for replica in replicas.values() {
                let (epoch, end, upto) = (replica.epoch(), replica.end(), replica.readable_end());
                told += &format!(", {epoch}: {end} {upto} {:?}", replica.sealed_end());
            }
            told.push('\n');
        }
        told
    }

    fn is_well(&self) -> bool {
        let up = self.nodes.iter().all(|node| node.process == Process::Up && !node.memory.ends);
        let led = self.nodes.iter().any(|node| {
            let lead = node.memory.lead.as_ref();
            lead.is_some_and(|lead| lead.leader.epoch() == self.raft.open().open.epoch)
        });
        up && led
            && self.clients.iter().all(|client| client.in_flight.is_empty())
            && self.raft.chain.iter().all(|record| self.is_whole(record))
    }

    /// Whether those that have to have a segment have all that is visible of it.
    fn is_whole(&self, record: &Record) -> bool {
        let (epoch, visible) = (record.open.epoch, self.truth.visible_end());
        let must: Vec<Member> =
            if record.end.is_some() { self.must_have(epoch) } else { record.open.members.clone() };
        self.nodes.iter().all(|node| {
            let replica = node.memory.replicas.get(&epoch);
            let replica = replica.filter(|_| must.contains(&node.member()));
            replica.is_none_or(|replica| match record.end {
                Some(end) => replica.end() == end,
                None => replica.readable_end() == visible,
            })
        })
    }
}
