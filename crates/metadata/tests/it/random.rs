//! What holds after any sequence of commands, whoever sent them and however late they come.

use proptest::prelude::*;
use walrus_metadata::{
    AddPartitions, Command, ConfigResource, Metadata, Placement, Prune, Reason, Roll, SetConfigs,
};
use walrus_types::{Epoch, Incarnation, Offset};

use crate::world::{NOW, new_topic, on, partition, register, sealed, topic, world};

fn placement() -> impl Strategy<Value = Placement> {
    let nodes = prop_oneof![Just(vec![1, 2, 3]), Just(vec![2, 1, 3]), Just(vec![1]), Just(vec![3])];
    (nodes, 1..4_u64, 0..4_u8).prop_map(|(nodes, incarnation, w)| {
        let mut placement = on(&nodes);
        placement.leader.incarnation = Incarnation(incarnation);
        placement.w = if w == 0 { 0 } else { placement.w };
        placement
    })
}

fn a_roll() -> impl Strategy<Value = Roll> {
    let place = (1..4_u128, 0..3_i32);
    (place, 0..6_i32, 0..20_i64, 0..3_u64, placement()).prop_map(
        |((topic, index), expected, end, bytes, next)| Roll {
            partition: partition(topic, index),
            expected: Epoch(expected),
            sealed: sealed(end, bytes),
            next,
            reason: Reason::Age,
            at: NOW,
        },
    )
}

fn a_prune() -> impl Strategy<Value = Prune> {
    (1..4_u128, 0..3_i32, 0..6_i32, -1..20_i64).prop_map(|(topic, index, expected, start)| Prune {
        partition: partition(topic, index),
        expected: Epoch(expected),
        log_start: Offset(start),
    })
}

fn command() -> impl Strategy<Value = Command> {
    let number = 1..4_u128;
    prop_oneof![
        1 => (1..5_i32, 1..4_u64).prop_map(|(node, life)| Command::Register(register(node, life))),
        3 => (number.clone(), "[ab]", 0..3_usize, placement()).prop_map(
            |(number, name, count, placement)| {
                let mut new = new_topic(number, &name, count, &[1]);
                new.partitions.iter_mut().for_each(|p| *p = placement.clone());
                Command::CreateTopics(vec![new])
            }
        ),
        1 => number.clone().prop_map(|number| Command::DeleteTopics(vec![topic(number)])),
        1 => (number.clone(), 0..3_u32, placement()).prop_map(|(number, expected, placement)| {
            let (topic, partitions) = (topic(number), vec![placement]);
            Command::AddPartitions(AddPartitions { topic, expected, partitions, at: NOW })
        }),
        1 => (number, "[ab]?").prop_map(|(number, key)| {
            let changes = vec![(key, Some("v".into()))];
            let resource = ConfigResource::Topic(topic(number));
            Command::SetConfigs(vec![SetConfigs { resource, changes }])
        }),
        8 => prop::collection::vec(a_roll(), 1..4).prop_map(Command::Roll),
        4 => prop::collection::vec(a_prune(), 1..3).prop_map(Command::Prune),
        1 => Just(Command::ProducerIds),
    ]
}

/// What may never be undone, from one state to the next.
fn check_step(old: &Metadata, new: &Metadata) -> Result<(), TestCaseError> {
    for (place, was) in old.partitions() {
        let Some(now) = new.partition(place) else { continue };
        prop_assert!(now.log_start() >= was.log_start());
        prop_assert!(now.open().key >= was.open().key);
        for (key, sealed) in was.sealed() {
            let kept = now.sealed().get(key);
            prop_assert!(kept.is_none_or(|kept| kept == sealed), "a sealed segment changed");
            prop_assert!(kept.is_some() || sealed.end <= now.log_start(), "lost without a prune");
        }
        if now.open().key != was.open().key && now.contains(was.open().key) {
            let sealed = now.sealed().get(&was.open().key).unwrap();
            prop_assert_eq!(&sealed.members, &was.open().members);
        }
    }
    prop_assert!(new.next_producer() >= old.next_producer());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_sequence_of_commands_breaks_a_chain(commands in prop::collection::vec(command(), 0..120)) {
        let mut state = world(3);
        let mut again = state.clone();
        for command in &commands {
            let old = state.clone();
            // `apply` checks all invariants of a state this small, after each command.
            let reply = state.apply(old.applied() + 1, command);
            check_step(&old, &state)?;
            let bytes = command.encode();
            let decoded = Command::decode(&bytes).unwrap();
            prop_assert_eq!(&decoded, command);
            prop_assert_eq!(again.apply(again.applied() + 1, &decoded), reply);
        }
        prop_assert_eq!(&again, &state);
        let decoded = Metadata::decode(&state.encode());
        prop_assert_eq!(decoded.as_ref(), Ok(&state));
    }

    #[test]
    fn foreign_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(Command::decode(&bytes));
        drop(Metadata::decode(&bytes));
        // With a right checksum and version, so that the decoder itself is reached.
        let mut body = vec![1];
        body.extend(&bytes);
        drop(Command::decode(&body));
        body.extend(walrus_types::batch::crc32c(&body).to_le_bytes());
        drop(Metadata::decode(&body));
    }
}

#[test]
fn a_command_played_twice_is_a_broken_log() {
    let mut state = world(1);
    let index = state.applied();
    let played = std::panic::catch_unwind(move || state.apply(index, &Command::ProducerIds));
    assert!(played.is_err());
}

#[test]
fn commands_of_another_version_are_refused_by_name() {
    let mut bytes = Command::Register(register(1, 1)).encode();
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Damage, &str); 4] = [
        (|b| b[0] = 2, "format version 2 is not known here (this program reads up to 1)"),
        (|b| b.push(0), "1 bytes too many"),
        (|b| b.truncate(9), "malformed: Hit the end of buffer, expected more data"),
        (Vec::clear, "malformed: Hit the end of buffer, expected more data"),
    ];
    for (change, expected) in cases {
        let mut changed = bytes.clone();
        change(&mut changed);
        assert_eq!(Command::decode(&changed).unwrap_err().to_string(), expected);
    }
    bytes[1] = 99;
    assert!(Command::decode(&bytes).is_err());
}
