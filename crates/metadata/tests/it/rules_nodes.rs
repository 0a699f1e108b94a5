//! Registration and configs.

use uuid::Uuid;
use walrus_metadata::{
    Command, ConfigBounds, ConfigRefusal, ConfigResource, Metadata, NodeState, Register,
    RegisterRefusal, Reply, SetConfigs, UnknownTopic,
    limits::{CONFIG_KEY_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, CONFIGS_MAX, HOST_BYTES_MAX},
};
use walrus_types::{ClusterId, Incarnation, NodeId, StorageId};

use crate::world::{CLUSTER, apply, member, register, topic, world};

#[track_caller]
fn check(state: &Metadata, change: impl Fn(&mut Register), expected: Result<(), RegisterRefusal>) {
    let mut state = state.clone();
    let before = state.clone();
    let mut command = register(1, 2);
    change(&mut command);
    let reply = apply(&mut state, &Command::Register(command));
    let Reply::Registered(found) = reply else { panic!("{reply:?}") };
    assert_eq!(found.clone().map(|_| ()), expected);
    match found {
        Ok(registered) => assert_eq!(registered.index, state.applied()),
        Err(_) => assert_eq!(state.nodes(), before.nodes()),
    }
}

#[test]
fn a_node_registers_with_its_own_disk_in_a_new_life() {
    let state = world(2);
    let other = StorageId(Uuid::from_u128(99));
    let long = "x".repeat(HOST_BYTES_MAX + 1);
    check(&state, |_| {}, Ok(()));
    check(&state, |r| r.incarnation = Incarnation(9), Ok(()));
    for given in [0, 1].map(Incarnation) {
        let known = Incarnation(1);
        let refusal = RegisterRefusal::PastIncarnation { known, given };
        check(&state, |r| r.incarnation = given, Err(refusal));
    }
    let refusal = RegisterRefusal::OtherStorage { known: member(1).storage, given: other };
    check(&state, |r| r.storage = other, Err(refusal));
    let refusal = RegisterRefusal::StorageOfOther { owner: NodeId(1) };
    check(&state, |r| r.node = NodeId(7), Err(refusal));
    let given = ClusterId(Uuid::from_u128(0xC2));
    let refusal = RegisterRefusal::OtherCluster { ours: CLUSTER, given };
    check(&state, |r| r.cluster = given, Err(refusal));
    let refusal = RegisterRefusal::TooLong { limit: HOST_BYTES_MAX as u64 };
    check(&state, |r| r.rack = Some(long.clone()), Err(refusal.clone()));
    check(&state, |r| r.addresses.admin.host.clone_from(&long), Err(refusal));
}

#[test]
fn the_first_registration_names_the_cluster() {
    let mut state = Metadata::default();
    assert_eq!(state.cluster(), None);
    apply(&mut state, &Command::Register(register(1, 1)));
    assert_eq!(state.cluster(), Some(CLUSTER));
    assert_eq!(state.node(NodeId(1)).unwrap().state, NodeState::Active);
    assert_eq!(state.node_of(member(1).storage), Some(NodeId(1)));
}

#[test]
fn a_new_life_keeps_the_configs_of_its_node() {
    let mut state = world(1);
    let resource = ConfigResource::Node(NodeId(1));
    let changes = vec![("k".into(), Some("v".into()))];
    apply(&mut state, &Command::SetConfigs(vec![SetConfigs { resource, changes }]));
    apply(&mut state, &Command::Register(register(1, 2)));
    assert_eq!(state.node(NodeId(1)).unwrap().configs["k"], "v");
}

#[test]
fn configs_are_set_and_deleted_all_or_none() {
    let text = |bytes| "x".repeat(bytes);
    let set = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let many = |count: usize| (0..count).map(|n| set(&n.to_string(), "")).collect::<Vec<_>>();
    let key_limit = ConfigBounds::Key { limit: CONFIG_KEY_BYTES_MAX as u64 };
    let value_limit = ConfigBounds::Value { limit: CONFIG_VALUE_BYTES_MAX as u64 };
    let cases = [
        (vec![], Ok("a=1")),
        (vec![set("b", "2")], Ok("a=1 b=2")),
        (vec![set("a", "3"), set("b", ""), ("b".into(), None)], Ok("a=3")),
        (vec![("a".into(), None), ("never set".into(), None)], Ok("")),
        (vec![set("b", "2"), set("", "")], Err(key_limit.clone())),
        (vec![set("b", "2"), (String::new(), None)], Err(key_limit.clone())),
        (vec![set("b", "2"), set(&text(CONFIG_KEY_BYTES_MAX + 1), "")], Err(key_limit)),
        (vec![set("b", &text(CONFIG_VALUE_BYTES_MAX + 1))], Err(value_limit)),
        (many(CONFIGS_MAX), Err(ConfigBounds::Count { limit: CONFIGS_MAX as u64 })),
    ];
    let node = ConfigResource::Node(NodeId(1));
    for resource in [ConfigResource::Cluster, node, ConfigResource::Topic(topic(1))] {
        for (changes, expected) in &cases {
            let mut state = world(1);
            let first = SetConfigs { resource, changes: vec![set("a", "1")] };
            apply(&mut state, &Command::SetConfigs(vec![first]));
            let changes = changes.clone();
            let command = Command::SetConfigs(vec![SetConfigs { resource, changes }]);
            let refusal = expected.clone().map(|_| ()).map_err(ConfigRefusal::Bounds);
            assert_eq!(apply(&mut state, &command), Reply::ConfigsSet(vec![refusal]));
            let configs = match resource {
                ConfigResource::Cluster => state.cluster_configs(),
                ConfigResource::Node(id) => &state.node(id).unwrap().configs,
                ConfigResource::Topic(id) => state.topic(id).unwrap().configs(),
            };
            let found: Vec<String> = configs.iter().map(|(k, v)| format!("{k}={v}")).collect();
            assert_eq!(found.join(" "), expected.clone().unwrap_or("a=1"), "{resource:?}");
        }
    }
}

#[test]
fn configs_of_what_is_not_there_are_refused_one_by_one() {
    let mut state = world(1);
    let set = |resource| SetConfigs { resource, changes: vec![("a".into(), Some("1".into()))] };
    let reply = apply(
        &mut state,
        &Command::SetConfigs(vec![
            set(ConfigResource::Topic(topic(9))),
            set(ConfigResource::Node(NodeId(9))),
            set(ConfigResource::Topic(topic(1))),
        ]),
    );
    let expected = vec![
        Err(UnknownTopic { topic: topic(9) }.into()),
        Err(ConfigRefusal::UnknownNode { node: NodeId(9) }),
        Ok(()),
    ];
    assert_eq!(reply, Reply::ConfigsSet(expected));
}
