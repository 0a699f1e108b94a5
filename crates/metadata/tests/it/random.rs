//! What holds after any sequence of commands, whoever sent them and however late they come.

use proptest::prelude::*;
use walrus_metadata::{
    AddPartitions, Assign, Assignment, BeginOperation, Command, ConfigResource, Coverage, Digest,
    EndOperation, Fence, Metadata, NewTopic, NodeChange, NodeState, Outcome, Partition, Placement,
    Prune, Reason, Register, Roll, SetConfigs, SetMembers, Work,
};
use walrus_types::{Epoch, Incarnation, NodeId, Offset, PlanId, TimestampMs, TopicPartition};

use crate::world::{NOW, member, new_topic, on, register, sealed, set_state, topic, world};

/// Who is to hold a new segment; a life of 0 stands for the present one.
fn placement() -> impl Strategy<Value = Placement> {
    let nodes = prop_oneof![
        3 => Just(vec![1, 2, 3]),
        3 => Just(vec![2, 1, 3]),
        2 => Just(vec![3, 4, 1]),
        2 => Just(vec![2, 3]),
        1 => Just(vec![1, 2, 3, 4]),
        1 => Just(vec![1]),
        1 => Just(vec![4]),
    ];
    (nodes, prop_oneof![8 => Just(0), 1 => 1..4_u64], 0..20_u8).prop_map(|(nodes, life, w)| {
        let mut placement = on(&nodes);
        placement.leader.incarnation = Incarnation(life);
        placement.w = if w == 0 { 0 } else { placement.w };
        placement
    })
}

/// As `placement`, with the lives and disks that nodes have.
fn present(mut placement: Placement, state: &Metadata) -> Placement {
    let leader = &mut placement.leader;
    if leader.incarnation == Incarnation(0) {
        leader.incarnation = state.node(leader.node).map_or(Incarnation(1), |n| n.incarnation);
    }
    for member in &mut placement.members {
        member.storage = state.node(member.node).map_or(member.storage, |node| node.storage);
    }
    placement
}

/// What is still to be aimed at a state: random names alone would be refused nearly always. What
/// is not `exact` names another epoch, life or list of members than there is.
#[derive(Debug, Clone)]
enum Step {
    Plain(Command),
    Create { number: u128, name: String, count: usize, on: Placement },
    Roll { pick: usize, exact: bool, past: i64, reason: Reason, mask: u8, next: Placement },
    Prune { pick: usize, exact: bool, past: i64 },
    Regroup { pick: usize, exact: bool, nodes: Vec<i32>, digest: Option<u128> },
    Assign { pick: usize, exact: bool, nodes: Vec<i32>, ends: bool },
    Register { node: i32, exact: bool, disk: i32, at: TimestampMs },
    Fence { node: i32, exact: bool, at: TimestampMs },
    Begin { node: i32, kind: u8, plan: u64 },
    End { pick: usize, cancelled: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let exact = || prop::bool::weighted(0.9);
    let node = || 1..5_i32;
    let at = || (-1..900_i64).prop_map(|s| TimestampMs(if s < 0 { s } else { s * 1_000 }));
    let reason = prop_oneof![
        6 => Just(Reason::Bytes),
        4 => Just(Reason::Failover),
        1 => Just(Reason::Unsafe),
    ];
    let members = prop::collection::vec(node(), 1..4);
    let digest = prop::option::of(0..2_u128);
    prop_oneof![
        4 => command().prop_map(Step::Plain),
        2 => (1..4_u128, "[ab]", 0..3_usize, placement())
            .prop_map(|(number, name, count, on)| Step::Create { number, name, count, on }),
        12 => (0..9_usize, exact(), -1..4_i64, reason, any::<u8>(), placement()).prop_map(
            |(pick, exact, past, reason, mask, next)| {
                Step::Roll { pick, exact, past, reason, mask, next }
            }
        ),
        2 => (0..9_usize, exact(), -3..3_i64)
            .prop_map(|(pick, exact, past)| Step::Prune { pick, exact, past }),
        4 => (0..40_usize, exact(), members, digest).prop_map(|(pick, exact, nodes, digest)| {
            Step::Regroup { pick, exact, nodes, digest }
        }),
        2 => (0..8_usize, exact(), prop::collection::vec(node(), 0..4), any::<bool>())
            .prop_map(|(pick, exact, nodes, ends)| Step::Assign { pick, exact, nodes, ends }),
        3 => (node(), exact(), 0..3_i32, at())
            .prop_map(|(node, exact, disk, at)| Step::Register { node, exact, disk, at }),
        2 => (node(), exact(), at()).prop_map(|(node, exact, at)| Step::Fence { node, exact, at }),
        2 => (node(), 0..4_u8, 0..12_u64)
            .prop_map(|(node, kind, plan)| Step::Begin { node, kind, plan }),
        1 => (0..4_usize, any::<bool>())
            .prop_map(|(pick, cancelled)| Step::End { pick, cancelled }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let number = 1..4_u128;
    let changes = [NodeChange::Drain, NodeChange::Undrain, NodeChange::Remove, NodeChange::Remove];
    prop_oneof![
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
        1 => Just(Command::ProducerIds),
        4 => (1..6_i32, 0..4_usize).prop_map(move |(node, n)| set_state(node, changes[n])),
    ]
}

fn aimed(step: &Step, state: &Metadata) -> Option<Command> {
    let nth = |pick: usize| state.partitions().nth(pick % state.partitions_total().max(1));
    let life = |node| state.node(NodeId(node)).map_or(0, |node| node.incarnation.0);
    Some(match step {
        Step::Plain(command) => command.clone(),
        Step::Create { number, name, count, on } => {
            let partitions = vec![present(on.clone(), state); *count];
            let new = NewTopic { partitions, ..new_topic(*number, name, 0, &[1]) };
            Command::CreateTopics(vec![new])
        }
        Step::Roll { pick, exact, past, reason, mask, next } => {
            let (place, found) = nth(*pick)?;
            let next = present(next.clone(), state);
            Command::Roll(vec![a_roll(place, found, *exact, *past, (*reason, *mask), next)])
        }
        Step::Prune { pick, exact, past } => {
            let (partition, found) = nth(*pick)?;
            let expected = Epoch(found.open().key.epoch.0 - i32::from(!exact));
            let log_start = Offset(found.open().key.base.0 + past);
            Command::Prune(vec![Prune { partition, expected, log_start }])
        }
        Step::Regroup { pick, exact, nodes, digest } => {
            let sealed = state.partitions().flat_map(|(place, partition)| {
                partition.sealed().iter().map(move |(key, sealed)| (place, *key, sealed))
            });
            let sealed: Vec<_> = sealed.collect();
            let (partition, segment, found) = sealed.get(pick % sealed.len().max(1)).copied()?;
            let members = present(on(nodes), state).members;
            let expected = if *exact { found.members.to_vec() } else { members.clone() };
            let digest = digest.map(Digest::from);
            Command::SetMembers(vec![SetMembers { partition, segment, expected, members, digest }])
        }
        Step::Assign { pick, exact, nodes, ends } => {
            let (partition, found) = nth(*pick)?;
            let known = found.assignment().map(|known| Assignment::clone(known));
            let to: Vec<NodeId> = nodes.iter().map(|node| NodeId(*node)).collect();
            let wish = Assignment { from: to.clone(), to };
            let expected = if *exact { known } else { Some(wish.clone()) };
            let assignment = (!ends).then_some(wish);
            Command::Assign(vec![Assign { partition, expected, assignment }])
        }
        Step::Register { node, exact, disk, at } => {
            let storage = member(node + disk * 10).storage;
            let new = register(*node, life(*node) + u64::from(*exact));
            Command::Register(Register { storage, at: *at, ..new })
        }
        Step::Begin { node, kind, plan } => {
            let node = NodeId(*node);
            let work = match kind {
                0 => Work::Drain(node),
                1 => Work::Undrain(node),
                2 => Work::Remove { node, storage: state.node(node)?.storage },
                _ => Work::TransferRaft { to: node },
            };
            let (actor, reason) = (String::new(), String::new());
            let (plan, segments) = (PlanId::of(*plan), 0);
            Command::BeginOperation(BeginOperation { work, plan, actor, reason, segments, at: NOW })
        }
        Step::End { pick, cancelled } => {
            let known = state.operations();
            let (id, _) = known.iter().nth(pick % known.len().max(1))?;
            let outcome =
                if *cancelled { Outcome::Cancelled { by: String::new() } } else { Outcome::Done };
            Command::EndOperation(EndOperation { id: *id, outcome, at: NOW })
        }
        Step::Fence { node, exact, at } => {
            let incarnation = Incarnation(life(*node) + u64::from(!exact));
            Command::Fence(Fence { node: NodeId(*node), incarnation, at: *at })
        }
    })
}

fn a_roll(
    partition: TopicPartition,
    found: &Partition,
    exact: bool,
    past: i64,
    (reason, mask): (Reason, u8),
    next: Placement,
) -> Roll {
    let open = found.open();
    let picked = |at: usize| mask & (1 << (at + 1)) != 0;
    let holders = open.members.iter().enumerate().filter(|(at, _)| picked(*at));
    let holders: Vec<_> = holders.map(|(_, member)| *member).collect();
    let mut end = open.key.base.0 + past;
    let mut bytes = past.unsigned_abs() * 10;
    if reason == Reason::Unsafe && holders.is_empty() {
        (end, bytes) = (open.key.base.max(found.log_start()).0, 0);
    }
    let coverage = match reason {
        Reason::Unsafe => Coverage::Lossy { holders, seen: Offset(end + past) },
        Reason::Failover if mask & 1 != 0 => Coverage::Narrow(holders),
        _ => Coverage::Quorum,
    };
    let expected = Epoch(open.key.epoch.0 + i32::from(!exact));
    let sealed = sealed(end, bytes);
    Roll { partition, expected, sealed, coverage, next, reason, at: NOW }
}

/// What may never be undone, from one state to the next.
fn check_step(old: &Metadata, new: &Metadata) -> Result<(), TestCaseError> {
    for (place, was) in old.partitions() {
        let Some(now) = new.partition(place) else { continue };
        prop_assert!(now.log_start() >= was.log_start());
        prop_assert!(now.open().key >= was.open().key);
        for (key, sealed) in was.sealed() {
            let Some(kept) = now.sealed().get(key) else {
                prop_assert!(sealed.end <= now.log_start(), "lost without a prune");
                continue;
            };
            let stays = sealed.members.iter().any(|member| kept.members.contains(member));
            prop_assert!(stays, "all its members went at once");
            prop_assert!(sealed.digest.is_none() || kept.digest == sealed.digest);
            let (members, digest) = (sealed.members.clone(), sealed.digest);
            let as_it_was = walrus_metadata::Sealed { members, digest, ..kept.clone() };
            prop_assert_eq!(&as_it_was, sealed, "a sealed segment changed");
        }
        if now.open().key != was.open().key {
            prop_assert!(new.may_lead(now.open().leader), "a past life was given a segment");
            if let Some(sealed) = now.sealed().get(&was.open().key) {
                let of_old = |member| was.open().members.contains(member);
                prop_assert!(sealed.members.iter().all(of_old), "held by who was no member");
            }
        }
        for (key, loss) in was.losses() {
            let kept = now.losses().get(key);
            prop_assert!(kept == Some(loss) || loss.from < now.log_start());
        }
    }
    for (id, was) in old.operations() {
        let now = new.operations().get(id);
        prop_assert!(now.is_some(), "forgotten long before there were too many");
        prop_assert!(was.is_running() || now == Some(was), "what had ended changed");
    }
    prop_assert!(new.next_producer() >= old.next_producer());
    check_nodes(old, new)
}

fn check_nodes(old: &Metadata, new: &Metadata) -> Result<(), TestCaseError> {
    for (id, was) in old.nodes() {
        let now = new.node(*id).unwrap();
        prop_assert!(now.incarnation >= was.incarnation);
        if now.storage != was.storage {
            prop_assert_eq!(was.state, NodeState::Removed);
            prop_assert_eq!(new.spent(was.storage), Some(*id));
        }
        if now.incarnation == was.incarnation {
            let final_state = matches!(was.state, NodeState::Fenced | NodeState::Removed);
            let may = !final_state || !now.state.serves();
            prop_assert!(may, "a life that was over serves again");
        }
        if now.state == NodeState::Removed {
            prop_assert!(new.held_by(*id).next().is_none() && new.leases_of(*id) == 0);
        }
    }
    let by_hand = new.partitions().filter(|(_, p)| !new.may_lead(p.open().leader));
    prop_assert!(by_hand.map(|(place, _)| place).eq(new.left_open().map(|(place, _)| place)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_sequence_of_commands_breaks_a_chain(steps in prop::collection::vec(step(), 0..120)) {
        let mut state = world(3);
        let mut again = state.clone();
        for step in &steps {
            let old = state.clone();
            let Some(command) = &aimed(step, &state) else { continue };
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
        for version in [1, 2, 3] {
            let mut body = vec![version];
            body.extend(&bytes);
            drop(Command::decode(&body));
            body.extend(walrus_types::batch::crc32c(&body).to_le_bytes());
            drop(Metadata::decode(&body));
        }
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
        (|b| b[0] = 3, "format version 3 is not known here (this program reads up to 2)"),
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
