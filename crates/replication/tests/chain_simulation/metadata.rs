//! Metadata as one list that everybody agrees on, and each node has applied so far.

use std::collections::BTreeMap;

use walrus_replication::{Member, OpenSegment, Writer, write_quorum};
use walrus_types::{Epoch, Incarnation, Offset, StorageId};

use crate::parts::{NODES, node_id, node_of, storage};

/// A segment, as the Roll that opened it wrote it, and its end.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) open: OpenSegment,
    pub(crate) writer: Writer,
    pub(crate) end: Option<Offset>,
}

/// What a Roll asks for.
#[derive(Debug, Clone)]
pub(crate) struct Roll {
    pub(crate) expected: Epoch,
    pub(crate) end: Offset,
    pub(crate) next: Writer,
    pub(crate) members: Vec<Member>,
    pub(crate) forced: bool,
    /// Fewer than `w` could be reached, and the Roll says so.
    pub(crate) narrow: bool,
}

/// What a node applies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// The segment of this epoch was sealed, and the next one opened.
    Rolled(Epoch),
    /// Somebody was fenced: the intent to seal what it leads.
    Fenced,
}

#[derive(Debug, Clone, Copy)]
struct Registered {
    storage: StorageId,
    incarnation: Incarnation,
    fenced: bool,
}

pub(crate) struct Metadata {
    pub(crate) events: Vec<Event>,
    /// By epoch, from 1 on without a gap.
    pub(crate) chain: Vec<Record>,
    /// Proposals on their way.
    pub(crate) pending: Vec<Roll>,
    nodes: BTreeMap<usize, Registered>,
    disks: u64,
}

impl Metadata {
    pub(crate) fn new(n: usize) -> Self {
        let mut metadata = Self {
            events: Vec::new(),
            chain: Vec::new(),
            pending: Vec::new(),
            nodes: BTreeMap::new(),
            disks: 0,
        };
        for node in 0..NODES {
            let storage = metadata.new_disk();
            let first = Registered { storage, incarnation: Incarnation(1), fenced: false };
            metadata.nodes.insert(node, first);
        }
        let members: Vec<Member> = (0..n).map(|node| metadata.member(node)).collect();
        let write_quorum = write_quorum(n, 2);
        let open = OpenSegment { epoch: Epoch::FIRST, base: Offset::ZERO, members, write_quorum };
        let writer = metadata.life(0);
        metadata.chain.push(Record { open, writer, end: None });
        metadata
    }

    pub(crate) fn new_disk(&mut self) -> StorageId {
        self.disks += 1;
        storage(self.disks)
    }

    pub(crate) fn member(&self, node: usize) -> Member {
        Member { node: node_id(node), storage: self.nodes[&node].storage }
    }

    pub(crate) fn life(&self, node: usize) -> Writer {
        Writer { node: node_id(node), incarnation: self.nodes[&node].incarnation }
    }

    pub(crate) fn is_fenced(&self, writer: Writer) -> bool {
        let now = &self.nodes[&node_of(writer.node)];
        writer.incarnation < now.incarnation || now.fenced
    }

    /// A new life of a node fences the one before.
    pub(crate) fn register(&mut self, node: usize, storage: StorageId) {
        let incarnation = Incarnation(self.nodes[&node].incarnation.0 + 1);
        self.nodes.insert(node, Registered { storage, incarnation, fenced: false });
        self.events.push(Event::Fenced);
    }

    pub(crate) fn fence(&mut self, writer: Writer) {
        if !self.is_fenced(writer) {
            self.nodes.get_mut(&node_of(writer.node)).unwrap().fenced = true;
            self.events.push(Event::Fenced);
        }
    }

    pub(crate) fn record(&self, epoch: Epoch) -> Option<&Record> {
        self.chain.get(usize::try_from(epoch.0).unwrap() - 1)
    }

    pub(crate) fn open(&self) -> &Record {
        self.chain.last().unwrap()
    }

    /// Whether a Roll would be applied now: its epoch is the open one, and whom it names is current.
    pub(crate) fn judge(&self, roll: &Roll) -> bool {
        let current = |member: &Member| self.member(node_of(member.node)) == *member;
        roll.expected == self.open().open.epoch
            && !self.is_fenced(roll.next)
            && roll.members.iter().all(current)
            && roll.members.iter().any(|member| member.node == roll.next.node)
    }

    pub(crate) fn apply(&mut self, roll: &Roll) {
        let last = self.chain.last_mut().unwrap();
        assert_eq!(last.end, None, "I5: an end is decided once");
        assert!(roll.end >= last.open.base);
        last.end = Some(roll.end);
        let open = OpenSegment {
            epoch: roll.expected.next(),
            base: roll.end,
            members: roll.members.clone(),
            write_quorum: write_quorum(roll.members.len(), 2),
        };
        self.chain.push(Record { open, writer: roll.next, end: None });
        self.events.push(Event::Rolled(roll.expected));
    }
}
