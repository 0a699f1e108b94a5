//! Controllers that seal what a fenced leader left open: as little as that takes. Each keeps the
//! answers it got, acts on old ones too, and knows nothing of the other.

use std::collections::{BTreeMap, BTreeSet};

use walrus_replication::{FenceAnswer, Held, Member};
use walrus_types::{Epoch, Offset};

use crate::{
    metadata::Roll,
    parts::{Body, Message, NODES, node_of},
    planted,
    world::World,
};

#[derive(Default)]
pub(crate) struct Controller {
    /// What each member ever said that it holds.
    votes: BTreeMap<(Epoch, usize), Vec<Offset>>,
    lost: BTreeSet<(Epoch, usize)>,
}

impl World {
    pub(crate) fn controller_heard(
        &mut self,
        controller: usize,
        from: Member,
        epoch: Epoch,
        answer: &FenceAnswer,
    ) {
        let Some(record) = self.metadata.record(epoch) else {
            return;
        };
        let at = (epoch, node_of(from.node));
        let controller = &mut self.controllers[controller];
        match answer {
            FenceAnswer::Held(Held { end, storage, .. }) => {
                let named = Member { node: from.node, storage: *storage };
                assert!(record.open.members.contains(&named), "a vote from a disk of no member");
                controller.votes.entry(at).or_default().push(*end);
            }
            FenceAnswer::LostDisk { .. } => {
                controller.lost.insert(at);
            }
            FenceAnswer::Sealed { .. } => {}
        }
    }

    /// One step towards the seal of the open segment, if its leader is fenced.
    pub(crate) fn control(&mut self, controller: usize) {
        let writer = self.metadata.open().writer;
        if !self.metadata.is_fenced(writer) {
            return;
        }
        if self.rng.one_in(2) {
            let index = self.metadata.events.len();
            for to in 0..NODES {
                self.send(Message { to, body: Body::Fence { controller, writer, index } });
            }
        } else {
            self.judge_votes(controller);
        }
    }

    fn judge_votes(&mut self, controller: usize) {
        let open = self.metadata.open().open.clone();
        let Controller { votes, lost } = &self.controllers[controller];
        let members: Vec<usize> = open.members.iter().map(|member| node_of(member.node)).collect();
        let vote = |node: &usize| Some((*node, votes.get(&(open.epoch, *node))?));
        let all: Vec<(usize, &Vec<Offset>)> = members.iter().filter_map(vote).collect();
        let holds = |node: usize| votes.get(&(open.epoch, node)).and_then(|ends| ends.iter().max());
        let w = open.write_quorum;
        let needed = members.len() - w + usize::from(!planted("fence-too-few"));
        let mut chosen = all.clone();
        while chosen.len() > needed.max(1) && self.rng.one_in(2) {
            chosen.swap_remove(self.rng.below(chosen.len()));
        }
        if chosen.len() < needed.max(1) {
            return;
        }
        // Any of a member's answers will do, the oldest too.
        let mut ends = chosen.iter().map(|(_, ends)| ends[self.rng.below(ends.len())]);
        let first = ends.next().unwrap();
        let end = if planted("first-end") { first } else { ends.fold(first, Offset::max) };
        let holders: Vec<usize> =
            members.iter().copied().filter(|node| holds(*node) >= Some(&end)).collect();
        // Fewer than `w` can ever hold it: on all that are left, and the record says so (M4). One
        // that answered and lost its disk since is no holder: what it alone had would be a hole.
        let kept = |nodes: &[usize]| {
            nodes.iter().filter(|node| !lost.contains(&(open.epoch, **node))).count()
        };
        let left = kept(&members);
        let narrow = left < w && left > 0 && kept(&holders) == left;
        if holders.len() >= w || narrow {
            if let Some((next, members)) = self.placement() {
                let expected = open.epoch;
                let forced = true;
                self.propose_roll(Roll { expected, end, next, members, forced, narrow });
            }
            return;
        }
        let short = all.iter().find(|(node, _)| holds(*node) < Some(&end));
        if let Some((to, ends)) = short {
            let (to, from) = (*to, **ends.iter().max().as_ref().unwrap());
            self.copy(holders[0], to, open.epoch, (from, end));
        }
    }

    /// Has `to` take what it lacks from `source`.
    pub(crate) fn copy(
        &mut self,
        source: usize,
        to: usize,
        epoch: Epoch,
        (from, upto): (Offset, Offset),
    ) {
        let record = self.metadata.record(epoch).unwrap();
        let named = record.open.members.iter().find(|member| node_of(member.node) == to);
        let Some(Member { storage, .. }) = named.copied() else {
            return;
        };
        let disk = &self.nodes[source].disk;
        let durable = disk.durable(epoch).min(upto);
        let missing: Vec<_> = disk.batches(epoch, from, durable).copied().collect();
        for batch in missing {
            self.send(Message { to, body: Body::Copy { epoch, storage, batch, upto } });
        }
    }
}
