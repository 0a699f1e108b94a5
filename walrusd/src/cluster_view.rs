//! The cluster as Kafka's clients are shown it: which nodes there are, where, and who of them is
//! told to be the controller.

use walrus_metadata::{Metadata, NodeState};
use walrus_types::{NodeId, StorageId};

use crate::broker::Endpoint;

/// Where clients find the nodes, in order of their ids. A node that is fenced or removed is left
/// out, as in Kafka: clients would go on trying to reach it. Those of `lost` stay a little longer:
/// a librdkafka that learns in one answer that a node is gone and who leads its partitions now
/// takes the partitions from the next leader again while it gives the node up, and looks for
/// leaders a second later. `own` is this node as the asking client reached it, and is always
/// there: it answers, after all.
pub fn endpoints(metadata: &Metadata, own: Endpoint, lost: &[NodeId]) -> Vec<Endpoint> {
    let others = metadata.nodes().iter().filter(|(id, node)| {
        let is_shown = node.state.serves() || node.state == NodeState::Fenced && lost.contains(*id);
        **id != own.id && is_shown
    });
    let mut all: Vec<Endpoint> = others
        .map(|(id, node)| {
            let client = node.addresses.client.clone();
            Endpoint { id: *id, host: client.host, port: client.port, rack: node.rack.clone() }
        })
        .collect();
    all.push(own);
    all.sort_by_key(|endpoint| endpoint.id);
    all
}

/// Whom clients are told to ask for changes of metadata: the leader of the metadata group. Every
/// node takes such requests, so this one stands in while nobody leads, or one that is not shown.
pub fn controller(metadata: &Metadata, leader: Option<StorageId>, own: NodeId) -> NodeId {
    let serves = |id: &NodeId| metadata.node(*id).is_some_and(|node| node.state.serves());
    leader.and_then(|leader| metadata.node_of(leader)).filter(serves).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use walrus_metadata::{Address, Addresses, Command, Fence, NodeChange, Register, SetNodeState};
    use walrus_types::{ClusterId, Incarnation, TimestampMs};

    use super::*;

    fn cluster(nodes: i32) -> Metadata {
        let mut metadata = Metadata::default();
        for number in 1..=nodes {
            let door = |port: u16| Address { host: format!("node{number}"), port };
            let register = Register {
                node: NodeId(number),
                storage: storage(number),
                incarnation: Incarnation(1),
                cluster: ClusterId(Uuid::from_u128(0xC)),
                rack: Some(format!("rack{number}")),
                addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
                at: TimestampMs(0),
            };
            metadata.apply(metadata.applied() + 1, &Command::Register(register));
        }
        metadata
    }

    fn storage(number: i32) -> StorageId {
        StorageId(Uuid::from_u128(number.unsigned_abs().into()))
    }

    fn fence(metadata: &mut Metadata, number: i32) {
        let (node, incarnation) = (NodeId(number), Incarnation(1));
        let fence = Fence { node, incarnation, at: TimestampMs(0) };
        metadata.apply(metadata.applied() + 1, &Command::Fence(fence));
    }

    fn reached(number: i32) -> Endpoint {
        Endpoint { id: NodeId(number), host: "10.0.0.9".into(), port: 99, rack: None }
    }

    fn shown(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(|at| format!("{}={}:{}", at.id, at.host, at.port)).collect()
    }

    #[test]
    fn a_node_shows_itself_as_it_was_reached_and_others_as_they_registered() {
        let mut metadata = cluster(3);
        let all = endpoints(&metadata, reached(2), &[]);
        assert_eq!(shown(&all), ["n1=node1:9091", "n2=10.0.0.9:99", "n3=node3:9091"]);
        assert_eq!(all[2].rack.as_deref(), Some("rack3"));
        fence(&mut metadata, 3);
        fence(&mut metadata, 2);
        let two = ["n1=node1:9091", "n2=10.0.0.9:99"];
        assert_eq!(shown(&endpoints(&metadata, reached(2), &[])), two);
        assert_eq!(shown(&endpoints(&metadata, reached(2), &[NodeId(1)])), two);
    }

    #[test]
    fn a_fenced_node_is_shown_a_little_longer_and_a_removed_one_is_not() {
        let mut metadata = cluster(3);
        fence(&mut metadata, 3);
        let all = endpoints(&metadata, reached(1), &[NodeId(3)]);
        assert_eq!(shown(&all), ["n1=10.0.0.9:99", "n2=node2:9091", "n3=node3:9091"]);
        let (node, expected) = (NodeId(3), Some(Incarnation(1)));
        let remove = SetNodeState { node, expected, change: NodeChange::Remove };
        metadata.apply(metadata.applied() + 1, &Command::SetNodeState(remove));
        assert_eq!(endpoints(&metadata, reached(1), &[NodeId(3)]).len(), 2);
    }

    #[test]
    fn a_node_that_knows_of_nobody_shows_itself() {
        let metadata = Metadata::default();
        assert_eq!(shown(&endpoints(&metadata, reached(1), &[])), ["n1=10.0.0.9:99"]);
        assert_eq!(controller(&metadata, Some(storage(1)), NodeId(1)), NodeId(1));
    }

    #[test]
    fn the_controller_is_who_leads_the_metadata_and_is_shown() {
        let mut metadata = cluster(3);
        let told = |metadata: &Metadata, leader| controller(metadata, leader, NodeId(1)).0;
        assert_eq!(told(&metadata, Some(storage(3))), 3);
        assert_eq!(told(&metadata, None), 1);
        assert_eq!(told(&metadata, Some(storage(9))), 1);
        fence(&mut metadata, 3);
        assert_eq!(told(&metadata, Some(storage(3))), 1);
    }
}
