//! Snapshots that programs of version 3 took are still read. `v3.txt` holds one of them, in hex.

use walrus_metadata::{Metadata, NodeState};
use walrus_types::NodeId;

use crate::world::partition;

const WRITTEN: &str = include_str!("v3.txt");

fn snapshot() -> Vec<u8> {
    let hex = WRITTEN.lines().find_map(|line| line.strip_prefix("snapshot "));
    let hex = hex.expect("there is one").trim();
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_snapshot_of_version_3_is_read_and_knows_no_operations() {
    let bytes = snapshot();
    assert_eq!(bytes[0], 3);
    let state = Metadata::decode(&bytes).unwrap();
    assert_eq!(state.node(NodeId(2)).map(|node| node.state), Some(NodeState::Draining));
    let assigned = state.partition(partition(1, 0)).unwrap().assignment();
    assert_eq!(assigned.map(|to| to.to.clone()), Some(vec![NodeId(4), NodeId(1), NodeId(2)]));
    assert!(state.operations().is_empty());
    // It is written again as version 4.
    let again = state.encode();
    assert_eq!((again[0], Metadata::decode(&again).as_ref()), (4, Ok(&state)));
}

#[test]
fn every_cut_of_a_snapshot_of_version_3_is_refused() {
    let bytes = snapshot();
    for cut in 0..bytes.len() {
        assert!(Metadata::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}
