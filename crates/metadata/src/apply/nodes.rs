//! Nodes that begin a life.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    command::Register,
    limits::{HOST_BYTES_MAX, NODES_MAX},
    metadata::Metadata,
    node::{Node, NodeState},
    reply::{RegisterRefusal, Registered},
};

impl Metadata {
    /// A new incarnation ends the one before: whatever that leads is to be sealed, and no Roll
    /// names it as leader any more.
    pub(super) fn register(&mut self, new: &Register) -> Result<Registered, RegisterRefusal> {
        self.judge_registration(new)?;
        let known = self.nodes.get(&new.node);
        let state = match known.map(|node| node.state) {
            None | Some(NodeState::Fenced) => NodeState::Active,
            Some(state) => state,
        };
        let node = Node {
            storage: new.storage,
            incarnation: new.incarnation,
            state,
            rack: new.rack.clone(),
            addresses: new.addresses.clone(),
            configs: known.map_or_else(BTreeMap::new, |node| node.configs.clone()),
        };
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
        let Some(known) = self.nodes.get(&new.node) else {
            return match self.node_of(new.storage) {
                Some(owner) => Err(RegisterRefusal::StorageOfOther { owner }),
                None if self.nodes.len() >= NODES_MAX => {
                    Err(RegisterRefusal::TooManyNodes { limit: NODES_MAX as u64 })
                }
                None => Ok(()),
            };
        };
        if known.storage != new.storage {
            let (known, given) = (known.storage, new.storage);
            return Err(RegisterRefusal::OtherStorage { known, given });
        }
        if known.state == NodeState::Removed {
            return Err(RegisterRefusal::Removed);
        }
        if new.incarnation <= known.incarnation {
            let (known, given) = (known.incarnation, new.incarnation);
            return Err(RegisterRefusal::PastIncarnation { known, given });
        }
        Ok(())
    }
}
