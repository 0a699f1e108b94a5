//! The links between nodes: each direction by itself is cut or not, and on it messages are late,
//! lost, repeated and reordered.

use std::collections::BTreeMap;

use walrus_types::NodeId;

use crate::{
    message::Body,
    world::{Event, World},
};

/// A slot of the one that sends, a slot of the one that hears.
pub(crate) type Link = (usize, usize);

#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Until when nothing gets through.
    cut: BTreeMap<Link, u64>,
    /// When the newest message arrives: later ones follow it.
    busy: BTreeMap<Link, u64>,
}

impl World {
    pub(crate) fn cut(&mut self, from: usize, to: usize, ms: u64) {
        let until = self.net.cut.entry((from, to)).or_default();
        *until = (*until).max(self.now + ms);
    }

    pub(crate) fn mend_all(&mut self) {
        self.net.cut.clear();
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.net.cut.get(&(from, to)).is_some_and(|until| *until > self.now)
    }

    /// Whether two processes can talk now.
    pub(crate) fn linked(&self, a: usize, b: usize) -> bool {
        let run = self.nodes[a].runs(self.now) && self.nodes[b].runs(self.now);
        run && !self.is_cut(a, b) && !self.is_cut(b, a)
    }

    /// Whether a node can propose and hears what was applied.
    pub(crate) fn reaches_raft(&self, at: usize) -> bool {
        let total = self.nodes.len();
        let others = (0..total).filter(|other| *other != at && self.linked(at, *other)).count();
        (others + 1) * 2 > total
    }

    pub(crate) fn send(&mut self, from: usize, to: NodeId, body: Body) {
        let Some(slot) = self.slot_of(to) else {
            return;
        };
        if slot == from {
            self.after(0, Event::Deliver { from, to, body });
            return;
        }
        let lost = self.is_cut(from, slot) || (!self.healing && self.rng.one_in(self.rules.loss));
        if lost {
            self.counts.lost_messages += 1;
            self.note(|| format!("lost {from} to {slot}: {body:?}"));
            self.connection_lost(from, slot, &body);
            return;
        }
        let mut arrives = self.now + self.rng.between(1, 4);
        if self.healing || !self.rng.one_in(40) {
            let busy = self.net.busy.entry((from, slot)).or_default();
            arrives = arrives.max(*busy);
            *busy = arrives;
        } else {
            arrives += self.rng.between(1, 400);
        }
        if !self.healing && self.rng.one_in(50) {
            self.counts.repeated_messages += 1;
            let again = arrives + self.rng.between(0, 300);
            self.at(again, Event::Deliver { from, to, body: body.clone() });
        }
        self.at(arrives, Event::Deliver { from, to, body });
    }

    /// What fed a member is lost with its connection, which is made again.
    fn connection_lost(&mut self, a: usize, b: usize, body: &Body) {
        if !body.is_fed() {
            return;
        }
        let leader = if matches!(body, Body::Append { .. }) { a } else { b };
        let member = self.nodes[if leader == a { b } else { a }].id;
        let ms = self.rng.between(1, 300);
        self.after(ms, Event::Reset { at: leader, to: member });
    }
}
