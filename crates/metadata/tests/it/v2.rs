//! Snapshots that programs of version 2 took are still read. `v2.txt` holds one of them, in hex.

use walrus_metadata::{Metadata, NodeState};
use walrus_types::NodeId;

use crate::world::{chain, partition};

const WRITTEN: &str = include_str!("v2.txt");

fn snapshot() -> Vec<u8> {
    let hex = WRITTEN.lines().find_map(|line| line.strip_prefix("snapshot "));
    let hex = hex.expect("there is one").trim();
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_snapshot_of_version_2_is_read_and_assigns_nothing() {
    let bytes = snapshot();
    assert_eq!(bytes[0], 2);
    let state = Metadata::decode(&bytes).unwrap();
    assert_eq!(chain(&state), "1:[0,1000) 2:[1000,2000) 3:[2000,) start=500");
    assert_eq!(state.node(NodeId(2)).map(|node| node.state), Some(NodeState::Draining));
    assert_eq!(state.node(NodeId(3)).map(|node| node.state), Some(NodeState::Fenced));
    let partition = state.partition(partition(1, 0)).unwrap();
    assert_eq!(partition.assignment(), None);
    assert_eq!(state.outstanding(partition), None);
    // It is written again as version 4.
    let again = state.encode();
    assert_eq!((again[0], Metadata::decode(&again).as_ref()), (4, Ok(&state)));
}

#[test]
fn every_cut_of_a_snapshot_of_version_2_is_refused() {
    let bytes = snapshot();
    for cut in 0..bytes.len() {
        assert!(Metadata::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}
