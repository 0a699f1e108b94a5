//! A state as bytes and back.

use walrus_metadata::{Command, Metadata, Roll, SnapshotError};
use walrus_types::batch::crc32c;

use crate::world::{apply, new_topic, prune, register, roll, world};

fn long_chain(segments: i32) -> Metadata {
    let mut state = world(3);
    for epoch in 1..=segments {
        let leader: &[i32] = if epoch % 2 == 0 { &[1, 2, 3] } else { &[2, 1, 3] };
        let command = Command::Roll(vec![roll(epoch, i64::from(epoch) * 1_000_000, leader)]);
        apply(&mut state, &command);
    }
    state
}

#[test]
fn a_snapshot_gives_back_what_was_taken() {
    let mut state = long_chain(100);
    apply(&mut state, &Command::CreateTopics(vec![new_topic(2, "gone", 3, &[1, 2, 3])]));
    apply(&mut state, &Command::DeleteTopics(vec![crate::world::topic(2)]));
    apply(&mut state, &Command::Prune(vec![prune(101, 7_500_000)]));
    apply(&mut state, &Command::ProducerIds);
    apply(&mut state, &Command::Register(register(1, 2)));
    let decoded = Metadata::decode(&state.encode());
    assert_eq!(decoded.as_ref(), Ok(&state));
    assert_eq!(Metadata::decode(&Metadata::default().encode()), Ok(Metadata::default()));
}

#[test]
fn a_sealed_segment_takes_about_thirty_bytes() {
    let (small, great) = (long_chain(1_000).encode().len(), long_chain(11_000).encode().len());
    let each = (great - small) / 10_000;
    assert!(each <= 35, "{each} bytes for each segment");
}

#[test]
fn a_damaged_snapshot_is_refused_wherever_it_is_damaged() {
    let bytes = long_chain(3).encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let found = Metadata::decode(&damaged);
        assert!(matches!(found, Err(SnapshotError::Crc { .. })), "byte {at}: {found:?}");
        assert!(Metadata::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_snapshot_of_another_version_is_refused_by_name() {
    let mut bytes = long_chain(1).encode();
    bytes.truncate(bytes.len() - 4);
    bytes[0] = 9;
    bytes.extend(crc32c(&bytes).to_le_bytes());
    let expected =
        "metadata snapshot: format version 9 is not known here (this program reads up to 4)";
    assert_eq!(Metadata::decode(&bytes).unwrap_err().to_string(), expected);
}

#[test]
fn a_snapshot_never_panics_whatever_byte_is_changed_under_a_right_checksum() {
    let state = long_chain(3);
    let mut bytes = state.encode();
    bytes.truncate(bytes.len() - 4);
    let mut refused = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x10, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            changed.extend(crc32c(&changed).to_le_bytes());
            refused += usize::from(Metadata::decode(&changed).is_err());
        }
    }
    assert!(refused > 0);
}

#[test]
fn decoded_segments_share_their_members_again() {
    let state = long_chain(10);
    let decoded = Metadata::decode(&state.encode()).unwrap();
    let (_, partition) = decoded.partitions().next().unwrap();
    let members: Vec<_> = partition.sealed().iter().map(|(_, s)| s.members.as_ptr()).collect();
    assert!(members[2..].iter().zip(&members[..8]).all(|(a, b)| a == b));
    let Roll { next, .. } = roll(1, 1, &[1, 2, 3]);
    assert_eq!(partition.open().members.as_ref(), next.members);
}
