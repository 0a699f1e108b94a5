//! Nodes that begin a life, are fenced, drain and go.
//!
//! ```text
//!            drain              fence                register
//!   active <-------> draining   ------->  fenced  --------------> active or draining, as before
//!           undrain      |                   |
//!                        +------ remove -----+--> removed ------> active, with an empty disk
//! ```

use std::{collections::BTreeMap, sync::Arc};

use walrus_types::NodeId;

use crate::{
    command::{Fence, NodeChange, Register, SetNodeState},
    limits::{HOST_BYTES_MAX, NODES_MAX, STORAGES_SPENT_MAX},
    metadata::Metadata,
    node::{Fences, Leader, Node, NodeState},
    queries::Holding,
    reply::{FenceRefusal, Fenced, NodeStateRefusal, RegisterRefusal, Registered},
};

impl Metadata {
    /// A new incarnation ends the one before: whatever that leads is to be sealed, and no Roll
    /// names it as leader any more. If that is something, the node went down and was back before
    /// anybody fenced it, which counts as a fence.
    pub(super) fn register(&mut self, new: &Register) -> Result<Registered, RegisterRefusal> {
        self.judge_registration(new)?;
        let replaced = self.nodes.get(&new.node).filter(|node| node.storage != new.storage);
        if let Some(storage) = replaced.map(|node| node.storage) {
            self.spent.insert(storage, new.node);
        }
        let mut node = Node {
            storage: new.storage,
            incarnation: new.incarnation,
            state: NodeState::Active,
            rack: new.rack.clone(),
            addresses: new.addresses.clone(),
            configs: BTreeMap::new(),
            drains: false,
            fences: Fences::default(),
        };
        if let Some(known) = self.nodes.get(&new.node).filter(|node| node.storage == new.storage) {
            let last = Leader { node: new.node, incarnation: known.incarnation };
            let crashed = known.state.serves() && self.leases.get(&last).is_some();
            node.fences = if crashed { known.fences.and_one(new.at) } else { known.fences };
            node.configs.clone_from(&known.configs);
            node.drains = known.drains;
            node.state = if known.drains { NodeState::Draining } else { NodeState::Active };
        }
        self.cluster = Some(new.cluster);
        self.nodes.insert(new.node, Arc::new(node));
        Ok(Registered { index: self.applied })
    }

    fn judge_registration(&self, new: &Register) -> Result<(), RegisterRefusal> {
        if let Some(ours) = self.cluster.filter(|ours| *ours != new.cluster) {
            return Err(RegisterRefusal::OtherCluster { ours, given: new.cluster });
        }
        let doors = &new.addresses;
        let hosts = [&doors.client.host, &doors.peer.host, &doors.admin.host];
        if hosts.into_iter().chain(&new.rack).any(|host| host.len() > HOST_BYTES_MAX) {
            return Err(RegisterRefusal::TooLong { limit: HOST_BYTES_MAX as u64 });
        }
        if let Some(owner) = self.spent(new.storage) {
            return Err(RegisterRefusal::StorageSpent { owner });
        }
        if let Some(owner) = self.node_of(new.storage).filter(|owner| *owner != new.node) {
            return Err(RegisterRefusal::StorageOfOther { owner });
        }
        let Some(known) = self.nodes.get(&new.node) else {
            if self.nodes.len() >= NODES_MAX {
                return Err(RegisterRefusal::TooManyNodes { limit: NODES_MAX as u64 });
            }
            return Ok(());
        };
        match (known.storage == new.storage, known.state == NodeState::Removed) {
            (true, false) => {}
            (true, true) => return Err(RegisterRefusal::Removed),
            (false, true) if self.spent.len() >= STORAGES_SPENT_MAX => {
                return Err(RegisterRefusal::TooManyStorages { limit: STORAGES_SPENT_MAX as u64 });
            }
            (false, true) => {}
            (false, false) => {
                let (known, given) = (known.storage, new.storage);
                return Err(RegisterRefusal::OtherStorage { known, given });
            }
        }
        // With another disk too: fences and segments name a life by node id and incarnation, so
        // those of one node id are never used again.
        if new.incarnation <= known.incarnation {
            let (known, given) = (known.incarnation, new.incarnation);
            return Err(RegisterRefusal::PastIncarnation { known, given });
        }
        Ok(())
    }

    /// From now on that life is named by no Roll, and what it leads is to be sealed.
    pub(super) fn fence(&mut self, fence: Fence) -> Result<Fenced, FenceRefusal> {
        let Fence { node: id, incarnation: given, at } = fence;
        let node = self.nodes.get(&id).ok_or(FenceRefusal::UnknownNode { node: id })?;
        let known = node.incarnation;
        if known != given {
            return Err(FenceRefusal::OtherIncarnation { known, given });
        }
        match node.state {
            NodeState::Active | NodeState::Draining => {}
            NodeState::Fenced => return Err(FenceRefusal::Already),
            NodeState::Removed => return Err(FenceRefusal::Removed),
        }
        let fences = node.fences.and_one(at);
        self.put_node(id, Node { state: NodeState::Fenced, fences, ..Node::clone(node) });
        let leader = Leader { node: id, incarnation: given };
        Ok(Fenced { leads: self.leases.get(&leader).copied().unwrap_or(0) })
    }

    /// What is so already is answered like a change: who asks again, asks for a state.
    pub(super) fn set_node_state(
        &mut self,
        set: SetNodeState,
    ) -> Result<NodeState, NodeStateRefusal> {
        let SetNodeState { node: id, expected, change } = set;
        let node = self.nodes.get(&id).ok_or(NodeStateRefusal::UnknownNode { node: id })?;
        let known = node.incarnation;
        if let Some(given) = expected.filter(|expected| *expected != known) {
            return Err(NodeStateRefusal::OtherIncarnation { known, given });
        }
        let (state, drains) = match (change, node.state) {
            (NodeChange::Remove, NodeState::Removed) => (NodeState::Removed, node.drains),
            (_, NodeState::Removed) => return Err(NodeStateRefusal::Removed),
            (NodeChange::Remove, NodeState::Active) => return Err(NodeStateRefusal::Active),
            (NodeChange::Remove, NodeState::Draining | NodeState::Fenced) => {
                let holding = self.holding(id);
                if holding != Holding::default() {
                    return Err(NodeStateRefusal::Needed(holding));
                }
                (NodeState::Removed, node.drains)
            }
            // A fenced node is not brought back by this: only its next life is.
            (NodeChange::Drain, NodeState::Fenced) => (NodeState::Fenced, true),
            (NodeChange::Undrain, NodeState::Fenced) => (NodeState::Fenced, false),
            (NodeChange::Drain, NodeState::Active | NodeState::Draining) => {
                (NodeState::Draining, true)
            }
            (NodeChange::Undrain, NodeState::Active | NodeState::Draining) => {
                (NodeState::Active, false)
            }
        };
        if (state, drains) != (node.state, node.drains) {
            self.put_node(id, Node { state, drains, ..Node::clone(node) });
        }
        Ok(state)
    }

    fn put_node(&mut self, id: NodeId, node: Node) {
        self.nodes.insert(id, Arc::new(node));
    }
}
