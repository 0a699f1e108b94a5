//! What programs of version 1 wrote is still read. `v1.txt` holds the commands that one of them
//! applied, in hex, and the snapshot that it took then.

use walrus_metadata::{Command, Coverage, Fences, Metadata, Reason};
use walrus_types::{NodeId, TimestampMs};

use crate::world::{apply, chain, partition};

const WRITTEN: &str = include_str!("v1.txt");

fn written(what: &str) -> Vec<Vec<u8>> {
    let lines = WRITTEN.lines().filter_map(|line| line.strip_prefix(what));
    lines.map(|line| bytes_of(line.trim())).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn commands_of_version_1_are_read_and_lead_to_the_snapshot_of_version_1() {
    let mut state = Metadata::default();
    let commands = written("command");
    assert_eq!(commands.len(), 19);
    for bytes in &commands {
        assert_eq!(bytes[0], 1);
        let command = Command::decode(bytes).unwrap();
        match &command {
            Command::Register(node) => assert_eq!(node.at, TimestampMs::NONE),
            Command::Roll(rolls) => {
                assert!(rolls.iter().all(|roll| roll.coverage == Coverage::Quorum));
            }
            _ => {}
        }
        apply(&mut state, &command);
        // It is written again as version 2.
        let again = command.encode();
        assert_eq!((again[0], Command::decode(&again).as_ref()), (2, Ok(&command)));
    }
    let expected = "2:[1000,2000) 3:[2000,3000) 4:[3000,4000) 5:[4000,5000) 6:[5000,6000) \
                    7:[6000,7000) 8:[7000,8000) 10:[8000,) start=1500";
    assert_eq!(chain(&state), expected);
    let [snapshot] = written("snapshot").try_into().unwrap();
    assert_eq!(snapshot[0], 1);
    let decoded = Metadata::decode(&snapshot).unwrap();
    assert_eq!(decoded, state);
    assert_eq!(Metadata::decode(&decoded.encode()), Ok(state));
}

#[test]
fn a_snapshot_of_version_1_gives_what_came_later_its_first_value() {
    let [snapshot] = written("snapshot").try_into().unwrap();
    let state = Metadata::decode(&snapshot).unwrap();
    for (_, node) in state.nodes() {
        assert_eq!((node.drains, node.fences), (false, Fences::default()));
    }
    let chain = state.partition(partition(1, 0)).unwrap();
    assert!(chain.losses().is_empty());
    assert!(chain.sealed().iter().all(|(_, sealed)| sealed.digest.is_none()));
    assert_eq!(chain.sealed().last().unwrap().1.reason, Reason::Restart);
    // Who leads is counted from the chains. Node 1 led nothing when it began another life.
    assert_eq!((state.leases_of(NodeId(2)), state.leases_of(NodeId(3))), (2, 1));
    assert_eq!(state.left_open().count(), 0);
}

#[test]
fn damaged_bytes_of_version_1_never_panic() {
    let [mut snapshot] = written("snapshot").try_into().unwrap();
    snapshot.truncate(snapshot.len() - 4);
    for at in 1..snapshot.len() {
        for flip in [0x01, 0x80] {
            let mut changed = snapshot.clone();
            changed[at] ^= flip;
            changed.extend(walrus_types::batch::crc32c(&changed).to_le_bytes());
            drop(Metadata::decode(&changed));
        }
    }
    for command in written("command") {
        for at in 1..command.len() {
            let mut changed = command.clone();
            changed[at] ^= 0x81;
            drop(Command::decode(&changed));
            assert!(Command::decode(&command[..at]).is_err(), "cut at {at}");
        }
    }
}
